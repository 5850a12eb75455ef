"""Reports of a running mount to the service manager: readiness, status, watchdog."""

import errno
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from zsofs.console.tables import STILL_COUNTING, counted
from zsofs.reading.tasks import in_background
from zsofs.system.sd_notify import Notifier
from zsofs.timings import timings

if TYPE_CHECKING:
    from zsofs.mount.control.mount_status import MountStatus

log = logging.getLogger(__name__)


class Supervision:
    """The tasks that report.

    Attributes:
        is_ready: whether the mount has been listed.
    """

    def __init__(
        self, notifier: Notifier, mount_point: bytes, state: "Callable[[], MountStatus]"
    ) -> None:
        """Create it without side effects.

        Args:
            notifier: the service manager.
            mount_point: real path of the mount point.
            state: returns the status of the mount, as for ``zsofs status``.
        """
        self._notifier = notifier
        self._mount_point = mount_point
        self._state = state
        self.is_ready = False
        self._is_stopping = False
        self._reloads = 0

    async def serve(self, until_it_can_report: Callable[[], Awaitable[None]]) -> None:
        """Report until cancelled.

        Args:
            until_it_can_report: waits until there is a status of the mount.
        """
        if not self._notifier.is_heard:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_background, self._feed_watchdog)
            await self._wait_until_listed()
            await until_it_can_report()
            self._tell_ready()
            self.is_ready = True
            nursery.start_soon(in_background, self._keep_telling_state)

    @contextmanager
    def reload(self) -> Iterator[None]:
        """Context of a reload: report its start, and its end when the last of several is done."""
        if self._is_stopping or not self.is_ready:  # there is no state to return to
            yield
            return
        if not self._reloads:
            self._notifier.reloading()
        self._reloads += 1
        try:
            yield
        finally:
            self._reloads -= 1
            if not self._reloads:
                self._tell_ready()

    def stop(self) -> None:
        """Report that the mount is stopping."""
        self._is_stopping = True
        self._notifier.stopping()

    async def _wait_until_listed(self) -> None:
        """Wait until the mount has been listed by a thread, like by any other program.

        A missing source is an answer as well: a program that waits for the mount should not wait
        for its disk.
        """
        while True:
            try:
                await trio.to_thread.run_sync(_list, self._mount_point, abandon_on_cancel=True)
            except OSError as error:
                if error.errno == errno.ENOMEDIUM:
                    return
                log.warning("the mount exists but cannot be listed yet: %s", error.strerror)
                await trio.sleep(timings().retry_service_manager)
            else:
                return

    async def _feed_watchdog(self) -> None:
        """Reset the watchdog from the event loop, so that a blocked loop triggers it."""
        seconds = self._notifier.watchdog_seconds
        while seconds is not None:
            self._notifier.alive()
            await trio.sleep(seconds / 2)

    async def _keep_telling_state(self) -> None:
        while True:
            await trio.sleep(timings().service_status)
            if self._reloads:
                self._tell_state()
            else:  # a manager with a full queue missed the message, and would kill the daemon
                self._tell_ready()

    def _tell_ready(self) -> None:
        if not self._is_stopping:
            self._tell_state()
            self._notifier.ready()

    def _tell_state(self) -> None:
        self._notifier.status(state_line(self._state()))


def _list(mount_point: bytes) -> None:
    with os.scandir(mount_point) as entries:
        for _ in entries:
            return


def state_line(state: "MountStatus") -> str:
    """Discs, readers and hits of the cache in one line."""
    found, cache = state.discs, state.reads.cache
    parts = [counted(found.discs, "disc")]
    if found.copying:
        parts.append(f"{found.copying:,} being copied")
    if found.counting:
        parts.append(STILL_COUNTING)
    if state.source.source_state != "there":
        parts.append(f"the source is {state.source.source_state}")
    parts.append(counted(len({reader.pid for reader in state.reads.readers}), "reader"))
    if cache.lookups:
        parts.append(f"{100 * cache.hits // cache.lookups} % of lookups hit")
    return ", ".join(parts)
