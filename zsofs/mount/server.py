"""The FUSE server of one mount: its components, and its status."""

import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import trio

from zsofs import __version__
from zsofs.console.text import for_people
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
from zsofs.reading.tasks import in_background
from zsofs.reading.worker_threads import ElasticWorkers, WorkerThreads
from zsofs.source.disc_state import Count, DiscState, count, state_of_content
from zsofs.source.filters import Selection
from zsofs.source.relpath import joined
from zsofs.source.roots import Roots, is_outside
from zsofs.source.scan import Scanner
from zsofs.source.scan_cache import ScanCache
from zsofs.source.tree import SourceTree
from zsofs.timings import timings
from zsofs.vfs.disc_counter import DiscCounter
from zsofs.vfs.disc_counts import Census
from zsofs.vfs.follower import Follower
from zsofs.vfs.inodes import Inodes
from zsofs.vfs.open_contents import OpenHandle
from zsofs.vfs.opl.titles import load_titles
from zsofs.vfs.opl.view import OplView
from zsofs.vfs.plain_view import PlainView
from zsofs.vfs.present import as_shown
from zsofs.vfs.shown_owner import ShownOwner

log = logging.getLogger(__name__)

_REPORTED_DISCS = 20
_REPORTED_FILES = 20


class Server:
    """The components of a mount; they live as long as :meth:`serve` runs.

    Attributes:
        operations: the handlers for pyfuse3.
        around_reload: returns a context manager that is active during a reload.
    """

    def __init__(self, settings: MountSettings, tree: SourceTree, catalog: ScanCache) -> None:
        self._settings = settings
        self._started = time.monotonic()
        self._library = Inodes(tree, writable=settings.writable)
        self._cache = ExtentCache(settings.cache_size)
        self._invalidations = Invalidations()
        opl = settings.layout == "opl"
        self._census = Census(_counted_before(catalog, tree.roots, opl=opl))
        admission = Admission()
        workers = WorkerThreads(settings.threads, admission)
        io_pool = IoPool(settings.threads)
        self._reads = Reader(self._cache, io_pool, workers)
        selection = Selection(settings.include, settings.exclude)
        surveyor = Scanner(tree, catalog, selection, identities=opl)
        lookers = ElasticWorkers(settings.threads, admission)
        self._follower = Follower(
            surveyor,
            lookers,
            partial(as_shown, show_raw=settings.show_raw, opl=opl),
            lambda device: io_pool.is_in_use(device) or admission.is_waited_for(device),
        )
        library, follower, differ = self._library, self._follower, self._invalidations.send
        view: PlainView | OplView
        if opl:
            titles = load_titles(settings.titles) if settings.titles else {}
            view = OplView(library, follower, self._census, differ, workers, titles, catalog)
        else:
            view = PlainView(library, follower, DiscCounter(follower, self._census), differ)
        self._view = view
        owner = ShownOwner(settings.uid, settings.gid, settings.umask)
        appearance = Appearance(self._library, owner, for_others=settings.allow_other)
        parts = Parts(self._library, appearance, view, self._reads, workers)
        self._listings = parts.listings
        self.operations = (
            WritableOperations(parts, selection, serves_as_root=os.geteuid() == 0)
            if settings.writable
            else Operations(parts)
        )
        self.around_reload: Callable[[], AbstractContextManager[None]] = nullcontext
        self._nursery: trio.Nursery | None = None

    async def serve(self, device: str) -> None:
        """Handle the kernel's requests until the mount ends; *device* is its device number."""
        self._library.tree.cycles.serve_as(device)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self._follower.serve)
            nursery.start_soon(in_background, self._view.serve)
            nursery.start_soon(self._invalidations.serve)
            nursery.start_soon(in_background, self._reads.give_back_when_idle)
            nursery.start_soon(in_background, self._listings.shrink_when_unused)
            await self.operations.serve()
            nursery.cancel_scope.cancel()
        self._library.contents.watcher.close()

    async def drain(self) -> None:
        """Prepare the shutdown while requests are still answered: wait for those in progress."""
        await self._invalidations.drain()
        with trio.move_on_after(timings().last_reads):
            while handlers_waiting():  # noqa: ASYNC110 - counting is cheaper than an event
                await trio.sleep(timings().last_reads_check)

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
        statistics = self._reads.statistics
        log.log(level, "all discs: %s", statistics.total().text())
        for name, counters in statistics.busiest(_REPORTED_DISCS):
            log.log(level, "%s: %s", name, counters.text())

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a control request; accesses no disk.

        Raises:
            UsageError: the command is unknown.
        """
        match request.get("command"):
            case "status":
                if self._census.may_be_old:
                    self._view.recount_untold()
                return self.status()
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

    def _source_state(self) -> str:
        if not self._follower.away:
            return "there"
        return "away" if self._library.tree.was_seen else "not there yet"

    def status(self) -> dict[str, Any]:
        """Return the status of the mount."""
        settings, found = self._settings, self._census.total()
        total = self._reads.statistics.total()
        return {
            "version": __version__,
            "source": os.fsdecode(settings.source),
            "mount_point": os.fsdecode(settings.mount_point),
            "pid": os.getpid(),
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "layout": settings.layout,
            "titles": settings.titles and str(settings.titles),
            "include": settings.include,
            "exclude": settings.exclude,
            "allow_links_to": [os.fsdecode(path) for path in settings.allow_links_to],
            "show_raw": settings.show_raw,
            "writable": settings.writable,
            "source_state": self._source_state(),
            "source_note": self._follower.away,
            "following": self._follower.following,
            "discs": found.discs,
            "compressed_discs": found.compressed,
            "plain_discs": found.plain,
            "counting": not self._census.is_complete,
            "copying": found.copying,
            "refused": _reported(found.refused),
            "refused_total": len(found.refused),
            "links_not_followed": _reported(found.links),
            "links_not_followed_total": len(found.links),
            "shown_empty": _reported(self._follower.not_entered.items()),
            "left_out": _reported(found.left_out),
            "left_out_total": len(found.left_out),
            "readers": _readers(self.operations.readers()),
            "cache": {
                "bytes": self._cache.used,
                "limit": settings.cache_size,
                "hits": total.hits,
                "lookups": total.lookups,
            },
            "requests": total.requests,
            "bytes": total.bytes,
            "errors": total.errors,
            "inodes": len(self._library),
        }


def _counted_before(catalog: ScanCache, roots: Roots, *, opl: bool) -> Mapping[bytes, Count]:
    """Return the counts of an earlier mount or listing, by directory.

    Directories outside the source that this mount does not show are omitted, because another mount
    of this source may show them: unreachable ones are dropped.
    """
    states: dict[bytes, list[tuple[bytes, DiscState | None]]] = {}
    for folder, name, finding in catalog.findings():
        if is_outside(folder) and folder.strip(b"/") and not roots.has(folder):
            continue
        state = state_of_content(name, finding, opl=opl)
        states.setdefault(folder, []).append((joined(folder, name), state))
    return {folder: count(found) for folder, found in states.items()}


def _reported(files: Iterable[tuple[bytes, str]]) -> list[dict[str, str]]:
    """Return the first of these files, each with its reason."""
    return [
        {"path": for_people(path), "reason": reason}
        for path, reason in islice(files, _REPORTED_FILES)
    ]


def _readers(readers: list[OpenHandle]) -> list[dict[str, Any]]:
    """Return programs with the file that each has open, and how many times."""
    processes = {reader.pid: _process(reader.pid) for reader in readers}
    counts = Counter((reader.path, *processes[reader.pid]) for reader in readers)
    return [
        {"pid": pid, "program": program, "path": path, "handles": handles}
        for (path, pid, program), handles in sorted(counts.items())
    ]


def _process(task: int) -> tuple[int, str]:
    """Return process number and program of a task: the kernel names the thread that opens a file.

    A process that has exited keeps its number, without a program; its files may be in use by
    others.
    """
    try:
        said = (Path("/proc") / str(task) / "status").read_bytes()
        found = re.search(rb"^Tgid:\s*(\d+)$", said, re.M)
        pid = int(found[1]) if found else task
        return pid, for_people((Path("/proc") / str(pid) / "comm").read_bytes().strip())
    except OSError:
        return task, ""
