"""The map of an open CHD, and the parents that it needs, found by their SHA-1 beside it."""

import errno
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

from zsofs.console.text import for_people
from zsofs.errors import (
    DamagedError,
    FormatError,
    MissingParentError,
    UnusableParentError,
    reason,
)
from zsofs.formats.chd import HEADER_SIZE, hunks_geometry, parse_header, parse_layout
from zsofs.formats.chd_layout import ChdLayout
from zsofs.images.bare_reader import bare_reader
from zsofs.images.chd_headers import HeaderIndex, Headers, open_in
from zsofs.images.content_check import seconds_until_settled
from zsofs.images.source_file import OpenSource
from zsofs.native.block_reader import BlockReader
from zsofs.native.chd_map import ChdMap

_FileId = tuple[int, int]
"""Device and inode number."""

_MOST_PARENTS = 32
"""Files in a chain of parents; PCSX2 has the same bound."""

_KEPT_MAPS = 32
"""Maps that are kept for files which are opened again. ``native/chd_map.pyx`` bounds the memory of
all maps, also of open files."""


def use_chd(reader: BlockReader, source: OpenSource, layout: ChdLayout) -> None:
    """Give *reader* the map of its CHD, and the parents that it needs; may wait for a disk.

    Args:
        reader: of the CHD.
        source: the CHD.
        layout: where its hunks lie.

    Raises:
        DamagedError: the map is damaged.
        MissingParentError: a parent is not there.
        UnusableParentError: no file that could be the parent can be read as such.
        OSError: the file or its directory cannot be read.
    """
    reader.use_map(_maps.get(source.fd, layout))
    if layout.sha1s.parent:
        status = os.fstat(source.fd)
        with _directory_of(source.fd) as directory:
            known = _headers.known(directory)
            try:
                _Parents(directory, known, status).adopt(reader, layout, (_id(status),))
            except FormatError:
                present = _headers.present(directory)
                if present is known:
                    raise
                _Parents(directory, present, status).adopt(reader, layout, (_id(status),))


