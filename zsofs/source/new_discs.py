"""Files that clients create through a mount with ``--new-discs``, until they are protected discs.

A client may change what it has created until it is a whole disc, and for a while after that. Only
files that the mount itself saw being written count: as soon as anything else changes a file, which
its change time (ctime) shows, it is protected like any other disc of the source. For threads.
"""

import math
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from threading import Lock

from zsofs.discs.classify import ContentKind, classify
from zsofs.discs.iso9660 import DESCRIPTORS, SECTOR
from zsofs.discs.shortage import find_shortage
from zsofs.errors import ZsofsError, reason
from zsofs.formats.file_names import APPLE_DOUBLE, is_kept_for_discs, may_be_disc
from zsofs.images.probe import FIRST_BYTES, is_raw_cd
from zsofs.images.source_file import OpenSource
from zsofs.source.inspect_file import look_inside
from zsofs.source.live_file import TimedStat, seen
from zsofs.source.new_disc_mark import has_valid_mark, remove_mark, set_mark
from zsofs.source.ownership import link_to
from zsofs.source.written_ranges import WrittenRanges
from zsofs.timings import timings

_MOST_FILES = 4096
"""Files that are remembered. All of them together take at most 40 MB, usually less than 4 MB."""

_NOT_COMPLETED = "its copy through the mount was not completed before the mount ended"
_WHAT_TO_DO = (
    "; copy it again or delete it; if it is complete, touch it in the source directory to"
    " protect it"
)


class Progress(Enum):
    """How far a new disc is: still copied, left incomplete, or whole and not yet protected."""

    COPYING = auto()
    UNFINISHED = auto()
    WHOLE = auto()


@dataclass(frozen=True, slots=True)
class NewDisc:
    """The state of a new disc for a scan.

    Attributes:
        progress: how far it is.
        reason: why it is unfinished; else empty.
    """

    progress: Progress
    reason: str = ""


