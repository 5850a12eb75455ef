"""What is known of the reads through one handle, while they may be a start."""

import time
from collections.abc import Callable

import trio

from zsofs.images.open_image import Content
from zsofs.native.read_log import MOST_RANGES, ReadLog
from zsofs.preload.fetching import Request
from zsofs.preload.following import Following
from zsofs.source.scan_cache import TraceKey
from zsofs.timings import timings

_RECORDED = 512 << 20
"""Bytes after which a start is over."""


class HandleReads:
    """The reads through one handle.

    Attributes:
        note: takes in each read, ``note(offset, size)``. It is that of the log, native code, unless
            the reader may follow a trace.
        key: of its disc.
        content: what is open.
        log: the reads.
        following: compares them with the trace; None if there is none.
        is_saving: whether the start is being stored.
        is_saved: whether the start is over.
        since: when that began, or when the disc was last read after it; 0: not yet.
        is_closed: whether the handle is closed.
        more: wakes the task that fetches for it; None if there is none.
    """

    def __init__(self, key: TraceKey, content: Content) -> None:
        self.note: Callable[[int, int], object]
        self.key = key
        self.content = content
        self.following: Following | None = None
        self.is_saving = False
        self.is_saved = False
        self.since = 0.0
        self.is_closed = False
        self.more: trio.Event | None = None
        self._fetched: dict[int, int] = {}
        self._fetched_bytes = 0
        self.renew()

    def renew(self) -> None:
        """Record into an empty log."""
        self.log = ReadLog(_RECORDED)
        if self.following is None or self.following.lost:
            self.note = self.log.note

    @property
    def is_random(self) -> bool:
        """Whether the log is full of ranges so early that they are reads at random, no start.

        That is 270 ranges a second, more than any disk has that is slow enough to be read ahead. To
        merge 4,096 of them took 3 % of the processor time of a program that read at random.
        """
        is_early = time.monotonic() - self.log.begun < timings().trace_check
        return is_early and self.log.count == MOST_RANGES

    def count(self, request: Request) -> None:
        """Count what was fetched."""
        self._fetched_bytes += request.size
        for number, size in request.parts.items():
            self._fetched[number] = self._fetched.get(number, 0) + size

    def fetched_of(self, numbers: list[int]) -> list[int]:
        """Return those of some ranges of which something was fetched."""
        return [number for number in numbers if number in self._fetched]

    def used(self) -> tuple[int, int]:
        """Return how many bytes were fetched, and how many of them were read since."""
        if self.following is None:
            return 0, 0
        parts = (size * self.following.share_used(n) for n, size in self._fetched.items())
        return self._fetched_bytes, int(sum(parts))

    def forget_fetched(self) -> None:
        """Count from 0 again."""
        self._fetched.clear()
        self._fetched_bytes = 0
