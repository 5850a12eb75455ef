"""A disc image that comes out of an archive as a stream."""

import os
from threading import Condition

from zsofs.archives.decoder import Decoder, Member
from zsofs.discs.shortage import find_shortage
from zsofs.errors import DamagedError
from zsofs.formats.geometry import CD_SECTOR
from zsofs.formats.ziso_writer import SECTOR
from zsofs.images.probe import CD_SYNC_SIZE, is_raw_cd
from zsofs.pack.archive_file import ArchiveFile

_SCRATCH = 1 << 20


class WrongSizeError(Exception):
    """The content of a compressed file has another size than was expected.

    Attributes:
        size: the size in bytes; None if it has to be counted.
    """

    def __init__(self, size: int | None) -> None:
        self.size = size
        super().__init__(size)


class ArchiveImage:
    """An image in an archive, read once and in order: a :class:`zsofs.pack.packer.PackInput`.

    Attributes:
        size: of the image in bytes.
        raw_cd: whether it has raw CD sectors of 2352 bytes.
        status: stat result of the archive.
        is_exact: whether *size* is certain, so that any other size is damage.
    """

    geometry = None
    seal = None
    in_order = True

    def __init__(
        self, archive: ArchiveFile, source: Decoder, member: Member, size: int, *, is_exact: bool
    ) -> None:
        """Create it.

        Args:
            archive: the archive.
            source: the process that decodes it, at this file.
            member: the file.
            size: of its content in bytes.
            is_exact: whether any other size is damage.
        """
        self.size = size
        self.status: os.stat_result = archive.status
        self.raw_cd = is_raw_cd(member.head[:CD_SYNC_SIZE])
        self._archive = archive
        self._source = source
        self._head = memoryview(member.head)
        self.is_exact = is_exact
        self._turn = Condition()
        self._position = 0
        self._is_ended = False
        self._failure: BaseException | None = None

    @property
    def head_size(self) -> int:
        """Number of its first bytes, with which it came."""
        return len(self._head)

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fill *out* with the bytes at *offset*, after all bytes before them were read.

        Raises:
            DamagedError: the archive is damaged; after the last byte, its checksum was right.
            WrongSizeError: the size was a guess, and wrong.
        """
        with self._turn:
            self._turn.wait_for(lambda: self._failure or self._position == offset)
            if self._failure is not None:
                raise DamagedError(str(self._failure)) from self._failure
        try:
            self._fill(offset, out)
        except BaseException as error:
            with self._turn:
                self._failure = error
                self._turn.notify_all()
            raise
        with self._turn:
            self._position = offset + len(out)
            self._turn.notify_all()

    def _fill(self, offset: int, out: memoryview) -> None:
        begun = self._head[offset : offset + len(out)]
        out[: len(begun)] = begun
        done = len(begun) + self._source.read_into(out[len(begun) :])
        if done < len(out):
            self._is_ended = True
            raise self._wrong(offset + done)
        if offset + len(out) == self.size:
            more = max(len(self._head) - self.size, 0) + self.rest()
            if more:
                raise self._wrong(self.size + more)

    def _wrong(self, size: int) -> Exception:
        if not self.is_exact:
            return WrongSizeError(size)
        return DamagedError(f"the archive is damaged: {size} of {self.size} bytes are there")

    def rest(self) -> int:
        """Read what is left of the file after its first bytes; return how many bytes that is."""
        if self._is_ended:
            return 0
        scratch = memoryview(bytearray(_SCRATCH))
        count = 0
        while True:
            done = self._source.read_into(scratch)
            count += done
            if done < _SCRATCH:
                self._is_ended = True
                return count

    def check_unchanged(self) -> None:
        """Check that the archive is unchanged; raises like that of an image."""
        self._archive.check_unchanged()


def expected_size(member: Member) -> int | None:
    """Return the size that the content of a compressed file probably has, in bytes.

    gzip stores it modulo 2^32, and bzip2 not at all, but a disc has its number of sectors in its
    volume descriptors. A wrong guess costs another pass over the file.
    """
    head = member.head
    if member.is_whole:
        return len(head)
    raw_cd = is_raw_cd(head[:CD_SYNC_SIZE])
    found = find_shortage(
        lambda offset, size: head[offset : offset + size], len(head), raw_cd=raw_cd
    )
    described = found.declared * (CD_SECTOR if raw_cd else SECTOR) if found else None
    if member.size is None:
        return described
    if not member.modulo:
        return member.size
    above = max((described or 0) - member.size, 0)
    turns = (above + member.modulo // 2) // member.modulo
    return member.size + turns * member.modulo
