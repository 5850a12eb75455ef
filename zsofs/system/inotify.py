"""Notification of changes in the source.

inotify reports changes in directories; the mount table reports disks that come and go.
"""

import errno
import fcntl
import logging
import os
import select
import struct
import termios
from collections.abc import Callable, Iterable, Iterator, Sequence
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
_EVENT = struct.Struct("iIII")
"""Head of an event in inotify(7): watch, mask, cookie, length of the name with its padding."""

_ENDED = flags.IGNORED | flags.UNMOUNT | flags.DELETE_SELF | flags.MOVE_SELF
_WHOLE = flags.CLOSE_WRITE | flags.MOVED_TO
_KINDS = (_ENDED, _WHOLE, int(flags.DELETE), int(flags.MODIFY), int(flags.ATTRIB))
"""Masks of the last fields of `Change`."""


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


def read_events(inotify: INotify) -> Iterable[tuple[int, int, bytes]]:
    """Return the events since the last call: watch number, mask and name. Never blocks.

    Of equal events, only the last is returned. A program that changes two files by turns fills the
    kernel's queue (16,384 events) many times a second, and the kernel merges only neighbors.
    """
    available = struct.pack("i", 0)
    (length,) = struct.unpack("i", fcntl.ioctl(inotify, termios.FIONREAD, available))
    data = os.read(inotify.fileno(), length) if length else b""
    events: dict[tuple[int, int, bytes], None] = {}
    end = 0
    while end < len(data):
        watch, mask, _, padded = _EVENT.unpack_from(data, end)
        begin = end + _EVENT.size
        end = begin + padded
        event = (watch, mask, data[begin:end].rstrip(b"\0"))
        events.pop(event, None)
        events[event] = None
    return events


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
        """Yield the changes since the last call; of equal events, only the last counts."""
        for watch, mask, name in () if self._inotify is None else read_events(self._inotify):
            if mask & flags.Q_OVERFLOW:
                yield Change(None)
            else:
                yield Change(watch, name, *(bool(mask & one) for one in _KINDS))


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
