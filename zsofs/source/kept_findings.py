"""What the scan cache has of one directory, and what a scan of it has found anew."""

import logging
from collections.abc import Collection

from zsofs.formats.file_names import is_plain_image, is_undecided
from zsofs.images.source_file import Key
from zsofs.source.entry import Entry
from zsofs.source.finding import FileFinding
from zsofs.source.scan_cache import ScanCache

log = logging.getLogger(__name__)


class KeptFindings:
    """The findings of one directory, read when the first is asked for and written once.

    The scan cache is a convenience, which never costs a listing.
    """

    def __init__(self, catalog: ScanCache, path: bytes, *, identities: bool) -> None:
        """*identities* says whether a finding of a disc has to tell which one it is."""
        self._catalog = catalog
        self._path = path
        self._identities = identities
        self._known: dict[bytes, tuple[Key, FileFinding]] | None = None
        self._new: list[tuple[bytes, Key, FileFinding]] = []

    def finding(self, entry: Entry) -> FileFinding | None:
        """What an earlier mount found in this very content."""
        if self._known is None:
            self._known = {}
            try:
                self._known = self._catalog.folder(self._path)
            except Exception:
                log.exception("a bug in zsofs: the catalog could not be read")
        key, finding = self._known.get(entry.name, (None, None))
        if key != entry.key or finding is None:
            return None
        wanted = is_undecided(entry.name) or (
            self._identities
            and (finding.disc is not None or finding.right_ending or is_plain_image(entry.name))
        )
        return None if wanted and finding.identity is None else finding

    def add(self, entry: Entry, finding: FileFinding) -> None:
        """Keep what was found in a file."""
        self._new.append((entry.name, entry.key, finding))

    def store(self, names: Collection[bytes] | None, gone: list[bytes]) -> None:
        """Write what is new.

        Args:
            names: all names in the directory; None if only some were looked at.
            gone: those that are no longer there, as far as they were looked at.
        """
        if names is not None and self._known:
            gone = list(self._known.keys() - set(names))
        if not (self._new or gone):
            return
        try:
            self._catalog.keep(self._path, self._new, gone)
        except Exception:
            log.exception("a bug in zsofs: the catalog could not be written")
