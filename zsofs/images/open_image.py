"""One open source file, read by position: a disc in a container, or a plain file.

Both kinds answer the same call, are safe to use from several threads at once, and never write.
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

log = logging.getLogger(__name__)

Buffer = bytearray | memoryview


class Content(Protocol):
    """What a reader of the mount sees of an open file.

    Attributes:
        name: path inside the source, for messages.
        serial: stands for this content and, unlike an inode number, never for any other.
        size: in bytes.
        extent_size: the unit of decoding, in bytes. A read must begin on a multiple of it and end
            on one or at *size*; 1 means that any read will do.
        device: st_dev of the source file.
        check: judges new change times of the source file; None where they do not count.
    """

    name: str
    serial: int
    size: int
    extent_size: int
    device: int
    check: ContentCheck | None

    @property
    def can_ask(self) -> bool:
        """Whether :meth:`read_now` can tell what is in memory; if not, it never reads."""

    def read_now(self, offset: int, out: Buffer) -> bool:
        """Fill *out* with the bytes at *offset*, unless a disk would have to be waited for.

        Args:
            offset: in bytes, a multiple of ``extent_size``.
            out: its length must end the read on an extent's end or at ``size``.

        Returns:
            Whether *out* is filled.

        Raises:
            zsofs.errors.BlockError: a block there is damaged.
            zsofs.errors.SourceChangedError: the file was written to since it was opened.
            zsofs.errors.SourceTouchedError: it may have been, which ``check`` has to judge; *out*
                is filled.
            OSError: the source could not be read.
        """

    def job(self, offset: int, out: Buffer) -> Job:
        """The same read for a thread that may wait; arguments as of :meth:`read_now`."""

    def finish(self, job: Job) -> None:
        """Take a job that is done; raises as :meth:`read_now` does."""

    def expect_checked(self) -> None:
        """Have reads from now on compare the change time with the one that ``check`` expects."""

    def close(self) -> None:
        """Close the descriptor; no read may be under way."""


class _OpenFile:
    """What both kinds share: the descriptor, and how it is read without waiting for a disk."""

    def __init__(
        self, name: str, serial: int, size: int, source: OpenSource, check: ContentCheck | None
    ) -> None:
        self.name = name
        self.serial = serial
        self.size = size
        self.device = source.device
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
        """Fill *out* in the way *how*; zsofs.native.block_reader explains what it returns."""
        raise NotImplementedError

    def finish(self, job: Job) -> None:
        """See :class:`Content`."""
        job.result()

    def expect_checked(self) -> None:
        """See :class:`Content`."""
        self._ctime = None if self.check is None else self.check.expected_ctime

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
        # One block, also where it is smaller than a page. Decoding more than a random 4 KiB read
        # asks for never paid: two zstd 2 KiB blocks take 8 microseconds, an extent of 16 KiB 21,
        # of 32 KiB 38, of 64 KiB 73 (LZ4: 6, 9, 16, 25), and a sequential reader gains nothing,
        # since the kernel's read-ahead asks for 128 KiB at a time by itself.
        self.extent_size = geometry.block_size
        if geometry.chd is not None and geometry.chd.is_slow:
            self._how = WAIT  # 1 MiB of LZMA would hold up the event loop for 20 ms
        self._told_missing_byte = False

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
        super().finish(job)
        self._tell_missing_byte()

    def _run(self, offset: int, out: Buffer) -> tuple[int, int, int, Buffer]:
        """Descriptor, first block, number of blocks, buffer."""
        span = self._geometry.span(offset, len(out))
        return self._source.fd, span.first, span.block_count, out

    def _tell_missing_byte(self) -> None:
        if self._blocks.final_byte_missing and not self._told_missing_byte:
            self._told_missing_byte = True
            log.warning("%s: its writer lost the last byte of the image; it reads as 0", self.name)


class PlainFile(_OpenFile):
    """A file that is shown as it is."""

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
