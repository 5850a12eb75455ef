"""A library that is packed in place while it is mounted: readers do not notice."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
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


@contextmanager
def looked_up(path: Path) -> Iterator[Path]:
    """Look a name up, as Samba does before it opens the file; yield a path to open it by.

    The kernel cannot look the name up again if the file has another one by then.
    """
    fd = os.open(path, os.O_PATH)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def reader(path: Path, image: bytes) -> Callable[[], None]:
    """What a program does that looks at a disc, opens it as Samba does, and reads a part of it.

    It pauses for a moment, or it would leave nothing to the watch, which has the lowest priority.
    """
    places = iter(range(0, 1 << 40, 65536 * 7))

    def act() -> None:
        assert path.stat().st_size == len(image)
        assert path.name in os.listdir(path.parent)
        with looked_up(path) as found, found.open("rb", buffering=0) as file:
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


def test_a_disc_that_is_gone_before_its_directory_is_scanned(
    source: Path, mount: MountMaker, faults: Faults
) -> None:
    """The kernel is to look the name up again: ENOENT would be its answer to the program."""
    own = source / "Okami.iso"
    own.write_bytes(LAYOUTS["plain"][3])
    elsewhere = source.parent / "Okami.iso"
    impatient = (*FAULTY, json.dumps({"stale_listing": 0.01}))
    made = mount(source, command=impatient)
    with looked_up(made.path / "Okami.iso") as found:
        with faults.on("background", "Scanner.survey", "held"):
            own.rename(elsewhere)
            wait_until(faults.done, "the scan")
            with pytest.raises(OSError, match="Stale"):
                found.read_bytes()
        elsewhere.rename(own)
    assert (made.path / "Okami.iso").read_bytes() == LAYOUTS["plain"][3]


@pytest.fixture(params=["plain", "opl"])
def disc(source: Path, mount: MountMaker, request: pytest.FixtureRequest) -> Path:
    """A plain image in a mount, as Okami.iso in the source."""
    options, own, shown, image = LAYOUTS[request.param]
    (source / own).write_bytes(image)
    return mount(source, *options).path / shown


def pack_in_place(image: Path) -> None:
    """Replace an image by its packed file, as the watch of a library does first."""
    packed = image.with_name(".packed.part")
    packed.write_bytes(writers.zsoz(image.read_bytes()))
    os.utime(packed, ns=(0, image.stat().st_mtime_ns))
    packed.replace(image)


@pytest.mark.parametrize("is_read", [False, True])
def test_an_open_during_which_a_disc_is_renamed(source: Path, disc: Path, is_read: bool) -> None:
    image, number = (source / "Okami.iso").read_bytes(), disc.stat().st_ino
    pack_in_place(source / "Okami.iso")
    wait_until(lambda: disc.stat().st_ino != number, "the packed disc")
    if is_read:
        assert disc.read_bytes() == image
    with looked_up(disc) as found:
        (source / "Okami.iso").rename(source / "Okami.zso")
        assert found.read_bytes() == image
        wait_until(lambda: disc.stat().st_ino != found.stat().st_ino, "the new name")
        assert found.read_bytes() == image
    assert disc.read_bytes() == image


@pytest.mark.parametrize("is_read", [False, True])
def test_an_open_during_which_a_disc_is_packed(source: Path, disc: Path, is_read: bool) -> None:
    """Whether the program opens it after the exchange, or after the rename as well."""
    image = (source / "Okami.iso").read_bytes()
    if is_read:
        assert disc.read_bytes() == image
    with looked_up(disc) as found, looked_up(disc) as found_too:
        pack_in_place(source / "Okami.iso")
        assert found.read_bytes() == image
        (source / "Okami.iso").rename(source / "Okami.zso")
        assert found.read_bytes() == image
        assert found_too.read_bytes() == image
    assert disc.read_bytes() == image


def test_a_disc_that_is_open_is_opened_again_after_both_renames(source: Path, disc: Path) -> None:
    image = (source / "Okami.iso").read_bytes()
    with looked_up(disc) as found, disc.open("rb", buffering=0) as file:
        half = file.read(len(image) // 2)
        pack_in_place(source / "Okami.iso")
        (source / "Okami.iso").rename(source / "Okami.zso")
        wait_until(lambda: disc.stat().st_ino != found.stat().st_ino, "the new file")
        assert found.read_bytes() == image
        assert half + file.read() == image


def test_an_open_during_which_a_new_disc_is_packed(tmp_path: Path, source: Path) -> None:
    """That of a client, which may still change it: it is a protected disc then."""
    image, own = LAYOUTS["plain"][3], source / "Okami.iso"
    quick = timed(new_disc_quiet=0.3)
    with mounted(source, tmp_path / "mnt", "--writable", "--new-discs", command=quick) as made:
        disc = made.path / "Okami.iso"
        disc.write_bytes(image)
        assert disc.read_bytes() == image
        wait_until(lambda: not os.listxattr(own), "the whole disc")
        with looked_up(disc) as found:
            pack_in_place(own)
            assert found.read_bytes() == image
            with pytest.raises(PermissionError):
                found.open("r+b")
        assert disc.read_bytes() == image


def test_an_open_that_lasts_until_a_new_disc_is_packed(
    tmp_path: Path, source: Path, faults: Faults
) -> None:
    """What a program then wrote would be in a file without a name."""
    image, own = LAYOUTS["plain"][3], source / "Okami.iso"
    quick = (*FAULTY, json.dumps({"new_disc_quiet": 0.3}))
    with (
        mounted(source, tmp_path / "mnt", "--writable", "--new-discs", command=quick) as made,
        ThreadPoolExecutor(1) as pool,
    ):
        disc = made.path / "Okami.iso"
        disc.write_bytes(image)
        wait_until(lambda: not os.listxattr(own), "the whole disc")
        with looked_up(disc) as found:
            with faults.on("open", "changes.seen", "held"):
                opening = pool.submit(found.open, "r+b")
                wait_until(faults.done, "the open")
                pack_in_place(own)
                assert found.read_bytes() == image
            with pytest.raises(PermissionError):
                opening.result(300)
            assert found.read_bytes() == image
        assert not made.log_lines("internal error")


@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_an_open_during_which_a_file_that_can_be_changed_is_renamed(
    tmp_path: Path, source: Path, mode: str
) -> None:
    """It fails: two numbers for one file would have pages each, and discs are opened to read."""
    (source / "notes.txt").write_bytes(b"notes")
    with mounted(source, tmp_path / "mnt", "--writable") as made:
        with looked_up(made.path / "notes.txt") as found:
            (source / "notes.txt").rename(source / "new.txt")
            with pytest.raises(OSError, match="Stale"):
                found.open(mode)
        assert (made.path / "new.txt").read_bytes() == b"notes"


@pytest.mark.parametrize("is_read", [False, True])
def test_an_open_during_which_another_disc_gets_the_name(
    source: Path, disc: Path, is_read: bool
) -> None:
    """It fails, even if the size is the same: the kernel may have bytes of the one before."""
    before = (source / "Okami.iso").read_bytes()
    now = before[:-1] + b"?"
    if is_read:
        assert disc.read_bytes() == before
    with looked_up(disc) as found:
        (source / "new").write_bytes(writers.zsoz(now))
        (source / "new").replace(source / "Okami.iso")
        with pytest.raises(OSError, match="Stale"):
            found.read_bytes()
    assert disc.read_bytes() == now


@pytest.mark.parametrize("is_opened_before", [False, True])
def test_a_disc_that_is_renamed_and_made_private(
    source: Path, disc: Path, is_opened_before: bool
) -> None:
    """The kernel checks the permissions that it knows, which are those before."""
    own, new, number = source / "Okami.iso", source / "Okami.zso", disc.stat().st_ino
    pack_in_place(own)
    wait_until(lambda: disc.stat().st_ino != number, "the packed disc")
    with looked_up(disc) as found:
        if is_opened_before:
            own.rename(new)
            assert found.read_bytes()
        new = new if is_opened_before else own.rename(new)
        new.chmod(0o600)
        wait_until(lambda: disc.stat().st_mode & 0o77 == 0, "the permissions")
        with pytest.raises(OSError, match="Stale"):
            found.read_bytes()
    assert disc.read_bytes()


def test_a_disc_that_is_open_was_changed_and_replaced(source: Path, disc: Path) -> None:
    """Its reader gets no byte of the packed file, whose date and size are those of the image."""
    own = source / "Okami.iso"
    before, status, number = own.read_bytes(), own.stat(), disc.stat().st_ino
    now = before[:-2048] + b"now " * 512
    with looked_up(disc) as found, disc.open("rb", buffering=0) as file:
        assert file.read(4096) == before[:4096]
        with own.open("r+b") as writer:
            writer.seek(-2048, os.SEEK_END)
            writer.write(now[-2048:])
        os.utime(own, ns=(0, status.st_mtime_ns))
        pack_in_place(own)
        wait_until(lambda: disc.stat().st_ino != number, "the packed disc")
        for _ in range(2):  # the first one finds that the file was modified
            with pytest.raises(OSError, match="Stale"):
                found.read_bytes()
        with pytest.raises(OSError, match="Input/output"):
            os.pread(file.fileno(), 2048, len(before) - 2048)
    assert disc.read_bytes() == now


def test_a_renamed_disc_that_was_also_changed(source: Path, disc: Path) -> None:
    """Its date has not: only the watch on the file tells that the kernel's bytes are old."""
    own, now = source / "Okami.iso", b"now " * 1024
    status = own.stat()
    end = status.st_size - len(now)
    assert disc.read_bytes()[end:] != now
    with looked_up(disc) as found:
        with own.open("r+b") as file:
            file.seek(end)
            file.write(now)
        os.utime(own, ns=(0, status.st_mtime_ns))
        own.rename(source / "Other.iso")
        with pytest.raises(OSError, match="Stale"):
            found.read_bytes()


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
