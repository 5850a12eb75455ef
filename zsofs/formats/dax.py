"""DAX version 0: 8 KiB frames, each a zlib stream, with tables of offsets and lengths.

Little endian, 32 bytes: magic, u32 image size, u32 version, u32 count of plain areas, 16 unused;
then a u32 offset for each frame, then a u16 stored length for each frame (maxcso, ``src/dax.h``;
rom-properties, ``ciso_psp_structs.h``).
"""

import struct

from zsofs.errors import DamagedError, ForeignError
from zsofs.formats.geometry import Codec, Geometry, Rule, SourceBytes

MAGICS = (b"DAX\0",)
FRAME_SIZE = 0x2000
"""Plain bytes of each frame; the last one may be shorter."""

_HEADER = struct.Struct("<4s3I16x")


def parse(source: SourceBytes, head: bytes, known_size: int | None = None) -> Geometry:
    """Return the geometry of a DAX file, from its header and both ends of its tables.

    Args:
        source: the file.
        head: its first bytes, 32 at least unless the file is shorter.
        known_size: size of the image in bytes, if a scan of the same content has checked the ends
            of the tables; these are not read again then. Else None.

    Raises:
        ForeignError: the file has version 1, which also has plain areas.
        DamagedError: the file is truncated or contradicts itself.
        OSError: the file cannot be read.
    """
    if len(head) < _HEADER.size:
        raise DamagedError(f"the file ends inside the header, after {len(head)} of 32 bytes")
    _, size, version, areas = _HEADER.unpack_from(head)
    if version == 1 or (version == 0 and areas):
        raise ForeignError("this is a DAX file of version 1, which zsofs does not support")
    if version:
        raise DamagedError(f"the header specifies version {version}; expected 0 or 1")
    count = -(-size // FRAME_SIZE)
    data_start = _HEADER.size + 6 * count
    if data_start > source.size:
        raise DamagedError(
            f"the file is truncated: its tables alone need {data_start} bytes, the file has"
            f" {source.size}"
        )
    if count and known_size is None:
        _check_ends(source, count, data_start)
    return Geometry(
        container="DAX",
        size=size,
        block_size=FRAME_SIZE,
        rule=Rule.DAX,
        shift=0,
        index_offset=_HEADER.size,
        data_start=data_start,
        data_end=source.size,
        codecs=(Codec.ZLIB,),
    )


def _check_ends(source: SourceBytes, count: int, data_start: int) -> None:
    offsets, lengths = _HEADER.size, _HEADER.size + 4 * count
    first = int.from_bytes(source.read_at(offsets, 4), "little")
    last = int.from_bytes(source.read_at(offsets + 4 * (count - 1), 4), "little")
    end = last + int.from_bytes(source.read_at(lengths + 2 * (count - 1), 2), "little")
    if not data_start <= first < source.size:
        raise DamagedError(
            f"the first frame's offset is {first}, but the data is between {data_start} and"
            f" {source.size}"
        )
    if end > source.size:
        raise DamagedError(
            f"the file is truncated: its last frame ends at {end}, the file at {source.size}"
        )
