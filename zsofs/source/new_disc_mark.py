"""The mark of an incomplete file with the name of a disc: an extended attribute.

It tells the next mount of the source that a client was still copying the file. It holds the time at
which it was set, and is valid only as long as nothing else has changed the file since: any change
sets the change time, which no program can choose.
"""

import os
import time
from contextlib import suppress

_NAME = "user.zsofs.new-disc"

_LASTS_NS = 30_000_000_000
"""The longest time from the mark to the last write, which may be the end of a killed daemon: the
mark is set again during a copy (`timings.new_disc_mark`)."""

_TICK_NS = 2_000_000_000
"""The change time may be this much earlier: file systems use a coarse clock, FAT one of 2 s."""


def set_mark(file: int | str) -> None:
    """Mark the file with this descriptor or path, if its file system has extended attributes."""
    with suppress(OSError):
        os.setxattr(file, _NAME, b"%d" % time.time_ns())


def remove_mark(file: int | str) -> None:
    """Remove the mark, if the file has one."""
    with suppress(OSError):
        os.removexattr(file, _NAME)


def has_valid_mark(folder: int, name: bytes, status: os.stat_result) -> bool:
    """Return whether a file has a mark, and was not changed by anything else since.

    Args:
        folder: descriptor of its directory.
        name: its name there.
        status: its status.
    """
    path = f"/proc/self/fd/{folder}/".encode() + name
    try:
        set_at = int(os.getxattr(path, _NAME, follow_symlinks=False)[:32])
    except (OSError, ValueError):
        return False
    return -_TICK_NS <= status.st_ctime_ns - set_at <= _LASTS_NS
