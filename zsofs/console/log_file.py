"""A log file of limited size, opened safely where other users may write to its directory.

They could place a symlink, hard link or FIFO there, to make the daemon write to a file of another
user or block forever. So the path is resolved without following symlinks of other users, and the
file is checked before it is opened.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from zsofs.system.nofollow import OthersLinkError, reached, trusted_real_path

_SIZE = 1 << 20
_OLDER = ".1"

_MODE = 0o666  # minus the umask
_WRITE = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
_LOOK = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW

_TAKES_ALL = frozenset(os.makedev(1, minor) for minor in (3, 5, 7))
"""/dev/null, /dev/zero and /dev/full: devices without side effects on open."""

_TRIES = 10
"""Attempts to open a file that appears and disappears between two system calls."""


class LogFile(RotatingFileHandler):
    """A log file that is rotated at 1 MiB, with one older file."""

    def __init__(self, path: Path) -> None:
        """Open the file; parent directories are created.

        Raises:
            OSError: the file cannot be written, or is not safe to write to; its strerror says why.
        """
        self._lasting = -1
        super().__init__(path, maxBytes=_SIZE, backupCount=1, errors="backslashreplace")

    def lasting_descriptor(self) -> int:
        """Return a descriptor that refers to the file, also after rotation."""
        if self._lasting < 0:
            assert self.stream is not None
            self._lasting = os.dup(self.stream.fileno())
        return self._lasting

    def _open(self) -> TextIOWrapper:
        with _placed(self.baseFilename) as (directory, name):
            fd = _opened(directory, name)
        if self._lasting >= 0:
            os.dup2(fd, self._lasting, inheritable=False)
        return os.fdopen(fd, "a", encoding=self.encoding, errors=self.errors)

    def doRollover(self) -> None:
        """Rename the file to the name of the older one, and start a new one.

        If it cannot be renamed, the file continues to grow, so that no message is lost.
        """
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        with suppress(OSError), _placed(self.baseFilename) as (directory, name):
            os.rename(name, name + _OLDER, src_dir_fd=directory, dst_dir_fd=directory)
        self.stream = self._open()


@contextmanager
def _placed(path: str) -> Iterator[tuple[int, str]]:
    """Yield the directory of a path, created if missing, as a descriptor (O_PATH), and the name."""
    try:
        real = Path(os.fsdecode(trusted_real_path(os.fsencode(path), {0, os.geteuid()})))
    except OthersLinkError as error:
        link = os.fsdecode(error.filename)
        raise OSError(errno.EPERM, f"the symlink {link} is owned by another user") from None
    with reached(real.parent, None, make=True) as directory:
        yield directory, real.name


def _opened(directory: int, name: str) -> int:
    """Return a descriptor for appending to a file, which is created if necessary."""
    for _ in range(_TRIES):
        try:
            return os.open(name, _WRITE | os.O_CREAT | os.O_EXCL, _MODE, dir_fd=directory)
        except FileExistsError:
            pass
        try:
            there = os.open(name, _LOOK, dir_fd=directory)
        except FileNotFoundError:
            continue
        try:
            _check(os.fstat(there), os.fstat(directory))
            return os.open(f"/proc/self/fd/{there}", _WRITE & ~os.O_NOFOLLOW)
        finally:
            os.close(there)
    raise OSError(errno.ESTALE, "another program keeps replacing the file")


def _check(file: os.stat_result, directory: os.stat_result) -> None:
    """Raise OSError if an existing file is not safe to append to."""
    if stat.S_ISCHR(file.st_mode) and file.st_rdev in _TAKES_ALL:
        return
    if not stat.S_ISREG(file.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    if file.st_nlink > 1:
        raise OSError(errno.EMLINK, "it has more than one hard link")
    is_shared = directory.st_mode & stat.S_ISVTX and directory.st_mode & 0o022
    if is_shared and file.st_uid not in (0, os.geteuid()):
        raise OSError(errno.EPERM, "it is owned by another user, in a world-writable directory")
