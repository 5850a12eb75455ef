"""Read leases, which tell whether a file is open for writing; see fcntl(2)."""

import fcntl
import signal


def has_writer(fd: int) -> bool | None:
    """Whether some program has the file open for writing; None if that cannot be told.

    A read lease is granted only while nobody has. It is given back at once: whoever opens the file
    for writing in between waits for these microseconds. None is granted to who neither owns the
    file nor is root.
    """
    try:
        # Without this the breach of a lease would be told by SIGIO, which ends a program.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
