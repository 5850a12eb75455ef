"""Worker threads for calls that may wait for a disk, so that the event loop never blocks."""

import errno
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import trio

from zsofs.reading.admission import Admission
from zsofs.system.mountinfo import is_fuse
from zsofs.timings import timings

P = ParamSpec("P")
R = TypeVar("R")

_MAX_HUNG = 64
"""Additional threads per source device for calls that hang."""


COMPUTING, CATALOG, MOUNT_TABLE, QUESTIONS, OPL_NAMES, FILE_MAPS, LIBRARY, BOOT_TRACES = range(
    -1, -9, -1
)
"""Keys for calls that wait for no disk of the source, one per purpose: a cache directory on a
hanging disk must not delay reading the mount table."""


class QueueTimeoutError(OSError):
    """No thread became available in time."""


class _BoundedLimiter:
    """A capacity limiter whose waiters time out."""

    def __init__(self, threads: int) -> None:
        self._limiter = trio.CapacityLimiter(threads)

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Wait for a thread.

        Raises:
            QueueTimeoutError: after `Timings.queue`.
        """
        with trio.move_on_after(timings().queue):
            await self._limiter.acquire_on_behalf_of(borrower)
            return
        raise QueueTimeoutError(
            errno.ETIMEDOUT, "all threads of this mount are waiting for that file system"
        )

    def release_on_behalf_of(self, borrower: object) -> None:
        """Release the thread."""
        self._limiter.release_on_behalf_of(borrower)

    def statistics(self) -> trio.CapacityLimiterStatistics:
        """See :class:`trio.CapacityLimiter`."""
        return self._limiter.statistics()

    @property
    def available_tokens(self) -> float:
        """See :class:`trio.CapacityLimiter`."""
        return self._limiter.available_tokens

    @property
    def total_tokens(self) -> float:
        """See :class:`trio.CapacityLimiter`."""
        return self._limiter.total_tokens

    @total_tokens.setter
    def total_tokens(self, number: float) -> None:
        self._limiter.total_tokens = number


class NoThreadError(MemoryError):
    """The system provides no thread, usually for lack of address space."""


class WorkerThreads:
    """At most *threads* concurrent calls per source device: a dead disk blocks only itself.

    Attributes:
        admission: limits the number of waiting requests.
    """

    def __init__(self, threads: int, admission: Admission) -> None:
        self.admission = admission
        self._threads = threads
        self._limiters: dict[int, trio.CapacityLimiter] = {}
        self._looks = trio.CapacityLimiter(threads)

    async def run_admitted(self, device: int, function: Callable[..., R], *args: object) -> R:
        """Call *function* like :meth:`run`, for a request.

        Raises:
            DiskBusyError: too many requests are waiting for *device*.
        """
        with self.admission.waiting(device):
            return await self.run(device, function, *args)

    async def run(self, device: int, function: Callable[..., R], *args: object) -> R:
        """Call *function* in a thread for *device*.

        Cancelling abandons the thread: a call that hangs in the kernel cannot be interrupted, and
        a daemon that terminates must not wait for it.

        Raises:
            NoThreadError: no thread is available; *function* was not called.
            Exception: what *function* raises.
        """
        limiter = await self._limiter(device)
        begun = False

        def call() -> R:
            nonlocal begun
            begun = True
            return function(*args)

        try:
            return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)
        except RuntimeError as error:
            if begun:
                raise
            raise NoThreadError(f"cannot start a worker thread: {error}") from None

    async def run_surely(self, device: int, function: Callable[..., R], *args: object) -> R:
        """Call *function* like :meth:`run`, but retry as long as no thread is available.

        For calls that must not be skipped, such as closing a file.
        """
        while True:
            try:
                return await self.run(device, function, *args)
            except (NoThreadError, QueueTimeoutError):
                await trio.sleep(timings().retry_thread)

    async def _limiter(self, device: int) -> trio.CapacityLimiter:
        limiter = self._limiters.get(device)
        if limiter is None:
            on_fuse = device >= 0 and await self._is_fuse(device)
            # trio accepts any object with these methods, but its type hints do not.
            kind = _BoundedLimiter if on_fuse else trio.CapacityLimiter
            made = cast(trio.CapacityLimiter, kind(self._threads))
            limiter = self._limiters.setdefault(device, made)
        return limiter

    async def _is_fuse(self, device: int) -> bool:
        """Look it up in a thread, because the mount table can be locked while a disk blocks."""
        try:
            return await trio.to_thread.run_sync(
                is_fuse, device, abandon_on_cancel=True, limiter=self._looks
            )
        except RuntimeError as error:
            raise NoThreadError(f"cannot start a worker thread: {error}") from None


class ElasticWorkers(WorkerThreads):
    """Workers for calls that can hang because of a device other than the one they count for.

    Scanning a directory does, at a mount point or symlink that leads to a dead disk. If all
    calls of a device hang, others may start.
    """

    def __init__(self, threads: int, admission: Admission) -> None:
        super().__init__(threads, admission)
        self._finished: dict[int, int] = {}
        self._watched: set[int] = set()

    async def run(self, device: int, function: Callable[..., R], *args: object) -> R:
        """See :class:`WorkerThreads`."""
        limiter = await self._limiter(device)
        if limiter.available_tokens <= 0 and device not in self._watched:
            self._watched.add(device)
            trio.lowlevel.spawn_system_task(self._make_room, device, limiter)
        took = 0.0

        def timed() -> R:
            nonlocal took
            begun = time.monotonic()
            try:
                return function(*args)
            finally:
                took = time.monotonic() - begun

        try:
            return await super().run(device, timed)
        finally:
            self._finished[device] = self._finished.get(device, 0) + 1
            if took > timings().call_hangs and limiter.total_tokens > self._threads:
                limiter.total_tokens -= 1

    async def _make_room(self, device: int, limiter: trio.CapacityLimiter) -> None:
        """Allow further calls while some wait and none of those in progress ends."""
        finished = -1
        while True:
            await trio.sleep(timings().call_hangs)
            if not limiter.statistics().tasks_waiting:
                break
            before, finished = finished, self._finished.get(device, 0)
            if finished == before and limiter.total_tokens < self._threads + _MAX_HUNG:
                limiter.total_tokens += self._threads
        self._watched.discard(device)
