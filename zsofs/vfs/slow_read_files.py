"""The file of a disc that a slow read was for, found when a client requests slow reads.

That needs the directories of the disc. They are read in the background, once the slow read is
over, and only while its disk is likely to be awake.
"""

import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

import trio

from zsofs.discs.file_map import Walk
from zsofs.discs.iso9660 import SECTOR, Image
from zsofs.errors import ZsofsError, reason
from zsofs.images.open_image import Content
from zsofs.images.probe import CD_SYNC_SIZE, is_raw_cd
from zsofs.reading.reader import Reader
from zsofs.reading.slow_reads import SlowRead
from zsofs.reading.stats import UNCOUNTED
from zsofs.reading.tasks import in_background
from zsofs.reading.worker_threads import FILE_MAPS, WorkerThreads
from zsofs.timings import timings
from zsofs.vfs.node import Node
from zsofs.vfs.open_contents import OpenContents

log = logging.getLogger(__name__)

_AT_ONCE = 64
"""Entries of a directory tree between two pauses, in which others get Python's lock."""


class SlowReadFiles:
    """Looks for the files of slow reads, one disc after another. For the event loop."""

    def __init__(self, contents: OpenContents, reads: Reader, workers: WorkerThreads) -> None:
        self._contents = contents
        self._reads = reads
        self._workers = workers
        self._wanted: dict[Node, None] = {}
        self._event = trio.Event()

    def look_for(self, reads: Iterable[SlowRead]) -> None:
        """Begin to look for the files of those reads whose files are not known."""
        latest = time.time() - timings().disk_sleeps
        for read in reads:
            node = read.label.node
            if read.file is None and read.time > latest and isinstance(node, Node):
                self._wanted[node] = None
        if self._wanted:
            self._event.set()

    async def serve(self) -> None:
        """Look for files until cancelled."""
        while True:
            await self._event.wait()
            self._event = trio.Event()
            while self._wanted:
                node = next(iter(self._wanted))
                del self._wanted[node]
                await in_background(self._look, node)

    async def _look(self, node: Node) -> None:
        slow_reads = self._reads.statistics.slow_reads
        reads = [read for read in slow_reads if read.label.node is node and read.file is None]
        offsets = sorted({read.offset for read in reads})
        found: dict[int, str] = {}
        with trio.move_on_after(timings().file_map):
            try:
                handle = await self._contents.open(node, 0)
                try:
                    found = await self._files(self._contents.content(handle), offsets)
                finally:
                    self._contents.release(handle)
            except (ZsofsError, OSError, MemoryError) as error:
                log.info("%s: its files cannot be listed: %s", node.name, reason(error))
        slow_reads.found(reads, [found.get(read.offset, "") for read in reads])

    async def _files(self, content: Content, offsets: Sequence[int]) -> dict[int, str]:
        async def read_part(offset: int, size: int) -> bytes:
            trace = UNCOUNTED.begin(offset, size)
            return bytes(await self._reads.read(content, offset, size, trace))

        def read(offset: int, size: int) -> bytes:
            return trio.from_thread.run(read_part, offset, size)

        return await self._workers.run(FILE_MAPS, files_of, read, content.size, offsets)


def files_of(
    read: Callable[[int, int], bytes], size: int, offsets: Sequence[int]
) -> dict[int, str]:
    """Return which file of a disc each of *offsets* is in. For a thread.

    Args:
        read: returns the bytes of the image at an offset, ``read(offset, size)``.
        size: size of the image in bytes.
        offsets: in the image, ascending.

    Returns:
        Paths by offset, such as ``/DATA/MOVIE.PSS``; those in no file are missing.
    """
    image = Image(read, size, is_raw_cd(read(0, min(CD_SYNC_SIZE, size))))
    found: dict[int, str] = {}
    for number, entry in enumerate(Walk(image).entries()):
        if number % _AT_ONCE == 0:
            time.sleep(timings().file_map_pause)
        begin = entry.extent.first * image.stored_sector
        end = begin + -(-entry.extent.size // SECTOR) * image.stored_sector
        at = bisect_left(offsets, begin)
        while at < len(offsets) and offsets[at] < end:
            found.setdefault(offsets[at], entry.path)
            at += 1
        if len(found) == len(offsets):
            break
    return found
