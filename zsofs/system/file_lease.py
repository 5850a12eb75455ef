"""Detection of writers by read leases; see fcntl(2)."""

import fcntl
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def has_writer(fd: int) -> bool | None:
    """Return whether a program has the file open for writing; None if unknown.

    A read lease is granted only while there is no writer. It is released immediately: a program
    that opens the file for writing in between waits for these microseconds. Only the owner of the
    file and root can get one.
    """
    try:
        _take(fd)
    except BlockingIOError:
        return True
    except OSError:
        return None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _take(fd: int) -> None:
    # Otherwise a lease break is signaled by SIGIO, which terminates a program.
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)


@contextmanager
def writers_wait(fd: int) -> Iterator[Callable[[], bool]]:
    """Let programs that open a file for writing wait within the context, by a read lease.

    They wait for 45 seconds at most (/proc/sys/fs/lease-break-time). Without a lease, which only
    the owner of the file and root can get, and only on local file systems, none waits.

    Args:
        fd: descriptor of the file, open for reading.

    Yields:
        A function that returns whether a program waits.

    Raises:
        BlockingIOError: a program has it open for writing.
    """
    try:
        _take(fd)
    except BlockingIOError:
        raise
    except OSError:
        yield lambda: False
        return
    try:
        yield lambda: fcntl.fcntl(fd, fcntl.F_GETLEASE) != fcntl.F_RDLCK
    finally:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
