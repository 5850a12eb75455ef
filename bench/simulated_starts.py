"""Starts of a game on a clock of their own: the same whatever else the machine does.

Run it as ``python -m bench.simulated_starts [--games N] [--reader NAME] [--longest N]``, as any
user; a start takes some tenths of a second. Games and disk are those of :mod:`bench.spinning`, and
what decides what is read ahead is zsofs itself. The kernel is a model: its cache of the stored file
and of the shown one, and the read-ahead of both. Processor time is left out.

It compares two versions of reading ahead, and explains their longest waits. Figures for documents
are those of :mod:`bench.spinning`.
"""

import argparse
import statistics
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import trio
import trio.testing

from bench.game_starts import READERS, Step, chunks, start_of_game, without_pauses
from bench.spinning_disk import Disk
from zsofs.native.read_log import PAGE
from zsofs.preload.boot_trace import BootTrace, first_reads
from zsofs.preload.counters import PreloadCounters
from zsofs.preload.fetching import requests
from zsofs.preload.preloader import Preloader
from zsofs.source.scan_cache import TraceKey
from zsofs.timings import timings

_SIZE = 768 << 20
_BLOCK = 2048
_SHARE = 0.64
"""Stored bytes of a byte of the disc that :mod:`bench.spinning` packs."""

