"""Free space of the source: the current statvfs result, or the last one if the disk is slow."""

import logging
import math
import os

import trio

from zsofs.errors import DiskBusyError, reason
from zsofs.formats.file_names import MAX_NAME
from zsofs.reading.worker_threads import WorkerThreads
from zsofs.source.tree import SourceTree
from zsofs.timings import timings

log = logging.getLogger(__name__)


_NO_ROOM = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, MAX_NAME))


class StatfsCache:
    """The last statvfs result. For the event loop."""

    def __init__(self, workers: WorkerThreads, tree: SourceTree) -> None:
        self._workers = workers
        self._tree = tree
        self._last: os.statvfs_result | None = None

    async def get(self, device: int) -> os.statvfs_result:
        """Return the current result, or the last one if *device* is slow.

        Errors of the source are not passed on: that of a dead daemon would make this mount look
        dead.
        """
        limit = timings().stale_free_space if self._last else math.inf
        with trio.move_on_after(limit):
            try:
                self._last = await self._workers.run_admitted(device, self._tree.statvfs)
            except (OSError, DiskBusyError, MemoryError) as error:
                log.info("cannot determine the free space of the source: %s", reason(error))
                self._last = self._last or _NO_ROOM
        assert self._last is not None
        return self._last
