"""Writes of whole buffers: as many calls as it takes, and an error instead of an endless loop."""

import errno
import os


def write_all(fd: int, data: bytes | memoryview, offset: int | None = None) -> None:
    """Write all of *data* to a descriptor.

    Args:
        fd: the descriptor.
        data: what to write.
        offset: where in the file; None for the descriptor's own position, as of a pipe.

    Raises:
        OSError: a write failed, or wrote nothing, which some file systems do without an error.
    """
    view = memoryview(data)
    while view:
        done = os.write(fd, view) if offset is None else os.pwrite(fd, view, offset)
        view = view[checked(done) :]
        if offset is not None:
            offset += done


def checked(count: int) -> int:
    """Return how many bytes a write has taken.

    Raises:
        OSError: it has taken none, so another try would be as futile.
    """
    if count <= 0:
        raise OSError(errno.EIO, "the write returned 0 bytes without an error")
    return count
