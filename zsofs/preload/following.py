"""Whether a reader follows a boot trace, and what to fetch ahead of it."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from zsofs.native.read_log import PAGE
from zsofs.preload.boot_trace import Range

_BEGIN = 6
"""Jumps in the order of the trace before anything is fetched for a reader that may only look what
disc it is. What identifies a disc (the volume descriptor, a directory, SYSTEM.CNF, the ELF) is
fewer."""

MAX_LOOK = 512 << 10
"""Bytes that are fetched ahead of a reader that may only look what disc it is."""

_SURE = 8
"""Jumps after which more is fetched, _EACH_JUMP for each."""

_EACH_JUMP = 768 << 10
"""Bytes of distance for each jump that the trace foresaw. Reads that continue the last one are no
evidence: after a film, a game reads what the player chose."""

_TRUSTED = 48
"""Jumps after which a reader is trusted: it has read more than the files of its first menu."""

_MOST_AHEAD = (12 << 20, 32 << 20)
"""Bytes that are fetched ahead of a reader: before it is trusted, and after. They are wasted if it
reads other files from then on."""

_PIECE = 64
"""Pages of a piece of a range."""

_URGENT = 2 << 20
"""Bytes ahead of a reader below which its next read comes first, whatever that costs in seeks."""

_LARGEST_WINDOW = 8 << 20
"""Bytes that are fetched in the order of the disk."""

_NEAR = 64
"""A read so many pieces before or after the last one is in the order of the trace."""

_BESIDE = (512 << 10) // PAGE
"""Pages behind a range that the kernel's read-ahead may reach: such a read says nothing."""

_MOST_NEEDED = 64
"""Reads in order that are needed after many that were not."""

_LOST = 64
"""Reads elsewhere, and four times as many as in the trace: such a reader is no longer compared with
it, which takes a microsecond a read."""

_FORGIVEN = 8
"""Reads in order after which half as many are needed the next time."""


