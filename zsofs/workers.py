"""Threads for what may wait for a disk, so that the event loop never does."""

import errno
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import trio

from zsofs.mounts import is_fuse

P = ParamSpec("P")
R = TypeVar("R")


_PAUSE_SECONDS = 1.0

QUEUE_SECONDS = 60.0
"""How long a call waits for a free thread where all of them wait for a FUSE file system. Such a one
may show our own mount (bindfs, mergerfs) and wait for this call itself."""


class _BoundedLimiter:
    """A capacity limiter whose borrowers do not wait forever."""

    def __init__(self, threads: int) -> None:
        self._limiter = trio.CapacityLimiter(threads)

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Wait for a free thread.

        Raises:
            OSError: ETIMEDOUT after QUEUE_SECONDS.
        """
        with trio.move_on_after(QUEUE_SECONDS):
            await self._limiter.acquire_on_behalf_of(borrower)
            return
        raise OSError(errno.ETIMEDOUT, "all threads of this mount wait for that file system")

    def release_on_behalf_of(self, borrower: object) -> None:
        """Give the thread back."""
        self._limiter.release_on_behalf_of(borrower)


class NoThreadError(MemoryError):
    """The system gives no thread, mostly for want of address space."""


class Workers:
    """At most *threads* calls at a time for each source device: a dead disk stops only itself."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._limiters: dict[int, trio.CapacityLimiter] = {}

    async def run(self, device: int, function: Callable[..., R], *args: object) -> R:
        """Call *function* in a thread that counts against *device*.

        Cancelling abandons the thread: what hangs in the kernel cannot be called back, and a
        daemon that is told to end must not wait for it.

        Raises:
            NoThreadError: the system gives no thread; *function* was not called.
            Exception: what *function* raises.
        """
        limiter = self._limiters.get(device)
        if limiter is None:
            # trio takes any object with these two methods, but does not say so in its types.
            kind = _BoundedLimiter if is_fuse(device) else trio.CapacityLimiter
            limiter = self._limiters[device] = cast(trio.CapacityLimiter, kind(self._threads))
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
            raise NoThreadError(f"no thread to work with: {error}") from None

    async def run_surely(self, device: int, function: Callable[..., R], *args: object) -> R:
        """Call *function* as :meth:`run` does, but wait for a thread as long as there is none.

        For what must not be left out, such as closing a file.
        """
        while True:
            try:
                return await self.run(device, function, *args)
            except NoThreadError:
                await trio.sleep(_PAUSE_SECONDS)
