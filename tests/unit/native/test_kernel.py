"""The kernel by itself: bounds, every error with its words, waiting, and what writers get wrong."""

import errno
import os
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import lz4.block
import pytest
import zstandard

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.mounting import is_in_memory
from zsofs.errors import BlockError, SourceChangedError
from zsofs.formats.geometry import Codec, Rule
from zsofs.native.block_reader import ASK, LOOK, NO_NOWAIT, WOULD_WAIT, BlockReader, read_plain
from zsofs.native.fetch import serves_from_memory

BLOCK = 2048
BIT_31 = 0x80000000
TEXT = writers.content(BLOCK, ["text"], seed=1)
NOISE = writers.content(BLOCK, ["noise"], seed=2)


def packed_lz4(plain: bytes) -> bytes:
    return bytes(lz4.block.compress(plain, store_size=False))


def packed_zstd(plain: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=9, write_checksum=True).compress(plain)


def packed_deflate(plain: bytes) -> bytes:
    return zlib.compress(plain, wbits=-15)


PACKED: dict[Codec, Callable[[bytes], bytes]] = {
    Codec.LZ4: packed_lz4,
    Codec.ZSTD: packed_zstd,
    Codec.ZLIB: zlib.compress,
    Codec.DEFLATE: packed_deflate,
}


@dataclass
class Opened:
    """A file of blocks, and the reader for it.

    Attributes:
        fd: descriptor of the file, open for reading and writing.
        path: the file.
        begins: where each block's stored bytes begin.
        data_start: end of the index.
        reader: what is under test.
        options: what it was made from.
    """

    fd: int
    path: Path
    begins: list[int]
    data_start: int
    reader: BlockReader
    options: dict[str, int]

    def block(self, number: int, size: int = BLOCK) -> bytes:
        """One block, decoded into a buffer of just *size* bytes."""
        out = bytearray(size)
        assert self.reader.read(self.fd, number, 1, out) == size
        return bytes(out)

    def refusal(self, number: int) -> BlockError:
        """The error that one block gives."""
        with pytest.raises(BlockError) as caught:
            self.reader.read(self.fd, number, 1, bytearray(self.options["block_size"]))
        assert caught.value.block == number
        return caught.value

    def says(self, number: int, reason: str) -> None:
        """Assert that a block is refused, with its place and this reason."""
        error = self.refusal(number)
        assert error.offset == self.begins[number]
        assert str(error) == f"block {number} at file offset {self.begins[number]}: {reason}"
        assert error.errno == errno.EIO


