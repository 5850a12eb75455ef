"""The encoders and the layout: every block against other decoders, every bound."""

import os
import random
import struct
import tempfile
import zlib
from array import array
from pathlib import Path

import lz4.block
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import writers
from tests.support.rounds import rounds
from tests.support.zsoz_reader import Zsoz
from zsofs.formats.geometry import MAX_IMAGE_SIZE, Codec
from zsofs.formats.ziso_writer import ContainerLayout
from zsofs.images.input_image import original
from zsofs.native.encoder import Encoder, crc32, index_entries
from zsofs.native.fileio import rename_new, start_writeback, write_sparse
from zsofs.pack import atomic_file
from zsofs.pack.packer import PackOptions, pack
from zsofs.pack.presets import Packing
from zsofs.system import renames

PLAIN = 1 << 31


class Silent:
    def advance(self, plain: int, stored: int) -> None:
        pass

    def check(self) -> None:
        pass


def encoded(encoder: Encoder, data: bytes, block_size: int) -> tuple[bytes, list[int]]:
    count = -(-len(data) // block_size)
    lengths = array("I", bytes(4 * count))
    room = encoder.room(len(data))
    out = bytearray(b"\xee" * (room + 4096))
    done = encoder.encode(data, out, lengths)
    assert done <= room
    assert not out[room:].strip(b"\xee"), "nothing was written past the room"
    return bytes(out[:done]), list(lengths)


@pytest.mark.parametrize("shift", [0, 1, 3])
@pytest.mark.parametrize("level", [1, 3, 9, 12])
@pytest.mark.parametrize("codec", Codec.__members__.values())
def test_every_block_decodes_elsewhere(codec: Codec, level: int, shift: int) -> None:
    if codec is Codec.ZLIB:
        with pytest.raises(ValueError, match="no encoder"):
            Encoder(codec, level, 4096, shift)
        return
    block_size = 4096
    data = writers.content(60 * block_size + 77, ["zeros", "text", "mixed", "noise", "tight"], 9)
    encoder = Encoder(codec, level, block_size, shift)
    for _ in range(2):  # an encoder keeps nothing of what it did before
        stored, lengths = encoded(encoder, data, block_size)
        at = 0
        for number, length in enumerate(lengths):
            size = (length & ~PLAIN) << shift
            piece = stored[at : at + size]
            at += size
            block = data[number * block_size : (number + 1) * block_size]
            if codec is not Codec.ZSTD:
                block = block.ljust(block_size, b"\0")
                assert size <= block_size
                assert bool(length & PLAIN) == (size == block_size)
            if length & PLAIN:
                assert piece == block
            elif codec is Codec.DEFLATE:
                inflater = zlib.decompressobj(-15)
                assert inflater.decompress(piece) == block
                assert inflater.eof
                assert len(inflater.unused_data) < 1 << shift
                assert not inflater.unused_data.strip(b"\0")
            elif codec is Codec.LZ4:
                plain, padding = _lz4(piece, block_size, shift)
                assert plain == block
                assert len(set(padding)) <= 1
                assert padding[:1] != piece[len(piece) - len(padding) - 1 :][:1]
            else:
                decoder = zstandard.ZstdDecompressor().decompressobj()
                assert decoder.decompress(piece) == block
                assert len(decoder.unused_data) < 1 << shift
                assert not decoder.unused_data.strip(b"\0")
                assert zstandard.get_frame_parameters(piece).has_checksum
        assert at == len(stored)


def _lz4(piece: bytes, block_size: int, shift: int) -> tuple[bytes, bytes]:
    """The plain bytes of a block, and its padding."""
    for padding in reversed(range(1 << shift)):  # a zero may pass for a part of the block
        try:
            plain = bytes(
                lz4.block.decompress(piece[: len(piece) - padding], uncompressed_size=block_size)
            )
        except lz4.block.LZ4BlockError:
            continue
        if len(plain) == block_size:
            return plain, piece[len(piece) - padding :]
    raise AssertionError("no LZ4 block")


def test_bounds_of_an_encoder() -> None:
    for arguments in ((0, 3, 0, 0), (0, 3, 1 << 25, 0), (0, 3, 4096, 12), (0, 3, 6000, 5)):
        with pytest.raises(ValueError, match="out of bounds"):
            Encoder(*arguments)
    encoder = Encoder(Codec.LZ4, 3, 2048, 0)
    with pytest.raises(ValueError, match="too small"):
        encoder.encode(bytes(4096), bytearray(4095), array("I", bytes(8)))
    with pytest.raises(ValueError, match="too small"):
        encoder.encode(bytes(4096), bytearray(4096), array("I", bytes(4)))
    assert encoder.encode(b"", bytearray(), array("I")) == 0
    with pytest.raises(ValueError, match="fewer lengths"):
        index_entries(array("I", [1]), 2, 0)


def test_index_entries_and_checksums() -> None:
    entries, end = index_entries(array("I", [5, 7 | PLAIN, 9]), 3, 100)
    assert struct.unpack("<3I", entries) == (100, 105 | PLAIN, 112)
    assert end == 121
    data = os.urandom(100_001)
    assert crc32(data) == zlib.crc32(data)
    assert crc32(data[777:], crc32(data[:777])) == zlib.crc32(data)


@given(
    st.sampled_from([Codec.LZ4, Codec.ZSTD]),
    st.integers(0, MAX_IMAGE_SIZE),
    st.integers(1, 512).map(lambda n: 2048 * n),
)
def test_a_layout_reaches_the_end_with_the_smallest_shift(
    codec: Codec, size: int, block_size: int
) -> None:
    layout = ContainerLayout.of(codec, size, block_size)

    def worst(shift: int) -> int:
        other = ContainerLayout(codec, size, block_size, shift)
        longest = block_size if codec is Codec.LZ4 else block_size + block_size // 256 + 64
        return other.data_start + other.block_count * other.padded(longest)

    assert worst(layout.shift) >> layout.shift < 1 << 31
    assert layout.shift == 0 or worst(layout.shift - 1) >> layout.shift - 1 >= 1 << 31
    assert layout.shift <= 6
    assert block_size % (1 << layout.shift) == 0


def test_the_shift_of_usual_sizes() -> None:
    gib = 1 << 30
    for size, shift in (
        (gib, 0),
        (2 * gib - (8 << 20), 0),
        (2 * gib, 1),
        (4 * gib, 2),
        (9 * gib, 3),
    ):
        assert ContainerLayout.of(Codec.LZ4, size, 2048).shift == shift


@settings(max_examples=rounds(30, 60))
@given(
    writers.containers(),
    st.sampled_from([Codec.LZ4, Codec.ZSTD]),
    st.sampled_from([2048, 4096, 6144, 32768, 1 << 20]),
    st.sampled_from([1, 3, 9]),
)
def test_any_container_in_any_way(
    made: tuple[bytes, bytes, str], codec: Codec, block_size: int, level: int
) -> None:
    image, container, described = made
    with tempfile.TemporaryDirectory() as folder:
        old, new = os.path.join(folder, "in"), os.path.join(folder, "out")
        Path(old).write_bytes(container)
        with original(old) as source:
            if source.disc is None:
                return  # an empty image in a file that nothing tells from another
            pack(source, new, Packing(codec, level, block_size), PackOptions(), Silent())
        data = Path(new).read_bytes()
        with original(new) as copy:
            out = bytearray(copy.size)
            if out:
                copy.read_into(0, memoryview(out))
    assert bytes(out) == image, described
    if codec is Codec.ZSTD:
        assert Zsoz(data).image() == image
        assert Zsoz(data).agrees(image)


def test_a_new_name_must_be_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    with pytest.raises(FileExistsError):
        rename_new(str(old), str(new))

    def cannot(*_: object) -> None:
        raise OSError(22, "Invalid argument")  # as a file system without it says

    monkeypatch.setattr(renames, "rename_new", cannot)
    monkeypatch.setattr(renames, "rename_exchange", cannot)
    with atomic_file.new_file(str(tmp_path / "a")) as file:
        file.write(b"whole", 0)
        file.take_name(replace=False)
    assert (tmp_path / "a").read_bytes() == b"whole"
    with atomic_file.new_file(str(tmp_path / "a")) as file:
        with pytest.raises(Exception, match="was created during the run"):
            file.take_name(replace=False)
        file.take_name(replace=True)
    assert (tmp_path / "a").read_bytes() == b""


def test_holes_for_zeros(tmp_path: Path) -> None:
    rng = random.Random(1)
    data = bytearray(1 << 20)
    for _ in range(12):
        at = rng.randrange(1 << 20)
        data[at : at + 5000] = rng.randbytes(min(5000, (1 << 20) - at))
    with (tmp_path / "a").open("wb+") as file:
        write_sparse(file.fileno(), data, 8192)
        start_writeback(file.fileno(), 0, 1 << 20)
        file.truncate(8192 + (1 << 20))
        assert file.read() == bytes(8192) + data
        assert os.fstat(file.fileno()).st_blocks * 512 < 300_000
    with (tmp_path / "a").open("rb") as file, pytest.raises(OSError, match="Bad file"):
        write_sparse(file.fileno(), b"x", 0)
