"""The kernel's side of a FUSE mount, for root: mount(2), detaching, limits, abort."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from zsofs.mounts import Mounted, mounted_at

_READ_ONLY = 1
_NO_SET_USER_ID = 2
_NO_DEVICES = 4
_DETACH = 2  # umount2(2), and not to follow a symlink
_NO_FOLLOW = 8

_MAX_BACKGROUND = 96
"""Read-ahead requests under way for each mount. The kernel's own limit of 12 is shared by all
files: 12 readers that hang on a dead disk stop everyone (tried). As `_fuse_receive.h` asks for."""


def mount(
    source: bytes, point: bytes, *, user: int, group: int, writable: bool, allow_other: bool
) -> int:
    """Mount a FUSE file system that nobody serves yet.

    Args:
        source: what the table of mounts shows as its source; any bytes.
        point: real path of the folder it is mounted at.
        user: number of the user whose mount it is: who may use it, and look at its state.
        group: number of that user's group.
        writable: whether the kernel lets changes through.
        allow_other: whether other users may use it.

    Returns:
        A descriptor of /dev/fuse; whoever holds it serves the mount.

    Raises:
        OSError: it cannot be.
    """
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        words = [
            f"fd={fd}",
            f"rootmode={os.stat(point).st_mode & 0o170000:o}",
            f"user_id={user}",
            f"group_id={group}",
            "default_permissions",
            *(["allow_other"] if allow_other else []),
        ]
        flags = _NO_SET_USER_ID | _NO_DEVICES | (0 if writable else _READ_ONLY)
        _call(
            "mount", source, point, b"fuse.zsofs", ctypes.c_ulong(flags), ",".join(words).encode()
        )
    except BaseException:
        os.close(fd)
        raise
    return fd


def detach(point: bytes) -> None:
    """Take the mount at *point* away from there; who has something open in it keeps it.

    Raises:
        OSError: it cannot be; EINVAL if nothing is mounted there.
    """
    _call("umount2", point, _DETACH | _NO_FOLLOW)


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def raise_limits(mount_point: bytes, read_ahead: int) -> None:
    """Let hung readers leave room for others, and the kernel read further ahead.

    The kernel sets both itself when the mount answers its first request: not before that. Nothing
    changes for those who may not change it.

    Args:
        mount_point: its real path.
        read_ahead: in bytes.
    """
    mounted = mounted_at(mount_point)
    if mounted is None:
        return
    with suppress(OSError):
        (_connection(mounted) / "max_background").write_text(str(_MAX_BACKGROUND))
    with suppress(OSError):
        folder = Path("/sys/class/bdi") / mounted.device
        (folder / "read_ahead_kb").write_text(str(read_ahead >> 10))


def abort(mount_point: bytes) -> None:
    """Have the kernel fail everything that still waits for an answer of this mount's daemon."""
    mounted = mounted_at(mount_point)
    if mounted is not None:
        with suppress(OSError):
            (_connection(mounted) / "abort").write_text("1")


def _connection(mounted: Mounted) -> Path:
    """Where the kernel lets a FUSE mount be tuned."""
    return Path("/sys/fs/fuse/connections") / mounted.device.partition(":")[2]
