"""Whether an input is complete, so that it can be packed.

There is no sure sign: torrent clients allocate a file before they write it, and close it in
between. So the signs are combined, see :func:`judge`, and deletion needs more of them than packing.
"""

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zsofs.discs.classify import has_iso9660
from zsofs.errors import reason
from zsofs.source.new_disc_mark import NOT_COPIED, is_marked
from zsofs.system.file_lease import has_writer
from zsofs.system.unwritten import has_holes, is_preallocated
from zsofs.timings import timings
from zsofs.watch.units import Unit

_WRITTEN = "it may still be written"
_HOLES = "it has holes, as an unfinished download has; it is packed an hour after its last change"
_SHEET = (
    "its cue sheet may still arrive; without one, it is packed an hour after its last change, or"
    " soon if you rename it to .iso"
)


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A file and its content, by lstat.

    Attributes:
        inode: its number.
        size: in bytes.
        mtime_ns: modification time.
        ctime_ns: change time.
    """

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileIdentity":
        """Return the identity of the file with this stat result."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def identity_at(path: str) -> FileIdentity | None:
    """Return the identity of a regular file; None if there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return FileIdentity.of(status) if stat.S_ISREG(status.st_mode) else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an input is complete.

    Attributes:
        waits_for: why it is not packed now, as a sentence; empty if it is complete.
        again: seconds until that may change without an event.
        closed: whether a program was seen closing or renaming each of its files.
        is_written: whether each byte of its files was written.
    """

    waits_for: str = ""
    again: float = 0.0
    closed: bool = False
    is_written: bool = True


@dataclass(frozen=True, slots=True)
class _Signs:
    """What is known of a file: whether it may be packed, and how long it must be unchanged."""

    waits_for: str = ""
    quiet: float = 0.0
    is_written: bool = True


def judge(
    unit: Unit,
    quiet_for: float,
    identities: Iterable[FileIdentity],
    was_closed: Callable[[FileIdentity], bool],
) -> Verdict:
    """Return whether an input is complete. May wait for a disk.

    It is complete when nothing has changed for a while: 5 seconds if each file was closed or
    renamed by its writer and a read lease shows that no program has it open for writing. Leases
    need the owner of the file and a local file system: without one, and without a close or rename,
    60 seconds. With holes, which clients leave that set the size first, one hour; also for an image
    that a cue sheet may name, because its tracks may arrive long before it. Never while a part is
    allocated and not written.

    Args:
        unit: the input.
        quiet_for: seconds since its files were last seen to change.
        identities: of its files, in the same order.
        was_closed: returns whether a file was closed or renamed by its writer.
    """
    if unit.lacks:
        return Verdict(unit.lacks, timings().watch_quiet)
    files = list(zip(unit.files, identities, strict=True))
    closed = all(was_closed(identity) for _, identity in files)
    least = timings().watch_quiet_closed if closed and not unit.may_grow else timings().watch_quiet
    if quiet_for < timings().watch_quiet_closed:
        soon = timings().watch_quiet_closed if unit.lacks_sheet else least
        return Verdict(_WRITTEN, soon - quiet_for)
    is_written = True
    waits_for = _WRITTEN
    if unit.lacks_sheet and not _is_plain(unit.path):
        least, waits_for = timings().watch_quiet_sheet, _SHEET
    for path, identity in files:
        signs = _signs_of(path, identity)
        if signs.waits_for:
            return Verdict(signs.waits_for, timings().watch_quiet_closed)
        least = max(least, signs.quiet)
        if not signs.is_written:
            waits_for = _HOLES
        is_written = is_written and signs.is_written
    if quiet_for < least:
        return Verdict(waits_for, least - quiet_for)
    return Verdict(closed=closed, is_written=is_written)


def _is_plain(path: str) -> bool:
    """Return whether an image has sectors of 2048 bytes: it needs no cue sheet."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:  # reported with its signs
        return False
    try:
        return has_iso9660(fd)
    except OSError:
        return False
    finally:
        os.close(fd)


def _signs_of(path: str, identity: FileIdentity) -> _Signs:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        return _Signs(f"it cannot be opened: {reason(error)}")
    try:
        return _signs(fd, identity)
    except OSError as error:
        return _Signs(f"it cannot be read: {reason(error)}")
    finally:
        os.close(fd)


def _signs(fd: int, identity: FileIdentity) -> _Signs:
    written_to = has_writer(fd)
    why = ""
    if FileIdentity.of(os.fstat(fd)) != identity:
        why = _WRITTEN
    elif not identity.size:
        why = "it is empty"
    elif written_to:
        why = "a program has it open for writing"
    elif is_marked(fd):
        why = NOT_COPIED
    elif is_preallocated(fd, identity.size):
        why = "parts of it are allocated and were never written; if it is complete, copy it"
    if why:
        return _Signs(why)
    if has_holes(fd, identity.size):
        return _Signs(quiet=timings().watch_quiet_holes, is_written=False)
    return _Signs(quiet=0.0 if written_to is False else timings().watch_quiet)
