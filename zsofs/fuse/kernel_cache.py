"""Invalidation of names and attributes in the kernel's cache.

Only from threads: such a call waits for all lookups in progress in that directory, and those wait
for the event loop.
"""

import logging
import threading
from contextlib import suppress

import pyfuse3
import trio
from pyfuse3 import InodeT

from zsofs.timings import timings
from zsofs.vfs.inodes import Differences

log = logging.getLogger(__name__)

_MOST_THREADS = 8


class Invalidations:
    """Sends invalidations to the kernel from a few threads."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_MOST_THREADS)
        self._lock = threading.Condition()
        self._under_way = 0
        self._ended = False
        self._send, self._receive = trio.open_memory_channel[Differences](float("inf"))

    def send(self, differences: Differences) -> None:
        """Queue invalidations."""
        if differences.names or differences.numbers:
            self._send.send_nowait(differences)

    async def serve(self) -> None:
        """Send queued invalidations until cancelled."""
        async with trio.open_nursery() as nursery:
            async for differences in self._receive:
                nursery.start_soon(self._run, differences)

    async def _run(self, differences: Differences) -> None:
        try:
            await trio.to_thread.run_sync(
                self._tell, differences, abandon_on_cancel=True, limiter=self._limiter
            )
        except Exception:  # the cached entry expires within a second
            log.exception("internal error in zsofs: the kernel could not be notified of a change")

    def _tell(self, differences: Differences) -> None:
        folder = InodeT(differences.folder)
        for name in differences.names:
            if self._begin():
                try:
                    with suppress(OSError):  # usually ENOENT: the kernel had nothing cached
                        pyfuse3.invalidate_entry(folder, name)
                finally:
                    self._end()
        for number in differences.numbers:
            if self._begin():
                try:
                    with suppress(OSError):
                        pyfuse3.invalidate_inode(InodeT(number), attr_only=True)
                finally:
                    self._end()

    def _begin(self) -> bool:
        with self._lock:
            self._under_way += not self._ended
            return not self._ended

    def _end(self) -> None:
        with self._lock:
            self._under_way -= 1
            self._lock.notify_all()

    async def drain(self) -> None:
        """Start no more invalidations and wait for the last ones while requests are still answered.

        An invalidation may wait for a lookup, which waits for an answer: without answers neither
        ends.
        """
        with self._lock:
            self._ended = True
        with trio.move_on_after(timings().last_invalidations):
            while self._under_way:  # noqa: ASYNC110 - threads count it
                await trio.sleep(timings().last_invalidations_check)

    def end(self) -> bool:
        """Start no more invalidations, because the session is about to end.

        Returns:
            Whether none is in progress; one that is would use a session that no longer exists.
        """
        with self._lock:
            self._ended = True
            return self._lock.wait_for(lambda: not self._under_way, timings().last_invalidations)
