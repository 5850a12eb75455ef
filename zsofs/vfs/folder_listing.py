"""What is known to be in one folder of the source."""

from collections.abc import Mapping
from dataclasses import replace

from zsofs.formats.file_names import may_be_disc
from zsofs.source.entry import Entry, Kind
from zsofs.source.scan_result import ScanResult
from zsofs.source.tree import Place
from zsofs.vfs.own_changes import OwnChanges
from zsofs.vfs.present import Presentation, folders_in


class FolderListing:
    """What the looks at a folder found, with what was done in it through the mount since.

    Attributes:
        known: what the last look found; of a reduced listing, what is left of it; None before the
            first look.
        shown: how that is shown; None before the first look, and where the listing was reduced.
        error: why the last look failed, if it did.
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
        """What the last look found; None before the first, and where it was reduced."""
        return None if self.shown is None else self.known

    def take(self, found: ScanResult, shown: Presentation) -> bool:
        """Take what a look found; whether that is anything else than before."""
        changed = self.found is None or self.found.entries != found.entries
        self.known, self.shown, self.error = found, shown, None
        self._own.forget_before(found.begun)
        self._apply_own()
        return changed

    def did(self, name: bytes, entry: Entry | None, at: float) -> None:
        """Take what was done through the mount: *name* is *entry* now, or is deleted.

        A look that began before *at* may not have seen it, and does not undo it.
        """
        self._own.add(Place(self._path, name), entry, at)
        self._apply_own()

    def with_own(self, entries: Mapping[bytes, Entry]) -> Mapping[bytes, Entry]:
        """*entries* after what was done through the mount and no look has seen yet."""
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

    def reduce(self) -> None:
        """Keep what spares the next look work: folders, symlinks and likely discs.

        Most files of a large source that is no library of discs are neither.
        """
        if self.found is not None:
            entries = {
                name: entry
                for name, entry in self.found.entries.items()
                if entry.kind in (Kind.FOLDER, Kind.LINK) or may_be_disc(name)
            }
            self.known = replace(self.found, entries=entries)
        self.shown = None
