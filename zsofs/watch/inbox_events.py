"""Events in the inboxes: what has changed, and which files their writers have closed or renamed."""

import errno
import os
import stat
import time
from collections.abc import Callable

from zsofs.discs.cue_files import is_cue_name
from zsofs.formats.archive_names import Volumes, is_archive
from zsofs.formats.file_names import has_disc_ending
from zsofs.system.file_lease import has_writer
from zsofs.system.inotify import Watcher
from zsofs.timings import timings
from zsofs.watch.inbox_folders import InboxFolders
from zsofs.watch.whole import FileIdentity, identity_at

_MOST_CLOSED = 10_000
_CHECK_SHARE = 20
"""Files that are still open are checked again after at least this many times the duration."""

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors of a directory that was deleted, or replaced by something else."""


class InboxEvents:
    """Watches on the directories of the inboxes.

    Attributes:
        changed: whether something has changed since it was set to False.
        deleted: paths of files that were deleted since they were taken from it.
        check_at: when :meth:`take` has to be called without an event, by the monotonic clock; None
            if it need not be.
    """

    def __init__(self, note_closed: Callable[[FileIdentity], None]) -> None:
        """Begin; *note_closed* receives each file that its writer has closed or renamed."""
        self.changed = False
        self.deleted: set[str] = set()
        self.check_at: float | None = None
        self._note_closed = note_closed
        self._begun = time.time_ns(), time.monotonic_ns()
        self._watcher = Watcher()
        self._paths: dict[int, str] = {}
        """Paths of directories by watch number."""
        self._folders = InboxFolders()
        self._closed: dict[str, FileIdentity] = {}
        """Files that were closed or renamed, and not written to since, by path."""
        self._open: dict[str, FileIdentity] = {}
        """Those of them that were open for writing then, by path."""

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when there are events; None without inotify."""
        return self._watcher.fileno()

    def close(self) -> None:
        """End all watches."""
        self._watcher.close()

    def enter(self, folder: str) -> None:
        """Watch a directory from now on; called before its files are listed, at each scan.

        In a new directory, files may have been closed before there was a watch. Those that no
        program has open for writing, according to a lease, count as closed. Until the first scan
        has ended, the same applies to files that were written since the start.
        """
        folders = self._folders
        is_new, is_known = folders.is_new(folder), folder in folders.known
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _GONE:
                folders.cannot_enter(folder)
            return
        try:
            number = self._watcher.add(fd)
        finally:
            os.close(fd)
        if number is not None:
            self._paths[number] = folder
        folders.enter(folder, is_new=is_new)
        if is_new:
            self._note_files_of(folder)
        elif is_known and not folders.scanned:
            self._note_files_of(folder, only=self._is_of_this_run)

    def watched_all(self) -> None:
        """Report that all directories are watched; the first scan follows."""
        self._folders.end_entering()

    def entered_all(self) -> None:
        """Report the end of a scan: all directories are watched now."""
        self._folders.end_scan()

    def take(self) -> None:
        """Process the events since the last call."""
        for change in self._watcher.changes():
            if change.watch is None:
                self.changed = True
                continue
            folder = self._paths.get(change.watch)
            if folder is None:
                continue
            if change.ended:
                self._folders.drop(folder)
                del self._paths[change.watch]
                self._watcher.remove(change.watch)
                self.changed = True
            elif change.name:
                path = os.path.join(folder, os.fsdecode(change.name))
                if change.deleted and _may_be_input(os.path.basename(path)):
                    self.deleted.add(path)
                if change.written or change.deleted:
                    self._closed.pop(path, None)
                    self._open.pop(path, None)
                self._take(path, whole=change.whole, touched=change.touched)
        if not self._open:
            self.check_at = None
        elif self.check_at is not None and time.monotonic() >= self.check_at:
            self._check_open()

    def _take(self, path: str, *, whole: bool, touched: bool) -> None:
        try:
            status = os.lstat(path)
        except OSError:  # deleted or renamed
            self.changed = True
            if path in self._folders.shut:  # no other event tells
                self._folders.drop(path)
            return
        if stat.S_ISDIR(status.st_mode):
            self.changed = self._folders.appear(path) or self.changed
        elif _may_be_input(os.path.basename(path)):
            self.changed = True
            if not stat.S_ISREG(status.st_mode):
                return
            identity = FileIdentity.of(status)
            before = self._closed.get(path)
            # File managers set the dates of a copy after they have closed it.
            is_same = before is not None and (before.inode, before.size) == (
                identity.inode,
                identity.size,
            )
            if whole or (touched and is_same):
                _put(self._closed, path, identity)
                self._open.pop(path, None)
                # An event may be old: another program may have opened the file since.
                if _writer_of(path, identity) is True:
                    self._check_later(path, identity)
                else:
                    self._note_closed(identity)

    def _check_later(self, path: str, identity: FileIdentity) -> None:
        _put(self._open, path, identity)
        self.check_at = self.check_at or time.monotonic()

    def _check_open(self) -> None:
        """Note those files as closed that no program has open for writing any more.

        Linux reports a close before the file counts as closed: ext4 writes a file in between that
        was overwritten. That moment may last for seconds, and no other event follows.
        """
        begun = time.monotonic()
        for path, identity in list(self._open.items()):
            is_same = identity_at(path) == identity
            if is_same and _writer_of(path, identity) is True:
                continue
            del self._open[path]
            if is_same:  # otherwise another event is to come, or has come
                self._note_closed(identity)
                self.changed = True
        now = time.monotonic()
        pause = max(timings().watch_ask, _CHECK_SHARE * (now - begun))
        self.check_at = now + pause if self._open else None

    def _is_of_this_run(self, identity: FileIdentity) -> bool:
        """Return whether a file was written to since the start, by its dates.

        The clock may have been set since, so its present time is not used.
        """
        begun, at = self._begun
        dates = identity.mtime_ns, identity.ctime_ns
        return begun <= min(dates) and max(dates) <= begun + time.monotonic_ns() - at

    def _note_files_of(
        self, folder: str, only: Callable[[FileIdentity], bool] = lambda identity: True
    ) -> None:
        """Note the files of a directory as closed that no program has open for writing.

        Args:
            folder: its path.
            only: returns whether a file is one of those.
        """
        try:
            names = [name for name in os.listdir(folder) if _may_be_input(name)]
        except OSError:
            return
        for name in names:
            path = os.path.join(folder, name)
            identity = identity_at(path)
            if identity is None or not only(identity):
                continue
            written_to = _writer_of(path, identity)
            if written_to is None:
                continue
            _put(self._closed, path, identity)  # its dates may be set now
            if written_to:
                self._check_later(path, identity)
            else:
                self._note_closed(identity)


def _put(files: dict[str, FileIdentity], path: str, identity: FileIdentity) -> None:
    files[path] = identity
    if len(files) > _MOST_CLOSED:
        del files[next(iter(files))]


def _writer_of(path: str, identity: FileIdentity) -> bool | None:
    """Return whether a program has a file open for writing, according to a lease.

    True also if it has changed; None if that cannot be determined.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        written_to = has_writer(fd)
        return True if FileIdentity.of(os.fstat(fd)) != identity else written_to
    finally:
        os.close(fd)


def _may_be_input(name: str) -> bool:
    encoded = os.fsencode(name)
    return (
        has_disc_ending(encoded)
        or is_archive(encoded)
        or is_cue_name(name)
        or Volumes(encoded).may_be_split
    )
