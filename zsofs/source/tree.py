"""Access to the source directory by file descriptors, confined to it.

Every path here is relative to the source directory, or absolute and in a directory of
`--allow-links-to` (see roots.py), and free of symlinks: each step below such a root is opened
without following one, so nothing that changes meanwhile can lead outside. All calls may wait for a
disk.
"""

import errno
import logging
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from zsofs.console.text import for_people
from zsofs.errors import SourceAwayError, StaleNodeError
from zsofs.images.source_file import OpenSource
from zsofs.native.fetch import serves_from_memory
from zsofs.source.mount_cycles import MountCycles, leads_there
from zsofs.source.relpath import is_at_or_below, joined
from zsofs.source.roots import Roots
from zsofs.source.traversal import DirectoryPermissions
from zsofs.system.bounded_stat import BoundedStat
from zsofs.system.nofollow import STEP, opened_below

log = logging.getLogger(__name__)

_IS_ROOT = (
    "the directory %s of --allow-links-to is the root directory; give the directory that has the"
    " discs"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A name in a directory of the source.

    Attributes:
        folder: the directory's path in the source.
        name: the name.
    """

    folder: bytes
    name: bytes

    @property
    def path(self) -> bytes:
        """Path in the source."""
        return joined(self.folder, self.name)


class OpenFolder:
    """An open directory of the source.

    Attributes:
        fd: descriptor, open for reading.
        status: its status when it was opened.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.status = os.fstat(fd)

    def names(self) -> list[bytes]:
        """Return the names of all its entries."""
        return [os.fsencode(name) for name in os.listdir(self.fd)]

    def stat(self, name: bytes) -> os.stat_result | None:
        """Return the lstat result of *name*; None if it does not exist."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open(self, name: bytes) -> OpenSource:
        """Open a regular file for inspection; special files (FIFO, device) are never opened.

        The atime is not changed if that is permitted, so that a sleeping disk need not write.

        Raises:
            StaleNodeError: *name* is no longer a regular file.
            OSError: it cannot be opened.
        """
        with self.step(name) as step:
            try:
                return _open_step(step, name, os.O_NOATIME)
            except PermissionError:  # it is another user's
                return _open_step(step, name)

    @contextmanager
    def step(self, name: bytes) -> Iterator[int]:
        """Yield an O_PATH descriptor of *name*, for a symlink that of the link itself."""
        fd = os.open(name, STEP, dir_fd=self.fd)
        try:
            yield fd
        finally:
            os.close(fd)


class SourceTree:
    """The source directory.

    No descriptor of it is kept open, so that its file system can be unmounted while no file is
    open.

    Attributes:
        path: its absolute path without symlinks, as first resolved.
        roots: that path, and the directories that symlinks may lead to.
        identities: path in the tree of each root that was opened, by st_dev and st_ino.
        was_seen: whether it has existed since the start.
        devices: st_dev of each followed directory, by path, as of its last scan. If it differs
            now, the disk is unmounted, and the path is that of the mount point below it.
        permissions: mode and owner of each directory.
        cycles: mounts inside the source that must not be entered.
        bounded: stat calls with a timeout, for mount points that may not respond.
    """

    def __init__(self, path: bytes, allowed: tuple[bytes, ...] = ()) -> None:
        """Create it; *allowed* are the real paths of directories that symlinks may lead to.

        A directory among them may be missing; its path is resolved when it exists.
        """
        self._given = path
        self._allowed = allowed
        self._late = frozenset(one for one in allowed if not os.path.isdir(one))
        self._lock = threading.Lock()
        self.path = os.path.realpath(path)
        self.roots = Roots.of(self.path, allowed)
        self.identities: dict[tuple[int, int], bytes] = {}
        self.was_seen = os.path.isdir(self.path)
        self.devices: dict[bytes, int] = {}
        self.permissions = DirectoryPermissions()
        self.cycles = MountCycles()
        self.bounded = BoundedStat()

    @property
    def allowed(self) -> tuple[bytes, ...]:
        """Real paths of the directories that symlinks may lead to, as far as they exist."""
        return self._allowed

    @property
    def refused(self) -> Mapping[bytes, str]:
        """Directories that lead back to the mount of this source, with the reason for each.

        They include the source itself, if another root contains it.
        """
        return {**self.cycles.refused(self.roots), **self.roots.repeated}

    def refused_in(self, path: bytes) -> dict[bytes, str]:
        """Return the reasons for those directories among them that lie in *path*, by name."""
        prefix = joined(path, b"")
        return {
            found[len(prefix) :]: why
            for found, why in self.refused.items()
            if found.startswith(prefix) and b"/" not in found[len(prefix) :]
        }

    def served_in(self, path: bytes) -> frozenset[bytes]:
        """Return the names in a directory at which another program or machine serves a mount."""
        prefix = joined(self.roots.real(path).rstrip(b"/"), b"")
        return frozenset(
            mounted.path[len(prefix) :]
            for mounted in self.cycles.mounts()
            if mounted.path.startswith(prefix)
            and b"/" not in mounted.path[len(prefix) :]
            and mounted.changes_elsewhere
        )

    def may_enter(self, path: bytes) -> bool:
        """Return whether a directory does not lead back to the mount of this source."""
        if path in self.refused:
            return False
        point = self.cycles.unasked(path)
        if point is None:
            return True
        fd = self._reached(point)
        try:
            return self.cycles.may_enter(point, fd)
        finally:
            os.close(fd)

    def leads_to(self, question: bytes) -> bool:
        """Return the answer to a question of another mount, see mount_cycles.py."""
        answer = self.cycles.answer(question)
        if isinstance(answer, bool):
            return answer
        for path in answer:
            with suppress(OSError), self.step(path) as fd:
                if leads_there(fd, question):
                    return True
        return False

    def stat(self, path: bytes) -> os.stat_result:
        """Return the lstat result of *path*."""
        with self.step(path) as fd:
            return os.fstat(fd)

    def statvfs(self) -> os.statvfs_result:
        """Return the free space of the source's file system."""
        return os.statvfs(self.path)

    @contextmanager
    def folder(self, path: bytes, *, to_change: bool = False) -> Iterator[OpenFolder]:
        """Open the directory *path* within the context; see also :meth:`step`."""
        with self.step(path, to_change=to_change) as step:
            fd = os.open(f"/proc/self/fd/{step}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield OpenFolder(fd)
        finally:
            os.close(fd)

    def open(self, path: bytes) -> OpenSource:
        """Open a regular file for reading; special files (FIFO, device) are never opened.

        Raises:
            StaleNodeError: *path* is no longer a regular file.
            OSError: it cannot be opened.
        """
        with self.step(path) as step:
            return _open_step(step, path)

    def readlink(self, path: bytes) -> bytes:
        """Return the target text of the symlink *path*."""
        with self.step(path) as step:
            return os.fsencode(os.readlink("", dir_fd=step))

    def _open_root(self, root: bytes) -> int:
        fd = os.open(root, STEP | os.O_DIRECTORY) if root else self._open_source()
        status = os.fstat(fd)
        self.identities[status.st_dev, status.st_ino] = root
        return fd

    def _open_source(self) -> int:
        if self.was_seen:
            return os.open(self.path, STEP | os.O_DIRECTORY)
        path = os.path.realpath(self._given)  # a symlink in it may be on a disk mounted later
        fd = os.open(path, STEP | os.O_DIRECTORY)
        self.path, self.roots, self.was_seen = path, Roots.of(path, self._allowed), True
        return fd

    def find_late_roots(self) -> None:
        """Resolve the paths of directories that symlinks may lead to, and that were missing.

        Each of them may be a symlink, or below one, that was created since.
        """
        late = {path: os.path.realpath(path) for path in self._late if os.path.isdir(path)}
        if not late:
            return
        with self._lock:
            self._late -= late.keys()
            allowed = [late.get(path, path) for path in self._allowed]
            for path, real in late.items():
                if real == b"/":
                    log.warning(_IS_ROOT, for_people(path))
            self._allowed = tuple(path for path in allowed if path != b"/")
            self.roots = Roots.of(self.path, self._allowed)

    def _refuse_cycle(self, path: bytes) -> None:
        for point, why in self.refused.items():
            if not point or is_at_or_below(path, point):
                raise OSError(errno.ELOOP, why)

    def _refuse_other_disk(self, path: bytes, fd: int) -> None:
        device = self.devices.get(path)
        if device is not None and os.fstat(fd).st_dev != device:
            raise SourceAwayError(f"{for_people(path) or 'the source directory'}: unmounted")

    def refuse_mount_points(self, path: bytes) -> None:
        """Reject removal, renaming or replacement of the mount point of an unmounted disk.

        The same applies to each directory that contains one: otherwise the disk could not be
        mounted there again.

        Raises:
            SourceAwayError: *path* or a known directory below it is such a mount point.
            OSError: *path* does not exist or cannot be reached.
        """
        with self.step(path, to_change=True):
            pass
        for known in [known for known in list(self.devices) if is_at_or_below(known, path)]:
            with suppress(FileNotFoundError, NotADirectoryError), self.step(known, to_change=True):
                pass

    @contextmanager
    def step(self, path: bytes, *, to_change: bool = False) -> Iterator[int]:
        """Yield an O_PATH descriptor of *path*, opened component by component.

        Raises:
            SourceAwayError: *to_change* is set, and *path* is not on the disk that was listed.
            StaleNodeError: it is not a path in the source.
            OSError: it does not exist or cannot be reached; ELOOP if it leads back to the mount of
                this source.
        """
        if self.cycles.unasked(path) is not None and not self.may_enter(path):
            raise OSError(errno.ELOOP, "a mount on the path leads back to this mount")
        fd = self._reached(path, to_change=to_change)
        try:
            yield fd
        finally:
            os.close(fd)

    def _split(self, path: bytes) -> tuple[bytes, list[bytes]]:
        """Return the root of *path*, and the names below it."""
        with suppress(ValueError):
            root, parts = self.roots.split(path)
            if {b"", b".", b".."}.isdisjoint(parts):
                return root, parts
        raise StaleNodeError(f"{for_people(path)}: not a path inside the source directory")

    def _reached(self, path: bytes, *, to_change: bool = False) -> int:
        """Return a descriptor like :meth:`step`, without a query whether other mounts lead back."""
        here, parts = self._split(path)
        fd = self._open_root(here)
        try:
            self._refuse_cycle(path)
            if to_change:
                self._refuse_other_disk(here, fd)
        except BaseException:
            os.close(fd)
            raise

        def refuse_other_disk(part: bytes, below: int) -> None:
            nonlocal here
            here = joined(here, part)
            if to_change:
                self._refuse_other_disk(here, below)

        return opened_below(fd, parts, refuse_other_disk)


def _open_step(step: int, path: bytes, flags: int = 0) -> OpenSource:
    """Open the regular file of the O_PATH descriptor *step* for reading."""
    found = os.fstat(step)
    if not stat.S_ISREG(found.st_mode):
        raise StaleNodeError(f"{for_people(path)}: no longer a regular file")
    fd = os.open(f"/proc/self/fd/{step}", os.O_RDONLY | os.O_CLOEXEC | flags)
    return OpenSource.of(fd, found, can_look=serves_from_memory(fd))


def is_same_file(one: os.stat_result, other: os.stat_result) -> bool:
    """Return whether two stat results of one path are of the same file.

    Inode numbers are reused, also for files of another type. File systems without inode numbers
    (FAT, exFAT) get new ones whenever the kernel drops an inode; size, times and permissions are
    then unchanged. Another file with the same path has another ctime, except on these file systems,
    where all permissions are alike.
    """
    if stat.S_IFMT(one.st_mode) != stat.S_IFMT(other.st_mode):
        return False
    return os.path.samestat(one, other) or _without_number(one) == _without_number(other)


def _without_number(status: os.stat_result) -> tuple[int, ...]:
    dates = status.st_mtime_ns, status.st_ctime_ns
    rights = status.st_mode, status.st_uid, status.st_gid
    return status.st_dev, status.st_size, *dates, *rights
