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
"""Rights of a program to run as the file's owner, or in its group."""


_HAS_NONE = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems say that have no owners or rights, or not the one that is to be set: FAT, some
that are served over FUSE or NFS, and what is mounted for users of a namespace."""


@dataclass(frozen=True, slots=True)
class NewOwner:
    """The creator of a file.

    Attributes:
        uid: the user it is to belong to; None where it belongs to whoever serves.
        gid: the same for the group.
    """

    uid: int | None
    gid: int | None


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """Attributes to set; None keeps the present value.

    Attributes:
        size: in bytes.
        mode: rights.
        uid: the user it belongs to.
        gid: the group it belongs to.
        times: nanoseconds of the last access and of the last change; None leaves one as it is.
    """

    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    times: tuple[int | None, int | None] = (None, None)


def link_to(fd: int) -> str:
    """Return a path that refers to an open descriptor, which may be O_PATH."""
    return f"/proc/self/fd/{fd}"


def hand_over(fd: int, mode: int, maker: NewOwner, above: os.stat_result) -> None:
    """Set mode and owner of a new file or directory.

    The daemon's own umask does not count: the kernel has taken that of the caller from *mode*. A
    set-group-id directory, as *above* says of it, has given what is in it its own group. What the
    file system does not let us set (FAT has neither) stays as it is; a file that stays ours does
    not get :data:`SET_IDS`.
    """
    inherited = os.fstat(fd).st_mode & stat.S_ISGID  # by a directory from one above that has it
    keeps_group = above.st_mode & stat.S_ISGID
    uid = -1 if maker.uid is None else maker.uid
    gid = -1 if maker.gid is None or keeps_group else maker.gid
    if not _could(lambda: os.chown(link_to(fd), uid, gid)):
        mode &= ~SET_IDS
    _could(lambda: os.chmod(link_to(fd), stat.S_IMODE(mode) | inherited))


def _could(change: Callable[[], None]) -> bool:
    """Return whether the file system let us change what not every one has."""
    try:
        change()
    except OSError as error:
        if error.errno not in _HAS_NONE:
            raise
        return False
    return True


def take_set_ids(fd: int) -> None:
    """Take the rights :data:`SET_IDS` from a file, so that nobody writes what runs with them.

    Where we may not, it is another user's, and the kernel takes them when we write to it.
    """
    mode = os.fstat(fd).st_mode
    if mode & SET_IDS:
        with suppress(PermissionError):
            os.chmod(link_to(fd), stat.S_IMODE(mode) & ~SET_IDS)


def set_others(fd: int, wanted: AttributeChange) -> None:
    """Set all of *wanted* except the size.

    Raises:
        OSError: the file system does not let us.
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
