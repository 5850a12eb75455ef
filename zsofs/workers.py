"""Threads for what may wait for a disk, so that the event loop never does."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import trio

P = ParamSpec("P")
R = TypeVar("R")


class Workers:
    """At most *threads* calls at a time for each source device: a dead disk stops only itself."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._limiters: dict[int, trio.CapacityLimiter] = {}

    async def run(self, device: int, function: Callable[..., R], *args: object) -> R:
        """Call *function* in a thread that counts against *device*.

        Cancelling abandons the thread: what hangs in the kernel cannot be called back, and a
        daemon that is told to end must not wait for it.
        """
        limiter = self._limiters.get(device)
        if limiter is None:
            limiter = self._limiters[device] = trio.CapacityLimiter(self._threads)
        return await trio.to_thread.run_sync(
            function, *args, abandon_on_cancel=True, limiter=limiter
        )
