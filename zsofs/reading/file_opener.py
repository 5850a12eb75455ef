"""Opens and closes files of the source in worker threads, within the limit of open files."""

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
        """Have files closed by tasks of their own until the context ends."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            yield
            nursery.cancel_scope.cancel()

    async def open(self, device: int, function: Callable[..., R], *args: object) -> R:
        """Call *function*, which opens one file, in a thread that counts against *device*.

        Raises:
            DiskBusyError: too many requests wait for *device*.
            OSError: EMFILE if too many files are open; or what *function* raises.
        """
        return await self._workers.run_admitted(device, self._budget.open, function, *args)

    async def close(self, file: OpenFile) -> None:
        """Close *file*, however long a thread for it has to be waited for."""
        await self._workers.run_surely(file.device, self._budget.close, file.close)

    def close_later(self, name: str, close: Callable[..., Awaitable[None]], *args: object) -> None:
        """Close a file of the source without delaying the answer to FUSE_RELEASE.

        The kernel counts that request with those for read-ahead, of which few are under way at a
        time for all files together: closing on a disk that hangs would stop reads from others.

        Args:
            name: of the file, for the log.
            close: closes it, as :meth:`close` does.
            args: of *close*.
        """

        async def finish() -> None:
            try:
                await close(*args)
            except OSError as error:
                log.warning("%s: closing it failed: %s", name, error.strerror)

        assert self._nursery is not None
        self._nursery.start_soon(in_background, finish)
