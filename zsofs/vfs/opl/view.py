"""The mount as a share for Open PS2 Loader: discs in DVD and CD, under the names OPL expects."""

import logging
from collections.abc import Callable, Mapping

import trio

from zsofs.reading.tasks import in_background
from zsofs.reading.worker_threads import WorkerThreads
from zsofs.source.entry import Entry, Kind
from zsofs.source.tree import Place
from zsofs.timings import timings
from zsofs.vfs.disc_counts import DiscCounts
from zsofs.vfs.folder_state import SourceFolder
from zsofs.vfs.follower import Follower
from zsofs.vfs.inodes import Differences, Inodes
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.opl.arrangement import Arrangement
from zsofs.vfs.opl.collection import Collection
from zsofs.vfs.opl.given_names import NameStore
from zsofs.vfs.opl.layout import DISC_FOLDERS, disc_sources

log = logging.getLogger(__name__)

_ARRANGED = frozenset((b"", *DISC_FOLDERS))


class OplView:
    """All directories of the source as one collection. For the event loop."""

    def __init__(
        self,
        library: Inodes,
        follower: Follower,
        disc_counts: DiscCounts,
        differ: Callable[[Differences], None],
        workers: WorkerThreads,
        titles: Mapping[str, str],
        store: NameStore,
    ) -> None:
        """Create the view.

        Args:
            library: the inode table.
            follower: scans the source.
            disc_counts: receives the counts.
            differ: called with invalidations for the kernel.
            workers: threads for long computations.
            titles: titles of games, by normal id.
            store: storage of the assigned names for the next mount.
        """
        self._library = library
        self._differ = differ
        self._collection = Collection(follower, disc_counts)
        self._arrangement = Arrangement(workers, titles, store)
        self._arranging = trio.Lock()
        self._folders: dict[bytes, Folder] = {}
        self._nursery: trio.Nursery | None = None
        library.dropped = self._dropped
        follower.changed = self._changed

    async def serve(self) -> None:
        """Scan the whole source, and compute the layout again after changes, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._collection.start(nursery, self._library.root.entry.status.st_dev)
            while True:
                await self._collection.outdated.wait()
                await self._collection.seen_enough.wait()
                await trio.sleep(timings().gather_changes)
                try:
                    await self._arrange()
                except Exception:
                    log.exception("internal error in zsofs: the discs keep their old names")

    async def up_to_date(self, folder: Folder, patience: int = 1) -> None:
        """Make sure that *folder* has a listing; see :meth:`View.up_to_date`.

        Raises:
            OSError or ZsofsError: none is available.
        """
        if folder.shown_path in _ARRANGED:
            await self._bring_up_to_date(patience)
            if folder.children is None:
                self._show(folder)
            return
        path = folder.entry.path
        source = self._collection.folders.get(path)
        if source is None:  # the target of a symlink
            source = self._collection.follow(path, folder.above, folder.entry.status.st_dev)
        await self._collection.up_to_date(source, patience)
        if folder.children is None or self._folders.get(path) is not folder:
            self._folders[path] = folder  # a symlink may show the same directory elsewhere
            self._update(folder, source)

    def doubt(self, node: Node) -> None:
        """Make sure that the file is inspected again before *node* is listed."""
        source = self._collection.folders.get(node.entry.path.rpartition(b"/")[0])
        if source is not None:
            self._collection.doubt(source, node.entry.name)

    def recount_untold(self) -> None:
        """Search for changes that no event reports."""
        self._collection.recount_untold()

    # Changes

    def outdate(self, folder: Folder, name: bytes) -> None:
        """Make sure that the source file *name* is scanned again before *folder* is listed."""
        paths = [folder.entry.path]
        for path in self._shown_in(folder) if folder.shown_path in _ARRANGED else paths:
            source = self._collection.folders.get(path)
            if source is not None:
                source.outdate(name)

    def place(self, folder: Folder) -> bytes:
        """Return the source directory for files created in *folder*.

        For DVD and CD it is the source's own directory of that name, in any case.
        """
        if folder.shown_path not in DISC_FOLDERS:
            return folder.entry.path
        return next(iter(self._shown_in(folder)), folder.shown_path)  # capitals come first

    def lacks(self, folder: Folder) -> bool:
        """Return whether that directory has to be created first."""
        return folder.shown_path in DISC_FOLDERS and not self._shown_in(folder)

    def why_not(self, folder: Folder, name: bytes, kind: Kind) -> str:
        """Return why this name and kind cannot be created in *folder*; empty if it can."""
        if folder.shown_path in DISC_FOLDERS and kind is Kind.FOLDER:
            return "DVD and CD show no directories"
        if not folder.shown_path and name.upper() in DISC_FOLDERS:
            return "DVD and CD contain only discs"
        return ""

    def did(self, folder: Folder, place: Place, entry: Entry | None, at: float) -> None:
        """Apply a change: *folder* shows *entry* for *place* since the time *at*; None: deleted."""
        self._arrangement.did(place, entry)
        source = self._collection.folders.get(place.folder)
        if source is None and folder.shown_path in DISC_FOLDERS:  # the first in a new DVD or CD
            root = self._collection.folders[b""]
            source = self._collection.follow(place.folder, root.above, root.device)
        if source is not None:
            source.did(place.name, entry, at)

    # The collection

    async def _bring_up_to_date(self, patience: int) -> None:
        if self._arrangement.layout is None:
            await self._collection.see_first()
        else:
            with trio.move_on_after(timings().stale_listing * patience):
                await self._collection.check(patience)
        if self._arrangement.layout is None or self._collection.outdated.is_set():
            await self._arrange()

    async def _arrange(self) -> None:
        async with self._arranging:
            if self._arrangement.layout is not None and not self._collection.outdated.is_set():
                return
            root = self._library.root
            try:
                new, gone = await self._arrangement.renew(
                    self._collection.found(), root.entry.status
                )
            except BaseException:
                self._collection.outdated.set()  # so that the next call retries
                raise
            if (new or gone) and self._nursery is not None:
                self._nursery.start_soon(in_background, self._arrangement.keep_names, new, gone)
            self._collection.seen_enough.set()
            for folder in (root, *(root.children or {}).values()):
                if isinstance(folder, Folder) and folder.shown_path in _ARRANGED:
                    self._show(folder)

    def _show(self, folder: Folder) -> None:
        layout = self._arrangement.layout
        if layout is None:
            return
        entries = layout.discs.get(folder.shown_path, layout.root)
        source = self._collection.folders.get(folder.entry.path)
        found = source.found if source is not None else None
        status = found.status if found is not None else folder.entry.status
        paths = self._shown_in(folder)
        for path in paths:  # changes that no scan has seen
            shown = self._collection.folders.get(path)
            if shown is not None:
                entries = shown.listing.with_own(entries)
        # Changes that a scan has seen since the layout was computed.
        entries = self._arrangement.with_own(entries, paths)
        begun = self._arrangement.begun(paths)
        self._differ(self._library.update(folder, status, entries, begun))
        for node in (self._library.root.children or {}).values():
            if isinstance(node, Folder) and node.shown_path in DISC_FOLDERS:
                node.changed_ns = self._arrangement.changed_ns[node.shown_path]
                node.attributes = None

    def _shown_in(self, folder: Folder) -> list[bytes]:
        """Return the source directories whose other files the OPL directory *folder* shows."""
        if not folder.shown_path:
            return [b""]
        top = self._collection.folders[b""].entries or {}
        return [path for path, shown in disc_sources(top).items() if shown == folder.shown_path]

    def _changed(self, source: SourceFolder) -> None:
        if source.shown is None:
            return
        self._collection.take(source)
        folder = self._folders.get(source.path)
        if folder is not None and self._library.is_current(folder) and folder.children is not None:
            self._update(folder, source)

    def _update(self, folder: Folder, source: SourceFolder) -> None:
        found, shown = source.found, source.shown
        if found is not None and shown is not None:
            entries = {
                name: entry
                for name, entry in shown.entries.items()
                if not (entry.followed and entry.path in folder.above)
            }
            self._differ(self._library.update(folder, found.status, entries, found.begun))

    def _dropped(self, folder: Folder) -> None:
        if self._folders.get(folder.entry.path) is folder:
            del self._folders[folder.entry.path]
