"""Source directories that are followed to count the discs in them."""

from collections.abc import Collection, Iterator

from zsofs.source.disc_state import Count
from zsofs.vfs.disc_counts import DiscCounts
from zsofs.vfs.folder_state import SourceFolder
from zsofs.vfs.follower import Follower


class CountedFolders:
    """Reachable directories of the source, by path. For the event loop."""

    def __init__(self, follower: Follower, disc_counts: DiscCounts, *, are_shown: bool) -> None:
        """Create it.

        Args:
            follower: scans the directories.
            disc_counts: receives the counts.
            are_shown: whether the view shows the listings kept here. If so, an unreachable
                directory has no other user, and its discs are counted for as long as they are
                shown, even if the directory is no longer readable.
        """
        self._follower = follower
        self._disc_counts = disc_counts
        self._are_shown = are_shown
        self._folders: dict[bytes, SourceFolder] = {}

    def __getitem__(self, path: bytes) -> SourceFolder:
        return self._folders[path]

    def __iter__(self) -> Iterator[SourceFolder]:
        return iter(list(self._folders.values()))

    def get(self, path: bytes) -> SourceFolder | None:
        """Return the directory *path*, or None if it is not followed."""
        return self._folders.get(path)

    def has(self, folder: SourceFolder) -> bool:
        """Return whether *folder* is the one followed for its path."""
        return self._folders.get(folder.path) is folder

    def follow(self, path: bytes, above: frozenset[bytes], device: int) -> SourceFolder:
        """Start following a directory; *above* are the paths of its parents."""
        folder = self._folders[path] = self._follower.folder(path, above, device)
        return folder

    def drop(self, folder: SourceFolder) -> None:
        """Stop following a directory that is no longer reachable."""
        del self._folders[folder.path]
        if self._are_shown or not folder.is_listed:
            self._follower.drop(folder)

    def count(self, path: bytes, found: Count, directories: Collection[bytes]) -> None:
        """Record the result of a scan; see :meth:`DiscCounts.take`."""
        gone = self._disc_counts.take(path, found, directories)
        for one in gone:
            folder = self._folders.get(one)
            if folder is not None:
                self.drop(folder)
        self._follower.forget(gone)

    def doubt_untold(self) -> list[SourceFolder]:
        """Mark and return the directories whose changes may not be reported by events.

        The count is incomplete until they are scanned again.
        """
        untold = [folder for folder in self._folders.values() if folder.is_untold]
        for folder in untold:
            folder.outdate()
            self._disc_counts.doubt(folder.path)
        return untold

    async def recount(self, folder: SourceFolder) -> None:
        """Scan a directory at low priority, if anything in it may have changed."""
        try:
            await self._follower.look_unhurriedly(folder)
        except Exception:
            self.take_failure(folder)
            raise
        self.take_failure(folder)

    def take_failure(self, folder: SourceFolder) -> None:
        """Use the previous count of a directory if its last scan failed."""
        if isinstance(folder.error, PermissionError) and not self._are_shown:
            self.count(folder.path, Count(), ())  # nor can its discs be opened
        elif folder.error is not None:
            self._disc_counts.give_up(folder.path)
