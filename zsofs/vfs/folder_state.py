"""One folder of the source: what was found, what changed since, how long it may be believed."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import trio

from zsofs.formats.file_names import may_be_disc
from zsofs.source.entry import Entry, Kind
from zsofs.source.scan import ScanHints, ScanResult
from zsofs.timings import timings
from zsofs.vfs.present import Presentation, folders_in

_PAUSE_FACTOR = 9
"""A look that took long is followed by a pause of so many times as long, so that a folder in which
a file grows for an hour costs a tenth of a processor at most; no pause is longer than
a listing of a watched folder is believed."""


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


class SourceFolder:
    """A folder of the source and what is known of it.

    Attributes:
        path: its path in the source.
        above: source paths of this folder and all above it.
        device: st_dev of its file system.
        found: what the last look found; None before the first, and where it was reduced.
        known: the same, and of a reduced listing what is left of it.
        shown: how that is shown.
        error: why the last look failed, if it did.
        look: the look that is under way.
        watch: number of its watch, if it is watched.
        elsewhere: whether other machines may change it.
        dropped: whether nobody wants it any more.
        is_listed: whether its listing is wanted, and not the count of its discs alone.
    """

    def __init__(self, path: bytes, above: frozenset[bytes], device: int) -> None:
        self.path = path
        self.above = above | {path}
        self.device = device
        self.found: ScanResult | None = None
        self.known: ScanResult | None = None
        self.shown: Presentation | None = None
        self.error: Exception | None = None
        self.look: Look | None = None
        self.watch: int | None = None
        self.elsewhere = False
        self.dropped = False
        self.is_listed = True
        self._poll_seconds = timings().first_poll
        self._fresh_until = -math.inf
        self._rest_until = -math.inf
        self._all_stale = True
        self._stale: set[bytes] = set()
        self._closed: set[bytes] = set()
        self._doubted: set[bytes] = set()
        self._own: dict[bytes, tuple[Entry | None, float]] = {}

    @property
    def entries(self) -> Mapping[bytes, Entry] | None:
        """What is known to be in it, by name in the source; None before the first look."""
        return None if self.known is None else self.known.entries

    @property
    def is_untold(self) -> bool:
        """Whether what changes in it may be told by no event."""
        has_links = self.known is not None and self.known.has_links
        return self.watch is None or self.elsewhere or has_links or self.error is not None

    def reduce(self) -> None:
        """Keep what spares the next look work: folders, symlinks and likely discs.

        Most files of a large source that is no library of discs are neither.
        """
        if self.found is not None:
            entries = {
                name: entry
                for name, entry in self.found.entries.items()
                if entry.kind in (Kind.FOLDER, Kind.LINK) or may_be_disc(name)
            }
            self.known = replace(self.found, entries=entries)
        self.found = self.shown = None

    @property
    def is_stale(self) -> bool:
        """Whether something in it is known to have changed."""
        return self._all_stale or bool(self._stale)

    @property
    def is_fresh(self) -> bool:
        """Whether the listing may be used without another look at the source."""
        return self.found is not None and not self.is_stale and time.monotonic() < self._fresh_until

    def outdate(self, name: bytes = b"", *, whole: bool = False) -> None:
        """Have *name*, or everything, looked at again before the listing is used.

        *whole* says that a writer closed it, or that it was renamed to this name.
        """
        if not name:
            self._all_stale = True
            return
        self._stale.add(name)
        if whole:
            self._closed.add(name)
        else:
            self._closed.discard(name)

    def doubt(self, name: bytes) -> None:
        """Have the file *name* looked into, changed or not, before the listing is used."""
        self._stale.add(name)
        self._doubted.add(name)

    def did(self, name: bytes, entry: Entry | None, at: float) -> None:
        """Take what was done through the mount: *name* is *entry* now, or is deleted.

        A look that began before *at* may not have seen it, and does not undo it.
        """
        self._own[name] = entry, at
        self._take_own()
        self.outdate(name)

    def _take_own(self) -> None:
        if self.found is None or self.shown is None:
            return
        self.found = self.known = replace(self.found, entries=self.with_own(self.found.entries))
        self.shown = replace(
            self.shown,
            entries=self.with_own(self.shown.entries),
            folders=folders_in(self.found.entries),
        )

    def with_own(self, entries: Mapping[bytes, Entry]) -> Mapping[bytes, Entry]:
        """*entries* after what was done through the mount and no look has seen yet.

        What is no disc is shown under its own name, so they may be those of a listing as well.
        """
        changed = dict(entries)
        for name, (entry, _) in self._own.items():
            if entry is None:
                changed.pop(name, None)
            else:
                changed[name] = entry
        return changed

    def due_after_change(self) -> float:
        """When to look at it after a change that was told just now."""
        return max(time.monotonic() + timings().gather_changes, self._rest_until)

    def due_by_itself(self) -> float:
        """When to look at it although no change is told, by the monotonic clock."""
        if self.known is not None and self.known.unsure:
            return time.monotonic() + timings().quiet_file
        return self._fresh_until if self.elsewhere and self.is_listed else math.inf

    def outdate_by_time(self) -> None:
        """Have what is due looked at again."""
        if self.known is not None:
            self._stale.update(self.known.unsure)
        if self.elsewhere and time.monotonic() >= self._fresh_until:
            self._all_stale = True

    def before(self) -> ScanHints:
        """What a look has to go by; what is outdated from now on is for the next one."""
        # What a look that failed was to look at is not known any more.
        everything = self._all_stale or not self._stale or self.error is not None
        names = None
        if self.found is not None and not everything:
            names = frozenset(self._stale.union(self.found.unsure))
        before = ScanHints(
            self.entries,
            (self.known.status.st_dev, self.known.status.st_ino) if self.known else (0, 0),
            names,
            frozenset(self._closed),
            frozenset(self._doubted),
            time.monotonic(),
        )
        self._all_stale = False
        self._stale.clear()
        self._closed.clear()
        self._doubted.clear()
        return before

    def looked_at(self, found: ScanResult, shown: Presentation) -> None:
        """Take what a look found, and see how long it may be believed."""
        changed = self.found is None or self.found.entries != found.entries
        self.found, self.shown, self.error = found, shown, None
        self.known = found
        self._own = {name: did for name, did in self._own.items() if did[1] >= found.begun}
        if self._own:
            self._take_own()
        self.device = found.status.st_dev
        now = time.monotonic()
        fresh = timings().trust_watched
        if self.elsewhere:
            self._poll_seconds = min(2 * self._poll_seconds, timings().longest_poll)
            if changed:
                self._poll_seconds = timings().first_poll
            fresh = self._poll_seconds
        elif self.watch is None or found.has_links:
            fresh = timings().trust_unwatched
        self._fresh_until = now + max(fresh - found.took, 3 * found.took)
        self._rest_until = now + min(_PAUSE_FACTOR * found.took, timings().trust_watched)

    def failed(self, error: Exception) -> None:
        """Note that a look failed: the last listing has to do for a moment."""
        self.error = error
        self._fresh_until = time.monotonic() + timings().trust_unwatched
