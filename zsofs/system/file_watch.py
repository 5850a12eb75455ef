"""Watches on single files: whether a file was written to since it was first read.

A watch is on the inode, not on a name, so it also reports writes through another hard link, through
another mount, and after a rename. inotify reports ``write``,
``truncate``, ``fallocate`` and ``copy_file_range`` as IN_MODIFY before they return. It does not
report stores to a mapping (inotify(7), Limitations), and not every kernel reports writes by the
loop driver or native AIO. All of those need the file open for writing, and closing the last
descriptor or mapping is reported as IN_CLOSE_WRITE. So "nobody wrote" means neither event, and no
writer at present.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from inotify_simple import INotify, flags

from zsofs.system.inotify import read_events

log = logging.getLogger(__name__)

_MOST_KEPT = 1000
"""Watches beyond that are kept only while the kernel has the files open: a user has some 8,000
on old kernels, and directories need them as well."""

_WANTED = flags.MODIFY | flags.CLOSE_WRITE


@dataclass(eq=False, slots=True)
class FileWatch:
    """Writes to one file since its watch was added.

    Attributes:
        ctime_ns: change time for which the content is known to be the one first read.
        number: inotify watch number; None if the file is not, or no longer, watched.
        alone: whether only this machine's kernel can change the file.
        dated: whether its file system maintains change times that cannot be set.
        written: whether the content has changed, whatever the file's times are.
        closed: whether a program that could write to the file has closed it.
    """

    ctime_ns: int
    number: int | None
    alone: bool
    dated: bool
    written: bool = False
    closed: bool = False

    @property
    def sees_all(self) -> bool:
        """Whether every write is detected."""
        return self.number is not None and self.alone

    @property
    def is_clean(self) -> bool:
        """Whether nobody wrote to the file, according to the events received."""
        return self.sees_all and not (self.written or self.closed)


class FileWatcher:
    """Watches files. :meth:`add` is for threads, the rest for the event loop and non-blocking."""

    def __init__(self) -> None:
        self._inotify: INotify | None = None
        self._watches: dict[int, set[FileWatch]] = {}
        self._adding = 0
        self._added: set[int] = set()
        self._early: dict[int, int] = {}
        self._lost_early = False
        self._has_begun = False

    def close(self) -> None:
        """Close all watches."""
        inotify, self._inotify = self._inotify, None
        if inotify is not None:
            inotify.close()

    @property
    def is_crowded(self) -> bool:
        """Whether unneeded watches should be released."""
        return len(self._watches) > _MOST_KEPT

    @contextmanager
    def adding(self) -> Iterator[None]:
        """Context in which watches are added and claimed; unclaimed ones end with it."""
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
        except OSError as error:  # the directory watcher reports it
            log.info("cannot watch open files: %s", error.strerror)

    def add(self, fd: int) -> int | None:
        """Watch the open file *fd*. May wait for a disk.

        Returns:
            The watch number, which is the same for all descriptors of a file and never reused; None
            if the file cannot be watched.
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
        """Deliver events of its number to *watch*, including those since it was added."""
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
        """Release a watch that is no longer needed."""
        if watch.number is None:
            return
        watches = self._watches.get(watch.number, set())
        watches.discard(watch)
        if not watches:
            self._watches.pop(watch.number, None)
            if self._adding:  # a thread may just have received the same number for the same file
                self._added.add(watch.number)
            else:
                self._remove(watch.number)
        watch.number = None

    def take(self) -> None:
        """Process all pending events."""
        if self._inotify is None:
            return
        for number, mask, _ in read_events(self._inotify):
            if mask & flags.Q_OVERFLOW:
                for lost in list(self._watches):
                    self._tell(lost, flags.IGNORED)
                self._lost_early = self._adding > 0
                log.info(
                    "inotify events were lost; open files are not watched until they are"
                    " opened again"
                )
                continue
            if self._adding:  # the number may be that of a watch that is not claimed yet
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
        if mask & (flags.IGNORED | flags.MODIFY):  # after a write nothing else matters
            for watch in watches:
                watch.number = None
            del self._watches[number]
            self._remove(number)

    def _remove(self, number: int) -> None:
        if self._inotify is None:
            return
        try:
            self._inotify.rm_watch(number)
        except OSError:  # the kernel has already removed it
            return
