"""Threads for what may wait for a disk, so that the event loop never does."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import trio

P = ParamSpec("P")
R = TypeVar("R")


_PAUSE_SECONDS = 1.0


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
            limiter = self._limiters[device] = trio.CapacityLimiter(self._threads)
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
