"""Which bytes of a file were written, in bounded memory."""

from array import array
from bisect import bisect_left, bisect_right

MOST_RANGES = 512
"""Ranges that are kept for a file. Clients send many writes at once, which arrive in any order, but
few of them are missing at a time. A file that is written in random pieces may exceed this."""


class WrittenRanges:
    """The written byte ranges of one file: merged, in order.

    With more than :data:`MOST_RANGES`, the shortest one is dropped: the file then counts as
    incomplete, which is the safe answer, until those bytes are written again.
    """

    __slots__ = ("_begins", "_ends")

    def __init__(self) -> None:
        self._begins = array("q")
        self._ends = array("q")

    def add(self, begin: int, end: int) -> None:
        """Record that the bytes from *begin* to before *end* were written."""
        if begin >= end:
            return
        first = bisect_left(self._ends, begin)
        last = bisect_right(self._begins, end)
        if first < last:  # touches these ranges
            begin = min(begin, self._begins[first])
            end = max(end, self._ends[last - 1])
        self._begins[first:last] = array("q", (begin,))
        self._ends[first:last] = array("q", (end,))
        if len(self._begins) > MOST_RANGES:
            lengths = map(int.__sub__, self._ends, self._begins)
            _, shortest = min((length, at) for at, length in enumerate(lengths))
            del self._begins[shortest], self._ends[shortest]

    def cut(self, size: int) -> None:
        """Forget everything from the byte *size* on: the file has this size now."""
        kept = bisect_left(self._begins, size)
        del self._begins[kept:], self._ends[kept:]
        if kept and self._ends[-1] > size:
            self._ends[-1] = size

    def count(self, size: int) -> int:
        """Return how many of the first *size* bytes were written."""
        return sum(
            max(0, min(end, size) - begin)
            for begin, end in zip(self._begins, self._ends, strict=True)
        )
