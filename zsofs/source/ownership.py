"""Setting of owner, mode and times of source files.

All calls may wait for a disk.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

SET_IDS = stat.S_ISUID | stat.S_ISGID
"""The set-user-ID and set-group-ID bits."""


_HAS_NONE = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errnos of file systems that cannot store an owner or mode, or not the requested one: FAT, some
FUSE and NFS file systems, and mounts in a user namespace."""


@dataclass(frozen=True, slots=True)
class NewOwner:
    """The creator of a file.

    Attributes:
        uid: the owner; None for the user of the daemon.
        gid: the group; None for the group of the daemon.
    """

    uid: int | None
    gid: int | None


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """Attributes to set; None keeps the present value.

    Attributes:
        size: in bytes.
        mode: permission bits.
        uid: the owner.
        gid: the group.
        times: atime and mtime in nanoseconds; None keeps the present one.
    """

    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    times: tuple[int | None, int | None] = (None, None)


def link_to(fd: int) -> str:
    """Return a path that refers to an open descriptor, which may be O_PATH."""
    return f"/proc/self/fd/{fd}"


def hand_over(fd: int, mode: int, owner: NewOwner, above: os.stat_result) -> None:
    """Set mode and owner of a new file or directory.

    The daemon's own umask does not apply: the kernel has applied that of the caller to *mode*. A
    file in a set-group-ID directory (*above*: its status) already has the directory's group. What
    the file system cannot set (FAT has neither) is skipped; a file that keeps the daemon's owner
    does not get :data:`SET_IDS`.
    """
    inherited = os.fstat(fd).st_mode & stat.S_ISGID  # a directory inherits it from its parent
    keeps_group = above.st_mode & stat.S_ISGID
    uid = -1 if owner.uid is None else owner.uid
    gid = -1 if owner.gid is None or keeps_group else owner.gid
    if not _could(lambda: os.chown(link_to(fd), uid, gid)):
        mode &= ~SET_IDS
    _could(lambda: os.chmod(link_to(fd), stat.S_IMODE(mode) | inherited))


def _could(change: Callable[[], None]) -> bool:
    """Make a change that not every file system supports; return whether it did."""
    try:
        change()
    except OSError as error:
        if error.errno not in _HAS_NONE:
            raise
        return False
    return True


def take_set_ids(fd: int) -> None:
    """Remove the bits :data:`SET_IDS` of a file before it is written to.

    If that is not permitted, the file is another user's, and the kernel removes them at the write.
    """
    mode = os.fstat(fd).st_mode
    if mode & SET_IDS:
        with suppress(PermissionError):
            os.chmod(link_to(fd), stat.S_IMODE(mode) & ~SET_IDS)


def set_others(fd: int, wanted: AttributeChange) -> None:
    """Set all of *wanted* except the size.

    Raises:
        OSError: the file system reported an error.
    """
    link = link_to(fd)
    if wanted.uid is not None or wanted.gid is not None:
        os.chown(
            link,
            -1 if wanted.uid is None else wanted.uid,
            -1 if wanted.gid is None else wanted.gid,
        )
    if wanted.mode is not None:
        os.chmod(link, wanted.mode)
    accessed, changed = wanted.times
    if accessed is not None or changed is not None:
        now = os.stat(link)
        os.utime(
            link,
            ns=(
                now.st_atime_ns if accessed is None else accessed,
                now.st_mtime_ns if changed is None else changed,
            ),
        )
