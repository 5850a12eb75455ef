"""Changes of the source through the mount: everything except discs.

Each change is made by name below an open directory, so that concurrent changes cannot lead outside
of the source. Whatever the listing contains, a disc is detected by the file itself at that
moment: by its name, or by its first bytes. All calls may wait for a disk.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from zsofs.console.text import for_people
from zsofs.discs.classify import looks_like_disc
from zsofs.errors import RefusedError, StaleNodeError
from zsofs.formats.file_names import is_kept_for_discs, may_be_disc
from zsofs.source.live_file import LiveFile, TimedStat, seen
from zsofs.source.new_discs import NewDiscs, NewFile
from zsofs.source.ownership import (
    SET_IDS,
    AttributeChange,
    NewOwner,
    hand_over,
    link_to,
    set_others,
    take_set_ids,
)
from zsofs.source.relpath import joined
from zsofs.source.tree import OpenFolder, Place, SourceTree, is_same_file
from zsofs.system.nofollow import STEP
from zsofs.system.renames import rename_to_free_name

_PASSED_ON = os.O_ACCMODE | os.O_TRUNC | os.O_SYNC | os.O_DSYNC
"""Open flags passed to the source. LiveFile implements O_APPEND; O_DIRECT would require aligned
memory."""

WHAT_TO_DO = "discs can only be changed in the source directory"


class SourceWriter:
    """Changes of one source."""

    def __init__(
        self, tree: SourceTree, new_discs: NewDiscs, *, takes_set_ids: bool = False
    ) -> None:
        """Create the writer.

        Args:
            tree: the source.
            new_discs: the discs that clients may still change.
            takes_set_ids: whether a file opened for writing loses :data:`SET_IDS` at once. The
                kernel does this itself, but not if options override owner or mode.
        """
        self._tree = tree
        self._new_discs = new_discs
        self._takes_set_ids = takes_set_ids

    def open(self, path: bytes, flags: int, known: os.stat_result) -> tuple[LiveFile, TimedStat]:
        """Open the file *path*.

        Args:
            path: path in the source.
            flags: flags of open(2).
            known: the expected file.

        Raises:
            RefusedError: it is a disc, and opened for writing.
            StaleNodeError: another file has that name now.
            OSError: the source reported an error.
        """
        with self._tree.step(path, to_change=True) as step:
            found = os.fstat(step)
            if not stat.S_ISREG(found.st_mode) or not is_same_file(found, known):
                raise _is_another(path)
            changes = flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC)
            if changes:
                self._refuse_disc_bytes(step, path)
            fd = os.open(link_to(step), flags & _PASSED_ON | os.O_CLOEXEC)
        with _closed_on_failure(fd):
            if changes:
                self._take_set_ids(fd)
            return self._live(fd, flags, path, changes=changes)

    def create(
        self, place: Place, flags: int, mode: int, owner: NewOwner
    ) -> tuple[LiveFile, TimedStat]:
        """Create the file *place* and open it.

        It gets :data:`SET_IDS` only if it belongs to the user who requests them.

        Raises:
            FileExistsError: the name exists.
            OSError: the source reported an error.
        """
        flags |= os.O_CREAT | os.O_EXCL
        if self._takes_set_ids or owner.uid is None:
            mode &= ~SET_IDS
        kept = _PASSED_ON | os.O_CREAT | os.O_EXCL
        with self._tree.folder(place.folder, to_change=True) as folder:
            fd = os.open(
                place.name,
                flags & kept | os.O_NOFOLLOW | os.O_CLOEXEC,
                mode & 0o777,
                dir_fd=folder.fd,
            )
        with _closed_on_failure(fd):
            hand_over(fd, mode, owner, folder.status)
            return self._live(fd, flags, place.name, changes=True)

    def found(self, place: Place) -> TimedStat | None:
        """Return the status of the file *place*; None if it is none."""
        with self._tree.folder(place.folder, to_change=True) as folder:
            at = time.monotonic()
            status = folder.stat(place.name)
        is_file = status is not None and stat.S_ISREG(status.st_mode)
        return TimedStat(status, at) if status is not None and is_file else None

    def make_folder(self, place: Place, mode: int, owner: NewOwner) -> TimedStat:
        """Create the directory *place*.

        Raises:
            StaleNodeError: another program replaced it at once.
            OSError: the source reported an error.
        """
        with self._tree.folder(place.folder, to_change=True) as folder:
            # The owner needs access for the check below, whatever the final mode is.
            os.mkdir(place.name, mode | stat.S_IRWXU, dir_fd=folder.fd)
            with folder.step(place.name) as step:
                _refuse_other_than_new(step, place)
                hand_over(step, mode, owner, folder.status)
                return seen(step)

    def remove_file(self, place: Place) -> None:
        """Delete a file, or a symlink itself.

        Raises:
            RefusedError: it is a disc.
            OSError: the source reported an error.
        """
        with self._tree.folder(place.folder, to_change=True) as folder:
            self._refuse_disc(folder, place)
            os.unlink(place.name, dir_fd=folder.fd)

    def remove_folder(self, place: Place) -> None:
        """Delete an empty directory, unless it is the mount point of an unmounted disk."""
        with self._tree.folder(place.folder, to_change=True) as folder:
            self._tree.refuse_mount_points(place.path)
            os.rmdir(place.name, dir_fd=folder.fd)

    def rename(self, old: Place, new: Place, *, replaces: bool) -> TimedStat:
        """Rename a file, or a directory that contains no discs.

        Args:
            old: the old place.
            new: the new place.
            replaces: whether a file of that name is replaced.

        Raises:
            RefusedError: a disc would be renamed, moved or replaced; or a file that no client
                wrote through this mount would get the name of one.
            SourceAwayError: one of them is, or contains, the mount point of an unmounted disk.
            FileExistsError: the new name exists, and must not be replaced.
            OSError: the source reported an error.
        """
        with ExitStack() as stack:
            folder = stack.enter_context(self._tree.folder(old.folder, to_change=True))
            new_folder = stack.enter_context(self._tree.folder(new.folder, to_change=True))
            self._tree.refuse_mount_points(old.path)
            self._refuse_disc(folder, old)
            self._refuse_holder(folder, old)
            step = stack.enter_context(folder.step(old.name))
            with self._new_discs.changing(step) as changed:
                if changed is None and is_kept_for_discs(new.name):
                    raise RefusedError(
                        f"{for_people(old.path)}: rename to {for_people(new.name)} refused: it was"
                        f" not written through this mount, and {WHAT_TO_DO}"
                    )
                if replaces:
                    self._tree.refuse_mount_points(new.path)
                    self._refuse_disc(new_folder, new)
                    os.rename(old.name, new.name, src_dir_fd=folder.fd, dst_dir_fd=new_folder.fd)
                else:
                    # The name may exist in the source although the mount does not show it.
                    rename_to_free_name(
                        old.name, new.name, src_dir_fd=folder.fd, dst_dir_fd=new_folder.fd
                    )
                if changed is not None:
                    changed.renamed(new.name)
            with new_folder.step(new.name) as step:
                return seen(step)

    def set_attributes(
        self, path: bytes, wanted: AttributeChange, known: os.stat_result
    ) -> TimedStat:
        """Set attributes of the file or directory *path*; see :meth:`open` for the rest."""
        with self._tree.step(path, to_change=True) as step:
            found = os.fstat(step)
            # A directory is identified by its path alone; it may have just been created.
            are_folders = stat.S_ISDIR(found.st_mode) and stat.S_ISDIR(known.st_mode)
            if not (are_folders or is_same_file(found, known)):
                raise _is_another(path)
            if stat.S_ISREG(found.st_mode):
                self._refuse_disc_bytes(step, path, stay_as_they_are=wanted.size is None)
            with self._new_discs.changing(step) as new:
                if wanted.size is not None:
                    fd = os.open(link_to(step), os.O_WRONLY | os.O_CLOEXEC)
                    try:
                        self._take_set_ids(fd)
                        _resize(fd, wanted.size, new)
                    finally:
                        os.close(fd)
                set_others(step, wanted)
            return seen(link_to(step))

    def set_attributes_of_open(
        self, file: LiveFile, path: bytes, wanted: AttributeChange
    ) -> TimedStat:
        """Set attributes of an open file, which may have been deleted.

        A program that has it open for writing may be creating a disc; it may continue until it
        closes it.

        Raises:
            RefusedError: it is a disc.
            OSError: the source reported an error.
        """
        is_clients = file.writable or self._new_discs.takes(file.fd)
        if not is_clients and looks_like_disc(file.fd):
            raise _refused_to_change(path)
        with self._new_discs.changing(file.fd) as new:
            if wanted.size is not None:
                _resize(file.fd, wanted.size, new)
            set_others(file.fd, wanted)
        return seen(file.fd)

    def _live(
        self, fd: int, flags: int, path: bytes, *, changes: bool
    ) -> tuple[LiveFile, TimedStat]:
        """Return the open file *fd*, which was opened with *flags*."""
        file = LiveFile(
            fd,
            os.fstat(fd).st_dev,
            writable=flags & os.O_ACCMODE != os.O_RDONLY,
            readable=flags & os.O_ACCMODE != os.O_WRONLY,
            appends=bool(flags & os.O_APPEND),
        )
        if changes:
            name = path.rpartition(b"/")[2]
            file.new = self._new_discs.opened(fd, name, is_new=bool(flags & os.O_CREAT))
        if file.new is None:
            return file, seen(fd)
        file.is_copy = bool(flags & (os.O_CREAT | os.O_TRUNC)) or is_kept_for_discs(path)
        if flags & os.O_TRUNC:
            file.new.resized(0)
        try:
            return file, seen(fd)
        except OSError:
            file.new.settle(fd)  # else it would be the client's for ever
            raise

    def _take_set_ids(self, fd: int) -> None:
        if self._takes_set_ids:
            take_set_ids(fd)

    def sync_folder(self, path: bytes) -> None:
        """Sync the directory *path* to the disk."""
        with self._tree.folder(path, to_change=True) as folder:
            os.fsync(folder.fd)

    # Protected discs

    def _refuse_disc_bytes(self, step: int, path: bytes, *, stay_as_they_are: bool = False) -> None:
        """Reject a change of the file with the O_PATH descriptor *step* if it is a disc.

        *stay_as_they_are*: whether the change is of attributes only. For an unreadable file, such
        a change is accepted, because it may make the file readable; a change of its bytes only if
        its name is not that of a disc.
        """
        if self._new_discs.takes(step):
            return
        if is_kept_for_discs(path):
            raise _refused_to_change(path)
        try:
            fd = os.open(link_to(step), os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            if stay_as_they_are or not may_be_disc(path):
                return
            raise
        try:
            if looks_like_disc(fd):
                raise _refused_to_change(path)
        finally:
            os.close(fd)

    def _refuse_disc(self, folder: OpenFolder, place: Place) -> None:
        """Reject a change of a name if it is a disc."""
        status = folder.stat(place.name)
        if status is None or not stat.S_ISREG(status.st_mode):
            return
        if self._is_protected(folder.fd, place.name):
            raise RefusedError(
                f"{for_people(place.path)}: rename, replacement or deletion refused: {WHAT_TO_DO}"
            )

    def _refuse_holder(self, folder: OpenFolder, place: Place) -> None:
        """Reject a change of the directory *place* if it contains discs, at any depth."""
        status = folder.stat(place.name)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return

        def fail(error: OSError) -> None:
            raise error

        for above, _, names, fd in os.fwalk(place.name, dir_fd=folder.fd, onerror=fail):
            for name in names:
                if self._is_protected(fd, name):
                    disc = for_people(joined(above, name))
                    raise RefusedError(
                        f"{for_people(place.path)}: move refused, because it contains the disc"
                        f" {disc}: {WHAT_TO_DO}"
                    )

    def _is_protected(self, folder: int, name: bytes) -> bool:
        """Return whether the file *name* is a disc that a client may not change."""
        if not _is_disc(folder, name):
            return False
        if not self._new_discs.enabled:
            return True
        try:
            step = os.open(name, STEP, dir_fd=folder)
        except FileNotFoundError:
            return False
        try:
            return not self._new_discs.takes(step)
        finally:
            os.close(step)


@contextmanager
def _closed_on_failure(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(fd)
        raise


def _resize(fd: int, size: int, new: NewFile | None) -> None:
    os.ftruncate(fd, size)
    if new is not None:
        new.resized(size)


def _is_another(path: bytes) -> StaleNodeError:
    return StaleNodeError(f"{for_people(path)}: replaced by another file")


def _refuse_other_than_new(step: int, place: Place) -> None:
    """Raise if *step* is not the directory just created, whose owner is about to be changed.

    A user who may write to the parent directory can put another file or directory there. An empty
    directory is equivalent to the new one.
    """
    if not stat.S_ISDIR(os.fstat(step).st_mode) or os.listdir(link_to(step)):
        raise _is_another(place.path)


def _refused_to_change(path: bytes) -> RefusedError:
    return RefusedError(f"{for_people(path)}: change refused: {WHAT_TO_DO}")


def _is_disc(folder: int, name: bytes) -> bool:
    """Return whether the file *name* is a disc, by its name or, if necessary, its content."""
    if is_kept_for_discs(name):
        return True
    if not may_be_disc(name):
        return False
    try:
        fd = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder
        )
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a symlink, a socket
            return False
        raise
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode) and looks_like_disc(fd)
    finally:
        os.close(fd)
