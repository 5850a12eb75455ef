"""The map of an open CHD, and the parents that it needs, found by their SHA-1 beside it."""

import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from zsofs.errors import DamagedError, FormatError, MissingParentError
from zsofs.formats.chd import HEADER_SIZE, ChdHeader, parse_header, parse_layout
from zsofs.formats.chd_layout import ChdLayout
from zsofs.formats.geometry import ChdCodec, Rule
from zsofs.images.content_check import seconds_until_settled
from zsofs.images.source_file import OpenSource
from zsofs.native.block_reader import BlockReader
from zsofs.native.chd_map import ChdMap

_MOST_PARENTS = 32
"""Files in a chain of parents; PCSX2 has the same bound."""

_KEPT_MAPS = 2 << 20
"""Bytes of maps that are kept for files which are opened again: about 20 of DVDs."""

_MOST_FILES = 10_000
"""CHDs in a directory that are looked at for a parent."""


def use_chd(reader: BlockReader, source: OpenSource, layout: ChdLayout) -> None:
    """Give *reader* the map of its CHD, and the parents that it needs; may wait for a disk.

    Args:
        reader: of the CHD.
        source: the CHD.
        layout: where its hunks lie.

    Raises:
        DamagedError: a map is damaged, or a parent does not fit.
        MissingParentError: a parent is not there.
        OSError: the file or its directory cannot be read.
    """
    reader.use_map(_maps.get(source.fd, layout))
    if layout.sha1s.parent:
        _adopt_parents(reader, source, layout)


class _Maps:
    """The maps that were used last, for files that are opened again soon.

    A file that appears is looked into, and opened by whoever lists or plays it: its map of up to
    26 MB need not be decoded each time. Those of CHDs with a parent are bound to it and not kept.
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
            while sum(one.memory for one in self._maps.values()) > _KEPT_MAPS:
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


def _adopt_parents(reader: BlockReader, source: OpenSource, layout: ChdLayout) -> None:
    """Look for parents among the CHDs of the same directory, without following symlinks."""
    with _directory_of(source.fd) as directory:
        child = layout
        for _ in range(_MOST_PARENTS):
            reader, child = _adopt(reader, child, directory)
            if not child.sha1s.parent:
                return
    raise DamagedError(f"its parents are more than {_MOST_PARENTS}")


def is_parent(source: OpenSource, layout: ChdLayout) -> bool:
    """Return whether a CHD in the directory of this one has it as its parent; may wait for a disk.

    Raises:
        OSError: the directory cannot be read.
    """
    with _directory_of(source.fd) as directory:
        return any(
            header.parent_sha1.hex() == layout.sha1s.overall for _, header in _headers(directory)
        )


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


def _adopt(child: BlockReader, layout: ChdLayout, directory: int) -> tuple[BlockReader, ChdLayout]:
    """Give *child* its parent; returns the parent's own reader and layout."""
    for fd, header in _headers(directory):
        if header.sha1.hex() != layout.sha1s.parent:
            continue
        status = os.fstat(fd)
        source = OpenSource(
            fd, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev
        )
        found = parse_layout(source, header)
        if found.unit_size != layout.unit_size:
            raise DamagedError(
                f"its parent has units of {found.unit_size} bytes, it has {layout.unit_size}"
            )
        parent = BlockReader(
            rule=Rule.CHD,
            codec=ChdCodec.NONE,
            shift=0,
            size=found.hunk_count * found.hunk_size,
            block_size=found.hunk_size,
            index_offset=found.map.offset,
            data_start=HEADER_SIZE,
            data_end=source.size,
            source_size=source.size,
            source_mtime_ns=source.mtime_mark,
        )
        parent.use_map(_maps.get(fd, found))
        child.adopt(parent, fd)
        return parent, found
    raise MissingParentError(layout.sha1s.parent)


def _headers(directory: int) -> Iterator[tuple[int, ChdHeader]]:
    """The CHDs of a directory: an open descriptor of each, good until the next, and its header."""
    with os.scandir(directory) as entries:
        names = sorted(entry.name for entry in entries if entry.name.lower().endswith(".chd"))
    for name in names[:_MOST_FILES]:
        with suppress(OSError, FormatError):
            fd = os.open(
                name,
                os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                dir_fd=directory,
            )
            try:
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    header = parse_header(os.pread(fd, HEADER_SIZE, 0))
                    yield fd, header
            finally:
                os.close(fd)


_maps = _Maps()
