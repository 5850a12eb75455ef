"""LZMA without an end mark: what each kind of symbol decodes to, and which streams are refused."""

import lzma
import random
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.support.cd_library import ROOT
from tests.support.lzma_writer import LzmaWriter
from tests.support.rounds import rounds

Case = tuple[bytes, int]
"""A stream, and the number of bytes that it is to decode to."""

Decode = Callable[[Sequence[Case]], list[bytes | None]]
FILTER = [{"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 22}]

pytestmark = pytest.mark.xdist_group("lzma1")  # they share what takes long to compile


@pytest.fixture(scope="module", params=["usual", "ZSOFS_NO_ASSEMBLER"])
def decode(request: pytest.FixtureRequest, module_path: Path) -> Decode:
    """Decodes cases with the address and undefined-behavior sanitizers."""
    program = module_path / "lzma1"
    subprocess.run(
        ["cc", "-O1", "-Wall", "-Wextra", "-Werror", f"-D{request.param}",
         "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
         "-I", ROOT / "zsofs/native", ROOT / "tests/support/lzma1_harness.c", "-o", program],
        check=True, timeout=120,
    )  # fmt: skip

    def decoded(cases: Sequence[Case]) -> list[bytes | None]:
        path = module_path / "cases"
        path.write_bytes(b"".join(struct.pack("=II", len(s), size) + s for s, size in cases))
        done = subprocess.run([program, path], capture_output=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return list(answers(done.stdout, [size for _, size in cases]))

    return decoded


def answers(said: bytes, sizes: Sequence[int]) -> Iterator[bytes | None]:
    at = 0
    for size in sizes:
        good, at = said[at], at + 1
        yield said[at : at + size] if good else None
        at += size * good
    assert at == len(said)


def stream(chance: random.Random, size: int) -> LzmaWriter:
    """A stream of *size* bytes or a few more, with all kinds of symbols at random."""
    writer = LzmaWriter()
    few = chance.choice(([0], [0, 255], range(65, 91), range(256)))
    while len(writer.data) < size:
        known = [nth for nth in range(4) if writer.back[nth] < len(writer.data)]
        kind = chance.choice(("literal", "literal", "match", "repeat", "single"))
        length = min(2 + int(chance.expovariate(0.1)), 273)
        if kind == "match" and writer.data:
            writer.match(int(len(writer.data) ** chance.random()) - 1, length)
        elif kind == "repeat" and known:
            writer.repeat(chance.choice(known), length)
        elif kind == "single" and 0 in known:
            writer.single()
        else:
            writer.literal(chance.choice(few))
    return writer


def liblzma(stored: bytes, size: int) -> bytes:
    """What liblzma decodes, which cannot say that a stream without a mark has ended."""
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTER).decompress(stored, size)


@cache
def streams_of_all_symbols() -> tuple[list[Case], list[bytes]]:
    """Streams, and what they decode to: the writer is slow, and both builds decode the same."""
    chance = random.Random(1)
    made = [stream(chance, int(2 ** chance.uniform(0, 13))) for _ in range(rounds(60, 1000))]
    cases = [(writer.stored(), len(writer.data)) for writer in made]
    return cases, [bytes(writer.data) for writer in made]


def test_streams_of_all_symbols(decode: Decode) -> None:
    cases, plain = streams_of_all_symbols()
    assert decode(cases) == plain
    assert [liblzma(*case) for case in cases] == plain


@cache
def far_distances() -> tuple[Case, bytes]:
    writer = LzmaWriter()
    for byte in random.Random(2).randbytes(300):
        writer.literal(byte)
    while len(writer.data) < 1 << 20:
        writer.match(299, 273)
    for distance in (127, 128, 4095, 65_535, 65_536, 1_000_001, (1 << 20) - 1):
        writer.match(distance, 40)
        writer.literal(1)
    return (writer.stored(), len(writer.data)), bytes(writer.data)


def test_far_distances(decode: Decode) -> None:
    """Distances have bits of their own way from 128 on, and up to those of the largest hunk."""
    case, plain = far_distances()
    (found,) = decode([case])
    assert found == plain


def test_a_match_must_lie_within_the_hunk(decode: Decode) -> None:
    def begun() -> LzmaWriter:
        writer = LzmaWriter()
        for byte in b"zsofs":
            writer.literal(byte)
        return writer

    exact, too_far, too_long = begun(), begun(), begun()
    exact.match(4, 3)
    too_long.match(4, 9)
    too_far.data += b"xy"  # so that the writer takes the distance
    too_far.match(6, 2)
    assert decode(
        [(exact.stored(), 8), (too_far.stored(), 7), (too_long.stored(), 8), (b"\0" * 6, 1)]
    ) == [b"zsofszso", None, None, b"\0"]
    repeated = LzmaWriter()
    repeated.data += b"z"
    repeated.single()  # before there is any byte
    assert decode([(repeated.stored(), 1)]) == [None]


def test_a_stream_must_end_where_its_bytes_do(decode: Decode) -> None:
    whole = stream(random.Random(3), 500)
    stored, size = whole.stored(), len(whole.data)
    others = [(stored + b"\0", size), (b"\1" + stored[1:], size), (stored, size - 1)]
    others += [(stored[:length], size) for length in range(len(stored))]
    others += [(stored, size + 1), (stored[:-1] + bytes([stored[-1] ^ 1]), size)]
    assert decode([(stored, size), *others]) == [bytes(whole.data), *[None] * len(others)]


@cache
def damaged_streams() -> list[Case]:
    chance = random.Random(4)
    cases = []
    for _ in range(rounds(400, 20_000)):
        writer = stream(chance, chance.choice((1, 40, 700)))
        stored = bytearray(writer.stored())
        for _ in range(chance.randint(1, 3)):
            stored[chance.randrange(len(stored))] ^= 1 << chance.randrange(8)
        cases.append((bytes(stored), len(writer.data)))
    return cases


def test_damaged_streams(decode: Decode) -> None:
    """Whatever is decoded of one, nothing is read or written elsewhere."""
    cases = damaged_streams()
    found = decode(cases)
    assert None in found
    for case, data in zip(cases, found, strict=True):
        assert data is None or data == liblzma(*case)
