"""The library: whether its disk is there, and has space."""

import errno
import os
import time
from dataclasses import dataclass

from zsofs.system.mountinfo import own_mount_of
from zsofs.timings import timings
from zsofs.watch.ledger import Ledger

_FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))
_MORE = 16 << 20
"""Bytes of additional free space after which a job is tried again."""


@dataclass(slots=True)
class Space:
    """The disk of the library.

    Attributes:
        library: its real path.
        ledger: tells whether it must have discs.
        note: why nothing can be packed now; empty if it can.
    """

    library: str
    ledger: Ledger
    note: str = ""
    _had_files: bool = False
    """Whether it had files since the start."""
    _free: int | None = None
    _until: float = 0.0

    def __post_init__(self) -> None:
        """Note whether the library has files. May wait for a disk."""
        self._why_not()

    def note_failure(self, error: str) -> bool:
        """Return whether a job failed because the disk is full; jobs then wait for space.

        Args:
            error: the error of the job.
        """
        if not any(text in error for text in _FULL):
            return False
        self._free = _free_bytes(self.library)
        self._until = time.monotonic() + timings().watch_full_disk
        self.note = f"the disk of the library is full: {self.library}"
        return True

    def is_usable(self) -> bool:
        """Return whether jobs can be started. May wait for a disk."""
        self.note = self._why_not()
        return not self.note

    def _why_not(self) -> str:
        try:
            if is_in_mount(self.library):
                return f"a mount of zsofs covers the library: {self.library}"
            with os.scandir(self.library) as entries:
                is_empty = next(entries, None) is None
        except OSError:
            return f"the library is not available: {self.library}"
        if is_empty and (self.ledger.has_outputs or self._had_files):
            return (
                f"the library {self.library} is empty, although discs were in it; its disk may be"
                " missing. If that is right, create a file in it"
            )
        self._had_files = self._had_files or not is_empty
        if not os.access(self.library, os.W_OK | os.X_OK, effective_ids=True):
            return f"the library is read-only, or not writable by this user: {self.library}"
        if self._free is not None:
            more = _free_bytes(self.library) - self._free
            if more < _MORE and time.monotonic() < self._until:
                return f"the disk of the library is full: {self.library}"
            self._free = None
        return ""


def is_in_mount(path: str) -> bool:
    """Return whether a path is in a mount of zsofs; asks only the mount table.

    Raises:
        OSError: the path cannot be opened.
    """
    return own_mount_of(path) is not None


def is_read_only(path: str) -> bool:
    """Return whether the file system of a path is read-only, as a disk with errors becomes."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _free_bytes(path: str) -> int:
    """Return the free space for this user; 0 if it cannot be determined."""
    try:
        found = os.statvfs(path)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize
