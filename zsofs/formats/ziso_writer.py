"""Where everything of a new container lies: header, index, shift, padding. Integers and bytes only.

What it plans is what :mod:`zsofs.formats.ziso` reads: ``ZISO`` with LZ4 blocks, and ``ZSOZ`` with
Zstandard blocks. ``docs/format.md`` has the rules.
"""

import struct
from dataclasses import dataclass

from zsofs.formats.ciso_header import INDEX_OFFSET, MAX_SHIFT
from zsofs.formats.geometry import Codec

SECTOR = 2048
MAX_BLOCK_SIZE = 1 << 20
"""The largest block written, in bytes. Larger ones save little more (from 256 KiB to 1 MiB 1.3 % of
the image), and to read 4 KiB all of one is unpacked."""

_HEADER = struct.Struct("<4sIQIBB2x")
_MAX_ENTRY = 1 << 31
"""Index entries have 31 bits for the offset."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of one container.

    Attributes:
        codec: LZ4 (``ZISO``) or ZSTD (``ZSOZ``).
        size: of the plain image, in bytes.
        block_size: plain bytes of each block, a multiple of 2048.
        shift: index entries count units of 2^shift bytes, and stored blocks are padded to them.
    """

    codec: Codec
    size: int
    block_size: int
    shift: int

    @classmethod
    def of(cls, codec: Codec, size: int, block_size: int) -> "Layout":
        """The layout with the smallest shift that reaches the end, however badly it packs."""
        for shift in range(MAX_SHIFT + 1):
            layout = cls(codec, size, block_size, shift)
            longest = layout.padded(layout._longest_block())
            if layout.data_start + layout.block_count * longest < _MAX_ENTRY << shift:
                return layout
        raise ValueError(f"no index reaches through {size} bytes")

    @property
    def block_count(self) -> int:
        """How many blocks there are."""
        return -(-self.size // self.block_size)

    @property
    def index_size(self) -> int:
        """Bytes of the index: an entry for each block, and one for the end."""
        return 4 * (self.block_count + 1)

    @property
    def data_start(self) -> int:
        """Where the first block begins."""
        return self.padded(INDEX_OFFSET + self.index_size)

    @property
    def has_seal(self) -> bool:
        """Whether a seal follows the last block, where there is one to write."""
        return self.codec is Codec.ZSTD

    def header(self) -> bytes:
        """The 24 bytes that the file begins with."""
        magic = b"ZSOZ" if self.codec is Codec.ZSTD else b"ZISO"
        return _HEADER.pack(magic, _HEADER.size, self.size, self.block_size, 1, self.shift)

    def padded(self, offset: int) -> int:
        """*offset*, or the next that an index entry can give."""
        return -(-offset >> self.shift) << self.shift

    def end_of_file(self, data_end: int) -> int:
        """Where a file ends whose blocks end at *data_end*, in front of a seal.

        What reads ZISO files from a console's hard disk counts in sectors, so those end on one.
        """
        return data_end if self.has_seal else -(-data_end // SECTOR) * SECTOR

    def _longest_block(self) -> int:
        """What no stored block is longer than, in bytes."""
        if self.codec is Codec.LZ4:
            return self.block_size
        # A frame of raw blocks has 17 bytes and 3 for each 128 KiB; libzstd's own bound is this.
        return self.block_size + (self.block_size >> 8) + 64


def cut_by_ziso_py(size: int, block_size: int) -> str:
    """Return what ziso.py leaves out when it unpacks a ZSO, as a sentence; empty if nothing.

    It writes ``size // block_size`` blocks (Open PS2 Loader, ``pc/ziso.py``).
    """
    left_over = size % block_size
    return f"it leaves out the last {left_over} bytes, which fill no block" if left_over else ""
