"""Notification of changes in the source.

inotify reports changes in directories; the mount table reports disks that come and go.
"""

import errno
import logging
import os
import select
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from inotify_simple import INotify, flags

from zsofs.system.mountinfo import Mounted, mounts_around, table_fd

log = logging.getLogger(__name__)

_WANTED = (
    flags.CREATE
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.MODIFY
    | flags.CLOSE_WRITE
    | flags.ATTRIB
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
    | flags.EXCL_UNLINK
)
_ENDED = flags.IGNORED | flags.UNMOUNT | flags.DELETE_SELF | flags.MOVE_SELF
_WHOLE = flags.CLOSE_WRITE | flags.MOVED_TO


@dataclass(frozen=True, slots=True)
class Change:
    """A change in a watched directory.

    Attributes:
        watch: the watch number; None if events were lost and any directory may have changed.
        name: name of the entry that changed; empty for the directory itself.
        ended: whether the directory was moved or deleted, so that the watch no longer covers the
            path.
        whole: True after IN_CLOSE_WRITE or IN_MOVED_TO: the file is no longer being written.
        deleted: True after IN_DELETE.
        written: True after IN_MODIFY.
        touched: True after IN_ATTRIB: its attributes have changed, such as dates.
    """

    watch: int | None
    name: bytes = b""
    ended: bool = False
    whole: bool = False
    deleted: bool = False
    written: bool = False
    touched: bool = False


class Watcher:
    """Watches directories. :meth:`add` is for threads, the rest for the event loop.

    Methods for the event loop never block.
    """

    def __init__(self) -> None:
        self._inotify: INotify | None = None
        self._told_full = False
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:
            log.warning(
                "changes appear a second or two later, because inotify cannot be used (%s);"
                " raise the limit of inotify instances with: sudo sysctl"
                " fs.inotify.max_user_instances=1024",
                error.strerror,
            )

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when there are events; None without inotify."""
        return None if self._inotify is None else int(self._inotify.fileno())

    def close(self) -> None:
        """Close all watches."""
        if self._inotify is not None:
            self._inotify.close()

    def add(self, fd: int) -> int | None:
        """Watch an open directory from now on. May wait for a disk.

        Returns:
            The watch number, which is the same for all descriptors of a directory and never reused;
            None if this directory cannot be watched.
        """
        if self._inotify is None:
            return None
        try:
            return int(self._inotify.add_watch(f"/proc/self/fd/{fd}", _WANTED))
        except OSError as error:
            if error.errno == errno.ENOSPC and not self._told_full:
                self._told_full = True
                log.warning(
                    "the system's limit of inotify watches is reached; changes in other"
                    " directories appear a second or two later; raise the limit with: sudo sysctl"
                    " fs.inotify.max_user_watches=524288"
                )
            return None

    def remove(self, watch: int) -> None:
        """Remove a watch, if it still exists."""
        if self._inotify is None:
            return
        try:
            self._inotify.rm_watch(watch)
        except OSError:  # the directory was deleted
            return

    def changes(self) -> Iterator[Change]:
        """Yield the changes since the last call."""
        events = [] if self._inotify is None else self._inotify.read(timeout=0)
        for watch, mask, _, name in events:
            if mask & flags.Q_OVERFLOW:
                yield Change(None)
            else:
                kinds = (_ENDED, _WHOLE, flags.DELETE, flags.MODIFY, flags.ATTRIB)
                yield Change(watch, os.fsencode(name), *(bool(mask & one) for one in kinds))


class MountWatcher:
    """Reports mounts and unmounts on the path to a directory or inside it."""

    def __init__(self, directories: Callable[[], Sequence[bytes]]) -> None:
        """Create it.

        Args:
            directories: returns real paths: the source, and other directories that symlinks in it
                lead to.
        """
        self._directories = directories
        self._table = table_fd()
        # The table is always readable; only its priority events signal changes. An epoll instance
        # converts them to a descriptor that an event loop can wait for.
        self._epoll = select.epoll()
        self._epoll.register(self._table, select.EPOLLPRI | select.EPOLLET)
        self._mounts = self._around()

    def fileno(self) -> int:
        """Return a descriptor that is readable after any mount or unmount."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Close the descriptors."""
        self._epoll.close()
        os.close(self._table)

    def have_changed(self) -> bool:
        """Return whether mounts relevant to the source have changed since the last call."""
        self._epoll.poll(0)
        before, self._mounts = self._mounts, self._around()
        return before != self._mounts

    def _around(self) -> list[list[Mounted]]:
        return [mounts_around(path) for path in self._directories()]
