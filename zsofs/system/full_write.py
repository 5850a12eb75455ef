"""Complete writes of buffers and small files, with an error instead of an endless loop."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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


@contextmanager
def new_file(path: Path, text: str, mode: int) -> Iterator[int]:
    """Create a file with a text and sync it, for the caller to rename within the context.

    If that raises, the file is removed.

    Args:
        path: its temporary name, which does not exist.
        text: its content.
        mode: permissions, of which the umask removes some.

    Yields:
        The descriptor.

    Raises:
        OSError: it cannot be created or written.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_all(fd, text.encode())
        os.fsync(fd)
        yield fd
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
