"""Telling the kernel to forget what it was told of names and attributes.

Only from threads: such a call waits for every look-up in that folder that is under way, and those
wait for us.
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
    """Calls of the kernel, in a few threads."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_MOST_THREADS)
        self._lock = threading.Condition()
        self._under_way = 0
        self._ended = False
        self._send, self._receive = trio.open_memory_channel[Differences](float("inf"))

    def send(self, differences: Differences) -> None:
        """Have the kernel forget, soon."""
        if differences.names or differences.numbers:
            self._send.send_nowait(differences)

    async def serve(self) -> None:
        """Do what is sent, until cancelled."""
        async with trio.open_nursery() as nursery:
            async for differences in self._receive:
                nursery.start_soon(self._run, differences)

    async def _run(self, differences: Differences) -> None:
        try:
            await trio.to_thread.run_sync(
                self._tell, differences, abandon_on_cancel=True, limiter=self._limiter
            )
        except Exception:  # it forgets by itself, within a second
            log.exception("internal error in zsofs: the kernel could not be notified of a change")

    def _tell(self, differences: Differences) -> None:
        folder = InodeT(differences.folder)
        for name in differences.names:
            if self._begin():
                try:
                    with suppress(OSError):  # mostly ENOENT: the kernel never knew it
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
        """Begin no more calls and wait for the last, while requests are still answered.

        A call may wait for a look-up, and that for us: once nobody answers, neither would end.
        """
        with self._lock:
            self._ended = True
        with trio.move_on_after(timings().last_invalidations):
            while self._under_way:  # noqa: ASYNC110 - threads count it
                await trio.sleep(timings().last_invalidations_check)

    def end(self) -> bool:
        """Begin no more calls, for the session is about to end.

        Returns:
            Whether none is under way; one that is would use a session that is gone.
        """
        with self._lock:
            self._ended = True
            return self._lock.wait_for(lambda: not self._under_way, timings().last_invalidations)
