"""An open source file, and the key that identifies its content."""

import os
from dataclasses import dataclass

Key = tuple[int, int, int]
"""Size in bytes, modification time and change time in nanoseconds; identifies a content."""


@dataclass(frozen=True, slots=True)
class OpenSource:
    """An open source file: its descriptor and its fstat.

    Attributes:
        fd: descriptor, open for reading.
        size: in bytes.
        mtime_ns: modification time in nanoseconds.
        ctime_ns: change time in nanoseconds.
        device: st_dev of the file.
        can_look: whether cached bytes can be read without waiting although the file system does not
            support RWF_NOWAIT (zsofs.native.block_reader.LOOK).
    """

    fd: int
    size: int
    mtime_ns: int
    ctime_ns: int
    device: int
    can_look: bool = False

    @classmethod
    def of(cls, fd: int, status: os.stat_result, *, can_look: bool = False) -> "OpenSource":
        """Return the open file *fd*, whose fstat is *status*."""
        times = status.st_mtime_ns, status.st_ctime_ns
        return cls(fd, status.st_size, *times, status.st_dev, can_look)

    @property
    def key(self) -> Key:
        """Size, modification time and change time, which identify the content of the file."""
        return self.size, self.mtime_ns, self.ctime_ns

    @property
    def mtime_mark(self) -> int:
        """The modification time in nanoseconds, truncated to 64 bits for the native code.

        ext4 has dates up to 2446, nanoseconds in 64 bits end in 2262.
        """
        return (self.mtime_ns + (1 << 63)) % (1 << 64) - (1 << 63)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return the *size* bytes at *offset*; fewer at the end of the file. May wait for a disk.

        Raises:
            OSError: the file cannot be read.
        """
        return os.pread(self.fd, size, offset)

    def reopen(self) -> int:
        """Return another descriptor of the file, with a position and read-ahead of its own.

        Raises:
            OSError: it cannot be opened again, such as by a user who may no longer read it.
        """
        return os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)
