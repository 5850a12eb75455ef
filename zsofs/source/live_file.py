"""A source file that is open for changes, or that may change while it is read.

Nothing of it is kept here: each read asks the source. All calls but :meth:`LiveFile.read_now` may
wait for a disk, and are for threads.
"""

import errno
import mmap
import os
import time
from typing import NamedTuple

from zsofs.system.full_write import checked


class TimedStat(NamedTuple):
    """The status of a file at a time.

    Attributes:
        status: what stat said.
        at: just before it was asked, by the monotonic clock.
    """

    status: os.stat_result
    at: float


def seen(file: int | str) -> TimedStat:
    """Return what an open file, or a path, is now."""
    at = time.monotonic()
    return TimedStat(os.stat(file), at)


class LiveFile:
    """An open file handle with its own descriptor.

    Attributes:
        fd: the descriptor.
        device: st_dev of the file.
        writable: whether it is open for writing.
        told: number of the last error of a write that the log was told of; None before the first.
    """

    def __init__(
        self, fd: int, device: int, *, writable: bool, readable: bool, appends: bool
    ) -> None:
        """*appends* says whether every write goes to the file's end."""
        self.fd = fd
        self.device = device
        self.writable = writable
        self.told: int | None = None
        self._readable = readable
        self._appends = appends
        self._can_ask = True

    def read_now(self, offset: int, size: int) -> bytes | None:
        """Return *size* bytes at *offset*, fewer at the end; None if a disk would be waited for."""
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
        # Fewer bytes are those before one that is not in memory, or before the end.
        return bytes(buffer) if count == size else None

    def read(self, offset: int, size: int) -> bytes:
        """Return the *size* bytes at *offset*, fewer at the end."""
        return os.pread(self.fd, size, offset)

    def write(self, offset: int, data: bytes, known_size: int) -> tuple[int, TimedStat]:
        """Write *data* at *offset*.

        Args:
            offset: in bytes.
            data: what to write.
            known_size: the file's size as it was last seen.

        Returns:
            How many bytes were written, and what the file is then. Fewer than *data* has are
            those that there was room for, behind the file's end.

        Raises:
            OSError: there is no room for one byte, or inside the file for all of them.
        """
        flags = os.RWF_APPEND if self._is_appended(offset, len(data), known_size) else 0
        count = checked(os.pwritev(self.fd, [data], offset, flags)) if data else 0
        # One inside the file may be of mapped pages, and for those the kernel takes any answer but
        # an error to mean that all was written (tried: the rest was lost without a word).
        while count < len(data) and offset + len(data) <= known_size:
            count += checked(os.pwritev(self.fd, [memoryview(data)[count:]], offset + count))
        return count, seen(self.fd)

    def _is_appended(self, offset: int, size: int, known_size: int) -> bool:
        """Return whether a write appends, according to the kernel's view of the file's end.

        It lies further on if somebody else has just appended in the source. Mapped pages go where
        they say, also through a handle that appends: the kernel sends them from inside the file,
        whole but for the last, and only through handles for reading and writing, since no others
        can be mapped so. What appends whole pages through such a handle looks the same.
        """
        end = offset + size
        are_whole = offset % mmap.PAGESIZE == 0 and (end % mmap.PAGESIZE == 0 or end == known_size)
        may_be_pages = self._readable and are_whole and offset < known_size
        return self._appends and not may_be_pages

    def sync(self, *, only_data: bool) -> None:
        """Return when all that was written is on the disk."""
        (os.fdatasync if only_data else os.fsync)(self.fd)

    def flush(self) -> None:
        """What a file system does when a program closes a file: some report a full disk then."""
        os.close(os.dup(self.fd))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)
