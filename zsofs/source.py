"""The source folder, reached by descriptors only and never left.

Every path here is relative to the source folder and free of symlinks: each step is opened without
following one, so nothing that changes meanwhile can lead outside. All calls may wait for a disk.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from zsofs._stored import serves_from_memory
from zsofs.errors import StaleNodeError
from zsofs.names import for_people
from zsofs.probe import OpenSource

_MAX_HOPS = 40
"""Symlinks followed for one path, as many as the kernel does."""

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class SourceTree:
    """The source folder, open.

    Attributes:
        path: its absolute path without symlinks, as when it was opened.
        device: its st_dev.
    """

    def __init__(self, path: bytes) -> None:
        self.path = os.path.realpath(path)
        self._prefix = self.path.rstrip(b"/") + b"/"
        self._root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.device = os.fstat(self._root).st_dev

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._root)

    def stat(self, path: bytes) -> os.stat_result:
        """What lstat says of *path*."""
        with self._step(path) as fd:
            return os.fstat(fd)

    def statvfs(self) -> os.statvfs_result:
        """Room on the file system of the source folder."""
        return os.fstatvfs(self._root)

    def list(self, path: bytes) -> list[tuple[bytes, os.stat_result]]:
        """Names in the folder *path* and what lstat says of each."""
        found = []
        with self._step(path) as step:
            folder = os.open(f"/proc/self/fd/{step}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in os.listdir(folder):
                try:
                    found.append((os.fsencode(name), os.lstat(name, dir_fd=folder)))
                except FileNotFoundError:  # gone since
                    continue
        finally:
            os.close(folder)
        return found

    def open(self, path: bytes) -> OpenSource:
        """Open a regular file for reading; anything else (FIFO, device) is never opened.

        Raises:
            StaleNodeError: *path* is no regular file now.
            OSError: it cannot be opened.
        """
        with self._step(path) as step:
            found = os.fstat(step)
            if not stat.S_ISREG(found.st_mode):
                raise StaleNodeError(f"{for_people(path)}: no longer a regular file")
            fd = os.open(f"/proc/self/fd/{step}", os.O_RDONLY | os.O_CLOEXEC)
        return OpenSource(
            fd,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_dev,
            serves_from_memory(fd),
        )

    def readlink(self, path: bytes) -> bytes:
        """Target of the symlink *path*, as it stands there."""
        with self._step(path) as step:
            return os.fsencode(os.readlink("", dir_fd=step))

    def resolve(self, path: bytes) -> bytes | None:
        """Where a symlink leads to, as a path in the tree; None if out of it, or nowhere.

        Nothing outside the tree is touched on the way: a link may lead into our own mount, or to
        a disk that hangs.
        """
        done: list[bytes] = []
        todo = path.split(b"/")[::-1]
        hops = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                if not done:
                    return None
                done.pop()
            elif part not in (b"", b"."):
                here = b"/".join((*done, part))
                try:
                    target = self.readlink(here) if self._is_link(here) else None
                except (OSError, StaleNodeError):
                    return None
                if target is None:
                    done.append(part)
                    continue
                hops += 1
                if target.startswith(b"/"):
                    done = []
                    if not (target + b"/").startswith(self._prefix):
                        return None
                    target = target[len(self._prefix) :]
                if hops > _MAX_HOPS:
                    return None
                todo += target.split(b"/")[::-1]
        return b"/".join(done)

    def _is_link(self, path: bytes) -> bool:
        return stat.S_ISLNK(self.stat(path).st_mode)

    @contextmanager
    def _step(self, path: bytes) -> Iterator[int]:
        """An O_PATH descriptor of *path*, reached step by step."""
        fd = self._root
        try:
            for part in path.split(b"/") if path else ():
                if part in (b"", b".", b".."):
                    raise StaleNodeError(f"{for_people(path)}: not a path inside the source")
                above, fd = fd, os.open(part, _STEP, dir_fd=fd)
                if above != self._root:
                    os.close(above)
            yield fd
        finally:
            if fd != self._root:
                os.close(fd)
