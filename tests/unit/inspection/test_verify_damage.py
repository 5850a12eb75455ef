"""Damage that `zsofs verify` finds, and the place that it names; hostile files."""

import hashlib
import os
import random
import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mount.following.test_scan_cache import cache_home as cache_home
from tests.support import writers
from tests.support.checks import Listener, result
from tests.support.disks import MIB, disk_mounted, make_ext4
from tests.support.mounting import DATA, drop_pages
from tests.support.packed import reports, zsofs
from tests.support.rounds import rounds
from tests.unit.discs.test_identify import made
from tests.unit.inspection.test_verify import put
from zsofs.discs.classify import UNRECOGNIZED
from zsofs.errors import ZsofsError
from zsofs.formats.ciso_header import HEADER_SIZE
from zsofs.formats.seal import Seal, parse
from zsofs.images.input_image import original
from zsofs.inspection.verify import VerifyRequest, VerifyRun
from zsofs.inspection.verify_cache import Checked
from zsofs.inspection.verify_report import Result

SECTOR = 2048
PS2 = (DATA / "ps2.iso").read_bytes()
SMALL = (
    random.Random(3).randbytes(60) + b"a few words, " * 80 + bytes(3000) + b"and a few more " * 100
)


def entries_of(content: bytes | bytearray, count: int) -> list[int]:
    """Where the blocks of a ZSO begin, and where the last one ends."""
    shift = content[21]
    raw = struct.unpack_from(f"<{count + 1}I", content, 24)
    return [(entry & 0x7FFFFFFF) << shift for entry in raw]


def plain_of(path: Path) -> bytes | None:
    """The image in a file, as a mount shows it; None if some of it cannot be read."""
    try:
        with original(str(path)) as image:
            return image.read(0, image.size)
    except (OSError, ZsofsError):
        return None


# The place