class _Maps:
    """The maps that were used last, for files that are opened again soon.

    A new file is inspected, and soon opened by a program that lists or plays it: its map of up to
    18 MB need not be decoded each time. Those of CHDs with a parent are bound to it and not kept.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._maps: OrderedDict[object, ChdMap] = OrderedDict()

    def get(self, fd: int, layout: ChdLayout) -> ChdMap:
        """The map of the open file, from memory if it has not changed by size and times."""
        if layout.sha1s.parent or not layout.map.compressed:
            return _load(fd, layout)
        status = os.fstat(fd)
        key = (
            (status.st_dev, status.st_ino),
            (status.st_size, status.st_mtime_ns, status.st_ctime_ns),
            layout,
        )
        with self._lock:
            found = self._maps.pop(key, None)
        if found is None:
            found = _load(fd, layout)
        if seconds_until_settled(status.st_ctime_ns):  # other content may have the same times
            return found
        with self._lock:
            self._maps[key] = found
            while len(self._maps) > _KEPT_MAPS:
                self._maps.popitem(last=False)
        return found


def _load(fd: int, layout: ChdLayout) -> ChdMap:
    """The map of a CHD, checked as a whole."""
    where = layout.map
    return ChdMap(
        fd=fd,
        hunk_count=max(layout.hunk_count, 1),
        hunk_size=layout.hunk_size,
        unit_size=layout.unit_size,
        skip=layout.skip,
        take=layout.take,
        methods=layout.codecs,
        map_offset=where.offset,
        map_size=where.size,
        first_offset=where.first_offset,
        map_crc=where.crc,
        bits=where.bits,
        compressed=where.compressed and layout.hunk_count > 0,
    )


def is_parent(source: OpenSource, layout: ChdLayout) -> bool:
    """Return whether a CHD in the directory of this one has it as its parent; may wait for a disk.

    Raises:
        OSError: the directory cannot be read.
    """
    own = bytes.fromhex(layout.sha1s.overall)
    if not any(own):  # an uncompressed CHD has no SHA-1, and thus no children
        return False
    with _directory_of(source.fd) as directory:
        return own in _headers.present(directory, every_name=True).parents


@contextmanager
def _directory_of(fd: int) -> Iterator[int]:
    """A descriptor of the directory that an open file lies in."""
    path = os.readlink(f"/proc/self/fd/{fd}")
    directory = os.open(
        os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    )
    try:
        yield directory
    finally:
        os.close(directory)


class _Parents:
    """The CHDs of a directory as possible parents; symlinks are not followed.

    Only files that the owner of the child may read: otherwise a child, which can consist of
    references alone, would show the content of a private file to its owner in a mount of root.
    """

    def __init__(self, directory: int, headers: Headers, child: os.stat_result) -> None:
        self._directory = directory
        self._headers = headers
        self._child = child
        self._failures: dict[str, FormatError] = {}

    def adopt(self, child: BlockReader, layout: ChdLayout, above: tuple[_FileId, ...]) -> None:
        """Give *child* its parent, and that its own.

        Several files can have the SHA-1, and one of them may be damaged or still being copied:
        the first that can be used is taken.

        Args:
            child: reader of the CHD.
            layout: of the CHD.
            above: the CHD and the children that led to it, none of which can be its parent.
        """
        if len(above) > _MOST_PARENTS:
            raise DamagedError(f"its parents are more than {_MOST_PARENTS}")
        wanted = layout.sha1s.parent
        failure = self._failures.get(wanted)
        if failure is None:  # else it has failed as the parent of another candidate
            for name in self._headers.names.get(bytes.fromhex(wanted), ()):
                try:
                    if self._adopt(child, layout, above, name):
                        return
                except FormatError as error:
                    failure = failure or error
        failure = failure or MissingParentError(wanted)
        self._failures[wanted] = failure
        raise failure

    def _adopt(
        self, child: BlockReader, layout: ChdLayout, above: tuple[_FileId, ...], name: str
    ) -> bool:
        """Give *child* the parent *name*; returns whether it is one, and not one of those above."""
        with ExitStack() as undo:
            try:
                fd = open_in(name, self._directory)
                undo.callback(os.close, fd)
                status = os.fstat(fd)
                if _id(status) in above:
                    return False
                if not _can_read(self._child, status):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                opened = _parent(OpenSource.of(fd, status), layout)
            except (FormatError, OSError) as error:
                raise UnusableParentError(for_people(os.fsencode(name)), reason(error)) from error
            if opened is None:
                return False
            parent, found = opened
            if found.sha1s.parent:
                self.adopt(parent, found, (*above, _id(status)))
            child.adopt(parent, fd)
            undo.pop_all()
        return True


def _id(status: os.stat_result) -> _FileId:
    return status.st_dev, status.st_ino


def _can_read(child: os.stat_result, parent: os.stat_result) -> bool:
    """Return whether the owner of one file may read another, by its mode."""
    if child.st_uid in (0, parent.st_uid):
        return True
    shift = 3 if child.st_gid == parent.st_gid else 0
    return bool(parent.st_mode >> shift & 0o4)


def _parent(source: OpenSource, child: ChdLayout) -> tuple[BlockReader, ChdLayout] | None:
    """The reader and the layout of a parent; None if it is not that of *child*.

    Raises:
        FormatError: it cannot be read.
        OSError: the file cannot be read.
    """
    header = parse_header(source.read_at(0, HEADER_SIZE))
    if header.sha1.hex() != child.sha1s.parent:  # it was, when its directory was searched
        return None
    layout = parse_layout(source, header)
    if layout.unit_size != child.unit_size:
        raise DamagedError(
            f"it has units of {layout.unit_size} bytes, and its child has {child.unit_size}"
        )
    reader = bare_reader(hunks_geometry(layout, source.size), source)
    reader.use_map(_maps.get(source.fd, layout))
    return reader, layout


_headers = HeaderIndex()
_maps = _Maps()
