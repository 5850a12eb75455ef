"""Following of source directories: scans, inotify events and polling.

A directory is scanned at its first request, again after an inotify event, and by polling where
events may not report all changes. The event loop never waits for a disk.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import trio

from zsofs.console.text import for_people
from zsofs.errors import SourceAbsentError, StaleNodeError, ZsofsError, reason
from zsofs.reading.tasks import in_background
from zsofs.reading.worker_threads import CATALOG, MOUNT_TABLE, WorkerThreads
from zsofs.source.entry import Entry, Kind
from zsofs.source.scan import Scanner
from zsofs.system.inotify import Change
from zsofs.timings import timings
from zsofs.vfs.folder_state import Look, SourceFolder, Use
from zsofs.vfs.followed_folders import FollowedFolders
from zsofs.vfs.present import Presentation
from zsofs.vfs.source_scans import Opened, SourceScans
from zsofs.vfs.unsettled_files import UnsettledFiles
from zsofs.vfs.watch_registry import WatchRegistry

log = logging.getLogger(__name__)

_MOST_LINKS_LOGGED = 10
"""Maximum number of symlinks of one directory that the log names; the others are counted."""


class Follower:
    """Scans directories when they are requested and when they change. For the event loop.

    Attributes:
        changed: called with a directory after each successful scan.
        defer: called with a directory that has to be scanned again only for the disc count.
        away: why the source is not available; empty if it is.
    """

    def __init__(
        self,
        scanner: Scanner,
        workers: WorkerThreads,
        as_shown: Callable[[bytes, Mapping[bytes, Entry]], Presentation],
        is_busy: Callable[[int], bool],
    ) -> None:
        """Create it.

        Args:
            scanner: scans the source.
            workers: threads used only for scans, which can hang at a mount point or at a
                symlink to another disk.
            as_shown: returns the presentation of a directory, given its path and entries.
            is_busy: whether reads of files wait for a device; thread-safe.
        """
        self.changed: Callable[[SourceFolder], None] = lambda folder: None
        self.defer: Callable[[SourceFolder], None] = self._begin
        self.away = ""
        self.unsettled = UnsettledFiles()
        self._workers = workers
        self._watches = WatchRegistry()
        self._scans = SourceScans(scanner, as_shown, is_busy, self._watches)
        self._folders = FollowedFolders()
        self._nursery: trio.Nursery | None = None

    def folder(self, path: bytes, above: frozenset[bytes], device: int) -> SourceFolder:
        """Start following a directory and return it; *above* are the paths of its parents."""
        folder = SourceFolder(path, above, device)
        self._folders.add(folder)
        return folder

    def drop(self, folder: SourceFolder) -> None:
        """Stop following *folder*."""
        folder.use = Use.DROPPED
        self._folders.remove(folder)
        self.unsettled.drop(folder)
        self._scans.scanner.tree.devices.pop(folder.path, None)
        self._watches.end(folder)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._workers.run_surely(MOUNT_TABLE, self._scans.note_refused)
                nursery.start_soon(self._follow_changes)
                nursery.start_soon(self._follow_mounts)
                nursery.start_soon(self._keep_time)
                task_status.started()
        finally:
            self._watches.close()
            self._scans.mounts.close()

    async def up_to_date(self, folder: SourceFolder, patience: int = 1) -> None:
        """Return when the listing is as recent as possible; see :meth:`View.up_to_date`.

        Raises:
            OSError or ZsofsError: there is no listing yet, and the scan failed.
        """
        self._take_changes()
        asked, limit = trio.current_time(), math.inf
        # A scan in progress may have taken the changes that a patient caller knows.
        while not folder.is_fresh or (patience > 1 and folder.look is not None):
            if folder.look is None:
                self._begin(folder)
            look = folder.look
            assert look is not None
            look.is_awaited = True
            if folder.found is not None:
                limit = min(limit, look.begun + timings().stale_listing * patience)
            with self._counted(folder), trio.move_on_at(limit) as waiting:
                await look.done.wait()
            self._take_changes()  # made during that scan
            if waiting.cancelled_caught or folder.error is not None or folder.is_dropped:
                break
            if look.begun >= asked:  # later changes are for the next request
                break
        if folder.found is not None and await self._is_deleted(folder):
            folder.listing.forget()
        if folder.found is None:
            if self.away and not folder.path:
                raise SourceAbsentError(self.away)
            error = folder.error or StaleNodeError(f"{for_people(folder.path)}: gone")
            raise error.with_traceback(None)  # or it would grow with each request

    async def look_unhurriedly(self, folder: SourceFolder) -> None:
        """Scan *folder* only for the disc count, if anything in it may have changed."""
        self._take_changes()
        if folder.look is None and folder.is_stale and not folder.is_dropped:
            self._begin(folder)
        if folder.look is not None:
            await folder.look.done.wait()

    def _counted(self, folder: SourceFolder) -> AbstractContextManager[None]:
        """Count a request that waits for a scan, unless it falls back to the last listing soon."""
        if folder.found is not None:
            return nullcontext()
        return self._workers.admission.waiting(folder.device)

    def changed_folders(self) -> list[SourceFolder]:
        """Return the directories with known changes since their last scan."""
        self._take_changes()
        return self._folders.changed()

    @property
    def not_entered(self) -> Mapping[bytes, str]:
        """Reason why each directory is shown empty, by path."""
        return self._scans.not_entered

    @property
    def following(self) -> str:
        """How changes are detected: ``events``, ``events and polling``, or ``polling``."""
        looked_at = [folder for folder in self._folders if folder.known is not None]
        if looked_at and all(folder.watch is None for folder in looked_at):
            return "polling"
        polled = any(folder.freshness.elsewhere or folder.watch is None for folder in looked_at)
        return "events and polling" if polled else "events"

    def forget(self, paths: Sequence[bytes]) -> None:
        """Delete these directories from the scan cache, unless they are only excluded."""
        paths = [path for path in paths if self._scans.scanner.selection.reaches(path)]
        if paths and self._nursery is not None:
            run, drop = self._workers.run, self._scans.scanner.catalog.drop_folders
            self._nursery.start_soon(in_background, run, CATALOG, drop, paths)

    async def reload(self) -> None:
        """Scan every known directory again, even if its listing is fresh."""
        known = [folder for folder in self._folders if folder.known is not None or not folder.path]
        folders = []
        for folder in known:
            folder.outdate()
            if not folder.is_listed:
                self.defer(folder)
                continue
            folders.append(folder)
            if folder.look is None:
                self._begin(folder)
        for folder in folders:
            await self._scan_known_changes(folder)

    async def _scan_known_changes(self, folder: SourceFolder) -> None:
        """Wait for a scan that begins after all changes that are known now."""
        for _ in range(2):  # the scan in progress had begun before
            if folder.look is None and folder.is_stale and not folder.is_dropped:
                self._begin(folder)
            if folder.look is not None:
                await folder.look.done.wait()

    async def _is_deleted(self, folder: SourceFolder) -> bool:
        """Return whether a directory that its scan did not find is deleted.

        If the source or a disk in it is away, the directory above is not there either, and last
        listings are shown.
        """
        is_missing = isinstance(folder.error, FileNotFoundError | NotADirectoryError)
        path, _, name = folder.path.rpartition(b"/")
        above = self._folders.known(path) if is_missing and folder.path and not self.away else None
        if above is None:
            return False
        above.outdate()
        with trio.move_on_after(timings().stale_listing):
            await self._scan_known_changes(above)
            if above.error is not None:
                return await self._is_deleted(above)
            entry = (above.entries or {}).get(name)
            return entry is None or entry.kind is not Kind.FOLDER
        return False

    # What makes a scan due

    async def _follow_changes(self) -> None:
        changes = self._watches.fileno()
        if changes is None:
            return
        while True:
            await trio.lowlevel.wait_readable(changes)
            with self._nothing_lost():
                self._take_changes()
            await trio.sleep(timings().gather_changes)  # the kernel merges equal events

    def _take_changes(self) -> None:
        for change in self._watches.changes():
            self._take(change)

    def _take(self, change: Change) -> None:
        if change.watch is None:
            log.info("inotify events were lost; scanning every directory again")
            self._folders.outdate_all()
            return
        if not self._watches.keep(change):
            self._folders.outdate_all()
        for folder in self._watches.folders(change.watch):
            self._take_in(folder, change)

    def _take_in(self, folder: SourceFolder, change: Change) -> None:
        if change.ended:
            self._watches.end(folder)
            folder.outdate()
        else:
            folder.outdate(change.name, whole=change.whole)
        self._folders.set_due(folder, folder.due_after_change())

    @contextmanager
    def _nothing_lost(self) -> Iterator[None]:
        """After an error in the background, schedule a scan of every directory; keep the mount."""
        try:
            yield
        except Exception:
            log.exception("internal error in zsofs: a change of the source could not be processed")
            self._folders.outdate_all()

    async def _follow_mounts(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._scans.mounts.fileno())
            with self._nothing_lost():
                # In a thread: the kernel locks the mount table while other mounts are made, and
                # asks btrfs for the name of a subvolume, which it may have to read from its disk.
                if await self._workers.run_surely(MOUNT_TABLE, self._scans.have_mounts_changed):
                    self._scans.scanner.forget_mounts()
                    self._folders.outdate_all()

    async def _keep_time(self) -> None:
        while True:
            for folder in await self._folders.next_due():
                with self._nothing_lost():
                    folder.outdate_by_time()
                    if folder.is_stale and folder.look is None:
                        (self._begin if folder.is_listed else self.defer)(folder)

    # Scanning

    def _begin(self, folder: SourceFolder) -> None:
        assert self._nursery is not None
        folder.look = Look()
        self._nursery.start_soon(self._look, folder, folder.look)

    async def _look(self, folder: SourceFolder, look: Look) -> None:
        with self._watches.looking():
            try:
                await self._scan(folder, look)
            except (OSError, ZsofsError) as error:
                folder.failed(error)
                self._went_away(folder, error)
            except MemoryError as error:
                folder.failed(error)
                name = for_people(folder.path) or "the source directory"
                log.warning("%s: cannot be listed: %s", name, reason(error))
            except Exception as error:
                log.exception(
                    "internal error in zsofs: the scan of %s failed", for_people(folder.path)
                )
                folder.failed(error)
            finally:
                folder.look = None
                look.done.set()
        if folder.is_stale and not (self.away and not folder.path):
            self._folders.set_due(folder, folder.due_after_change())
        self._folders.set_due(folder, folder.due_by_itself())

    async def _scan(self, folder: SourceFolder, look: Look) -> None:
        before, opened = folder.before(), Opened()
        try:
            found, shown = await self._workers.run(
                folder.device, self._scans.scan, folder, look, before, opened
            )
        finally:
            if opened.elsewhere is not None:
                folder.freshness.elsewhere = opened.elsewhere
            if opened.is_open:
                self._take_watch(folder, opened.watch)
        if folder.is_dropped:
            return
        for other in self._folders.replaced(folder, found):
            self._watches.end(other)
            self._folders.outdate(other)
        is_first = folder.known is None
        _log_links(folder.entries or {}, found.entries)
        folder.looked_at(found, shown)
        self.unsettled.take(folder)
        self._scans.scanner.tree.devices[folder.path] = found.status.st_dev
        self._came_back(folder, is_first=is_first)
        self.changed(folder)

    def _take_watch(self, folder: SourceFolder, watch: int | None) -> None:
        if watch is not None and self._watches.has_ended(watch):  # during this scan
            watch = None
            folder.outdate()
        for change in self._watches.assign(folder, watch):
            self._take_in(folder, change)
        if folder.is_dropped:
            self._watches.end(folder)

    def _went_away(self, folder: SourceFolder, error: Exception) -> None:
        why = reason(error)
        if folder.path:
            # The parent directory reports it as well.
            gone = isinstance(error, FileNotFoundError | NotADirectoryError)
            level = logging.INFO if gone else logging.WARNING
            log.log(level, "%s: cannot be listed: %s", for_people(folder.path), why)
            return
        if not self.away:
            if folder.known is None:
                log.warning(
                    "the source directory does not exist yet (%s); its discs appear when it"
                    " becomes available",
                    why,
                )
            else:
                log.warning(
                    "the source directory is not available (%s); its last listing is shown"
                    " until it"
                    " is back",
                    why,
                )
        self.away = why
        folder.outdate()
        self._folders.set_due(folder, time.monotonic() + timings().look_for_source)

    def _came_back(self, folder: SourceFolder, *, is_first: bool) -> None:
        if self.away and not folder.path:
            if is_first:
                log.warning("the source directory is available now")
            else:
                log.warning("the source directory is available again")
            self.away = ""
            self._folders.outdate_all()


def _log_links(before: Mapping[bytes, Entry], now: Mapping[bytes, Entry]) -> None:
    """Log the symlinks of a directory that the last scan newly found not to be followed."""
    new = [
        entry
        for name, entry in now.items()
        if entry.kind is Kind.LINK
        and entry.reason
        and (name not in before or before[name].reason != entry.reason)
    ]
    for entry in new[:_MOST_LINKS_LOGGED]:
        log.warning("%s: %s", for_people(entry.path), entry.reason)
    if len(new) > _MOST_LINKS_LOGGED:
        log.warning(
            "%s: %d more symlinks are not followed; zsofs list names them all",
            for_people(new[0].path.rpartition(b"/")[0]) or ".",
            len(new) - _MOST_LINKS_LOGGED,
        )
