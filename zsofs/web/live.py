"""What the page shows now: the mounts, asked once a second while a browser looks.

The text for the event streams is made once for each change, however many browsers there are.
"""

import json
import logging
import os
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import trio

from zsofs.console.tables import counted
from zsofs.errors import ControlError, reason
from zsofs.mount.control.activity import Activity, MountFacts
from zsofs.mount.control.client import check_mount, running
from zsofs.mount.top.watched import Watch, Watched
from zsofs.system.mountinfo import Mounted
from zsofs.system.mountpoint import real_path
from zsofs.system.own_processes import program_command
from zsofs.timings import timings
from zsofs.watch import state_file
from zsofs.watch.state_file import WatchStatus
from zsofs.web.jobs import Jobs, with_cache
from zsofs.web.shelf import Shelf

log = logging.getLogger(__name__)

_MAX_STREAMS = 100
_DISCS = 40
_RECENT = 8
_WORST_OF = 60
_DECIMALS = 1
_TICKS = 8
"""Parts of the interval at which mounts are asked; at each, the answers are looked at."""

_RESULTS = 8
"""Results of a watch that are shown, and inputs that it has still to pack."""


class Live:
    """The mounts and their libraries, polled while there are streams."""

    def __init__(self, mount_points: Sequence[str], jobs: Jobs) -> None:
        """Create it; *mount_points*: their paths, none for all that this user may ask."""
        self.watch = Watch(mount_points)
        self._points = mount_points
        self._jobs = jobs
        self._shelves: dict[str, Shelf] = {}
        self._busy: set[str] = set()
        self._identified: dict[str, float] = {}
        self._watches: list[WatchStatus] = []
        self._streams = 0
        self._text = b""
        self._changed = trio.Event()
        self._wanted = trio.Event()
        self._nursery: trio.Nursery | None = None

    def mount(self, number: str) -> Watched | None:
        """Return a mount by its ID."""
        return next((one for one in self.watch.mounts() if mount_id(one.path) == number), None)

    def cache_folder(self, path: str) -> str:
        """Return the cache directory of the daemon of a mount of this user; empty if unknown."""
        mounts = self.watch.mounts()
        own = (one for one in mounts if one.path == path and one.may_be_identified)
        return next((one.activity.mount.cache_folder for one in own if one.activity), "")

    def shelf(self, path: str) -> Shelf | None:
        """Return the library of the mount at a path, if there is one yet."""
        return self._shelves.get(path)

    def mounted(self) -> list[Mounted]:
        """Return the mounts that are shown; may block."""
        if not self._points:
            return running(views=True)
        found = []
        for point in self._points:
            with suppress(ControlError):
                found.append(check_mount(real_path(point), views=True))
        return found

    async def serve(self) -> None:
        """Ask the mounts while there are streams, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            while True:
                if not self._streams:
                    self._text = b""  # a browser that comes later is to see no old state
                    self._wanted = trio.Event()
                    await self._wanted.wait()
                begun = time.monotonic()
                self.watch.ask_in_background()
                self._renew_shelves()
                self._renew_watches()
                await self._follow_answers(begun)

    async def _follow_answers(self, begun: float) -> None:
        """Publish when the mounts have answered, and again if one has not answered in time."""
        published: set[str] | None = None
        for tick in range(_TICKS):
            await trio.sleep(timings().web_poll / _TICKS)
            mounts = self.watch.mounts()
            silent = {one.path for one in mounts if _is_silent(one)}
            are_new = bool(mounts) and all(one.answered > begun for one in mounts)
            is_due = are_new or tick >= _TICKS // 2
            if silent != published if published is not None else is_due:
                published = silent
                self._publish()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield an event for each change, at most one a second; a slow client misses some."""
        if self._streams >= _MAX_STREAMS:
            yield b"retry: 30000\n\n"
            return
        self._streams += 1
        self._wanted.set()
        sent = b""
        try:
            yield b"retry: 2000\n\n"
            while True:
                if self._text and self._text is not sent:
                    sent = self._text
                    yield sent
                with trio.move_on_after(timings().web_ping) as limit:
                    await self._changed.wait()
                if limit.cancelled_caught:
                    yield b":\n\n"
        finally:
            self._streams -= 1

    def _publish(self) -> None:
        mounts = self.watch.mounts()
        state = {
            "mounts": [self._mount(one) for one in mounts],
            "watches": [_watch(one) for one in self._watches],
            "jobs": [job.to_json() for job in self._jobs.jobs],
        }
        text = f"data: {json.dumps(state, separators=(',', ':'))}\n\n".encode()
        if text != self._text:
            self._text = text
            self._changed.set()
            self._changed = trio.Event()

    def _mount(self, one: Watched) -> dict[str, Any]:
        shelf = self._shelves.get(one.path)
        found: dict[str, Any] = {
            "id": mount_id(one.path),
            "path": printable_path(one.path),
            "error": one.error or ("the mount does not answer" if _is_silent(one) else ""),
            "own": one.is_own,
            "library": None
            if shelf is None
            else {"version": shelf.version, "total": shelf.total, "complete": shelf.complete},
        }
        if one.activity is not None and not found["error"]:
            found |= {"activity": _summary(one.activity), **_discs(one)}
        return found

    # The watches

    def watch_at(self, number: str) -> WatchStatus | None:
        """Return a watch by its ID."""
        return next((one for one in self._watches if _watch_id(one) == number), None)

    def _renew_watches(self) -> None:
        assert self._nursery is not None
        if "" not in self._busy:
            self._busy.add("")
            self._nursery.start_soon(self._read_watches)

    async def _read_watches(self) -> None:
        try:
            with suppress(RuntimeError):  # the system gives no thread now
                self._watches = await trio.to_thread.run_sync(
                    lambda: list(state_file.running()), abandon_on_cancel=True
                )
        finally:
            self._busy.discard("")

    # The libraries

    def _renew_shelves(self) -> None:
        assert self._nursery is not None
        mounts = {one.path: one for one in self.watch.mounts()}
        for path in self._shelves.keys() - mounts.keys() - self._busy:
            del self._shelves[path]
        for path, one in mounts.items():
            if one.activity is None or one.error or path in self._busy:
                continue
            self._busy.add(path)
            self._nursery.start_soon(self._renew_shelf, one, one.activity.mount)

    async def _renew_shelf(self, one: Watched, facts: MountFacts) -> None:
        path, source = one.path, facts.source if one.is_trusted else ""
        shelf = self._shelves.get(path)
        if shelf is None or shelf.source != source:
            shelf = Shelf(source)
        try:
            await trio.to_thread.run_sync(_renew, shelf, path, abandon_on_cancel=True)
            self._shelves[path] = shelf
            if one.may_be_identified:
                self._identify(path, shelf, facts.cache_folder)
        except (ControlError, OSError, RuntimeError) as error:
            log.debug("the library of %s cannot be listed: %s", path, reason(error))
        finally:
            self._busy.discard(path)

    def _identify(self, path: str, shelf: Shelf, cache: str) -> None:
        """Have `zsofs list` identify the discs that have no identity; a mount takes them up."""
        due = self._identified.get(path, -1e9) + timings().web_identify
        if shelf.complete and shelf.unidentified and time.monotonic() > due:
            self._identified[path] = time.monotonic()
            title = f"{counted(shelf.unidentified, 'disc')} of {printable_path(path)}"
            command = with_cache(program_command("list", "--json", path), cache)
            self._jobs.add("identify", title, command)


