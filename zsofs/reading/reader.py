"""Execution of a read: which bytes come from the cache, which are decoded, and in which thread.

The kernel's page cache keeps whatever the kernel has requested. So extents that a request covers
completely are decoded straight into the reply and not cached; only partially covered ones are
cached here, because their remaining bytes are likely to be requested next.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from zsofs.errors import BlockError, SourceChangedError, SourceTouchedError
from zsofs.images.open_image import Buffer, Content
from zsofs.native.block_reader import let_helpers_go
from zsofs.native.chd_map import drop_idle_maps
from zsofs.native.codecs import release_at_once, trim
from zsofs.native.meters import Trace
from zsofs.reading.byte_budget import ByteBudget
from zsofs.reading.decode_ahead import DecodeAhead
from zsofs.reading.extent_cache import ExtentCache
from zsofs.reading.io_pool import IoPool
from zsofs.reading.stats import SLOW_MS, UNCOUNTED, Statistics
from zsofs.reading.worker_threads import WorkerThreads
from zsofs.timings import timings

_REPLY_SIZE = 128 << 10
"""Bytes of a new reply buffer; the kernel's usual read-ahead requests as much."""

_KEPT_REPLIES = 4 << 20
"""Bytes of reply buffers kept for reuse: 32 of the usual size."""

_REPLIES = 16 << 20
"""Bytes of replies in progress per disk. Otherwise a program that reads with many threads from a
slow disk would use up to 1 MiB for each of its reads."""

_INLINE_SIZE = 1 << 20
"""Maximum bytes decoded on the event loop: the longest request of the kernel, which takes 0.3 ms of
LZ4 and 2 ms of deflate. Passing requests of 512 KiB to a thread instead made sequential reads
slower (LZ4 2 KiB 1.6 instead of 2.2 GB/s, zstd 32 KiB 1.5 instead of 1.8)."""

_INLINE_EXTENT = 256 << 10
"""Larger extents are always decoded in a thread: a crafted block of 16 MiB took 1.7 s (observed),
which blocked all other requests."""

_LARGE_LOADS = 48 << 20
"""Bytes of such larger extents in progress per disk: as many as one block of 16 MiB needs. Others
wait before a buffer is allocated."""

_STORED_FACTOR = 2
"""Maximum stored size of a block in plain block sizes; a damaged index can specify that much."""

_IDLE_CHECKS = 3
"""Idle checks (30 to 45 seconds without a read) before cache and buffers are freed."""

_Fill = Callable[[Content, Trace, int, memoryview, int], Awaitable[None]]
"""Fills a reply with the bytes at an offset, by extents of a size."""


class _ReplyBuffers:
    """Reusable memory for replies.

    pyfuse3 sends a reply as soon as the handler returns, before another task runs. So the buffer
    that a handler returned is free when the loop starts the next read.
    """

    def __init__(self) -> None:
        self._idle: list[bytearray] = []
        self._idle_bytes = 0
        self._sent: list[bytearray] = []

    def take(self, size: int) -> bytearray:
        while self._sent:
            buffer = self._sent.pop()
            if self._idle_bytes + len(buffer) <= _KEPT_REPLIES:
                self._idle.append(buffer)
                self._idle_bytes += len(buffer)
        if self._idle:
            buffer = self._idle.pop()
            self._idle_bytes -= len(buffer)
            if len(buffer) >= size:
                return buffer
        return bytearray(max(size, _REPLY_SIZE))

    def free_after_reply(self, buffer: bytearray) -> None:
        self._sent.append(buffer)

    def clear(self) -> None:
        self._idle.clear()
        self._idle_bytes = 0
        self._sent.clear()


