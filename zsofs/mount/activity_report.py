"""Replies about the reads of a mount, for `zsofs top` and `zsofs metrics`, made in short steps.

They are made on the event loop, without disk or lock. Each step takes less than 2 ms, however many
discs there are: a video that plays meanwhile must not stutter.
"""

import os
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

import trio

from zsofs import __version__
from zsofs.errors import UsageError
from zsofs.mount.control.activity import (
    PROTOCOL,
    Activity,
    DiscActivity,
    DiscDetails,
    DiscPage,
    DiskActivity,
    Latency,
    MountFacts,
    MountReads,
    Rates,
    ReadCounts,
    ReaderActivity,
    SlowReadActivity,
    SlowReadPage,
    SlowTimes,
    WaitingRead,
)
from zsofs.mount.library_report import LibraryReport
from zsofs.mount.report_pages import in_steps, page_of
from zsofs.mount.settings import MountSettings
from zsofs.mount.state_report import StateReport
from zsofs.native.meters import CAUSES, Meter, now_ns
from zsofs.reading.io_pool import IoPool
from zsofs.reading.slow_reads import ReadLabel, SlowRead
from zsofs.reading.stats import Statistics
from zsofs.reading.tasks import in_background
from zsofs.system.xdg import cache_folder
from zsofs.vfs.disc_counts import DiscCounts
from zsofs.vfs.slow_read_files import SlowReadFiles

_READERS = 50
_WAITING = 20
_SECOND = 1e9


class ActivityReport:
    """Answers the requests of control/activity.py."""

    def __init__(
        self,
        settings: MountSettings,
        statistics: Statistics,
        io_pool: IoPool,
        disc_counts: DiscCounts,
        state: StateReport,
        files: SlowReadFiles,
        library: LibraryReport,
    ) -> None:
        """Create it from the components of a mount.

        Args:
            settings: of the mount.
            statistics: counts reads.
            io_pool: reads that wait for disks.
            disc_counts: the number of discs.
            state: reports the source and the cache.
            files: finds the files of discs that slow reads were for.
            library: lists all discs.
        """
        self._settings = settings
        self._statistics = statistics
        self._io_pool = io_pool
        self._disc_counts = disc_counts
        self._state = state
        self._files = files
        self._library = library
        self._instance = f"{os.getpid()}-{time.time_ns()}"
        self._cache_folder = os.fsdecode(cache_folder() or "")  # now: it may look at the disk
        self._started = round(time.time() - (time.monotonic() - statistics.started), 3)

    async def serve(self) -> None:
        """Look for the files of slow reads, and list the discs, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._files.serve)
            nursery.start_soon(in_background, self._library.serve)

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to one of the requests.

        Raises:
            UsageError: the request is invalid, or of another version.
        """
        protocol = request.get("protocol")
        if protocol != PROTOCOL:
            raise UsageError(
                f"this mount supports version {PROTOCOL} of its control protocol, not"
                f" {str(protocol)[:20]}; mount it again, so that both have the same version"
            )
        match request["command"]:
            case "activity":
                return self._summary().to_json()
            case "discs":
                return await self._discs(*page_of(request))
            case "library":
                return await self._library.answer(request)
            case "disc":
                return self._details(request.get("disc")).to_json()
            case _:
                return await self._slow_reads(*page_of(request))

    def _summary(self) -> Activity:
        statistics, now = self._statistics, now_ns()
        total = statistics.total
        compressed, plain, _ = self._disc_counts.numbers()
        readers = [
            ReaderActivity(pid, program, _idle(meter, now), _counts(meter), _rates(meter, now))
            for (pid, program), meter in statistics.readers(_READERS)
        ]
        return Activity(
            PROTOCOL,
            self._instance,
            total.revision,
            time.time(),
            MountFacts(
                os.fsdecode(self._settings.mount_point),
                os.fsdecode(self._settings.source),
                self._state.source_state(),
                __version__,
                os.getpid(),
                self._started,
                self._settings.reports.slow_ms,
                compressed,
                plain,
                not self._disc_counts.is_complete,
                self._cache_folder,
            ),
            MountReads(
                _counts(total),
                _rates(total, now),
                tuple(total.history(now)),
                _latency(total),
                self._state.cache(),
                self._state.preload(),
            ),
            tuple(readers),
            self._waiting(),
            len(statistics.waiting),
            tuple(
                DiskActivity(f"{os.major(device)}:{os.minor(device)}", count, round(longest, 3))
                for device, (count, longest) in self._io_pool.waits().items()
            ),
            statistics.disc_count(),
        )

    def _waiting(self) -> tuple[WaitingRead, ...]:
        found = []
        for trace in islice(self._statistics.waiting, _WAITING):
            label = trace.handle.label
            assert isinstance(label, ReadLabel)
            seconds = round(trace.elapsed_ns() / _SECOND, 3)
            found.append(
                WaitingRead(label.disc, label.pid, label.program, trace.offset, trace.size, seconds)
            )
        return tuple(found)

    async def _discs(self, since: int, limit: int) -> dict[str, Any]:
        now = now_ns()
        found = self._statistics.changed_discs(since, limit)
        # A disc that changes meanwhile gets a higher revision: the next page has it again.
        revision = found[-1][1].revision if found else since
        page = DiscPage(PROTOCOL, self._instance, revision, len(found) == limit)
        rows = await in_steps(found, lambda one: _disc(*one, now).to_json())
        return page.to_json() | {"discs": rows}

    def _details(self, name: object) -> DiscDetails:
        if not isinstance(name, str) or (meter := self._statistics.disc(name)) is None:
            raise UsageError("no disc of that name was read since the mount started")
        now = now_ns()
        disc, ages = _disc(name, meter, now), tuple(meter.ages(now))
        return DiscDetails(PROTOCOL, self._instance, disc, _latency(meter), ages)

    async def _slow_reads(self, since: int, limit: int) -> dict[str, Any]:
        found = self._statistics.slow_reads.changed_since(since, limit)
        self._files.look_for(found)
        revision = found[-1].revision if found else since
        page = SlowReadPage(PROTOCOL, self._instance, revision, len(found) == limit)
        rows = await in_steps(found, lambda one: _slow_read(one).to_json())
        return page.to_json() | {"slow_reads": rows}


