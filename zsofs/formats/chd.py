"""CHD version 5: hunks in up to four codecs, with checksums, metadata, and sometimes a parent.

Big endian, 124 bytes: ``MComprHD``, u32 header size, u32 version, u32 codecs[4], u64 logical size,
u64 offset of the map, u64 of the metadata, u32 hunk size, u32 unit size, and three SHA-1s: of the
data, of data and metadata, of the parent (MAME, ``chd.h``).
"""

import struct
from dataclasses import replace
from typing import NamedTuple

from zsofs.errors import DamagedError, ForeignError
from zsofs.formats.cd_tracks import Track, TrackType
from zsofs.formats.cd_views import CHD_FRAME, USER_DATA, chd_begins
from zsofs.formats.chd_layout import ChdLayout, ChdMapHeader, ChdSha1s
from zsofs.formats.chd_metadata import MetadataEntry, read_metadata, tracks_of
from zsofs.formats.geometry import (
    MAX_BLOCK_SIZE,
    MAX_IMAGE_SIZE,
    AnyCodec,
    ChdCodec,
    Codec,
    Geometry,
    Rule,
    SourceBytes,
)

MAGICS = (b"MCom",)
_MAGIC = b"MComprHD"
_HEADER = struct.Struct(">8sII4I3Q2I20s20s20s")
CONTAINER = "CHD"
"""Name of the container format."""

_MAP_HEADER = struct.Struct(">I6sH4B")

HEADER_SIZE = _HEADER.size
"""Bytes of the header, 124."""

_CODECS: dict[bytes, AnyCodec] = {
    b"\0\0\0\0": ChdCodec.NONE,
    b"zlib": Codec.DEFLATE,
    b"zstd": Codec.ZSTD,
    b"lzma": ChdCodec.LZMA,
    b"huff": ChdCodec.HUFF,
    b"flac": ChdCodec.FLAC,
    b"cdlz": ChdCodec.CDLZ,
    b"cdzl": ChdCodec.CDZL,
    b"cdzs": ChdCodec.CDZS,
    b"cdfl": ChdCodec.CDFL,
}
_UNUSED = 12
"""The number of native/codecs.pxd for a type that has no codec."""

_MAX_MAP_SIZE = 256 << 20
"""Bytes of the largest compressed map. That of a DVD9 in 2 KiB hunks has 18 MB."""

_MIN_HUNK_SIZE = 16
"""Bytes of the smallest hunk that chdman makes."""

_MAX_HUNKS = 1 << 25
"""The largest number of hunks that is read: 64 GiB in hunks of 2 KiB."""

_MADE_AS_CD = (
    "a disc of 2048-byte sectors that was packed as a CD (createcd): it works, but takes about 1 %"
    " more; re-create it with: chdman createdvd"
)

_OTHERS = {
    b"GDDD": "this is a hard disk image (CHD), not a disc",
    b"CHGT": "this is a GD-ROM of a Dreamcast (CHD), not a PS2 or PSP disc",
    b"CHGD": "this is a GD-ROM of a Dreamcast (CHD), not a PS2 or PSP disc",
    b"AVAV": "this is a laserdisc (CHD), not a PS2 or PSP disc",
    b"AVLD": "this is a laserdisc (CHD), not a PS2 or PSP disc",
}
"""Tags of metadata of what is no disc."""


class ChdHeader(NamedTuple):
    """The fields of the header as they stand in the file."""

    magic: bytes
    header_size: int
    version: int
    codecs: tuple[bytes, ...]
    logical_size: int
    map_offset: int
    metadata_offset: int
    hunk_size: int
    unit_size: int
    raw_sha1: bytes
    sha1: bytes
    parent_sha1: bytes


def parse_header(head: bytes) -> ChdHeader:
    """Return the fields of a header of version 5, each within its bounds.

    Args:
        head: the first bytes of the file, :data:`HEADER_SIZE` or more unless the file is shorter.

    Raises:
        ForeignError: it is another version, or has a codec that zsofs does not read.
        DamagedError: the header is cut, or a field is outside what any writer makes.
    """
    if len(head) < 16:
        raise DamagedError(f"the file ends inside the header, after {len(head)} of 124 bytes")
    version = int.from_bytes(head[12:16], "big")
    if head[:8] == _MAGIC and 1 <= version <= 4:
        raise ForeignError(
            f"this is a CHD of version {version}, which zsofs does not support; convert it with:"
            " chdman copy -i OLD.chd -o NEW.chd"
        )
    if len(head) < HEADER_SIZE:
        raise DamagedError(f"the file ends inside the header, after {len(head)} of 124 bytes")
    fields = _HEADER.unpack_from(head)
    codecs = tuple(word.to_bytes(4, "big") for word in fields[3:7])
    header = ChdHeader(fields[0], fields[1], version, codecs, *fields[7:])
    if header.magic != _MAGIC or version != 5 or header.header_size != HEADER_SIZE:
        raise DamagedError("the header is no CHD header of version 5")
    _check_sizes(header)
    for name in codecs:
        if name == b"avhu":
            raise ForeignError(
                "this is a laserdisc (CHD with the codec avhu), not a PS2 or PSP disc"
            )
        if name not in _CODECS:
            raise ForeignError(
                f"this is a CHD with the codec {name!r}, which zsofs does not support"
            )
    return header


