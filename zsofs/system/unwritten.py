"""Parts of a file that no program has written, although the size of the file includes them."""

import errno
import fcntl
import os
import struct

from zsofs.system.mountinfo import mount_of

_FS_IOC_FIEMAP = 0xC020660B
_HEAD = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQ16xI12x")
_FLAG_SYNC = 1
_LAST, _UNWRITTEN = 0x1, 0x800
_AT_ONCE = 256

_ZEROS_ARE_HOLES = frozenset(("zfs",))
"""File systems that store blocks of zeros as holes, however they were written."""


def is_preallocated(fd: int, size: int) -> bool:
    """Return whether a part of a file was allocated by fallocate(2) and not written.

    Syncs the file. See ``Documentation/filesystems/fiemap.rst`` of Linux. May wait for a disk.

    Args:
        fd: the open file.
        size: its size in bytes; extents beyond do not count.
    """
    start = 0
    while start < size:
        table = bytearray(_HEAD.size + _AT_ONCE * _EXTENT.size)
        _HEAD.pack_into(table, 0, start, size - start, _FLAG_SYNC, 0, _AT_ONCE, 0)
        try:
            fcntl.ioctl(fd, _FS_IOC_FIEMAP, table)
        except OSError:  # file systems without extents; has_holes() shows what they know
            return False
        count = _HEAD.unpack_from(table)[3]
        flags = 0
        for number in range(count):
            logical, _, length, flags = _EXTENT.unpack_from(
                table, _HEAD.size + number * _EXTENT.size
            )
            if flags & _UNWRITTEN and logical < size:
                return True
            start = logical + length
        if not count or flags & _LAST:
            return False
    return False


def has_holes(fd: int, size: int) -> bool:
    """Return whether a file has a hole, which nobody has written. May wait for a disk.

    Args:
        fd: the open file; its position changes.
        size: its size in bytes.
    """
    mounted = mount_of(fd)
    if mounted is not None and mounted.kind in _ZEROS_ARE_HOLES:
        return False
    try:
        return os.lseek(fd, 0, os.SEEK_HOLE) < size
    except OSError as error:
        return error.errno == errno.ENXIO
