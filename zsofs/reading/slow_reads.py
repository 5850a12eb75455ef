"""The last slow reads, with what each of them waited for."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest

from zsofs.native.meters import CAUSES, Meter, Trace

_KEPT = 1000

_DECODE, _QUEUE = CAUSES.index("decode"), CAUSES.index("queue")


@dataclass(frozen=True, slots=True)
class ReadLabel:
    """The file that is read, and the program that reads it.

    Attributes:
        disc: path of the file, relative to the source.
        pid: the process that opened it; 0 if it is in another PID namespace.
        program: its name; empty if it has ended.
        node: the file in the tree of the mount, to find the file of the disc.
    """

    disc: str
    pid: int
    program: str
    node: object = None


@dataclass(slots=True)
class SlowRead:
    """A read that took long.

    Attributes:
        number: counts up from 1.
        revision: number of its last change, counted for the whole mount.
        time: when it ended, in seconds since 1970.
        label: the file and the program.
        offset: in the disc, in bytes.
        size: in bytes.
        times: nanoseconds in total, of waiting for the disk, and of decoding.
        cause: the name of what it mostly waited for.
        failed: whether it failed.
        file: path of the file of the disc that has those bytes; empty if none is known, None as
            long as it was not looked for.
    """

    number: int
    revision: int
    time: float
    label: ReadLabel
    offset: int
    size: int
    times: tuple[int, int, int]
    cause: str
    failed: bool
    file: str | None = None

    @property
    def queue_ns(self) -> int:
        """Nanoseconds of waiting for a thread, for memory, or for another read."""
        total, disk, decode = self.times
        return max(total - disk - decode, 0)


class SlowReads:
    """The last 1,000 slow reads. For the event loop."""

    def __init__(self, total: Meter) -> None:
        """Create it; *total* counts the revisions of the mount."""
        self._total = total
        self._reads: deque[SlowRead] = deque(maxlen=_KEPT)
        self._count = 0

    def __iter__(self) -> Iterator[SlowRead]:
        return iter(self._reads)

    def add(self, trace: Trace) -> None:
        """Keep a read that has ended."""
        label = trace.handle.label
        assert isinstance(label, ReadLabel)
        self._count += 1
        self._total.revision += 1
        cause, elapsed = trace.cause, trace.elapsed_ns()
        decode = elapsed if cause == _DECODE and not trace.threaded else trace.decode_ns
        times = elapsed, trace.disk_ns, decode
        self._reads.append(
            SlowRead(
                self._count,
                self._total.revision,
                time.time(),
                label,
                trace.offset,
                trace.size,
                times,
                CAUSES[cause],
                trace.failed,
            )
        )

    def changed_since(self, revision: int, most: int) -> list[SlowRead]:
        """Return the reads that changed after *revision*, in that order, at most *most*."""
        changed = (read for read in self._reads if read.revision > revision)
        return nsmallest(most, changed, key=lambda read: read.revision)

    def found(self, reads: Iterable[SlowRead], files: Iterable[str]) -> None:
        """Note the file of the disc of each of *reads*."""
        self._total.revision += 1
        for read, file in zip(reads, files, strict=True):
            read.file = file
            read.revision = self._total.revision
