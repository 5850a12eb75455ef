"""The mark of an incomplete file with the name of a disc: an extended attribute.

It tells the next mount of the source that a client has not copied the file completely. It holds the
time at which it was set, and is valid only as long as nothing else has changed the file since: any
change sets the change time (ctime), which no program can choose.
"""

import os
import time
from contextlib import suppress

_NAME = "user.zsofs.new-disc"

NOT_COPIED = "a client of a mount has not copied it completely; copy it again"
"""Why a marked file is neither packed nor deleted."""

_CLOSED, _OPEN = b"closed", b"open"

_LASTS_NS = {_CLOSED: 1_000_000_000, _OPEN: 30_000_000_000}
"""How much later than the mark the last change may be. A file that is open is written after that,
until the daemon ends: its mark is set again and again (`timings.new_disc_mark`)."""

_TICK_NS = 1_000_000_000
"""The change time may be this much earlier, because file systems use a coarse clock."""


def set_mark(file: int | str, *, is_open: bool) -> None:
    """Mark the file with this descriptor or path, if its file system has extended attributes.

    *is_open*: whether the mount will write to it after that.
    """
    with suppress(OSError):
        os.setxattr(file, _NAME, b"%s %d" % (_OPEN if is_open else _CLOSED, time.time_ns()))


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
    return _is_valid(path, status, follow_symlinks=False)


def is_marked(fd: int) -> bool:
    """Return whether an open file has a mark, and was not changed by anything else since."""
    return _is_valid(fd, os.fstat(fd), follow_symlinks=True)


def _is_valid(file: int | bytes, status: os.stat_result, *, follow_symlinks: bool) -> bool:
    try:
        mark = os.getxattr(file, _NAME, follow_symlinks=follow_symlinks)
        state, set_at = mark[:40].split()
        later = status.st_ctime_ns - int(set_at)
    except (OSError, ValueError):
        return False
    return state in _LASTS_NS and -_TICK_NS <= later <= _LASTS_NS[state]