def _check_sizes(header: ChdHeader) -> None:
    if not _MIN_HUNK_SIZE <= header.hunk_size <= MAX_BLOCK_SIZE:
        raise DamagedError(
            f"the header specifies a hunk size of {header.hunk_size}; {_MIN_HUNK_SIZE} to"
            f" {MAX_BLOCK_SIZE} is read"
        )
    if not 0 < header.unit_size <= header.hunk_size or header.hunk_size % header.unit_size:
        raise DamagedError(
            f"the header specifies units of {header.unit_size} bytes in hunks of {header.hunk_size}"
        )
    if header.logical_size + header.hunk_size > MAX_IMAGE_SIZE:  # of whole hunks
        raise DamagedError(
            f"the header specifies an image size of {header.logical_size}, more than"
            f" {MAX_IMAGE_SIZE}"
        )
    if header.logical_size > _MAX_HUNKS * header.hunk_size:
        raise DamagedError(f"the header specifies more than {_MAX_HUNKS} hunks")


def parse_layout(source: SourceBytes, header: ChdHeader) -> ChdLayout:
    """Return where the hunks and their map lie, from the header and that of the map.

    Raises:
        DamagedError: the map lies outside the file.
        OSError: the file cannot be read.
    """
    count = -(-header.logical_size // header.hunk_size)
    names = [_CODECS[name] for name in header.codecs]
    first, *rest = (_UNUSED if codec is ChdCodec.NONE else int(codec) for codec in names)
    parent = header.parent_sha1.hex() if any(header.parent_sha1) else ""
    if names[0] is ChdCodec.NONE:
        where = ChdMapHeader(False, header.map_offset, 4 * count)
    else:
        raw = b""
        if HEADER_SIZE <= header.map_offset < source.size:
            raw = source.read_at(header.map_offset, _MAP_HEADER.size)
        if len(raw) < _MAP_HEADER.size:
            raise DamagedError(
                "the file is truncated or unfinished: its map is expected at"
                f" {header.map_offset}, the file"
                f" has {source.size} bytes"
            )
        size, begin, crc, *bits, _ = _MAP_HEADER.unpack(raw)
        offset = header.map_offset + _MAP_HEADER.size
        lengths, self_bits, parents = bits
        where = ChdMapHeader(
            True, offset, size, int.from_bytes(begin, "big"), crc, (lengths, self_bits, parents)
        )
        if lengths > 24 or self_bits > 32 or parents > 48 or size > _MAX_MAP_SIZE:
            raise DamagedError("the header of its map is invalid")
        if count > 8 * 273 * max(size, 1):  # a type is repeated 273 times at most
            raise DamagedError("its map is too short for its hunks")
    if where.offset + where.size > source.size or where.offset < HEADER_SIZE:
        raise DamagedError(
            f"the file is truncated: its map ends at {where.offset + where.size}, the file at"
            f" {source.size}"
        )
    return ChdLayout(
        header.hunk_size,
        count,
        header.unit_size,
        header.logical_size,
        (first, rest[0], rest[1], rest[2]),
        where,
        ChdSha1s(header.raw_sha1.hex(), header.sha1.hex(), parent),
    )


def parse(source: SourceBytes, head: bytes) -> Geometry:
    """Return the geometry of a CHD, from its header, that of its map, and its metadata.

    Args:
        source: the file.
        head: its first bytes.

    Raises:
        ForeignError: it holds no disc, or one of a kind that zsofs does not read.
        DamagedError: the file is truncated or contradicts itself.
        OSError: the file cannot be read.
    """
    header = parse_header(source.read_at(0, HEADER_SIZE) if len(head) < HEADER_SIZE else head)
    entries = read_metadata(source, header.metadata_offset)
    _check_kind(entries)
    layout = parse_layout(source, header)
    tracks = tracks_of(entries)
    remarks: tuple[str, ...] = ()
    size = layout.logical_size
    if tracks or layout.unit_size == CHD_FRAME:
        layout, size = _first_track(layout, tracks)
        if len(tracks) == 1 and tracks[0].type is TrackType.MODE1:
            remarks = (_MADE_AS_CD,)
    return replace(
        hunks_geometry(layout, source.size),
        size=size,
        block_size=layout.block_size,
        codecs=(_CODECS[header.codecs[0]],),
        remarks=remarks,
    )


def hunks_geometry(layout: ChdLayout, source_size: int) -> Geometry:
    """Return the geometry of all hunks of a CHD, as a child reads its parent.

    Args:
        layout: of the CHD.
        source_size: of the file in bytes.
    """
    return Geometry(
        container=CONTAINER,
        size=layout.hunk_count * layout.hunk_size,
        block_size=layout.hunk_size,
        rule=Rule.CHD,
        shift=0,
        index_offset=layout.map.offset,
        data_start=HEADER_SIZE,
        data_end=source_size,
        codecs=(ChdCodec.NONE,),
        chd=layout,
    )


def _check_kind(entries: tuple[MetadataEntry, ...]) -> None:
    for entry in entries:
        if entry.tag in _OTHERS:
            raise ForeignError(_OTHERS[entry.tag])


def _first_track(layout: ChdLayout, tracks: tuple[Track, ...]) -> tuple[ChdLayout, int]:
    """What of each unit the image of a CD has, and its size.

    It has the user data of the first track; or its sectors, if these have no user data.
    """
    if not tracks or layout.unit_size != CHD_FRAME:
        raise DamagedError("its units or its metadata are those of a CD, but not both")
    chd_begins(tracks, layout.logical_size // CHD_FRAME)
    first = tracks[0]
    skip, take = 0, first.type.sector_size
    if first.type.user_data is not None:
        skip, take = first.type.user_data, USER_DATA
    return replace(layout, skip=skip, take=take, tracks=tracks), first.frames * take
