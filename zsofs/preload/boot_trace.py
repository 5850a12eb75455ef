"""The boot trace of a disc: the ranges that its starts read, in their order, merged.

Reads that the kernel answers from its page cache never reach the daemon. So that a range is absent
from a start says little, unless that start read nearly all of the others.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from zsofs.formats.geometry import MAX_IMAGE_SIZE
from zsofs.native.read_log import PAGE, decoded

MAX_BYTES = 16 << 10
"""Bytes of a stored trace."""

_MOST_RANGES = 4096
_MOST_PAGES = MAX_IMAGE_SIZE // PAGE + 1

_LONGEST = 4096
"""Pages of a range. A recorded one has some 256; the requests for longer ones would need much
memory."""

_COLD_SHARE = 0.8
"""A start that read this share of the trace, up to where it came, had little in the page cache:
what it did not read was not needed."""

_MOST_COUNT = 15
"""Of starts that read a range, and of those that did not; both are halved at more."""

_COPY_BYTES = 32 << 20
_COPY_SHARE = 0.9
"""A start that reads so much, and this share of it from end to end, is a copy of the disc."""

FEWEST_RANGES = 12
_FEWEST_BYTES = 1 << 20
"""A program that reads less only looks what disc it is."""


class InvalidTraceError(Exception):
    """A stored trace is damaged."""


_SHORTEST = 2 * PAGE
"""Bytes of a range on average: single pages are read at random, without the kernel's read-ahead."""

Pages = tuple[int, int]
"""A range: its first page, and the one behind it."""


@dataclass(slots=True)
class Range:
    """A range of a disc.

    Attributes:
        begin: number of its first page.
        end: number of the page behind it.
        seen: starts that read it.
        missed: starts that did not, although they read nearly everything else.
    """

    begin: int
    end: int
    seen: int = 1
    missed: int = 0

    @property
    def pages(self) -> int:
        """Number of pages."""
        return self.end - self.begin

    @property
    def is_usual(self) -> bool:
        """Whether most starts read it."""
        return self.seen > self.missed

    def count(self, *, is_read: bool) -> None:
        """Count a start."""
        if is_read:
            self.seen += 1
        else:
            self.missed += 1
        if max(self.seen, self.missed) > _MOST_COUNT:
            self.seen = (self.seen + 1) // 2
            self.missed //= 2


class _Coverage:
    """Which pages lie in which of some disjoint ranges."""

    def __init__(self, ranges: Iterable[Pages]) -> None:
        ordered = sorted((begin, end, number) for number, (begin, end) in enumerate(ranges))
        self._begins = [begin for begin, _, _ in ordered]
        self._ordered = ordered

    def split(self, pages: Pages) -> list[tuple[int, int, int]]:
        """Return the parts of a range as (begin, end, number of the range there, or -1)."""
        begin, end = pages
        parts = []
        at = max(bisect_right(self._begins, begin) - 1, 0)
        while begin < end:
            while at < len(self._ordered) and self._ordered[at][1] <= begin:
                at += 1
            if at == len(self._ordered) or self._ordered[at][0] >= end:
                parts.append((begin, end, -1))
                break
            there, behind, number = self._ordered[at]
            if begin < there:
                parts.append((begin, there, -1))
                begin = there
            upto = min(end, behind)
            parts.append((begin, upto, number))
            begin = upto
        return parts


def first_reads(ranges: Iterable[Pages]) -> list[Pages]:
    """Return disjoint ranges in the order in which they were first read."""
    found: list[Pages] = []
    known: list[Pages] = []  # by place
    for begin, end in ranges:
        at = max(bisect_right(known, (begin, begin)) - 1, 0)
        place = begin
        new: list[Pages] = []
        while at < len(known) and known[at][0] < end:
            if known[at][0] > place:
                new.append((place, known[at][0]))
            place = max(place, known[at][1])
            at += 1
        if place < end:
            new.append((place, end))
        for part in new:
            known.insert(bisect_right(known, part), part)
        found += new
    return found


