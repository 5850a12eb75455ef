"""One open source file with random access: a disc in a container, or a plain file.

Both kinds have the same interface, can be used by several threads at once, and never write.
"""

import logging
import os
from typing import Protocol

from zsofs.formats.geometry import Geometry
from zsofs.images.content_check import ContentCheck
from zsofs.images.probe import block_reader
from zsofs.images.source_file import OpenSource
from zsofs.native.block_reader import (
    ASK,
    LOOK,
    NO_NOWAIT,
    WAIT,
    WOULD_WAIT,
    Job,
    plain_job,
    read_plain,
)
from zsofs.native.stored_ranges import stored_ranges

log = logging.getLogger(__name__)

Buffer = bytearray | memoryview


class Content(Protocol):
    """The content of an open file, as seen by a reader of the mount.

    Attributes:
        name: path relative to the source, for messages.
        serial: identifies this content; unlike an inode number it is never reused.
        size: size in bytes.
        extent_size: unit of decoding in bytes. A read must start at a multiple of it and end at one
            or at *size*; 1 means no restriction.
        is_exact: whether a read may also begin and end anywhere, so that a damaged block need not
            cost the whole extent.
        device: st_dev of the source file.
        is_slow: whether blocks are not decoded on the event loop, and those that follow ahead: LZMA
            has some 50 MB/s a core, and children decode their parents as well.
        check: judges changes of the change time of the source file; None if they do not matter.
    """

    name: str
    serial: int
    size: int
    extent_size: int
    is_exact: bool
    device: int
    is_slow: bool
    check: ContentCheck | None

    @property
    def descriptors(self) -> int:
        """How many descriptors are open for it: its file, and the parents of a CHD."""

    @property
    def can_ask(self) -> bool:
        """Whether :meth:`read_now` can determine what is in memory; if not, it never reads."""

    def read_now(self, offset: int, out: Buffer) -> bool:
        """Fill *out* with the bytes at *offset* if that needs no wait for a disk.

        Args:
            offset: in bytes, a multiple of ``extent_size``.
            out: buffer whose length ends the read at the end of an extent or at ``size``.

        Returns:
            Whether *out* is filled.

        Raises:
            zsofs.errors.BlockError: a block there is damaged.
            zsofs.errors.SourceChangedError: the file was modified since it was opened.
            zsofs.errors.SourceTouchedError: it may have been modified; ``check`` decides, and *out*
                is filled.
            OSError: the source could not be read.
        """

    def job(self, offset: int, out: Buffer) -> Job:
        """Return the same read as a job for a worker thread; arguments as in :meth:`read_now`."""

    def finish(self, job: Job) -> None:
        """Handle a finished job; raises like :meth:`read_now`."""

    def expect_checked(self) -> None:
        """Make future reads compare the change time with the one that ``check`` accepts."""

    def stored(self, offset: int, size: int) -> list[tuple[int, int]]:
        """Return where bytes are stored in the source file, as (offset, length) in its bytes.

        What is stored elsewhere, as in the parent of a CHD, is left out. May wait for a disk.

        Raises:
            zsofs.errors.BlockError: a block there is damaged.
            OSError: the source could not be read.
        """

    def index_of(self, offset: int, size: int) -> list[tuple[int, int]]:
        """Return where the index entries of bytes are in the source file, as (offset, length).

        Empty if there is no index, or all of it is in memory.
        """

    def reopen(self) -> int:
        """Return another descriptor of the source file. May wait for a disk.

        Raises:
            OSError: it cannot be opened again, or there is none.
        """

    def close(self) -> None:
        """Close the descriptors; no read may be in progress. May wait for a disk."""


class _OpenFile:
    """Common base: the descriptor, and reads that do not wait for a disk."""

    is_exact = False

    @property
    def descriptors(self) -> int:
        """See :class:`Content`."""
        return 1

    def __init__(
        self, name: str, serial: int, size: int, source: OpenSource, check: ContentCheck | None
    ) -> None:
        self.name = name
        self.serial = serial
        self.size = size
        self.device = source.device
        self.is_slow = False
        self.check = check
        self._source = source
        self._how = ASK
        self._ctime: int | None = None
        self.expect_checked()

    @property
    def can_ask(self) -> bool:
        """See :class:`Content`."""
        return self._how != WAIT

    def read_now(self, offset: int, out: Buffer) -> bool:
        """See :class:`Content`."""
        if self._how == WAIT:
            return False
        result = self._read(offset, out, self._how)
        if result == NO_NOWAIT:
            self._how = LOOK if self._source.can_look else WAIT
            return self.read_now(offset, out)
        return result != WOULD_WAIT

    def _read(self, offset: int, out: Buffer, how: int) -> int:
        """Fill *out* in the mode *how*; for the result see zsofs.native.block_reader."""
        raise NotImplementedError

    def finish(self, job: Job) -> None:
        """See :class:`Content`."""
        job.result()

    def expect_checked(self) -> None:
        """See :class:`Content`."""
        self._ctime = None if self.check is None else self.check.expected_ctime

    def reopen(self) -> int:
        """See :class:`Content`."""
        return self._source.reopen()

    def close(self) -> None:
        """See :class:`Content`."""
        os.close(self._source.fd)


