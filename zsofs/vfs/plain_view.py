"""The plain layout: every directory of the source, with its discs under new names."""

from collections.abc import Callable

from zsofs.source.entry import Entry, Kind
from zsofs.source.tree import Place
from zsofs.vfs.disc_counter import DiscCounter
from zsofs.vfs.folder_state import SourceFolder
from zsofs.vfs.follower import Follower
from zsofs.vfs.inodes import Differences, Inodes
from zsofs.vfs.node import Folder, Node


class PlainView:
    """Each directory of the source as a directory of the mount. For the event loop."""

    def __init__(
        self,
        library: Inodes,
        follower: Follower,
        counter: DiscCounter,
        differ: Callable[[Differences], None],
    ) -> None:
        """Create the view.

        Args:
            library: the inode table.
            follower: scans the source.
            counter: counts discs, and follows directories that are not listed.
            differ: called with invalidations for the kernel.
        """
        self._library = library
        self._follower = follower
        self._counter = counter
        self._differ = differ
        self._sources: dict[int, SourceFolder] = {}
        self._folders: dict[SourceFolder, Folder] = {}
        library.dropped = self._dropped
        follower.changed = self._changed

    async def up_to_date(self, folder: Folder, patience: int = 1) -> None:
        """Make sure that *folder* has a listing; see :meth:`View.up_to_date`.

        Raises:
            OSError or ZsofsError: none is available.
        """
        source = self._sources.get(folder.serial)
        if source is None:
            entry = folder.entry
            source = self._counter.adopt(entry.path, folder.above)
            if source is None:
                source = self._follower.folder(entry.path, folder.above, entry.status.st_dev)
            self._sources[folder.serial] = source
            self._folders[source] = folder
        await self._follower.up_to_date(source, patience)
        if folder.children is None:  # the result could not be applied then
            self._changed(source)

    async def serve(self) -> None:
        """Count discs until cancelled."""
        await self._counter.serve(self._library.root.entry.status.st_dev)

    def recount_untold(self) -> None:
        """Search for changes that no event reports."""
        self._counter.recount_untold()

    def doubt(self, node: Node) -> None:
        """Make sure that the file is inspected again before *node* is listed."""
        if node.parent is not None:
            source = self._sources.get(node.parent.serial)
            if source is not None:
                source.doubt(node.entry.name)

    def outdate(self, folder: Folder, name: bytes) -> None:
        """Make sure that the source file *name* is scanned again before *folder* is listed."""
        source = self._sources.get(folder.serial)
        if source is not None:
            source.outdate(name)

    def place(self, folder: Folder) -> bytes:
        """Return the source directory for files created in *folder*."""
        return folder.entry.path

    def lacks(self, folder: Folder) -> bool:
        """Return whether that directory has to be created first."""
        return False

    def why_not(self, folder: Folder, name: bytes, kind: Kind) -> str:
        """Return why this name and kind cannot be created in *folder*; empty if it can."""
        return ""

    def did(self, folder: Folder, place: Place, entry: Entry | None, at: float) -> None:
        """Apply a change: *folder* shows *entry* for *place* since the time *at*; None: deleted."""
        source = self._sources.get(folder.serial)
        if source is not None:
            source.did(place.name, entry, at)

    def _changed(self, source: SourceFolder) -> None:
        self._counter.take(source)
        folder = self._folders.get(source)
        found, shown = source.found, source.shown
        if folder is None or found is None or shown is None:
            return
        if self._library.is_current(folder):
            self._differ(self._library.update(folder, found.status, shown.entries, found.begun))

    def _dropped(self, folder: Folder) -> None:
        source = self._sources.pop(folder.serial, None)
        if source is not None:
            del self._folders[source]
            self._counter.release(source)
