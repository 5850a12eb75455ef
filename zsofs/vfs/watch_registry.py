"""Registry of inotify watches by directory, with events that arrive before registration."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from zsofs.system.inotify import Change, Watcher
from zsofs.vfs.folder_state import SourceFolder

_MOST_KEPT = 4096
"""Maximum number of events and removed watches kept for scans in progress."""

_MOST_WATCHED_TO_COUNT = 8192
"""Number of watches above which directories that are only counted are not watched: the system
limits the watches per user, and other programs need some."""


class WatchRegistry:
    """Directories by watch descriptor. For the event loop, except :meth:`add`.

    A thread adds a watch and lists the directory; the event loop learns the watch descriptor only
    when the scan has ended. So that no event in between is lost, all events are kept while any scan
    is in progress, and so are the descriptors of watches removed meanwhile: the kernel returns the
    same descriptor for a second watch of the same directory.
    """

    def __init__(self) -> None:
        self._watcher = Watcher()
        self._folders: dict[int, set[SourceFolder]] = {}
        self._looking = 0
        self._early: dict[Change, None] = {}
        self._removed: set[int] = set()

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when there are events; None without inotify."""
        return self._watcher.fileno()

    def close(self) -> None:
        """Remove all watches."""
        self._watcher.close()

    def add(self, folder: SourceFolder, fd: int) -> int | None:
        """Watch an open directory, unless the limit of watches is reached. For a thread.

        Returns:
            The watch descriptor, for :meth:`assign`; None if the directory is not watched.
        """
        has_one = folder.watch is not None
        if folder.is_listed or has_one or len(self._folders) < _MOST_WATCHED_TO_COUNT:
            return self._watcher.add(fd)
        return None

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Keep events for a scan in progress within the context."""
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
        """Return the events since the last call."""
        return self._watcher.changes()

    def keep(self, change: Change) -> bool:
        """Keep an event for the scans in progress.

        Returns:
            False if there are too many, because a scan hangs; then none is kept.
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
        """Return the directories of a watch descriptor."""
        return list(self._folders.get(watch, ()))

    def has_ended(self, watch: int) -> bool:
        """Return whether a watch was removed while the scan that added it was in progress."""
        return watch in self._removed

    def assign(self, folder: SourceFolder, watch: int | None) -> list[Change]:
        """Register the watch that a scan has added.

        Returns:
            The events of this watch until now.
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
        """Remove the watch of a directory, if it has one."""
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
