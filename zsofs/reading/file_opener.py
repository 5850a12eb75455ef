"""Opening and closing of source files in worker threads, within the limit of open files."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import trio

from zsofs.reading.descriptor_budget import DescriptorBudget
from zsofs.reading.tasks import in_background
from zsofs.reading.worker_threads import WorkerThreads

log = logging.getLogger(__name__)

R = TypeVar("R")


class OpenFile(Protocol):
    """An open file of the source."""

    @property
    def device(self) -> int:
        """Return st_dev of the file."""

    def close(self) -> None:
        """Close the file. May wait for a disk."""


class FileOpener:
    """Opens and closes files. For the event loop."""

    def __init__(self, workers: WorkerThreads) -> None:
        self._workers = workers
        self._budget = DescriptorBudget()
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Close files in background tasks until the context ends."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            yield
            nursery.cancel_scope.cancel()

    async def open(self, device: int, function: Callable[..., R], *args: object) -> R:
        """Call *function*, which opens one file, in a worker thread for *device*.

        Raises:
            DiskBusyError: too many requests are waiting for *device*.
            OSError: EMFILE if too many files are open; or what *function* raises.
        """
        return await self._workers.run_admitted(device, self._budget.open, function, *args)

    async def close(self, file: OpenFile) -> None:
        """Close *file*, however long it takes to get a thread."""
        await self._workers.run_surely(file.device, self._budget.close, file)

    def close_later(self, name: str, close: Callable[..., Awaitable[None]], *args: object) -> None:
        """Close a source file without delaying the reply to FUSE_RELEASE.

        The kernel counts that request like read-ahead, of which only a few are in progress at a
        time for all files: closing on a hanging disk would block reads from others.

        Args:
            name: name of the file, for the log.
            close: closes it, like :meth:`close`.
            args: arguments of *close*.
        """

        async def finish() -> None:
            try:
                await close(*args)
            except OSError as error:
                log.warning("%s: closing it failed: %s", name, error.strerror)

        assert self._nursery is not None
        self._nursery.start_soon(in_background, finish)
