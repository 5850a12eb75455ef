"""Files whose findings the scan cache does not have, because they may still change."""

from collections.abc import Mapping

from zsofs.source.entry import Entry, Kind
from zsofs.vfs.folder_state import SourceFolder


class UnsettledFiles:
    """Entries by directory: files that were just written, are being copied, or depend on others.

    For the event loop.

    Attributes:
        number: differs after each change.
    """

    def __init__(self) -> None:
        self.number = 0
        self._entries: dict[bytes, tuple[Entry, ...]] = {}

    def take(self, folder: SourceFolder) -> None:
        """Record the result of a scan of *folder*."""
        found = tuple(
            entry
            for entry in (folder.entries or {}).values()
            if not entry.settled and entry.kind in (Kind.DISC, Kind.FILE)
        )
        if found != self._entries.get(folder.path, ()):
            self.number += 1
            self._entries[folder.path] = found
        if not found:
            self._entries.pop(folder.path, None)

    def drop(self, folder: SourceFolder) -> None:
        """Forget *folder*, which is no longer followed."""
        if self._entries.pop(folder.path, None):
            self.number += 1

    def entries(self) -> Mapping[bytes, tuple[Entry, ...]]:
        """Return a copy of the entries by directory."""
        return dict(self._entries)
