"""All folders that are followed, and when each of them is to be looked at."""

import math
import time
from collections.abc import Collection, Iterator

import trio

from zsofs.vfs.folder_state import SourceFolder


class FollowedFolders:
    """Folders with the time at which each is due, by the monotonic clock. For the event loop."""

    def __init__(self) -> None:
        self._folders: set[SourceFolder] = set()
        self._due: dict[SourceFolder, float] = {}
        self._is_due_earlier = trio.Event()

    def __iter__(self) -> Iterator[SourceFolder]:
        return iter(list(self._folders))

    def add(self, folder: SourceFolder) -> None:
        """Follow a folder; it is not due before somebody has asked for it."""
        self._folders.add(folder)

    def remove(self, folder: SourceFolder) -> None:
        """Follow a folder no more."""
        self._folders.discard(folder)
        self._due.pop(folder, None)

    def set_due(self, folder: SourceFolder, due: float) -> None:
        """Have a folder looked at no later than *due*."""
        if folder.is_dropped or (folder.known is None and folder.path):
            return  # nobody has asked for it yet
        if due < self._due.get(folder, math.inf):
            self._due[folder] = due
            self._is_due_earlier.set()

    def outdate(self, folder: SourceFolder) -> None:
        """Have everything in a folder looked at again soon."""
        folder.outdate()
        self.set_due(folder, folder.due_after_change())

    def outdate_all(self) -> None:
        """Have all folders looked at again soon."""
        for folder in self._folders:
            self.outdate(folder)

    def at_or_below(self, paths: Collection[bytes]) -> list[SourceFolder]:
        """Return the folders at one of these paths, or below one."""
        found = []
        for folder in self._folders:
            path = folder.path
            while path and path not in paths:
                path = path.rpartition(b"/")[0]
            if path:
                found.append(folder)
        return found

    def changed(self) -> list[SourceFolder]:
        """Return the folders in which something is known to have changed since the last look."""
        return [folder for folder in self._due if folder.is_stale]

    async def next_due(self) -> list[SourceFolder]:
        """Wait until folders are due, and return them; they are due no more."""
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
    """A time of the monotonic clock as one of trio's."""
    return trio.current_time() + due - time.monotonic()