@pytest.mark.parametrize(
    ("offset", "where"),
    [
        (207 * SECTOR + 9, "/DATA/MOVIE.PSS"),
        (447 * SECTOR, "/DATA/TEXT.BIN"),
        (86 * SECTOR, "/SYSTEM.CNF"),
        (24 * SECTOR, "/DATA/"),
        (3 * SECTOR, ""),
    ],
)
@pytest.mark.parametrize("size", [2048, 16384])
def test_the_file_of_the_disc_is_named(tmp_path: Path, offset: int, where: str, size: int) -> None:
    content = bytearray(writers.zsoz(PS2, block_size=size))
    block = offset // size
    begin, end = entries_of(content, -(-len(PS2) // size))[block : block + 2]
    content[(begin + end) // 2] ^= 0x55
    path = put(tmp_path / "Game.zso", bytes(content))
    (found,) = reports("verify", path, code=9)
    damage = found["damage"]
    assert damage["bad_blocks"] == 1
    assert damage["first_block"] == block
    assert damage["file_offset"] == begin
    assert damage["image_offset"] == block * size
    assert (where in damage["files"]) if where else ("/DATA/MOVIE.PSS" not in damage["files"])
    line = zsofs("verify", path, code=9).stdout
    assert f"bad, block {block} at file offset {begin}: " in line
    assert f"; that is offset {block * size} of the image, " in line
    if where and size == 2048:
        is_directory = where.endswith("/")
        note = " (file map incomplete: its directories are damaged)" if is_directory else ""
        assert line.endswith(f"in {where}{note}\n")
    elif not where and size == 2048:
        assert line.endswith("in no file of the disc\n")


def test_all_bad_blocks_are_counted(tmp_path: Path) -> None:
    content = bytearray(writers.zsoz(PS2))
    begins = entries_of(content, len(PS2) // SECTOR)
    bad = sorted(random.Random(5).sample(range(len(PS2) // SECTOR), 90))
    for number in bad:
        content[begins[number]] ^= 0xFF
    path = put(tmp_path / "Game.zso", bytes(content))
    damage = result(path).damage
    assert damage is not None
    assert (damage.bad, damage.block) == (90, bad[0])
    assert "bad, 90 of 717 blocks; the first is block" in zsofs("verify", path, code=9).stdout


def test_every_block_is_bad(tmp_path: Path) -> None:
    content = bytearray(writers.maxcso_zso(writers.content(3 << 20, ["text"], 1)))
    begin = entries_of(content, 1536)[0]
    content[begin:] = b"\xff" * (len(content) - begin)
    # The codec cannot even be told, so that it is no disc for anyone.
    found = result(put(tmp_path / "Game.zso", bytes(content)))
    assert found.verdict.state == "bad"
    assert "none of its first 8 packed blocks is" in found.verdict.reason


@pytest.mark.parametrize("quick", [False, True])
def test_index_entries_that_cannot_be(tmp_path: Path, quick: bool) -> None:
    """Backwards, past the end, and a packed block that is marked as plain."""
    whole = writers.maxcso_zso(PS2)
    count = len(PS2) // SECTOR
    entries = list(struct.unpack_from(f"<{count + 1}I", whole, 24))
    packed = next(n for n in range(300, count) if not (entries[n] | entries[n + 1]) >> 31)
    for entry, reason in (
        (30, "points to 30, before the data begins"),
        (0x7FFFFFF0, "but the next one points back to"),
        (
            entries[packed] | writers.PLAIN,
            "stored uncompressed in 2048 bytes, but the next block begins",
        ),
    ):
        content = bytearray(whole)
        struct.pack_into("<I", content, 24 + 4 * packed, entry)
        found = result(put(tmp_path / "Game.zso", bytes(content)), quick=quick)
        assert found.verdict.state == "bad"
        damage = found.damage
        assert damage is not None
        assert damage.block in (packed - 1, packed)
        assert reason in damage.reason or damage.block == packed - 1
        assert 1 <= damage.bad <= 2


@pytest.mark.parametrize("name", writers.WRITERS)
def test_a_cut_file(tmp_path: Path, name: str) -> None:
    """At any length it is bad, or so little is missing that nobody needs it."""
    image = writers.content(5 * 16384, ["text", "noise", "zeros"], 3)
    content = writers.WRITERS[name](image)
    path = tmp_path / "Game.zso"
    whole = plain_of(put(path, content))
    assert whole is not None
    for length in [*range(0, 120, 7), *range(120, len(content), 1 + len(content) // 60)]:
        path.write_bytes(content[:length])
        found = result(path)
        assert found.verdict.state == "bad" or plain_of(path) == whole, (length, found)
    path.write_bytes(content[:-1])
    assert result(path).verdict.state == "bad" or plain_of(path) == whole


@pytest.mark.parametrize("name", writers.WRITERS)
def test_quick_is_never_stricter_than_reading_it_all(tmp_path: Path, name: str) -> None:
    image = writers.content(3 * 16384, ["text", "noise", "zeros"], 3)
    content = writers.WRITERS[name](image)
    source = random.Random(name)
    path = tmp_path / "Game.zso"
    for _ in range(40):
        changed = bytearray(content)
        changed[source.randrange(len(changed) // 4)] ^= 1 << source.randrange(8)
        path.write_bytes(changed)
        if result(path, quick=True).verdict.state == "bad":
            assert result(path).verdict.state == "bad"


# A disk that fails


def fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


@contextmanager
def failing(folder: Path, content: bytes, name: str, readable: int) -> Iterator[Path]:
    """A file on a disk of which only the file's first bytes, *readable* of them, can be read."""
    image = make_ext4(folder / "disk.img", 24 * MIB)
    with disk_mounted(image, folder / "disk") as point:
        path = put(point / name, content)
        fsync(path)
        done = subprocess.run(
            ["filefrag", "-v", "-b1", path], capture_output=True, text=True, check=True
        )
        (begin,) = re.findall(r"^ +0: +0\.\. +\d+: +(\d+)\.\.", done.stdout, re.M)
        assert done.stdout.endswith("1 extent found\n"), done.stdout
        drop_pages(path)
        size = image.stat().st_size
        os.truncate(image, int(begin) + readable)
        try:
            yield path
        finally:
            os.truncate(image, size)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("block_size", [2048, 16384])
def test_a_disk_that_fails_in_the_middle_of_a_packed_disc(tmp_path: Path, block_size: int) -> None:
    content = writers.zsoz(PS2, block_size=block_size)
    count = -(-len(PS2) // block_size)
    begins = entries_of(content, count)
    readable = begins[260 * SECTOR // block_size] // 4096 * 4096
    bad = [number for number in range(count) if begins[number + 1] > readable]
    with failing(tmp_path, content, "Game.zso", readable) as path:
        (found,) = reports("verify", path, code=9)
        line = zsofs("verify", path, code=9).stdout
    assert found["state"] == "bad"
    assert found["reason"] == (
        f"block {bad[0]} at file offset {begins[bad[0]]}: it cannot be read: Input/output error"
    )
    damage = found["damage"]
    assert damage["bad_blocks"] == len(bad)
    assert damage["first_block"] == bad[0]
    assert damage["file_offset"] == begins[bad[0]]
    assert damage["image_offset"] == bad[0] * block_size
    assert "/DATA/MOVIE.PSS" in damage["files"]
    assert f"; that is offset {bad[0] * block_size} of the image, in /DATA/MOVIE.PSS" in line


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("readable", "where"), [(210 * SECTOR, "in /DATA/MOVIE.PSS"), (2 * SECTOR, "in no file")]
)
def test_a_disk_that_fails_in_the_middle_of_a_plain_disc(
    tmp_path: Path, readable: int, where: str
) -> None:
    with failing(tmp_path, PS2, "Game.iso", readable) as path:
        (found,) = reports("verify", path, code=9)
        line = zsofs("verify", path, code=9).stdout
    assert found["state"] == "bad"
    assert found["damage"]["bad_blocks"] == 0
    assert found["damage"]["first_block"] is None
    assert found["damage"]["file_offset"] == found["damage"]["image_offset"] == readable
    said = f"bad, it cannot be read at {readable}: Input/output error; that is {where}"
    assert said in line


@pytest.mark.usefixtures("as_root")
def test_a_disk_that_goes_away_while_it_is_read(tmp_path: Path) -> None:
    """Then nothing is known of the disc; it is not called bad."""

    class Puller(Listener):
        def advance(self, plain: int, stored: int) -> None:
            drop_pages(path)
            os.truncate(image, 0)

    content = random.Random(1).randbytes(32 * MIB)
    for name, data in (("Game.iso", content), ("Game.zso", writers.zsoz(content))):
        image = make_ext4(tmp_path / f"{name}.img", 64 * MIB)
        with disk_mounted(image, tmp_path / f"{name}.mnt") as point:
            path = put(point / name, data)
            fsync(path)
            drop_pages(path)
            listener = Puller()
            VerifyRun(VerifyRequest([str(path)]), listener, Checked(None)).run()
            os.truncate(image, 64 * MIB)
        (found,) = listener.results
        assert found.verdict.state == "unreadable"
        assert re.fullmatch(r"it cannot be read at \d+: Input/output error", found.verdict.reason)


# Every bit


def flips(path: Path) -> Iterator[tuple[int, int]]:
    """Turn over one bit of each byte of a file, by turns; with --thorough each bit."""
    content = path.read_bytes()
    fd = os.open(path, os.O_WRONLY)
    try:
        for at, byte in enumerate(content):
            for bit in {(at + number) % 8 for number in range(rounds(1, 8))}:
                os.pwrite(fd, bytes((byte ^ 1 << bit,)), at)
                yield at, bit
            os.pwrite(fd, bytes((byte,)), at)
    finally:
        os.close(fd)


def check_place(found: Result, at: int, begins: list[int]) -> None:
    """The result for a bit that was flipped at offset *at*."""
    end, index_end = begins[-1], 24 + 4 * len(begins)
    damage = found.damage
    assert damage is not None
    if at < HEADER_SIZE:
        assert damage.block < 0 or "block" in damage.reason  # a field that nothing else has
    elif at < index_end:
        number = (at - HEADER_SIZE) // 4
        if number < len(begins) - 2:
            assert damage.block in (number - 1, number) or "index" in damage.reason
        else:
            assert damage.block in (number - 1, number) or re.search("index|last", damage.reason)
    elif at < end:
        number = next(n for n in range(len(begins) - 1) if begins[n] <= at < begins[n + 1])
        assert damage.block == number, (at, damage)
        assert damage.file_offset == begins[number]
        assert damage.image_offset == number * SECTOR
    else:
        assert "seal" in damage.reason
        assert damage.block < 0


@pytest.mark.parametrize("shift", [0, 3])
def test_every_bit_of_a_file_without_a_seal(tmp_path: Path, shift: int) -> None:
    """No wrong byte passes for a right one, and what is bad is named."""
    content = writers.zsoz(SMALL, shift=shift)
    path = put(tmp_path / "Game.zso", content)
    begins = entries_of(content, 3)
    assert plain_of(path) == SMALL
    harmless = 0
    for at, _bit in flips(path):
        found = result(path)
        if found.verdict.state == "bad":
            check_place(found, at, begins)
            continue
        harmless += 1
        # The unused bytes, the header's size, the padding: or else the checksum is another.
        right = plain_of(path) == SMALL
        assert right or at < HEADER_SIZE, (at, found)
        assert (found.digests.sha1 == hashlib.sha1(SMALL).hexdigest()) is right
    assert harmless < 200


@pytest.mark.parametrize("shift", [0, 3])
def test_every_bit_of_a_packed_file(tmp_path: Path, shift: int) -> None:
    """As `zsofs pack` writes it, with its seal: any bit is harmless, or reported where it is."""
    source = put(tmp_path / "Game.iso", SMALL)
    zsofs("pack", "--any", "--block-size", "2K", source)
    path = tmp_path / "Game.zso"
    content = path.read_bytes()
    if shift:
        content = shifted(content, shift)
        path.write_bytes(content)
    begins = entries_of(content, 3)
    assert result(path).verdict.state == "sealed"
    for at, _bit in flips(path):
        found = result(path)
        if found.verdict.state == "bad":
            check_place(found, at, begins)
            if at < HEADER_SIZE:
                assert found.damage is not None
                assert found.damage.block < 0
                assert re.search("header|index|cut|name", found.verdict.reason), found
            continue
        assert plain_of(path) == SMALL, (at, found)
        assert at >= begins[0], (at, found)  # no bit of header and index is harmless
        if found.verdict.state == "whole":  # a seal whose first bytes are others is none
            assert begins[-1] <= at < begins[-1] + 4
            assert found.remarks == ("the data after the last block is not a seal", UNRECOGNIZED)


def shifted(content: bytes, shift: int) -> bytes:
    """A packed file as it would be with another shift: blocks padded, and sealed anew."""
    begins = entries_of(content, 3)
    seal = parse(content[begins[-1] :])
    assert seal is not None
    unit = 1 << shift
    header = bytearray(content[:HEADER_SIZE])
    header[21] = shift
    position = -(-(24 + 16) // unit) * unit
    entries, body = [], bytes(position - 40)
    for begin, end in pairwise(begins):
        entries.append(position >> shift)
        block = content[begin:end]
        block += bytes(-len(block) % unit)
        body += block
        position += len(block)
    entries.append(position >> shift)
    index = struct.pack("<4I", *entries)
    anew = Seal(
        seal.version,
        bytes(header),
        f"{zlib.crc32(index):08x}",
        seal.size,
        seal.crc32,
        seal.md5,
        seal.sha1,
    )
    return bytes(header) + index + body + anew.to_bytes()


# Hostile files


@settings(max_examples=rounds(100, 300))
@given(
    st.sampled_from(sorted(writers.WRITERS)),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=8),
    st.booleans(),
)
def test_hostile_files_never_end_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    changes: list[tuple[int, int]],
    quick: bool,
) -> None:
    content = bytearray(writers.WRITERS[name](made({"/A.BIN": b"text" * 4000})))
    for at, value in changes:
        content[at % len(content)] = value
    path = put(tmp_path_factory.getbasetemp() / "hostile.zso", bytes(content))
    found = result(path, quick=quick)
    assert found.verdict.state in ("whole", "sound", "bad", "unreadable")
    assert "\n" not in found.verdict.reason
    if found.verdict.state == "whole":
        shown = plain_of(path)
        assert shown is not None
        assert found.digests.sha1 == hashlib.sha1(shown).hexdigest()


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = put(tmp_path / "Game.zso", writers.maxcso_zso(PS2))

    class Meddler(Listener):
        def advance(self, plain: int, stored: int) -> None:
            os.utime(path, ns=(1, 1))

    listener = Meddler()
    VerifyRun(VerifyRequest([str(path)]), listener, Checked(None)).run()
    (found,) = listener.results
    assert found.verdict.state == "unreadable"
    # Which of the two is told goes by who notices first, the read or the look at the end.
    assert re.search("modified", found.verdict.reason)
