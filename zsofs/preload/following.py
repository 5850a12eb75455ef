"""Whether a reader follows a boot trace, and what to fetch ahead of it."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from zsofs.native.read_log import PAGE
from zsofs.preload.boot_trace import Range

_BEGIN = 6
"""Ranges in the order of the trace before anything is fetched. What identifies a disc (the volume
descriptor, a directory, SYSTEM.CNF, the ELF) is fewer."""

_SURE = 12
"""Ranges after which as much is fetched as the reader has used; before that, MAX_LOOK."""

MAX_LOOK = 512 << 10
"""Bytes that are fetched for a reader that may only look what disc it is."""

_MOST_AHEAD = 20 << 20
"""Bytes that are fetched ahead of a reader."""

_NEAR = 64
"""A read so many ranges before or after the last one is in the order of the trace."""

_BESIDE = (512 << 10) // PAGE
"""Pages behind a range that the kernel's read-ahead may reach: such a read says nothing."""

_MOST_NEEDED = 64
"""Reads in order that are needed after many that were not."""

_LOST = 64
"""Reads elsewhere, and four times as many as in the trace: such a reader is no longer compared with
it, which takes a microsecond a read."""

_FORGIVEN = 8
"""Reads in order after which half as many are needed the next time."""


class Following:
    """Compares the reads through one handle with a trace. For the event loop.

    Attributes:
        active: whether the reader follows the trace now.
        ranges: of the trace, those that most starts read, in their order.
    """

    def __init__(self, ranges: Sequence[Range]) -> None:
        self.active = False
        self.ranges = [one for one in ranges if one.is_usual]
        self._by_place = sorted(range(len(self.ranges)), key=lambda n: self.ranges[n].begin)
        self._begins = [self.ranges[number].begin for number in self._by_place]
        self._read = [0] * len(self.ranges)
        self._taken = bytearray(len(self.ranges))
        self._at = -1
        self._in_order = 0
        self._hits = 0
        self._needed = _BEGIN
        self._misses = 0
        self._elsewhere = -1

    def note(self, offset: int, size: int) -> bool:
        """Take in a read; return whether there may be more to fetch than before."""
        begin, end = offset // PAGE, -(-(offset + size) // PAGE)
        place = bisect_right(self._begins, end - 1) - 1
        number, beside = -1, False
        if place >= 0:
            candidate = self._by_place[place]
            behind = self.ranges[candidate].end
            if behind > begin:
                number = candidate
            else:
                beside = begin < behind + _BESIDE
        if number < 0:
            if not beside:
                self._leave()
            return False
        return self._hit(number, begin, end)

    def _hit(self, number: int, begin: int, end: int) -> bool:
        one = self.ranges[number]
        is_new = not self._read[number]
        pages = min(end, one.end) - max(begin, one.begin)
        self._read[number] = min(self._read[number] + pages, one.pages)
        if not -_NEAR <= number - self._at <= _NEAR and self._at >= 0:
            # Another part of the trace: followed there if the next reads are there as well.
            is_near = abs(number - self._elsewhere) <= _NEAR and self._elsewhere >= 0
            self._elsewhere = number
            if not is_near:
                self._leave()
                return False
            self._at = number
        self._at = max(self._at, number)
        if is_new:
            self._hits += 1
            self._in_order += 1
            if self._in_order % _FORGIVEN == 0:
                self._needed = max(self._needed // 2, 1)
            if self._in_order >= self._needed:
                self.active = True
        return self.active

    def _leave(self) -> None:
        """Stop at once: the reader is not where the trace is."""
        self._misses += 1
        if self._misses > max(_LOST, 4 * self._hits):
            self.end()
        if self._hits >= _BEGIN:
            self._needed = max(min(2 * self._needed, _MOST_NEEDED), self._needed)
        self.active = False
        self._in_order = 0

    def _ahead(self) -> int:
        """Return how many bytes may be fetched ahead of the reader."""
        if not self.active:
            return 0
        if self._hits < _SURE:
            taken = (one.pages for n, one in enumerate(self.ranges) if self._taken[n])
            return MAX_LOOK - sum(taken) * PAGE
        return min(MAX_LOOK + 4 * sum(self._read) * PAGE, _MOST_AHEAD)

    def next_window(self, most: int) -> list[int]:
        """Return the numbers of the next ranges to fetch, of at most *most* bytes; none: wait."""
        whole = left = self._ahead() // PAGE
        found: list[int] = []
        size = 0
        for number in range(self._at + 1, len(self.ranges)):
            pages = self.ranges[number].pages
            left -= pages
            if self._taken[number] or self._read[number]:
                continue
            if left < 0 or (not found and 8 * left < whole):
                break  # it can wait until the window is larger
            size += pages
            if size * PAGE > most and found:
                break
            found.append(number)
        return found

    def is_wanted(self, numbers: Iterable[int]) -> bool:
        """Return whether one of these ranges was not read meanwhile."""
        return any(not self._read[number] for number in numbers)

    def take(self, numbers: Iterable[int]) -> None:
        """Note that these ranges were fetched."""
        for number in numbers:
            self._taken[number] = 1

    def end(self) -> None:
        """Fetch nothing more: the source cannot be read."""
        self.active = False
        self._begins.clear()

    @property
    def lost(self) -> bool:
        """Whether the reader need not be compared with the trace any more."""
        return not self._begins

    def share_used(self, number: int) -> float:
        """Return which part of a range was read, from 0 to 1."""
        return self._read[number] / self.ranges[number].pages
