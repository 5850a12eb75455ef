"""The layout of an image in a container, as described by its header and index.

The values of :class:`Rule` and :class:`Codec` are those of ``native/block_reader.pyx``.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple, Protocol

from zsofs.formats.chd_layout import ChdLayout

MAX_IMAGE_SIZE = 64 << 30
"""Largest image size that is accepted, in bytes, the same limit as in LRPS2 (``CsoFileReader``).
A Blu-ray XL is larger, but no PS2 or PSP disc is."""

MAX_BLOCK_SIZE = 16 << 20
"""Largest block size that is accepted, in bytes; LRPS2 and rom-properties (``CisoPspReader``)
have the same limit, other programs have none."""

CD_SECTOR = 2352
"""Bytes of a raw CD sector (ECMA-130), and the only block size in use that is not a multiple of
2048: ziso_compressor 0.5.0 wrote it for images of CDs."""


class Codec(IntEnum):
    """Codec of the compressed blocks of an image."""

    LZ4 = 0
    ZSTD = 1
    ZLIB = 2
    DEFLATE = 3


class ChdCodec(IntEnum):
    """The codecs that only CHDs have, with the numbers that follow."""

    NONE = 4
    """No hunk is packed."""
    LZMA = 5
    HUFF = 6
    FLAC = 7
    CDLZ = 8
    CDZL = 9
    CDZS = 10
    CDFL = 11


AnyCodec = Codec | ChdCodec
"""Of a CHD it is the first one that its header names."""


class Rule(IntEnum):
    """Interpretation of an index entry."""

    FLAGGED = 0
    """Bit 31: the block is stored uncompressed. The other bits, shifted: its offset."""
    CISO2 = 1
    """Stored length of a block size or more: uncompressed. Otherwise bit 31: LZ4 or deflate."""
    DAX = 2
    """A table of 32-bit offsets, then one of 16-bit lengths; no flags."""
    FRAMED = 3
    """As FLAGGED, but bit 31 is never set and nothing may follow a block's frame."""
    CHD = 4
    """There is no such index but a map, :class:`zsofs.formats.chd_layout.ChdLayout`."""


class Span(NamedTuple):
    """The blocks that cover a range of the image.

    Attributes:
        first: number of the first block.
        block_count: number of blocks; 0 for an empty range.
        skip: bytes of the first block before the range.
        is_exact: whether the range consists of exactly these blocks.
    """

    first: int
    block_count: int
    skip: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Geometry:
    """Layout of the blocks of an image. Sizes and offsets are in bytes.

    Attributes:
        container: name of the container format.
        size: size of the plain image.
        block_size: plain bytes per block; the last one may be shorter.
        rule: interpretation of index entries.
        shift: index entries count units of 2^shift bytes.
        index_offset: offset of the index in the file.
        data_start: end of the index; no block can start before it.
        data_end: upper limit of the end of the last stored block.
        codecs: possible codecs of the payload, most likely first; one after it is determined.
        remarks: irregularities, for the user.
        chd: the hunks of a CHD and their map, else None.
    """

    container: str
    size: int
    block_size: int
    rule: Rule
    shift: int
    index_offset: int
    data_start: int
    data_end: int
    codecs: tuple[AnyCodec, ...]
    remarks: tuple[str, ...] = ()
    chd: ChdLayout | None = None

    @property
    def block_count(self) -> int:
        """Number of blocks of the image."""
        return -(-self.size // self.block_size)

    def as_hunks(self) -> "Geometry":
        """Return the layout of all data of a CHD, whatever the image takes of each unit."""
        assert self.chd is not None
        chd = replace(self.chd, skip=0, take=0)
        return replace(self, size=chd.logical_size, block_size=chd.hunk_size, chd=chd)

    def span(self, offset: int, size: int) -> Span:
        """Return the blocks that cover a range of the image; the range is clipped at its end.

        Args:
            offset: of the range in the image, in bytes.
            size: of the range, in bytes.
        """
        end = min(offset + size, self.size)
        first, skip = divmod(offset, self.block_size)
        if end <= offset:
            return Span(first, 0, skip, is_exact=not skip)
        count = -(-end // self.block_size) - first
        is_exact = not skip and (end == self.size or end % self.block_size == 0)
        return Span(first, count, skip, is_exact)

    def index_entries(self, first: int, count: int) -> list[tuple[int, int]]:
        """Return where the index entries that a read of some blocks needs are in the file.

        Args:
            first: number of the first block.
            count: number of blocks.

        Returns:
            Ranges as (offset, length) in bytes; none for a CHD, whose map is in memory.
        """
        if self.chd is not None or not count:
            return []
        if self.rule is not Rule.DAX:  # the entry behind the last block is where that one ends
            return [(self.index_offset + 4 * first, 4 * (count + 1))]
        sizes = self.index_offset + 4 * self.block_count
        return [(self.index_offset + 4 * first, 4 * count), (sizes + 2 * first, 2 * count)]


class SourceBytes(Protocol):
    """The bytes of a source file, as seen by a format."""

    @property
    def size(self) -> int:
        """Size of the file in bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return the *size* bytes at *offset*; fewer at the end of the file.

        Raises:
            OSError: the file cannot be read.
        """
