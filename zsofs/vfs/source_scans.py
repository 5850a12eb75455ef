"""The follower's blocking work, done in threads."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zsofs.console.text import for_people
from zsofs.source.entry import Entry
from zsofs.source.scan import Scanner
from zsofs.source.scan_result import ScanHints, ScanResult
from zsofs.source.tree import OpenFolder
from zsofs.system.inotify import MountWatcher
from zsofs.vfs.folder_state import Look, SourceFolder
from zsofs.vfs.present import Presentation
from zsofs.vfs.watch_registry import WatchRegistry

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Opened:
    """What a scan finds out before it lists the directory; valid even if the listing fails.

    Attributes:
        is_open: whether the directory was opened, so that `watch` is set.
        watch: the inotify watch descriptor; None if the directory is not watched.
        elsewhere: whether other machines may change the directory; None if unknown.
    """

    is_open: bool = False
    watch: int | None = None
    elsewhere: bool | None = None


class SourceScans:
    """Scans of directories and checks of the mount table. For threads, unless stated otherwise.

    Attributes:
        scanner: scans the source.
        mounts: for the event loop: watches the mount table.
        not_entered: why directories are shown empty, by path. The dict is replaced as a whole,
            so the event loop may read it at any time.
    """

    def __init__(
        self,
        scanner: Scanner,
        as_shown: Callable[[bytes, Mapping[bytes, Entry]], Presentation],
        is_busy: Callable[[int], bool],
        watches: WatchRegistry,
    ) -> None:
        """See :class:`Follower`; *watches* adds a watch for each scanned directory."""
        self.scanner = scanner
        self.mounts = MountWatcher(lambda: scanner.tree.roots.all)
        self.not_entered: Mapping[bytes, str] = {}
        self._as_shown = as_shown
        self._is_busy = is_busy
        self._watches = watches
        self._noting = threading.Lock()

    def scan(
        self,
        folder: SourceFolder,
        look: Look,
        before: ScanHints,
        opened: Opened,
    ) -> tuple[ScanResult, Presentation]:
        """Watch and list a directory; return its entries and presentation.

        Args:
            folder: the directory; only attributes that are constant or may be old are read here.
            look: the scan in progress.
            before: hints from earlier scans.
            opened: receives what is found out before the listing.
        """

        def begin(found: OpenFolder) -> None:
            opened.watch = self._watches.add(folder, found.fd)
            opened.is_open = True  # the watch has begun, even if the rest fails
            device = found.status.st_dev
            opened.elsewhere = self.scanner.changes_elsewhere(found.fd, device)

        def give_way() -> None:
            look.give_way(lambda: self._is_busy(folder.device))

        give_way()
        found = self.scanner.survey(folder.path, folder.above, before, begin, give_way)
        self.note_refused()
        return found, self._as_shown(folder.path, found.entries)

    def have_mounts_changed(self) -> bool:
        """Process changes of the mount table; return whether directories must be scanned again."""
        have_changed = self.mounts.have_changed()
        return self.note_refused() or have_changed

    def note_refused(self) -> bool:
        """Log directories newly shown empty since the last call; return whether any changed."""
        now = self.scanner.refused()  # may wait for the mount table, so not under the lock
        with self._noting:  # otherwise two threads log the same
            before, self.not_entered = self.not_entered, now
        for path, why in now.items():
            if before.get(path) != why:
                log.warning("%s: %s", for_people(path) or ".", why)
        return before != now
