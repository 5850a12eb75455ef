"""Layout of a new container: header, index, shift, padding. Integers and bytes only.

Containers with LZ4 blocks are ``ZISO`` (maxcso, ``README_ZSO.md``), those with Zstandard blocks
``ZSOZ`` (``docs/dev/zsoz.md``), those with deflate blocks ``CISO`` version 1 (maxcso,
``README_CSO.md``). :mod:`zsofs.formats.ziso` and :mod:`zsofs.formats.ciso` read them.
"""

from dataclasses import dataclass

from zsofs.formats.ciso_header import HEADER_SIZE, INDEX_OFFSET, MAX_SHIFT, MAX_UNITS, Header
from zsofs.formats.geometry import Codec

SECTOR = 2048
MAX_BLOCK_SIZE = 1 << 20
"""The largest block size written, in bytes. Larger blocks save little more (from 256 KiB to 1 MiB
1.3 % of the image), and a read of 4 KiB decodes a whole block."""


_MAGICS = {Codec.LZ4: b"ZISO", Codec.ZSTD: b"ZSOZ", Codec.DEFLATE: b"CISO"}


@dataclass(frozen=True, slots=True)
class ContainerLayout:
    """The layout of one container.

    Attributes:
        codec: LZ4 (``ZISO``), ZSTD (``ZSOZ``) or DEFLATE (``CISO``).
        size: size of the plain image in bytes.
        block_size: plain bytes of each block, a multiple of 2048.
        shift: index entries count units of 2^shift bytes, and stored blocks are padded to them.
    """

    codec: Codec
    size: int
    block_size: int
    shift: int

    @classmethod
    def of(cls, codec: Codec, size: int, block_size: int) -> "ContainerLayout":
        """Return the layout with the smallest shift that can address the worst-case file size.

        Args:
            codec: LZ4, ZSTD or DEFLATE.
            size: of the plain image, in bytes.
            block_size: plain bytes of each block, a multiple of 2048.

        Raises:
            ValueError: the image is too large for every shift.
        """
        for shift in range(MAX_SHIFT + 1):
            layout = cls(codec, size, block_size, shift)
            longest = layout.padded(layout._longest_block())
            if layout.data_start + layout.block_count * longest < MAX_UNITS << shift:
                return layout
        raise ValueError(f"no index reaches through {size} bytes")

    @property
    def block_count(self) -> int:
        """Number of blocks."""
        return -(-self.size // self.block_size)

    @property
    def index_size(self) -> int:
        """Bytes of the index: one entry for each block, and one for the end of the data."""
        return 4 * (self.block_count + 1)

    @property
    def data_start(self) -> int:
        """Offset of the first block in the file, in bytes."""
        return self.padded(INDEX_OFFSET + self.index_size)

    @property
    def has_seal(self) -> bool:
        """Whether a seal may follow the last block."""
        return self.codec is Codec.ZSTD

    def header(self) -> bytes:
        """Return the header, 24 bytes."""
        magic = _MAGICS[self.codec]
        header = Header(magic, HEADER_SIZE, self.size, self.block_size, 1, self.shift)
        return header.to_bytes()

    def padded(self, offset: int) -> int:
        """Return *offset*, rounded up to a multiple of the index unit, in bytes."""
        return -(-offset >> self.shift) << self.shift

    def end_of_file(self, data_end: int) -> int:
        """Return the size of a file without a seal, in bytes.

        A ZISO file is padded to a sector: hdl-dump copies only whole sectors to the hard disk of
        a console (``iin_iso.c``).

        Args:
            data_end: end of the last block, in bytes.
        """
        return -(-data_end // SECTOR) * SECTOR if self.codec is Codec.LZ4 else data_end

    def _longest_block(self) -> int:
        """Return an upper limit of the length of a stored block, in bytes."""
        if self.codec is not Codec.ZSTD:
            return self.block_size
        # A frame of raw blocks adds 17 bytes and 3 for each 128 KiB, the limit of libzstd.
        return self.block_size + (self.block_size >> 8) + 64


def cut_by_ziso_py(size: int, block_size: int) -> str:
    """Return what ziso.py omits when it unpacks a ZSO, as a sentence; empty if nothing.

    It writes ``size // block_size`` blocks (Open PS2 Loader, ``pc/ziso.py``).

    Args:
        size: of the plain image, in bytes.
        block_size: plain bytes of each block.
    """
    left_over = size % block_size
    return f"it omits the last {left_over} bytes, which do not fill a block" if left_over else ""