def is_start(ranges: Sequence[Pages]) -> bool:
    """Return whether a program that read *ranges* started a game; else it looked, or copied."""
    size = sum(end - begin for begin, end in ranges) * PAGE
    if len(ranges) < FEWEST_RANGES or size < max(_FEWEST_BYTES, _SHORTEST * len(ranges)):
        return False
    in_order = sum(
        later[1] - later[0] for earlier, later in pairwise(ranges) if later[0] == earlier[1]
    )
    return not (size >= _COPY_BYTES and in_order * PAGE >= _COPY_SHARE * size)


@dataclass(slots=True)
class BootTrace:
    """The merged starts of a disc.

    Attributes:
        ranges: disjoint, in the order of the reads.
        starts: number of starts.
    """

    ranges: list[Range]
    starts: int = 0

    @property
    def usual_bytes(self) -> int:
        """Bytes of the disc that most starts read."""
        return sum(one.pages for one in self.ranges if one.is_usual) * PAGE

    def merge(self, start: Sequence[Pages]) -> None:
        """Take in another start.

        Args:
            start: disjoint ranges in the order of the reads, from :func:`first_reads`.
        """
        coverage = _Coverage((one.begin, one.end) for one in self.ranges)
        read = [0] * len(self.ranges)
        new: dict[int, list[Range]] = {}
        last = -1
        for pages in start:
            for begin, end, number in coverage.split(pages):
                if number < 0:
                    new.setdefault(last, []).append(Range(begin, end))
                else:
                    read[number] += end - begin
                    last = number
        self._count(read)
        merged = new.get(-1, [])
        for number, one in enumerate(self.ranges):
            if one.missed <= one.seen:
                merged.append(one)
            merged += new.get(number, ())
        self.ranges = merged
        self.starts += 1

    def _count(self, read: Sequence[int]) -> None:
        """Count for each range whether a start read it, given how many pages of it."""
        furthest = max((number for number, pages in enumerate(read) if pages), default=-1)
        passed = self.ranges[: furthest + 1]
        whole = sum(one.pages for one in passed)
        is_cold = sum(read) >= _COLD_SHARE * whole
        for one, pages in zip(passed, read, strict=False):
            if 2 * pages >= one.pages:
                one.count(is_read=True)
            elif is_cold:
                one.count(is_read=False)

    def to_bytes(self) -> bytes:
        """Return it as at most MAX_BYTES bytes; the ranges that were read last are dropped."""
        out = bytearray()
        _put(out, self.starts)
        last = 0
        for one in self.ranges[:_MOST_RANGES]:
            row = bytearray()
            _put(row, (one.begin - last) << 1 if one.begin >= last else (last - one.begin) << 1 | 1)
            _put(row, one.pages)
            row.append(one.seen << 4 | one.missed)
            if len(out) + len(row) > MAX_BYTES:
                break
            out += row
            last = one.end
        return bytes(out)

    @classmethod
    def from_bytes(cls, data: bytes) -> "BootTrace":
        """Return the trace in a row of the cache.

        Raises:
            InvalidTraceError: it is invalid.
        """
        starts, found = _decoded(data)
        return cls(
            [Range(begin, end, counts >> 4, counts & 15) for begin, end, counts in found], starts
        )


def some_ranges(data: bytes, count: int) -> list[Range]:
    """Return some *count* ranges, evenly spread over the trace in a row of the cache.

    Raises:
        InvalidTraceError: it is invalid.
    """
    _, found = _decoded(data)
    return [Range(begin, end) for begin, end, _ in found[:: max(1, len(found) // count)]]


def _decoded(data: bytes) -> tuple[int, list[tuple[int, int, int]]]:
    found = decoded(data, _LONGEST, _MOST_PAGES) if len(data) <= MAX_BYTES else None
    if found is None:
        raise InvalidTraceError
    return found


def _put(out: bytearray, value: int) -> None:
    """Append an integer, seven bits a byte, the lowest first."""
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
