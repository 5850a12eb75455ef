"""The header and index that the CISO family shares, ZISO included.

Little endian: magic, u32 header size, u64 image size, u32 block size, u8 version, u8 shift,
2 unused bytes; then the index at byte 24 whatever the header size says (0 is common). It has one
u32 entry for each block and one more for the end of the data.
"""

import struct
from dataclasses import dataclass

from zsofs.errors import DamagedError
from zsofs.formats.geometry import CD_SECTOR, MAX_BLOCK_SIZE, MAX_IMAGE_SIZE, SourceBytes

INDEX_OFFSET = 24
MAX_SHIFT = 16
_HEADER = struct.Struct("<4sIQIBB2x")


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of the header as they stand in the file."""

    magic: bytes
    header_size: int
    size: int
    block_size: int
    version: int
    shift: int


@dataclass(frozen=True, slots=True)
class Index:
    """What the ends of the index say. Sizes and offsets are in bytes.

    Attributes:
        size: of the image that the index covers.
        data_start: end of the index.
        last_end: what the last entry gives as the end of the data.
        remarks: oddities found.
    """

    size: int
    data_start: int
    last_end: int
    remarks: tuple[str, ...]


def parse_header(head: bytes) -> Header:
    """Read and bound the header.

    Raises:
        DamagedError: a field is outside what any writer makes.
    """
    if len(head) < _HEADER.size:
        raise DamagedError(f"the file ends inside the header, after {len(head)} of 24 bytes")
    header = Header(*_HEADER.unpack_from(head))
    legal = header.block_size == CD_SECTOR or (
        header.block_size % 2048 == 0 and 0 < header.block_size <= MAX_BLOCK_SIZE
    )
    if not legal:
        raise DamagedError(
            f"the header gives a block size of {header.block_size}; it must be 2352 or a multiple"
            f" of 2048 up to {MAX_BLOCK_SIZE}"
        )
    if header.size > MAX_IMAGE_SIZE:
        raise DamagedError(
            f"the header gives an image size of {header.size}, more than {MAX_IMAGE_SIZE}"
        )
    if header.shift > MAX_SHIFT:
        raise DamagedError(
            f"the header gives an index shift of {header.shift}; at most {MAX_SHIFT} is in use"
        )
    return header


def entry_offset(entry: int, shift: int) -> int:
    """Where an index entry points, in bytes from the start of the file."""
    return (entry & 0x7FFFFFFF) << shift


def parse_index(header: Header, source: SourceBytes, *, exact: bool = False) -> Index:
    """Check the ends of the index against the file, without reading the rest.

    Args:
        header: the header's fields.
        source: the file.
        exact: whether all writers of this container store the last, partial block, and begin the
            first one right after the index.

    Raises:
        DamagedError: the file is cut, or the index cannot belong to it.
    """
    whole, rest = divmod(header.size, header.block_size)
    count = whole + (1 if rest else 0)
    needed = INDEX_OFFSET + 4 * (whole + 1)
    if needed > source.size:
        raise DamagedError(
            f"the file is cut: its index alone takes {needed} bytes, the file has {source.size}"
        )
    first = entry_offset(_entries(source, 0, 1)[0], header.shift)
    remarks: tuple[str, ...] = ()
    size = header.size
    if rest and not exact and _counts_whole_blocks_only(header, source, whole, first):
        count = whole
        size = whole * header.block_size
        remarks = (
            f"the writer did not store the last {rest} bytes of the image; it ends at {size}",
        )
    data_start = INDEX_OFFSET + 4 * (count + 1)
    entries = _entries(source, max(count - 1, 0), min(count, 1) + 1)
    last_begin, last_end = (entry_offset(entries[at], header.shift) for at in (0, -1))
    if count and not data_start <= first < source.size:
        raise DamagedError(
            f"the first index entry points to {first}, the data lies between {data_start} and"
            f" {source.size}"
        )
    unit = 1 << header.shift
    if exact and first != -(-data_start // unit) * unit:
        raise DamagedError(
            f"the first index entry points to {first}, the index ends at {data_start}: one of"
            " them, or the header, is damaged"
        )
    if last_end > source.size:
        raise DamagedError(
            f"the file is cut: its index ends at {last_end}, the file at {source.size}"
        )
    if last_end < last_begin:
        raise DamagedError(f"the last block begins at {last_begin} and ends at {last_end}")
    return Index(size, data_start, last_end, remarks)


def _entries(source: SourceBytes, first: int, count: int) -> tuple[int, ...]:
    raw = source.read_at(INDEX_OFFSET + 4 * first, 4 * count)
    if len(raw) < 4 * count:
        raise DamagedError("the file is cut: it ends inside the index")
    return struct.unpack(f"<{count}I", raw)


def _counts_whole_blocks_only(header: Header, source: SourceBytes, whole: int, first: int) -> bool:
    """Whether the index leaves out the last, partial block, as the ziso.py family does.

    Then it has one entry fewer, and the data begins that much earlier. Where alignment hides the
    difference, the place of the missing entry holds padding: four equal bytes that make no sense
    as an end, after an entry that ends within one unit of the file's end.
    """
    if first < INDEX_OFFSET + 4 * (whole + 2):
        return True
    raw = source.read_at(INDEX_OFFSET + 4 * whole, 8)
    if len(raw) < 8 or len(set(raw[4:])) != 1:
        return False
    end, beyond = (entry_offset(entry, header.shift) for entry in struct.unpack("<2I", raw))
    return not end <= beyond <= source.size and 0 <= source.size - end < 1 << header.shift