def _is_silent(one: Watched) -> bool:
    """Return whether a mount has not answered for too long."""
    return bool(one.asked) and time.monotonic() - one.asked > timings().web_silent


def _watch_id(one: WatchStatus) -> str:
    return f"{one.process.pid}-{one.process.start_ticks}"


def _watch(one: WatchStatus) -> dict[str, Any]:
    """Return what the page shows of a watch."""
    found = one.to_json() | {"id": _watch_id(one)}
    del found["process"]
    found["results"] = found["results"][-_RESULTS:]
    found["queue"], found["waiting"] = found["queue"][:_RESULTS], found["waiting"][:_RESULTS]
    return found


def mount_id(path: str) -> str:
    """Return the ID of a mount in addresses: no path is part of one."""
    return f"{zlib.crc32(os.fsencode(path)):08x}"


def printable_path(path: str) -> str:
    """Return a path as text; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _renew(shelf: Shelf, path: str) -> None:
    mounted: Mounted = check_mount(os.fsencode(path), views=True)
    shelf.renew(mounted)


def _summary(activity: Activity) -> dict[str, Any]:
    """Return a summary without what changes although nothing happens."""
    found = activity.to_json()
    del found["time"], found["revision"]
    for reader in found["readers"]:
        reader["idle_seconds"] = _idle(reader["idle_seconds"])
        reader["rates"] = _rounded(reader["rates"])
    found["reads"]["rates"] = _rounded(found["reads"]["rates"])
    for read in found["waiting"]:
        read["seconds"] = round(read["seconds"], _DECIMALS)
    return found


def _discs(one: Watched) -> dict[str, Any]:
    """Return the discs that were read last, and the newest slow reads."""
    latest = sorted(one.discs.values(), key=lambda disc: disc.idle_seconds)[:_DISCS]
    discs = []
    for disc in latest:
        fields = disc.to_json()
        fields["idle_seconds"] = _idle(fields["idle_seconds"])
        fields["rates"] = _rounded(fields["rates"])
        discs.append(fields)
    slow_reads = one.slow_reads
    numbers, since = sorted(slow_reads), time.time() - _WORST_OF
    known = sum(slow_reads[number].file is not None for number in numbers)
    return {
        "discs": discs,
        "slow": {
            "version": f"{numbers[-1] if numbers else 0}-{known}",
            "recent": [slow_reads[number].to_json() for number in numbers[-_RECENT:]],
            "worst": max(
                (one.seconds.total for one in slow_reads.values() if one.time > since), default=0
            ),
        },
    }


def _idle(seconds: float) -> int:
    """Return seconds in steps that grow, so that a page at rest receives nothing."""
    with suppress(ValueError, OverflowError):
        return int(seconds) if seconds < 60 else int(seconds) // 60 * 60
    return 0


def _rounded(rates: dict[str, float]) -> dict[str, float]:
    return {name: round(rate, _DECIMALS) for name, rate in rates.items()}