Open = Callable[..., Opened]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Makes a file of blocks: the index at its very begin, then what is stored."""
    with ExitStack() as stack:
        count = 0

        def make(
            stored: Sequence[bytes],
            *,
            plain: Sequence[int] = (),
            entries: dict[int, int] | None = None,
            size: int | None = None,
            rule: Rule = Rule.FLAGGED,
            codec: Codec = Codec.LZ4,
            shift: int = 0,
            block_size: int = BLOCK,
            padding: bytes = b"\0",
            end: int | None = None,
            tail: bytes = b"",
            folder: Path = tmp_path,
            **options: int,
        ) -> Opened:
            nonlocal count
            count += 1
            amount = len(stored)
            data_start = 6 * amount if rule is Rule.DAX else 4 * (amount + 1)
            body = bytearray()
            begins = []
            for piece in stored:
                body += padding * (-(data_start + len(body)) % (1 << shift))
                begins.append(data_start + len(body))
                body += piece
            data_end = data_start + len(body)
            index = [begin >> shift for begin in [*begins, data_end]]
            for number in plain:
                index[number] |= BIT_31
            for number, value in (entries or {}).items():
                index[number] = value
                if number < amount:
                    begins[number] = (value & (BIT_31 - 1)) << shift
            if rule is Rule.DAX:
                lengths = [len(piece) for piece in stored]
                head = struct.pack(f"<{amount}I{amount}H", *index[:amount], *lengths)
            else:
                head = struct.pack(f"<{amount + 1}I", *index)
            path = folder / f"blocks{count}"
            path.write_bytes(head + body + tail)
            fd = os.open(path, os.O_RDWR)
            stack.callback(os.close, fd)
            status = os.fstat(fd)
            options = {
                "rule": rule,
                "codec": codec,
                "shift": shift,
                "size": amount * block_size if size is None else size,
                "block_size": block_size,
                "index_offset": 0,
                "data_start": data_start,
                "data_end": status.st_size if end is None else end,
                "source_size": status.st_size,
                "source_mtime_ns": status.st_mtime_ns,
            } | options
            return Opened(fd, path, begins, data_start, BlockReader(**options), options)

        yield make


# Bounds.


@pytest.mark.parametrize(
    "wrong",
    [
        {"block_size": 0},
        {"block_size": (16 << 20) + 1},
        {"block_size": 1 << 63},
        {"size": (64 << 30) + 1},
        {"size": (1 << 64) - 1},
        {"shift": 17},
        {"shift": -1},
        {"shift": 64},
    ],
    ids=str,
)
def test_a_geometry_out_of_bounds_is_refused(opened: Open, wrong: dict[str, int]) -> None:
    good = opened([packed_lz4(TEXT)])
    with pytest.raises(ValueError, match="geometry out of bounds"):
        BlockReader(**good.options | wrong)


@pytest.mark.parametrize("name", ["size", "block_size", "index_offset", "source_size"])
def test_negative_and_oversized_numbers_are_refused(opened: Open, name: str) -> None:
    good = opened([packed_lz4(TEXT)])
    for value in (-1, 1 << 64):
        with pytest.raises(OverflowError):
            BlockReader(**good.options | {name: value})
    with pytest.raises(TypeError):
        BlockReader(**good.options | {name: "1"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "count"),
    [(0, 0), (3, 1), (0, 4), (2, 2), (1 << 63, 1), ((1 << 64) - 1, 1), (1, (1 << 64) - 1), (3, 0)],
)
def test_a_run_outside_the_image_is_refused(opened: Open, first: int, count: int) -> None:
    good = opened([packed_lz4(TEXT)] * 3)
    out = bytearray(b"\xa5" * 10000)
    with pytest.raises(ValueError, match="not all inside the image"):
        good.reader.read(good.fd, first, count, out)
    assert out == b"\xa5" * 10000


def test_negative_places_are_refused(opened: Open) -> None:
    good = opened([packed_lz4(TEXT)] * 3)
    for first, count in ((-1, 1), (0, -1), (1 << 64, 1)):
        with pytest.raises(OverflowError):
            good.reader.read(good.fd, first, count, bytearray(10000))


def test_an_empty_image_has_no_blocks(opened: Open) -> None:
    empty = opened([])
    with pytest.raises(ValueError, match="not all inside the image"):
        empty.reader.read(empty.fd, 0, 1, bytearray(BLOCK))


def test_the_buffer_must_be_large_enough_and_writable(opened: Open) -> None:
    good = opened([packed_lz4(TEXT), packed_lz4(TEXT[:100])], size=BLOCK + 100)
    for first, count, need in ((0, 1, BLOCK), (0, 2, BLOCK + 100), (1, 1, 100)):
        for size in (0, 1, need - 1):
            with pytest.raises(ValueError, match=f"a buffer of {size} bytes cannot take {need}"):
                good.reader.read(good.fd, first, count, bytearray(size))
        out = bytearray(b"\xa5" * (need + 5000))
        assert good.reader.read(good.fd, first, count, out) == need
        assert out[:need] == (TEXT + TEXT[:100])[first * BLOCK :][:need]
        assert out[need:] == b"\xa5" * 5000
    for constant in (bytes(BLOCK), memoryview(bytes(BLOCK))):
        with pytest.raises(BufferError):
            good.reader.read(good.fd, 0, 1, constant)  # type: ignore[arg-type]
    strided = memoryview(bytearray(2 * BLOCK))[::2]
    with pytest.raises(BufferError):
        good.reader.read(good.fd, 0, 1, strided)


def test_a_view_into_the_middle_of_a_buffer(opened: Open) -> None:
    good = opened([packed_lz4(TEXT)])
    out = bytearray(b"\xa5" * (BLOCK + 200))
    assert good.reader.read(good.fd, 0, 1, memoryview(out)[100:-100]) == BLOCK
    assert out == b"\xa5" * 100 + TEXT + b"\xa5" * 100


# Reading.


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("shift", [0, 4, 16])
def test_runs_of_blocks(opened: Open, codec: Codec, shift: int) -> None:
    """Any run, of packed and plain blocks, near each other or far apart."""
    image = writers.content(40 * BLOCK - 700, ["text", "noise", "zeros"], seed=3)
    blocks = [image[at : at + BLOCK] for at in range(0, len(image), BLOCK)]
    plain = [number for number in range(len(blocks)) if number % 3 == 1]
    stored = [
        block if number in plain else PACKED[codec](block) for number, block in enumerate(blocks)
    ]
    good = opened(stored, plain=plain, codec=codec, shift=shift, size=len(image))
    generator = random.Random(1)
    for _ in range(300):
        first = generator.randrange(len(blocks))
        count = generator.randint(1, len(blocks) - first)
        wanted = image[first * BLOCK :][: count * BLOCK]
        out = bytearray(len(wanted))
        assert good.reader.read(good.fd, first, count, out) == len(wanted)
        assert out == wanted


def test_runs_longer_than_one_gathered_read(opened: Open) -> None:
    block = 640 << 10
    image = writers.content(7 * block, ["noise", "mixed"], seed=4, block_size=block)
    blocks = [image[at : at + block] for at in range(0, len(image), block)]
    good = opened([packed_lz4(one) for one in blocks], block_size=block)
    out = bytearray(len(image))
    assert good.reader.read(good.fd, 0, 7, out) == len(image)
    assert out == image


def test_many_threads_at_once(opened: Open) -> None:
    image = writers.content(200 * BLOCK, ["text", "mixed", "zeros"], seed=5)
    blocks = [image[at : at + BLOCK] for at in range(0, len(image), BLOCK)]
    made = [
        opened([PACKED[codec](block) for block in blocks], codec=codec)
        for codec in (Codec.LZ4, Codec.ZSTD, Codec.DEFLATE)
    ]

    def read_many(seed: int) -> None:
        generator = random.Random(seed)
        for _ in range(400):
            one = generator.choice(made)
            first = generator.randrange(200)
            count = generator.randint(1, min(64, 200 - first))
            out = bytearray(count * BLOCK)
            one.reader.read(one.fd, first, count, out)
            assert out == image[first * BLOCK :][: count * BLOCK]

    with ThreadPoolExecutor(8) as pool:
        for run in [pool.submit(read_many, seed) for seed in range(8)]:
            run.result(300)


# Rules and codecs mean what zsofs.formats.geometry says.


def test_each_codec_decodes_its_own(opened: Open) -> None:
    assert set(PACKED) == set(Codec)
    for codec in Codec:
        for other in Codec:
            made = opened([PACKED[other](TEXT)] * 2, codec=codec)
            if codec is other:
                assert made.block(0) == TEXT
            else:
                assert "stored bytes are not valid" in str(made.refusal(0))


def test_rule_flagged(opened: Open) -> None:
    made = opened([packed_zstd(TEXT), NOISE], plain=[1], codec=Codec.ZSTD)
    assert made.block(0) == TEXT
    assert made.block(1) == NOISE


def test_rule_ciso2(opened: Open) -> None:
    """Plain if as long as a block, else by bit 31 LZ4 or deflate; never the image's codec."""
    stored = [packed_deflate(TEXT), packed_lz4(TEXT), NOISE, NOISE, packed_lz4(TEXT)]
    made = opened(stored, plain=[1, 3, 4], rule=Rule.CISO2, codec=Codec.DEFLATE)
    assert [made.block(number) for number in range(5)] == [TEXT, TEXT, NOISE, NOISE, TEXT]


