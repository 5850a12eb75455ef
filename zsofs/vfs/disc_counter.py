"""Count of the discs of a source from the start of its mount, even if nothing is listed."""

from collections import deque

import trio

from zsofs.reading.tasks import in_background
from zsofs.vfs.counted_folders import CountedFolders
from zsofs.vfs.disc_counts import DiscCounts
from zsofs.vfs.folder_state import SourceFolder, Use
from zsofs.vfs.follower import Follower


class DiscCounter:
    """Counts the discs in every directory of the source. For the event loop.

    It scans one directory at a time per device. A directory that the view lists as well is shared
    with the view; of the others, it keeps only what the next scan needs.
    """

    def __init__(self, follower: Follower, disc_counts: DiscCounts) -> None:
        """Create it; *follower* scans, *disc_counts* receives the counts."""
        self._follower = follower
        self._counted = CountedFolders(follower, disc_counts, are_shown=False)
        self._queues: dict[int, deque[SourceFolder]] = {}
        self._queued: set[SourceFolder] = set()
        self._nursery: trio.Nursery | None = None
        follower.defer = self._queue

    async def serve(self, device: int) -> None:
        """Count until cancelled; *device* is that of the source directory, as far as known."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._follow(b"", frozenset(), device)
            await trio.sleep_forever()

    def adopt(self, path: bytes, above: frozenset[bytes]) -> SourceFolder | None:
        """Hand the directory *path* to the view; None if the view needs one of its own.

        *above* are the paths of this directory and its parents. Behind a symlink they differ, so
        that other symlinks are loops.
        """
        folder = self._counted.get(path)
        if folder is None or folder.is_listed or folder.above != above:
            return None
        folder.use = Use.LISTED
        if folder.is_untold or not folder.is_fresh:
            folder.listing.forget()  # nothing tells how long ago that was right
        return folder

    def release(self, folder: SourceFolder) -> None:
        """Take *folder* back from the view, which no longer lists it."""
        if self._counted.has(folder):
            folder.use = Use.COUNTED
            folder.listing.reduce()
        else:
            self._follower.drop(folder)

    def take(self, folder: SourceFolder) -> None:
        """Record the result of a scan of *folder*."""
        if not self._counted.has(folder) or folder.shown is None:
            return
        shown = folder.shown
        self._counted.count(folder.path, shown.count, shown.searched.keys())
        for path, device in shown.searched.items():
            child = self._counted.get(path)
            if child is None:
                self._follow(path, folder.above, device)
            elif child.error is not None:  # it may be readable now
                child.outdate()
                self._queue(child)
        if not folder.is_listed:
            folder.listing.reduce()

    def recount_untold(self) -> None:
        """Scan the directories again whose changes may not be reported by events."""
        for folder in self._counted.doubt_untold():
            self._queue(folder)

    def _follow(self, path: bytes, above: frozenset[bytes], device: int) -> None:
        folder = self._counted.follow(path, above, device)
        folder.use = Use.COUNTED
        self._queue(folder)

    def _queue(self, folder: SourceFolder) -> None:
        if folder in self._queued or self._nursery is None:
            return
        self._queued.add(folder)
        queue = self._queues.get(folder.device)
        if queue is None:
            queue = self._queues[folder.device] = deque()
            self._nursery.start_soon(self._work_off, folder.device, queue)
        queue.append(folder)

    async def _work_off(self, device: int, queue: deque[SourceFolder]) -> None:
        while queue:
            folder = queue.popleft()
            self._queued.discard(folder)
            await in_background(self._counted.recount, folder)
        del self._queues[device]
