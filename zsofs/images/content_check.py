"""Check by its change time whether an open file still has the content that was opened.

A program can restore size and modification time after a change (``rsync --inplace --times``, a
patcher), but not the change time (ctime). chmod, chown, link, rename and setxattr also set ctime,
and must not interrupt reads: Samba stores DOS attributes in an extended attribute.
"""

import hashlib
import os
import time
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from zsofs.errors import SourceChangedError, SourceTouchedError
from zsofs.system.file_lease import has_writer

if TYPE_CHECKING:  # its inotify takes a fifth of the start of a command that watches nothing
    from zsofs.system.file_watch import FileWatch

NEVER = -(1 << 63)
"""A change time that no file has; with it, each read consults :class:`ContentCheck`."""

_COARSE_CLOCK = 5
"""CLOCK_REALTIME_COARSE of Linux, the clock of file time stamps; it advances once per tick."""

_TICK_NS = 1_000_000
_GRANULARITIES = ((1_000_000_000, 2_000_000_000), (10_000_000, 10_000_000))
"""In ns: a time stamp that is a multiple of the first number may be from a file system with the
resolution of the second one: 1 s (ext4 with small inodes, HFS+) or 2 s (FAT); 10 ms (exFAT)."""

_LONGEST_RENAME = 0.05
"""Seconds after which a rename that has set the change time has set the name as well."""

_MOST_ATTRIBUTES = 64
"""A file with more extended attributes is not compared by them."""

_WRITTEN = "the file was modified or truncated after it was opened"
_UNEXPLAINED = (
    "the file may have been modified after it was opened: its change time (ctime) is new, but"
    " its mode, owner, links, name and attributes are the same; open it again"
)


def seconds_until_settled(ctime_ns: int) -> float:
    """Return the seconds until a write would set a change time other than *ctime_ns*; usually 0.

    Before that, two contents can have the same size and times. Data read afterwards can only be
    of the later one.
    """
    margin = next((most for unit, most in _GRANULARITIES if ctime_ns % unit == 0), _TICK_NS)
    if ctime_ns > time.time_ns() + margin:
        return 0.0  # of the far future, which is no problem: the next one will be of today
    # Since Linux 6.13 time stamps also come from the exact clock, which is ahead of the coarse one,
    # by up to 7 ms with a tick of 4 ms. So the coarse clock cannot tell which are of the future.
    return max(ctime_ns + margin - time.clock_gettime_ns(_COARSE_CLOCK), 0) / 1e9


def ctime_mark(ctime_ns: int) -> int:
    """Return a change time truncated to 64 bits, as the native code compares it."""
    return (ctime_ns + (1 << 63)) % (1 << 64) - (1 << 63)


class KnownState(NamedTuple):
    """The state of an open file in which its content is known to be the one that was opened.

    Attributes:
        ctime_ns: its change time, truncated to 64 bits.
        rights: mode, owner, group and link count.
        name: its path; None if it is unknown, or not needed.
        attributes: digests of its extended attributes; None if they are unknown, or not needed.
    """

    ctime_ns: int
    rights: tuple[int, int, int, int]
    name: str | None
    attributes: dict[str, bytes] | None


