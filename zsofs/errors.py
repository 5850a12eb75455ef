"""All exceptions of zsofs, with errno and exit code.

``errno`` is what a program that reads the mount receives, ``exit_code`` is the exit code of the
command. docs/reference/exit-codes.md documents the exit codes.
"""

import errno as _errno
import os
import signal


class ZsofsError(Exception):
    """Base class of all errors. The message is one sentence for the user."""

    errno = _errno.EIO
    exit_code = 1


def reason(error: Exception) -> str:
    """Return why something failed, without errno and path, for messages that name the path."""
    if isinstance(error, MemoryError):  # its message is empty when raised by Python
        return str(error) or "not enough memory"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def number_of(error: ZsofsError | OSError | MemoryError) -> int:
    """Return the errno that a program receives for an error."""
    return _errno.ENOMEM if isinstance(error, MemoryError) else error.errno or _errno.EIO


class SystemFailureError(ZsofsError):
    """A system call failed unexpectedly: a bug, or the system is out of resources."""

    def __init__(self, error: OSError) -> None:
        where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
        super().__init__(
            f"a system call failed unexpectedly: {reason(error)}{where}; please report it"
        )


class UsageError(ZsofsError):
    """The command line or config is invalid."""

    errno = _errno.EINVAL
    exit_code = 2


class SourceError(ZsofsError):
    """The source directory is missing, not a directory, or not readable."""

    errno = _errno.ENOENT
    exit_code = 3


class NoDirectoryError(SourceError):
    """The current directory was deleted, so relative paths cannot be resolved."""

    def __init__(self) -> None:
        super().__init__("the current directory no longer exists; change to another one with: cd /")


class FileError(ZsofsError):
    """A file named by an option, such as a list of titles or a log, cannot be opened.

    It is not a usage error: the file may be on a disk that is attached later.
    """

    errno = _errno.ENOENT
    exit_code = 3


class MountPointError(ZsofsError):
    """The mount point cannot be used."""

    exit_code = 4


class MountError(ZsofsError):
    """The system does not permit the mount: no FUSE, no permission, or mount(2) failed."""

    exit_code = 5


class NoProcessError(MountError):
    """The daemon process cannot be started."""

    def __init__(self, mount_point: str, error: OSError) -> None:
        super().__init__(
            f"the mount at {mount_point} failed: cannot start a process: {reason(error)};"
            " check the process limit with: ulimit -u"
        )


class StartKilledError(MountError):
    """A signal terminated the daemon before its mount was ready."""

    def __init__(self, mount_point: str, number: int) -> None:
        super().__init__(
            f"the mount at {mount_point} failed: the daemon was terminated by"
            f" {signal.Signals(number).name} during startup; if nobody sent that signal, check"
            " the kernel log with: dmesg"
        )


class UnmountError(ZsofsError):
    """A mount could not be unmounted."""

    errno = _errno.EBUSY
    exit_code = 6


class ExtraError(UsageError):
    """A command needs a Python package that is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "zsofs web needs the Python package h11; install it with: apt install python3-h11, or:"
            " pip install 'zsofs[web]'"
        )


class ControlError(ZsofsError):
    """A running mount could not be queried: none exists, another user's, or no response."""

    errno = _errno.ENOTCONN
    exit_code = 7


class InputError(ZsofsError):
    """A file could not be packed or unpacked, because of its content or of the output file."""

    exit_code = 8


class UnreadableError(InputError):
    """The disk does not return some bytes of an input.

    Attributes:
        offset: offset in the image at which reading failed, in bytes.
        why: error text of the system.
    """

    def __init__(self, offset: int, why: str) -> None:
        self.offset = offset
        self.why = why
        super().__init__(f"it cannot be read at {offset}: {why}")


class PrintError(ZsofsError):
    """Writing to standard output or standard error failed, other than by a closed pipe."""

    exit_code = 8

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the output cannot be written: {reason(error)}")


class BadDiscError(ZsofsError):
    """`zsofs verify` found a bad disc."""

    exit_code = 9


class UnverifiedError(ZsofsError):
    """`zsofs verify` found no bad disc, but a disc that is not in the DATs."""

    exit_code = 10


class ServiceError(ZsofsError):
    """The service manager reported an error, or the service does not exist."""

    exit_code = 11


class FormatError(ZsofsError):
    """A file has the magic of a container but cannot be used as a disc."""


class DamagedError(FormatError):
    """The container is truncated, or its header, index and size are inconsistent."""


class ForeignError(FormatError):
    """The magic belongs to a related format that zsofs does not support."""


class MissingParentError(FormatError):
    """A CHD holds only what differs from another one, which is not in its directory.

    Attributes:
        sha1: SHA-1 of that one, as hexadecimal digits.
    """

    def __init__(self, sha1: str) -> None:
        self.sha1 = sha1
        super().__init__(
            f"it needs its parent, the CHD with SHA-1 {sha1}, which is not in the same directory"
        )


class UnusableParentError(FormatError):
    """The file with the SHA-1 of a CHD's parent is damaged, unfinished or cannot be read."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"its parent {name} cannot be used: {why}")


class BlockError(ZsofsError):
    """A stored block does not decode to exactly its length.

    Attributes:
        block: block number, counted from 0.
        offset: offset of its stored bytes in the source file, in bytes; -1 if unknown.
    """

    def __init__(self, block: int, offset: int, reason: str) -> None:
        self.block = block
        self.offset = offset
        where = f"block {block}" if offset < 0 else f"block {block} at file offset {offset}"
        super().__init__(f"{where}: {reason}")


class SourceChangedError(ZsofsError):
    """A source file was modified or truncated after it was opened."""


class SourceTouchedError(ZsofsError):
    """Only the change time (ctime) of a source file differs from when it was opened.

    Its content may be unchanged, for example after chmod. The buffer has the bytes that were read.

    Attributes:
        ctime_ns: the new change time in nanoseconds.
        rights: mode, owner, group and link count, from the same fstat as the change time.
        error: another error of the same read.
    """

    def __init__(
        self, ctime_ns: int, rights: tuple[int, int, int, int], error: Exception | None
    ) -> None:
        self.ctime_ns = ctime_ns
        self.rights = rights
        self.error = error
        super().__init__(ctime_ns, rights)


class SourceAwayError(ZsofsError):
    """The file system of the source, or of a directory in it, is no longer mounted.

    Not ENOENT: the kernel would drop names that have to persist until the disk returns.
    """

    errno = _errno.ENOMEDIUM


class SourceAbsentError(ZsofsError):
    """The source has not existed since the mount started.

    It has its own errno, because an empty listing could make a mirror job delete its copies.
    """

    errno = _errno.ENOMEDIUM


class StaleNodeError(ZsofsError):
    """A name now refers to other content; ESTALE makes the kernel look it up again."""

    errno = _errno.ESTALE


class DiskBusyError(ZsofsError):
    """Too many requests are waiting for a disk of the source that does not respond."""

    errno = _errno.EBUSY


class ReportedError(ZsofsError):
    """A request failed, and the reason was already logged."""

    def __init__(self, errno: int) -> None:
        self.errno = errno
        super().__init__(os.strerror(errno))


class RefusedError(ZsofsError):
    """A change through the mount that would affect a disc, or a name reserved for discs."""

    errno = _errno.EACCES


class ReadOnlyFileError(RefusedError):
    """A change through the mount of a file whose text there is not that of the source."""

    errno = _errno.EROFS
