"""Requests of the source ahead of a reader: in the order of the disk, one at a time."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zsofs.errors import ZsofsError
from zsofs.images.open_image import Content
from zsofs.native.read_log import PAGE
from zsofs.preload.boot_trace import Range

MOST_REQUEST = 256 << 10
"""Bytes of a request: 2 ms of a hard disk. A read of a game waits for at most one of them; after
one of 32 MiB it took 434 ms instead of 17 (observed)."""

_GAP = 32 << 10
"""Bytes between two requests that are read with them: less than the next turn of the platter."""

INDEX_PART = 64 << 10
"""Bytes of an index that are requested at once, at a multiple of it: the entries of 32 MiB in
blocks of 2 KiB. An index that is read a page at a time costs a seek for each of its pages."""


@dataclass(slots=True)
class Request:
    """Bytes of the source that are requested at once.

    Attributes:
        offset: in the source file.
        size: in bytes.
        parts: bytes of each range of the trace in it, by the number of the range.
    """

    offset: int
    size: int
    parts: dict[int, int]


def requests(content: Content, ranges: Sequence[tuple[int, Range]]) -> list[Request]:
    """Return what to request for numbered ranges of a disc. May wait for a disk, for the index.

    Blocks that are damaged are left out: the reader has the error, if it gets there.

    Raises:
        OSError: the index cannot be read.
    """
    pieces = []
    for number, one in sorted(ranges, key=lambda each: each[1].begin):
        size = min(one.end * PAGE, content.size) - one.begin * PAGE
        if size <= 0:
            continue
        try:
            stored = content.stored(one.begin * PAGE, size)
        except ZsofsError:
            continue
        pieces += [(offset, length, number) for offset, length in stored]
    return _in_order(pieces)


def index_requests(content: Content, ranges: Sequence[tuple[int, Range]]) -> list[Request]:
    """Return what to request of the index for numbered ranges of a disc."""
    found: dict[int, Request] = {}
    for number, one in ranges:
        size = min(one.end * PAGE, content.size) - one.begin * PAGE
        for offset, length in content.index_of(one.begin * PAGE, max(size, 0)):
            for place in range(offset // INDEX_PART, (offset + length - 1) // INDEX_PART + 1):
                request = Request(place * INDEX_PART, INDEX_PART, {})
                found.setdefault(place, request).parts[number] = 0
    for request in found.values():
        share = request.size // len(request.parts)
        request.parts = dict.fromkeys(request.parts, share)
    return [found[place] for place in sorted(found)]


def _in_order(pieces: Iterable[tuple[int, int, int]]) -> list[Request]:
    """Return requests for pieces (offset, length, number of the range), by their place."""
    found: list[Request] = []
    for offset, length, number in sorted(_cut(pieces)):
        last = found[-1] if found else None
        if (
            last is not None
            and offset <= last.offset + last.size + _GAP
            and max(offset + length - last.offset, last.size) <= MOST_REQUEST
        ):
            last.size = max(offset + length - last.offset, last.size)
            last.parts[number] = last.parts.get(number, 0) + length
        else:
            found.append(Request(offset, length, {number: length}))
    return found


def _cut(pieces: Iterable[tuple[int, int, int]]) -> Iterable[tuple[int, int, int]]:
    for offset, length, number in pieces:
        for begin in range(offset, offset + length, MOST_REQUEST):
            yield begin, min(MOST_REQUEST, offset + length - begin), number


class SourceFile:
    """A descriptor for what is fetched ahead. All calls may wait for a disk.

    It is not that of the readers, whose read-ahead the kernel would no longer recognize.

    Attributes:
        device: st_dev of the file.
        index_parts: offsets of what was fetched of the index.
    """

    def __init__(self, fd: int, device: int) -> None:
        """Take over a descriptor; *device* is the st_dev of the file."""
        self.device = device
        self.index_parts: set[int] = set()
        self._fd = fd
        self._size = os.fstat(fd).st_size
        self._memory = memoryview(bytearray(MOST_REQUEST))
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)

    def fetch(self, offset: int, size: int) -> None:
        """Have the kernel cache these bytes, and wait until it has.

        WILLNEED makes it one request of the disk; some file systems ignore it. The read waits.

        Raises:
            OSError: the source reported an error.
        """
        os.posix_fadvise(self._fd, offset, size, os.POSIX_FADV_WILLNEED)
        os.preadv(self._fd, [self._memory[:size]], offset)

    def is_cached(self, offset: int, size: int) -> bool:
        """Return whether the kernel has these bytes, by the first and the last of them."""
        end = min(offset + size, self._size)
        return offset < end and self._has(offset) and self._has(end - 1)

    def _has(self, offset: int) -> bool:
        """Return whether the kernel has a byte; False on a file system that cannot say."""
        try:
            return bool(os.preadv(self._fd, [self._memory[:1]], offset, os.RWF_NOWAIT))
        except OSError:
            return False

    def has_all(self, content: Content, ranges: Sequence[Range]) -> bool:
        """Return whether the kernel has what is to be fetched for ranges of a disc.

        Raises:
            OSError: the index cannot be read.
        """
        numbered = list(enumerate(ranges))
        return all(
            self.is_cached(request.offset, request.size)
            for found in (index_requests, requests)  # the index first: the others need it
            for request in found(content, numbered)
        )

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


def reopened(content: Content) -> SourceFile:
    """Return a descriptor of its own for fetching. May wait for a disk.

    Raises:
        OSError: it cannot be opened again.
    """
    return SourceFile(content.reopen(), content.device)
