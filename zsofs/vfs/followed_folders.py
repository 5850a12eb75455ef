"""Schedule of the followed directories: when each of them is scanned next."""

import math
import time
from collections.abc import Collection, Iterator

import trio

from zsofs.source.entry import Entry, Kind
from zsofs.source.scan_result import ScanResult
from zsofs.vfs.folder_state import SourceFolder


class FollowedFolders:
    """Followed directories and their due times (monotonic clock). For the event loop."""

    def __init__(self) -> None:
        self._folders: set[SourceFolder] = set()
        self._due: dict[SourceFolder, float] = {}
        self._is_due_earlier = trio.Event()

    def __iter__(self) -> Iterator[SourceFolder]:
        return iter(list(self._folders))

    def add(self, folder: SourceFolder) -> None:
        """Add a directory; it is not due before its first request."""
        self._folders.add(folder)

    def remove(self, folder: SourceFolder) -> None:
        """Remove a directory."""
        self._folders.discard(folder)
        self._due.pop(folder, None)

    def set_due(self, folder: SourceFolder, due: float) -> None:
        """Schedule a scan of a directory no later than *due*."""
        if folder.is_dropped or (folder.known is None and folder.path):
            return  # it was never requested
        if due < self._due.get(folder, math.inf):
            self._due[folder] = due
            self._is_due_earlier.set()

    def outdate(self, folder: SourceFolder) -> None:
        """Schedule a full scan of a directory."""
        folder.outdate()
        self.set_due(folder, folder.due_after_change())

    def outdate_all(self) -> None:
        """Schedule a full scan of all directories."""
        for folder in self._folders:
            self.outdate(folder)

    def known(self, path: bytes) -> SourceFolder | None:
        """Return a directory by its path, if it has been scanned; None otherwise."""
        found = (one for one in self._folders if one.path == path and one.known is not None)
        return next(found, None)

    def replaced(self, folder: SourceFolder, found: ScanResult) -> list[SourceFolder]:
        """Return the directories below *folder* whose paths lead to other directories now.

        inotify reports nothing for a directory that is moved together with its parent, or that a
        program keeps as its working directory.

        Args:
            folder: a directory.
            found: the result of a new scan of it.
        """
        replaced = set()
        for name, entry in (folder.entries or {}).items():
            now = found.entries.get(name)
            if entry.kind is Kind.FOLDER and (now is None or not _same_folder(entry, now)):
                replaced.add(entry.path)
        return self.at_or_below(replaced) if replaced else []

    def at_or_below(self, paths: Collection[bytes]) -> list[SourceFolder]:
        """Return the directories at or below one of these paths."""
        found = []
        for folder in self._folders:
            path = folder.path
            while path and path not in paths:
                path = path.rpartition(b"/")[0]
            if path:
                found.append(folder)
        return found

    def changed(self) -> list[SourceFolder]:
        """Return the directories with known changes since their last scan."""
        return [folder for folder in self._due if folder.is_stale]

    async def next_due(self) -> list[SourceFolder]:
        """Wait until directories are due, remove them from the schedule and return them."""
        while True:
            self._is_due_earlier = trio.Event()
            with trio.move_on_at(_loop_time(min(self._due.values(), default=math.inf))):
                await self._is_due_earlier.wait()
            now = time.monotonic()
            due = [folder for folder, at in self._due.items() if at <= now]
            for folder in due:
                del self._due[folder]
            if due:
                return due


def _loop_time(due: float) -> float:
    """Convert a time of the monotonic clock to trio's clock."""
    return trio.current_time() + due - time.monotonic()


def _same_folder(one: Entry, other: Entry) -> bool:
    return (one.path, one.status.st_dev, one.status.st_ino) == (
        other.path,
        other.status.st_dev,
        other.status.st_ino,
    )