def test_rule_dax(opened: Open) -> None:
    """Offsets have 32 bits, lengths stand by themselves, in any order."""
    stored = [zlib.compress(TEXT), zlib.compress(NOISE), zlib.compress(bytes(BLOCK))]
    made = opened(stored, rule=Rule.DAX, codec=Codec.ZLIB)
    assert [made.block(number) for number in range(3)] == [TEXT, NOISE, bytes(BLOCK)]
    raw = bytearray(made.path.read_bytes())
    raw[0:8] = raw[4:8] + raw[0:4]
    raw[12:16] = raw[14:16] + raw[12:14]
    made.path.write_bytes(raw)
    os.utime(made.path, ns=(0, made.options["source_mtime_ns"]))
    assert made.block(0) == NOISE
    assert made.block(1) == TEXT
    out = bytearray(3 * BLOCK)
    assert made.reader.read(made.fd, 0, 3, out) == 3 * BLOCK
    assert out == NOISE + TEXT + bytes(BLOCK)


def test_rule_framed(opened: Open) -> None:
    stored = [packed_zstd(TEXT), packed_zstd(NOISE)]
    made = opened(stored, rule=Rule.FRAMED, codec=Codec.ZSTD)
    assert [made.block(number) for number in range(2)] == [TEXT, NOISE]
    reason = (
        "bit 31 of its index entry or of the next one is set, which is invalid in this container"
    )
    for flagged, first in ((0, 0), (1, 0), (1, 1), (2, 1)):
        made = opened(stored, plain=[flagged], rule=Rule.FRAMED, codec=Codec.ZSTD)
        made.says(first, reason)


# Every error, with the number and the place of the block.


def test_backwards(opened: Open) -> None:
    made = opened([packed_lz4(TEXT)] * 4, entries={2: 30})
    begin = made.begins[1]
    made.says(1, f"its index entry points to {begin}, but the next one points back to 30")
    assert made.block(0) == made.block(3) == TEXT


def test_before_the_data(opened: Open) -> None:
    made = opened([packed_lz4(TEXT)] * 4, entries={0: 19})
    assert made.data_start == 20
    made.says(0, "its index entry points to 19, before the data begins at 20")
    made = opened([NOISE] * 4, plain=[0], entries={0: BIT_31})
    made.says(0, "its index entry points to 0, before the data begins at 20")


def test_past_the_end(opened: Open) -> None:
    for flag in (0, BIT_31):
        good = opened([packed_lz4(TEXT)] * 4)
        size = good.options["source_size"]
        entries = {2: flag | size, 3: flag | size, 4: size}
        made = opened([packed_lz4(TEXT)] * 4, entries=entries)
        made.says(2, f"its index entry points to {size}, past the end of the file at {size}")
        made.says(3, f"its index entry points to {size}, past the end of the file at {size}")


def test_far_past_the_end(opened: Open) -> None:
    """No sum or shift of 64 bits goes round."""
    most = BIT_31 - 1
    made = opened([packed_lz4(TEXT)] * 2, shift=16, entries={1: most, 2: most})
    size = made.options["source_size"]
    made.says(1, f"its index entry points to {most << 16}, past the end of the file at {size}")


def test_too_long(opened: Open) -> None:
    most = 2 * BLOCK + 16
    made = opened([packed_lz4(TEXT) + bytes(10000)] * 2, shift=4)
    length = made.begins[1] - made.begins[0]
    made.says(0, f"its stored length is {length}; the maximum is {most}")
    limit = opened([packed_lz4(TEXT).ljust(most, b"\0")] * 2, shift=4)
    assert limit.block(1) == TEXT
    limit.says(
        0, f"{most - len(packed_lz4(TEXT))} stray bytes follow its data; fewer than 16 are allowed"
    )


