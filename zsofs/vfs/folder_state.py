"""A folder of the source: what was found, what changed since, how long it may be believed."""

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
    """A look at a folder that is under way, and those who wait for it.

    Attributes:
        begun: when it began, by trio's clock.
        done: set at its end.
        is_awaited: whether somebody waits for what it finds, and not only for a count.
    """

    def __init__(self) -> None:
        self.begun = trio.current_time()
        self.done = trio.Event()
        self.is_awaited = False

    def give_way(self, is_busy: Callable[[], bool]) -> None:
        """Hold while others use the disk, unless somebody waits for this look. For its thread."""
        end = time.monotonic() + timings().count_give_way
        while not self.is_awaited and is_busy() and time.monotonic() < end:
            time.sleep(timings().count_give_way_check)


class Use(Enum):
    """What a folder is followed for: its listing, only the count of its discs, or nothing more."""

    LISTED = auto()
    COUNTED = auto()
    DROPPED = auto()


class SourceFolder:
    """A folder of the source and what is known of it. For the event loop.

    Attributes:
        path: its path in the source.
        above: source paths of this folder and all above it.
        device: st_dev of its file system.
        use: what it is followed for.
        look: the look that is under way.
        watch: number of its watch, if it is watched.
        listing: what is in it.
        pending: what changed in it since the last look began.
        freshness: how long the listing may be believed.
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

    @property
    def is_listed(self) -> bool:
        """Whether its listing is wanted, and not the count of its discs alone."""
        return self.use is Use.LISTED

    @property
    def is_dropped(self) -> bool:
        """Whether nobody wants it any more."""
        return self.use is Use.DROPPED

    @property
    def found(self) -> ScanResult | None:
        """What the last look found; None before the first, and where it was reduced."""
        return self.listing.found

    @property
    def known(self) -> ScanResult | None:
        """The same, and of a reduced listing what is left of it."""
        return self.listing.known

    @property
    def shown(self) -> Presentation | None:
        """How what was found is shown."""
        return self.listing.shown

    @property
    def error(self) -> Exception | None:
        """Why the last look failed, if it did."""
        return self.listing.error

    @property
    def entries(self) -> Mapping[bytes, Entry] | None:
        """What is known to be in it, by name in the source; None before the first look."""
        return None if self.known is None else self.known.entries

    @property
    def is_untold(self) -> bool:
        """Whether what changes in it may be told by no event."""
        return not self._is_told or self.freshness.elsewhere or self.error is not None

    @property
    def _is_told(self) -> bool:
        """Whether changes that this machine makes are told, also behind the symlinks in it."""
        return self.watch is not None and not (self.known is not None and self.known.has_links)

    @property
    def is_stale(self) -> bool:
        """Whether something in it is known to have changed."""
        return bool(self.pending)

    @property
    def is_fresh(self) -> bool:
        """Whether the listing may be used without another look at the source."""
        return self.found is not None and not self.is_stale and not self.freshness.is_over

    def outdate(self, name: bytes = b"", *, whole: bool = False) -> None:
        """Have *name*, or everything, looked at again before the listing is used.

        *whole* says that a writer closed it, or that it was renamed to this name.
        """
        if name:
            self.pending.add(name, whole=whole)
        else:
            self.pending.add_all()

    def doubt(self, name: bytes) -> None:
        """Have the file *name* looked into, changed or not, before the listing is used."""
        self.pending.doubt(name)

    def did(self, name: bytes, entry: Entry | None, at: float) -> None:
        """Take what was done through the mount: *name* is *entry* now, or is deleted.

        A look that began before *at* may not have seen it, and does not undo it.
        """
        self.listing.did(name, entry, at)
        self.outdate(name)

    def due_after_change(self) -> float:
        """When to look at it after a change that was told just now."""
        return max(time.monotonic() + timings().gather_changes, self.freshness.rest_until)

    def due_by_itself(self) -> float:
        """When to look at it although no change is told, by the monotonic clock."""
        if self.known is not None and self.known.unsure:
            return time.monotonic() + timings().quiet_file
        return self.freshness.until if self.freshness.elsewhere and self.is_listed else math.inf

    def outdate_by_time(self) -> None:
        """Have what is due looked at again."""
        if self.known is not None:
            self.pending.add_unsure(self.known.unsure)
        if self.freshness.elsewhere and self.freshness.is_over:
            self.pending.add_all()

    def before(self) -> ScanHints:
        """What a look has to go by; what is outdated from now on is for the next one."""
        taken, self.pending = self.pending, PendingChanges(everything=False)
        # What a look that failed was to look at is not known any more.
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
        """Take what a look found, and see how long it may be believed."""
        changed = self.listing.take(found, shown)
        self.device = found.status.st_dev
        self.freshness.renew(found.took, changed=changed, is_told=self._is_told)

    def failed(self, error: Exception) -> None:
        """Note that a look failed: the last listing has to do for a moment."""
        self.listing.error = error
        self.freshness.extend()
