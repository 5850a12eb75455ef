"""The SHA-1s of the CHDs in a directory: headers are read once, and again when a file changes.

Each child of a CHD is opened with a search for its parent. Without this, a directory of 2,000
children read 2,000 headers for each of them: 60 s to list it.
"""

import os
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

from zsofs.errors import FormatError
from zsofs.formats.chd import HEADER_SIZE, parse_header
from zsofs.images.content_check import seconds_until_settled

_MOST_FILES = 10_000
"""CHDs in a directory that are looked at for a parent."""

_KEPT_FILES = 10_000
"""Files that the index knows in all directories together, of about 500 bytes each."""

_FRESH_SECONDS = 0.02
"""How long the files of a directory are not looked at again. It is less than the time from a change
to the scan for which the mount then opens the children, so none of them misses that change."""

_FileKey = tuple[int, int, int, int]
"""Inode number, size, modification time and change time in nanoseconds."""


class _Header(NamedTuple):
    """What is known of a file.

    Attributes:
        file: its key; None if other content may have the same times.
        sha1: of the CHD; empty if the file is none.
        parent: SHA-1 of its parent, or zeros.
    """

    file: _FileKey | None
    sha1: bytes
    parent: bytes


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers of a directory.

    Attributes:
        names: the names of the CHDs with a SHA-1, sorted.
        parents: SHA-1s that are named as a parent.
    """

    names: dict[bytes, list[str]] = field(default_factory=dict)
    parents: set[bytes] = field(default_factory=set)


class _Directory:
    """What is known of one directory; all of it under its lock."""

    def __init__(self, *, every_name: bool) -> None:
        self.lock = Lock()
        self.headers = Headers()
        self._every_name = every_name
        self._files: dict[str, _Header] = {}
        self._times: tuple[int, int] | None = None
        self._looked_at = float("-inf")

    @property
    def file_count(self) -> int:
        """How many files are known."""
        return len(self._files)

    def is_fresh(self, directory: int) -> bool:
        """Return whether the files were looked at just now, and the same names are there."""
        recent = time.monotonic() - self._looked_at < _FRESH_SECONDS
        return recent and self._times is not None and self._times == _times(directory)

    @property
    def is_known(self) -> bool:
        """Whether the files were ever looked at."""
        return self._looked_at >= 0

    def look(self, directory: int) -> None:
        """Read the headers of new and changed files; replace ``headers`` if any changed."""
        begun, times = time.monotonic(), _times(directory)
        files: dict[str, _Header] = {}
        for name, key in self._regular_files(directory):
            known = self._files.get(name)
            if known is None or known.file != key:
                known = _read(name, directory)
            files[name] = known
        if files != self._files:
            self.headers = _gathered(files)
        self._files = files
        self._times = times
        self._looked_at = begun

    def _regular_files(self, directory: int) -> Iterator[tuple[str, _FileKey]]:
        with os.scandir(directory) as entries:
            found = sorted(
                (entry.name, entry)
                for entry in entries
                if self._every_name or entry.name.lower().endswith(".chd")
            )
        if not self._every_name:
            del found[_MOST_FILES:]
        for name, entry in found:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield name, _key(status)


def _times(directory: int) -> tuple[int, int] | None:
    """Modification and change time of a directory; None if it can change without other times."""
    status = os.fstat(directory)
    times = status.st_mtime_ns, status.st_ctime_ns
    return None if any(map(seconds_until_settled, times)) else times


def _key(status: os.stat_result) -> _FileKey:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(name: str, directory: int) -> _Header:
    """The header of a file, with what it was before it was read."""
    key: _FileKey | None = None
    try:
        fd = open_in(name, directory)
        try:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode):
                if not seconds_until_settled(status.st_ctime_ns):
                    key = _key(status)
                header = parse_header(os.pread(fd, HEADER_SIZE, 0))
                return _Header(key, header.sha1, header.parent_sha1)
        finally:
            os.close(fd)
    except OSError:
        key = None  # another attempt may read it
    except FormatError:
        pass
    return _Header(key, b"", b"")


def _gathered(files: dict[str, _Header]) -> Headers:
    headers = Headers()
    for name, header in files.items():
        if header.sha1:
            headers.names.setdefault(header.sha1, []).append(name)
            headers.parents.add(header.parent)
    return headers


def open_in(name: str, directory: int) -> int:
    """Open a file of a directory for reading, but no symlink; returns the descriptor."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=directory)


class HeaderIndex:
    """The headers of the directories that were searched last. For threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._directories: OrderedDict[tuple[int, int, bool], _Directory] = OrderedDict()

    def known(self, directory: int) -> Headers:
        """The headers of the CHDs in an open directory, perhaps as they were a while ago.

        A caller that opens one of these files compares its header; :meth:`present` finds missing
        files.

        Raises:
            OSError: the directory cannot be read.
        """
        found = self._of(directory, every_name=False)
        with found.lock:
            if not found.is_known:
                found.look(directory)
                self._bound()
            return found.headers

    def present(self, directory: int, *, every_name: bool = False) -> Headers:
        """The headers as they are now; the same object as before if none has changed.

        Args:
            directory: a descriptor of it.
            every_name: whether to look for CHDs also in files with another extension, in all of
                them.

        Raises:
            OSError: the directory cannot be read.
        """
        found = self._of(directory, every_name=every_name)
        with found.lock:
            if every_name or not found.is_fresh(directory):
                found.look(directory)
                self._bound()
            return found.headers

    def _of(self, directory: int, *, every_name: bool) -> _Directory:
        status = os.fstat(directory)
        key = status.st_dev, status.st_ino, every_name
        with self._lock:
            found = self._directories.setdefault(key, _Directory(every_name=every_name))
            self._directories.move_to_end(key)
        return found

    def _bound(self) -> None:
        with self._lock:
            while sum(one.file_count for one in self._directories.values()) > _KEPT_FILES:
                self._directories.popitem(last=False)
