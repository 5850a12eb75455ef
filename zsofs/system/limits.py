"""The limit of open files, which each open disc counts against."""

import resource
from contextlib import suppress

from zsofs.errors import MountError

_LEAST = 64
"""A daemon that serves nothing yet has some 20 descriptors open; each directory that is looked at
and each open disc takes more (with 22 allowed a mount was made, and no disc could be opened)."""


def raise_open_files() -> None:
    """Allow this process as many open files as the system lets it have.

    Raises:
        MountError: that is too few to serve a mount.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _LEAST:
        raise MountError(
            f"the limit of open files is {most}; a mount needs at least {_LEAST}; raise it, for"
            " example with: ulimit -Hn 1024"
        )
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
