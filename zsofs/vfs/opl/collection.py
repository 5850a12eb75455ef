"""All source directories as one collection of discs, followed from the start of the mount."""

import math
from contextlib import suppress

import trio

from zsofs.reading.tasks import in_background
from zsofs.source.scan_result import ScanResult
from zsofs.timings import timings
from zsofs.vfs.counted_folders import CountedFolders
from zsofs.vfs.disc_counts import DiscCounts
from zsofs.vfs.folder_state import SourceFolder
from zsofs.vfs.follower import Follower


class Collection:
    """The directories of the source. For the event loop.

    Attributes:
        folders: the directories by path.
        seen_enough: set once every known directory was scanned, or the wait for it timed out.
        outdated: set if a scan has ended since the last call of :meth:`found`.
    """

    def __init__(self, follower: Follower, disc_counts: DiscCounts) -> None:
        """Create it; *follower* scans, *disc_counts* receives the counts."""
        self.folders = CountedFolders(follower, disc_counts, are_shown=True)
        self.seen_enough = trio.Event()
        self.outdated = trio.Event()
        self._follower = follower
        self._unseen: set[bytes] = set()
        self._check_at = -math.inf
        self._nursery: trio.Nursery | None = None

    def start(self, nursery: trio.Nursery, device: int) -> None:
        """Start following the source, whose st_dev is *device* if known."""
        self._nursery = nursery
        self.follow(b"", frozenset(), device)

    def follow(self, path: bytes, above: frozenset[bytes], device: int) -> SourceFolder:
        """Start following a directory; *above* are the paths of its parents."""
        folder = self.folders.follow(path, above, device)
        self._unseen.add(path)
        assert self._nursery is not None
        self._nursery.start_soon(self._see, folder)
        return folder

    async def _see(self, folder: SourceFolder) -> None:
        """Scan a directory for the first time; :meth:`take` follows its subdirectories."""
        with suppress(Exception):  # already logged
            await self._follower.up_to_date(folder)
        path = folder.path
        self.folders.take_failure(folder)
        is_current = self.folders.has(folder)
        if is_current or self.folders.get(path) is None:
            self._unseen.discard(path)
        gone = folder.found is None and isinstance(folder.error, FileNotFoundError)
        if path and is_current and gone:  # before it was seen
            self.folders.drop(folder)
        if not self._unseen:
            self.seen_enough.set()

    async def see_first(self) -> None:
        """Wait for the first scans, with a timeout.

        Raises:
            OSError or ZsofsError: the source itself cannot be listed.
        """
        with trio.move_on_after(timings().first_opl_listing):
            await self.seen_enough.wait()
        root = self.folders[b""]
        if root.found is None:
            await self._follower.up_to_date(root)

    async def check(self, patience: int) -> None:
        """Scan changed directories, and once a second all directories that are not fresh.

        Args:
            patience: see :meth:`Follower.up_to_date`; a patient caller also waits for the scans
                in progress, which may have taken the changes that it knows.
        """
        changed = self._follower.changed_folders()
        if trio.current_time() >= self._check_at:
            self._check_at = trio.current_time() + timings().trust_unwatched
            # The first scan of a directory is done by _see(), without a timeout.
            changed = [
                folder
                for folder in self.folders
                if not (folder.is_fresh or (folder.found is None and folder.look is not None))
            ]
        if patience > 1:
            changed += [
                folder
                for folder in self.folders
                if folder.look is not None and folder.found is not None and folder not in changed
            ]
        async with trio.open_nursery() as nursery:
            for folder in changed:
                nursery.start_soon(self._look_again, folder, patience)

    async def _look_again(self, folder: SourceFolder, patience: int) -> None:
        with suppress(Exception):
            await self._follower.up_to_date(folder, patience)

    async def up_to_date(self, folder: SourceFolder, patience: int) -> None:
        """Bring one directory up to date; see :meth:`Follower.up_to_date`."""
        await self._follower.up_to_date(folder, patience)

    def doubt(self, folder: SourceFolder, name: bytes) -> None:
        """Make sure that the file *name* is inspected again before the next listing."""
        folder.doubt(name)
        self._check_at = -math.inf

    def recount_untold(self) -> None:
        """Search for changes that no event reports."""
        assert self._nursery is not None
        for folder in self.folders.doubt_untold():
            self._nursery.start_soon(in_background, self.folders.recount, folder)

    def take(self, folder: SourceFolder) -> None:
        """Record the result of a scan of *folder*, and follow its subdirectories."""
        if folder.shown is None:
            return
        self.folders.count(folder.path, folder.shown.count, folder.shown.folders.keys())
        for path, device in folder.shown.folders.items():
            if self.folders.get(path) is None:
                self.follow(path, folder.above, device)
        self.outdated.set()

    def found(self) -> dict[bytes, ScanResult]:
        """Return the last scan result of each directory, by path."""
        if self.outdated.is_set():
            self.outdated = trio.Event()
        return {folder.path: folder.found for folder in self.folders if folder.found is not None}
