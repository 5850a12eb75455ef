"""The mount as a share for Open PS2 Loader: discs in DVD and CD, whose names say all OPL wants."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import trio

from zsofs.console.text import for_people
from zsofs.reading.tasks import in_background
from zsofs.reading.worker_threads import COMPUTING, OPL_NAMES, WorkerThreads
from zsofs.source.entry import Entry, Kind
from zsofs.source.tree import Place
from zsofs.timings import timings
from zsofs.vfs.disc_counts import Census
from zsofs.vfs.folder_state import SourceFolder
from zsofs.vfs.follower import Follower
from zsofs.vfs.inodes import Differences, Inodes
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.opl.given_names import GivenNames, NameStore
from zsofs.vfs.opl.layout import DISC_FOLDERS, OplLayout, arrange, disc_sources

log = logging.getLogger(__name__)

_ARRANGED = frozenset((b"", *DISC_FOLDERS))

_Done = tuple[Place, Entry | None]
"""What was done through the mount: this place is that now, or nothing."""


class OplView:
    """All folders of the source as one collection. For the event loop."""

    def __init__(
        self,
        library: Inodes,
        follower: Follower,
        census: Census,
        differ: Callable[[Differences], None],
        workers: WorkerThreads,
        titles: Mapping[str, str],
        store: NameStore,
    ) -> None:
        """Make the view.

        Args:
            library: the nodes.
            follower: looks at the source.
            census: counts what is found.
            differ: called with what the kernel must forget.
            workers: for what takes the processor long.
            titles: of games, by normal id.
            store: where names that were given are kept for the next mount.
        """
        self._library = library
        self._follower = follower
        self._census = census
        self._differ = differ
        self._workers = workers
        self._titles = titles
        self._store = store
        self._given = GivenNames(store)
        self._sources: dict[bytes, SourceFolder] = {}
        self._unseen: set[bytes] = set()
        self._seen_enough = trio.Event()
        self._folders: dict[bytes, Folder] = {}
        self._layout: OplLayout | None = None
        self._looked_at: dict[bytes, float] = {}
        self._done_since: list[_Done] = []
        self._done_meanwhile: list[_Done] = []
        self._changed_ns: dict[bytes, int] = {}
        self._outdated = trio.Event()
        self._arranging = trio.Lock()
        self._check_at = -math.inf
        self._nursery: trio.Nursery | None = None
        library.dropped = self._dropped
        follower.changed = self._changed

    async def serve(self) -> None:
        """Look at the whole source, and arrange anew what has changed, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            root = self._library.root
            self._follow(b"", frozenset(), root.entry.status.st_dev)
            while True:
                await self._outdated.wait()
                await self._seen_enough.wait()
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
            if folder.children is None and self._layout is not None:
                self._show(folder, self._layout)
            return
        path = folder.entry.path
        source = self._sources.get(path)
        if source is None:  # one that a symlink leads to
            source = self._follow(path, folder.above, folder.entry.status.st_dev)
        await self._follower.up_to_date(source)
        if folder.children is None or self._folders.get(path) is not folder:
            self._folders[path] = folder  # a symlink may show the same one in another place
            self._update(folder, source)

    def doubt(self, node: Node) -> None:
        """Have the file looked into anew before *node* is listed again."""
        source = self._sources.get(node.entry.path.rpartition(b"/")[0])
        if source is not None:
            source.doubt(node.entry.name)
            self._check_at = -math.inf

    # Changes

    def outdate(self, folder: Folder, name: bytes) -> None:
        """Have the file *name* of the source looked at anew before *folder* is listed again."""
        paths = [folder.entry.path]
        for path in self._shown_in(folder) if folder.shown_path in _ARRANGED else paths:
            if path in self._sources:
                self._sources[path].outdate(name)

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
        self._done_since.append((place, entry))
        self._done_meanwhile.append((place, entry))
        source = self._sources.get(place.folder)
        if source is None and folder.shown_path in DISC_FOLDERS:  # the first in a new DVD or CD
            root = self._sources[b""]
            source = self._follow(place.folder, root.above, root.device)
        if source is not None:
            source.did(place.name, entry, at)

    # The collection

    def _follow(self, path: bytes, above: frozenset[bytes], device: int) -> SourceFolder:
        source = self._sources[path] = self._follower.folder(path, above, device)
        self._unseen.add(path)
        assert self._nursery is not None
        self._nursery.start_soon(self._see, source)
        return source

    async def _see(self, source: SourceFolder) -> None:
        """The first look at a folder; :meth:`_changed` sees to those below it."""
        with suppress(Exception):  # the log has it
            await self._follower.up_to_date(source)
        path = source.path
        if source.error is not None:
            self._census.give_up(path)
        current = self._sources.get(path)
        if current is source or current is None:
            self._unseen.discard(path)
        gone = source.found is None and isinstance(source.error, FileNotFoundError)
        if path and current is source and gone:  # before it was seen
            del self._sources[path]
            self._follower.drop(source)
        if not self._unseen:
            self._seen_enough.set()

    async def _bring_up_to_date(self) -> None:
        if self._layout is None:
            with trio.move_on_after(timings().first_opl_listing):
                await self._seen_enough.wait()
            root = self._sources[b""]
            if root.found is None:
                await self._follower.up_to_date(root)
        else:
            with trio.move_on_after(timings().stale_listing):
                await self._check()
        if self._layout is None or self._outdated.is_set():
            await self._arrange()

    async def _check(self) -> None:
        """Look again at what has changed, and once a second at all folders that are not fresh."""
        changed = self._follower.changed_folders()
        if trio.current_time() >= self._check_at:
            self._check_at = trio.current_time() + timings().trust_unwatched
            # A folder that was never seen is looked at by _see(), however long that takes.
            changed = [
                source
                for source in self._sources.values()
                if not (source.is_fresh or (source.found is None and source.look is not None))
            ]
        async with trio.open_nursery() as nursery:
            for source in changed:
                nursery.start_soon(self._look_again, source)

    async def _look_again(self, source: SourceFolder) -> None:
        with suppress(Exception):
            await self._follower.up_to_date(source)

    def recount_untold(self) -> None:
        """Look for changes that were told by no event."""
        assert self._nursery is not None
        for source in self._sources.values():
            if source.is_untold:
                source.outdate()
                self._census.doubt(source.path)
                self._nursery.start_soon(self._recount, source)

    async def _recount(self, source: SourceFolder) -> None:
        with suppress(Exception):
            await self._follower.look_unhurriedly(source)
        if source.error is not None:
            self._census.give_up(source.path)

    async def _arrange(self) -> None:
        async with self._arranging:
            if self._layout is not None and not self._outdated.is_set():
                return
            if self._outdated.is_set():
                self._outdated = trio.Event()
            root = self._library.root
            found = {
                path: source.found
                for path, source in self._sources.items()
                if source.found is not None
            }
            self._done_meanwhile = []
            collection = {path: one.entries for path, one in found.items()}
            try:
                layout = await self._workers.run(
                    COMPUTING,
                    arrange,
                    collection,
                    root.entry.status,
                    self._titles,
                    self._given.known,
                )
            except BaseException:
                self._outdated.set()  # so that the next one sees what has changed
                raise
            self._keep_names(layout)
            self._tell(layout)
            self._note_changes(layout)
            self._layout = layout
            self._looked_at = {path: one.begun for path, one in found.items()}
            self._done_since = self._done_meanwhile
            self._seen_enough.set()
            for folder in (root, *(root.children or {}).values()):
                if isinstance(folder, Folder) and folder.shown_path in _ARRANGED:
                    self._show(folder, layout)

    def _keep_names(self, layout: OplLayout) -> None:
        new, gone = self._given.take(layout.names)
        if (new or gone) and self._nursery is not None:
            run, keep = self._workers.run, self._store.keep_opl_names
            self._nursery.start_soon(in_background, run, OPL_NAMES, keep, new, gone)

    def _note_changes(self, layout: OplLayout) -> None:
        """Date DVD and CD: OPL lists them again when their dates have changed.

        The discs lie in other folders, whose dates nobody sees.
        """
        before = self._layout
        for folder, entries in layout.discs.items():
            if before is None:
                files = (entry.status.st_ctime_ns for entry in entries.values())
                self._changed_ns[folder] = max(files, default=0)
            elif entries.keys() != before.discs[folder].keys():
                self._changed_ns[folder] = time.time_ns()

    def _tell(self, layout: OplLayout) -> None:
        """Log what is new about discs that cannot be shown as they are."""
        before = self._layout
        for path, reason in layout.left_out.items():
            if before is None or before.left_out.get(path) != reason:
                log.info("%s: %s", for_people(path), reason)
        for path, name in layout.shortened.items():
            if before is None or before.shortened.get(path) != name:
                log.warning(
                    "%s: the title is too long for OPL and was shortened: %s",
                    for_people(path),
                    name,
                )

    def _show(self, folder: Folder, layout: OplLayout) -> None:
        entries = layout.discs.get(folder.shown_path, layout.root)
        source = self._sources.get(folder.entry.path)
        found = source.found if source is not None else None
        status = found.status if found is not None else folder.entry.status
        paths = self._shown_in(folder)
        for path in paths:  # what no look has seen
            if path in self._sources:
                entries = self._sources[path].with_own(entries)
        entries = dict(entries)
        for place, entry in self._done_since:  # and what one has seen since the layout was made
            if place.folder not in paths:
                continue
            if entry is None:
                entries.pop(place.name, None)
            else:
                entries[place.name] = entry
        begun = min((self._looked_at.get(path, -math.inf) for path in paths), default=-math.inf)
        self._differ(self._library.update(folder, status, entries, begun))
        for node in (self._library.root.children or {}).values():
            if isinstance(node, Folder) and node.shown_path in DISC_FOLDERS:
                node.changed_ns = self._changed_ns[node.shown_path]
                node.attributes = None

    def _shown_in(self, folder: Folder) -> list[bytes]:
        """Folders of the source whose files, beside discs, an arranged one shows."""
        if not folder.shown_path:
            return [b""]
        top = self._sources[b""].entries or {}
        return [path for path, shown in disc_sources(top).items() if shown == folder.shown_path]

    def _changed(self, source: SourceFolder) -> None:
        found, shown = source.found, source.shown
        if found is None or shown is None:
            return
        gone = self._census.take(source.path, shown.count, shown.folders)
        for path in gone:
            if path in self._sources:
                self._follower.drop(self._sources.pop(path))
        self._follower.forget(gone)
        for path, device in shown.folders.items():
            if path not in self._sources:
                self._follow(path, source.above, device)
        self._outdated.set()
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
