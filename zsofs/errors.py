"""Every error that zsofs raises on purpose, with its errno and its exit code.

This module is the one table of both: ``errno`` is what a program that reads the mount gets,
``exit_code`` is what a shell gets from the command line. The README documents the exit codes.
"""

import errno as _errno
import os
import signal


class ZsofsError(Exception):
    """Root of the family. The message is one sentence for the person at the terminal."""

    errno = _errno.EIO
    exit_code = 1


def reason(error: Exception) -> str:
    """Why something failed, without number and path: for a sentence that names the path itself."""
    if isinstance(error, MemoryError):  # Python's own say nothing
        return str(error) or "there is not enough memory"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def number_of(error: ZsofsError | OSError | MemoryError) -> int:
    """The errno that a program gets for an error."""
    return _errno.ENOMEM if isinstance(error, MemoryError) else error.errno or _errno.EIO


class SystemFailureError(ZsofsError):
    """A system call failed where nothing but a bug, or an exhausted system, makes it fail."""

    def __init__(self, error: OSError) -> None:
        where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
        super().__init__(
            f"a system call failed unexpectedly: {reason(error)}{where}; please report it"
        )


class UsageError(ZsofsError):
    """The command line does not say something that can be done."""

    errno = _errno.EINVAL
    exit_code = 2


class SourceError(ZsofsError):
    """The source folder is missing, not a folder, or not readable."""

    errno = _errno.ENOENT
    exit_code = 3


class NoDirectoryError(SourceError):
    """The current directory was removed, so relative paths lead nowhere."""

    def __init__(self) -> None:
        super().__init__("the current directory no longer exists; change to another one with: cd /")


class FileError(ZsofsError):
    """A file that an option names cannot be opened: a list of titles, a log.

    It is no mistake of the command line: the file may lie on a disk that comes later.
    """

    errno = _errno.ENOENT
    exit_code = 3


class MountPointError(ZsofsError):
    """The mount point cannot be used as it is."""

    exit_code = 4


class MountError(ZsofsError):
    """The system does not let us mount: no FUSE, no right to it, or the mount call failed."""

    exit_code = 5


class NoProcessError(MountError):
    """The process that is to serve a mount cannot be started."""

    def __init__(self, mount_point: str, error: OSError) -> None:
        super().__init__(
            f"the mount at {mount_point} failed: no process can be started: {reason(error)};"
            " see the limit of processes with: ulimit -u"
        )


class StartKilledError(MountError):
    """A signal has ended the daemon before its mount could be used."""

    def __init__(self, mount_point: str, number: int) -> None:
        super().__init__(
            f"the mount at {mount_point} failed: the daemon was ended by"
            f" {signal.Signals(number).name} while it started; if nobody sent that signal, see the"
            " kernel's log with: dmesg"
        )


class UnmountError(ZsofsError):
    """A mount could not be taken down."""

    errno = _errno.EBUSY
    exit_code = 6


class ControlError(ZsofsError):
    """A running mount could not be asked: none is there, it is another user's, or it is silent."""

    errno = _errno.ENOTCONN
    exit_code = 7


class InputError(ZsofsError):
    """A file could not be packed or unpacked: what it is, or what stands in the way of its copy."""

    exit_code = 8


class UnreadableError(InputError):
    """The disk does not give back some bytes of an input.

    Attributes:
        offset: in the image, in bytes; reading from there has failed.
        why: what the system says.
    """

    def __init__(self, offset: int, why: str) -> None:
        self.offset = offset
        self.why = why
        super().__init__(f"it cannot be read at {offset}: {why}")


class PrintError(ZsofsError):
    """Standard output or standard error takes nothing, and not because nobody reads it."""

    exit_code = 8

    def __init__(self, error: OSError) -> None:
        super().__init__(f"what is to be printed cannot be written: {reason(error)}")


class BadDiscError(ZsofsError):
    """`zsofs verify` has found a disc that is not what it should be."""

    exit_code = 9


class UnverifiedError(ZsofsError):
    """`zsofs verify` has found nothing bad, but a disc that is not in the DATs."""

    exit_code = 10


class ServiceError(ZsofsError):
    """The service manager could not do it, or there is no such service."""

    exit_code = 11


class FormatError(ZsofsError):
    """A file has the magic of a container but cannot be served as a disc."""


class DamagedError(FormatError):
    """The container is cut, or its header or index contradicts itself or the file."""


class ForeignError(FormatError):
    """The magic belongs to a relative that zsofs does not read (another console, another codec)."""


class MissingParentError(FormatError):
    """A CHD holds only what differs from another one, which is not in its directory."""

    def __init__(self, sha1: str) -> None:
        super().__init__(
            f"it needs its parent, the CHD with SHA-1 {sha1}, which is not in the same directory"
        )


class BlockError(ZsofsError):
    """One stored block does not decode to exactly the bytes it should.

    Attributes:
        block: number of the block, counted from 0.
        offset: where its stored bytes begin in the source file, in bytes; -1 if not known.
    """

    def __init__(self, block: int, offset: int, reason: str) -> None:
        self.block = block
        self.offset = offset
        where = f"block {block}" if offset < 0 else f"block {block} at file offset {offset}"
        super().__init__(f"{where}: {reason}")


class SourceChangedError(ZsofsError):
    """A source file was written to, or cut, after it had been opened: its old bytes are gone."""


class SourceTouchedError(ZsofsError):
    """A source file has another change time than when it was opened, but its size and date.

    Its content may be the same: a chmod changes that time, too. What was read is in the buffer.

    Attributes:
        ctime_ns: the new change time in nanoseconds.
        rights: mode, owner, group and number of links, as fstat gave them together with that time.
        error: what else went wrong in the read.
    """

    def __init__(
        self, ctime_ns: int, rights: tuple[int, int, int, int], error: Exception | None
    ) -> None:
        self.ctime_ns = ctime_ns
        self.rights = rights
        self.error = error
        super().__init__(ctime_ns, rights)


class SourceAwayError(ZsofsError):
    """The file system of the source, or of a folder in it, is not mounted any more.

    It is not ENOENT, at which the kernel would forget a name that is to stay until it is back.
    """

    errno = _errno.ENOMEDIUM


class SourceAbsentError(ZsofsError):
    """The source has not been there since the mount began.

    It has an errno of its own, for a listing that merely is empty could make a mirror job delete
    its copies.
    """

    errno = _errno.ENOMEDIUM


class StaleNodeError(ZsofsError):
    """A name now stands for other content; ESTALE makes the kernel look it up again."""

    errno = _errno.ESTALE


class DiskBusyError(ZsofsError):
    """Too many requests wait for one disk of the source, which does not answer."""

    errno = _errno.EBUSY


class ReportedError(ZsofsError):
    """A request failed, and the log already says why."""

    def __init__(self, errno: int) -> None:
        self.errno = errno
        super().__init__(os.strerror(errno))


class RefusedError(ZsofsError):
    """A change through the mount that would touch a disc, or a name that is a disc's."""

    errno = _errno.EACCES