def test_a_plain_block_that_is_too_long(opened: Open) -> None:
    """Only padding may follow it, which is shorter than a unit."""
    for shift, stray in ((0, 0), (0, 1), (3, 7), (3, 8), (3, 3000)):
        made = opened([NOISE + b"X" * stray] * 3, plain=range(3), shift=shift)
        length = made.begins[1] - made.begins[0]
        most = BLOCK + (1 << shift) - 1
        if length > most:
            made.says(0, f"its stored length is {length}; the maximum is {most}")
        else:
            assert made.block(0) == NOISE
        assert made.block(2) == NOISE, "nothing tells where the last one ends"


def test_a_plain_block_of_ciso_version_2_that_is_too_long(opened: Open) -> None:
    for stray in (0, 3, 4, 3000):
        made = opened([NOISE + b"X" * stray] * 3, rule=Rule.CISO2, codec=Codec.DEFLATE, shift=2)
        length = made.begins[1] - made.begins[0]
        if length > BLOCK + 3:
            made.says(0, f"its stored length is {length}; the maximum is {BLOCK + 3}")
        else:
            assert made.block(0) == NOISE


@pytest.mark.parametrize("shift", [0, 3, 6])
def test_a_zsoz_block_without_a_checksum(opened: Open, shift: int) -> None:
    """From shift 3 up the four bytes of a checksum could be padding: one bit takes it away."""
    packed = bytearray(packed_zstd(TEXT))
    packed[4] ^= 4
    made = opened([bytes(packed)] * 2, rule=Rule.FRAMED, codec=Codec.ZSTD, shift=shift)
    for number in (0, 1):
        made.refusal(number)
    bare = zstandard.ZstdCompressor(level=9).compress(TEXT)
    made = opened([bare] * 2, rule=Rule.FRAMED, codec=Codec.ZSTD, shift=shift)
    made.says(0, "its frame has no checksum, but all frames of this container have one")
    other = opened([bare] * 2, codec=Codec.ZSTD, shift=shift)
    assert other.block(0) == TEXT, "other containers need none"


def test_empty(opened: Open) -> None:
    made = opened([b"", packed_lz4(TEXT)])
    made.says(0, "its stored length is 0")
    assert made.block(1) == TEXT
    made = opened([b""], rule=Rule.DAX, codec=Codec.ZLIB, tail=bytes(100))
    made.says(0, "its stored length is 0")
    made = opened([packed_zstd(TEXT)] * 2, codec=Codec.ZSTD, rule=Rule.FRAMED, end=20)
    made.says(1, "its stored length is 0")


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        (Codec.LZ4, "LZ4"),
        (Codec.ZSTD, "Zstandard"),
        (Codec.ZLIB, "zlib"),
        (Codec.DEFLATE, "deflate"),
    ],
)
def test_not_that_codec(opened: Open, codec: Codec, name: str) -> None:
    made = opened([PACKED[codec](TEXT), b"\xff" * 700, PACKED[codec](TEXT)], codec=codec)
    made.says(1, f"its 700 stored bytes are not valid {name} data")
    assert made.block(0) == made.block(2) == TEXT


def test_the_codec_of_the_block_is_named_in_ciso2(opened: Open) -> None:
    stored = [b"\xff" * 700, b"\xff" * 700, NOISE]
    made = opened(stored, plain=[1], rule=Rule.CISO2, codec=Codec.DEFLATE)
    made.says(0, "its 700 stored bytes are not valid deflate data")
    made.says(1, "its 700 stored bytes are not valid LZ4 data")


@pytest.mark.parametrize("codec", Codec)
def test_too_short(opened: Open, codec: Codec) -> None:
    for last in (False, True):
        short = PACKED[codec](TEXT[:1000])
        made = opened([PACKED[codec](TEXT), short, *([] if last else [short])], codec=codec)
        if last and codec is Codec.LZ4:  # whose end is looked for first
            made.says(1, f"its {len(short)} stored bytes are not valid LZ4 data")
        else:
            made.says(1, f"it decodes to 1000 bytes instead of {BLOCK}")


@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.ZLIB, Codec.DEFLATE])
def test_too_long_once_decoded(opened: Open, codec: Codec) -> None:
    made = opened([PACKED[codec](TEXT + b"x"), PACKED[codec](TEXT)], codec=codec)
    assert "stored bytes are not valid" in str(made.refusal(0))
    last = opened([PACKED[codec](TEXT + b"x")], codec=codec)
    assert "stored bytes are not valid" in str(last.refusal(0)), "also the last: a block is full"


@pytest.mark.parametrize("codec", Codec)
def test_a_last_block_that_is_stored_longer_than_the_image_goes_on(
    opened: Open, codec: Codec
) -> None:
    for size in (1, 2, 1000, BLOCK - 1):
        made = opened([PACKED[codec](TEXT)] * 2, codec=codec, size=BLOCK + size)
        assert made.block(1, size) == TEXT[:size]
        made = opened([PACKED[codec](TEXT[: size + 1])], codec=codec, size=size)
        assert made.block(0, size) == TEXT[:size]


