"""Scanner of source directories."""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from zsofs.console.text import for_people
from zsofs.errors import SourceAwayError
from zsofs.source.directory_scan import DirectoryScan, ScannedFolder
from zsofs.source.file_looks import FileLooks
from zsofs.source.filters import Selection
from zsofs.source.kept_findings import KeptFindings
from zsofs.source.new_discs import NewDiscs
from zsofs.source.scan_cache import ScanCache
from zsofs.source.scan_result import ScanHints, ScanResult
from zsofs.source.tree import OpenFolder, SourceTree
from zsofs.system.mountinfo import mount_of

log = logging.getLogger(__name__)


class Scanner:
    """Scans the directories of one source. Thread-safe; all calls may wait for a disk."""

    def __init__(
        self,
        tree: SourceTree,
        catalog: ScanCache,
        selection: Selection | None = None,
        new_discs: NewDiscs | None = None,
        *,
        identities: bool = False,
    ) -> None:
        """Create it.

        Args:
            tree: the source.
            catalog: the scan cache.
            selection: the include and exclude filters.
            new_discs: discs that clients may still change; None for a mount that has none.
            identities: whether to identify each disc. Otherwise this is done only if it decides
                whether a file is a disc.
        """
        self.tree = tree
        self.catalog = catalog
        self.selection = selection or Selection()
        self._new_discs = new_discs or NewDiscs()
        self.identities = identities
        self._elsewhere: dict[int, bool] = {}

    def changes_elsewhere(self, fd: int, device: int) -> bool:
        """Return whether other machines or daemons may change an open file or directory."""
        answer = self._elsewhere.get(device)
        if answer is None:
            mounted = mount_of(fd)
            answer = self._elsewhere[device] = mounted is not None and mounted.changes_elsewhere
        return answer

    def refused(self) -> dict[bytes, str]:
        """Return the directories that are shown empty, by path, with the reason for each."""
        return {
            path: why for path, why in self.tree.refused.items() if self.selection.reaches(path)
        }

    def forget_mounts(self) -> None:
        """Clear the cache of devices after a mount or unmount, because st_dev may be reused."""
        self._elsewhere.clear()

    def survey(
        self,
        path: bytes,
        above: Collection[bytes],
        before: ScanHints,
        watch: Callable[[OpenFolder], None] = lambda folder: None,
        give_way: Callable[[], None] = lambda: None,
    ) -> ScanResult:
        """List a directory of the source.

        Args:
            path: the directory.
            above: the paths of this directory and its parents; a symlink to one of them is a loop.
            before: results and changes since the last scan; unchanged files are not opened again.
            watch: called with the open directory before it is listed.
            give_way: called before each inspection of a file.

        Raises:
            SourceAwayError: its file system is no longer mounted.
            OSError: the directory cannot be read.
        """
        begun = time.monotonic()
        self.tree.find_late_roots()
        if path and not self.tree.may_enter(path):
            log.warning("%s: %s", for_people(path), self.tree.refused.get(path, ""))
            status = self.tree.stat(path.rpartition(b"/")[0])
            return ScanResult(begun, 0.0, status, {}, has_links=False, unsure=())
        with self.tree.folder(path) as folder:
            watch(folder)
            status = folder.status
            self.tree.permissions.record(path, status)
            if before.names is not None and (status.st_dev, status.st_ino) != before.place:
                before = replace(before, names=None)  # it is another directory
            names = folder.names() if before.names is None else before.names
            if before.entries and not names and status.st_dev != before.place[0]:
                raise SourceAwayError(f"{for_people(path) or 'the source directory'}: unmounted")
            kept = KeptFindings(self.catalog, path, identities=self.identities)
            place = ScannedFolder(folder, path, above)
            scan = DirectoryScan(self.tree, self.selection, self._new_discs, place, before, kept)
            looks = FileLooks(
                self.tree,
                folder,
                before,
                kept,
                self.changes_elsewhere,
                give_way,
                identities=self.identities,
            )
            return scan.result(names, looks, begun)
