"""Which folder has which watch of the kernel, and the changes that come before that is known."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from zsofs.system.inotify import Change, Watcher
from zsofs.vfs.folder_state import SourceFolder

_MOST_KEPT = 4096
"""Changes, and watches that ended, that are kept for looks under way."""

_MOST_WATCHED_TO_COUNT = 8192
"""Folders that are watched before those are no more that only the count of discs is wanted of: the
system has a limit of watches, which this user's other programs need, too."""


class WatchRegistry:
    """Folders by the number of their watch. For the event loop, but for :meth:`add`.

    A thread begins a watch and lists the folder; only when it has ended does the loop learn the
    number. A change that is told in between would belong to nobody, so while any look is under way
    all changes are kept, and so are the numbers of watches that were ended meanwhile: the kernel
    gives a second look at the same folder the same number.
    """

    def __init__(self) -> None:
        self._watcher = Watcher()
        self._folders: dict[int, set[SourceFolder]] = {}
        self._looking = 0
        self._early: dict[Change, None] = {}
        self._removed: set[int] = set()

    def fileno(self) -> int | None:
        """A descriptor that is readable when there are changes; None where none are told."""
        return self._watcher.fileno()

    def close(self) -> None:
        """End all watches."""
        self._watcher.close()

    def add(self, folder: SourceFolder, fd: int) -> int | None:
        """Watch an open folder, if there may be one more watch. For a thread.

        Returns:
            The watch's number, for :meth:`assign`; None if the folder is not watched.
        """
        has_one = folder.watch is not None
        if folder.is_listed or has_one or len(self._folders) < _MOST_WATCHED_TO_COUNT:
            return self._watcher.add(fd)
        return None

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Keep changes for a look that is under way."""
        self._looking += 1
        try:
            yield
        finally:
            self._looking -= 1
            if not self._looking:
                self._forget()

    def _forget(self) -> None:
        self._early.clear()
        self._removed.clear()

    def changes(self) -> Iterator[Change]:
        """What has happened since the last call."""
        return self._watcher.changes()

    def keep(self, change: Change) -> bool:
        """Keep a change for the looks that are under way.

        Returns:
            False if there were too many, because a look hangs for long; none is kept then.
        """
        if not self._looking:
            return True
        self._early.pop(change, None)
        self._early[change] = None
        if len(self._early) + len(self._removed) <= _MOST_KEPT:
            return True
        self._forget()
        return False

    def folders(self, watch: int) -> Collection[SourceFolder]:
        """Return the folders that a watch tells of."""
        return list(self._folders.get(watch, ()))

    def has_ended(self, watch: int) -> bool:
        """Whether a watch that a look has begun was ended while that look was under way."""
        return watch in self._removed

    def assign(self, folder: SourceFolder, watch: int | None) -> list[Change]:
        """Note the number of the watch that a look has begun.

        Returns:
            The changes that this watch told of before.
        """
        is_new = watch != folder.watch
        if is_new:
            self.end(folder)
        if watch is None:
            return []
        folder.watch = watch
        self._folders.setdefault(watch, set()).add(folder)
        return [change for change in self._early if change.watch == watch] if is_new else []

    def end(self, folder: SourceFolder) -> None:
        """End the watch of a folder, if it has one."""
        watch, folder.watch = folder.watch, None
        if watch is None:
            return
        watchers = self._folders.get(watch, set())
        watchers.discard(folder)
        if not watchers:
            self._folders.pop(watch, None)
            self._watcher.remove(watch)
            if self._looking:
                self._removed.add(watch)
