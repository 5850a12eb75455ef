"""The limit of open files."""

import resource
from contextlib import suppress

from zsofs.errors import MountError

_LEAST = 64
"""Minimum limit. An idle daemon has some 20 descriptors open; each scanned directory and each open
disc takes more (with a limit of 22 a mount succeeded, and no disc could be opened)."""


def raise_open_files() -> None:
    """Raise the limit of open files of this process to the hard limit.

    Raises:
        MountError: that is too low to serve a mount.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _LEAST:
        raise MountError(
            f"the limit of open files is {most}; a mount needs at least {_LEAST}; raise it, for"
            " example with: ulimit -Hn 1024"
        )
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
