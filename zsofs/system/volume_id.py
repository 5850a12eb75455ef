"""Which disk a file lies on, told from another disk that is mounted at the same place."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from zsofs.system.mountinfo import mount_of

_BY_UUID = Path("/dev/disk/by-uuid")
"""Where udev has a link for each file system on a disk, named after its UUID."""

_WITH_CHANGE_TIMES = frozenset(
    """9p bcachefs btrfs ceph cifs ext2 ext3 ext4 f2fs fuse.mergerfs jfs nfs nfs4 nilfs2 ntfs3
    overlay ramfs smb3 tmpfs virtiofs xfs zfs""".split()  # noqa: SIM905 - many strings read worse
)
"""Types of file systems with change times of their own. FAT, exFAT and what is reached over SSH
have none, and say the modification time instead, which a backup has, too."""


def disk_of(fd: int) -> str | None:
    """What tells the disk of an open file from others that are mounted there at other times.

    Returns:
        The UUID of its file system. Empty where the system does not say, but the file's change time
        tells as much, which no copy on another disk has; None where that does not tell, either.
    """
    status = os.fstat(fd)
    uuid = _uuid_of(status.st_dev)
    if uuid:
        return uuid
    with suppress(OSError):
        mounted = mount_of(fd)
        if mounted is not None and mounted.kind in _WITH_CHANGE_TIMES:
            return ""
    return "" if status.st_ctime_ns != status.st_mtime_ns else None


def _uuid_of(device: int) -> str:
    """The UUID of the file system on a block device; empty if udev does not know it."""
    with suppress(OSError):
        for name in sorted(os.listdir(_BY_UUID)):
            with suppress(OSError):
                status = os.stat(_BY_UUID / name)
                if stat.S_ISBLK(status.st_mode) and status.st_rdev == device:
                    return name
    return ""
