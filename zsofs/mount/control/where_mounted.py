"""What to do about a path that is not that of a mount of ours, for messages."""

import os

from zsofs.console.text import for_people
from zsofs.system.mountinfo import FILE_SYSTEM_TYPE, mount_table
from zsofs.system.mountpoint import COMMAND


def where_mounted(path: bytes) -> str:
    """Return the end of a message: the mount of a source directory, or how to list the mounts.

    Args:
        path: a real path. A mount of another user does not count, unless root asks.
    """
    points = [
        for_people(mounted.path)
        for mounted in mount_table()
        if (mounted.kind, mounted.source) == (FILE_SYSTEM_TYPE, path)
        and os.geteuid() in (0, mounted.user)
    ]
    if points:
        return f"it is the source directory of the mount at {', '.join(points)}"
    return f"list the mounts with: {COMMAND} status"
