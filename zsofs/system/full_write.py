"""Complete writes of buffers, with an error instead of an endless loop."""

import errno
import os


def write_all(fd: int, data: bytes | memoryview, offset: int | None = None) -> None:
    """Write all of *data* to a descriptor.

    Args:
        fd: the descriptor.
        data: what to write.
        offset: offset in the file; None: the current position, as for a pipe.

    Raises:
        OSError: a write failed, or wrote 0 bytes, which some file systems do without an error.
    """
    view = memoryview(data)
    while view:
        done = os.write(fd, view) if offset is None else os.pwrite(fd, view, offset)
        view = view[checked(done) :]
        if offset is not None:
            offset += done


def checked(count: int) -> int:
    """Return the number of bytes written.

    Raises:
        OSError: it is 0, so that a retry is futile.
    """
    if count <= 0:
        raise OSError(errno.EIO, "the write returned 0 bytes without an error")
    return count