class NewFile:
    """One file that was written through the mount. Thread-safe."""

    def __init__(self, name: bytes, status: os.stat_result) -> None:
        """Create it; *name* decides whether it is to be a disc."""
        self._lock = Lock()
        self._name = name
        self._written = WrittenRanges()
        self._ctime_ns = status.st_ctime_ns
        self._known_at = self._changed_at = self._marked_at = time.monotonic()
        self._settled = self._changed_at
        self._users = 0
        self._settling = 0
        self._why = _NOT_COMPLETED
        self._is_protected = False

    @property
    def is_used(self) -> bool:
        """Whether a handle for writing is open, or a change is in progress."""
        return self._users + self._settling > 0

    def is_clients(self, now: TimedStat) -> bool:
        """Return whether its client may still change it; once it may not, it never may again.

        Args:
            now: the current status of the file.
        """
        with self._lock:
            if not self.is_used:
                is_older = self._known_at >= now.at  # than the last change through the mount
                is_as_left = is_older or self._ctime_ns == now.status.st_ctime_ns
                end = self._changed_at + timings().new_disc_quiet + timings().new_disc_grace
                is_whole = not (self._is_dirty or self._why)
                if not is_as_left or (is_whole and time.monotonic() >= end):
                    self._is_protected = True
            return not self._is_protected

    def state(self) -> NewDisc:
        """Return how far it is."""
        with self._lock:
            quiet = time.monotonic() - self._changed_at >= timings().new_disc_quiet
            if self._is_dirty or not quiet:
                return NewDisc(Progress.COPYING)
            if self._why:
                return NewDisc(Progress.UNFINISHED, self._why + _WHAT_TO_DO)
            return NewDisc(Progress.WHOLE)

    @property
    def _is_dirty(self) -> bool:
        """Whether it was changed since it was last found to be whole or not."""
        return self._changed_at != self._settled

    def restored(self) -> "NewFile":
        """Return it as a file of which only the mark is known."""
        self._settled = self._changed_at = time.monotonic() - timings().new_disc_quiet
        return self

    # Changes through the mount

    def begin(self, *, is_new: bool = False) -> None:
        """Count a handle for writing, or a change; *is_new*: the file was just created."""
        with self._lock:
            self._users += 1
            if is_new:
                self._settled = -math.inf

    def wrote(self, fd: int, offset: int, count: int) -> None:
        """Record a write through a handle."""
        now = time.monotonic()
        with self._lock:
            self._written.add(offset, offset + count)
            self._changed_at = now
            is_due = now - self._marked_at >= timings().new_disc_mark
            if is_due:
                self._marked_at = now
        if is_due and is_kept_for_discs(self._name):
            set_mark(fd, is_open=True)

    def resized(self, size: int) -> None:
        """Record that the file was truncated or extended to *size* bytes."""
        with self._lock:
            self._written.cut(size)
            self._changed_at = time.monotonic()

    def renamed(self, name: bytes) -> None:
        """Record its new name."""
        with self._lock:
            self._name = name
            self._changed_at = time.monotonic()

    def settle(self, file: int) -> None:
        """End what :meth:`begin` began; the last one finds out whether the file is whole.

        Args:
            file: a descriptor of the file, which may be O_PATH.
        """
        with self._lock:
            self._users -= 1
            self._settling += 1
            is_last, changed_at, is_dirty = not self._users, self._changed_at, self._is_dirty
        link = link_to(file)
        try:
            if is_last and may_be_disc(self._name):
                why = self._missing(link)
                if is_kept_for_discs(self._name):
                    if why:
                        set_mark(link, is_open=False)
                    else:
                        remove_mark(link)
                with self._lock:
                    self._why = why
            at = time.monotonic()
            ctime_ns = os.stat(link).st_ctime_ns
            with self._lock:
                if at >= self._known_at:  # the end of a later change may have come before this one
                    self._ctime_ns, self._known_at = ctime_ns, at
                if is_last and is_dirty and self._changed_at == changed_at:
                    self._settled = self._changed_at = at
        finally:
            with self._lock:
                self._settling -= 1

    def _missing(self, link: str) -> str:
        """Return what is missing in the file; empty if it is whole."""
        try:
            fd = os.open(link, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            return f"its content cannot be checked: {reason(error)}"
        try:
            status = os.fstat(fd)
            with self._lock:
                written = self._written.count(status.st_size)
            if not status.st_size:
                return "it is empty"
            if written < status.st_size:
                return (
                    f"only {written:,} of its {status.st_size:,} bytes were written through the"
                    " mount"
                )
            return _why_no_disc(OpenSource.of(fd, status), self._name)
        except (OSError, ZsofsError, MemoryError) as error:
            return f"its content cannot be checked: {reason(error)}"
        finally:
            os.close(fd)


def _why_no_disc(source: OpenSource, name: bytes) -> str:
    """Return why a completely written file is no whole disc; empty if it is one."""
    found = look_inside(source, name, tells_writers=False, quiet=True, identities=False)
    if found.disc is not None or not found.settled:  # a CHD may wait for its parent
        return ""
    if found.content == APPLE_DOUBLE:
        return f"it is {APPLE_DOUBLE}"
    content = classify(source.read_at, source.size)
    if found.reason or content.kind is ContentKind.OTHER:
        return found.reason or content.refusal
    if source.size < (DESCRIPTORS + 1) * SECTOR:
        return f"it ends after {source.size:,} bytes, before the volume descriptors of a disc"
    raw_cd = is_raw_cd(source.read_at(0, FIRST_BYTES))
    shortage = find_shortage(source.read_at, source.size, raw_cd=raw_cd, names=True)
    return shortage.sentence if shortage is not None and shortage.is_cut else ""


class NewDiscs:
    """The files that were written through a mount, by st_dev and st_ino. Thread-safe.

    Attributes:
        enabled: whether new discs are accepted; else no file is ever one.
    """

    def __init__(self, *, enabled: bool = False) -> None:
        self.enabled = enabled
        self._lock = Lock()
        self._files: OrderedDict[tuple[int, int], NewFile] = OrderedDict()

    def find(self, now: TimedStat) -> NewFile | None:
        """Return the file that a client may change; None for any other."""
        file = self._known(now.status)
        return file if file is not None and file.is_clients(now) else None

    def state(self, now: TimedStat, folder: int, name: bytes) -> NewDisc | None:
        """Return the state of a new disc; None for a file that is protected or no disc.

        Args:
            now: the status of the file.
            folder: descriptor of its directory.
            name: its name there.
        """
        if not self.enabled or not is_kept_for_discs(name):
            return None
        file = self._known(now.status)
        if file is None:
            if not has_valid_mark(folder, name, now.status):
                return None
            file = self._keep(NewFile(name, now.status).restored(), now.status)
        return file.state() if file.is_clients(now) else None

    def opened(self, fd: int, name: bytes, *, is_new: bool = False) -> NewFile | None:
        """Return the file that a handle for writing was opened for; None if it is never a disc.

        A file with several names is not the client's: one of them may be that of an older disc.

        Args:
            fd: the descriptor of the handle.
            name: the file's name.
            is_new: whether the file was just created.
        """
        if not self.enabled:
            return None
        now = seen(fd)
        file = None if is_new else self.find(now)
        if file is None and now.status.st_nlink > 1:
            return None
        if file is None:
            file = self._keep(NewFile(name, now.status), now.status)
        file.begin(is_new=is_new)
        if is_new and is_kept_for_discs(name):
            set_mark(fd, is_open=True)
        return file

    @contextmanager
    def changing(self, file: int) -> Iterator[NewFile | None]:
        """Yield the file while a change through the mount sets its change time; None for others.

        Args:
            file: its descriptor, which may be O_PATH.
        """
        new = self.find(seen(file)) if self.enabled else None
        if new is None:
            yield None
            return
        new.begin()
        try:
            yield new
        finally:
            new.settle(file)

    def takes(self, file: int) -> bool:
        """Return whether a client may change the file with this descriptor, although it is a disc.

        Args:
            file: a descriptor of the file, which may be O_PATH.
        """
        return self.enabled and self.find(seen(file)) is not None

    def _known(self, status: os.stat_result) -> NewFile | None:
        with self._lock:
            return self._files.get((status.st_dev, status.st_ino))

    def _keep(self, file: NewFile, status: os.stat_result) -> NewFile:
        with self._lock:
            self._files[status.st_dev, status.st_ino] = file
            if len(self._files) > _MOST_FILES:
                unused = (key for key, one in self._files.items() if not one.is_used)
                oldest = next(unused, None)
                if oldest is not None:
                    del self._files[oldest]
        return file