def test_the_index_is_cut(opened: Open) -> None:
    made = opened([packed_lz4(TEXT)] * 4)
    entries = made.options | {"index_offset": made.options["source_size"] - 11}
    reader = BlockReader(**entries)
    with pytest.raises(BlockError) as caught:
        reader.read(made.fd, 2, 2, bytearray(2 * BLOCK))
    assert (caught.value.block, caught.value.offset) == (2, -1)
    assert str(caught.value) == "block 2: the file ends inside the index"
    dax = opened([zlib.compress(TEXT)] * 2, rule=Rule.DAX, codec=Codec.ZLIB)
    reader = BlockReader(**dax.options | {"index_offset": dax.options["source_size"] - 9})
    with pytest.raises(BlockError, match="block 0: the file ends inside the index"):
        reader.read(dax.fd, 0, 2, bytearray(2 * BLOCK))


def test_the_data_is_cut(opened: Open) -> None:
    packed = packed_lz4(TEXT)
    begin = 16 + len(packed)
    wanted = 2 * len(packed) + 100
    made = opened([packed] * 3, entries={2: begin + wanted, 3: 1 << 20})
    assert made.begins[1] == begin
    made.says(1, f"the file ends after {2 * len(packed)} of its {wanted} stored bytes")
    assert made.block(0) == TEXT
    made = opened([NOISE, NOISE, NOISE[:1000]], plain=[0, 1, 2])
    made.says(2, f"the file ends after 1000 of its {BLOCK} stored bytes")


def test_a_run_is_refused_for_its_first_bad_block(opened: Open) -> None:
    stored = [packed_lz4(TEXT), packed_lz4(TEXT), b"\xff" * 50, b"\xff" * 60, packed_lz4(TEXT)]
    made = opened(stored)
    with pytest.raises(BlockError) as caught:
        made.reader.read(made.fd, 0, 5, bytearray(5 * BLOCK))
    assert (caught.value.block, caught.value.offset) == (2, made.begins[2])
    assert made.block(4) == TEXT


# Errors that are not the image's.


def test_read_errors_are_the_system_s(opened: Open, tmp_path: Path) -> None:
    made = opened([packed_lz4(TEXT)])
    write_only = os.open(made.path, os.O_WRONLY)
    folder = os.open(tmp_path, os.O_RDONLY)

    def blocks(fd: int) -> int:
        return made.reader.read(fd, 0, 1, bytearray(BLOCK))

    def plain(fd: int) -> int:
        return read_plain(fd, 0, bytearray(10), 10, 0)

    cases = [(blocks, -1, errno.EBADF), (blocks, write_only, errno.EBADF)]
    cases += [(plain, -1, errno.EBADF), (plain, folder, errno.EISDIR)]
    try:
        for read, fd, number in cases:
            with pytest.raises(OSError) as caught:
                read(fd)
            assert caught.value.errno == number
            assert caught.value.strerror == os.strerror(number)
    finally:
        os.close(write_only)
        os.close(folder)


def append(made: Opened) -> None:
    os.pwrite(made.fd, b"x", made.options["source_size"])


def touch(made: Opened) -> None:
    os.utime(made.fd, ns=(0, made.options["source_mtime_ns"] + 1))


def rewrite(made: Opened) -> None:
    """All its bytes are others, of the same number."""
    os.pwrite(made.fd, b"\xff" * made.options["source_size"], 0)
    touch(made)


