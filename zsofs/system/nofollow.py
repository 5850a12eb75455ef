"""Opening what another user owns, without waiting for anything that this user has put there.

A file system of FUSE, or one of another machine, may never answer, and who waits for it cannot even
be killed. So each step of a path is opened without a word to the file system that it leads into
(O_PATH), and before the next one the kernel's table says of which kind that is. A symlink is no
step.

Nor does anybody else choose where root goes: a symlink that is not root's is not followed, and what
is done at the end of a path is done to what was opened, not to what has its name by then.
"""

import errno
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from zsofs.system.mountinfo import Mounted, mount_number

Kinds = Mapping[int, str]
"""Types of file systems, by the kernel's number of their mount."""

_MOST_LINKS = 40

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def answering_kinds(table: Iterable[Mounted]) -> Kinds:
    """The mounts of a table that answer whatever users do."""
    return {
        mounted.number: mounted.kind
        for mounted in table
        if not mounted.changes_elsewhere and not mounted.kind.startswith(("fuse", "autofs"))
    }


class OthersLinkError(OSError):
    """A symlink on the way belongs to a user who is not trusted; its path is the file name."""


@contextmanager
def reached(path: Path, kinds: Kinds | None, *, make: bool = False) -> Iterator[int]:
    """A descriptor (O_PATH) of what lies at an absolute path.

    Args:
        path: the path.
        kinds: the mounts that may be entered; None for all.
        make: whether to make directories that are missing.

    Raises:
        OSError: nothing is there, a symlink is on the way, or a mount that may not be entered.
    """
    names = path.parts[1:]
    # With this flag the kernel mounts a directory that is mounted on first use; that may take time.
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
    """Make a directory without following a symlink on the way to it.

    Raises:
        OSError: it cannot be made; FileExistsError if something is there.
    """
    above, name = os.path.split(path)
    with reached(Path(os.fsdecode(above)), None) as fd:
        os.mkdir(name, dir_fd=fd)
        made = os.stat(name, dir_fd=fd, follow_symlinks=False)
        return made.st_dev, made.st_ino


def remove_directory(path: bytes, made: Identity | None = None) -> None:
    """Remove an empty directory without following a symlink on the way to it.

    Args:
        path: absolute path of the directory.
        made: what :func:`make_directory` returned, if no other directory may be removed.

    Raises:
        OSError: it cannot be removed, or is another one.
    """
    above, name = os.path.split(path)
    with reached(Path(os.fsdecode(above)), None) as fd:
        there = os.open(name, _STEP, dir_fd=fd)
        try:
            if mount_number(there) != mount_number(fd):  # what is mounted may never answer
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            status = os.fstat(there)
        finally:
            os.close(there)
        if made not in (None, (status.st_dev, status.st_ino)):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        os.rmdir(name, dir_fd=fd)


def roots_path(path: bytes) -> bytes:
    """The real path of an absolute one, of which parts may be missing, by symlinks of root's.

    Raises:
        OthersLinkError: a symlink on the way is not root's.
        OSError: it leads nowhere.
    """
    return trusted_real_path(path, {0})


def trusted_real_path(path: bytes, owners: Collection[int]) -> bytes:
    """The same by symlinks of these users.

    Raises:
        OthersLinkError: a symlink on the way is another user's.
        OSError: it leads nowhere.
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
    """Where a symlink of *owners* leads to; None for what is no symlink, or not there."""
    try:
        with reached(Path(os.fsdecode(path)), None) as fd:
            try:
                target = os.readlink(b"", dir_fd=fd)
            except OSError:  # and nobody was asked
                return None
            if os.fstat(fd).st_uid not in owners:
                raise OthersLinkError(errno.EPERM, os.strerror(errno.EPERM), path)
            return target
    except FileNotFoundError:
        return None
