"""Keeps the hard disks of discs that are in use from spinning down (``--keep-awake auto``).

What the kernel or the drive has cached wakes no disk. So this reads one block past the kernel's
cache (O_DIRECT), at a random place, which the drive has hardly read ahead.
"""

import logging
import mmap
import os
import random
from collections.abc import Callable, Iterable
from contextlib import closing, suppress

import trio

from zsofs.errors import ZsofsError
from zsofs.images.open_image import Content
from zsofs.reading.file_opener import FileOpener
from zsofs.system.hard_disk import is_on_hard_disk
from zsofs.timings import timings

log = logging.getLogger(__name__)

_BLOCK = 4096


class DisksAwake:
    """Reads from the disks of discs that are in use. For the event loop.

    Args:
        in_use: returns the discs that are open and were read within ``timings.disc_idle``.
        opener: opens and closes their files.
        enabled: whether it does.
    """

    def __init__(
        self, in_use: Callable[[], Iterable[Content]], opener: FileOpener, *, enabled: bool
    ) -> None:
        self._in_use = in_use
        self._opener = opener
        self._enabled = enabled

    async def serve(self) -> None:
        """Read one block of each disk in each interval, until cancelled."""
        while self._enabled:
            await trio.sleep(timings().keep_awake)
            for device, content in {one.device: one for one in self._in_use()}.items():
                try:
                    block = await self._opener.open(device, _Block, content)
                    await self._opener.close(block)
                except (ZsofsError, OSError, MemoryError) as error:
                    log.debug("%s: its disk may spin down: %s", content.name, error)


class _Block:
    """A block of a file on a hard disk, which was read from the disk. May wait for a disk.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, content: Content) -> None:
        self.device = content.device
        self._fd = content.reopen()
        try:
            if is_on_hard_disk(self._fd):
                _read_past_cache(self._fd)
        except BaseException:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _read_past_cache(fd: int) -> None:
    blocks = max(os.fstat(fd).st_size // _BLOCK, 1)
    offset = random.randrange(blocks) * _BLOCK
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT
    with suppress(OSError), closing(mmap.mmap(-1, _BLOCK)) as memory:
        direct = os.open(f"/proc/self/fd/{fd}", flags)
        try:
            os.preadv(direct, [memory], offset)
        finally:
            os.close(direct)
        return
    # A file system without O_DIRECT: the kernel forgets the block, and reads it again.
    os.posix_fadvise(fd, offset, _BLOCK, os.POSIX_FADV_DONTNEED)
    os.pread(fd, _BLOCK, offset)
