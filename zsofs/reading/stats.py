"""Counters of the cost of reads: per disc, per program, and in total."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import nsmallest
from typing import TypeVar

from zsofs.native.meters import CAUSES, MAX_SIZE, HandleMeter, Meter, Trace, now_ns
from zsofs.reading.slow_reads import ReadLabel, SlowReads

SLOW_MS = 50
"""A read is slow from this time on by default: three frames of a game."""

_DISCS = 4096
"""Discs with counters."""

_DETAILED = 512
"""Discs with a histogram, rates and a map as well, 6 KiB each."""

_READERS = 256
"""Programs with counters."""

_DROPPED = 16
"""One in so many of the least recently read is dropped at a time."""

_SECOND = 1_000_000_000

_AGING_NS = 61 * _SECOND
"""After a read, the rates of a disc change for a minute although nothing more is read."""

_CAUSES = {
    "queue": "queue",
    "disk": "disk",
    "decode": "decoding",
    "hang": "hung disk",
    "memory": "memory",
}

UNCOUNTED = HandleMeter(None, None, None, MAX_SIZE, 0)
"""For reads of zsofs itself."""

K = TypeVar("K")


class Statistics:
    """The meters of all discs, by path relative to the source. For the event loop.

    Attributes:
        total: counts all reads since the mount started; its revision counts changes.
        started: when that was, by the monotonic clock, in seconds.
        slow_reads: the last slow reads.
        waiting: reads that wait for a thread or a disk, the oldest first.
    """

    def __init__(self, slow_ms: int = SLOW_MS) -> None:
        """Create it; *slow_ms*: a read is slow from so many milliseconds on."""
        self.started = time.monotonic()
        self.total = Meter()
        self.total.keep_details()
        self._slow_ns = slow_ms * 1_000_000
        self.slow_reads = SlowReads(self.total)
        self.waiting: dict[Trace, None] = {}
        self._discs: dict[str, Meter] = {}
        self._detailed: dict[str, Meter] = {}
        self._readers: dict[tuple[int, str], Meter] = {}

    def handle(self, label: ReadLabel, size: int) -> HandleMeter:
        """Return what counts the reads of a disc through one handle.

        Args:
            label: the file and the program.
            size: of the disc in bytes; MAX_SIZE if it changes, and no map is to be kept. So is that
                of sparse files which are longer, up to 8 EiB.
        """
        size = min(size, MAX_SIZE)
        disc = self._discs.get(label.disc)
        if disc is None:
            for name in _oldest(self._discs, _DISCS):
                del self._discs[name]
                self._detailed.pop(name, None)
            disc = self._discs[label.disc] = Meter()
        if not disc.has_details:
            for name in _oldest(self._detailed, _DETAILED):
                self._detailed.pop(name).drop_details()
        disc.keep_details(size if size < MAX_SIZE else 0)
        self._detailed[label.disc] = disc
        program = label.pid, label.program
        reader = self._readers.get(program)
        if reader is None:
            for other in _oldest(self._readers, _READERS):
                del self._readers[other]
            reader = self._readers[program] = Meter()
            reader.keep_details()
        return HandleMeter(self.total, disc, reader, size, self._slow_ns, label)

    @contextmanager
    def waits(self, trace: Trace) -> Iterator[None]:
        """Report a read as waiting within the context, unless it is one of zsofs itself."""
        if trace.handle.label is not None:
            self.waiting[trace] = None
        try:
            yield
        finally:
            self.waiting.pop(trace, None)

    def disc(self, name: str) -> Meter | None:
        """Return the meter of a disc that was read."""
        return self._discs.get(name)

    def disc_count(self) -> int:
        """Return how many discs have counters."""
        return len(self._discs)

    def changed_discs(self, revision: int, most: int) -> list[tuple[str, Meter]]:
        """Return the discs that changed after *revision*, in that order, at most *most*.

        A disc also changes while its rates fall after its last read, once a second.
        """
        now = now_ns()
        for meter in self._detailed.values():
            ages = 0 < meter.revision <= revision and now - meter.last_ns < _AGING_NS
            if ages and meter.aged != now // _SECOND:
                meter.aged = now // _SECOND
                self.total.revision += 1
                meter.revision = self.total.revision
        changed = (item for item in self._discs.items() if item[1].revision > revision)
        return nsmallest(most, changed, key=lambda item: item[1].revision)

    def readers(self, most: int) -> list[tuple[tuple[int, str], Meter]]:
        """Return the programs that read last, the latest first, at most *most*."""
        return sorted(self._readers.items(), key=lambda item: -item[1].revision)[:most]

    def busiest(self, most: int) -> list[tuple[str, Meter]]:
        """Return the discs with the most bytes read, in descending order, at most *most*."""
        ordered = sorted(self._discs.items(), key=lambda item: -item[1].bytes)
        return [(name, meter) for name, meter in ordered[:most] if meter.requests]


def _oldest(meters: dict[K, Meter], most: int) -> list[K]:
    """Return the least recently read of *meters* if there are *most*, to make room for another."""
    if len(meters) < most:
        return []
    return nsmallest(most // _DROPPED, meters, key=lambda key: meters[key].revision)


def cost_text(meter: Meter) -> str:
    """Return the counters as one line of text."""
    lookups = meter.lookups
    parts = [
        f"{meter.requests:,} reads, {meter.bytes / 1e6:,.1f} MB",
        f"cache {lookups - meter.loads:,} of {lookups:,} hits",
        f"{meter.blocks:,} blocks decoded",
        f"{meter.inline:,} at once, {meter.threaded:,} by threads",
    ]
    if meter.threaded:
        parts[-1] += f" after {meter.queue_ns / meter.threaded / 1e6:.2f} ms"
    slow = dict(zip(CAUSES, meter.slow, strict=True))
    if any(slow.values()):
        found = (f"{slow[name]:,} by {word}" for name, word in _CAUSES.items() if slow[name])
        causes = ", ".join(found)
        parts.append(f"slow: {causes}")
    if meter.errors:
        parts.append(f"{meter.errors:,} failed")
    return "; ".join(parts)
