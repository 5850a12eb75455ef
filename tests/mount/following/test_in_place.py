"""A library that is packed in place while it is mounted: readers do not notice."""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.mount.opl.test_opl_mount import game, game_id
from tests.mount.reading.test_faults import FAULTY, Faults, faults
from tests.support import writers
from tests.support.mounting import all_the_time, mounted, names, timed, wait_until
from tests.support.packed import image_of
from tests.support.rounds import rounds
from tests.support.watching import watching

__all__ = ["faults"]  # a fixture

MIB = 1 << 20
LAYOUTS: dict[str, tuple[tuple[str, ...], str, str, bytes]] = {
    "plain": ((), "Okami.iso", "Okami.iso", writers.disc(4 * MIB, ["text", "mixed"], 4)),
    "opl": (("--layout", "opl"), "Okami.iso", f"DVD/{game_id(7)}.Okami.iso", game(7, dvd=True)),
    "writable": (
        ("--writable", "--new-discs"),
        "below/Okami.iso",
        "below/Okami.iso",
        writers.disc(3 * MIB, ["text", "noise"], 5),
    ),
}


def reader(path: Path, image: bytes) -> Callable[[], None]:
    """What a program does that looks at a disc, opens it, and reads a part of it.

    It pauses for a moment, or it would leave nothing to the watch, which has the lowest priority.
    """
    places = iter(range(0, 1 << 40, 65536 * 7))

    def act() -> None:
        assert path.stat().st_size == len(image)
        assert path.name in os.listdir(path.parent)
        with path.open("rb", buffering=0) as file:
            at = next(places) % (len(image) - 4096)
            file.seek(at)
            assert file.read(4096) == image[at : at + 4096]
        time.sleep(rounds(1, 0) / 1000)

    return act


@pytest.mark.parametrize("layout", LAYOUTS)
def test_readers_do_not_notice(tmp_path: Path, layout: str) -> None:
    options, own, shown, image = LAYOUTS[layout]
    library = tmp_path / "library"
    with ExitStack() as stack:
        library.mkdir()
        mount = stack.enter_context(mounted(library, tmp_path / "mnt", *options))
        watch = stack.enter_context(watching(tmp_path, "--in-place", watch_quiet_closed=1.0))
        (library / own).parent.mkdir(exist_ok=True)
        (library / own).write_bytes(image)
        disc = mount.path / shown
        wait_until(disc.exists, "the disc in the mount")
        before = disc.stat()
        file = stack.enter_context(disc.open("rb", buffering=0))
        with all_the_time(reader(disc, image)), all_the_time(reader(disc, image)):
            half = file.read(len(image) // 2)
            watch.wait_for_results("Okami.iso", seconds=120)
            wait_until(lambda: disc.stat().st_ino != before.st_ino, "the new file in the mount")
        assert half + file.read() == image  # the old file, from the disk
        after = disc.stat()
        assert disc.read_bytes() == image
        assert (after.st_size, after.st_mtime_ns, after.st_mode) == (
            before.st_size,
            before.st_mtime_ns,
            before.st_mode,
        )
        assert names(disc.parent) == [disc.name]
    packed = (library / own).with_suffix(".zso")
    assert names(packed.parent) == [packed.name]
    assert image_of(packed) == image


def test_a_rename_that_a_long_scan_is_to_find(
    source: Path, mount: MountMaker, faults: Faults
) -> None:
    """In the OPL layout, an open waits for a scan that has taken the event already."""
    image = LAYOUTS["opl"][3]
    packed = source / "Okami.iso"
    packed.write_bytes(writers.zsoz(image))
    made = mount(source, "--layout", "opl", command=FAULTY)
    disc = made.path / LAYOUTS["opl"][2]
    assert disc.stat().st_size == len(image)  # the kernel knows the name now
    with faults.on("background", "Scanner.survey", "slow"):
        packed.rename(packed.with_suffix(".zso"))
        wait_until(faults.done, "the scan")
        assert disc.read_bytes() == image


def test_a_disc_that_a_client_has_added(tmp_path: Path) -> None:
    """It is packed when it is whole, and protected then; an aborted copy is never packed."""
    library = tmp_path / "library"
    library.mkdir()
    image = LAYOUTS["plain"][3]
    (tmp_path / "Okami.iso").write_bytes(image)
    quick = timed(new_disc_quiet=0.5, quiet_file=0.3, trust_unwatched=0.3)
    with (
        mounted(library, tmp_path / "mnt", "--writable", "--new-discs", command=quick) as mount,
        watching(tmp_path, "--in-place") as watch,
    ):
        with (mount.path / "Ico.iso").open("wb", buffering=0) as file:
            file.truncate(len(image))
            file.write(image[: 1 << 20])
        subprocess.run(["cp", "-p", tmp_path / "Okami.iso", mount.path], check=True)
        disc = mount.path / "Okami.iso"
        with all_the_time(reader(disc, image)):
            watch.wait_for_results("Okami.iso")
        wait_until(lambda: not disc.stat().st_mode & 0o222, "the protection")
        with pytest.raises(PermissionError):
            disc.unlink()
        assert "not copied it completely" in watch.waits_for("Ico.iso")
        (mount.path / "Ico.iso").unlink()
    assert names(library) == ["Okami.zso"]
