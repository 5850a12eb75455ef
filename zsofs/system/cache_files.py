"""Cache files: their location, checks before opening, and moving damaged ones aside."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zsofs.timings import timings

_MAX_FILE = 256 << 20
"""Size in bytes above which a store is replaced without reading it; a row has about 300 bytes."""

_ENDINGS = ("", "-wal", "-shm")
"""Suffixes of the files that SQLite creates for a store."""

_BROKEN = ".broken"
"""Suffix of a damaged store that was moved aside; only the last one is kept."""


@contextmanager
def one_at_a_time(folder: Path, seconds: float) -> Iterator[None]:
    """Exclude other zsofs processes from opening a store in *folder*, if it can be locked.

    Two mounts that start at once could each move the other's new file aside, and SQLite does not
    wait for a file that another process is creating (observed: "locked" immediately).
    """
    until = time.monotonic() + seconds
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < until:
                    time.sleep(timings().retry_store_lock)
                    continue
            except OSError:  # NFS does not lock directories
                pass
            break
        yield
    finally:
        os.close(fd)


def unfit(file: Path) -> str:
    """Return why a file must not be opened; empty if it may be.

    SQLite follows symlinks, and would modify a database of another program.
    """
    for ending in _ENDINGS:
        try:
            status = os.lstat(file.with_name(file.name + ending))
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode):
            return f"{file.name}{ending} is not a regular file"
        if status.st_size > _MAX_FILE:
            return f"{file.name}{ending} has more than {_MAX_FILE >> 20} MiB"
        if os.geteuid() not in (0, status.st_uid):
            return f"{file.name}{ending} belongs to another user"
    return ""


def set_aside(file: Path) -> None:
    """Rename a damaged store, or another file in its place; nothing is deleted.

    Raises:
        OSError: it cannot be renamed.
    """
    for ending in _ENDINGS:
        path = file.with_name(file.name + ending)
        with suppress(FileNotFoundError):
            if ending and stat.S_ISREG(os.lstat(path).st_mode):
                path.unlink()
                continue
            try:
                path.replace(path.with_name(path.name + _BROKEN))
            except OSError:  # for example, a directory has that name
                path.unlink()
