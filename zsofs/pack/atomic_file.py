"""New files that are complete or absent: written under a hidden name, then renamed."""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from zsofs.errors import InputError, reason
from zsofs.formats.file_names import (
    is_unfinished,
    name_before_exchange,
    replaced_name,
    unfinished_name,
)
from zsofs.native.fileio import rename_exchange, start_writeback
from zsofs.system.full_write import write_all
from zsofs.system.mountinfo import own_mount_of
from zsofs.system.renames import Replaced, rename_to_free_name, replace_seen

_WRITEBACK = 8 << 20
"""Bytes after which writeback is started, so that the final fsync is short on slow disks.
On a fast disk it makes no difference: 3.46 against 3.49 s for 736 MiB in zstd."""


class NewFile:
    """A file under a hidden name in the directory of its target, locked while it is written.

    Attributes:
        fd: file descriptor; -1 before :meth:`make`.
        path: path under the hidden name.
        remarks: remarks for the user.
        error: why it may not survive a power failure although it has its final name; usually empty.
    """

    def __init__(self, target: str, there: os.stat_result | None = None) -> None:
        """Prepare a file with the final name *target*, which replaces the file *there*, if any."""
        self._target = target
        self._there = there
        self._folder = os.path.dirname(target) or "."
        self._begun = 0
        self._replaced = Replaced.ABSENT
        self._folder_fd = -1
        self.fd = -1
        self.path = ""
        self.remarks: tuple[str, ...] = ()
        self.error = ""

    def make(self) -> None:
        """Create the file; if interrupted, :meth:`close` removes it.

        Raises:
            OSError: creation failed.
        """
        final = os.fsencode(os.path.basename(self._target))
        self._folder_fd = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        while True:
            name = unfinished_name(final, secrets.token_hex(4))
            self.path = os.path.join(self._folder, os.fsdecode(name))
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            try:
                self.fd = os.open(self.path, flags, 0o600)
            except OSError:
                self.path = ""  # nothing was created, or the file is not ours
                raise
            if _lock(self.fd) is not False and os.fstat(self.fd).st_nlink:
                return
            os.close(self.fd)  # another run removed it as a leftover before it was locked
            self.fd = -1

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of *data* at *offset*.

        Raises:
            OSError: writing failed, usually because the disk is full.
        """
        write_all(self.fd, data, offset)

    def is_written_to(self, offset: int) -> None:
        """Report that everything up to *offset* is final, so that writeback can start."""
        if offset - self._begun >= _WRITEBACK:
            start_writeback(self.fd, self._begun, offset - self._begun)
            self._begun = offset

    def settle(self, status: os.stat_result) -> None:
        """Copy mode and times from *status* where permitted, and sync the file.

        The page cache is dropped afterwards, so that the file is read back from the disk.

        Raises:
            OSError: the disk failed or is full.
        """
        with suppress(PermissionError):  # a file system without modes, such as FAT
            os.fchmod(self.fd, stat.S_IMODE(status.st_mode) & 0o777)
        try:
            os.utime(self.fd, ns=(status.st_atime_ns, status.st_mtime_ns))
        except PermissionError:  # all files have one owner, as on many SMB and FAT mounts
            self.remarks = (
                "the output has the current date: only the owner of its file system can set dates",
            )
        os.fsync(self.fd)
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self._end_writing()

    def _end_writing(self) -> None:
        """Reopen the file read-only, so that a mount treats it as complete immediately."""
        reader = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):  # a shared lock is enough to exclude other runs
            fcntl.flock(self.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(reader, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self.fd, writer = reader, self.fd
        os.close(writer)

    def rename_to(self, target: str) -> str:
        """Change the final name to another one in the same directory; return it."""
        if target != self._target:
            self._target, self._there = target, None
        return target

    def announce(self, token: str) -> None:
        """Change the hidden name to one by which an interrupted exchange is recognized.

        Raises:
            OSError: renaming failed.
        """
        final = os.fsencode(os.path.basename(self._target))
        hidden = os.path.join(self._folder, os.fsdecode(replaced_name(final, token)))
        rename_to_free_name(self.path, hidden)
        self.path = hidden

    def take_name(self, *, replace: bool) -> None:
        """Rename the file to its final name and sync the directory.

        A file that it replaces is deleted by :meth:`close`, if the file system can exchange two.

        Args:
            replace: whether the file may be replaced that had the name when this one was created.

        Raises:
            InputError: another file has the name.
            OSError: renaming failed.
        """
        try:
            if not replace or self._there is None:
                rename_to_free_name(self.path, self._target)
            else:
                self._replaced = replace_seen(self.path, self._target, self._there)
            if self._replaced is Replaced.STAYED:
                raise InputError(
                    f"{self._target} was replaced or modified during the run; it was not"
                    " overwritten"
                )
        except FileExistsError:
            raise InputError(
                f"{self._target} was created during the run; it was not overwritten"
            ) from None
        try:
            sync_folder(self._folder)
        except OSError as error:
            self.error = (
                f"{self._target} is complete, but may be lost in a power failure: its directory"
                f" cannot be synced: {reason(error)}"
            )

    def take_back(self) -> str:
        """Undo :meth:`take_name`: give the name to the file that was replaced, or to none.

        For a file of a set whose other files did not get their names.

        Returns:
            The final name if the replaced file is lost; empty if all is as before.
        """
        if self.fd < 0 or not _is_at(self._target, self.fd):
            return ""
        try:
            if self._replaced is Replaced.ABSENT:
                os.unlink(self._target)
            elif self._replaced is Replaced.EXCHANGED:
                rename_exchange(self.path, self._target)
                self._replaced = Replaced.STAYED
        except OSError:
            return self._target
        return self._target if self._replaced is Replaced.GONE else ""

    def close(self) -> None:
        """Close the file; delete it if it has not been renamed, else the file that it replaced.

        That has a hidden name, also in a directory that was renamed meanwhile.
        """
        name, place = os.path.basename(self.path), self._folder_fd
        try:
            if self.fd < 0:  # interrupted during creation
                if self.path:
                    os.unlink(name, dir_fd=place)
            elif self._replaced is Replaced.EXCHANGED or _is_at(name, self.fd, place):
                os.unlink(name, dir_fd=place)
        finally:
            for fd in (self.fd, place):
                if fd >= 0:
                    os.close(fd)


@contextmanager
def new_file(target: str) -> Iterator[NewFile]:
    """Provide a new file for *target*; it is deleted on exit unless it has been renamed.

    Raises:
        InputError: it could not be created or written.
    """
    folder = os.path.dirname(target) or "."
    with ExitStack() as stack:
        _refuse_mount(target)
        try:
            _make_folder(folder)
            there = stack.enter_context(_held(target))
            remove_leftovers(folder)
        except OSError as error:
            raise InputError(f"{target} cannot be written: {reason(error)}") from None
        file = NewFile(target, there)
        try:
            try:
                file.make()
            except OSError as error:
                raise InputError(f"{target} cannot be written: {_why_not(error, folder)}") from None
            yield file
        finally:
            with suppress(OSError):  # its disk is gone; the next run deletes the file
                file.close()


def _why_not(error: OSError, folder: str) -> str:
    """Return why no file could be created in a directory, for the user."""
    # exFAT and the like for a character such as a colon: the kernel's, exfat-fuse, ZFS.
    if error.errno in (errno.EINVAL, errno.ENOENT, errno.EILSEQ) and os.path.isdir(folder):
        return "its file system does not accept this name; choose another one"
    return reason(error)


@contextmanager
def _held(path: str) -> Iterator[os.stat_result | None]:
    """Yield the status of *path*, or None; an open descriptor keeps its inode number allocated.

    Otherwise another file could get that number. FAT and FUSE may also renumber a file.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield os.fstat(fd)
    finally:
        os.close(fd)