class DiscImage(_OpenFile):
    """The plain image inside a container."""

    def __init__(
        self,
        name: str,
        serial: int,
        source: OpenSource,
        geometry: Geometry,
        check: ContentCheck | None = None,
    ) -> None:
        self._blocks = block_reader(geometry, source)
        self._geometry = geometry
        super().__init__(name, serial, geometry.size, source, check)
        # One block, even if it is smaller than a page. Decoding more than a random 4 KiB read
        # requests never paid off: two zstd 2 KiB blocks take 8 microseconds, an extent of 16 KiB
        # 21, of 32 KiB 38, of 64 KiB 73 (LZ4: 6, 9, 16, 25), and sequential reads gain nothing,
        # because the kernel's read-ahead requests 128 KiB at a time.
        self.extent_size = geometry.block_size
        # 1 MiB of LZMA, also in a parent, would hold up the event loop for 20 ms.
        if geometry.chd is not None:
            self.is_slow = geometry.chd.is_slow or bool(geometry.chd.sha1s.parent)
            if self.is_slow:
                self._how = WAIT
        self._told_missing_byte = False

    @property
    def descriptors(self) -> int:
        """See :class:`Content`."""
        return 1 + self._blocks.parents

    def close(self) -> None:
        """See :class:`Content`."""
        try:
            self._blocks.close()
        finally:
            super().close()

    def expect_checked(self) -> None:
        """See :class:`Content`."""
        super().expect_checked()
        self._blocks.expect_ctime(self._ctime)

    def _read(self, offset: int, out: Buffer, how: int) -> int:
        result = self._blocks.read(*self._run(offset, out), how)
        self._tell_missing_byte()
        return result

    def job(self, offset: int, out: Buffer) -> Job:
        """See :class:`Content`."""
        return self._blocks.job(*self._run(offset, out))

    def finish(self, job: Job) -> None:
        """See :class:`Content`."""
        job.result()
        self._tell_missing_byte()

    def stored(self, offset: int, size: int) -> list[tuple[int, int]]:
        """See :class:`Content`."""
        span = self._geometry.span(offset, size)
        if not span.block_count:
            return []
        return stored_ranges(self._blocks, self._source.fd, span.first, span.block_count)

    def index_of(self, offset: int, size: int) -> list[tuple[int, int]]:
        """See :class:`Content`."""
        span = self._geometry.span(offset, size)
        return self._geometry.index_entries(span.first, span.block_count)

    def _run(self, offset: int, out: Buffer) -> tuple[int, int, int, Buffer]:
        """Return descriptor, first block, number of blocks, and buffer."""
        first = offset // self.extent_size
        return self._source.fd, first, -(-(offset + len(out)) // self.extent_size) - first, out

    def _tell_missing_byte(self) -> None:
        if self._blocks.final_byte_missing and not self._told_missing_byte:
            self._told_missing_byte = True
            log.warning(
                "%s: the last byte of the image was not stored by the program that"
                " packed it; it reads as 0",
                self.name,
            )


class PlainFile(_OpenFile):
    """A file that is shown unchanged."""

    extent_size = 1

    def __init__(
        self, name: str, serial: int, source: OpenSource, check: ContentCheck | None = None
    ) -> None:
        super().__init__(name, serial, source.size, source, check)

    def _read(self, offset: int, out: Buffer, how: int) -> int:
        source = self._source
        return read_plain(source.fd, offset, out, source.size, source.mtime_mark, how, self._ctime)

    def job(self, offset: int, out: Buffer) -> Job:
        """See :class:`Content`."""
        source = self._source
        return plain_job(source.fd, offset, out, source.size, source.mtime_mark, self._ctime)

    def stored(self, offset: int, size: int) -> list[tuple[int, int]]:
        """See :class:`Content`."""
        return [(offset, min(size, self.size - offset))] if offset < self.size else []

    def index_of(self, offset: int, size: int) -> list[tuple[int, int]]:
        """See :class:`Content`."""
        return []
