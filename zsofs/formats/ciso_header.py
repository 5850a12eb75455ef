"""The header and index of the CISO family, including ZISO.

Little endian: magic, u32 header size, u64 image size, u32 block size, u8 version, u8 shift, 2
unused bytes (maxcso, ``README_CSO.md`` and ``README_ZSO.md``). The index follows at byte 24,
whatever the header size is: many writers store 0, and no reader uses it. The index has one u32
entry for each block and one more for the end of the data.
"""

import struct
from dataclasses import dataclass

from zsofs.errors import DamagedError
from zsofs.formats.geometry import CD_SECTOR, MAX_BLOCK_SIZE, MAX_IMAGE_SIZE, SourceBytes

_HEADER = struct.Struct("<4sIQIBB2x")

HEADER_SIZE = _HEADER.size
"""Bytes of the header, 24."""

INDEX_OFFSET = HEADER_SIZE
"""Offset of the index in the file, in bytes."""

MAX_SHIFT = 16
"""Largest shift that is accepted, the same limit as in LRPS2; writers use up to 6."""

MAX_UNITS = 1 << 31
"""The offset in an index entry is less than this; it has 31 bits."""

_FLAG = 1 << 31


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of the header as stored in the file.

    Attributes:
        magic: the first 4 bytes.
        header_size: as stored, in bytes; not reliable.
        size: size of the plain image in bytes.
        block_size: plain bytes per block.
        version: version of the container.
        shift: index entries count units of 2^shift bytes.
    """

    magic: bytes
    header_size: int
    size: int
    block_size: int
    version: int
    shift: int

    def to_bytes(self) -> bytes:
        """Return the header as it is stored, :data:`HEADER_SIZE` bytes."""
        return _HEADER.pack(
            self.magic, self.header_size, self.size, self.block_size, self.version, self.shift
        )


@dataclass(frozen=True, slots=True)
class Index:
    """Facts from both ends of the index. Sizes and offsets are in bytes.

    Attributes:
        size: size of the image that the index covers.
        data_start: end of the index.
        last_end: end of the data according to the last entry; that of the file if it was not read.
        remarks: irregularities.
    """

    size: int
    data_start: int
    last_end: int
    remarks: tuple[str, ...]


def parse_header(head: bytes) -> Header:
    """Parse a header and check that each field is within its limits.

    Args:
        head: the first bytes of the file, :data:`HEADER_SIZE` or more unless the file is shorter.

    Raises:
        DamagedError: a field has a value that no writer produces.
    """
    if len(head) < _HEADER.size:
        raise DamagedError(f"the file ends inside the header, after {len(head)} of 24 bytes")
    header = Header(*_HEADER.unpack_from(head))
    legal = header.block_size == CD_SECTOR or (
        header.block_size % 2048 == 0 and 0 < header.block_size <= MAX_BLOCK_SIZE
    )
    if not legal:
        raise DamagedError(
            f"the header specifies a block size of {header.block_size}; it must be 2352 or a"
            " multiple"
            f" of 2048 up to {MAX_BLOCK_SIZE}"
        )
    if header.size > MAX_IMAGE_SIZE:
        raise DamagedError(
            f"the header specifies an image size of {header.size}, more than {MAX_IMAGE_SIZE}"
        )
    if header.shift > MAX_SHIFT:
        raise DamagedError(
            f"the header specifies an index shift of {header.shift}; the maximum is {MAX_SHIFT}"
        )
    return header


def read_entries(
    source: SourceBytes, first: int, count: int, *, index_offset: int = INDEX_OFFSET
) -> tuple[int, ...]:
    """Read index entries as they are stored, flag included; fewer at the end of the file.

    Args:
        source: the file.
        first: number of the first entry.
        count: number of entries.
        index_offset: offset of the index in the file, in bytes.

    Raises:
        OSError: the file cannot be read.
    """
    raw = source.read_at(index_offset + 4 * first, 4 * count)
    return struct.unpack_from(f"<{len(raw) // 4}I", raw)


def entry_offset(entry: int, shift: int) -> int:
    """Return the offset in an index entry, in bytes from the start of the file.

    ``native/fetch.pyx`` does the same in C: it reads every entry of a request without the GIL.

    Args:
        entry: as stored; bit 31 is a flag, the other bits are the offset in units.
        shift: binary logarithm of a unit, in bytes.
    """
    return (entry & ~_FLAG) << shift


def has_flag(entry: int) -> bool:
    """Return whether bit 31 of an index entry is set: the block is stored plain, except in CSO v2.

    (:class:`zsofs.formats.geometry.Rule` has what it means in each container.)
    """
    return entry >= _FLAG


def parse_index(
    header: Header, source: SourceBytes, *, exact: bool = False, known_size: int | None = None
) -> Index:
    """Check both ends of the index against the file, without reading the rest.

    Writers of the ziso.py family (Open PS2 Loader, ``pc/ziso.py``) omit a last, partial block and
    its entry; other writers store it.

    Args:
        header: the header.
        source: the file.
        exact: whether all writers of this container store the last, partial block, and start the
            first one right after the index.
        known_size: size of the image in bytes, if a scan of the same content has checked the end of
            the index; that is not read again then. Else None.

    Raises:
        DamagedError: the file is truncated, or the index cannot belong to it.
        OSError: the file cannot be read.
    """
    whole, rest = divmod(header.size, header.block_size)
    count = whole + (1 if rest else 0)
    needed = INDEX_OFFSET + 4 * (whole + 1)
    if needed > source.size:
        raise DamagedError(
            f"the file is truncated: its index alone needs {needed} bytes, the file has"
            f" {source.size}"
        )
    first = entry_offset(_entries(source, 0, 1)[0], header.shift)
    remarks: tuple[str, ...] = ()
    size = header.size
    if known_size is None:
        omits_rest = not exact and _counts_whole_blocks_only(header, source, whole, first)
    else:
        omits_rest = not exact and known_size == whole * header.block_size
    if rest and omits_rest:
        count = whole
        size = whole * header.block_size
        remarks = (
            f"the program that packed it did not store the last {rest} bytes of the image; the"
            f" image ends at {size}",
        )
    data_start = INDEX_OFFSET + 4 * (count + 1)
    if count and not data_start <= first < source.size:
        raise DamagedError(
            f"the first index entry points to {first}, but the data is between {data_start} and"
            f" {source.size}"
        )
    unit = 1 << header.shift
    if exact and first != -(-data_start // unit) * unit:
        raise DamagedError(
            f"the first index entry points to {first}, the index ends at {data_start}: one of"
            " them or the header is damaged"
        )
    last_end = source.size if known_size is not None else _last_end(header, source, count)
    return Index(size, data_start, last_end, remarks)


def _last_end(header: Header, source: SourceBytes, count: int) -> int:
    """Return where the last of *count* blocks ends, by the end of the index.

    Raises:
        DamagedError: that is not in the file, or before the block.
        OSError: the file cannot be read.
    """
    entries = _entries(source, max(count - 1, 0), min(count, 1) + 1)
    begin, end = (entry_offset(entries[at], header.shift) for at in (0, -1))
    if end > source.size:
        raise DamagedError(
            f"the file is truncated: its index ends at {end}, the file at {source.size}"
        )
    if end < begin:
        raise DamagedError(f"the last block begins at {begin} and ends at {end}")
    return end


def _entries(source: SourceBytes, first: int, count: int) -> tuple[int, ...]:
    entries = read_entries(source, first, count)
    if len(entries) < count:
        raise DamagedError("the file is truncated: it ends inside the index")
    return entries


def _counts_whole_blocks_only(header: Header, source: SourceBytes, whole: int, first: int) -> bool:
    """Return whether the index omits the last, partial block, as the ziso.py family does.

    Then it has one entry less, and the data starts that much earlier. Where alignment hides the
    difference, the position of the missing entry holds padding: four equal bytes that are invalid
    as an end, after an entry that ends within one unit of the file's end.
    """
    if first < INDEX_OFFSET + 4 * (whole + 2):
        return True
    entries = read_entries(source, whole, 2)
    if len(entries) < 2 or len(set(entries[1].to_bytes(4, "little"))) != 1:
        return False
    end, beyond = (entry_offset(entry, header.shift) for entry in entries)
    return not end <= beyond <= source.size and 0 <= source.size - end < 1 << header.shift
