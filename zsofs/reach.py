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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from zsofs.mounts import Mounted, mount_number

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
    """A symlink on the way of root's is somebody else's; its path is the file name."""


@contextmanager
def reached(path: Path, kinds: Kinds | None) -> Iterator[int]:
    """A descriptor (O_PATH) of what lies at an absolute path.

    Args:
        path: the path.
        kinds: the mounts that may be entered; None for all.

    Raises:
        OSError: nothing is there, a symlink is on the way, or a mount that may not be entered.
    """
    here = os.open("/", _STEP)
    try:
        for name in path.parts[1:]:
            below = os.open(name, _STEP, dir_fd=here)
            os.close(here)
            here = below
            if kinds is not None and mount_number(here) not in kinds:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        yield here
    finally:
        os.close(here)


def roots_path(path: bytes) -> bytes:
    """The real path of an absolute one, of which parts may be missing.

    Raises:
        OthersLinkError: a symlink on the way is not root's.
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
        target = _target(here)
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


def _target(path: bytes) -> bytes | None:
    """Where a symlink of root's leads to; None for what is no symlink, or not there."""
    try:
        with reached(Path(os.fsdecode(path)), None) as fd:
            try:
                target = os.readlink(b"", dir_fd=fd)
            except OSError:  # and nobody was asked
                return None
            if os.fstat(fd).st_uid != 0:
                raise OthersLinkError(errno.EPERM, os.strerror(errno.EPERM), path)
            return target
    except FileNotFoundError:
        return None
