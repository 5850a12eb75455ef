"""Packing onto disks, and from disks, that cannot do all that is asked of them."""

import functools
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import writers
from tests.support.disks import MIB, cut_off, disk_mounted, exfat_mounted, make_ext4
from tests.support.mounting import ZSOFS, names
from tests.support.packed import image_of
from tests.support.rounds import rounds
from tests.unit.native.test_encoder import Silent
from tests.unit.pack.test_pack import sparse
from zsofs.errors import InputError
from zsofs.formats.file_names import is_unfinished
from zsofs.images.input_image import Original, original
from zsofs.pack.outputs import one_file
from zsofs.pack.packer import PackOptions, pack
from zsofs.pack.presets import PURPOSES
from zsofs.pack.unpacker import unpack


@functools.cache
def small_disc() -> bytes:
    return writers.disc(5 << 20, ["text", "noise", "mixed"], 2)


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_a_disk_on_which_another_user_sets_the_dates(
    as_root: None, another_user: None, tmp_path: Path, command: str
) -> None:
    """As a share of SMB is, or a stick with FAT, that root has mounted for everybody."""
    before, after = ("Game.iso", "Game.zso") if command == "pack" else ("Game.zso", "Game.iso")
    content = small_disc() if command == "pack" else writers.zsoz(small_disc())
    with exfat_mounted(tmp_path, tmp_path / "disk") as point:
        (point / before).write_bytes(content)
        os.utime(point / before, (10**9, 10**9))
        done = subprocess.run(
            [*ZSOFS, command, before],
            cwd=point,
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith(f"zsofs: {before}: the output has the current date")
        assert names(point) == sorted([before, after])
        assert image_of(point / after) == small_disc()
        assert (point / after).stat().st_mtime > 10**9


class Unplugger:
    """A watcher that takes the disk away at a moment of a run."""

    def __init__(self, disk: Path, moment: str) -> None:
        self.disk, self.moment = disk, moment
        self.part, self.done = "writing", 0

    def advance(self, plain: int, stored: int) -> None:
        self.done += plain
        self._at(self.part)
        if self.done == len(small_disc()):
            self._at("before fsync" if self.part == "writing" else "before rename")

    def check(self) -> None:
        self.part, self.done = "reading back", 0
        self._at("before reading back")

    def _at(self, moment: str) -> None:
        if moment == self.moment:
            self.moment = ""
            cut_off(self.disk)


@pytest.mark.parametrize(
    "moment",
    ["writing", "before fsync", "before reading back", "reading back", "before rename"],
)
@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_an_output_disk_that_goes(as_root: None, tmp_path: Path, command: str, moment: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(small_disc() if command == "pack" else writers.zsoz(small_disc()))
    convert: Callable[..., object] = partial(pack, how=PURPOSES["mount"])
    if command == "unpack":

        def convert(image: Original, target: str, **how: Any) -> object:
            return unpack(one_file(target, image), **how)

    image = make_ext4(tmp_path / "disk.img", 32 * MIB)
    with disk_mounted(image, tmp_path / "disk") as point, original(str(source)) as opened_source:
        target, watcher = str(point / "Game"), Unplugger(point, moment)
        with pytest.raises(InputError) as caught:
            convert(opened_source, target, options=PackOptions(), watcher=watcher)
        assert watcher.moment == "", "it came so far"
        if moment == "before reading back":
            assert str(caught.value) == (
                "verification failed, the data read back differs from the data written; the"
                " disk may be failing: it"
                " cannot be opened: Input/output error"
            )
        assert str(caught.value).endswith("Input/output error")
    with disk_mounted(image, tmp_path / "disk") as point:
        left = {name for name in names(point) if not is_unfinished(os.fsencode(name))}
        assert left == {"lost+found"}
    assert image_of(source) == small_disc()


def bytes_read() -> int:
    """How many bytes this process has been given by calls that read."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_an_image_with_holes_is_read_completely(tmp_path: Path) -> None:
    """A file system may report fresh data as a hole; holes are created again for the zeros."""
    size = rounds(1 << 28, 1 << 30)
    sparse(tmp_path / "Game.iso", size, {0: small_disc(), size // 2: small_disc()})
    packed, back = tmp_path / "Game.zso", tmp_path / "Back.iso"
    before = bytes_read()
    with original(str(tmp_path / "Game.iso")) as image:
        pack(image, str(packed), PURPOSES["mount"], PackOptions(), Silent())
    assert size <= bytes_read() - before < size + 64 * MIB, "with all that is read back"
    assert packed.stat().st_size < 16 * MIB
    with original(str(packed)) as image:
        unpack(one_file(str(back), image), PackOptions(verify=False), Silent())
    assert back.stat().st_size == size
    assert back.stat().st_blocks * 512 < 16 * MIB
