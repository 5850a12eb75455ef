"""State of a followed source directory: listing, pending changes, freshness, scan in progress."""

import math
import time
from collections.abc import Callable, Mapping
from enum import Enum, auto

import trio

from zsofs.source.entry import Entry
from zsofs.source.scan_result import ScanHints, ScanResult
from zsofs.timings import timings
from zsofs.vfs.folder_listing import FolderListing
from zsofs.vfs.freshness import Freshness
from zsofs.vfs.pending_changes import PendingChanges
from zsofs.vfs.present import Presentation


class Look:
    """A scan in progress; concurrent requests share it (single-flight).

    Attributes:
        begun: start time by trio's clock.
        done: set at its end.
        is_awaited: whether a request waits for the listing; False if only the count needs it.
    """

    def __init__(self) -> None:
        self.begun = trio.current_time()
        self.done = trio.Event()
        self.is_awaited = False

    def give_way(self, is_busy: Callable[[], bool]) -> None:
        """Wait while reads use the disk, unless a request waits for this scan. For its thread."""
        end = time.monotonic() + timings().count_give_way
        while not self.is_awaited and is_busy() and time.monotonic() < end:
            time.sleep(timings().count_give_way_check)


class Use(Enum):
    """Purpose of a followed directory: its listing, only the count of its discs, or none."""

    LISTED = auto()
    COUNTED = auto()
    DROPPED = auto()


class SourceFolder:
    """A followed directory of the source. For the event loop.

    Attributes:
        path: its path in the source.
        above: source paths of this directory and its parents.
        device: st_dev of its file system.
        use: why it is followed.
        look: the scan in progress.
        watch: its inotify watch descriptor; None if it is not watched.
        listing: its known contents.
        pending: changes since the last scan began.
        freshness: how long the listing may be used.
    """

    def __init__(self, path: bytes, above: frozenset[bytes], device: int) -> None:
        self.path = path
        self.above = above | {path}
        self.device = device
        self.use = Use.LISTED
        self.look: Look | None = None
        self.watch: int | None = None
        self.listing = FolderListing(path)
        self.pending = PendingChanges(everything=True)
        self.freshness = Freshness()
        self._closed_at: dict[bytes, float] = {}

    @property
    def is_listed(self) -> bool:
        """Whether its listing is used, and not only the count of its discs."""
        return self.use is Use.LISTED

    @property
    def is_dropped(self) -> bool:
        """Whether it is no longer followed."""
        return self.use is Use.DROPPED

    @property
    def found(self) -> ScanResult | None:
        """The complete result of the last scan; None before the first and if it was reduced."""
        return self.listing.found

    @property
    def known(self) -> ScanResult | None:
        """The result of the last scan, possibly reduced; None before the first."""
        return self.listing.known

    @property
    def shown(self) -> Presentation | None:
        """Presentation of the last scan's result; None if there is no complete one."""
        return self.listing.shown

    @property
    def error(self) -> Exception | None:
        """The error of the last scan; None if it succeeded."""
        return self.listing.error

    @property
    def entries(self) -> Mapping[bytes, Entry] | None:
        """Known entries by name in the source; None before the first scan."""
        return None if self.known is None else self.known.entries

    @property
    def is_untold(self) -> bool:
        """Whether some changes in it may not be reported by events."""
        return not self._is_told or self.freshness.elsewhere or self.error is not None

    @property
    def _is_told(self) -> bool:
        """Whether all local changes are reported by events, including behind symlinks in it."""
        return self.watch is not None and not (self.known is not None and self.known.has_links)

    @property
    def is_stale(self) -> bool:
        """Whether changes are known that no scan has seen yet."""
        return bool(self.pending)

    @property
    def is_fresh(self) -> bool:
        """Whether the listing may be used without another scan."""
        return self.found is not None and not self.is_stale and not self.freshness.is_over

    def outdate(self, name: bytes = b"", *, whole: bool = False) -> None:
        """Require a scan of *name* (empty: of everything) before the listing is used.

        Args:
            name: the entry that changed.
            whole: whether a writer closed it or it was renamed to this name, so that it is no
                longer being written.
        """
        if name:
            self.pending.add(name, whole=whole)
            if whole:
                self._closed_at[name] = time.monotonic()
            else:
                self._closed_at.pop(name, None)
        else:
            self.pending.add_all()

    def doubt(self, name: bytes) -> None:
        """Require an inspection of the file *name*, even if it is unchanged."""
        self.pending.doubt(name)

    def did(self, name: bytes, entry: Entry | None, at: float) -> None:
        """Apply a change made through the mount: *name* is now *entry*; None: deleted.

        A scan that began before *at* may not have seen the change, and does not undo it.
        """
        self.listing.did(name, entry, at)
        self.outdate(name)

    def due_after_change(self) -> float:
        """Return when to scan it after a change that was just reported (debounced)."""
        return max(time.monotonic() + timings().gather_changes, self.freshness.rest_until)

    def due_by_itself(self) -> float:
        """Return when to scan it without a reported change, by the monotonic clock."""
        unsure = frozenset(self.known.unsure if self.known is not None else ())
        still, now = unsure | self.pending.closed, time.monotonic()
        self._closed_at = {name: at for name, at in self._closed_at.items() if name in still}
        if unsure:
            closed = [at for name, at in self._closed_at.items() if name in unsure]
            since = now - max(closed, default=-math.inf)
            return now + min(max(since, timings().closing_file), timings().quiet_file)
        return self.freshness.until if self.freshness.elsewhere and self.is_listed else math.inf

    def outdate_by_time(self) -> None:
        """Mark the entries that are due for another scan."""
        if self.known is not None:
            self.pending.add_unsure(self.known.unsure)
        if self.freshness.elsewhere and self.freshness.is_over:
            self.pending.add_all()

    def before(self) -> ScanHints:
        """Return the hints for a scan that begins now; later changes are for the next scan."""
        taken, self.pending = self.pending, PendingChanges(everything=False)
        # The changes that a failed scan had taken are lost, so everything is scanned again.
        everything = taken.everything or not taken.names or self.error is not None
        names = None
        if self.found is not None and not everything:
            names = frozenset(taken.names.union(self.found.unsure))
        return ScanHints(
            self.entries,
            (self.known.status.st_dev, self.known.status.st_ino) if self.known else (0, 0),
            names,
            frozenset(taken.closed),
            frozenset(taken.doubted),
            time.monotonic(),
        )

    def looked_at(self, found: ScanResult, shown: Presentation) -> None:
        """Apply the result of a scan and renew the freshness."""
        changed = self.listing.take(found, shown)
        self.device = found.status.st_dev
        self.freshness.renew(found.took, changed=changed, is_told=self._is_told)

    def failed(self, error: Exception) -> None:
        """Record a failed scan; the previous listing stays valid for a short time.

        Its traceback is dropped: that would keep the frames of the scan, 20 KiB, for as long as
        the kernel remembers a directory that is gone.
        """
        self.listing.error = error.with_traceback(None)
        self.freshness.extend()
