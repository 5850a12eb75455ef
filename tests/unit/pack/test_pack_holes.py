"""Holes are read like data: some file systems have reported fresh data as a hole."""

import hashlib
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.injected import preload
from tests.support.mounting import names
from tests.support.packed import image_of, zsofs

IMAGE = writers.disc(3 << 20, ["text", "noise"], 2)

ALL_IS_A_HOLE = """
off_t lseek64(int fd, off_t offset, int whence)
{
    if (whence == SEEK_DATA) { errno = ENXIO; return -1; }
    if (whence == SEEK_HOLE) return offset;
    return syscall(SYS_lseek, fd, offset, whence);
}

off_t lseek(int fd, off_t offset, int whence) { return lseek64(fd, offset, whence); }
"""


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """An image that takes less room than it is long, as a fresh file on OpenZFS does."""
    path = tmp_path / "Game.iso"
    with path.open("wb") as file:
        file.write(IMAGE)
        file.truncate(8 << 20)
    assert path.stat().st_blocks * 512 < path.stat().st_size
    return path


def test_data_that_is_reported_as_a_hole_is_packed(tmp_path: Path, sparse: Path) -> None:
    environment = preload(tmp_path, ALL_IS_A_HOLE)
    (tmp_path / "out").mkdir()
    packed = tmp_path / "out" / "Game.zso"
    zsofs("pack", "--delete-source", sparse, "-o", packed, env=environment)
    assert image_of(packed) == IMAGE.ljust(8 << 20, b"\0")


def test_data_that_is_reported_as_a_hole_is_unpacked_and_verified(
    tmp_path: Path, sparse: Path
) -> None:
    """The reading back of what was unpacked, sparse, and the checksums of a plain image."""
    environment = preload(tmp_path, ALL_IS_A_HOLE)
    zsofs("pack", "--delete-source", sparse)
    zsofs("unpack", "--delete-source", tmp_path / "Game.zso", env=environment)
    assert sparse.read_bytes() == IMAGE.ljust(8 << 20, b"\0")
    assert sparse.stat().st_blocks * 512 < sparse.stat().st_size, "it is written with holes"
    rom = tmp_path / "a.dat"
    sha1 = hashlib.sha1(sparse.read_bytes()).hexdigest()
    rom.write_text(
        '<datafile><header><name>x</name></header><game name="Game">'
        f'<rom name="Game.iso" size="{8 << 20}" sha1="{sha1}"/></game></datafile>'
    )
    said = zsofs("verify", "--no-cache", "--dat", rom, sparse, env=environment).stdout
    assert "verified" in said
    assert "Game.zso" not in names(tmp_path)
