"""Renames that never replace a file unnoticed, with and without renameat2(2)."""

import errno
import os
import stat
from enum import Enum, auto

from zsofs.native.fileio import rename_exchange, rename_new

_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of a kernel or file system without a flag of renameat2(2), such as NFS or FUSE."""

Identity = tuple[int, int, int, int, int]


def identity(status: os.stat_result) -> Identity:
    """Return an identifier of a file and its content.

    It excludes the change time, which a rename changes.
    """
    kind = stat.S_IFMT(status.st_mode)
    return status.st_dev, status.st_ino, kind, status.st_size, status.st_mtime_ns


def rename_to_free_name(
    old: str | bytes,
    new: str | bytes,
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
) -> None:
    """Rename a file to a name that must be free.

    Args:
        old: old name or path.
        new: new name or path.
        src_dir_fd: the directory that *old* is relative to; None for the current one.
        dst_dir_fd: the same for *new*.

    Raises:
        FileExistsError: the name is taken.
        OSError: the rename failed.
    """
    try:
        rename_new(old, new, src_dir_fd, dst_dir_fd)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        # Check and rename are two steps here; there is no better way.
        if _exists(new, dst_dir_fd):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from None
        os.rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


class Replaced(Enum):
    """What became of the file that had a name."""

    STAYED = auto()
    """It has the name: it is not the one that was seen."""
    ABSENT = auto()
    """There was none."""
    EXCHANGED = auto()
    """It has the name that the new file had."""
    GONE = auto()
    """It was deleted."""


def replace_seen(new: str, target: str, seen: os.stat_result) -> Replaced:
    """Rename *new* to *target*, replacing only the file that was seen there.

    The two files are exchanged in one step, so that another file that has taken the name meanwhile
    is detected afterwards and exchanged back. Without RENAME_EXCHANGE the file is checked
    just before it is replaced.

    Raises:
        OSError: the rename failed.
    """
    try:
        if identity(os.lstat(target)) != identity(seen):
            return Replaced.STAYED
        rename_exchange(new, target)
    except FileNotFoundError:
        rename_to_free_name(new, target)
        return Replaced.ABSENT
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        os.rename(new, target)
        return Replaced.GONE
    if identity(os.lstat(new)) != identity(seen):
        rename_exchange(new, target)
        return Replaced.STAYED
    return Replaced.EXCHANGED


def _exists(name: str | bytes, folder: int | None) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
