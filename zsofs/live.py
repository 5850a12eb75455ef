"""A file of the source that is open to be changed, or that may change while it is read.

Nothing of it is kept here: each read asks the source. All calls but :meth:`LiveFile.read_now` may
wait for a disk, and are for threads.
"""

import errno
import os
import time
from typing import NamedTuple


class Seen(NamedTuple):
    """What a file was, and when.

    Attributes:
        status: what stat said.
        at: just before it was asked, by the monotonic clock.
    """

    status: os.stat_result
    at: float


def seen(file: int | str) -> Seen:
    """What an open file, or a path, is now."""
    at = time.monotonic()
    return Seen(os.stat(file), at)


class LiveFile:
    """One handle of a file, with a descriptor of its own.

    Attributes:
        fd: the descriptor.
        device: st_dev of the file.
        writable: whether it is open for writing.
    """

    def __init__(self, fd: int, device: int, *, writable: bool, appends: bool) -> None:
        """*appends* says whether every write goes to the file's end."""
        self.fd = fd
        self.device = device
        self.writable = writable
        self._appends = appends
        self._can_ask = True

    def read_now(self, offset: int, size: int) -> bytes | None:
        """The *size* bytes at *offset*, fewer at the end; None if a disk would be waited for."""
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
        """The *size* bytes at *offset*, fewer at the end."""
        return os.pread(self.fd, size, offset)

    def write(self, offset: int, data: bytes, known_size: int) -> tuple[int, Seen]:
        """Write *data* at *offset*.

        Args:
            offset: in bytes.
            data: what to write.
            known_size: the file's size as the kernel was told. Where all writes go to the end,
                one from there on belongs behind whatever somebody else added in the source
                meanwhile; one before it is of a page that was mapped, and belongs where it says.

        Returns:
            How many bytes were written, and what the file is then. Fewer than *data* has are
            those that there was room for, behind the file's end.

        Raises:
            OSError: there is no room for one byte, or inside the file for all of them.
        """
        flags = os.RWF_APPEND if self._appends and offset >= known_size else 0
        count = os.pwritev(self.fd, [data], offset, flags)
        # One inside the file may be of mapped pages, and for those the kernel takes any answer but
        # an error to mean that all was written (tried: the rest was lost without a word).
        while count < len(data) and offset + len(data) <= known_size:
            count += os.pwritev(self.fd, [memoryview(data)[count:]], offset + count)
        return count, seen(self.fd)

    def sync(self, *, only_data: bool) -> None:
        """Return when all that was written is on the disk."""
        (os.fdatasync if only_data else os.fsync)(self.fd)

    def flush(self) -> None:
        """What a file system does when a program closes a file: some report a full disk then."""
        os.close(os.dup(self.fd))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)
