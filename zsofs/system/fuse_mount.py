"""The kernel interface of FUSE mounts, for root: mount(2), umount2(2), limits, abort.

A mount is identified by its line in the mount table (number, device, type, user and source), never
by path alone: a user who can rename a directory above the mount point controls what has that path.
"""

import ctypes
import errno
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zsofs.system.mountinfo import FILE_SYSTEM_TYPE, Mounted, mount_number, mount_table
from zsofs.system.nofollow import reached

_READ_ONLY = 1
_NO_SET_USER_ID = 2
_NO_DEVICES = 4
_FORCE = 1  # umount2(2)
_DETACH = 2
_NO_FOLLOW = 8

_TRIES = 100
"""Attempts to find a mount that was just created. Each fails only if a directory above it is
renamed between two system calls."""

_MAX_BACKGROUND = 96
"""Concurrent read-ahead requests per mount. The kernel default of 12 is shared by all files: 12
readers that hang on a dead disk block everyone (observed). `fuse/receive.h` requests the same."""


def mount(
    source: bytes, place: int, *, user: int, group: int, writable: bool, allow_other: bool
) -> tuple[int, Mounted]:
    """Mount a FUSE file system that is not served yet.

    Args:
        source: the source in the mount table; any bytes.
        place: descriptor of the mount point directory.
        user: number of the user who owns the mount, and may use it and query its state.
        group: number of that user's group.
        writable: whether the kernel permits writes.
        allow_other: whether other users may use it.

    Returns:
        A descriptor of /dev/fuse, by which the mount is served, and the mount.

    Raises:
        OSError: it cannot be mounted; nothing remains.
    """
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    point, kind = b"/proc/self/fd/%d" % place, FILE_SYSTEM_TYPE.encode()
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
        _call("mount", source, point, kind, ctypes.c_ulong(flags), ",".join(words).encode())
        try:
            return fd, _just_made(place, user)
        except BaseException:
            # The kernel resolves "." to the mount over the directory.
            _call("umount2", point, _DETACH)
            raise
    except BaseException:
        os.close(fd)
        raise


def _just_made(place: int, user: int) -> Mounted:
    """Return the mount of *user* over the directory that is open as *place*.

    Raises:
        OSError: it is not in the mount table.
    """
    for _ in range(_TRIES):
        path = os.readlink(b"/proc/self/fd/%d" % place)
        found = [mounted for mounted in mount_table() if mounted.path == path]
        if found and (found[-1].kind, found[-1].user) == (FILE_SYSTEM_TYPE, user):
            return found[-1]
    raise OSError(errno.ESTALE, "the mount point was moved during mounting")


def located(mounted: Mounted) -> Mounted | None:
    """Return the present table entry of the mount, possibly at another path; None if it is gone.

    The kernel soon gives number and device to the next mount, which has another source as a rule.
    """
    for one in mount_table():
        if (one.number, one.device, one.kind, one.user, one.source) == (
            mounted.number,
            mounted.device,
            mounted.kind,
            mounted.user,
            mounted.source,
        ):
            return one
    return None


@contextmanager
def opened(mounted: Mounted) -> Iterator[int]:
    """Open (O_PATH) the root of exactly this mount, without a request to its server.

    While the descriptor is open the mount is busy, and can only be detached.

    Raises:
        OSError: it is gone, another mount covers it, or a symlink took the place of a directory.
    """
    now = located(mounted)
    if now is None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    with reached(Path(os.fsdecode(now.path)), None) as fd:
        if mount_number(fd) != mounted.number:
            raise OSError(errno.ESTALE, "another mount covers it")
        yield fd


def detach(mounted: Mounted, *, force: bool = False) -> None:
    """Detach a mount; programs that have files open in it keep access.

    Args:
        mounted: the mount.
        force: also abort its connection, so that all requests fail immediately.

    Raises:
        OSError: it cannot be detached; EINVAL if it is gone.
    """
    with opened(mounted) as fd:
        _call("umount2", b"/proc/self/fd/%d" % fd, _DETACH | (_FORCE if force else 0))


def unmount(mounted: Mounted) -> None:
    """Unmount a mount that is not in use.

    The last step is by name, because an open descriptor of the mount would make it busy.

    Raises:
        OSError: it cannot be unmounted; EBUSY if it is in use, EINVAL if it is gone.
    """
    with opened(mounted) as fd:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
    with reached(path.parent, None) as above:
        fd = os.open(path.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        number = mount_number(fd)
        os.close(fd)
        if number != mounted.number:
            raise OSError(errno.ESTALE, "its parent directory was moved")
        _call("umount2", b"/proc/self/fd/%d/%s" % (above, os.fsencode(path.name)), _NO_FOLLOW)


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def is_connected(fd: int) -> bool:
    """Return whether the mount served by a descriptor of /dev/fuse still exists.

    While it does, its device number cannot be reused.
    """
    poll = select.poll()
    poll.register(fd, 0)
    return not poll.poll(0)


def raise_limits(mounted: Mounted, read_ahead: int) -> None:
    """Raise the limits of concurrent and sequential read-ahead.

    The kernel sets both when the mount answers its first request, so call this afterwards. Without
    permission, nothing changes.

    Args:
        mounted: the mount.
        read_ahead: in bytes.
    """
    if located(mounted) is None:
        return
    with suppress(OSError):
        (_connection(mounted) / "max_background").write_text(str(_MAX_BACKGROUND))
    with suppress(OSError):
        folder = Path("/sys/class/bdi") / mounted.device
        (folder / "read_ahead_kb").write_text(str(read_ahead >> 10))


def abort(mounted: Mounted) -> bool:
    """Make the kernel fail all requests that wait for an answer of this mount's daemon.

    Call it only while the mount is known to exist: device numbers are reused.

    Returns:
        Whether it succeeded.
    """
    try:
        (_connection(mounted) / "abort").write_text("1")
    except OSError:
        return False
    return True


def _connection(mounted: Mounted) -> Path:
    """Return the control directory of a FUSE mount."""
    return Path("/sys/fs/fuse/connections") / mounted.device.partition(":")[2]
