"""Access to paths that other users control, without blocking and without following their symlinks.

A FUSE or network file system may never answer, and a process that waits for it cannot be killed.
So each component of a path is opened with O_PATH, which sends no request to the file system, and
the mount table is checked before the next component. Symlinks are not followed.

Root also never follows a symlink of another user, and operates on the opened object, not on
whatever has its name later.
"""

import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from zsofs.system.mountinfo import Mounted, mount_number

Kinds = Mapping[int, str]
"""File system types by mount ID."""

_MOST_LINKS = 40
"""Symlinks followed for one path, as many as the kernel does."""

STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags that open a path component without following it, and without opening the file itself."""


def answering_kinds(table: Iterable[Mounted]) -> Kinds:
    """Return the mounts of a table that always answer."""
    return {
        mounted.number: mounted.kind
        for mounted in table
        if not mounted.changes_elsewhere and not mounted.kind.startswith(("fuse", "autofs"))
    }


class OthersLinkError(OSError):
    """A symlink on the path belongs to an untrusted user; ``filename`` is its path."""


def opened_below(
    start: int,
    names: Sequence[bytes],
    opened: Callable[[bytes, int], None] = lambda name, fd: None,
    *,
    way: int = STEP,
    make: bool = False,
) -> int:
    """Open *names* one below the other without following a symlink.

    Args:
        start: descriptor of the directory to begin at; it is closed.
        names: path components.
        opened: called with each name and its descriptor; what it raises ends the walk.
        way: flags for all components but the last.
        make: whether to make directories that are missing.

    Returns:
        A descriptor (O_PATH) of the last component, or *start* itself if there is none.

    Raises:
        OSError: a component is missing, or is a symlink or file on the way.
    """
    here = start
    try:
        for number, name in enumerate(names, 1):
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=here)
            above = here
            here = os.open(name, way if number < len(names) else STEP, dir_fd=above)
            os.close(above)
            opened(name, here)
    except BaseException:
        os.close(here)
        raise
    return here


class PathWalk:
    """Resolution of a path, component by component, driven by the iterating caller.

    Each iteration gives the path of the next component. The caller looks there, without following a
    symlink, and calls :meth:`enter` or :meth:`follow`.

    Attributes:
        here: absolute path without symlinks, as far as it is resolved.
        is_parent: whether `here` was reached as the parent of something, or as the root, and is
            therefore a directory.
    """

    def __init__(self, start: bytes, path: bytes) -> None:
        """Begin in the directory *start*, an absolute path without symlinks."""
        self.here = start
        self.is_parent = True
        self._todo = path.split(b"/")[::-1]
        self._links = 0

    def __iter__(self) -> Iterator[bytes]:
        while self._todo:
            name = self._todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                self.here, self.is_parent = os.path.dirname(self.here), True
                continue
            self.is_parent = False
            yield self.here.rstrip(b"/") + b"/" + name

    def enter(self, path: bytes) -> None:
        """Go on below *path*: the component is no symlink."""
        self.here = path

    def follow(self, target: bytes) -> bool:
        """Go on at the target of a symlink.

        Returns:
            False if it is one symlink too many.
        """
        self._links += 1
        if target.startswith(b"/"):
            self.here, self.is_parent = b"/", True
        self._todo += target.split(b"/")[::-1]
        return self._links <= _MOST_LINKS

    def unresolved(self, path: bytes) -> bytes:
        """Return *path*, that of the current component, with those that follow it."""
        return b"/".join((path, *(name for name in self._todo[::-1] if name)))


def link_target(fd: int) -> bytes | None:
    """Target of the symlink that an O_PATH descriptor stands for; None if it is something else.

    Only for a symlink is the file system asked.
    """
    try:
        return os.readlink(b"", dir_fd=fd)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return None
        raise


@contextmanager
def reached(path: Path, kinds: Kinds | None, *, make: bool = False) -> Iterator[int]:
    """Yield a descriptor (O_PATH) of an absolute path.

    Args:
        path: the path.
        kinds: the mounts that may be entered; None: all.
        make: whether to create missing directories.

    Raises:
        OSError: the path does not exist, or has a symlink or a mount that may not be entered.
    """
    # With this flag the kernel mounts a directory that is mounted on first use; that may take time.
    way = STEP | os.O_DIRECTORY if kinds is None else STEP

    def refuse_others(_: bytes, fd: int) -> None:
        if kinds is not None and mount_number(fd) not in kinds:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    names = [os.fsencode(name) for name in path.parts[1:]]
    here = opened_below(os.open(b"/", STEP), names, refuse_others, way=way, make=make)
    try:
        yield here
    finally:
        os.close(here)


Identity = tuple[int, int]
"""Device and inode number of a directory."""


def make_directory(path: bytes) -> Identity:
    """Create a directory without following symlinks on its path.

    Raises:
        OSError: it cannot be created; FileExistsError if the path exists.
    """
    above, name = os.path.split(path)
    with reached(Path(os.fsdecode(above)), None) as fd:
        os.mkdir(name, dir_fd=fd)
        made = os.stat(name, dir_fd=fd, follow_symlinks=False)
        return made.st_dev, made.st_ino


def remove_directory(path: bytes, made: Identity | None = None) -> None:
    """Remove an empty directory without following symlinks on its path.

    Args:
        path: absolute path of the directory.
        made: result of :func:`make_directory`, to remove no other directory.

    Raises:
        OSError: it cannot be removed, or is a different one.
    """
    above, name = os.path.split(path)
    with reached(Path(os.fsdecode(above)), None) as fd:
        there = os.open(name, STEP, dir_fd=fd)
        try:
            if mount_number(there) != mount_number(fd):  # a mount may never answer
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            status = os.fstat(there)
        finally:
            os.close(there)
        if made not in (None, (status.st_dev, status.st_ino)):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        os.rmdir(name, dir_fd=fd)


def roots_path(path: bytes) -> bytes:
    """Return the real path of an absolute path, following only symlinks owned by root.

    Parts of it may be missing.

    Raises:
        OthersLinkError: a symlink on the path is not owned by root.
        OSError: the path is invalid.
    """
    return trusted_real_path(path, {0})


def trusted_real_path(path: bytes, owners: Collection[int]) -> bytes:
    """Return the real path, following only symlinks owned by *owners*.

    Raises:
        OthersLinkError: a symlink on the path belongs to another user.
        OSError: the path is invalid.
    """
    walk = PathWalk(b"/", path)
    for here in walk:
        target = _target(here, owners)
        if target is None:
            walk.enter(here)
        elif not walk.follow(target):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), here)
    return walk.here


def _target(path: bytes, owners: Collection[int]) -> bytes | None:
    """Return the target of a symlink owned by *owners*; None if it is missing or not a symlink."""
    try:
        with reached(Path(os.fsdecode(path)), None) as fd:
            try:
                target = link_target(fd)
            except OSError:
                return None
            if target is not None and os.fstat(fd).st_uid not in owners:
                raise OthersLinkError(errno.EPERM, os.strerror(errno.EPERM), path)
            return target
    except FileNotFoundError:
        return None
