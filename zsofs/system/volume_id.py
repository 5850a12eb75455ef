"""Identification of the disk of a file, to distinguish disks mounted at the same path."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from zsofs.system.mountinfo import mount_of

_BY_UUID = Path("/dev/disk/by-uuid")
"""Directory of udev with a link per file system UUID."""

_WITH_CHANGE_TIMES = frozenset(
    """9p bcachefs btrfs ceph cifs ext2 ext3 ext4 f2fs fuse.mergerfs jfs nfs nfs4 nilfs2 ntfs3
    overlay ramfs smb3 tmpfs virtiofs xfs zfs""".split()  # noqa: SIM905 - many strings read worse
)
"""File systems with change times of their own. FAT, exFAT and file systems over SSH have none, and
report the modification time instead, which a backup has as well."""


def disk_of(fd: int) -> str | None:
    """Return an identifier of the disk of an open file.

    Returns:
        The UUID of its file system. Empty if it is unknown but the file has a change time, which no
        copy on another disk shares; None if neither is available.
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
    """Return the UUID of the file system on a block device; empty if udev does not list it."""
    with suppress(OSError):
        for name in sorted(os.listdir(_BY_UUID)):
            with suppress(OSError):
                status = os.stat(_BY_UUID / name)
                if stat.S_ISBLK(status.st_mode) and status.st_rdev == device:
                    return name
    return ""