def sync_folder(folder: str) -> None:
    """Sync a directory."""
    fd = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EROFS):  # not supported, as on SMB
            raise
    finally:
        os.close(fd)


def _refuse_mount(target: str) -> None:
    """Raise InputError if a new file would be in a mount of zsofs, also in a new directory.

    A mount does not show hidden names of unfinished files, by which they are verified.
    """
    folder = os.path.dirname(target) or "."
    while not (os.path.isdir(folder) or folder == "."):
        folder = os.path.dirname(folder.rstrip("/")) or "."
    try:
        mounted = own_mount_of(folder)
    except OSError:  # reported when the file is created
        return
    if mounted is not None:
        raise InputError(
            f"{target} cannot be written: {os.fsdecode(mounted.path)} is a mount of zsofs, which"
            f" shows no unfinished files; use the file in {os.fsdecode(mounted.source)} instead,"
            " or give a directory elsewhere with -o"
        )


def _make_folder(folder: str) -> None:
    """Create a directory and its parents, and sync them, so that files in it persist."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder.rstrip("/")) or "."
    _make_folder(above)
    with suppress(FileExistsError):
        os.mkdir(folder)
    sync_folder(above)


def remove_leftovers(folder: str) -> None:
    """Delete unlocked temporary files of runs that were killed, except in an exchange.

    Raises:
        OSError: the directory cannot be listed.
    """
    for name in os.listdir(folder):
        encoded = os.fsencode(name)
        if not is_unfinished(encoded) or name_before_exchange(encoded) is not None:
            continue
        path = os.path.join(folder, name)
        with suppress(OSError):
            fd = _open_to_lock(path)
            try:
                if stat.S_ISREG(os.fstat(fd).st_mode) and _lock(fd) and _is_at(path, fd):
                    os.unlink(path)
            finally:
                os.close(fd)


def _open_to_lock(path: str) -> int:
    """Open a temporary file; raises OSError."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags | os.O_RDWR)  # NFS locks only what can be written to
    except PermissionError:  # it has the mode of a read-only input already
        return os.open(path, flags | os.O_RDONLY)


def _lock(fd: int) -> bool | None:
    """Lock a file; return False if another run holds the lock, None if locks are unsupported."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(path: str, fd: int, folder: int | None = None) -> bool:
    """Return whether *path*, relative to the directory open as *folder*, is the open file *fd*."""
    try:
        there = os.stat(path, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))
