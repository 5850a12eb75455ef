"""Opening what another user owns, without waiting for anything that this user has put there.

A file system of FUSE, or one of another machine, may never answer, and who waits for it cannot even
be killed. So each step of a path is opened without a word to the file system that it leads into
(O_PATH), and before the next one the kernel's table says of which kind that is. A symlink is no
step.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from zsofs.mounts import Mounted, mount_number

Kinds = Mapping[int, str]
"""Types of file systems, by the kernel's number of their mount."""

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def answering_kinds(table: Iterable[Mounted]) -> Kinds:
    """The mounts of a table that answer whatever users do."""
    return {
        mounted.number: mounted.kind
        for mounted in table
        if not mounted.changes_elsewhere and not mounted.kind.startswith(("fuse", "autofs"))
    }


@contextmanager
def reached(path: Path, kinds: Kinds) -> Iterator[int]:
    """A descriptor (O_PATH) of what lies at an absolute path.

    Args:
        path: the path.
        kinds: the mounts that may be entered.

    Raises:
        OSError: nothing is there, a symlink is on the way, or a mount that may not be entered.
    """
    here = os.open("/", _STEP)
    try:
        for name in path.parts[1:]:
            below = os.open(name, _STEP, dir_fd=here)
            os.close(here)
            here = below
            if mount_number(here) not in kinds:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        yield here
    finally:
        os.close(here)