def _counts(meter: Meter) -> ReadCounts:
    return ReadCounts(
        meter.requests,
        meter.bytes,
        meter.errors,
        meter.lookups,
        meter.lookups - meter.loads,
        meter.blocks,
        sum(meter.slow),
    )


def _rates(meter: Meter, now: int) -> Rates:
    sizes, reads = meter.rates(now)
    return Rates(*(round(rate, 3) for rate in (*sizes, *reads)))


def _idle(meter: Meter, now: int) -> float:
    return round(max(now - meter.last_ns, 0) / _SECOND, 3)


def _disc(name: str, meter: Meter, now: int) -> DiscActivity:
    return DiscActivity(name, _idle(meter, now), _counts(meter), _rates(meter, now))


def _latency(meter: Meter) -> tuple[Latency, ...]:
    rows: Sequence[Sequence[int]] = meter.histogram()
    if not rows:
        return ()
    return tuple(
        Latency(cause, sum(row), total / _SECOND, slow, tuple(row))
        for cause, row, total, slow in zip(CAUSES, rows, meter.total_ns(), meter.slow, strict=True)
    )


def _slow_read(read: SlowRead) -> SlowReadActivity:
    total, disk, decode = (round(time / _SECOND, 6) for time in read.times)
    return SlowReadActivity(
        read.number,
        round(read.time, 3),
        read.label.disc,
        read.file,
        read.offset,
        read.size,
        read.label.pid,
        read.label.program,
        read.cause,
        read.failed,
        SlowTimes(total, round(read.queue_ns / _SECOND, 6), disk, decode),
    )
