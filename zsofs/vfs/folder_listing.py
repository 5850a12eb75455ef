"""Known contents of one directory of the source."""

from collections.abc import Mapping
from dataclasses import replace

from zsofs.formats.file_names import may_be_disc
from zsofs.source.entry import Entry, Kind
from zsofs.source.scan_result import ScanResult
from zsofs.source.tree import Place
from zsofs.vfs.own_changes import OwnChanges
from zsofs.vfs.present import Presentation, folders_in

_ALWAYS_KEPT = (Kind.FOLDER, Kind.LINK)
"""Kinds of entries that :meth:`FolderListing.reduce` keeps, whatever their names are."""


class FolderListing:
    """Result of the last scan of a directory, with later changes made through the mount.

    Attributes:
        known: the last scan's result, possibly reduced; None before the first scan.
        shown: its presentation; None before the first scan, if *known* was reduced, and after
            :meth:`forget`.
        error: the error of the last scan; None if it succeeded.
    """

    __slots__ = ("_own", "_path", "error", "known", "shown")

    def __init__(self, path: bytes) -> None:
        self.known: ScanResult | None = None
        self.shown: Presentation | None = None
        self.error: Exception | None = None
        self._path = path
        self._own = OwnChanges()

    @property
    def found(self) -> ScanResult | None:
        """The complete result of the last scan; None before the first and if it was reduced."""
        return None if self.shown is None else self.known

    def take(self, found: ScanResult, shown: Presentation) -> bool:
        """Replace the listing by the result of a scan; return whether the entries changed."""
        changed = self.found is None or self.found.entries != found.entries
        self.known, self.shown, self.error = found, shown, None
        self._own.forget_before(found.begun)
        self._apply_own()
        return changed

    def did(self, name: bytes, entry: Entry | None, at: float) -> None:
        """Apply a change made through the mount: *name* is now *entry*; None: deleted.

        A scan that began before *at* may not have seen the change, and does not undo it.
        """
        self._own.add(Place(self._path, name), entry, at)
        self._apply_own()

    def with_own(self, entries: Mapping[bytes, Entry]) -> Mapping[bytes, Entry]:
        """Return *entries* with the changes made through the mount that no scan has seen yet."""
        return self._own.applied_to(entries, (self._path,))

    def _apply_own(self) -> None:
        if self.known is None or self.shown is None or not self._own:
            return
        self.known = replace(self.known, entries=self.with_own(self.known.entries))
        self.shown = replace(
            self.shown,
            entries=self.with_own(self.shown.entries),
            folders=folders_in(self.known.entries),
        )

    def forget(self) -> None:
        """Drop the listing of a directory that is deleted, or too old to be shown."""
        self.shown = None

    def reduce(self) -> None:
        """Keep only what saves work in the next scan: directories, symlinks and likely discs.

        This saves memory: in a large source that is not a disc library, most files are none of
        these. A listing of nothing else stays complete: another scan for the first request would
        cost more than its names. (An empty one would save nothing.)
        """
        found = self.found
        if found is None:
            self.shown = None
            return
        entries = {
            name: entry
            for name, entry in found.entries.items()
            if entry.kind in _ALWAYS_KEPT or may_be_disc(name)
        }
        if not entries or len(entries) < len(found.entries):
            self.known, self.shown = replace(found, entries=entries), None
