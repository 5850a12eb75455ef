"""Whether the content of an open file is still the one that was opened, judged by its change time.

Size and modification time can be put back by whoever changes a file (``rsync --inplace --times``, a
patcher); the change time (ctime) cannot. But chmod, chown, link, rename and setxattr also set it,
and must not end a stream: Samba stores DOS attributes in an extended attribute.
"""

import hashlib
import os
import time
from collections.abc import Callable

from zsofs.errors import SourceChangedError, SourceTouchedError
from zsofs.system.file_lease import has_writer
from zsofs.system.file_watch import FileWatch

NEVER = -(1 << 63)
"""A change time that no file has: with it, each read asks :class:`ContentCheck`."""

_COARSE_CLOCK = 5
"""CLOCK_REALTIME_COARSE of Linux, the clock of its time stamps; it advances once a tick."""

_TICK_NS = 1_000_000
_GRANULARITIES = ((1_000_000_000, 2_000_000_000), (10_000_000, 10_000_000))
"""In ns: a time stamp that is a multiple of the first number may be of a file system that rounds to
the second one: 1 s (ext4 with small inodes, HFS+) or 2 s (FAT); 10 ms (exFAT)."""

_MOST_ATTRIBUTES = 64
"""A file with more extended attributes than that has them for something else than a share."""

_WRITTEN = "the file was written to or cut after it had been opened"
_UNEXPLAINED = (
    "the file may have been written to after it had been opened: its change time is new, its mode,"
    " owner, links, name and attributes are the same; open it again"
)


def seconds_until_settled(ctime_ns: int) -> float:
    """How long until a write would give a file another change time than *ctime_ns*; mostly 0.

    Before that, two contents can have the same size and times. What is read once it is over
    can only be of the later one.
    """
    margin = next((most for unit, most in _GRANULARITIES if ctime_ns % unit == 0), _TICK_NS)
    if ctime_ns > time.time_ns() + margin:
        return 0.0  # of the far future, which is no problem: the next one will be of today
    # Since Linux 6.13 time stamps also come from the exact clock, which is ahead of the coarse one,
    # by up to 7 ms with a tick of 4 ms. So the coarse clock cannot tell which are of the future.
    return max(ctime_ns + margin - time.clock_gettime_ns(_COARSE_CLOCK), 0) / 1e9


def ctime_mark(ctime_ns: int) -> int:
    """The change time as :mod:`zsofs.native.block_reader` compares it: what 64 bits hold of it."""
    return (ctime_ns + (1 << 63)) % (1 << 64) - (1 << 63)


class ContentCheck:
    """Judges new change times of one open file.

    Attributes:
        watch: reports writes to the file.
        gone: why the content is not the one that was opened; empty while it is.
    """

    def __init__(
        self,
        fd: int,
        status: os.stat_result,
        watch: FileWatch,
        take: Callable[[], None],
        *,
        asks_always: bool = False,
    ) -> None:
        """Begin with a file as it was opened. May wait for a disk.

        Args:
            fd: its descriptor.
            status: what fstat said of it after *watch* had begun.
            watch: reports writes to it.
            take: has *watch* receive the events that are there.
            asks_always: whether each read is to be judged, also at an unchanged change time.
        """
        self.watch = watch
        self.gone = ""
        self._asks_always = asks_always or not watch.dated
        self._take = take
        self._fd = fd
        self._size = status.st_size, status.st_mtime_ns
        self._ctime = ctime_mark(status.st_ctime_ns)
        self._rights = _rights(status)
        self._name = None if watch.sees_all else _name(fd)
        self._attributes = None if watch.sees_all else _attributes(fd)

    @property
    def ctime_ns(self) -> int:
        """The change time with which the content is known to be the one that was opened."""
        return self._ctime

    @property
    def expected_ctime(self) -> int:
        """The change time at which a read need not ask; NEVER where each one has to."""
        return NEVER if self._asks_always or self.gone else self._ctime

    def verdict(self, touched: SourceTouchedError) -> bool | None:
        """Whether the content is the one that was opened; None if only the file itself can tell.

        For the event loop; it does not wait for a disk. *touched* is what the file was after the
        bytes were read.
        """
        watch = self.watch
        is_dated_anew = touched.ctime_ns != self._ctime
        # Before the events are taken: whoever is no writer any more has left its event by then.
        being_written = is_dated_anew and watch.sees_all and has_writer(self._fd)
        self._take()
        if self.gone or watch.written or being_written:
            return False
        if not is_dated_anew:
            return True
        if not watch.sees_all:
            return None
        if not watch.closed:
            self._expect(touched)
        return not watch.closed

    def is_explained(self, touched: SourceTouchedError) -> bool:
        """Whether something else than a write explains the new change time. May wait for a disk."""
        name, attributes = _name(self._fd), _attributes(self._fd)
        if (
            touched.rights == self._rights
            and not _differ(name, self._name)
            and not _differ(attributes, self._attributes)
        ):
            return False
        if self._expect(touched):
            self._name, self._attributes = name, attributes
        return True

    def _expect(self, touched: SourceTouchedError) -> bool:
        """Expect what the file is now, unless its new change time is not settled yet.

        Until then a write may leave that time as it is, so that each read has to ask again.
        """
        if seconds_until_settled(touched.ctime_ns):
            return False
        self._ctime, self._rights = touched.ctime_ns, touched.rights
        return True

    def give_up(self, *, written: bool) -> SourceChangedError:
        """Note that the content is gone, for good; why, as an error.

        *written* says whether size or modification time have told that.
        """
        is_known = written or self.watch.written or self.watch.sees_all
        self.gone = self.gone or (_WRITTEN if is_known else _UNEXPLAINED)
        return SourceChangedError(self.gone)

    def look(self) -> SourceTouchedError:
        """What the file is now, for :meth:`verdict`. May wait for a disk.

        Raises:
            SourceChangedError: it is another one by size or date.
        """
        status = os.fstat(self._fd)
        if (status.st_size, status.st_mtime_ns) != self._size:
            raise self.give_up(written=True)
        return SourceTouchedError(ctime_mark(status.st_ctime_ns), _rights(status), None)


def _rights(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid, status.st_nlink


def _name(fd: int) -> str | None:
    """The path of an open file."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return None


def _attributes(fd: int) -> dict[str, bytes] | None:
    """The extended attributes of an open file, as digests; None if they cannot be had."""
    try:
        names = os.listxattr(fd)
        if len(names) > _MOST_ATTRIBUTES:
            return None
        return {name: hashlib.sha256(os.getxattr(fd, name)).digest() for name in names}
    except OSError:
        return None


def _differ(one: object, other: object) -> bool:
    """Whether two things that are known differ."""
    return one is not None and other is not None and one != other
