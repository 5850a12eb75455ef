"""FLAC, hunks of CDs, parity and views of frames: against slow references, and what is damaged."""

import ctypes
import lzma
import random
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import chd_reference_cd as reference
from tests.support.cd_library import REFUSED_BY_CALLER, Library, compiled
from tests.support.chd_reference_cd import FRAME, SECTOR, SUBCODE
from tests.support.rounds import rounds
from zsofs.native.cd_codecs import gather

CUT, NO_FRAMES, BAD_FLAC = -1, -2, -3
FLAC_MOST = 4608


@pytest.fixture(scope="module")
def library(module_path: Path) -> Library:
    return Library(module_path)


def inflated(data: bytes, size: int) -> bytes:
    decoder = zlib.decompressobj(wbits=-15)
    try:
        plain = decoder.decompress(data, size)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not decoder.eof:
        raise ValueError("the stream has no end")
    return plain


LZMA = [{"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 20}]


def lzma_packed(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_RAW, filters=LZMA)


def lzma_unpacked(data: bytes, size: int) -> bytes:
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=LZMA).decompress(data, size)
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from error


def zstd_unpacked(data: bytes, size: int) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


zstd_packed = zstandard.ZstdCompressor().compress
Codec = tuple[reference.Pack, Callable[[bytes, int], bytes]]
CODECS: dict[str, tuple[Codec, Codec]] = {
    "cdzl": ((reference.deflated, inflated), (reference.deflated, inflated)),
    "cdlz": ((lzma_packed, lzma_unpacked), (reference.deflated, inflated)),
    "cdzs": ((zstd_packed, zstd_unpacked), (zstd_packed, zstd_unpacked)),
}


def sound(chance: random.Random, count: int) -> bytes:
    """Samples that predictors like, with silence, noise and full scale among them."""
    kind = chance.choice(("tone", "noise", "silence", "constant", "extremes", "coarse"))
    values: list[int] = []
    left = right = 0
    for _ in range(count):
        if kind == "noise":
            left, right = chance.randint(-32768, 32767), chance.randint(-32768, 32767)
        elif kind == "extremes":
            left, right = chance.choice((-32768, 32767)), chance.choice((-32768, 32767, 0))
        elif kind == "constant":
            left, right = 1234, -32768
        elif kind != "silence":
            left = max(-32768, min(32767, left + chance.randint(-300, 300)))
            right = max(-32768, min(32767, left + chance.randint(-20, 20)))
            if kind == "coarse":
                left, right = left & ~15, right & ~3
        values += [left, right]
    return struct.pack(f">{2 * count}h", *values)


def some_frames(chance: random.Random, count: int) -> list[bytes]:
    """Frames of data of both modes, of audio, and of data whose parity is wrong."""
    frames = []
    for number in range(count):
        kind = chance.choice(("mode 1", "mode 2", "audio", "wrong", "no sync", "form 2"))
        data = chance.randbytes(64) * 32
        sector = reference.data_sector(number, data, 1 if kind in ("mode 1", "wrong") else 2)
        if kind == "wrong":
            at = chance.randrange(12, SECTOR)
            sector = sector[:at] + bytes([sector[at] ^ 1 << chance.randrange(8)]) + sector[at + 1 :]
        elif kind == "no sync":
            sector = b"\1" + sector[1:]
        elif kind == "audio":
            sector = sound(chance, SECTOR // 4)
        elif kind == "form 2":
            sector = sector[:18] + b"\x28" + chance.randbytes(SECTOR - 19)
        frames.append(sector + (bytes(SUBCODE) if chance.random() < 0.7 else chance.randbytes(96)))
    return frames


# ---- Parity -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_the_parity_of_a_sector_is_that_of_ecma_130(library: Library, mode: int) -> None:
    chance = random.Random(mode)
    sectors = []
    for _ in range(rounds(6, 60)):
        sector = bytearray(chance.randbytes(SECTOR))
        sector[15] = mode
        sectors.append(bytes(sector))
    buffer = ctypes.create_string_buffer(b"".join(sectors), SECTOR * len(sectors))
    library.parity(buffer, len(sectors))
    assert buffer.raw == b"".join(map(reference.with_parity, sectors))


def test_the_reference_parity_has_no_syndromes() -> None:
    """The definition itself: each code is divisible by x+1 and x+2."""
    sector = reference.with_parity(random.Random(4).randbytes(SECTOR))
    area = bytearray(sector[12:])
    if sector[15] == 2:
        area[:4] = bytes(4)
    codes = [[area[86 * row + column] for row in range(26)] for column in range(86)]
    for diagonal in range(26):
        for low in range(2):
            places = [(86 * diagonal + 88 * step) % 2236 + low for step in range(43)]
            places += [2236 + 2 * diagonal + low, 2288 + 2 * diagonal + low]
            codes.append([area[place] for place in places])
    for code in codes:
        plain = weighed = 0
        for byte in code:
            plain ^= byte
            weighed = reference.times(weighed, 2) ^ byte
        assert (plain, weighed) == (0, 0)


# ---- FLAC -------------------------------------------------------------------------------------


@settings(max_examples=rounds(60, 1500), deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 600), big_endian=st.booleans())
def test_flac_gives_the_samples_that_were_written(
    library: Library, seed: int, count: int, big_endian: bool
) -> None:
    chance = random.Random(seed)
    data = sound(chance, count)
    block = chance.choice((count, max(1, count // 2), chance.randint(1, 300), 192))
    order = "big" if big_endian else "little"
    frames = reference.flac(data, chance, block, order)
    tail = chance.randbytes(chance.choice((0, 1, 9)))
    assert reference.flac_read(frames + tail, len(data), order) == (data, len(frames))
    assert library.flac(frames + tail, len(data), big_endian=big_endian) == (data, len(frames))


@pytest.mark.parametrize("count", [1, 15, 192, 576, 1152, 2304, 2352, FLAC_MOST])
def test_flac_block_sizes(library: Library, count: int) -> None:
    chance = random.Random(count)
    data = sound(chance, count)
    frames = reference.flac(data, chance, count)
    assert library.flac(frames, len(data)) == (data, len(frames))


def test_flac_frame_numbers_of_all_lengths(library: Library) -> None:
    writer = reference.FlacWriter(random.Random(1))
    for bits in range(36):
        frame = writer.frame([1, 2, 3], [4, 5, 6], (1 << bits) + bits)
        assert library.flac(frame, 12) is not None, bits


@settings(max_examples=rounds(150, 3000), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_flac_is_read_as_the_slow_decoder_reads_it(library: Library, seed: int) -> None:
    """With the checksums mended, so that what lies behind them is compared too."""
    chance = random.Random(seed)
    count = chance.randint(1, 60)
    changed = bytearray(reference.flac(sound(chance, count), chance, count))
    for _ in range(chance.randint(0, 3)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    frame = reference.flac_mended(bytes(changed))
    try:
        expected = reference.flac_read(frame, 4 * count)
    except reference.Damaged:
        assert library.flac(frame, 4 * count) is None
    except reference.OutOfRange:
        library.flac(frame, 4 * count)  # anything but a crash
    else:
        assert library.flac(frame, 4 * count) == expected


def test_flac_of_the_wrong_length_is_refused(library: Library) -> None:
    chance = random.Random(2)
    data = sound(chance, 100)
    frames = reference.flac(data, chance, 50)
    assert library.flac(frames, 400) == (data, len(frames))
    assert library.flac(frames, 404) is None
    assert library.flac(frames, 396) is None, "a frame goes on behind the end"
    assert library.flac(frames, 399) is None
    for size in range(len(frames)):
        assert library.flac(frames[:size], 400) is None, size
    long = reference.flac(sound(chance, FLAC_MOST + 1), chance, FLAC_MOST + 1)
    assert library.flac(long, 4 * (FLAC_MOST + 1)) is None


def test_each_changed_bit_of_a_flac_frame_is_found(library: Library) -> None:
    chance = random.Random(3)
    data = sound(chance, 40)
    frames = reference.flac(data, chance, 40)
    for bit in range(8 * len(frames)):
        changed = bytearray(frames)
        changed[bit // 8] ^= 1 << bit % 8
        assert library.flac(bytes(changed), len(data)) is None, bit


def test_a_flac_hunk_gives_its_byte_order(library: Library) -> None:
    chance = random.Random(5)
    data = sound(chance, 512)
    for first, order in ((b"L", "little"), (b"B", "big")):
        packed = first + reference.flac(data, chance, 256, order)
        assert library.plain_flac(packed, 2048) == reference.read_flac_hunk(packed, 2048) == data
        assert library.plain_flac(packed, 2052) == BAD_FLAC
        assert library.plain_flac(b"X" + packed[1:], 2048) == BAD_FLAC
    assert library.plain_flac(b"", 2048) == BAD_FLAC
    assert library.plain_flac(b"L", 2048) == BAD_FLAC


# ---- Hunks of CDs -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=rounds(8, 150), deadline=None)
@given(seed=st.integers(0, 2**32), count=st.sampled_from((1, 2, 7, 8, 9, 26, 27)))
def test_cd_hunks_give_the_frames_that_were_packed(
    library: Library, name: str, seed: int, count: int
) -> None:
    frames = some_frames(random.Random(seed), count)
    (pack, unpack), (pack_subcode, unpack_subcode) = CODECS[name]
    packed = reference.cd_hunk(frames, pack, pack_subcode)
    plain = b"".join(frames)
    assert reference.read_cd_hunk(packed, len(plain), unpack, unpack_subcode) == plain
    assert library.cd(packed, len(plain), unpack, unpack_subcode) == plain
    assert library.cd(packed, len(plain), unpack, unpack_subcode, later=True) == plain


def test_flagged_frames_lack_sync_and_parity_until_they_are_rebuilt(library: Library) -> None:
    """Only what is asked for is rebuilt, and only of frames that have a bit."""
    chance = random.Random(6)
    frames = [reference.data_sector(n, chance.randbytes(2048), 1) + bytes(96) for n in range(3)]
    bare = [bytes(12) + frame[12:2076] + bytes(276 + 96) for frame in frames]
    for bits in range(8):
        for first in range(3):
            buffer = ctypes.create_string_buffer(b"".join(bare), 3 * FRAME)
            library.rebuild(buffer, first, 3 - first, bytes([bits]))
            for number in range(3):
                got = buffer.raw[number * FRAME : (number + 1) * FRAME]
                done = number >= first and bits >> number & 1
                assert got == (frames if done else bare)[number]


@pytest.mark.parametrize("count", [1, 8, 30])
def test_audio_hunks_give_the_frames_that_were_packed(library: Library, count: int) -> None:
    chance = random.Random(count)
    frames = [sound(chance, SECTOR // 4) + chance.randbytes(SUBCODE) for _ in range(count)]
    packed = reference.cd_flac_hunk(frames, chance, 588)
    plain = b"".join(frames)
    assert reference.read_cd_flac_hunk(packed, len(plain)) == plain
    assert library.cd_flac(packed, len(plain), inflated) == plain
    assert library.cd_flac(packed[:-1], len(plain), inflated) == REFUSED_BY_CALLER
    assert library.cd_flac(packed[:100], len(plain), inflated) == BAD_FLAC
    assert library.cd_flac(packed, len(plain) - 1, inflated) == NO_FRAMES
    assert library.cd_flac(packed, 0, inflated) == NO_FRAMES


def test_a_cut_or_false_cd_hunk_is_refused(library: Library) -> None:
    frames = some_frames(random.Random(7), 8)
    plain = b"".join(frames)
    packed = reference.cd_hunk(frames, reference.deflated)
    assert library.cd(packed, len(plain), inflated, inflated) == plain
    for size in (0, 1, 2):
        assert library.cd(packed[:size], len(plain), inflated, inflated) == CUT
    length = int.from_bytes(packed[1:3], "big")
    assert library.cd(packed[: 2 + length], len(plain), inflated, inflated) == CUT
    assert library.cd(packed[: 3 + length], len(plain), inflated, inflated) == REFUSED_BY_CALLER
    assert library.cd(packed[:-1], len(plain), inflated, inflated) == REFUSED_BY_CALLER
    assert library.cd(packed, len(plain) - 1, inflated, inflated) == NO_FRAMES
    assert library.cd(packed, 0, inflated, inflated) == NO_FRAMES


def test_nothing_is_read_or_written_beyond_a_damaged_hunk(tmp_path: Path) -> None:
    """Built with sanitizers, which end the program at the first byte out of bounds, and at each
    overflow that C does not define."""
    program = compiled(
        tmp_path / "cd", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"
    )
    chance = random.Random(8)
    cases = []
    for block in (40, 192, 300):
        data = sound(chance, 300)
        for kind, order in ((0, "little"), (1, "big")):
            cases.append((kind, len(data), reference.flac(data, chance, block, order)))
        cases.append((2, len(data), b"B" + reference.flac(data, chance, block)))
    for count in (1, 9, 27):
        frames = some_frames(chance, count)
        packed = reference.cd_hunk(frames, bytes, bytes)
        cases += [(3, count * FRAME, packed), (4, count * FRAME, packed)]
    frames = [sound(chance, SECTOR // 4) + bytes(SUBCODE) for _ in range(2)]
    sectors = b"".join(frame[:SECTOR] for frame in frames)
    cases.append((5, 2 * FRAME, reference.flac(sectors, chance, 588) + bytes(2 * SUBCODE)))
    path = tmp_path / "cases"
    bodies = [bytes([kind]) + size.to_bytes(3, "big") + data for kind, size, data in cases]
    path.write_bytes(b"".join(struct.pack(">I", len(body)) + body for body in bodies))
    mutants = str(rounds(150, 5_000))
    done = subprocess.run(
        [program, path, mutants, "1"], capture_output=True, text=True, check=False, timeout=800
    )
    assert done.returncode == 0, done.stderr
    accepted, refused = (int(word) for word in done.stdout.split() if word.isdigit())
    assert accepted + refused == len(cases) * int(mutants)
    assert refused > accepted > 0


# ---- Views of frames --------------------------------------------------------------------------


@settings(max_examples=rounds(200, 3000), deadline=None)
@given(data=st.data())
def test_gather_joins_parts_of_frames(data: st.DataObject) -> None:
    unit = data.draw(st.integers(1, 40))
    skip = data.draw(st.integers(0, unit - 1))
    width = data.draw(st.integers(1, unit - skip))
    swapped = width % 2 == 0 and data.draw(st.booleans())
    count = data.draw(st.integers(1, 5))
    units = random.Random(data.draw(st.integers(0, 99))).randbytes(count * unit)
    parts = [units[n * unit + skip :][:width] for n in range(count)]
    stream = b"".join(parts)
    if swapped:
        stream = b"".join(stream[at : at + 2][::-1] for at in range(0, len(stream), 2))
    head = data.draw(st.integers(0, width - 1))
    length = data.draw(st.integers(0, count * width - head))
    out = bytearray(length)
    gather(units, unit=unit, skip=skip, width=width, swapped=swapped, head=head, out=out)
    assert out == stream[head : head + length]


@pytest.mark.parametrize(
    "wrong",
    [
        {"skip": 9},
        {"width": 0},
        {"width": 9},
        {"skip": 4, "width": 5},
        {"head": 8},
        {"width": 3, "swapped": True},
        {"out": bytearray(17)},
        {"head": 1, "out": bytearray(16)},
        {"units": bytes(15)},
        {"units": b""},
    ],
    ids=str,
)
def test_gather_reads_nothing_beyond_the_units(wrong: dict[str, object]) -> None:
    usual: dict[str, object] = {
        "units": bytes(16),
        "unit": 8,
        "skip": 0,
        "width": 8,
        "swapped": False,
        "head": 0,
        "out": bytearray(16),
    }
    gather(**usual)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not lie in"):
        gather(**(usual | wrong))  # type: ignore[arg-type]