class ContentCheck:
    """Judges changes of the change time of one open file.

    Attributes:
        watch: reports writes to the file.
        gone: why the content is no longer the one that was opened; empty while it is.
        known: the last state in which it was.
    """

    def __init__(
        self,
        fd: int,
        status: os.stat_result,
        watch: "FileWatch",
        take: Callable[[], None],
        *,
        asks_always: bool = False,
    ) -> None:
        """Start with a file as it was opened. May wait for a disk.

        Args:
            fd: file descriptor.
            status: its fstat after *watch* was added.
            watch: reports writes to the file.
            take: makes *watch* receive pending events.
            asks_always: whether each read must be judged, even if the change time is unchanged.
        """
        self.watch = watch
        self.gone = ""
        self._asks_always = asks_always or not watch.dated
        self._take = take
        self._fd = fd
        self._size = status.st_size, status.st_mtime_ns
        self._lock = Lock()
        self.known = KnownState(
            ctime_mark(status.st_ctime_ns),
            _rights(status),
            None if watch.sees_all else _name(fd),
            None if watch.sees_all else _attributes(fd),
        )

    @property
    def ctime_ns(self) -> int:
        """The change time for which the content is known to be the one that was opened."""
        return self.known.ctime_ns

    @property
    def expected_ctime(self) -> int:
        """The change time for which a read needs no check; NEVER if each read needs one."""
        return NEVER if self._asks_always or self.gone else self.known.ctime_ns

    def verdict(self, touched: SourceTouchedError) -> bool | None:
        """Return whether the content is still the one opened; None: the file must be examined.

        For the event loop; it does not wait for a disk. *touched* is the state of the file after
        the bytes were read.
        """
        watch = self.watch
        is_dated_anew = touched.ctime_ns != self.known.ctime_ns
        # Before the events are taken: a writer that has ended since has left its event by then.
        being_written = is_dated_anew and watch.sees_all and has_writer(self._fd)
        self._take()
        if self.gone or watch.written or being_written:
            return False
        if not is_dated_anew:
            return True
        if not watch.sees_all:
            return None
        # Until a change time is settled, a write may leave it unchanged: each read is checked.
        if not watch.closed and not seconds_until_settled(touched.ctime_ns):
            self.known = self.known._replace(ctime_ns=touched.ctime_ns, rights=touched.rights)
        return not watch.closed

    def is_explained(self, touched: SourceTouchedError, known: KnownState) -> bool:
        """Return whether an operation other than a write explains the change time.

        May wait for a disk.

        Args:
            touched: the state of the file after the bytes were read.
            known: the value of :attr:`known` when :meth:`verdict` was asked. Another read may have
                had the same change explained meanwhile.
        """
        with self._lock:
            now = self._state(touched)
            if not _explains(now, known):
                # A rename sets the change time before the name (Linux, vfs_rename).
                time.sleep(min(seconds_until_settled(touched.ctime_ns), _LONGEST_RENAME))
                now = self._state(touched)
                if not _explains(now, known):
                    return False
            # A later change has set the name too early for this change time.
            is_current = ctime_mark(os.fstat(self._fd).st_ctime_ns) == touched.ctime_ns
            is_settled = not seconds_until_settled(touched.ctime_ns)
            if is_current and is_settled and self.known is known:
                self.known = now
            return True

    def _state(self, touched: SourceTouchedError) -> KnownState:
        """Return the state with the name and the attributes that the file has now."""
        return KnownState(touched.ctime_ns, touched.rights, _name(self._fd), _attributes(self._fd))

    def give_up(self, *, written: bool) -> SourceChangedError:
        """Record permanently that the content is gone; return the reason as an error.

        *written* is whether size or modification time have shown it.
        """
        is_known = written or self.watch.written or self.watch.sees_all
        self.gone = self.gone or (_WRITTEN if is_known else _UNEXPLAINED)
        return SourceChangedError(self.gone)

    def look(self) -> SourceTouchedError:
        """Return the present state of the file, for :meth:`verdict`. May wait for a disk.

        Raises:
            SourceChangedError: its size or modification time differ.
        """
        status = os.fstat(self._fd)
        if (status.st_size, status.st_mtime_ns) != self._size:
            raise self.give_up(written=True)
        return SourceTouchedError(ctime_mark(status.st_ctime_ns), _rights(status), None)


def _explains(now: KnownState, known: KnownState) -> bool:
    """Return whether something else than the content and the change time differs."""
    return (
        now.rights != known.rights
        or _differ(now.name, known.name)
        or _differ(now.attributes, known.attributes)
    )


def _rights(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid, status.st_nlink


def _name(fd: int) -> str | None:
    """Return the path of an open file."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return None


def _attributes(fd: int) -> dict[str, bytes] | None:
    """Return digests of the extended attributes of an open file; None if they are unavailable."""
    try:
        names = os.listxattr(fd)
        if len(names) > _MOST_ATTRIBUTES:
            return None
        return {name: hashlib.sha256(os.getxattr(fd, name)).digest() for name in names}
    except OSError:
        return None


def _differ(one: object, other: object) -> bool:
    """Return whether two values are both known and differ."""
    return one is not None and other is not None and one != other
