"""Records the starts of discs as boot traces, and fetches ahead of readers that follow one."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import trio

from zsofs.errors import ZsofsError
from zsofs.images.open_image import Content
from zsofs.native.read_log import PAGE, ReadLog
from zsofs.preload.boot_trace import (
    FEWEST_RANGES,
    BootTrace,
    InvalidTraceError,
    first_reads,
    is_start,
    some_ranges,
)
from zsofs.preload.counters import PreloadCounters
from zsofs.preload.fetching import Request, SourceFile, index_requests, reopened, requests
from zsofs.preload.following import Following
from zsofs.preload.handle_reads import HandleReads
from zsofs.reading.file_opener import FileOpener
from zsofs.reading.reader import Reader
from zsofs.reading.tasks import in_background
from zsofs.reading.worker_threads import BOOT_TRACES, WorkerThreads
from zsofs.source.scan_cache import ScanCache, TraceKey
from zsofs.timings import timings

log = logging.getLogger(__name__)

_MOST_HANDLES = 64
"""Handles that are recorded at a time, with 32 KiB of memory each."""

_LOOKED_AT = 64
"""Parts of a trace that tell whether it is in memory. All of the 4,096 that it can have would take
20 ms."""


class Preloader:
    """Traces and readers of a mount. For the event loop, except :meth:`keep_now`."""

    def __init__(
        self,
        catalog: ScanCache,
        workers: WorkerThreads,
        opener: FileOpener,
        reader: Reader,
        *,
        enabled: bool,
    ) -> None:
        """Create it; without *enabled*, nothing is recorded or fetched.

        Args:
            catalog: keeps the traces.
            workers: threads that fetch.
            opener: opens what is fetched from.
            reader: its reads come first.
            enabled: whether it does anything.
        """
        self._counters = PreloadCounters()
        self._catalog = catalog
        self._workers = workers
        self._opener = opener
        self._reader = reader
        self._enabled = enabled
        self._known: set[bytes] = set()
        self._handles: dict[HandleReads, None] = {}
        self._disks: dict[int, trio.Lock] = {}
        self._busy: dict[Content, int] = {}
        self._finished: dict[Content, trio.Event] = {}
        self._last_opened = b"", 0.0

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
            self._begin_loading(reads)
        return reads

    def _begin_loading(self, reads: HandleReads) -> None:
        path, since = self._last_opened
        self._last_opened = reads.key.path, time.monotonic()
        # Another disc a moment ago: a program looks through the discs.
        is_scan = path != reads.key.path and time.monotonic() - since < timings().trace_scan
        trio.lowlevel.spawn_system_task(in_background, self._load, reads, not is_scan)

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
        if reads.is_saved or reads.is_random or reads.log.count < FEWEST_RANGES:
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
            paths = await self._workers.run(BOOT_TRACES, self._catalog.boot_trace_paths)
            new = paths - self._known
            self._known |= new
            for reads in self._handles:  # a game may start while this is read
                if reads.key.path in new:
                    self._begin_loading(reads)
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
        left = [reads for reads in self._handles if not (reads.is_saved or reads.is_random)]

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
            if reads.is_random:
                reads.is_saved = True
            elif reads.log.full or now - reads.since >= timings().trace_length:
                await self._save(reads)
            else:
                return
            reads.renew()
            reads.since = now
        elif reads.log.bytes:  # the game is played
            reads.renew()
            reads.since = now
        elif now - reads.since >= timings().disc_idle:  # the next read starts it anew
            reads.is_saved, reads.since = False, 0.0
            await self._load(reads, True)

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

    async def _load(self, reads: HandleReads, at_once: bool) -> None:
        with _without_memory(reads.content.name):
            await self._follow(reads, at_once)

    async def _follow(self, reads: HandleReads, at_once: bool) -> None:
        data = await self._workers.run(BOOT_TRACES, self._catalog.boot_trace, reads.key)
        if data is None or not await self._has_to_fetch(reads, data) or reads.is_closed:
            return
        trace = BootTrace.from_bytes(data)
        self._count_use(reads)
        following = reads.following = Following(trace.ranges, at_once=at_once)
        self._counters.starts += 1

        def note(offset: int, size: int) -> None:
            reads.log.note(offset, size)
            if following.note(offset, size):
                self._wake(reads, following)
            elif following.lost and reads.following is following:
                reads.note = reads.log.note

        reads.note = note
        # Reads that were faster than the scan cache.
        for begin, end in reads.log.ranges():
            following.note(begin * PAGE, (end - begin) * PAGE)
        if following.active:
            self._wake(reads, following)

    async def _has_to_fetch(self, reads: HandleReads, trace: bytes) -> bool:
        """Return whether a part of a stored trace is not in memory, so that following it may gain.

        Some parts are enough: what was read at a time is dropped at about the same time.
        """
        try:
            ranges = some_ranges(trace, _LOOKED_AT)
        except InvalidTraceError:
            return False
        if reads.is_closed:
            return False
        content = reads.content
        self._hold(content)
        try:
            source = await self._opener.open(content.device, reopened, content)
            try:
                return not await self._workers.run(content.device, source.has_all, content, ranges)
            finally:
                await self._opener.close(source)
        except (ZsofsError, OSError):
            return True
        finally:
            self._let_go(content)

    def _hold(self, content: Content) -> None:
        """Have the closing of *content* wait; see :meth:`finish`."""
        self._busy[content] = self._busy.get(content, 0) + 1

    def _let_go(self, content: Content) -> None:
        """Take back a :meth:`_hold`."""
        self._busy[content] -= 1
        if not self._busy[content]:
            del self._busy[content]
            if content in self._finished:
                self._finished.pop(content).set()

    def _wake(self, reads: HandleReads, following: Following) -> None:
        """Have a task fetch for a handle."""
        if reads.more is None:
            reads.more = trio.Event()
            self._hold(reads.content)  # from now on: it is not closed before the task begins
            trio.lowlevel.spawn_system_task(in_background, self._fetch_ahead, reads, following)
        else:
            reads.more.set()

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
            self._let_go(content)

    async def _fetch_windows(
        self, reads: HandleReads, following: Following, source: SourceFile
    ) -> None:
        content = reads.content
        while window := await _next_window(reads, following):
            await self._fetch_index(reads, following, window, source)
            ranges = [(number, following.ranges[number]) for number in window]
            left = await self._workers.run(content.device, requests, content, ranges)
            while following.active and left:
                await self._let_pass(reads, following)
                at = following.choose([request.parts for request in left])
                if at < 0:
                    break
                await self._fetch(reads, left.pop(at), source)
            if not following.active:  # what was not fetched may be later
                window = reads.fetched_of(window)
            following.take(window)
            if following.has_lead:
                await self._fetch_index(reads, following, following.upcoming(), source)

    async def _fetch_index(
        self, reads: HandleReads, following: Following, numbers: list[int], source: SourceFile
    ) -> None:
        """Fetch the index of some pieces, which costs a seek for each part of it."""
        ranges = [(number, following.ranges[number]) for number in numbers]
        for request in index_requests(reads.content, ranges):
            if request.offset in source.index_parts:
                continue
            await self._let_pass(reads, following)
            if following.active:
                await self._fetch(reads, request, source)
                source.index_parts.add(request.offset)

    async def _let_pass(self, reads: HandleReads, following: Following) -> None:
        """Wait for reads: each waits for at most one request, and consists of several itself."""
        await _until_quiet(reads, following)
        await self._reader.let_pass(reads.content)

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


async def _next_window(reads: HandleReads, following: Following) -> list[int]:
    """Return what to fetch next; nothing if the reader has paused."""
    while True:
        window = following.next_window()
        if window or reads.is_closed:
            return window
        reads.more = trio.Event()
        with trio.move_on_after(timings().trace_pause):
            await reads.more.wait()
            continue
        return []


async def _until_quiet(reads: HandleReads, following: Following) -> None:
    """Wait until a reader pauses that may only look: one that reads on would be held up."""
    while following.active and not (following.is_start or reads.is_closed):
        reads.more = trio.Event()
        with trio.move_on_after(timings().trace_quiet):
            await reads.more.wait()
            continue
        return


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
