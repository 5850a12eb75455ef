"""What a header does not say, found out from the payload."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import writers
from zsofs.formats.geometry import Codec
from zsofs.images.probe import Disc, geometry_of, probe
from zsofs.images.source_file import OpenSource


def probed(tmp_path: Path, data: bytes) -> Disc | None:
    path = tmp_path / "file"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        return probe(OpenSource.of(fd, os.fstat(fd)))
    finally:
        os.close(fd)


CODECS: dict[str, tuple[Callable[[bytes], bytes], Codec]] = {
    "lz4": (writers.ziso_py, Codec.LZ4),
    "zstd": (writers.zstd_ziso, Codec.ZSTD),
    "zlib": (writers.zlib_zso, Codec.ZLIB),
}


@pytest.mark.parametrize("name", CODECS)
def test_packed_blocks_may_begin_late(tmp_path: Path, name: str) -> None:
    writer, codec = CODECS[name]
    image = writers.content(5 << 20, ["noise"], 1) + writers.content(1 << 20, ["text"], 2)
    disc = probed(tmp_path, writer(image))
    assert disc is not None
    assert disc.codec is codec


@pytest.mark.parametrize("name", CODECS)
def test_one_damaged_block_does_not_decide(tmp_path: Path, name: str) -> None:
    writer, codec = CODECS[name]
    data = bytearray(writer(writers.content(1 << 20, ["text"], 3)))
    first = int.from_bytes(data[24:28], "little") & 0x7FFFFFFF
    data[first : first + 40] = os.urandom(40)
    disc = probed(tmp_path, bytes(data))
    assert disc is not None
    assert disc.codec is codec


def test_nothing_packed_at_all(tmp_path: Path) -> None:
    image = writers.content(3 << 20, ["noise"], 4)
    assert probed(tmp_path, writers.ziso_py(image)) is not None


def test_a_plain_file_is_no_disc(tmp_path: Path) -> None:
    assert probed(tmp_path, b"") is None
    assert probed(tmp_path, b"ZIS") is None
    assert probed(tmp_path, os.urandom(5000)) is None


def test_opening_a_disc_reads_the_index_of_its_first_32_mib(tmp_path: Path) -> None:
    """With the header: a hard disk would have to go there again for it."""
    path = tmp_path / "file"
    path.write_bytes(writers.ziso_py(bytes(40 << 20)))
    fd = os.open(path, os.O_RDONLY)
    try:
        source = OpenSource.of(fd, os.fstat(fd))
        disc = probe(source)
        assert disc is not None
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        geometry_of(source, disc)
        try:
            got = os.preadv(fd, [bytearray(4096)], 60 << 10, os.RWF_NOWAIT)
        except BlockingIOError:
            got = 0
        except OSError as error:
            pytest.skip(f"no RWF_NOWAIT: {error.strerror}")
        assert got == 4096
    finally:
        os.close(fd)
