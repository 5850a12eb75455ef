"""What reads cost, counted on the way: for each disc, and in all."""

from collections import OrderedDict
from dataclasses import dataclass, fields

SLOW_NS = 100_000_000
"""A read that took this long is slow: a video shows a gap of a tenth of a second."""

_REMEMBERED = 4096


@dataclass(slots=True)
class Counters:
    """Of one disc, or of all.

    Attributes:
        requests: reads that the kernel asked for.
        bytes: that it asked for, as far as the file goes.
        lookups: extents looked for in the cache.
        loads: of those, how many were not there.
        blocks: decoded; of a plain file none.
        inline: runs of blocks that were done at once.
        threaded: those that a thread did because a disk might have to be waited for.
        queue_ns: nanoseconds that the latter waited for a thread, in all.
        slow_queue: reads slower than SLOW_NS, most of it spent waiting for a thread.
        slow_source: the same, for the disk.
        slow_decode: the same, for the processor.
        errors: reads that failed.
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
        """Extents that were found in the cache."""
        return self.lookups - self.loads

    def count_thread(self, queue_ns: int, source_ns: int, decode_ns: int) -> None:
        """Count one run of blocks that a thread did, from its times in nanoseconds."""
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
        """Add *other*'s figures to these."""
        for field in fields(Counters):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def text(self) -> str:
        """One line for people."""
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
    """The counters of all discs, by their path inside the source."""

    def __init__(self) -> None:
        self._discs: OrderedDict[str, Counters] = OrderedDict()
        self._forgotten = Counters()

    def of(self, name: str) -> Counters:
        """The counters of one disc; beyond 4,096 those of the longest unread are merged."""
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
        """Of everything since the mount began."""
        total = Counters()
        total.add(self._forgotten)
        for counters in self._discs.values():
            total.add(counters)
        return total

    def busiest(self, most: int) -> list[tuple[str, Counters]]:
        """The discs that gave the most bytes, the busiest first, at most so many."""
        ordered = sorted(self._discs.items(), key=lambda item: -item[1].bytes)
        return [(name, counters) for name, counters in ordered[:most] if counters.requests]
