"""Detection of writers by read leases; see fcntl(2)."""

import fcntl
import signal


def has_writer(fd: int) -> bool | None:
    """Return whether a program has the file open for writing; None if unknown.

    A read lease is granted only while there is no writer. It is released immediately: a program
    that opens the file for writing in between waits for these microseconds. Only the owner of the
    file and root can get one.
    """
    try:
        # Otherwise a lease break is signaled by SIGIO, which terminates a program.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
