"""The mount as a share for Open PS2 Loader: discs in DVD and CD, whose names say all OPL wants."""

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
    """All folders of the source as one collection. For the event loop."""

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
        """Make the view.

        Args:
            library: the nodes.
            follower: looks at the source.
            disc_counts: counts what is found.
            differ: called with what the kernel must forget.
            workers: for what takes the processor long.
            titles: of games, by normal id.
            store: where names that were given are kept for the next mount.
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
        """Look at the whole source, and arrange anew what has changed, until cancelled."""
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

    async def up_to_date(self, folder: Folder) -> None:
        """Make sure that *folder* has a listing, as new as can be had without a long wait.

        Raises:
            OSError or ZsofsError: none can be had.
        """
        if folder.shown_path in _ARRANGED:
            await self._bring_up_to_date()
            if folder.children is None:
                self._show(folder)
            return
        path = folder.entry.path
        source = self._collection.folders.get(path)
        if source is None:  # one that a symlink leads to
            source = self._collection.follow(path, folder.above, folder.entry.status.st_dev)
        await self._collection.up_to_date(source)
        if folder.children is None or self._folders.get(path) is not folder:
            self._folders[path] = folder  # a symlink may show the same one in another place
            self._update(folder, source)

    def doubt(self, node: Node) -> None:
        """Have the file looked into anew before *node* is listed again."""
        source = self._collection.folders.get(node.entry.path.rpartition(b"/")[0])
        if source is not None:
            self._collection.doubt(source, node.entry.name)

    def recount_untold(self) -> None:
        """Look for changes that were told by no event."""
        self._collection.recount_untold()

    # Changes

    def outdate(self, folder: Folder, name: bytes) -> None:
        """Have the file *name* of the source looked at anew before *folder* is listed again."""
        paths = [folder.entry.path]
        for path in self._shown_in(folder) if folder.shown_path in _ARRANGED else paths:
            source = self._collection.folders.get(path)
            if source is not None:
                source.outdate(name)

    def place(self, folder: Folder) -> bytes:
        """The folder of the source in which lies what is made in *folder*.

        For DVD and CD it is the source's own of that name, else one that is called `dvd` or so.
        """
        if folder.shown_path not in DISC_FOLDERS:
            return folder.entry.path
        return next(iter(self._shown_in(folder)), folder.shown_path)  # capitals come first

    def lacks(self, folder: Folder) -> bool:
        """Whether that one has to be made first."""
        return folder.shown_path in DISC_FOLDERS and not self._shown_in(folder)

    def why_not(self, folder: Folder, name: bytes, kind: Kind) -> str:
        """Why nothing of that name and kind can be made in *folder*; empty if it can."""
        if folder.shown_path in DISC_FOLDERS and kind is Kind.FOLDER:
            return "DVD and CD show no directories"
        if not folder.shown_path and name.upper() in DISC_FOLDERS:
            return "DVD and CD contain only discs"
        return ""

    def did(self, folder: Folder, place: Place, entry: Entry | None, at: float) -> None:
        """What *folder* shows of *place* is *entry* since the time *at*, or is deleted."""
        self._arrangement.did(place, entry)
        source = self._collection.folders.get(place.folder)
        if source is None and folder.shown_path in DISC_FOLDERS:  # the first in a new DVD or CD
            root = self._collection.folders[b""]
            source = self._collection.follow(place.folder, root.above, root.device)
        if source is not None:
            source.did(place.name, entry, at)

    # The collection

    async def _bring_up_to_date(self) -> None:
        if self._arrangement.layout is None:
            await self._collection.see_first()
        else:
            with trio.move_on_after(timings().stale_listing):
                await self._collection.check()
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
                self._collection.outdated.set()  # so that the next one sees what has changed
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
        for path in paths:  # what no look has seen
            shown = self._collection.folders.get(path)
            if shown is not None:
                entries = shown.listing.with_own(entries)
        # And what one has seen since the layout was made.
        entries = self._arrangement.with_own(entries, paths)
        begun = self._arrangement.begun(paths)
        self._differ(self._library.update(folder, status, entries, begun))
        for node in (self._library.root.children or {}).values():
            if isinstance(node, Folder) and node.shown_path in DISC_FOLDERS:
                node.changed_ns = self._arrangement.changed_ns[node.shown_path]
                node.attributes = None

    def _shown_in(self, folder: Folder) -> list[bytes]:
        """Folders of the source whose files, beside discs, an arranged one shows."""
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
