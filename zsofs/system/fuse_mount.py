"""The kernel's side of a FUSE mount, for root: mount(2), umount2(2), limits, abort.

A mount is identified by its line of the table of mounts (number, device, type and user), never by
its path alone: whoever may rename a directory above the mount point chooses what has that path.
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
"""How often a mount that was just made is looked for. Each try fails only if a directory above it
is renamed between two system calls."""

_MAX_BACKGROUND = 96
"""Read-ahead requests under way for each mount. The kernel's own limit of 12 is shared by all
files: 12 readers that hang on a dead disk stop everyone (tried). As `fuse/receive.h` asks for."""


def mount(
    source: bytes, place: int, *, user: int, group: int, writable: bool, allow_other: bool
) -> tuple[int, Mounted]:
    """Mount a FUSE file system that nobody serves yet.

    Args:
        source: what the table of mounts shows as its source; any bytes.
        place: descriptor of the directory that it is mounted over.
        user: number of the user whose mount it is: who may use it, and look at its state.
        group: number of that user's group.
        writable: whether the kernel lets changes through.
        allow_other: whether other users may use it.

    Returns:
        A descriptor of /dev/fuse, whose holder serves the mount; and the mount.

    Raises:
        OSError: it cannot be mounted; then nothing is.
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
            # The kernel steps from the directory to what is mounted over it.
            _call("umount2", point, _DETACH)
            raise
    except BaseException:
        os.close(fd)
        raise


def _just_made(place: int, user: int) -> Mounted:
    """The mount that *user* has over an open directory, open as *place*.

    Raises:
        OSError: it is not in the table.
    """
    for _ in range(_TRIES):
        path = os.readlink(b"/proc/self/fd/%d" % place)
        found = [mounted for mounted in mount_table() if mounted.path == path]
        if found and (found[-1].kind, found[-1].user) == (FILE_SYSTEM_TYPE, user):
            return found[-1]
    raise OSError(errno.ESTALE, "the mount point was moved during mounting")


def located(mounted: Mounted) -> Mounted | None:
    """The same mount as it is in the table now, perhaps at another path; None if it is gone."""
    for one in mount_table():
        if (one.number, one.device, one.kind, one.user) == (
            mounted.number,
            mounted.device,
            mounted.kind,
            mounted.user,
        ):
            return one
    return None


@contextmanager
def opened(mounted: Mounted) -> Iterator[int]:
    """Open (O_PATH) the top of just this mount, wherever it is now; its server is not asked.

    While the descriptor is open the mount is in use, and can only be detached.

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
    """Take a mount away from its place; programs that have something open in it keep it.

    Args:
        mounted: the mount.
        force: abort its connection as well, so that everything in it fails at once.

    Raises:
        OSError: it cannot be detached; EINVAL if it is gone.
    """
    with opened(mounted) as fd:
        _call("umount2", b"/proc/self/fd/%d" % fd, _DETACH | (_FORCE if force else 0))


def unmount(mounted: Mounted) -> None:
    """Unmount a mount that nobody uses.

    The last step is by name, for an open descriptor of the mount would be a use of it.

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
    """Whether the mount that is served by a descriptor of /dev/fuse still exists somewhere.

    While it does, its device number cannot be that of another mount.
    """
    poll = select.poll()
    poll.register(fd, 0)
    return not poll.poll(0)


def raise_limits(mounted: Mounted, read_ahead: int) -> None:
    """Let hung readers leave room for others, and the kernel read further ahead.

    The kernel sets both itself when the mount answers its first request: not before that. Nothing
    changes for those who may not change it.

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
    """Have the kernel fail everything that still waits for an answer of this mount's daemon.

    To be called only while the mount is known to be there: device numbers are used again.

    Returns:
        Whether it did.
    """
    try:
        (_connection(mounted) / "abort").write_text("1")
    except OSError:
        return False
    return True


def _connection(mounted: Mounted) -> Path:
    """Where the kernel lets a FUSE mount be tuned."""
    return Path("/sys/fs/fuse/connections") / mounted.device.partition(":")[2]
