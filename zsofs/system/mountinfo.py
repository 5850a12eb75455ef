"""The kernel's table of mounts, read without touching anything that is mounted."""

import os
import re
import select
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILE_SYSTEM_TYPE = "fuse.zsofs"
"""Type of our mounts in the table."""

_TABLE = Path("/proc/self/mountinfo")

_ELSEWHERE = frozenset(
    """9p afs beegfs ceph cifs coda fuse gfs2 glusterfs lustre ncpfs nfs nfs4 ocfs2 orangefs smb3
    smbfs vboxsf virtiofs vmhgfs""".split()  # noqa: SIM905 - a list of twenty strings reads worse
)
"""Types of file systems whose files may change without this machine's kernel being told."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """One line of the table.

    Attributes:
        number: the kernel's number of the mount.
        path: where it is mounted.
        device: major and minor number, as in ``0:52``.
        kind: type of the file system, as in ``fuse.zsofs``.
        user: whose mount it is, where it is one of FUSE.
        source: what is mounted: a device, or what the program that mounted it says.
    """

    number: int
    path: bytes
    device: str
    kind: str
    user: int | None
    source: bytes = b""

    @property
    def is_fuse(self) -> bool:
        """Whether a program serves its files, which are on no disk that the kernel knows."""
        return self.kind == "fuse" or self.kind.startswith("fuse.")

    @property
    def changes_elsewhere(self) -> bool:
        """Whether others than this machine's kernel may change its files.

        A file system of FUSE may show anything; one on a disk of this machine (fuseblk) does not.
        """
        return self.kind in _ELSEWHERE or self.is_fuse

    @property
    def has_change_times(self) -> bool:
        """Whether the change time of an open file is one that nobody can set.

        FAT has a single time for both; a FUSE file system may report anything, and many report the
        modification time (exfat-fuse, sshfs).
        """
        return not (self.kind in ("msdos", "vfat") or self.kind.startswith("fuse"))


def mount_table() -> Iterator[Mounted]:
    """All mounts, those on top of others after them."""
    return mounts_in(_TABLE.read_bytes())


def mounts_in(table: bytes) -> Iterator[Mounted]:
    """The mounts in a table as the kernel writes it, also that of another process."""
    for line in table.split(b"\n"):
        fields, _, rest = line.partition(b" - ")
        match fields.split(b" "), rest.split(b" "):
            case [number, _, device, _, point, *_], [kind, source, *_, options]:
                user = re.search(rb"\buser_id=(\d+)", options)
                yield Mounted(
                    int(number),
                    unescape(point),
                    os.fsdecode(device),
                    os.fsdecode(kind),  # of a FUSE mount any bytes that its user likes
                    int(user[1]) if user else None,
                    unescape(source),
                )


class MountTable:
    """The table, read again only when it has changed. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mounts: tuple[Mounted, ...] = ()
        self._changes: select.poll | None = None

    def current(self) -> tuple[Mounted, ...]:
        """Return all mounts; the same object as long as none was made or taken down.

        While one thread reads the table, which can wait for a disk, others get the table before.
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
    """Return whether a device, as of st_dev, is a file system of FUSE that is on no disk."""
    number = f"{os.major(device)}:{os.minor(device)}" if device >= 0 else ""
    mounts = [mounted for mounted in mount_table() if mounted.device == number]
    return any(mounted.is_fuse for mounted in mounts)


def mounted_at(path: bytes) -> Mounted | None:
    """What is mounted at exactly *path*; the topmost if several are."""
    found = None
    for mounted in mount_table():
        if mounted.path == path:
            found = mounted
    return found


def mount_of(fd: int) -> Mounted | None:
    """The mount that an open file or folder lies on."""
    number = mount_number(fd)
    return next((mounted for mounted in mount_table() if mounted.number == number), None)


def mount_number(fd: int) -> int:
    """The kernel's number of that mount; -1 if it does not say."""
    found = re.search(r"^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{fd}").read_text(), re.M)
    return int(found[1]) if found else -1


def mounts_around(path: bytes) -> list[Mounted]:
    """The mounts that *path* lies on or that lie below it."""
    below = path.rstrip(b"/") + b"/"
    return [
        mounted
        for mounted in mount_table()
        if (mounted.path + b"/").startswith(below)
        or below.startswith(mounted.path.rstrip(b"/") + b"/")
    ]


def table_fd() -> int:
    """A descriptor of the table, on which epoll shows EPOLLPRI when it has changed."""
    return os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)


def unescape(text: bytes) -> bytes:
    """A path as it is, from the way that the table and fstab write it."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes((int(match[1], 8),)), text)
