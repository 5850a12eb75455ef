"""Replies to requests for the library of a mount, made in short steps on the event loop."""

import logging
from bisect import bisect_right
from typing import Any

import trio

from zsofs.errors import reason
from zsofs.mount.control.activity import PROTOCOL
from zsofs.mount.control.library import LibraryPage
from zsofs.mount.library_survey import Library, LibraryQuestion, disc_of
from zsofs.mount.report_pages import in_steps, page_of
from zsofs.reading.worker_threads import LIBRARY, WorkerThreads
from zsofs.timings import timings
from zsofs.vfs.disc_counts import DiscCounts
from zsofs.vfs.unsettled_files import UnsettledFiles

log = logging.getLogger(__name__)

_MAX_ROWS = 100
"""Rows of a page: twice as many are 77 kB, whose encoding took 1.5 ms on a busy machine."""


class LibraryReport:
    """The list of all discs, kept for as long as clients request it. For the event loop."""

    def __init__(
        self,
        question: LibraryQuestion,
        disc_counts: DiscCounts,
        unsettled: UnsettledFiles,
        workers: WorkerThreads,
    ) -> None:
        """Create it.

        Args:
            question: what is listed.
            disc_counts: tells which directories are reachable.
            unsettled: files that the scan cache does not have.
            workers: run the survey.
        """
        self._question = question
        self._disc_counts = disc_counts
        self._unsettled = unsettled
        self._workers = workers
        self._library = Library()
        self._mark: object = None
        self._complete = False
        self._wanted = trio.Event()
        self._renewed = trio.Event()

    async def serve(self) -> None:
        """Renew the list while it is requested, and drop it later; until cancelled."""
        while True:
            with trio.move_on_after(timings().library_unused) as limit:
                await self._wanted.wait()
            if limit.cancelled_caught:
                self._library, self._mark = Library(), None
                await self._wanted.wait()
            self._wanted = trio.Event()
            try:
                await self._renew()
            except (OSError, MemoryError) as error:
                log.info("the library cannot be listed: %s", reason(error))
            self._renewed.set()
            self._renewed = trio.Event()
            await trio.sleep(timings().library_check)

    async def _renew(self) -> None:
        complete = self._disc_counts.is_complete
        folders = self._disc_counts.folders() if complete else None
        mark = await self._workers.run(LIBRARY, self._question.mark)
        if mark is None:
            return  # an empty list would show all discs as gone
        found = mark, folders, self._unsettled.number
        if found != self._mark:
            unsettled = self._unsettled.entries()
            library = await self._workers.run(
                LIBRARY, self._question.survey, self._library, folders, unsettled
            )
            if await self._workers.run(LIBRARY, self._question.mark) is None:
                return
            self._library, self._mark = library, found
        self._complete = complete

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the page that a request asks for; the first one waits a moment for the list.

        Raises:
            UsageError: the request is invalid.
        """
        since, limit = page_of(request)
        limit = min(limit, _MAX_ROWS)
        self._wanted.set()
        if not self._library.instance:
            with trio.move_on_after(timings().library_first):
                await self._renewed.wait()
        library = self._library
        first = bisect_right(library.revisions, since)
        found = library.rows[first : first + limit]
        end = first + len(found)
        page = LibraryPage(
            PROTOCOL,
            library.instance,
            library.revisions[end - 1] if found else since,
            end < len(library.rows),
            library.total,
            self._complete and bool(library.instance),
        )
        rows = await in_steps(found, disc_of)
        return page.to_json() | {"discs": rows}