_INDEX = 24
_DATA = -(-(_INDEX + 4 * (_SIZE // _BLOCK + 1)) // PAGE) * PAGE
_OPENED = 64 << 10
"""Bytes that opening reads of the stored file (``zsofs.images.probe``)."""

_METADATA = -(800 << 20)
"""Where the block lies that says where the file lies, relative to the file."""

_LONGEST_REQUEST = 512 << 10
"""Bytes of a request of the kernel."""

_READ_AHEAD = 512 << 10
"""Bytes that the kernel reads ahead of a reader of the mount (``--read-ahead``)."""

_ANSWERED = 0.0003
"""Seconds of a read that is in memory."""

_DIVERGENCE = 0.5


class _Stored:
    """The stored file: what the kernel has of it, and its disk."""

    def __init__(self) -> None:
        self.disk = Disk()
        self._known: set[int] = set()
        self._coming: dict[int, trio.Event] = {}

    def has(self, offset: int, size: int) -> bool:
        return self._known.issuperset(_pages(offset, size))

    async def read(self, offset: int, size: int) -> None:
        pages = _pages(offset, size)
        at = pages.start
        while at < pages.stop:
            if at in self._coming:
                await self._coming[at].wait()
            elif at in self._known:
                at += 1
            else:
                end = at + 1
                most = min(pages.stop, at + _LONGEST_REQUEST // PAGE)
                while end < most and end not in self._known and end not in self._coming:
                    end += 1
                await self._request(range(at, end))

    async def _request(self, pages: range) -> None:
        arrived = trio.Event()
        self._coming.update(dict.fromkeys(pages, arrived))
        now = trio.current_time()
        await trio.sleep(self.disk.done_at(pages.start * PAGE, len(pages) * PAGE, now) - now)
        for page in pages:
            del self._coming[page]
        self._known.update(pages)
        arrived.set()


def _pages(offset: int, size: int) -> range:
    return range(offset // PAGE, -(-(offset + size) // PAGE))


class _Disc:
    """What the preloader uses of an open disc."""

    name = "game"
    size = _SIZE
    device = 1

    def stored(self, offset: int, size: int) -> list[tuple[int, int]]:
        begin, end = (_DATA + int(at * _SHARE) for at in (offset, offset + size))
        return [(begin, end - begin)]

    def index_of(self, offset: int, size: int) -> list[tuple[int, int]]:
        return [(_INDEX + 4 * (offset // _BLOCK), 4 * (-(-size // _BLOCK) + 1))]


class _Source:
    """What is fetched from."""

    def __init__(self) -> None:
        self.index_parts: set[int] = set()

    def fetch(self, offset: int, size: int) -> None:
        """Stand for a request, see :meth:`_Daemon.run`."""

    def has_all(self) -> None:
        """Stand for a look at the kernel's cache, see :meth:`_Daemon.run`."""


class _Daemon:
    """What the preloader needs: threads, files, the scan cache, and the reads that come first."""

    def __init__(self, disc: _Disc, stored: _Stored, trace: bytes | None) -> None:
        self._disc = disc
        self._stored = stored
        self._trace = trace
        self._waiting = 0
        self._used_at = -1.0

    def boot_trace(self, _: TraceKey) -> bytes | None:
        return self._trace

    def boot_trace_paths(self) -> set[bytes]:
        return set() if self._trace is None else {b"game"}

    async def open(self, *_: object) -> _Source:
        return _Source()

    async def close(self, _: _Source) -> None:
        await trio.lowlevel.checkpoint()

    async def run(self, _: int, function: Callable[..., Any], *args: Any) -> Any:
        await trio.lowlevel.checkpoint()
        if function == getattr(getattr(function, "__self__", None), "fetch", None):
            await self._stored.read(*args)
        elif function is requests:
            for _, one in args[1]:
                for piece in self._disc.index_of(one.begin * PAGE, one.pages * PAGE):
                    await self._stored.read(*piece)
        elif function not in (self.boot_trace, self.boot_trace_paths):
            return False  # nothing is stored, nor in memory
        return function(*args)

    async def read(self, offset: int, size: int) -> None:
        """Answer a read of the disc."""
        places = [*self._disc.index_of(offset, size), *self._disc.stored(offset, size)]
        if all(self._stored.has(*place) for place in places):
            return
        self._waiting += 1
        try:
            for place in places:
                await self._stored.read(*place)
        finally:
            self._waiting -= 1
            self._used_at = trio.current_time()

    async def let_pass(self, _: object) -> None:
        """See :meth:`zsofs.reading.io_pool.IoPool.let_pass`."""
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(timings().trace_yield):
            while self._waiting or trio.current_time() < self._used_at + timings().read_follows:  # noqa: ASYNC110 - a model
                await trio.sleep(0.0002)


class _Shown:
    """The shown file: what the kernel has of it, and reads ahead of a reader in order.

    Args:
        read: asks the mount for bytes.
        nursery: of what is read ahead.
        chunk: bytes of a read, at a multiple of it.
    """

    def __init__(
        self, read: Callable[[int, int], Awaitable[None]], nursery: trio.Nursery, chunk: int
    ) -> None:
        self._read = read
        self._nursery = nursery
        self._chunk = chunk
        self._most = max(_READ_AHEAD // chunk, 1)
        self._known: set[int] = set()
        self._coming: dict[int, trio.Event] = {}
        self._window = range(0)
        self._mark = -1
        self._last = -1

    async def need(self, offset: int) -> None:
        """Read the chunks of a read."""
        for number in range(offset // self._chunk, -(-(offset + self._chunk) // self._chunk)):
            is_next, self._last = number == self._last + 1, number
            if number in self._known or number in self._coming:
                if number == self._mark:
                    begin = self._window.stop
                    size = min(2 * len(self._window), self._most)
                    self._window, self._mark = range(begin, begin + size), begin
                    self._nursery.start_soon(self._load, self._missing())
                    await trio.lowlevel.checkpoint()
                if number in self._coming:
                    await self._coming[number].wait()
            elif is_next and self._most > 1:
                self._window, self._mark = range(number, number + 2), number + 1
                await self._load(self._missing())
            else:
                await self._load(range(number, number + 1))

    def _missing(self) -> range:
        """Return the first missing chunks of the window."""
        last = _SIZE // self._chunk
        missing = [
            number
            for number in self._window
            if number < last and number not in self._known and number not in self._coming
        ]
        return range(missing[0], missing[0] + len(missing)) if missing else range(0)

    async def _load(self, numbers: range) -> None:
        if not numbers:
            return
        arrived = trio.Event()
        self._coming.update(dict.fromkeys(numbers, arrived))
        await self._read(numbers.start * self._chunk, len(numbers) * self._chunk)
        for number in numbers:
            self._coming.pop(number, None)
        self._known.update(numbers)
        arrived.set()


@dataclass(slots=True)
class _Start:
    """A start: its reads (begin in seconds, offset, wait), what was recorded, and what was done."""

    reads: list[tuple[float, int, float]] = field(default_factory=list)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    requests: list[tuple[float, float, int, int]] = field(default_factory=list)
    counters: PreloadCounters = field(default_factory=PreloadCounters)

    @property
    def waits(self) -> list[float]:
        return [wait for _, _, wait in self.reads]

    @property
    def wasted(self) -> float:
        return self.counters.wasted / max(self.counters.fetched, 1)


def simulated(steps: list[Step], read_size: int, trace: bytes | None = None) -> _Start:
    """Start a game, whose boot trace is known or not."""
    start = _Start()
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(_play, steps, read_size, trace, start, clock=clock)
    return start


async def _play(steps: list[Step], read_size: int, trace: bytes | None, start: _Start) -> None:
    stored, disc = _Stored(), _Disc()
    daemon = _Daemon(disc, stored, trace)
    part = cast(Any, daemon)
    preloader = Preloader(part, part, part, part, enabled=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(preloader.serve)
        await trio.sleep(1)
        begun = trio.current_time()
        await stored.read(_METADATA, PAGE)
        await stored.read(0, _OPENED)
        reads = preloader.opened(TraceKey(b"game", 0, _SIZE, 1), cast(Any, disc))
        assert reads is not None
        start.reads.append((begun, -1, trio.current_time() - begun))

        async def read(offset: int, size: int) -> None:
            reads.note(offset, size)
            await daemon.read(offset, size)

        shown = _Shown(read, nursery, read_size)
        last = -1
        for step in steps:
            await trio.sleep(step.pause)
            started = trio.current_time()
            for place in chunks(step, read_size):
                if step.rate:
                    due = started + (place - step.offset) / step.rate
                    await trio.sleep(max(due - trio.current_time(), 0))
                if place != last:
                    last, begun = place, trio.current_time()
                    await shown.need(place)
                    start.reads.append((begun, place, trio.current_time() - begun))
                    await trio.sleep(_ANSWERED)
        start.ranges = reads.log.ranges()
        preloader.closed(reads)
        start.counters = preloader.counters()
        start.requests = list(stored.disk.requests)
        nursery.cancel_scope.cancel()


def _explain(start: _Start, count: int) -> None:
    """Print the longest waits, and what the disk did meanwhile."""
    for begun, place, wait in sorted(sorted(start.reads, key=lambda one: -one[2])[:count]):
        meanwhile = " ".join(
            f"[{(begin - begun) * 1e3:.0f} to {(end - begun) * 1e3:.0f}: {size >> 10} KiB at"
            f" {offset / 1e6:.2f} MB]"
            for begin, end, offset, size in start.requests
            if end > begun and begin < begun + wait
        )
        since = begun - start.reads[0][0]
        print(f"  {since:6.2f} s, at {place / 1e6:.2f} MB: {wait * 1e3:.1f} ms: {meanwhile}")


def _row(name: str, values: Iterable[float]) -> str:
    ordered = sorted(values)
    middle = statistics.median(ordered)
    return f"{name:44} {middle:6.2f} ({ordered[0]:.2f} to {ordered[-1]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.simulated_starts", allow_abbrev=False)
    parser.add_argument("--games", type=int, default=10)
    parser.add_argument("--reader", choices=READERS, default="pcsx2")
    parser.add_argument("--longest", type=int, default=0, metavar="N", help="explain N waits")
    options = parser.parse_args()
    size = READERS[options.reader]
    rows: dict[str, list[float]] = {}
    for seed in range(options.games):
        steps, other = (start_of_game(_SIZE, seed, part) for part in (0, _DIVERGENCE))
        trace = BootTrace([])
        trace.merge(first_reads(simulated(without_pauses(steps), size).ranges))
        first, second = simulated(steps, size), simulated(steps, size, trace.to_bytes())
        diverging, without = simulated(other, size, trace.to_bytes()), simulated(other, size)
        if options.longest:
            print(f"game {seed}")
            _explain(second, options.longest)
        for name, value in (
            ("waiting, second : first", sum(second.waits) / sum(first.waits)),
            ("longest wait, second : first", max(second.waits) / max(first.waits)),
            ("opening, second start (ms)", second.waits[0] * 1e3),
            ("longest read, first start (ms)", max(first.waits[1:]) * 1e3),
            ("longest read, second start (ms)", max(second.waits[1:]) * 1e3),
            ("waiting, diverging : without", sum(diverging.waits) / sum(without.waits)),
            ("wasted, second", second.wasted),
            ("wasted, diverging", diverging.wasted),
        ):
            rows.setdefault(name, []).append(value)
    for name, values in rows.items():
        print(_row(name, values))


if __name__ == "__main__":
    main()
