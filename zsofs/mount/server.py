"""The FUSE server of one mount: all its parts, put together."""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from zsofs.errors import UsageError
from zsofs.fuse.attributes import Appearance
from zsofs.fuse.kernel_cache import Invalidations
from zsofs.fuse.operations import Operations
from zsofs.fuse.parts import Parts
from zsofs.fuse.request_loop import handlers_waiting
from zsofs.fuse.write_operations import WritableOperations
from zsofs.mount.settings import MountSettings
from zsofs.reading.admission import Admission
from zsofs.reading.extent_cache import ExtentCache
from zsofs.reading.io_pool import IoPool
from zsofs.reading.reader import Reader
from zsofs.reading.stats import cost_text
from zsofs.reading.tasks import in_background
from zsofs.reading.worker_threads import ElasticWorkers, WorkerThreads
from zsofs.source.disc_state import Count, DiscState, count, state_of_content
from zsofs.source.filters import Selection
from zsofs.source.new_discs import NewDiscs
from zsofs.source.relpath import joined
from zsofs.source.roots import Roots, is_outside
from zsofs.source.scan import Scanner
from zsofs.source.scan_cache import ScanCache
from zsofs.source.tree import SourceTree
from zsofs.timings import timings
from zsofs.vfs.disc_counter import DiscCounter
from zsofs.vfs.disc_counts import DiscCounts
from zsofs.vfs.follower import Follower
from zsofs.vfs.inodes import Inodes
from zsofs.vfs.opl.titles import load_titles
from zsofs.vfs.opl.view import OplView
from zsofs.vfs.plain_view import PlainView
from zsofs.vfs.present import as_shown

if TYPE_CHECKING:
    from zsofs.mount.control.mount_status import MountStatus
    from zsofs.mount.reports import Reports

log = logging.getLogger(__name__)

_REPORTED_DISCS = 20
_OF_READS = ("activity", "discs", "disc", "slow-reads", "library")
"""Requests about discs and their reads; they change nothing."""


