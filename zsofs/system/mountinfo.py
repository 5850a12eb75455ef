"""The mount table of the kernel, read without access to mounted file systems."""

import os
import re
import select
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILE_SYSTEM_TYPE = "fuse.zsofs"
"""File system type of zsofs mounts in the table."""

_TABLE = Path("/proc/self/mountinfo")

_ELSEWHERE = frozenset(
    """9p afs beegfs ceph cifs coda fuse gfs2 glusterfs lustre ncpfs nfs nfs4 ocfs2 orangefs smb3
    smbfs vboxsf virtiofs vmhgfs""".split()  # noqa: SIM905 - a list of twenty strings reads worse
)
"""Types of file systems that can change without events in this machine's kernel."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A line of the mount table.

    Attributes:
        number: mount ID of the kernel.
        path: mount point.
        device: major and minor number, such as ``0:52``.
        kind: file system type, such as ``fuse.zsofs``.
        user: number of the user who owns a FUSE mount.
        source: what is mounted: a device, or a text set by the mounting program.
    """

    number: int
    path: bytes
    device: str
    kind: str
    user: int | None
    source: bytes = b""

    @property
    def is_fuse(self) -> bool:
        """Whether a program serves its files, rather than the kernel from a disk."""
        return self.kind == "fuse" or self.kind.startswith("fuse.")

    @property
    def changes_elsewhere(self) -> bool:
        """Whether its files can change without events in this machine's kernel.

        A FUSE file system may show anything, except one on a disk of this machine (fuseblk).
        """
        return self.kind in _ELSEWHERE or self.is_fuse

    @property
    def has_change_times(self) -> bool:
        """Whether it maintains change times that cannot be set.

        FAT has a single time for both; a FUSE file system may report anything, and many report the
        modification time (exfat-fuse, sshfs).
        """
        return not (self.kind in ("msdos", "vfat") or self.kind.startswith("fuse"))


def mount_table() -> Iterator[Mounted]:
    """Return all mounts, in mount order."""
    return mounts_in(_TABLE.read_bytes())


def mounts_in(table: bytes) -> Iterator[Mounted]:
    """Yield the mounts in a mountinfo table, which may be that of another process."""
    for line in table.split(b"\n"):
        fields, _, rest = line.partition(b" - ")
        match fields.split(b" "), rest.split(b" "):
            case [number, _, device, _, point, *_], [kind, source, *_, options]:
                user = re.search(rb"\buser_id=(\d+)", options)
                yield Mounted(
                    int(number),
                    unescape(point),
                    os.fsdecode(device),
                    os.fsdecode(kind),  # for a FUSE mount, any bytes chosen by its user
                    int(user[1]) if user else None,
                    unescape(source),
                )


class MountTable:
    """The cached mount table, read again only after changes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mounts: tuple[Mounted, ...] = ()
        self._changes: select.poll | None = None

    def current(self) -> tuple[Mounted, ...]:
        """Return all mounts; the same object until a mount or unmount.

        While one thread reads the table, which can wait for a disk, others get the previous table.
        """
        if not self._lock.acquire(blocking=not self._mounts):
            return self._mounts
        try:
            if self._has_changed():
                self._mounts = tuple(mount_table())
            return self._mounts
        finally:
            self._lock.release()

    def _has_changed(self) -> bool:
        if self._changes is not None:
            return bool(self._changes.poll(0))
        fd = table_fd()
        weakref.finalize(self, os.close, fd)
        self._changes = select.poll()
        self._changes.register(fd, select.POLLPRI)
        return True


def is_fuse(device: int) -> bool:
    """Return whether a device (st_dev) is a FUSE file system that is not on a disk."""
    number = f"{os.major(device)}:{os.minor(device)}" if device >= 0 else ""
    mounts = [mounted for mounted in mount_table() if mounted.device == number]
    return any(mounted.is_fuse for mounted in mounts)


def mounted_at(path: bytes) -> Mounted | None:
    """Return the topmost mount at exactly *path*."""
    found = None
    for mounted in mount_table():
        if mounted.path == path:
            found = mounted
    return found


def mount_of(fd: int) -> Mounted | None:
    """Return the mount that contains an open file or directory."""
    number = mount_number(fd)
    return next((mounted for mounted in mount_table() if mounted.number == number), None)


def own_mount_of(path: str) -> Mounted | None:
    """Return the mount of zsofs that contains *path*; None if another file system does.

    Raises:
        OSError: the path cannot be opened.
    """
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        mounted = mount_of(fd)
    finally:
        os.close(fd)
    return mounted if mounted is not None and mounted.kind == FILE_SYSTEM_TYPE else None


def mount_number(fd: int) -> int:
    """Return the mount ID of an open file; -1 if unknown."""
    found = re.search(r"^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{fd}").read_text(), re.M)
    return int(found[1]) if found else -1


def mounts_around(path: bytes) -> list[Mounted]:
    """Return the mounts that contain *path* or are below it."""
    below = path.rstrip(b"/") + b"/"
    return [
        mounted
        for mounted in mount_table()
        if (mounted.path + b"/").startswith(below)
        or below.startswith(mounted.path.rstrip(b"/") + b"/")
    ]


def table_fd() -> int:
    """Return a descriptor of the table, for which epoll reports EPOLLPRI after changes."""
    return os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)


def unescape(text: bytes) -> bytes:
    """Return a path without the escapes of the mount table and fstab."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes((int(match[1], 8),)), text)