def cut(made: Opened) -> None:
    os.ftruncate(made.fd, made.options["source_size"] // 2)


def empty(made: Opened) -> None:
    os.ftruncate(made.fd, 0)


@pytest.mark.parametrize("change", [append, touch, rewrite, cut, empty])
@pytest.mark.parametrize("nowait", [False, True])
def test_a_file_that_has_changed_is_refused_as_that(
    opened: Open, change: Callable[[Opened], None], nowait: bool
) -> None:
    """Whatever else is wrong then: the change is the cause, no block is to blame."""
    made = opened([packed_lz4(TEXT)] * 4)
    out = bytearray(4 * BLOCK)
    made.reader.read(made.fd, 0, 4, out)
    change(made)
    if nowait:
        # A read that ends early may be the file system's way to say «not now».
        with suppress(SourceChangedError):
            assert made.reader.read(made.fd, 0, 4, out, ASK) in (WOULD_WAIT, NO_NOWAIT)
        return
    with pytest.raises(
        SourceChangedError, match="modified or truncated after it was opened"
    ) as caught:
        made.reader.read(made.fd, 0, 4, out)
    assert caught.value.errno == errno.EIO


# Without waiting.


@pytest.fixture(params=["on_disk", "memory"])
def place(request: pytest.FixtureRequest) -> Path:
    """A folder on a disk, and one on tmpfs."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


def test_nowait_gives_what_is_in_memory(opened: Open, place: Path) -> None:
    image = writers.content(50 * BLOCK, ["noise", "text"], seed=6)
    stored = [packed_lz4(image[at : at + BLOCK]) for at in range(0, len(image), BLOCK)]
    made = opened(stored, folder=place)
    assert made.reader.read(made.fd, 0, 50, bytearray(len(image))) == len(image)
    out = bytearray(len(image))
    result = made.reader.read(made.fd, 0, 50, out, ASK)
    assert result in (len(image), NO_NOWAIT)
    if result > 0:
        assert out == image
    plain = bytearray(made.options["source_size"])
    size, mtime = made.options["source_size"], made.options["source_mtime_ns"]
    result = read_plain(made.fd, 0, plain, size, mtime, ASK)
    assert result in (size, NO_NOWAIT)
    if result > 0:
        assert plain == made.path.read_bytes()


@pytest.mark.parametrize("how", [ASK, LOOK])
def test_nowait_never_gives_half_of_it(opened: Open, on_disk: Path, how: int) -> None:
    """With the pages out of memory, or some of them, an answer is all or nothing."""
    image = writers.content(500 * BLOCK, ["noise"], seed=7)
    stored = [image[at : at + BLOCK] for at in range(0, len(image), BLOCK)]
    made = opened(stored, plain=range(500), folder=on_disk)
    size, mtime = made.options["source_size"], made.options["source_mtime_ns"]
    os.fsync(made.fd)
    os.posix_fadvise(made.fd, 0, 0, os.POSIX_FADV_RANDOM)
    seen = set()
    generator = random.Random(1)
    for _ in range(60):
        os.posix_fadvise(made.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        for _ in range(generator.randrange(4)):
            os.pread(made.fd, generator.choice([1, 100_000]), generator.randrange(size))
        first = generator.randrange(450)
        count = generator.choice([1, 3, 50])
        out = bytearray(count * BLOCK)
        wanted = image[first * BLOCK :][: len(out)]
        result = made.reader.read(made.fd, first, count, out, how)
        assert result in (WOULD_WAIT, NO_NOWAIT, len(out))
        assert result < 0 or out == wanted
        seen.add(result < 0)
        place = made.begins[first]
        assert read_plain(made.fd, place, out, size, mtime, how) in (-1, -2, len(out))
        assert made.reader.read(made.fd, first, count, out) == len(out)
        assert out == wanted
        assert read_plain(made.fd, place, out, size, mtime) == len(out)
        assert out == wanted
    assert True in seen, "not once did it have to wait"


def test_looking_where_no_disk_is(opened: Open, place: Path) -> None:
    """A file system in memory cannot be asked; it can be looked at, by Linux 6.5 and later."""
    image = writers.content(50 * BLOCK, ["noise", "text"], seed=6)
    stored = [packed_lz4(image[at : at + BLOCK]) for at in range(0, len(image), BLOCK)]
    made = opened(stored, folder=place)
    out = bytearray(len(image))
    result = made.reader.read(made.fd, 0, 50, out, LOOK)
    assert result in (len(image), WOULD_WAIT)
    if result > 0:
        assert out == image
    assert serves_from_memory(made.fd) == is_in_memory(place)


def test_nowait_where_the_file_system_cannot(source: Path, mount: MountMaker, opened: Open) -> None:
    """FUSE has no reads that do not wait; the kernel says so once and for all."""
    made = opened([packed_lz4(TEXT)] * 3, folder=source)
    inner = mount(source).path / made.path.name
    fd = os.open(inner, os.O_RDONLY)
    try:
        status = os.fstat(fd)
        same = {"source_size": status.st_size, "source_mtime_ns": status.st_mtime_ns}
        reader = BlockReader(**made.options | same)
        out = bytearray(BLOCK)
        assert reader.read(fd, 1, 1, out) == BLOCK
        assert out == TEXT
        assert reader.read(fd, 1, 1, out, ASK) == NO_NOWAIT
        assert read_plain(fd, 0, out, status.st_size, status.st_mtime_ns, ASK) == NO_NOWAIT
    finally:
        os.close(fd)


# What writers leave behind a block.


@pytest.mark.parametrize("rule", [Rule.FLAGGED, Rule.FRAMED])
@pytest.mark.parametrize("shift", [0, 3])
def test_bytes_behind_a_zstd_frame(opened: Open, rule: Rule, shift: int) -> None:
    unit = 1 << shift
    for stray in (0, 1, unit - 1, unit, unit + 1, 300):
        padded = packed_zstd(TEXT) + b"X" * stray
        # A last byte that ends the unit, so that no padding is added.
        made = opened([padded, padded], rule=rule, codec=Codec.ZSTD, shift=shift)
        for number in (0, 1):
            end = [*made.begins[1:], made.options["data_end"]][number]
            follows = end - made.begins[number] - len(packed_zstd(TEXT))
            free = rule is Rule.FLAGGED and number == 1
            if free or follows < unit:
                assert made.block(number) == TEXT
            else:
                reason = f"{follows} stray bytes follow its data; fewer than {unit} are allowed"
                made.says(number, reason)


def test_zsoz_is_strict_about_its_last_block(opened: Open) -> None:
    longer = opened([packed_zstd(TEXT)] * 2, rule=Rule.FRAMED, codec=Codec.ZSTD, size=BLOCK + 9)
    assert "are not valid Zstandard data" in str(longer.refusal(1))
    shorter = opened([packed_zstd(TEXT[:9])], rule=Rule.FRAMED, codec=Codec.ZSTD, size=10)
    shorter.says(0, "it decodes to 9 bytes instead of 10")
    packed = packed_zstd(TEXT)
    trailer = opened(
        [packed], rule=Rule.FRAMED, codec=Codec.ZSTD, end=8 + len(packed), tail=bytes(99)
    )
    assert trailer.block(0) == TEXT
    early = opened([packed], rule=Rule.FRAMED, codec=Codec.ZSTD, end=8 + len(packed) - 1)
    early.says(0, f"its {len(packed) - 1} stored bytes are not valid Zstandard data")


@pytest.mark.parametrize("codec", [Codec.LZ4, Codec.ZLIB, Codec.DEFLATE])
@pytest.mark.parametrize("padding", [b"\0", b"X", b"\xff", b" "])
@pytest.mark.parametrize("shift", [0, 2, 3, 6])
def test_bytes_behind_the_data_of_a_block(
    opened: Open, codec: Codec, padding: bytes, shift: int
) -> None:
    """As many as pad it to a unit, but behind the last block, whose end is not known."""
    unit = 1 << shift
    for stray in (0, 1, 2, 3, 4, 7, 63, 64, 1000):
        for plain in (TEXT, NOISE, bytes(BLOCK)):
            packed = PACKED[codec](plain)
            made = opened(
                [packed + padding * stray] * 3,
                codec=codec,
                size=2 * BLOCK + 500,
                shift=shift,
                padding=padding,
            )
            for number in (0, 1):
                follows = made.begins[number + 1] - made.begins[number] - len(packed)
                if follows < unit:
                    assert made.block(number) == plain
                else:
                    made.says(
                        number,
                        f"{follows} stray bytes follow its data; fewer than {unit} are allowed",
                    )
            assert made.block(2, 500) == plain[:500]
            assert not made.reader.final_byte_missing


@pytest.mark.parametrize("shift", [0, 2, 3])
def test_the_adler_32_behind_a_deflate_stream(opened: Open, shift: int) -> None:
    """As ciso.py leaves it there, and padding behind that; it has to be the right one."""
    unit = 1 << shift
    packed = zlib.compress(TEXT)[2:]
    made = opened([packed] * 3, codec=Codec.DEFLATE, shift=shift, padding=b"X")
    assert made.block(0) == made.block(1) == made.block(2) == TEXT
    wrong = bytearray(packed)
    wrong[-1] ^= 1
    made = opened([bytes(wrong)] * 3, codec=Codec.DEFLATE, shift=shift, padding=b"X")
    follows = made.begins[1] - made.begins[0] - len(packed) + 4
    if follows >= unit:
        made.says(0, f"{follows} stray bytes follow its data; fewer than {unit} are allowed")
    longer = opened([packed + b"X" * unit] * 3, codec=Codec.DEFLATE, shift=shift)
    assert "stray bytes follow its data" in str(longer.refusal(0))


@pytest.mark.parametrize("codec", [Codec.LZ4, Codec.DEFLATE, Codec.ZLIB, Codec.ZSTD])
def test_an_index_entry_that_points_to_an_earlier_block_is_refused(
    opened: Open, codec: Codec
) -> None:
    """Such a block decodes to a whole one, of another place in the image."""
    stored = [PACKED[codec](plain) for plain in (TEXT, NOISE, TEXT[::-1], TEXT, TEXT)]
    good = opened(stored, codec=codec)
    made = opened(stored, codec=codec, entries={2: good.begins[0]})
    assert str(made.refusal(2))
    assert made.block(3) == TEXT


def test_a_dax_frame_has_the_length_that_its_table_says(opened: Open) -> None:
    frame = zlib.compress(TEXT)
    made = opened([frame, frame + b"X"], rule=Rule.DAX, codec=Codec.ZLIB)
    assert made.block(0) == TEXT
    made.says(1, "1 stray bytes follow its data; fewer than 1 are allowed")


def decoded_over(made: Opened, number: int, fill: int) -> bytes | None:
    out = bytearray([fill]) * made.options["block_size"]
    try:
        length = made.reader.read(made.fd, number, 1, out)
    except BlockError:
        return None
    return bytes(out[:length])


def lz4_literals(literals: bytes, follows: bytes) -> bytes:
    """One LZ4 sequence: these literals, and then *follows* in place of a distance."""
    size = len(literals)
    assert size >= 15
    more, rest = divmod(size - 15, 255)
    return b"\xf0" + b"\xff" * more + bytes([rest]) + literals + follows


@pytest.mark.parametrize("missing", [1, 2, 4, 5, 11, 12, 13, 100])
@pytest.mark.parametrize("place", ["middle", "last"])
def test_what_is_given_never_depends_on_what_the_buffer_held(
    opened: Open, missing: int, place: str
) -> None:
    """A match at distance 0 does not exist, and liblz4 takes it for one: it then leaves in place
    what the buffer held, such as another disc's bytes."""
    stored = lz4_literals(NOISE[: BLOCK - missing], b"\0\0" + bytes(8) + b"X" * 60)
    made = opened([stored, stored] if place == "middle" else [stored])
    assert len({decoded_over(made, 0, fill) for fill in (0, 0x41, 0xC3)}) == 1


# The last byte of an image, as ziso_compressor 0.7.0 can lose it.


@pytest.mark.parametrize("shift", [0, 2, 6])
@pytest.mark.parametrize("tail", [0, 1, 100, 2047])
def test_the_lost_last_byte_of_a_packed_block(opened: Open, shift: int, tail: int) -> None:
    for plain in (TEXT, bytes(BLOCK), writers.content(BLOCK, ["mixed"], seed=8)):
        stored = [packed_lz4(plain), packed_lz4(plain[:-1])]
        made = opened(stored, shift=shift, tail=bytes(tail))
        assert made.block(0) == plain
        assert not made.reader.final_byte_missing
        assert made.block(1) == plain[:-1] + b"\0"
        assert made.reader.final_byte_missing


@pytest.mark.parametrize("shift", [0, 2])
def test_the_lost_last_byte_of_a_plain_block(opened: Open, shift: int) -> None:
    made = opened([packed_lz4(TEXT), NOISE[:-1]], plain=[1], shift=shift)
    assert made.block(1) == NOISE[:-1] + b"\0"
    assert made.reader.final_byte_missing
    short = opened([packed_lz4(TEXT), NOISE[:-2]], plain=[1], shift=shift)
    short.says(1, f"the file ends after {BLOCK - 2} of its {BLOCK} stored bytes")
    assert not short.reader.final_byte_missing


def test_a_byte_lost_anywhere_else_is_an_error(opened: Open) -> None:
    middle = opened([packed_lz4(TEXT[:-1]), packed_lz4(TEXT)])
    middle.says(0, f"it decodes to {BLOCK - 1} bytes instead of {BLOCK}")
    short = packed_lz4(TEXT[:-2])
    two = opened([packed_lz4(TEXT), short])
    two.says(1, f"its {len(short)} stored bytes are not valid LZ4 data")
    for made in (middle, two):
        assert not made.reader.final_byte_missing


@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.ZLIB, Codec.DEFLATE])
def test_other_codecs_lose_no_byte(opened: Open, codec: Codec) -> None:
    """The one writer that loses it writes LZ4; elsewhere the file is truncated."""
    packed = opened([PACKED[codec](TEXT), PACKED[codec](TEXT[:-1])], codec=codec)
    packed.says(1, f"it decodes to {BLOCK - 1} bytes instead of {BLOCK}")
    plain = opened([PACKED[codec](TEXT), NOISE[:-1]], plain=[1], codec=codec)
    plain.says(1, f"the file ends after {BLOCK - 1} of its {BLOCK} stored bytes")


