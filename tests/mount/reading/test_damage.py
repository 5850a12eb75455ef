"""Damaged, cut, hostile and foreign files: right bytes or an error, never anything else."""

import errno
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import lz4.block
import pytest
import zstandard

from tests.conftest import MountMaker
from tests.support import reference, verdict, writers
from tests.support.mounting import DATA, Mount, mounted, wait_until
from tests.support.rounds import rounds
from tests.support.verdict import PAGE
from tests.unit.images.test_fixtures import MANIFEST

pytestmark = pytest.mark.xdist_group("damage")  # they share what takes long to make

BIT_31 = 0x80000000
Expected = Literal["raw", "disc", "either"]


@dataclass(frozen=True)
class Variant:
    """One damaged copy of a fixture.

    Attributes:
        data: the bytes of the file.
        expected: how it is to be shown: as it is, as a disc, or whichever the parser decides.
    """

    data: bytes
    expected: Expected


class Layout:
    """Where the parts of an undamaged container lie."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.dax = data.startswith(b"DAX\0")
        container = reference.open_container(data)
        self.count = container.block_count
        self.index = 32 if self.dax else 24
        self.index_end = self.index + (6 * self.count if self.dax else 4 * (self.count + 1))
        self.shift = 0 if self.dax else data[21]
        if self.dax:
            (self.last_length,) = struct.unpack_from("<H", data, self.index_end - 2)
        else:
            self.last_length = len(data) - self.begin(self.count - 1)

    def entry(self, number: int) -> int:
        value: int = struct.unpack_from("<I", self.data, self.index + 4 * number)[0]
        return value

    def begin(self, number: int) -> int:
        return (self.entry(number) & ~BIT_31 if not self.dax else self.entry(number)) << self.shift

    def with_entries(self, entries: dict[int, int]) -> bytes:
        """The container with other index entries."""
        changed = bytearray(self.data)
        for number, value in entries.items():
            struct.pack_into("<I", changed, self.index + 4 * number, value)
        return bytes(changed)

    def with_field(self, form: str, offset: int, value: int) -> bytes:
        """The container with another header field."""
        changed = bytearray(self.data)
        struct.pack_into(form, changed, offset, value)
        return bytes(changed)

    def with_flips(self, generator: random.Random, begin: int, end: int, count: int) -> bytes:
        """The container with *count* bits flipped between two offsets."""
        changed = bytearray(self.data)
        for _ in range(count):
            changed[generator.randrange(begin, end)] ^= 1 << generator.randrange(8)
        return bytes(changed)


def cuts(layout: Layout) -> Iterator[tuple[str, Variant]]:
    data = layout.data
    last = layout.begin(layout.count - 1)
    second = layout.begin(1)
    places = {0, 1, 3, 4, 23, 24, 27, 31, 32, 33}
    places |= {(layout.index + layout.index_end) // 2, layout.index_end - 1, layout.index_end}
    places |= {layout.index_end + 1, (layout.begin(0) + second) // 2, len(data) // 2}
    places |= {last, last + 1, last + layout.last_length // 2, len(data) - 1}
    # Where the last index entry is rounded down, the lack of the last bytes cannot be seen there.
    end = last + layout.last_length if layout.dax else layout.begin(layout.count)
    for place in sorted(places):
        expected: Expected = "raw" if place < end else "either"
        yield f"cut-{place}", Variant(data[:place], expected)


def headers(layout: Layout, generator: random.Random) -> Iterator[tuple[str, Variant]]:
    data = layout.data
    yield "header-magic", Variant(bytes([data[0] ^ 2]) + data[1:], "raw")
    size = struct.unpack_from("<I" if layout.dax else "<Q", data, 4 if layout.dax else 8)[0]
    if layout.dax:
        for value in (0, 1, size - 1, size + 1, 2 * size):
            yield f"header-size-{value}", Variant(layout.with_field("<I", 4, value), "either")
        yield "header-size-most", Variant(layout.with_field("<I", 4, 0xFFFFFFFF), "raw")
        for value in (1, 2, 0x80000000):
            yield f"header-version-{value}", Variant(layout.with_field("<I", 8, value), "raw")
        yield "header-areas", Variant(layout.with_field("<I", 12, 1), "raw")
    else:
        for value in (0, 0x7FFF):
            yield f"header-length-{value}", Variant(layout.with_field("<I", 4, value), "disc")
        for value in (0, 1, size - 1, size + 1, size + 2048, 2 * size):
            yield f"header-size-{value}", Variant(layout.with_field("<Q", 8, value), "either")
        for value in (64 << 30, (64 << 30) + 1, 1 << 63, (1 << 64) - 1):
            yield f"header-size-{value}", Variant(layout.with_field("<Q", 8, value), "raw")
        for value in (0, 1, 2047, 2049, (16 << 20) + 2048, 0xFFFFF800, 0xFFFFFFFF):
            yield f"header-block-{value}", Variant(layout.with_field("<I", 16, value), "raw")
        for value in (2352, 4096, 16 << 20):
            yield f"header-block-{value}", Variant(layout.with_field("<I", 16, value), "either")
        for value in (3, 255):
            yield f"header-version-{value}", Variant(layout.with_field("<B", 20, value), "raw")
        for value in (17, 32, 255):
            yield f"header-shift-{value}", Variant(layout.with_field("<B", 21, value), "raw")
        other_shift = layout.shift ^ 1
        yield "header-shift", Variant(layout.with_field("<B", 21, other_shift), "either")
    for number in range(6):
        flipped = layout.with_flips(generator, 4, layout.index, 1)
        yield f"header-flip-{number}", Variant(flipped, "either")


def indexes(layout: Layout, generator: random.Random) -> Iterator[tuple[str, Variant]]:
    count, size = layout.count, len(layout.data) >> layout.shift
    begin = [layout.entry(number) & ~BIT_31 for number in range(count)]
    flag = [layout.entry(number) & BIT_31 for number in range(count)]
    at = range(count // 4, count - 4, max(count // 12, 1))
    backwards = {n: flag[n] | begin[n] - 700 for n in at}
    yield "index-backwards", Variant(layout.with_entries(backwards), "disc")
    past = {n: flag[n] | size + n % 3 for n in at}
    yield "index-past-end", Variant(layout.with_entries(past), "disc")
    far = {n: flag[n] | 0x7FFFFFFF for n in at}
    yield "index-far", Variant(layout.with_entries(far), "disc")
    inside = {n: flag[n] | n % 40 for n in at}
    yield "index-in-index", Variant(layout.with_entries(inside), "disc")
    toggled = {n: layout.entry(n) ^ BIT_31 for n in at}
    yield "index-bit-31", Variant(layout.with_entries(toggled), "disc")
    same = {n: flag[n] | begin[n + 1] for n in at}
    yield "index-empty", Variant(layout.with_entries(same), "disc")
    later = {n: flag[n] | begin[n] + 1 + n % 9 for n in at}
    yield "index-later", Variant(layout.with_entries(later), "disc")
    flips = layout.with_flips(generator, layout.index + 4 * 20, layout.index_end - 8, 40)
    yield "index-flips", Variant(flips, "disc")
    for name, value in {
        "zero": 0,
        "in-index": (layout.index_end - 1) >> layout.shift,
        "end": size,
        "bit-31": layout.entry(0) ^ BIT_31,
        "later": layout.entry(0) + 1,
    }.items():
        yield f"index-first-{name}", Variant(layout.with_entries({0: value}), "either")
    last = count - 1 if layout.dax else count
    for name, value in {
        "zero": 0,
        "past": size + 1,
        "bit-31": layout.entry(last) ^ BIT_31,
        "earlier": layout.entry(last) - 1,
    }.items():
        yield f"index-last-{name}", Variant(layout.with_entries({last: value}), "either")


def payloads(layout: Layout, generator: random.Random) -> Iterator[tuple[str, Variant]]:
    begin, end = layout.index_end, len(layout.data)
    for number in range(2):
        # Not in the first blocks, which decide the codec.
        middle = layout.begin(layout.count // 4)
        flipped = layout.with_flips(generator, middle, end, 60)
        yield f"data-flips-{number}", Variant(flipped, "disc")
    first = layout.with_flips(generator, begin, layout.begin(1), 1)
    yield "data-first", Variant(first, "disc")
    last = layout.with_flips(generator, layout.begin(layout.count - 1), end, 2)
    yield "data-last", Variant(last, "disc")
    middle, upto = layout.begin(layout.count // 2), layout.begin(layout.count // 2 + 9)
    zeroed = layout.data[:middle] + bytes(upto - middle) + layout.data[upto:]
    yield "data-zeroed", Variant(zeroed, "disc")
    yield "tail-of-zeros", Variant(layout.data + bytes(100), "either")


def variants(name: str) -> dict[str, Variant]:
    layout = Layout((DATA / name).read_bytes())
    generator = random.Random(name)
    made = dict(cuts(layout))
    made |= headers(layout, generator)
    made |= indexes(layout, generator)
    made |= payloads(layout, generator)
    made["intact"] = Variant(layout.data, "disc")
    return made


def pread(fd: int, size: int, offset: int) -> bytes | None:
    """The bytes, None for EIO; any other error is a failure."""
    try:
        return os.pread(fd, size, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None


def is_near_an_error(pages: list[verdict.Verdict], number: int) -> bool:
    """Whether a page, or one beside it, is to be an error, or the end of the image."""
    beside = pages[max(number - 1, 0) : number + 2]
    return number + 1 == len(pages) or any(page.right is None for page in beside)


def wrong_pages(path: Path, pages: list[verdict.Verdict], turn: int) -> Iterator[str]:
    """What differs when each page is read from an empty page cache.

    They are read in order with the kernel's read-ahead, or in any order each by itself. Usually,
    *turn* decides: each kind of damage is read in both ways, but not in the same fixture. Of those
    that are read each by itself, usually a fourth is read far from the bad ones.
    """
    ways = (os.POSIX_FADV_NORMAL, os.POSIX_FADV_RANDOM)[:: -1 if turn % 2 else 1]
    fd = os.open(path, os.O_RDONLY)
    try:
        for advice in ways[: rounds(1, 2)]:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.posix_fadvise(fd, 0, 0, advice)
            order = list(range(len(pages)))
            if advice == os.POSIX_FADV_RANDOM:
                least = rounds(4, 1)
                order = [n for n in order if n % least == 0 or is_near_an_error(pages, n)]
                random.Random(path.name).shuffle(order)
            for number in order:
                given = pread(fd, PAGE, number * PAGE)
                if not pages[number].allows(given):
                    is_error, right = given is None, pages[number].right
                    yield (
                        f"page {number}: {'an error' if is_error else 'wrong bytes'} where"
                        f" {'an error' if right is None else 'bytes'} should be"
                    )
        if pread(fd, PAGE, len(pages) * PAGE) != b"":
            yield "bytes after the end"
    finally:
        os.close(fd)


_REFUSED = ": shown as a plain file, not as a disc: "


@pytest.mark.parametrize("name", MANIFEST)
def test_each_block_is_right_or_an_error(source: Path, mount: MountMaker, name: str) -> None:
    """All damaged copies of one fixture in a mount; those of all fixtures take 450 MB."""
    damaged = variants(name)
    for label, variant in damaged.items():
        (source / (label + Path(name).suffix)).write_bytes(variant.data)
    tree = mount(source)
    folder = tree.path
    shown = set(os.listdir(folder))
    refused = [label for label, variant in damaged.items() if variant.expected == "raw"]
    # The daemon answers first, and a thread of it writes the log.
    wait_until(lambda: len(tree.log_lines(_REFUSED)) >= len(refused), "all lines of the log")
    bad_pages = 0
    problems = []
    for turn, (label, variant) in enumerate(damaged.items(), list(MANIFEST).index(name)):
        raw, disc = label + Path(name).suffix, label + ".iso"
        assert (raw in shown) != (disc in shown), label
        logged = tree.log_lines(f"{raw}{_REFUSED}")
        kind = "raw" if raw in shown else "disc"
        if variant.expected not in (kind, "either"):
            problems.append(f"{label}: shown as {kind}, not {variant.expected}: {logged}")
        elif kind == "raw":
            if (folder / raw).read_bytes() != variant.data:
                problems.append(f"{label}: other bytes than in the source")
            if variant.expected == "raw" and len(logged) != 1:
                problems.append(f"{label}: {len(logged)} lines in the log")
        else:
            if logged:
                problems.append(f"{label}: a disc, but {logged}")
            container = verdict.open_or_none(variant.data)
            if container is None:
                problems.append(f"{label}: a disc, but the reference refuses it as a whole")
                continue
            assert (folder / disc).stat().st_size == container.size
            pages = verdict.pages(container, verdict.verdicts(container))
            problems += [
                f"{label}: {problem}" for problem in wrong_pages(folder / disc, pages, turn)
            ]
            bad_pages += sum(page.right is None for page in pages)
    assert not problems, "\n".join(problems)
    assert bad_pages > 100, "the damage was to be seen"
    assert tree.is_alive()


@pytest.mark.parametrize(
    "data",
    [
        writers.maxcso_zso(bytes(70000), shift=6),
        writers.maxcso_cso1(bytes(70000), shift=6),
        writers.maxcso_cso2(bytes(70000), shift=6),
        writers.danixu(bytes(70000), shift=6),
        writers.zstd_ziso(bytes(70000), shift=6),
    ],
    ids=["maxcso-zso", "maxcso-cso1", "maxcso-cso2", "danixu", "zstd"],
)
def test_a_cut_in_the_padding_alone_is_found_too(
    source: Path, mount: MountMaker, data: bytes
) -> None:
    assert data[-1] == 0
    (source / "Whole.zso").write_bytes(data)
    (source / "Cut.zso").write_bytes(data[:-1])
    made = mount(source)
    assert sorted(os.listdir(made.path)) == ["Cut.zso", "Whole.iso"]
    assert (made.path / "Cut.zso").read_bytes() == data[:-1]
    assert (made.path / "Whole.iso").read_bytes() == bytes(70000)
    (line,) = made.log_lines("Cut.zso")
    assert "the file is truncated" in line


def test_a_zsoz_never_leaves_out_its_last_block(source: Path, mount: MountMaker) -> None:
    """The ziso.py family may, which shows in a first block that begins where the last index entry
    should be. In a ZSOZ that is damage, not a reason to show a shorter image."""
    image = writers.content(70_001, ["text"], seed=1)
    layout = Layout(writers.zsoz(image))
    (source / "Good.zso").write_bytes(layout.data)
    (source / "Bad.zso").write_bytes(layout.with_entries({0: layout.index_end - 4}))
    short = Layout(writers.zsoz(image[:1000]))
    (source / "Short.zso").write_bytes(short.with_entries({0: short.index_end - 4}))
    made = mount(source)
    assert sorted(os.listdir(made.path)) == ["Bad.zso", "Good.iso", "Short.zso"]
    assert (made.path / "Good.iso").read_bytes() == image


# Reads around bad blocks.

BAD_DISCS = {
    "ziso-py.zso": (0, 299, 300, 500),
    "maxcso-16384.zso": (1, 40, 60),
    "maxcso.dax": (90, 110),
    "zstd-2048.zso": (256, 257, 480),
    "maxcso-v2-2048.cso": (300, 716),
}


def with_bad_blocks(name: str) -> bytes:
    """A fixture with index entries that point into the header; the others may suffer too."""
    layout = Layout((DATA / name).read_bytes())
    changed = {n: layout.entry(n) & BIT_31 | n % 16 for n in BAD_DISCS[name] if n}
    return layout.with_entries(changed)


@pytest.fixture(scope="module")
def bad_discs(module_path: Path) -> Iterator[Mount]:
    source = module_path / "source"
    source.mkdir()
    for name in BAD_DISCS:
        (source / name).write_bytes(with_bad_blocks(name))
    with mounted(source, module_path / "mnt") as mount:
        yield mount


def pages_of(name: str) -> tuple[int, list[verdict.Verdict]]:
    container = reference.open_container(with_bad_blocks(name))
    return container.size, verdict.pages(container, verdict.verdicts(container))


def up_to_bad(pages: list[verdict.Verdict], size: int, offset: int) -> bytes | None:
    """What a read of *size* bytes at *offset* has before the first bad page; None for nothing."""
    first, given = offset // PAGE, b""
    for page in pages[first : (offset + size - 1) // PAGE + 1]:
        if page.right is None:
            break
        given += page.right
    given = given[offset - first * PAGE :][:size]
    return given or None


@pytest.mark.parametrize("advice", [os.POSIX_FADV_NORMAL, os.POSIX_FADV_SEQUENTIAL])
@pytest.mark.parametrize("block", [512, PAGE, 48 << 10, 128 << 10, 1 << 20])
@pytest.mark.parametrize("name", BAD_DISCS)
def test_a_bad_block_costs_its_own_pages_only(
    bad_discs: Mount, name: str, block: int, advice: int
) -> None:
    """The kernel's read-ahead fails as a whole where it meets a bad block; the pages beside the
    bad ones must not suffer from that, in whatever steps the file is read."""
    size, pages = pages_of(name)
    assert any(page.right is None for page in pages)
    fd = os.open(bad_discs.path / (Path(name).stem + ".iso"), os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, advice)
        offset = 0
        while offset < size:
            wanted = min(block, size - offset)
            given = pread(fd, block, offset)
            assert given == up_to_bad(pages, wanted, offset), offset
            # Step over a bad page, as a copier with patience does.
            offset = offset + len(given) if given else (offset // PAGE + 1) * PAGE
    finally:
        os.close(fd)


@pytest.mark.parametrize("name", BAD_DISCS)
def test_random_reads_around_bad_blocks(bad_discs: Mount, name: str) -> None:
    size, pages = pages_of(name)
    bad = [number for number, page in enumerate(pages) if page.right is None]
    generator = random.Random(name)
    fd = os.open(bad_discs.path / (Path(name).stem + ".iso"), os.O_RDONLY)
    try:
        for _ in range(600):
            if generator.random() < 0.3:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            near = generator.choice(bad) * PAGE
            offset = max(0, near + generator.randrange(-200_000, 200_000))
            wanted = min(int(2 ** generator.uniform(0, 18)), size - offset)
            if wanted > 0:
                assert pread(fd, wanted, offset) == up_to_bad(pages, wanted, offset), offset
    finally:
        os.close(fd)


def test_a_map_of_a_bad_disc(bad_discs: Mount) -> None:
    """Each good page can be touched in a memory map; a bad one kills with SIGBUS."""
    name = "maxcso-16384.zso"
    _, pages = pages_of(name)
    good = [number for number, page in enumerate(pages) if page.right is not None]
    bad = [number for number, page in enumerate(pages) if page.right is None]
    image = bad_discs.path / (Path(name).stem + ".iso")
    code = f"""
