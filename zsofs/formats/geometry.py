"""What a container's header and index say about an image, in plain numbers.

The numbers of :class:`Rule` and :class:`Codec` are those of ``native/block_reader.pyx``.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

MAX_IMAGE_SIZE = 64 << 30
"""The largest image believed, in bytes; a Blu-ray XL is larger, no PS2 or PSP disc is."""

MAX_BLOCK_SIZE = 16 << 20
"""The largest block believed, in bytes; emulators that bound it at all stop there."""

CD_SECTOR = 2352
"""Bytes of a raw CD sector, and the one block size in use that is no multiple of 2048."""


class Codec(IntEnum):
    """How the packed blocks of an image are coded."""

    LZ4 = 0
    ZSTD = 1
    ZLIB = 2
    DEFLATE = 3


class Rule(IntEnum):
    """How an index entry is read."""

    FLAGGED = 0
    """Bit 31: the block is stored plain. The other bits, shifted: where it begins."""
    CISO2 = 1
    """Stored length of a block size or more: plain. Else bit 31 tells LZ4 from deflate."""
    DAX = 2
    """A table of 32-bit offsets, then one of 16-bit lengths; no flags."""
    FRAMED = 3
    """As FLAGGED, but bit 31 is never set and nothing may follow a block's frame."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the blocks of one image lie. Sizes and offsets are in bytes.

    Attributes:
        container: the container's usual name, for people.
        size: of the plain image.
        block_size: plain bytes of each block but the last, which may be shorter.
        rule: how an index entry is read.
        shift: index entries count units of 2^shift bytes.
        index_offset: where the index begins in the file.
        data_start: end of the index; no block can begin before it.
        data_end: where the last block's stored bytes end at the latest.
        codecs: those the payload may be coded in, likeliest first; one, once it is decided.
        remarks: oddities a person should hear of.
    """

    container: str
    size: int
    block_size: int
    rule: Rule
    shift: int
    index_offset: int
    data_start: int
    data_end: int
    codecs: tuple[Codec, ...]
    remarks: tuple[str, ...] = ()

    @property
    def block_count(self) -> int:
        """How many blocks the image has."""
        return -(-self.size // self.block_size)


class SourceBytes(Protocol):
    """The bytes of a source file, as a format sees them."""

    @property
    def size(self) -> int:
        """Size of the file in bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """The *size* bytes at *offset*; fewer at the end of the file."""