def test_ciso2_loses_no_byte(opened: Open) -> None:
    stored = [packed_deflate(TEXT), packed_lz4(TEXT)]
    entries = {2: 1 << 20}
    good = opened(stored, rule=Rule.CISO2, codec=Codec.DEFLATE)
    assert good.begins[1] < BLOCK
    made = opened(
        [*stored, NOISE[:-1]], rule=Rule.CISO2, codec=Codec.DEFLATE, entries={3: entries[2]}
    )
    made.says(2, f"the file ends after {BLOCK - 1} of its {BLOCK} stored bytes")


_LONG_PADDING = """
import os, sys
from zsofs.native.block_reader import BlockReader
from zsofs.errors import BlockError

fd = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(fd)
block = 16 << 20
reader = BlockReader(
    rule=0, codec=0, shift=16, size=block, block_size=block, index_offset=0, data_start=8,
    data_end=size.st_size, source_size=size.st_size, source_mtime_ns=size.st_mtime_ns,
)
for _ in range(5):
    try:
        reader.read(fd, 0, 1, bytearray(block))
    except BlockError:
        pass
"""


def test_long_padding_is_not_tried_byte_by_byte(opened: Open) -> None:
    """A hostile last block, 5 bytes short and with much padding, must not keep a core busy for
    minutes: the event loop decodes what is in memory itself. One try takes a few milliseconds."""
    block = 16 << 20
    stored = packed_lz4(bytes(block - 5)) + bytes(70_000)
    made = opened([stored], shift=16, block_size=block)
    code = [sys.executable, "-c", _LONG_PADDING, str(made.path)]
    subprocess.run(code, check=True, timeout=30)


