"""The mounts that `zsofs top` shows, with their last replies."""

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from zsofs.errors import ControlError, reason
from zsofs.mount.control.activity import Activity, DiscActivity, SlowReadActivity
from zsofs.mount.control.activity_client import ask_activity, ask_discs, ask_slow_reads
from zsofs.mount.control.client import check_mount, is_own, running
from zsofs.system.mountinfo import Mounted
from zsofs.system.mountpoint import real_path

_SLOW_READS = 1000


@dataclass(slots=True)
class Watched:
    """One mount.

    Attributes:
        path: where it is mounted.
        activity: its last summary; None before the first one.
        error: why it does not answer; empty if it does.
        discs: the discs that were read, by path.
        slow_reads: the last slow reads, by number.
        asked: when the request was sent that is not answered yet, by time.monotonic(); 0 if none.
        answered: when the last request ended, by time.monotonic().
        is_own: whether this user may also change it; not one that is only shown to a group.
        is_trusted: whether paths in its replies may be opened.
    """

    path: str
    activity: Activity | None = None
    error: str = ""
    discs: dict[str, DiscActivity] = field(default_factory=dict)
    slow_reads: dict[int, SlowReadActivity] = field(default_factory=dict)
    asked: float = 0.0
    answered: float = 0.0
    is_own: bool = True
    is_trusted: bool = False
    _since: tuple[int, int] = (0, 0)

    @property
    def may_be_identified(self) -> bool:
        """Whether this user may identify its discs, in the cache that it names."""
        return self.is_own and self.is_trusted

    def ask(self, mounted: Mounted) -> None:
        """Request the changes from its daemon; may block for seconds."""
        self.is_own, self.is_trusted = is_own(mounted), _is_trusted(mounted)
        try:
            self._ask(mounted)
        except (ControlError, OSError) as error:
            self.error = reason(error)
        finally:
            self.asked, self.answered = 0.0, time.monotonic()

    def _ask(self, mounted: Mounted) -> None:
        self.asked = time.monotonic()
        ((_, reply),) = ask_activity([mounted])
        if isinstance(reply, ControlError):
            raise reply
        if self.activity is None or self.activity.instance != reply.instance:
            self.discs, self.slow_reads, self._since = {}, {}, (0, 0)
        self.asked = time.monotonic()
        discs, discs_since = ask_discs(mounted, self._since[0])
        self.asked = time.monotonic()
        slow_reads, slow_since = ask_slow_reads(mounted, self._since[1])
        self._since = discs_since, slow_since
        self.discs = self.discs | {one.disc: one for one in discs}
        known = self.slow_reads | {one.number: one for one in slow_reads}
        self.slow_reads = {number: known[number] for number in sorted(known)[-_SLOW_READS:]}
        self.activity, self.error = reply, ""

    def to_json(self) -> dict[str, Any]:
        """Return everything, for json.dumps; an error instead if the mount does not answer."""
        if self.activity is None or self.error:
            return {"ok": False, "mount_point": self.path, "error": self.error}
        return {
            "ok": True,
            "mount_point": self.path,
            **self.activity.to_json(),
            "discs": [one.to_json() for one in self.discs.values()],
            "slow_reads": [one.to_json() for one in self.slow_reads.values()],
        }


class Watch:
    """All mounts, or some, each queried in its own thread.

    A daemon that hangs does not delay the others.
    """

    def __init__(self, mount_points: Sequence[str]) -> None:
        """Create it; *mount_points*: their paths, none for all that this user may ask."""
        self._points = [os.path.abspath(point) for point in mount_points]
        self._mounts: dict[str, Watched] = {}
        self._asking: dict[str, threading.Thread] = {}
        self._asker: threading.Thread | None = None

    def mounts(self) -> list[Watched]:
        """Return the mounts in the order of their paths."""
        mounts = self._mounts
        return [mounts[path] for path in sorted(mounts)]

    def ask(self) -> None:
        """Start a thread for each mount that has none running, and drop mounts that have ended.

        May block: a disk that hangs can lock the table of mounts.
        """
        found: dict[str, Mounted | str] = {}
        if self._points:
            for point in self._points:
                path = os.fsdecode(real_path(point))
                try:
                    found[path] = check_mount(os.fsencode(path), views=True)
                except ControlError as error:
                    found[path] = str(error)
        else:
            found = {os.fsdecode(mounted.path): mounted for mounted in running(views=True)}
        # As a whole, because another thread shows them.
        self._mounts = {path: self._mounts.get(path) or Watched(path) for path in found}
        for path, mounted in found.items():
            watched = self._mounts[path]
            if isinstance(mounted, str):
                watched.error = mounted
            elif path not in self._asking or not self._asking[path].is_alive():
                thread = threading.Thread(target=watched.ask, args=(mounted,), daemon=True)
                with suppress(RuntimeError):  # the system gives no thread now
                    thread.start()
                    self._asking[path] = thread

    def ask_in_background(self) -> None:
        """Run :meth:`ask` in a thread, unless the last one is still running."""
        if self._asker is None or not self._asker.is_alive():
            self._asker = threading.Thread(target=self.ask, daemon=True)
            with suppress(RuntimeError):
                self._asker.start()

    def wait(self, seconds: float) -> None:
        """Wait until all have answered, at most *seconds*."""
        until = time.monotonic() + seconds
        for thread in list(self._asking.values()):
            thread.join(max(until - time.monotonic(), 0))


def failed(mounts: Sequence[Watched]) -> bool:
    """Return whether one of *mounts* does not answer."""
    return any(one.error or one.activity is None for one in mounts)


def _is_trusted(mounted: Mounted) -> bool:
    """Return whether paths in the replies of a mount may be opened: root or this user serves it.

    Another user could name files that only this user, or root, may read.
    """
    return mounted.user in (0, os.geteuid())
