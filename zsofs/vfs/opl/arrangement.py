"""The current OPL layout, with later changes made through the mount."""

import logging
import math
import os
import time
from collections.abc import Collection, Mapping

from zsofs.console.text import for_people
from zsofs.reading.worker_threads import COMPUTING, OPL_NAMES, WorkerThreads
from zsofs.source.entry import Entry
from zsofs.source.scan_result import ScanResult
from zsofs.source.tree import Place
from zsofs.vfs.opl.given_names import Given, GivenNames, NameStore
from zsofs.vfs.opl.layout import OplLayout, arrange
from zsofs.vfs.own_changes import OwnChanges

log = logging.getLogger(__name__)


class Arrangement:
    """The current OPL layout. For the event loop.

    Attributes:
        layout: the last layout; None before the first.
        changed_ns: mtime of DVD and CD, by shown path. OPL lists them again only if their mtime
            has changed, and the discs are in other source directories.
    """

    def __init__(self, workers: WorkerThreads, titles: Mapping[str, str], store: NameStore) -> None:
        """Create it.

        Args:
            workers: threads for long computations.
            titles: titles of games, by normal id.
            store: storage of the assigned names for the next mount.
        """
        self.layout: OplLayout | None = None
        self.changed_ns: dict[bytes, int] = {}
        self._workers = workers
        self._titles = titles
        self._store = store
        self._given = GivenNames(store)
        self._looked_at: dict[bytes, float] = {}
        self._own = OwnChanges()

    async def renew(
        self, found: Mapping[bytes, ScanResult], status: os.stat_result
    ) -> tuple[Mapping[bytes, Given], Collection[bytes]]:
        """Compute the layout again; not reentrant.

        Args:
            found: the last scan result of each directory, by path.
            status: status of the source directory.

        Returns:
            The new names, and the paths of dropped names, for :meth:`keep_names`.
        """
        begun = time.monotonic()  # later changes are not in *found*
        collection = {path: one.entries for path, one in found.items()}
        layout = await self._workers.run(
            COMPUTING, arrange, collection, status, self._titles, self._given.known
        )
        names = self._given.take(layout.names)
        self._tell(layout)
        self._note_changes(layout)
        self.layout = layout
        self._looked_at = {path: one.begun for path, one in found.items()}
        self._own.forget_before(begun)
        return names

    async def keep_names(self, new: Mapping[bytes, Given], gone: Collection[bytes]) -> None:
        """Store the assigned names for the next mount."""
        await self._workers.run(OPL_NAMES, self._store.keep_opl_names, new, gone)

    def did(self, place: Place, entry: Entry | None) -> None:
        """Apply a change made through the mount: *place* is now *entry*; None: deleted."""
        self._own.add(place, entry, time.monotonic())

    def with_own(
        self, entries: Mapping[bytes, Entry], folders: Collection[bytes]
    ) -> Mapping[bytes, Entry]:
        """Return *entries* with the changes in *folders* since the last layout applied."""
        return self._own.applied_to(entries, folders)

    def begun(self, folders: Collection[bytes]) -> float:
        """Return the start of the oldest scan of *folders* that the layout contains."""
        return min((self._looked_at.get(path, -math.inf) for path in folders), default=-math.inf)

    def _note_changes(self, layout: OplLayout) -> None:
        before = self.layout
        for folder, entries in layout.discs.items():
            if before is None:
                files = (entry.status.st_ctime_ns for entry in entries.values())
                self.changed_ns[folder] = max(files, default=0)
            elif entries.keys() != before.discs[folder].keys():
                self.changed_ns[folder] = time.time_ns()

    def _tell(self, layout: OplLayout) -> None:
        """Log discs that are newly left out, or shown under a shortened name."""
        before = self.layout
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