# Plain files.


def test_read_plain(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(TEXT + NOISE)
    fd = os.open(path, os.O_RDWR)
    try:
        status = os.fstat(fd)
        known = (status.st_size, status.st_mtime_ns)
        whole = TEXT + NOISE
        for offset, size in ((0, 4096), (1, 4095), (4095, 1), (2000, 100), (0, 0), (4096, 0)):
            out = bytearray(size)
            assert read_plain(fd, offset, out, *known) == size
            assert out == whole[offset : offset + size]
        for offset, size in ((4096, 1), (0, 4097), (5000, 10), (1 << 40, 5)):
            with pytest.raises(SourceChangedError):
                read_plain(fd, offset, bytearray(size), *known)
        for constant in (bytes(10), memoryview(bytes(10))):
            with pytest.raises(BufferError):
                read_plain(fd, 0, constant, *known)  # type: ignore[arg-type]
        with pytest.raises(OverflowError):
            read_plain(fd, -1, bytearray(10), *known)
        for wrong in ((known[0] + 1, known[1]), (known[0], known[1] - 1)):
            with pytest.raises(SourceChangedError):
                read_plain(fd, 0, bytearray(10), *wrong)
        os.pwrite(fd, b"x", 4096)
        with pytest.raises(SourceChangedError):
            read_plain(fd, 0, bytearray(10), *known)
    finally:
        os.close(fd)
    with pytest.raises(OSError) as caught:
        read_plain(fd, 0, bytearray(10), *known)
    assert caught.value.errno == errno.EBADF
