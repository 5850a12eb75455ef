"""What the follower has done in threads, because it may wait for a disk."""

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
    """What a scan learns of a folder before it lists it, to be taken whatever comes of the listing.

    Attributes:
        is_open: whether the folder could be opened, so that `watch` is told.
        watch: number of the watch that was begun; None if it is not watched.
        elsewhere: whether other machines may change the folder; None if that is not known.
    """

    is_open: bool = False
    watch: int | None = None
    elsewhere: bool | None = None


class SourceScans:
    """Scans of folders, and looks at the table of mounts. For threads, unless stated otherwise.

    Attributes:
        scanner: looks at the source.
        mounts: for the event loop: the table of mounts, whose descriptor tells of changes.
        not_entered: directories that are shown empty, by path, with the reason for each. It is
            replaced as a whole, so the event loop may read it at any time.
    """

    def __init__(
        self,
        scanner: Scanner,
        as_shown: Callable[[bytes, Mapping[bytes, Entry]], Presentation],
        is_busy: Callable[[int], bool],
        watches: WatchRegistry,
    ) -> None:
        """See :class:`Follower`; *watches* begins a watch on each folder that is scanned."""
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
        """Watch and list a folder, and have it shown.

        Args:
            folder: the folder; of it, only what does not change or may be old is read here.
            look: the look that this is done for.
            before: what is known of the folder.
            opened: gets what is learned before the listing.
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
        """Take what has changed in the table of mounts; whether that matters."""
        have_changed = self.mounts.have_changed()
        return self.note_refused() or have_changed

    def note_refused(self) -> bool:
        """Log the directories that are shown empty since the last call; whether they changed."""
        now = self.scanner.refused()  # may wait for the table of mounts, so not with the lock
        with self._noting:  # else two threads log the same
            before, self.not_entered = self.not_entered, now
        for path, why in now.items():
            if before.get(path) != why:
                log.warning("%s: %s", for_people(path) or ".", why)
        return before != now
