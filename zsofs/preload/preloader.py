"""Records the starts of discs as boot traces, and fetches ahead of readers that follow one."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import trio

from zsofs.errors import ZsofsError
from zsofs.images.open_image import Content
from zsofs.native.read_log import ReadLog
from zsofs.preload.boot_trace import (
    FEWEST_RANGES,
    BootTrace,
    InvalidTraceError,
    first_reads,
    is_start,
)
from zsofs.preload.counters import PreloadCounters
from zsofs.preload.fetching import Request, SourceFile, reopened, requests
from zsofs.preload.following import Following
from zsofs.reading.file_opener import FileOpener
from zsofs.reading.tasks import in_background
from zsofs.reading.worker_threads import BOOT_TRACES, WorkerThreads
from zsofs.source.scan_cache import ScanCache, TraceKey
from zsofs.timings import timings

log = logging.getLogger(__name__)

_RECORDED = 512 << 20
"""Bytes after which a start is over."""

_MOST_HANDLES = 64
"""Handles that are recorded at a time, with 32 KiB of memory each."""

_WINDOWS = (512 << 10, 8 << 20)
"""Bytes of the first and of the largest window: ranges that are fetched in the order of the disk.
Each window is twice as large as the one before it, so that the first ones are there soon."""


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


class Preloader:
    """Traces and readers of a mount. For the event loop, except :meth:`keep_now`."""

    def __init__(
        self, catalog: ScanCache, workers: WorkerThreads, opener: FileOpener, *, enabled: bool
    ) -> None:
        """Create it; without *enabled*, nothing is recorded or fetched."""
        self._counters = PreloadCounters()
        self._catalog = catalog
        self._workers = workers
        self._opener = opener
        self._enabled = enabled
        self._known: set[bytes] = set()
        self._handles: dict[HandleReads, None] = {}
        self._disks: dict[int, trio.Lock] = {}
        self._busy: dict[Content, int] = {}
        self._finished: dict[Content, trio.Event] = {}

    def counters(self) -> PreloadCounters:
        """Return what it did, with what was read through open handles."""
        used = sum(reads.used()[1] for reads in self._handles)
        return replace(self._counters, used=self._counters.used + used)

    def opened(self, key: TraceKey, content: Content) -> HandleReads | None:
        """Begin to record a handle, and to follow the trace of its disc, if there is one."""
        if not self._enabled or len(self._handles) >= _MOST_HANDLES:
            return None
        try:
            reads = HandleReads(key, content)
        except MemoryError:
            return None
        self._handles[reads] = None
        if key.path in self._known:
            trio.lowlevel.spawn_system_task(in_background, self._load, reads)
        return reads

    def closed(self, reads: HandleReads) -> None:
        """Store the start of a handle that is closed, and fetch no more for it."""
        reads.is_closed = True
        self._count_use(reads)
        if reads.following is not None:
            reads.following.end()
        if reads.more is not None:
            reads.more.set()
        if reads.is_saving:  # its task drops the handle
            return
        if reads.is_saved or reads.log.count < FEWEST_RANGES:
            self._handles.pop(reads, None)
        else:
            trio.lowlevel.spawn_system_task(in_background, self._save, reads)

    async def finish(self, content: Content) -> None:
        """Wait until nothing is fetched of *content*, which is about to be closed."""
        if content in self._busy:
            await self._finished.setdefault(content, trio.Event()).wait()

    async def serve(self) -> None:
        """Load what is known, and end starts after their time, until cancelled."""
        if not self._enabled:
            return
        with _without_memory("all discs"):
            self._known |= await self._workers.run(BOOT_TRACES, self._catalog.boot_trace_paths)
        while True:
            await trio.sleep(timings().trace_check)
            for reads in list(self._handles):
                if not reads.is_closed:
                    with _without_memory(reads.content.name):
                        await self._check(reads)

    def keep_now(self) -> None:
        """Store all starts that are not stored, after the event loop has ended.

        It waits only briefly for a scan cache on a disk that hangs.
        """
        left = [reads for reads in self._handles if not reads.is_saved]

        def keep() -> None:
            for reads in left:
                _merge(self._catalog, reads.key, reads.log)

        if left:
            thread = threading.Thread(target=keep, daemon=True, name="boot-traces")
            with suppress(RuntimeError):  # the system provides no thread
                thread.start()
                thread.join(timings().store_lock)

    async def _check(self, reads: HandleReads) -> None:
        now = time.monotonic()
        if not reads.is_saved:
            if not reads.log.bytes:
                return
            reads.since = reads.since or now
            if reads.log.full or now - reads.since >= timings().trace_length:
                await self._save(reads)
                reads.renew()
                reads.since = now
        elif reads.log.bytes:  # the game is played
            reads.renew()
            reads.since = now
        elif now - reads.since >= timings().disc_idle:  # the next read starts it anew
            reads.is_saved, reads.since = False, 0.0
            await self._load(reads)

    async def _save(self, reads: HandleReads) -> None:
        reads.is_saving = True
        try:
            with _without_memory(reads.content.name):
                is_start = await self._workers.run(
                    BOOT_TRACES, _merge, self._catalog, reads.key, reads.log
                )
                if is_start:
                    self._known.add(reads.key.path)
                    self._counters.traces += 1
            reads.is_saved = True
        finally:
            reads.is_saving = False
            if reads.is_closed and reads.is_saved:
                self._handles.pop(reads, None)

    async def _load(self, reads: HandleReads) -> None:
        with _without_memory(reads.content.name):
            await self._follow(reads)

    async def _follow(self, reads: HandleReads) -> None:
        data = await self._workers.run(BOOT_TRACES, self._catalog.boot_trace, reads.key)
        trace = _parsed(data)
        if trace is None or reads.is_closed:
            return
        self._count_use(reads)
        following = reads.following = Following(trace.ranges)
        self._counters.starts += 1

        def note(offset: int, size: int) -> None:
            reads.log.note(offset, size)
            if not following.note(offset, size):
                if following.lost and reads.following is following:
                    reads.note = reads.log.note
                return
            if reads.more is None:
                reads.more = trio.Event()
                # From now on, so that its content is not closed before the task begins.
                self._busy[reads.content] = self._busy.get(reads.content, 0) + 1
                trio.lowlevel.spawn_system_task(in_background, self._fetch_ahead, reads, following)
            else:
                reads.more.set()

        reads.note = note

    async def _fetch_ahead(self, reads: HandleReads, following: Following) -> None:
        content = reads.content
        try:
            source = await self._opener.open(content.device, reopened, content)
            try:
                await self._fetch_windows(reads, following, source)
            finally:
                await self._opener.close(source)
        except (ZsofsError, OSError, MemoryError) as error:
            log.debug("%s: nothing more is read ahead: %s", content.name, error)
            following.end()
        finally:
            reads.more = None
            self._busy[content] -= 1
            if not self._busy[content]:
                del self._busy[content]
                if content in self._finished:
                    self._finished.pop(content).set()

    async def _fetch_windows(
        self, reads: HandleReads, following: Following, source: SourceFile
    ) -> None:
        content = reads.content
        most = _WINDOWS[0]
        while window := await _next_window(reads, following, most):
            ranges = [(number, following.ranges[number]) for number in window]
            found = await self._workers.run(content.device, requests, content, ranges)
            for request in found:
                if not following.active:
                    window = reads.fetched_of(window)
                    break
                if following.is_wanted(request.parts):
                    await self._fetch(reads, request, source)
            following.take(window)
            most = min(2 * most, _WINDOWS[1])

    async def _fetch(self, reads: HandleReads, request: Request, source: SourceFile) -> None:
        device = reads.content.device
        lock = self._disks.get(device)
        if lock is None:
            lock = self._disks[device] = trio.Lock()
        async with lock:  # one request at a time, for all discs of a disk
            await self._workers.run(device, source.fetch, request.offset, request.size)
        self._counters.requests += 1
        self._counters.fetched += request.size
        reads.count(request)

    def _count_use(self, reads: HandleReads) -> None:
        """Count what was fetched for a handle, which is closed or started anew."""
        fetched, used = reads.used()
        self._counters.used += used
        self._counters.wasted += fetched - used
        reads.forget_fetched()


async def _next_window(reads: HandleReads, following: Following, most: int) -> list[int]:
    """Return what to fetch next, at most *most* bytes; nothing if the reader has paused."""
    while True:
        window = following.next_window(most)
        if window or reads.is_closed:
            return window
        reads.more = trio.Event()
        with trio.move_on_after(timings().trace_pause):
            await reads.more.wait()
            continue
        return []


@contextmanager
def _without_memory(name: str) -> Iterator[None]:
    """Do without a trace if there is no memory, or no thread."""
    try:
        yield
    except MemoryError as error:
        log.debug("%s: the boot trace is not used: %s", name, error)


def _parsed(data: bytes | None) -> BootTrace | None:
    if data is None:
        return None
    try:
        return BootTrace.from_bytes(data)
    except InvalidTraceError:
        return None


def _merge(catalog: ScanCache, key: TraceKey, log: ReadLog) -> bool:
    """Merge a start with the stored ones; return whether it was one. May wait for a disk."""
    start = first_reads(log.ranges())
    if not is_start(start):
        return False
    known = _parsed(catalog.boot_trace(key))
    trace = BootTrace([]) if known is None else known
    trace.merge(start)
    catalog.keep_boot_trace(key, trace.to_bytes())
    return True
