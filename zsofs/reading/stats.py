"""Counters of the cost of reads: per disc, and in total."""

from collections import OrderedDict
from dataclasses import dataclass, fields

SLOW_NS = 100_000_000
"""A read is slow from this time on: a tenth of a second is visible in a video."""

_REMEMBERED = 4096


@dataclass(slots=True)
class Counters:
    """Counters of one disc, or of all.

    Attributes:
        requests: reads requested by the kernel.
        bytes: bytes requested, within the file.
        lookups: cache lookups of extents.
        loads: cache misses.
        blocks: decoded blocks; 0 for a plain file.
        inline: runs of blocks read on the event loop.
        threaded: runs of blocks read in a thread, because a disk might block.
        queue_ns: total nanoseconds that the latter waited for a thread.
        slow_queue: reads slower than SLOW_NS, mostly because of waiting for a thread.
        slow_source: the same, because of the disk.
        slow_decode: the same, because of decoding.
        errors: failed reads.
    """

    requests: int = 0
    bytes: int = 0
    lookups: int = 0
    loads: int = 0
    blocks: int = 0
    inline: int = 0
    threaded: int = 0
    queue_ns: int = 0
    slow_queue: int = 0
    slow_source: int = 0
    slow_decode: int = 0
    errors: int = 0

    @property
    def hits(self) -> int:
        """Cache hits."""
        return self.lookups - self.loads

    def count_thread(self, queue_ns: int, source_ns: int, decode_ns: int) -> None:
        """Count a run of blocks read in a thread, by its times in nanoseconds."""
        self.threaded += 1
        self.queue_ns += queue_ns
        if queue_ns + source_ns + decode_ns >= SLOW_NS:
            if queue_ns >= source_ns and queue_ns >= decode_ns:
                self.slow_queue += 1
            elif source_ns >= decode_ns:
                self.slow_source += 1
            else:
                self.slow_decode += 1

    def add(self, other: "Counters") -> None:
        """Add the counters of *other*."""
        for field in fields(Counters):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def text(self) -> str:
        """Return the counters as one line of text."""
        parts = [
            f"{self.requests:,} reads, {self.bytes / 1e6:,.1f} MB",
            f"cache {self.hits:,} of {self.lookups:,} hits",
            f"{self.blocks:,} blocks decoded",
            f"{self.inline:,} at once, {self.threaded:,} by threads",
        ]
        if self.threaded:
            parts[-1] += f" after {self.queue_ns / self.threaded / 1e6:.2f} ms"
        slow = {
            "queue": self.slow_queue,
            "disk": self.slow_source,
            "decoding": self.slow_decode,
        }
        if any(slow.values()):
            causes = ", ".join(f"{count:,} by {cause}" for cause, count in slow.items() if count)
            parts.append(f"slow: {causes}")
        if self.errors:
            parts.append(f"{self.errors:,} failed")
        return "; ".join(parts)


class Statistics:
    """The counters of all discs, by path relative to the source."""

    def __init__(self) -> None:
        self._discs: OrderedDict[str, Counters] = OrderedDict()
        self._forgotten = Counters()

    def of(self, name: str) -> Counters:
        """Return the counters of a disc; beyond 4,096, the least recently read discs are merged."""
        counters = self._discs.get(name)
        if counters is None:
            counters = self._discs[name] = Counters()
            if len(self._discs) > _REMEMBERED:
                _, oldest = self._discs.popitem(last=False)
                self._forgotten.add(oldest)
        else:
            self._discs.move_to_end(name)
        return counters

    def total(self) -> Counters:
        """Return the total since the mount started."""
        total = Counters()
        total.add(self._forgotten)
        for counters in self._discs.values():
            total.add(counters)
        return total

    def busiest(self, most: int) -> list[tuple[str, Counters]]:
        """Return the discs with the most bytes read, in descending order, at most *most*."""
        ordered = sorted(self._discs.items(), key=lambda item: -item[1].bytes)
        return [(name, counters) for name, counters in ordered[:most] if counters.requests]
