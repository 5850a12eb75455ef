"""Watches on single files: whether anybody wrote to a file since it was first read.

A watch is on the file itself (its inode), not on a name of it, so it also reports writes through
another hard link, through another mount, and after a rename. inotify reports ``write``,
``truncate``, ``fallocate`` and ``copy_file_range`` as IN_MODIFY before they return. It does not
report stores to a mapping (inotify(7), Limitations), and not every kernel reports writes by the
loop driver or native AIO. All of those need the file open for writing, and the end of the last
descriptor or mapping is reported as IN_CLOSE_WRITE. So "nobody wrote" needs neither event, and no
writer at the moment.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from inotify_simple import INotify, flags

log = logging.getLogger(__name__)

_MOST_KEPT = 1000
"""Watches beyond that are kept only while the kernel knows the files: a user has some 8,000 on old
kernels, and directories need them, too."""

_WANTED = flags.MODIFY | flags.CLOSE_WRITE


@dataclass(eq=False, slots=True)
class FileWatch:
    """What is known of writes to one file since its watch began.

    Attributes:
        ctime_ns: change time with which the content is known to be the one first read.
        number: inotify's number of the watch; None if the file is not watched, or not any more.
        alone: whether only this machine's kernel can change the file.
        dated: whether its file system has change times of their own, which cannot be set.
        written: whether the content is another one now, whatever the file's times are.
        closed: whether a program that could write to the file closed it.
    """

    ctime_ns: int
    number: int | None
    alone: bool
    dated: bool
    written: bool = False
    closed: bool = False

    @property
    def sees_all(self) -> bool:
        """Whether no write goes unseen."""
        return self.number is not None and self.alone

    @property
    def is_clean(self) -> bool:
        """Whether nobody wrote to the file, as far as the events say that were taken."""
        return self.sees_all and not (self.written or self.closed)


class FileWatcher:
    """Watches files. :meth:`add` is for threads, the rest for the event loop, and never waits."""

    def __init__(self) -> None:
        self._inotify: INotify | None = None
        self._watches: dict[int, set[FileWatch]] = {}
        self._adding = 0
        self._added: set[int] = set()
        self._early: dict[int, int] = {}
        self._lost_early = False
        self._has_begun = False

    def close(self) -> None:
        """End all watches."""
        inotify, self._inotify = self._inotify, None
        if inotify is not None:
            inotify.close()

    @property
    def is_crowded(self) -> bool:
        """Whether watches that are not needed should be released."""
        return len(self._watches) > _MOST_KEPT

    @contextmanager
    def adding(self) -> Iterator[None]:
        """The context in which watches are added and claimed; what is not claimed ends with it."""
        self._adding += 1
        self._begin()
        try:
            yield
        finally:
            self._adding -= 1
            if not self._adding:
                for number in self._added - self._watches.keys():
                    self._remove(number)
                self._added.clear()
                self._early.clear()
                self._lost_early = False

    def _begin(self) -> None:
        if self._has_begun:
            return
        self._has_begun = True
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:  # the watcher of directories says it louder
            log.info("cannot watch open files: %s", error.strerror)

    def add(self, fd: int) -> int | None:
        """Watch the open file *fd*. May wait for a disk.

        Returns:
            The watch's number, the same for each descriptor of one file and never used again;
            None if the file cannot be watched.
        """
        inotify = self._inotify
        if inotify is None:
            return None
        try:
            number = int(inotify.add_watch(f"/proc/self/fd/{fd}", _WANTED))
        except OSError:
            return None
        self._added.add(number)
        return number

    def claim(self, watch: FileWatch) -> None:
        """Have *watch* receive the events of its number, also those since it was added."""
        self.take()
        if watch.number is None:
            return
        self._watches.setdefault(watch.number, set()).add(watch)
        missed = self._early.get(watch.number, 0)
        if self._lost_early:
            missed |= flags.IGNORED
        if missed:
            self._tell(watch.number, missed)

    def release(self, watch: FileWatch) -> None:
        """Nobody wants *watch* any more."""
        if watch.number is None:
            return
        watches = self._watches.get(watch.number, set())
        watches.discard(watch)
        if not watches:
            self._watches.pop(watch.number, None)
            self._remove(watch.number)
        watch.number = None

    def take(self) -> None:
        """Take all events that are there."""
        if self._inotify is None:
            return
        for number, mask, _, _ in self._inotify.read(timeout=0):
            if mask & flags.Q_OVERFLOW:
                for lost in list(self._watches):
                    self._tell(lost, flags.IGNORED)
                self._lost_early = self._adding > 0
                log.info(
                    "inotify events were lost; open files are not watched until they are"
                    " opened again"
                )
                continue
            if self._adding:  # the number may be that of a watch that is not claimed yet, too
                self._early[number] = self._early.get(number, 0) | mask
            if number in self._watches:
                self._tell(number, mask)

    def _tell(self, number: int, mask: int) -> None:
        watches = self._watches[number]
        for watch in watches:
            watch.closed = watch.closed or bool(mask & flags.CLOSE_WRITE)
            watch.written = watch.written or bool(mask & flags.MODIFY)
            watch.written = watch.written or (watch.closed and not watch.dated)
            if mask & flags.IGNORED:
                watch.number = None
        if mask & (flags.IGNORED | flags.MODIFY):  # after a write nothing more is of interest
            for watch in watches:
                watch.number = None
            del self._watches[number]
            self._remove(number)

    def _remove(self, number: int) -> None:
        if self._inotify is None:
            return
        try:
            self._inotify.rm_watch(number)
        except OSError:  # the kernel has removed it itself
            return