class Reader:
    """Serves reads of all open files through one cache.

    Attributes:
        cache: extents of which only a part was read.
        io_pool: threads for what is not in memory.
        statistics: counters of their costs.
    """

    def __init__(
        self, cache: ExtentCache, io_pool: IoPool, workers: WorkerThreads, slow_ms: int = SLOW_MS
    ) -> None:
        """Create it; a read is reported as slow from *slow_ms* milliseconds on."""
        self.statistics = Statistics(slow_ms)
        self.cache = cache
        self._idle_checks = 0
        self.io_pool = io_pool
        self._workers = workers
        self._replies = _ReplyBuffers()
        self._making: dict[int, ByteBudget] = {}
        self._loading: dict[int, ByteBudget] = {}
        self._ahead = DecodeAhead(cache.capacity, io_pool.threads, self._load_ahead)
        release_at_once()

    async def read(
        self, content: Content, offset: int, size: int, trace: Trace
    ) -> bytes | memoryview:
        """Return *size* bytes at *offset*, fewer at the end; valid until the caller next awaits.

        Args:
            content: the open file.
            offset: in bytes.
            size: in bytes.
            trace: measures this read; the caller ends it.

        Raises:
            zsofs.errors.ZsofsError: those bytes are unavailable.
            OSError: the source could not be read.
        """
        self._idle_checks = 0
        end = min(offset + size, content.size)
        if end <= offset:
            return b""
        extent_size = content.extent_size
        first, head = divmod(offset, extent_size)
        is_whole = not head and (end == content.size or not end % extent_size)
        is_followed = content.is_slow and self._ahead.follow(content, offset, end)
        fill: _Fill = self._copy if is_followed else self._assemble
        try:
            if is_whole and not is_followed:
                reply = self._reply_now(content, trace, offset, end - offset)
                if reply is not None:
                    return reply
                fill = self._fill_in_thread
            elif not is_whole and end <= (first + 1) * extent_size:  # a part of one extent
                extent = await self._extent(content, trace, first)
                return memoryview(extent)[head : head + end - offset]
            return await self._reply(content, trace, offset, end, fill, extent_size)
        except BlockError:
            if not content.is_exact:
                raise
        return await self._reply(content, trace, offset, end, self._assemble, 1)

    def _reply_now(
        self, content: Content, trace: Trace, offset: int, size: int
    ) -> memoryview | None:
        """Return a reply of whole extents if they are in memory; None if :meth:`_reply` has to.

        Most reads of games are answered here: without a coroutine below this one, 8 KiB of LZ4 cost
        0.5 of 8 microseconds less. No other reply is made meanwhile, so that it needs no budget.
        """
        buffer = self._replies.take(size)
        self._replies.free_after_reply(buffer)
        reply = memoryview(buffer)[:size]
        return reply if _read_now(content, trace, offset, reply) else None

    async def _reply(
        self, content: Content, trace: Trace, offset: int, end: int, fill: _Fill, extent_size: int
    ) -> memoryview:
        """Have *fill* make a reply, within the memory for replies of its disk."""
        size = end - offset
        budget = self._making.get(content.device)
        if budget is None:
            budget = self._making[content.device] = ByteBudget(_REPLIES)
        if not budget.take_now(size):
            await budget.take(size)
        try:
            buffer = self._replies.take(size)
            reply = memoryview(buffer)[:size]
            await fill(content, trace, offset, reply, extent_size)
            self._replies.free_after_reply(buffer)
            return reply
        finally:
            budget.give(size)

    async def _assemble(
        self, content: Content, trace: Trace, offset: int, reply: memoryview, extent_size: int
    ) -> None:
        """Read whole extents into *reply*, with a partial one before or after from the cache.

        With an *extent_size* of 1, no extent is partial: that range alone is read.
        """
        end = offset + len(reply)
        whole_end = end if end == content.size else end - end % extent_size
        begin = offset
        first, head = divmod(offset, extent_size)
        if head:
            extent = await self._extent(content, trace, first)
            begin = (first + 1) * extent_size
            reply[: begin - offset] = memoryview(extent)[head:]
        if whole_end > begin:
            await self._fill(content, trace, begin, reply[begin - offset : whole_end - offset])
        if end > whole_end:
            extent = await self._extent(content, trace, whole_end // extent_size)
            reply[whole_end - offset :] = memoryview(extent)[: end - whole_end]

    async def _copy(
        self, content: Content, trace: Trace, offset: int, reply: memoryview, extent_size: int
    ) -> None:
        """Copy *reply* from extents in the cache, which are decoded ahead of it."""
        done = 0
        while done < len(reply):
            number, skip = divmod(offset + done, extent_size)
            extent = await self._extent(content, trace, number)
            part = memoryview(extent)[skip : skip + len(reply) - done]
            reply[done : done + len(part)] = part
            done += len(part)

    async def _load_ahead(self, content: Content, number: int) -> None:
        await self._extent(content, UNCOUNTED.begin(0, 0), number)

    def was_waiting(self, device: int, seconds: float) -> bool:
        """Return whether a read waits for the disk of *device*, or did in the last *seconds*."""
        return self.io_pool.was_in_use(device, seconds)

    async def let_pass(self, content: Content) -> None:
        """Wait for the reads that wait for the disk of *content*, for a short time."""
        await self.io_pool.let_pass(content.device)

    async def finish(self, content: Content) -> None:
        """Wait until nothing reads ahead in *content*, which is about to be closed."""
        await self._ahead.finish(content)

    async def _extent(self, content: Content, trace: Trace, number: int) -> bytearray:
        offset = number * content.extent_size
        size = min(content.extent_size, content.size - offset)

        async def load(buffer: bytearray) -> None:
            trace.loads += 1
            await self._fill(content, trace, offset, buffer)

        trace.lookups += 1
        key = content.serial, number
        if size <= _INLINE_EXTENT:
            return await self.cache.get(key, size, load)
        return await self._large_extent(content, key, size, load)

    async def _large_extent(
        self,
        content: Content,
        key: tuple[int, int],
        size: int,
        load: Callable[[bytearray], Awaitable[None]],
    ) -> bytearray:
        budget = self._loading.setdefault(content.device, ByteBudget(_LARGE_LOADS))
        cost = size + _STORED_FACTOR * content.extent_size
        is_admitted = False

        async def admit() -> None:
            nonlocal is_admitted
            await budget.take(cost)
            is_admitted = True

        try:
            return await self.cache.get(key, size, load, admit)
        finally:
            if is_admitted:
                budget.give(cost)

    async def _fill(self, content: Content, trace: Trace, offset: int, out: Buffer) -> None:
        """Read whole extents into *out*."""
        if not _read_now(content, trace, offset, out):
            await self._fill_in_thread(content, trace, offset, out)

    async def _fill_in_thread(
        self, content: Content, trace: Trace, offset: int, out: Buffer, _: int = 0
    ) -> None:
        """Read whole extents into *out* that are not in memory, or have an error."""
        job = content.job(offset, out)
        spin = _may_be_inline(content, out) and not content.can_ask
        try:
            if not self.io_pool.run_now(content.device, job, spin=spin):
                with self.statistics.waits(trace):
                    await self.io_pool.wait(content.device, job)
            _count_blocks(content, trace, out)
            trace.waited(job.queue_ns, job.source_ns, job.decode_ns)
            content.finish(job)
        except SourceTouchedError as touched:
            if not await self._is_right(content, touched):
                raise _give_up(content, written=False) from None
            if touched.error is not None:
                raise touched.error from None
        except SourceChangedError:
            raise _give_up(content, written=True) from None

    async def is_as_opened(self, content: Content) -> bool:
        """Return whether an open file still has its content; True if its disk is slow to answer."""
        check, right = content.check, True
        if check is None or check.gone:
            return check is None
        with trio.move_on_after(timings().look_at_open_file), suppress(OSError, MemoryError):
            try:
                touched = await self._workers.run(content.device, check.look)
                right = await self._is_right(content, touched)
            except SourceChangedError:
                right = False
        if not right:
            _give_up(content, written=False)
        return right

    async def _is_right(self, content: Content, touched: SourceTouchedError) -> bool:
        """Return whether a file is unchanged although its change time differs."""
        check = content.check
        assert check is not None
        known = check.known
        verdict = check.verdict(touched)
        if verdict is None:
            verdict = await self._workers.run(content.device, check.is_explained, touched, known)
        content.expect_checked()
        return verdict

    async def give_back_when_idle(self) -> None:
        """Free the memory of caches and buffers whenever there are no reads.

        A media box is idle most of the day; the relevant disc data is in the kernel's page cache.
        """
        while True:
            await trio.sleep(timings().idle_check)
            self._idle_checks += 1
            if self._idle_checks == _IDLE_CHECKS:
                self.give_back()

    def give_back(self) -> None:
        """Free memory and threads that are kept only for reuse."""
        self.cache.clear()
        self._replies.clear()
        self.io_pool.let_go()
        let_helpers_go()
        drop_idle_maps()
        trim()


def _may_be_inline(content: Content, out: Buffer) -> bool:
    """Return whether *out* takes so little that it may be decoded on the event loop."""
    return len(out) <= _INLINE_SIZE and content.extent_size <= _INLINE_EXTENT


def _count_blocks(content: Content, trace: Trace, out: Buffer) -> None:
    if content.extent_size > 1:
        trace.blocks += -(-len(out) // content.extent_size)


def _read_now(content: Content, trace: Trace, offset: int, out: Buffer) -> bool:
    """Read whole extents into *out* if they are in memory; return whether that was done.

    A file that may have changed is left to :meth:`Reader._fill_in_thread`, which finds that again.

    Raises:
        BlockError: a block there is damaged.
        OSError: the source could not be read.
    """
    try:
        if not (_may_be_inline(content, out) and content.read_now(offset, out)):
            return False
    except (SourceTouchedError, SourceChangedError):
        return False
    _count_blocks(content, trace, out)
    trace.inline += 1
    return True


def _give_up(content: Content, *, written: bool) -> SourceChangedError:
    """Reject all further reads, even if the old date is restored; return the reason as an error."""
    check = content.check
    if check is None:
        return SourceChangedError("the file was modified or truncated after it was opened")
    error = check.give_up(written=written)
    content.expect_checked()
    return error
