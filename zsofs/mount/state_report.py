"""Status of a mount, for `zsofs status`, `zsofs list` and the service manager."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

from zsofs import __version__
from zsofs.console.text import for_people
from zsofs.fuse.operations import Operations
from zsofs.mount.control.mount_status import (
    CacheStatus,
    DaemonStatus,
    DiscStatus,
    FileStatus,
    MountStatus,
    NotShownStatus,
    PreloadStatus,
    ReaderStatus,
    ReadStatus,
    SettingsStatus,
    SourceStatus,
)
from zsofs.mount.settings import MountSettings
from zsofs.reading.extent_cache import ExtentCache
from zsofs.reading.stats import Statistics
from zsofs.system.processes import process_of
from zsofs.vfs.disc_counts import DiscCounts
from zsofs.vfs.follower import Follower
from zsofs.vfs.inodes import Inodes
from zsofs.vfs.open_contents import OpenHandle

_REPORTED_FILES = 20


class StateReport:
    """Status of a mount, collected from its components on the event loop, without disk or lock."""

    def __init__(
        self,
        settings: MountSettings,
        library: Inodes,
        cache: ExtentCache,
        statistics: Statistics,
        follower: Follower,
        disc_counts: DiscCounts,
        operations: Operations,
    ) -> None:
        self._settings = settings
        self._library = library
        self._cache = cache
        self._statistics = statistics
        self._follower = follower
        self._disc_counts = disc_counts
        self._operations = operations

    def status(self) -> MountStatus:
        """Return the current status."""
        uptime = round(time.monotonic() - self._statistics.started, 1)
        found = self._disc_counts.total()
        counting = not self._disc_counts.is_complete
        return MountStatus(
            DaemonStatus(__version__, os.getpid(), uptime, len(self._library)),
            self._shown(),
            SourceStatus(self.source_state(), self._follower.away, self._follower.following),
            DiscStatus(found.discs, found.compressed, found.plain, counting, found.copying),
            NotShownStatus(
                refused=_reported(found.refused),
                refused_total=len(found.refused),
                links_not_followed=_reported(found.links),
                links_not_followed_total=len(found.links),
                shown_empty=_reported(self._follower.not_entered.items()),
                left_out=_reported(found.left_out),
                left_out_total=len(found.left_out),
            ),
            self._reads(),
        )

    def source_state(self) -> str:
        """Return whether the source is available, as in SourceStatus."""
        if not self._follower.away:
            return "there"
        return "away" if self._library.tree.was_seen else "not there yet"

    def cache(self) -> CacheStatus:
        """Return the state of the extent cache."""
        total = self._statistics.total
        hits = total.lookups - total.loads
        return CacheStatus(self._cache.used, self._settings.cache_size, hits, total.lookups)

    def _shown(self) -> SettingsStatus:
        tree = self._settings.tree
        return SettingsStatus(
            source=os.fsdecode(self._settings.source),
            mount_point=os.fsdecode(self._settings.mount_point),
            layout=tree.layout,
            titles=str(tree.titles) if tree.titles else None,
            include=tree.include,
            exclude=tree.exclude,
            allow_links_to=tuple(map(os.fsdecode, self._library.tree.allowed)),
            show_raw=tree.show_raw,
            cd="auto" if tree.cd is None else tree.cd.value,
            writable=self._settings.writing.files,
        )

    def _reads(self) -> ReadStatus:
        total, waiting = self._statistics.total, self._statistics.waiting
        longest = next(iter(waiting)).elapsed_ns() / 1e9 if waiting else 0.0
        return ReadStatus(
            readers=_readers(self._operations.readers()),
            cache=self.cache(),
            requests=total.requests,
            bytes=total.bytes,
            errors=total.errors,
            waiting=len(waiting),
            waiting_seconds=round(longest, 1),
            preload=self.preload(),
        )

    def preload(self) -> PreloadStatus:
        """Return what reading ahead by boot traces did."""
        done = self._operations.preloaded()
        return PreloadStatus(
            self._settings.preload.traces,
            done.traces,
            done.starts,
            done.requests,
            done.fetched,
            done.used,
            done.wasted,
        )


def _reported(files: Iterable[tuple[bytes, str]]) -> tuple[FileStatus, ...]:
    """Return the first of these files, each with its reason."""
    first = islice(files, _REPORTED_FILES)
    return tuple(FileStatus(for_people(path), reason) for path, reason in first)


def _readers(readers: Sequence[OpenHandle]) -> tuple[ReaderStatus, ...]:
    """Return the programs with open files, and the number of handles of each."""
    processes = {reader.pid: process_of(reader.pid) for reader in readers}
    counts = Counter((reader.path, *processes[reader.pid]) for reader in readers)
    return tuple(
        ReaderStatus(pid, for_people(program), path, handles)
        for (path, pid, program), handles in sorted(counts.items())
    )
