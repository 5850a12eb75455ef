"""Findings of one directory in the scan cache, and new ones of a scan."""

import logging
from collections.abc import Collection

from zsofs.formats.file_names import is_plain_image, is_undecided
from zsofs.images.source_file import Key
from zsofs.source.entry import Entry
from zsofs.source.finding import FileFinding
from zsofs.source.scan_cache import ScanCache

log = logging.getLogger(__name__)


class KeptFindings:
    """The findings of one directory, read at the first request and written once.

    An error of the scan cache never fails a listing.
    """

    def __init__(self, catalog: ScanCache, path: bytes, *, identities: bool) -> None:
        """Create it; *identities*: whether the finding of a disc must contain its identity."""
        self._catalog = catalog
        self._path = path
        self._identities = identities
        self._known: dict[bytes, tuple[Key, FileFinding]] | None = None
        self._new: list[tuple[bytes, Key, FileFinding]] = []

    def finding(self, entry: Entry) -> FileFinding | None:
        """Return the stored finding for the same content; None without one."""
        if self._known is None:
            self._known = {}
            try:
                self._known = self._catalog.folder(self._path)
            except Exception:
                log.exception("internal error in zsofs: the scan cache could not be read")
        key, finding = self._known.get(entry.name, (None, None))
        if key != entry.key or finding is None:
            return None
        wanted = is_undecided(entry.name) or (
            self._identities
            and (finding.disc is not None or finding.right_ending or is_plain_image(entry.name))
        )
        return None if wanted and finding.identity is None else finding

    def add(self, entry: Entry, finding: FileFinding) -> None:
        """Add the finding of a file."""
        self._new.append((entry.name, entry.key, finding))

    def store(self, names: Collection[bytes] | None, gone: list[bytes]) -> None:
        """Write the new findings to the scan cache.

        Args:
            names: all names in the directory; None if only some were scanned.
            gone: scanned names that no longer exist.
        """
        if names is not None and self._known:
            gone = list(self._known.keys() - set(names))
        if not (self._new or gone):
            return
        try:
            self._catalog.keep(self._path, self._new, gone)
        except Exception:
            log.exception("internal error in zsofs: the scan cache could not be written")
