"""Whether a mount of the library has an active reader on a disk that packing would use."""

import logging
import os
import threading
from collections.abc import Sequence
from contextlib import suppress

from zsofs.errors import ControlError, ZsofsError, reason
from zsofs.mount.control.activity import Activity
from zsofs.mount.control.activity_client import ask_activity
from zsofs.mount.control.client import running
from zsofs.source.relpath import is_at_or_below
from zsofs.timings import timings

log = logging.getLogger(__name__)

_DEVICES = "/sys/dev/block"


class ReaderCheck:
    """Asks mounts for active readers in a thread, because one that hangs takes 5 seconds.

    Attributes:
        reader: which program reads from which mount, by the last answer; empty if none does.
        problem: why mounts cannot be asked, as a sentence; empty if they can. No program counts as
            a reader then: packing has the lowest priority, and a watch that waits packs nothing.
    """

    def __init__(self, library: str) -> None:
        """Prepare; *library* is the real path of the library."""
        self.reader = ""
        self.problem = ""
        self._library = library
        self._paths: tuple[str, ...] = ()
        self._has_asked = threading.Event()
        self._wanted = threading.Event()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def wants(self, paths: Sequence[str]) -> bool:
        """Ask from now on; return whether there is a first answer.

        Args:
            paths: files and directories that packing reads and writes.
        """
        if tuple(paths) != self._paths:
            self._paths = tuple(paths)
        self._wanted.set()
        return self._has_asked.is_set()

    def rest(self) -> None:
        """Ask no more until :meth:`wants` is called: nothing is to be packed."""
        self._wanted.clear()
        self._has_asked.clear()
        self.reader = self.problem = ""

    def close(self) -> None:
        """End the thread; one that waits for an answer is left behind."""
        self._ends.set()
        self._wanted.set()

    def _work(self) -> None:
        while not self._ends.is_set():
            self._wanted.wait()
            reader, problem = self._ask()
            if self._wanted.is_set():
                self.reader, self.problem = reader, problem
                self._has_asked.set()
            self._ends.wait(timings().watch_ask)

    def _ask(self) -> tuple[str, str]:
        """Return the active reader, and the problem."""
        try:
            return active_reader(self._library, self._paths), ""
        except Exception as error:  # without this thread, nothing is packed any more
            problem = (
                "packing does not pause for programs that read from the library, because mounts"
                f" cannot be asked: {reason(error)}"
            )
            if problem != self.problem:  # once, not every second
                is_bug = not isinstance(error, OSError | MemoryError | ZsofsError)
                log.warning("%s", problem, exc_info=is_bug)
            return "", problem


def active_reader(library: str, paths: Sequence[str]) -> str:
    """Return which program reads from a mount of the library; empty if there is none.

    Only mounts of this user are asked; for root, all. A mount that does not answer counts as idle.

    Args:
        library: real path of the library.
        paths: files and directories that packing reads and writes.
    """
    mounts = [one for one in running() if _overlap(one.source, os.fsencode(library))]
    if not mounts:
        return ""
    disks = [_disk_of(path) for path in paths]
    for mounted, answer in ask_activity(mounts):
        if isinstance(answer, ControlError):
            continue
        own = _disk_of(os.fsdecode(mounted.source))
        reader = _reader(answer) if any(_may_be_same(own, disk) for disk in disks) else ""
        if reader:
            return f"{reader} reads from {os.fsdecode(mounted.path)}"
    return ""


def _reader(activity: Activity) -> str:
    """Return the program that reads now; empty if none does."""
    for waiting in activity.waiting:
        return waiting.program or "a program"
    for reader in activity.readers:
        if reader.idle_seconds < timings().watch_reader:
            return reader.program or "a program"
    return ""


def _overlap(one: bytes, other: bytes) -> bool:
    return is_at_or_below(one, other) or is_at_or_below(other, one)


def _disk_of(path: str) -> str:
    """Return the name of the whole disk of a file; its device number if there is none.

    Two partitions are on one disk. Empty if the path does not exist.
    """
    with suppress(OSError):
        device = os.stat(path).st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        place = os.path.realpath(f"{_DEVICES}/{number}")
        if os.path.exists(os.path.join(place, "partition")):
            place = os.path.dirname(place)
        return os.path.basename(place)
    return ""


def _may_be_same(one: str, other: str) -> bool:
    """Return whether two disks may be one: numbers of btrfs, for example, name no disk."""
    is_known = all(name and ":" not in name for name in (one, other))
    return one == other or not is_known
