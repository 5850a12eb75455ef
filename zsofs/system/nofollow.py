"""Access to paths that other users control, without blocking and without following their symlinks.

A FUSE or network file system may never answer, and a process that waits for it cannot be killed.
So each component of a path is opened with O_PATH, which sends no request to the file system, and
the mount table is checked before the next component. Symlinks are not followed.

Root also never follows a symlink of another user, and operates on the opened object, not on
whatever has its name later.
"""

import errno
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from zsofs.system.mountinfo import Mounted, mount_number

Kinds = Mapping[int, str]
"""File system types by mount ID."""

_MOST_LINKS = 40

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def answering_kinds(table: Iterable[Mounted]) -> Kinds:
    """Return the mounts of a table that always answer."""
    return {
        mounted.number: mounted.kind
        for mounted in table
        if not mounted.changes_elsewhere and not mounted.kind.startswith(("fuse", "autofs"))
    }


class OthersLinkError(OSError):
    """A symlink on the path belongs to an untrusted user; ``filename`` is its path."""


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
    names = path.parts[1:]
    # Without this flag the kernel could trigger an automount, which may take time.
    way = _STEP | os.O_DIRECTORY if kinds is None else _STEP
    here = os.open("/", _STEP)
    try:
        for number, name in enumerate(names, 1):
            flags = way if number < len(names) else _STEP
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=here)
            below = os.open(name, flags, dir_fd=here)
            os.close(here)
            here = below
            if kinds is not None and mount_number(here) not in kinds:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
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
        there = os.open(name, _STEP, dir_fd=fd)
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
    todo = path.split(b"/")[::-1]
    real: list[bytes] = []
    links = 0
    while todo:
        name = todo.pop()
        if name in (b"", b"."):
            continue
        if name == b"..":
            del real[-1:]
            continue
        here = b"/" + b"/".join([*real, name])
        target = _target(here, owners)
        if target is None:
            real.append(name)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), here)
        if target.startswith(b"/"):
            real.clear()
        todo += target.split(b"/")[::-1]
    return b"/" + b"/".join(real)


def _target(path: bytes, owners: Collection[int]) -> bytes | None:
    """Return the target of a symlink owned by *owners*; None if it is missing or not a symlink."""
    try:
        with reached(Path(os.fsdecode(path)), None) as fd:
            try:
                target = os.readlink(b"", dir_fd=fd)
            except OSError:  # no request was sent to the file system
                return None
            if os.fstat(fd).st_uid not in owners:
                raise OthersLinkError(errno.EPERM, os.strerror(errno.EPERM), path)
            return target
    except FileNotFoundError:
        return None