class Server:
    """The components of a mount; they live as long as :meth:`serve` runs.

    Attributes:
        operations: the FUSE operations for pyfuse3.
        around_reload: returns a context manager that is entered during each reload.
    """

    def __init__(self, settings: MountSettings, tree: SourceTree, catalog: ScanCache) -> None:
        library = Inodes(tree, writable=settings.writing.files)
        cache = ExtentCache(settings.cache_size)
        self._invalidations = Invalidations()
        shown = settings.tree
        opl = shown.layout == "opl"
        self._disc_counts = DiscCounts(_counted_before(catalog, tree.roots, opl=opl))
        admission = Admission()
        workers = WorkerThreads(settings.threads, admission)
        io_pool = IoPool(settings.threads)
        reads = Reader(cache, io_pool, workers, settings.reports.slow_ms)
        selection = Selection(shown.include, shown.exclude)
        new_discs = NewDiscs(enabled=settings.writing.new_discs)
        scanner = Scanner(tree, catalog, selection, new_discs, identities=opl)
        lookers = ElasticWorkers(settings.threads, admission)
        self._follower = Follower(
            scanner,
            lookers,
            partial(as_shown, show_raw=shown.show_raw, cd=shown.cd, opl=opl),
            lambda device: io_pool.is_in_use(device) or admission.is_waited_for(device),
        )
        follower, differ = self._follower, self._invalidations.send
        view: PlainView | OplView
        if opl:
            titles = load_titles(shown.titles) if shown.titles else {}
            view = OplView(library, follower, self._disc_counts, differ, workers, titles, catalog)
        else:
            view = PlainView(library, follower, DiscCounter(follower, self._disc_counts), differ)
        self._view = view
        appearance = Appearance(library, settings.owner, for_others=settings.allow_other)
        parts = Parts(library, appearance, view, reads, workers, catalog, settings.preload)
        self._parts = parts
        self.operations = (
            WritableOperations(parts, selection, new_discs, serves_as_root=os.geteuid() == 0)
            if settings.writing.files
            else Operations(parts)
        )
        counts, operations = self._disc_counts, self.operations

        def reports() -> "Reports":
            from zsofs.mount.reports import Reports

            return Reports(settings, catalog, selection, parts, follower, counts, operations)

        self._make_reports = reports
        self._reports: Reports | None = None
        self._report_wanted, self._can_report = trio.Event(), trio.Event()
        self.around_reload: Callable[[], AbstractContextManager[None]] = nullcontext
        self._nursery: trio.Nursery | None = None

    async def serve(self, device: str) -> None:
        """Handle the kernel's requests until the mount ends; *device* is its device number."""
        self._parts.library.tree.cycles.serve_as(device)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self._follower.serve)
            nursery.start_soon(in_background, self._view.serve)
            nursery.start_soon(self._invalidations.serve)
            nursery.start_soon(in_background, self._parts.reads.give_back_when_idle)
            nursery.start_soon(in_background, self._report)
            nursery.start_soon(in_background, self._parts.preloader.serve)
            nursery.start_soon(in_background, self._parts.contents.disks_awake.serve)
            nursery.start_soon(in_background, self._parts.listings.shrink_when_unused)
            await self.operations.serve()
            nursery.cancel_scope.cancel()
        self._parts.library.contents.watcher.close()

    async def _report(self) -> None:
        """Report, until cancelled; loading what that needs would delay the first listing."""
        with trio.move_on_after(timings().reports):
            await self._report_wanted.wait()
        try:
            self._reports = await trio.to_thread.run_sync(self._make_reports)
        except RuntimeError:  # the system gives no thread
            self._reports = self._make_reports()
        self._can_report.set()
        await self._reports.activity.serve()

    async def until_it_can_report(self) -> None:
        """Wait until :meth:`status` can be called."""
        self._report_wanted.set()
        await self._can_report.wait()

    def status(self) -> "MountStatus":
        """Return the status of the mount, once it can report."""
        assert self._reports is not None
        return self._reports.state.status()

    async def drain(self) -> None:
        """Prepare the shutdown while requests are still answered: wait for those in progress."""
        await self._invalidations.drain()
        with trio.move_on_after(timings().last_reads):
            while handlers_waiting():  # noqa: ASYNC110 - counting is cheaper than an event
                await trio.sleep(timings().last_reads_check)

    def keep_traces(self) -> None:
        """Store the boot traces of discs that are still open; after the event loop has ended."""
        self._parts.preloader.keep_now()

    def end(self) -> bool:
        """Stop; return whether no thread uses the FUSE session, which is about to end."""
        return self._invalidations.end()

    def begin_reload(self) -> trio.Event:
        """Scan all known directories again; the event is set when that is done."""
        done = trio.Event()

        async def reload() -> None:
            with self.around_reload():
                await self._follower.reload()
            done.set()

        assert self._nursery is not None
        self._nursery.start_soon(in_background, reload)
        return done

    def report(self, level: int) -> None:
        """Log the cost of reads so far."""
        statistics = self._parts.reads.statistics
        log.log(level, "all discs: %s", cost_text(statistics.total))
        for name, meter in statistics.busiest(_REPORTED_DISCS):
            log.log(level, "%s: %s", name, cost_text(meter))

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a control request; accesses no disk.

        Raises:
            UsageError: the command is unknown.
        """
        match request.get("command"):
            case command if command in _OF_READS:
                return await self._answer_about_reads(request)
            case "status":
                if self._disc_counts.may_be_old:
                    self._view.recount_untold()
                await self.until_it_can_report()
                return self.status().to_json()
            case "reload":
                log.info("scanning the source again (requested)")
                done = self.begin_reload()
                with trio.move_on_after(timings().reload):
                    await done.wait()
                return {"done": done.is_set()}
            case command:
                raise UsageError(
                    f"this mount does not support the command {command!r}; mount it again, so"
                    " that both have the same version"
                )

    async def answer_view(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a request of the group that may only see what is read.

        Raises:
            UsageError: the request is another one.
        """
        if request.get("command") not in _OF_READS:
            raise UsageError(
                "members of the group of --view-group can see what is read in this mount, and"
                " nothing more; its owner can do this, and root"
            )
        return await self._answer_about_reads(request)

    async def _answer_about_reads(self, request: dict[str, Any]) -> dict[str, Any]:
        await self.until_it_can_report()
        assert self._reports is not None
        return await self._reports.activity.answer(request)


def _counted_before(catalog: ScanCache, roots: Roots, *, opl: bool) -> Mapping[bytes, Count]:
    """Return the counts of an earlier mount or listing, by directory.

    Directories outside the source that this mount does not show are omitted, because another mount
    of this source may show them: unreachable ones are dropped.
    """
    ordinary, findings = ({}, catalog.findings()) if opl else catalog.counts()
    states: dict[bytes, list[tuple[bytes, DiscState | None]]] = {folder: [] for folder in ordinary}
    for folder, name, finding in findings:
        state = state_of_content(name, finding, opl=opl)
        states.setdefault(folder, []).append((joined(folder, name), state))
    counts = {folder: count(found) for folder, found in states.items()}
    return {
        folder: replace(found, compressed=found.compressed + ordinary.get(folder, 0))
        for folder, found in counts.items()
        if roots.has(folder) or not (is_outside(folder) and folder.strip(b"/"))
    }
