"""A source file that is open for changes, or that may change while it is read.

Nothing is cached: each read goes to the source. All calls except :meth:`LiveFile.read_now` may
wait for a disk, and are for threads.
"""

import errno
import mmap
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from zsofs.native.fileio import start_writeback
from zsofs.system.full_write import checked

if TYPE_CHECKING:
    from zsofs.source.new_discs import NewFile


_WRITEBACK = 1 << 20
"""Bytes of a new disc after which the kernel is told to write them to the disk: it would collect
gigabytes, and reads would wait while it writes them."""


class TimedStat(NamedTuple):
    """The status of a file at a time.

    Attributes:
        status: the stat result.
        at: time just before the stat call, by the monotonic clock.
    """

    status: os.stat_result
    at: float


def seen(file: int | str) -> TimedStat:
    """Return the current status of an open file or a path."""
    at = time.monotonic()
    return TimedStat(os.stat(file), at)


class LiveFile:
    """An open file handle with its own descriptor.

    Attributes:
        fd: the descriptor.
        device: st_dev of the file.
        writable: whether it is open for writing.
        told: errno of the last logged write error; None before the first.
        new: what is known of a file that may become a disc (``--new-discs``); None for others.
        is_copy: whether a program writes a whole file through this handle, such as a new disc.
    """

    def __init__(
        self, fd: int, device: int, *, writable: bool, readable: bool, appends: bool
    ) -> None:
        """Create it; *appends*: whether the handle was opened with O_APPEND."""
        self.fd = fd
        self.device = device
        self.writable = writable
        self.told: int | None = None
        self.new: NewFile | None = None
        self.is_copy = False
        self._readable = readable
        self._appends = appends
        self._can_ask = True
        self._collected = 0

    def read_now(self, offset: int, size: int) -> bytes | None:
        """Return *size* bytes at *offset*, fewer at the end; None if that would block."""
        if not self._can_ask:
            return None
        buffer = bytearray(size)
        try:
            count = os.preadv(self.fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return None
            self._can_ask = error.errno != errno.EOPNOTSUPP
            if self._can_ask:
                raise
            return None
        # A short read ends at a page that is not in memory, or at the end of the file.
        return bytes(buffer) if count == size else None

    def read(self, offset: int, size: int) -> bytes:
        """Return the *size* bytes at *offset*, fewer at the end."""
        return os.pread(self.fd, size, offset)

    def write(self, offset: int, data: bytes, known_size: int) -> tuple[int, TimedStat]:
        """Write *data* at *offset*.

        Args:
            offset: in bytes.
            data: the bytes to write.
            known_size: the file's last known size in bytes.

        Returns:
            Number of bytes written, and the status after it. A write past the file's end may be
            short if the disk is full.

        Raises:
            OSError: no byte could be written, or not all bytes of a write inside the file.
        """
        flags = os.RWF_APPEND if self._is_appended(offset, len(data), known_size) else 0
        count = checked(os.pwritev(self.fd, [data], offset, flags)) if data else 0
        # A write inside the file may be of mapped pages. For those, the kernel treats a short write
        # as complete (tested: the rest was silently lost).
        while count < len(data) and offset + len(data) <= known_size:
            count += checked(os.pwritev(self.fd, [memoryview(data)[count:]], offset + count))
        if self.new is not None:
            self.new.wrote(self.fd, offset, count)
        if self.is_copy:
            self._collected += count
            if self._collected >= _WRITEBACK:
                self._collected = 0
                start_writeback(self.fd, 0, 0)
        return count, seen(self.fd)

    def _is_appended(self, offset: int, size: int, known_size: int) -> bool:
        """Return whether a write appends, according to the kernel's view of the file's end.

        The real end is further if another program has just appended in the source. Mapped pages are
        written at their offset, even through a handle with O_APPEND: the kernel sends them from
        inside the file, as whole pages except the last, and only through handles for reading and
        writing, because only those can be mapped so. An append of whole pages through such a handle
        looks the same.
        """
        end = offset + size
        are_whole = offset % mmap.PAGESIZE == 0 and (end % mmap.PAGESIZE == 0 or end == known_size)
        may_be_pages = self._readable and are_whole and offset < known_size
        return self._appends and not may_be_pages

    def sync(self, *, only_data: bool) -> None:
        """Sync the file to the disk."""
        (os.fdatasync if only_data else os.fsync)(self.fd)

    def flush(self) -> None:
        """Do what close(2) of a program does: some file systems report a full disk then."""
        os.close(os.dup(self.fd))

    def close(self) -> None:
        """Close the descriptor."""
        try:
            if self.new is not None:
                with suppress(OSError):  # the program that closed it has got that error
                    self.flush()  # NFS sets the times of the file then
                self.new.settle(self.fd)
        finally:
            os.close(self.fd)
