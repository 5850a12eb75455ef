"""The layout for OPL as of the last arrangement, and what was done through the mount since."""

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
    """Where everything lies now. For the event loop.

    Attributes:
        layout: where everything lies; None before the first arrangement.
        changed_ns: when DVD and CD last changed, by shown path. OPL lists them again only when
            their dates have changed, and the discs lie in other folders, whose dates nobody sees.
    """

    def __init__(self, workers: WorkerThreads, titles: Mapping[str, str], store: NameStore) -> None:
        """Make one.

        Args:
            workers: for what takes the processor long.
            titles: of games, by normal id.
            store: where names that were given are kept for the next mount.
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
        """Arrange anew, one call at a time.

        Args:
            found: what was found until now in each folder, by path.
            status: what stat says of the source.

        Returns:
            Names that are new, and the paths of those that are dropped, for :meth:`keep_names`.
        """
        begun = time.monotonic()  # what is done from now on is not in *found*
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
        """Keep the names that discs were given for the next mount."""
        await self._workers.run(OPL_NAMES, self._store.keep_opl_names, new, gone)

    def did(self, place: Place, entry: Entry | None) -> None:
        """Take what was done through the mount just now: *place* is *entry*, or is deleted."""
        self._own.add(place, entry, time.monotonic())

    def with_own(
        self, entries: Mapping[bytes, Entry], folders: Collection[bytes]
    ) -> Mapping[bytes, Entry]:
        """Return *entries* after what was done in *folders* since the last arrangement."""
        return self._own.applied_to(entries, folders)

    def begun(self, folders: Collection[bytes]) -> float:
        """Return when the oldest look at one of *folders* began that was arranged."""
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
        """Log what is new about discs that cannot be shown as they are."""
        before = self.layout
        for path, reason in layout.left_out.items():
            if before is None or before.left_out.get(path) != reason:
                log.info("%s: %s", for_people(path), reason)
        for path, name in layout.shortened.items():
            if before is None or before.shortened.get(path) != name:
                log.warning("%s: its title is too long for OPL: %s", for_people(path), name)