import mmap, os, sys
fd = os.open({os.fspath(image)!r}, os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
whole = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
for number in map(int, sys.argv[1:]):
    sys.stdout.buffer.write(whole[number * {PAGE} : (number + 1) * {PAGE}])
"""

    def touch(numbers: list[int]) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, numbers)], capture_output=True, check=False
        )

    touched = touch(good)
    assert touched.returncode == 0
    assert touched.stdout == b"".join(page.right or b"" for page in pages)
    for number in bad[0], bad[-1]:
        assert touch([number]).returncode == -signal.SIGBUS


def test_a_cause_has_one_line_in_the_log(source: Path, mount: MountMaker) -> None:
    name = "maxcso-2048.zso"
    layout = Layout((DATA / name).read_bytes())
    data = layout.with_entries({300: 3, 500: 0x7FFFFFFF})
    (source / "Bad.zso").write_bytes(data)
    (source / "Cut.zso").write_bytes(layout.data[:-1])
    (source / "Empty.zso").write_bytes(b"")
    made = mount(source)
    causes, refused = (299, 300, 499, 500), ("Cut.zso", "Empty.zso")
    fd = os.open(made.path / "Bad.iso", os.O_RDONLY)
    try:
        for attempt in range(50):
            for number in 300 * 2048, 500 * 2048:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                assert pread(fd, 1 + attempt * 40, number) is None
                pread(fd, 128 << 10, number - (64 << 10))
            os.stat(made.path / "Cut.zso")
    finally:
        os.close(fd)
    assert (made.path / "Cut.zso").read_bytes() == layout.data[:-1]
    lines = made.log_lines("WARNING")
    for number in causes:
        assert len([line for line in lines if f"Bad.zso: block {number} at file" in line]) == 1
    for file in refused:
        assert len([line for line in lines if f"{file}: shown as a plain file" in line]) == 1
    assert len(lines) == len(causes) + len(refused)


# Files that change while they are open.


def becomes(path: Path, wanted: bytes) -> None:
    """Wait until *path* reads as *wanted*; until then it may be the old one or in between."""

    def has_become() -> bool:
        try:
            return path.read_bytes() == wanted
        except OSError as error:
            if error.errno not in (errno.ESTALE, errno.ENOENT, errno.EIO):
                raise
            return False

    wait_until(has_become, f"{path.name} to become new")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def touch(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def rewrite(path: Path) -> None:
    path.write_bytes((DATA / "zstd-2048.zso").read_bytes())


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(100))


@pytest.mark.parametrize("change", [cut, touch, rewrite, append])
@pytest.mark.parametrize("plain", [False, True], ids=["disc", "plain"])
def test_a_file_that_changes_while_it_is_open(
    source: Path, mount: MountMaker, change: Callable[[Path], None], plain: bool
) -> None:
    packed = source / ("Game.dat" if plain else "Game.zso")
    shutil.copy(DATA / "maxcso-2048.zso", packed)
    shutil.copy(DATA / "maxcso.dax", source / "Other.dax")
    old = packed.read_bytes() if plain else (DATA / "ps2.iso").read_bytes()
    made = mount(source)
    shown = made.path / ("Game.dat" if plain else "Game.iso")
    fd = os.open(shown, os.O_RDONLY)
    try:
        assert os.pread(fd, PAGE, 0) == old[:PAGE]
        change(packed)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        for offset in (len(old) - 9000, 600_000, 0):
            assert pread(fd, PAGE, offset) is None
        assert made.is_alive()
        assert (made.path / "Other.iso").read_bytes() == (DATA / "ps2.iso").read_bytes()
        if plain:
            new = packed.read_bytes()
        elif change is cut:
            shown, new = made.path / "Game.zso", packed.read_bytes()
        else:
            new = (DATA / ("psp.iso" if change is rewrite else "ps2.iso")).read_bytes()
        becomes(shown, new)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert pread(fd, PAGE, 600_000) is None, "the old handle never shows the new content"
    finally:
        os.close(fd)
    assert len(made.log_lines("was modified or truncated")) == 1
    assert not made.log_lines(": block "), "no block is to blame"


@pytest.mark.parametrize("plain", [False, True], ids=["disc", "plain"])
def test_a_file_that_is_replaced_or_removed_stays_whole_for_who_has_it_open(
    source: Path, mount: MountMaker, plain: bool
) -> None:
    packed = source / ("Game.dat" if plain else "Game.zso")
    shutil.copy(DATA / "maxcso-2048.zso", packed)
    shutil.copy(DATA / "zstd-2048.zso", source / "new.part")
    old = packed.read_bytes() if plain else (DATA / "ps2.iso").read_bytes()
    new = (DATA / ("zstd-2048.zso" if plain else "psp.iso")).read_bytes()
    made = mount(source)
    shown = made.path / ("Game.dat" if plain else "Game.iso")
    with shown.open("rb") as first:
        assert first.read(PAGE) == old[:PAGE]
        os.replace(source / "new.part", packed)
        becomes(shown, new)
        os.posix_fadvise(first.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert first.read() == old[PAGE:]
        with shown.open("rb") as second:
            packed.unlink()
            wait_until(lambda: not shown.exists(), "the name to go")
            os.posix_fadvise(second.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert second.read() == new
        first.seek(0)
        assert first.read() == old


# Hostile headers and indexes.


def huge_index(path: Path) -> None:
    """64 GiB in blocks of 2 KiB: a sparse index of 128 MiB whose entries are nearly all 0."""
    size, block = 64 << 30, 2048
    data = 24 + 4 * (size // block + 1)
    packed = bytes(lz4.block.compress(bytes(block), store_size=False))
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQIBB2x", b"ZISO", 24, size, block, 1, 0))
        file.write(struct.pack("<2I", data, data + len(packed)))
        file.seek(data - 8)
        file.write(struct.pack("<2I", data, data + len(packed)) + packed)


def bombs(path: Path, magic: bytes, version: int, packed: bytes, count: int) -> None:
    """Blocks of 16 MiB which are stored in next to nothing."""
    block = 16 << 20
    begin = 24 + 4 * (count + 1)
    entries = [begin + number * len(packed) for number in range(count + 1)]
    header = struct.pack("<4sIQIBB2x", magic, 24, count * block, block, version, 0)
    path.write_bytes(header + struct.pack(f"<{count + 1}I", *entries) + packed * count)


def long_blocks(path: Path) -> None:
    """Stored blocks of 32 MiB, all a hole, twice as long as the block that they claim to be, behind
    one that is stored plain."""
    block, count = 16 << 20, 40
    begin, step = (24 + 4 * (count + 1) + 65535) >> 16, (2 * block) >> 16
    first = begin + (block >> 16)
    entries = [BIT_31 | begin, *(first + number * step for number in range(count))]
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQIBB2x", b"CISO", 24, count * block, block, 1, 16))
        file.write(struct.pack(f"<{count + 1}I", *entries))
        file.truncate((entries[-1]) << 16)


def memory(process: int, field: str) -> int:
    """A field of the process's memory figures, in bytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"no {field}")


def test_hostile_files_take_little_memory(source: Path, mount: MountMaker) -> None:
    shutil.copy(DATA / "maxcso-16384.zso", source / "Good.zso")
    made = mount(source, "--cache-size=16M")
    good = made.path / "Good.iso"
    assert good.read_bytes() == (DATA / "ps2.iso").read_bytes()
    before = memory(made.daemon.pid, "VmHWM")
    block = bytes(16 << 20)
    huge_index(source / "huge.zso")
    bombs(source / "zstd.zso", b"ZISO", 1, zstandard.ZstdCompressor().compress(block), 4096)
    bombs(source / "lz4.zso", b"ZISO", 1, lz4.block.compress(block, store_size=False), 64)
    bombs(source / "deflate.cso", b"CISO", 1, zlib.compress(block, wbits=-15), 256)
    bombs(source / "larger.zso", b"ZISO", 1, zlib.compress(block + block), 256)
    long_blocks(source / "long.cso")
    (source / "claim.zso").write_bytes(struct.pack("<4sIQIBB2x", b"ZISO", 24, 64 << 30, 2048, 1, 0))
    (source / "claim.dax").write_bytes(struct.pack("<4s3I16x", b"DAX", 0xFFFFFFFF, 0, 0))
    shown = {"huge.iso", "zstd.iso", "lz4.iso", "deflate.iso", "long.iso"}
    wait_until(lambda: shown <= set(os.listdir(made.path)), "the new files")
    assert {"claim.zso", "claim.dax", "larger.zso"} <= set(os.listdir(made.path))
    assert (made.path / "zstd.iso").stat().st_size == 64 << 30
    generator = random.Random(1)
    for name in sorted(shown):
        fd = os.open(made.path / name, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            assert pread(fd, PAGE, 0) == bytes(PAGE) or name == "huge.iso"
            size = os.fstat(fd).st_size
            for _ in range(25):
                offset = generator.randrange(size // PAGE) * PAGE
                bad = name in ("huge.iso", "long.iso") and offset >= 16 << 20
                assert pread(fd, 3 * PAGE, offset) == (None if bad else bytes(3 * PAGE))
        finally:
            os.close(fd)
    assert good.read_bytes() == (DATA / "ps2.iso").read_bytes()
    assert memory(made.daemon.pid, "VmHWM") - before < 100 << 20


# Relatives that are not for us.


def dax_version_1(image: bytes = bytes(32768)) -> bytes:
    """A DAX with an area of plain frames, whose list of areas follows the lengths."""
    data = bytearray(writers.dax(image))
    struct.pack_into("<2I", data, 8, 1, 1)
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("Game.ciso", writers.gamecube_ciso(), "this is a GameCube or Wii CISO"),
        (
            "Game.cso",
            writers.xbox_cso((DATA / "ps2.iso").read_bytes()[:200_000]),
            "this is an Xbox CISO",
        ),
        ("Game.zso", writers.lzo_ziso(), "this is an LZO ZISO"),
        ("Game.dax", dax_version_1(), "this is a DAX file of version 1"),
    ],
    ids=["gamecube", "xbox", "lzo", "dax-1"],
)
def test_foreign_files_are_shown_as_they_are(
    source: Path, mount: MountMaker, name: str, data: bytes, said: str
) -> None:
    (source / name).write_bytes(data)
    made = mount(source)
    assert os.listdir(made.path) == [name]
    assert (made.path / name).read_bytes() == data
    (line,) = made.log_lines("WARNING")
    assert f"{name}: shown as a plain file, not as a disc: {said}" in line
