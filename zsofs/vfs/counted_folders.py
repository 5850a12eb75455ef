"""The directories that are followed for the discs in them, and the count of these."""

from collections.abc import Collection, Iterator

from zsofs.source.disc_state import Count
from zsofs.vfs.disc_counts import DiscCounts
from zsofs.vfs.folder_state import SourceFolder
from zsofs.vfs.follower import Follower


class CountedFolders:
    """Directories of the source by path, as far as others lead to them. For the event loop."""

    def __init__(self, follower: Follower, disc_counts: DiscCounts, *, are_shown: bool) -> None:
        """Make one that looks by *follower* and tells *disc_counts* what is found.

        *are_shown* says whether the mount shows what is found here. Then a directory that nothing
        leads to is listed for nobody else, and discs that were found count for as long as they are
        shown, although their directory may not be read any more.
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
        """Return the directory *path*; None if it is not followed."""
        return self._folders.get(path)

    def has(self, folder: SourceFolder) -> bool:
        """Whether *folder* is the one that is followed for its path."""
        return self._folders.get(folder.path) is folder

    def follow(self, path: bytes, above: frozenset[bytes], device: int) -> SourceFolder:
        """Follow a directory; *above* are the paths of those above it."""
        folder = self._folders[path] = self._follower.folder(path, above, device)
        return folder

    def drop(self, folder: SourceFolder) -> None:
        """Follow a directory no more that nothing leads to."""
        del self._folders[folder.path]
        if self._are_shown or not folder.is_listed:
            self._follower.drop(folder)

    def count(self, path: bytes, found: Count, directories: Collection[bytes]) -> None:
        """Note what a look at a directory has found, as of :meth:`DiscCounts.take`."""
        gone = self._disc_counts.take(path, found, directories)
        for one in gone:
            folder = self._folders.get(one)
            if folder is not None:
                self.drop(folder)
        self._follower.forget(gone)

    def doubt_untold(self) -> list[SourceFolder]:
        """Return the directories in which changes may have been told by no event, to be recounted.

        The count is not complete before they are.
        """
        untold = [folder for folder in self._folders.values() if folder.is_untold]
        for folder in untold:
            folder.outdate()
            self._disc_counts.doubt(folder.path)
        return untold

    async def recount(self, folder: SourceFolder) -> None:
        """Look at a directory without haste, if anything in it may have changed."""
        try:
            await self._follower.look_unhurriedly(folder)
        except Exception:
            self.take_failure(folder)
            raise
        self.take_failure(folder)

    def take_failure(self, folder: SourceFolder) -> None:
        """Make do with what is known of a directory if the last look at it has failed."""
        if isinstance(folder.error, PermissionError) and not self._are_shown:
            self.count(folder.path, Count(), ())  # nor can its discs be opened
        elif folder.error is not None:
            self._disc_counts.give_up(folder.path)