class _Trust:
    """How much a reader is trusted to read on as in the trace.

    Attributes:
        jumps: jumps that the trace foresaw; half as many after each read elsewhere.
        in_order: those since the last read elsewhere.
        needed: how many of these are needed.
        misses: reads elsewhere.
    """

    def __init__(self, needed: int) -> None:
        self.jumps = 0
        self.in_order = 0
        self.needed = needed
        self.misses = 0

    def grow(self) -> bool:
        """Count a jump; return whether there were enough."""
        self.jumps += 1
        self.in_order += 1
        if self.in_order % _FORGIVEN == 0:
            self.needed = max(self.needed // 2, 1)
        return self.in_order >= self.needed

    def shrink(self) -> None:
        """Count a read elsewhere."""
        self.misses += 1
        self.needed = min(max(2 * self.needed, _BEGIN), _MOST_NEEDED)
        self.in_order = 0
        self.jumps //= 2


class Following:
    """Compares the reads through one handle with a trace. For the event loop.

    A jump is a read of a piece that does not lie behind the one before it in the trace.

    Attributes:
        active: whether the reader follows the trace now.
        ranges: those of the trace that most starts read, in pieces, in their order.
    """

    def __init__(self, ranges: Sequence[Range], *, at_once: bool = False) -> None:
        """Create it; *at_once*: the first read of the start suffices to follow it."""
        self.active = False
        self.ranges = [piece for one in ranges if one.is_usual for piece in _pieces(one)]
        self._by_place = sorted(range(len(self.ranges)), key=lambda n: self.ranges[n].begin)
        self._begins = [self.ranges[number].begin for number in self._by_place]
        self._read = [0] * len(self.ranges)
        self._taken = bytearray(len(self.ranges))
        self._at = -1
        self._trust = _Trust(1 if at_once else _BEGIN)
        self._hits = 0
        self._elsewhere = -1
        self._stray_end = -1

    def note(self, offset: int, size: int) -> bool:
        """Take in a read; return whether there may be more to fetch than before."""
        begin, end = offset // PAGE, -(-(offset + size) // PAGE)
        place = bisect_right(self._begins, end - 1) - 1
        found = place
        while found >= 0 and self.ranges[self._by_place[found]].end > begin:
            found -= 1
        if found == place:
            last = self.ranges[self._by_place[place]].end if place >= 0 else -_BESIDE
            if begin >= last + _BESIDE and begin != self._stray_end:
                self._leave()  # and not again for each read of the same file
            self._stray_end = end
            return False
        more = False
        for number in self._by_place[found + 1 : place + 1]:
            more = self._hit(number, begin, end)
        return more

    def _hit(self, number: int, begin: int, end: int) -> bool:
        one = self.ranges[number]
        is_new = not self._read[number]
        pages = min(end, one.end) - max(begin, one.begin)
        self._read[number] = min(self._read[number] + pages, one.pages)
        if self._at < 0 and number > _NEAR:  # not the beginning of the start
            self._trust.needed = max(self._trust.needed, _BEGIN)
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
            if not number or one.begin != self.ranges[number - 1].end:
                self.active |= self._trust.grow()
        return self.active

    def _leave(self) -> None:
        """Stop at once: the reader is not where the trace is."""
        self._trust.shrink()
        if self._trust.misses > max(_LOST, 4 * self._hits):
            self.end()
        self.active = False

    def _ahead(self) -> int:
        """Return how many bytes may be fetched ahead of the reader."""
        if not self.active:
            return 0
        jumps = self._trust.jumps
        most = _MOST_AHEAD[jumps >= _TRUSTED]
        return min(max(jumps - _SURE, 0) * _EACH_JUMP + MAX_LOOK, most)

    def _lead(self) -> int:
        """Return how many bytes the reader can read on before it comes to what is not fetched."""
        size = 0
        for number in range(max(self._at, 0), len(self.ranges)):
            if self._is_missing(number):
                break
            size += self.ranges[number].pages
        return size * PAGE

    def _is_missing(self, number: int) -> bool:
        return not self._taken[number] and self._read[number] < self.ranges[number].pages

    def next_window(self) -> list[int]:
        """Return the numbers of the next pieces to fetch; none: wait.

        They are fetched in the order of the disk, so there are as many as the reader has
        ahead of it already, and one if it has nothing.
        """
        whole = left = self._ahead() // PAGE
        most = min(self._lead(), _LARGEST_WINDOW) // PAGE
        found: list[int] = []
        size = 0
        for number in range(max(self._at, 0), len(self.ranges)):
            pages = self.ranges[number].pages
            left -= pages
            if not self._is_missing(number):
                continue
            if left < 0 or (not found and 8 * left < whole and most):
                break  # it can wait until the window is larger
            size += pages
            if size > most and found:
                break
            found.append(number)
        return found

    @property
    def has_lead(self) -> bool:
        """Whether there is time for what is needed later."""
        return self.active and self._lead() >= _URGENT

    def upcoming(self) -> list[int]:
        """Return the numbers of the pieces that are fetched soon."""
        left = 2 * self._ahead() // PAGE
        found: list[int] = []
        for number in range(max(self._at, 0), len(self.ranges)):
            left -= self.ranges[number].pages
            if left < 0:
                break
            if self._is_missing(number):
                found.append(number)
        return found

    def choose(self, requests: Sequence[Iterable[int]]) -> int:
        """Return which request is next, or -1: none is ahead of the reader.

        Args:
            requests: the pieces in each, in the order of the disk.
        """
        first, best = len(self.ranges), -1
        is_urgent = self._lead() < _URGENT
        for at, numbers in enumerate(requests):
            ahead = (n for n in numbers if n >= self._at and self._is_missing(n))
            wanted = min(ahead, default=first)
            if wanted < first:
                first, best = wanted, at
                if not is_urgent:
                    break
        return best

    def take(self, numbers: Iterable[int]) -> None:
        """Note that these pieces were fetched."""
        for number in numbers:
            self._taken[number] = 1

    def end(self) -> None:
        """Fetch nothing more: the source cannot be read."""
        self.active = False
        self._begins.clear()

    @property
    def is_start(self) -> bool:
        """Whether the reader does more than look what disc it is."""
        return self.active and self._trust.jumps > _BEGIN

    @property
    def lost(self) -> bool:
        """Whether the reader need not be compared with the trace any more."""
        return not self._begins

    def share_used(self, number: int) -> float:
        """Return which part of a piece was read, from 0 to 1."""
        return self._read[number] / self.ranges[number].pages


def _pieces(one: Range) -> Iterator[Range]:
    for begin in range(one.begin, one.end, _PIECE):
        yield Range(begin, min(begin + _PIECE, one.end))
