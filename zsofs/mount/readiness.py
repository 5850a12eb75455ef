"""What a service manager is told by a running mount: readiness, state, signs of life."""

import errno
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import trio

from zsofs.console.tables import STILL_COUNTING, counted
from zsofs.reading.tasks import in_background
from zsofs.system.sd_notify import Notifier
from zsofs.timings import timings

log = logging.getLogger(__name__)


class Supervision:
    """The tasks that tell it.

    Attributes:
        is_ready: whether the mount has been listed.
    """

    def __init__(
        self, notifier: Notifier, mount_point: bytes, state: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Prepare, without touching anything.

        Args:
            notifier: who is told.
            mount_point: real path of the mount.
            state: what the mount says about itself, as to ``zsofs status``.
        """
        self._notifier = notifier
        self._mount_point = mount_point
        self._state = state
        self.is_ready = False
        self._is_stopping = False
        self._reloads = 0

    async def serve(self) -> None:
        """Tell until cancelled."""
        if not self._notifier.is_heard:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_background, self._feed_watchdog)
            await self._wait_until_listed()
            self._tell_ready()
            self.is_ready = True
            nursery.start_soon(in_background, self._keep_telling_state)

    @contextmanager
    def reload(self) -> Iterator[None]:
        """While the source is looked at again: tell so, and when the last of several is done."""
        if self._is_stopping or not self.is_ready:  # there is nothing to go back to
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
        """Tell that the mount ends."""
        self._is_stopping = True
        self._notifier.stopping()

    async def _wait_until_listed(self) -> None:
        """Until the mount has been listed, as any program would do it: by a thread of its own.

        That there is no source yet is an answer, too: who waits for the mount, waits for its disk
        no longer than systemd does.
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
        """Signs of life by the loop itself: what stops it stops them."""
        seconds = self._notifier.watchdog_seconds
        while seconds is not None:
            self._notifier.alive()
            await trio.sleep(seconds / 2)

    async def _keep_telling_state(self) -> None:
        while True:
            await trio.sleep(timings().service_status)
            if self._reloads:
                self._tell_state()
            else:  # a manager whose queue was full has not heard it, and would end us
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


def state_line(state: Mapping[str, Any]) -> str:
    """Discs, readers and hits of the cache in one line."""
    parts = [counted(state["discs"], "disc")]
    if state["copying"]:
        parts.append(f"{state['copying']:,} being copied")
    if state["counting"]:
        parts.append(STILL_COUNTING)
    if state["source_state"] != "there":
        parts.append(f"the source is {state['source_state']}")
    parts.append(counted(len({reader["pid"] for reader in state["readers"]}), "reader"))
    cache = state["cache"]
    if cache["lookups"]:
        parts.append(f"{100 * cache['hits'] // cache['lookups']} % of lookups hit")
    return ", ".join(parts)
