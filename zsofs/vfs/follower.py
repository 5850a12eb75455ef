"""Keeps what is known of the source's folders true, without ever waiting for a disk on the loop.

A folder is looked at when somebody first asks for it, again when the kernel tells of a change in
it, and again after a while where changes may not be told.
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
from zsofs.source.scan import ScanHints, Scanner, ScanResult
from zsofs.source.tree import OpenFolder
from zsofs.system.inotify import Change, MountWatcher, Watcher
from zsofs.timings import timings
from zsofs.vfs.folder_state import Look, SourceFolder
from zsofs.vfs.present import Presentation

log = logging.getLogger(__name__)


_MOST_KEPT = 4096
"""Changes, and watches that ended, that are kept for looks under way."""

_MOST_WATCHED_TO_COUNT = 8192
"""Folders that are watched before those are no more that only the count of discs is wanted of: the
system has a limit of watches, which this user's other programs need, too."""
_MOST_LINKS_LOGGED = 10
"""Symlinks of one directory that the log names; of the others it has the number."""


class Follower:
    """Looks at folders when they are asked for and when they change. For the event loop.

    Attributes:
        changed: called with a folder whenever a look at it has found something.
        defer: called with a folder that has to be looked at again only for the sake of the count.
        away: why the source cannot be reached; empty while it can.
        not_entered: directories that are shown empty, by path, with the reason for each.
    """

    def __init__(
        self,
        surveyor: Scanner,
        workers: WorkerThreads,
        as_shown: Callable[[bytes, Mapping[bytes, Entry]], Presentation],
        is_busy: Callable[[int], bool],
    ) -> None:
        """Make one.

        Args:
            surveyor: looks at the source.
            workers: for looks alone, which can hang at a mount point or link to another disk.
            as_shown: what the mount makes of a folder, by its path and entries.
            is_busy: whether reads of files wait for a device; any thread may ask.
        """
        self.changed: Callable[[SourceFolder], None] = lambda folder: None
        self.defer: Callable[[SourceFolder], None] = self._begin
        self._surveyor = surveyor
        self._workers = workers
        self._as_shown = as_shown
        self._is_busy = is_busy
        self._watcher = Watcher()
        self._mounts = MountWatcher(surveyor.tree.roots.all)
        self.not_entered: dict[bytes, str] = {}
        self._folders: set[SourceFolder] = set()
        self._watched: dict[int, set[SourceFolder]] = {}
        self._removed: set[int] = set()
        self._early: dict[Change, None] = {}
        self._looking = 0
        self._due: dict[SourceFolder, float] = {}
        self._new_due = trio.Event()
        self._nursery: trio.Nursery | None = None
        self.away = ""

    def folder(self, path: bytes, above: frozenset[bytes], device: int) -> SourceFolder:
        """A folder to be followed from now on; *above* are the paths of those above it."""
        folder = SourceFolder(path, above, device)
        self._folders.add(folder)
        return folder

    def drop(self, folder: SourceFolder) -> None:
        """Nobody wants *folder* any more."""
        folder.dropped = True
        self._folders.discard(folder)
        self._surveyor.tree.devices.pop(folder.path, None)
        self._due.pop(folder, None)
        self._unwatch(folder)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._workers.run_surely(MOUNT_TABLE, self._note_refused)
                nursery.start_soon(self._follow_changes)
                nursery.start_soon(self._follow_mounts)
                nursery.start_soon(self._keep_time)
                task_status.started()
        finally:
            self._watcher.close()
            self._mounts.close()

    async def up_to_date(self, folder: SourceFolder) -> None:
        """Return when the listing is as good as can be had without a long wait.

        Raises:
            OSError or ZsofsError: there is none yet, and none can be had.
        """
        self._take_changes()
        asked, limit = trio.current_time(), math.inf
        while not folder.is_fresh:
            if folder.look is None:
                self._begin(folder)
            look = folder.look
            assert look is not None
            look.is_awaited = True
            if folder.found is not None:
                limit = min(limit, look.begun + timings().stale_listing)
            with self._counted(folder), trio.move_on_at(limit) as waiting:
                await look.done.wait()
            self._take_changes()  # made while that look was under way
            if waiting.cancelled_caught or folder.error is not None or folder.dropped:
                break
            if look.begun >= asked:  # what has changed since is for who asks next
                break
        if folder.found is None:
            if self.away and not folder.path:
                raise SourceAbsentError(self.away)
            raise folder.error or StaleNodeError(f"{for_people(folder.path)}: gone")

    async def look_unhurriedly(self, folder: SourceFolder) -> None:
        """Look at *folder* for the sake of the count alone, if anything in it may have changed."""
        self._take_changes()
        if folder.look is None and folder.is_stale and not folder.dropped:
            self._begin(folder)
        if folder.look is not None:
            await folder.look.done.wait()

    def _counted(self, folder: SourceFolder) -> AbstractContextManager[None]:
        """Count who waits for a look, unless the last listing will do in a moment."""
        if folder.found is not None:
            return nullcontext()
        return self._workers.admission.waiting(folder.device)

    def changed_folders(self) -> list[SourceFolder]:
        """The folders in which something is known to have changed since they were looked at."""
        self._take_changes()
        return [folder for folder in self._due if folder.is_stale]

    @property
    def following(self) -> str:
        """How changes are noticed: ``events``, ``events and polling``, or ``polling``."""
        looked_at = [folder for folder in self._folders if folder.known is not None]
        if looked_at and all(folder.watch is None for folder in looked_at):
            return "polling"
        polled = any(folder.elsewhere or folder.watch is None for folder in looked_at)
        return "events and polling" if polled else "events"

    def _look_at_mounts(self) -> bool:
        """Take what has changed in the table of mounts; whether that matters. For a thread."""
        have_changed = self._mounts.have_changed()
        return self._note_refused() or have_changed

    def _note_refused(self) -> bool:
        """Log the directories that are shown empty since the last call; whether they changed."""
        before, now = self.not_entered, self._surveyor.refused()
        self.not_entered = now
        for path, why in now.items():
            if before.get(path) != why:
                log.warning("%s: %s", for_people(path) or ".", why)
        return before != now

    def forget(self, paths: Sequence[bytes]) -> None:
        """Keep nothing for the next mount of these folders, unless they are merely left out."""
        paths = [path for path in paths if self._surveyor.selection.reaches(path)]
        if paths and self._nursery is not None:
            run, catalog = self._workers.run, self._surveyor.catalog
            self._nursery.start_soon(in_background, run, CATALOG, catalog.drop_folders, paths)

    async def reload(self) -> None:
        """Look at every known folder again, whatever is believed of it."""
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
            if folder.look is not None:
                await folder.look.done.wait()
            if folder.is_stale and not folder.dropped:  # that look had begun before
                if folder.look is None:
                    self._begin(folder)
                assert folder.look is not None
                await folder.look.done.wait()

    # What makes a look due

    async def _follow_changes(self) -> None:
        changes = self._watcher.fileno()
        if changes is None:
            return
        while True:
            await trio.lowlevel.wait_readable(changes)
            with self._nothing_lost():
                self._take_changes()
            await trio.sleep(timings().gather_changes)  # the kernel merges what is alike meanwhile

    def _take_changes(self) -> None:
        for change in self._watcher.changes():
            self._take(change)

    def _take(self, change: Change) -> None:
        if change.watch is None:
            log.info("inotify events were lost; scanning every directory again")
            self._outdate_all()
            return
        if self._looking:  # a look may have begun to watch it just now
            self._early.pop(change, None)
            self._early[change] = None
            if len(self._early) + len(self._removed) > _MOST_KEPT:  # a look hangs for long
                self._early.clear()
                self._removed.clear()
                self._outdate_all()
        for folder in list(self._watched.get(change.watch, ())):
            self._take_in(folder, change)

    def _take_in(self, folder: SourceFolder, change: Change) -> None:
        if change.ended:
            self._unwatch(folder)
            folder.outdate()
        else:
            folder.outdate(change.name, whole=change.whole)
        self._set_due(folder, folder.due_after_change())

    @contextmanager
    def _nothing_lost(self) -> Iterator[None]:
        """What fails in the background costs a look at every folder, never the mount."""
        try:
            yield
        except Exception:
            log.exception("internal error in zsofs: a change of the source could not be processed")
            self._outdate_all()

    async def _follow_mounts(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._mounts.fileno())
            with self._nothing_lost():
                # In a thread: the kernel holds the table while others mount, and asks btrfs for the
                # name of a subvolume, which it may have to read from its disk.
                if await self._workers.run_surely(MOUNT_TABLE, self._look_at_mounts):
                    self._surveyor.forget_mounts()
                    self._outdate_all()

    def _outdate_all(self) -> None:
        for folder in self._folders:
            folder.outdate()
            self._set_due(folder, folder.due_after_change())

    def _set_due(self, folder: SourceFolder, due: float) -> None:
        if folder.dropped or (folder.known is None and folder.path):
            return  # nobody has asked for it yet
        if due < self._due.get(folder, math.inf):
            self._due[folder] = due
            self._new_due.set()

    async def _keep_time(self) -> None:
        while True:
            self._new_due = trio.Event()
            with trio.move_on_at(_loop_time(min(self._due.values(), default=math.inf))):
                await self._new_due.wait()
            now = time.monotonic()
            for folder in [folder for folder, due in self._due.items() if due <= now]:
                del self._due[folder]
                with self._nothing_lost():
                    folder.outdate_by_time()
                    if folder.is_stale and folder.look is None:
                        (self._begin if folder.is_listed else self.defer)(folder)

    # Looking

    def _begin(self, folder: SourceFolder) -> None:
        assert self._nursery is not None
        folder.look = Look()
        self._nursery.start_soon(self._look, folder, folder.look)

    async def _look(self, folder: SourceFolder, look: Look) -> None:
        self._looking += 1
        watches: list[int | None] = []
        try:
            try:
                found, shown = await self._workers.run(
                    folder.device, self._survey, folder, look, folder.before(), watches.append
                )
            finally:
                for watch in watches:
                    self._watch(folder, watch)
            if not folder.dropped:
                self._outdate_replaced(folder, found)
                is_first = folder.known is None
                _log_links(folder.entries or {}, found.entries)
                folder.looked_at(found, shown)
                self._surveyor.tree.devices[folder.path] = found.status.st_dev
                self._came_back(folder, is_first=is_first)
                self.changed(folder)
        except (OSError, ZsofsError) as error:
            folder.failed(error)
            self._went_away(folder, error)
        except MemoryError as error:
            folder.failed(error)
            name = for_people(folder.path) or "the source directory"
            log.warning("%s: cannot be listed: %s", name, reason(error))
        except Exception as error:
            folder.failed(error)
            log.exception("internal error in zsofs: the scan of %s failed", for_people(folder.path))
        finally:
            self._looking -= 1
            if not self._looking:
                self._removed.clear()
                self._early.clear()
            folder.look = None
            look.done.set()
        if folder.is_stale and not (self.away and not folder.path):
            self._set_due(folder, folder.due_after_change())
        self._set_due(folder, folder.due_by_itself())

    def _survey(
        self,
        folder: SourceFolder,
        look: Look,
        before: ScanHints,
        watched: Callable[[int | None], None],
    ) -> tuple[ScanResult, Presentation]:
        """Watch and list; for a thread, since it may wait for a disk."""

        def begin(opened: OpenFolder) -> None:
            has_one = folder.watch is not None
            if folder.is_listed or has_one or len(self._watched) < _MOST_WATCHED_TO_COUNT:
                watched(self._watcher.add(opened.fd))
            folder.elsewhere = self._surveyor.changes_elsewhere(opened.fd, opened.status.st_dev)

        def give_way() -> None:
            look.give_way(lambda: self._is_busy(folder.device))

        give_way()
        found = self._surveyor.survey(folder.path, folder.above, before, begin, give_way)
        self._note_refused()
        return found, self._as_shown(folder.path, found.entries)

    def _watch(self, folder: SourceFolder, watch: int | None) -> None:
        if watch is not None and watch in self._removed:  # taken away while this look was at it
            watch = None
            folder.outdate()
        is_new = watch != folder.watch
        if is_new:
            self._unwatch(folder)
        if watch is not None:
            folder.watch = watch
            self._watched.setdefault(watch, set()).add(folder)
            if is_new:
                for change in [change for change in self._early if change.watch == watch]:
                    self._take_in(folder, change)
            if folder.dropped:
                self._unwatch(folder)

    def _outdate_replaced(self, folder: SourceFolder, found: ScanResult) -> None:
        """Have the folders below *folder* looked at where their paths lead to others now.

        They need not have told of that: who is moved with the folder above it, or is kept by a
        program that is in it, does not.
        """
        replaced = set()
        for name, entry in (folder.entries or {}).items():
            now = found.entries.get(name)
            if entry.kind is Kind.FOLDER and (now is None or not _same_folder(entry, now)):
                replaced.add(entry.path)
        if not replaced:
            return
        for other in list(self._folders):
            path = other.path
            while path and path not in replaced:
                path = path.rpartition(b"/")[0]
            if path:
                self._unwatch(other)
                other.outdate()
                self._set_due(other, other.due_after_change())

    def _unwatch(self, folder: SourceFolder) -> None:
        if folder.watch is None:
            return
        watchers = self._watched.get(folder.watch, set())
        watchers.discard(folder)
        if not watchers:
            self._watched.pop(folder.watch, None)
            self._watcher.remove(folder.watch)
            if self._looking:
                self._removed.add(folder.watch)
        folder.watch = None

    def _went_away(self, folder: SourceFolder, error: Exception) -> None:
        why = reason(error)
        if folder.path:
            gone = isinstance(error, FileNotFoundError)  # which the folder above tells, too
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
        self._set_due(folder, time.monotonic() + timings().look_for_source)

    def _came_back(self, folder: SourceFolder, *, is_first: bool) -> None:
        if self.away and not folder.path:
            if is_first:
                log.warning("the source directory is available now")
            else:
                log.warning("the source directory is available again")
            self.away = ""
            self._outdate_all()


def _log_links(before: Mapping[bytes, Entry], now: Mapping[bytes, Entry]) -> None:
    """Log the symlinks of a directory that were found not to be followed by the last look."""
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


def _same_folder(one: Entry, other: Entry) -> bool:
    return (one.path, one.status.st_dev, one.status.st_ino) == (
        other.path,
        other.status.st_dev,
        other.status.st_ino,
    )


def _loop_time(due: float) -> float:
    """A time of the monotonic clock as one of trio's."""
    return trio.current_time() + due - time.monotonic()
