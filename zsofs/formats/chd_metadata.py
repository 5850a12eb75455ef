"""The metadata of a CHD: a linked list of entries, of which tracks and kind are taken.

Big endian: 4 bytes tag, u8 flags, u24 length, u64 offset of the next entry (0: none), then the data
(MAME, ``chd.cpp``, ``metadata_find``).
"""

import hashlib
import re
import struct
from dataclasses import dataclass

from zsofs.errors import DamagedError
from zsofs.formats.geometry import SourceBytes

_ENTRY = struct.Struct(">4sIQ")
_MOST_ENTRIES = 512
"""A CD has one for each of up to 99 tracks; a laserdisc more, which is refused by its first."""

_MOST_DATA = 1 << 20
"""Bytes of the data of all entries; a hard disk's IDENT has 512."""

_CHECKED = 0x01
"""The flag of an entry that the overall SHA-1 covers."""

_TRACK = re.compile(
    r"TRACK:(\d{1,3}) TYPE:(\S{1,15}) SUBTYPE:(\S{1,15}) FRAMES:(\d{1,9})"
    r"(?: PREGAP:(\d{1,9}) PGTYPE:(\S{1,15}) PGSUB:(\S{1,15}) POSTGAP:(\d{1,9}))?"
)


@dataclass(frozen=True, slots=True)
class MetadataEntry:
    """One entry: its tag of 4 bytes, flags, and data."""

    tag: bytes
    flags: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TrackEntry:
    """What ``CHT2`` or ``CHTR`` says of a track.

    Attributes:
        number: from 1 on.
        type: such as ``MODE1``, ``MODE1_RAW``, ``MODE2_RAW``, ``AUDIO``.
        subtype: of the subcode; mostly ``NONE``.
        frames: number of its frames, a stored pregap included.
        pregap: frames in front of the track.
        pregap_type: begins with ``V`` if the pregap is stored.
        postgap: frames behind the track, never stored.
    """

    number: int
    type: str
    subtype: str
    frames: int
    pregap: int
    pregap_type: str
    postgap: int


def read_metadata(source: SourceBytes, offset: int) -> tuple[MetadataEntry, ...]:
    """Return the entries of the list that begins at *offset*; 0 is an empty list.

    Raises:
        DamagedError: an entry lies outside the file, or there are too many.
        OSError: the file cannot be read.
    """
    entries: list[MetadataEntry] = []
    room = _MOST_DATA
    while offset:
        head = source.read_at(offset, _ENTRY.size) if offset < source.size else b""
        if len(head) < _ENTRY.size:
            raise DamagedError(f"the file is cut: its metadata at {offset} lie past its end")
        tag, word, following = _ENTRY.unpack(head)
        length = word & 0xFFFFFF
        room -= length
        if len(entries) == _MOST_ENTRIES or room < 0:
            raise DamagedError("it has more metadata than any disc, or they refer to themselves")
        data = source.read_at(offset + _ENTRY.size, length)
        if len(data) < length:
            raise DamagedError(f"the file is cut: it ends inside its metadata at {offset}")
        entries.append(MetadataEntry(tag, word >> 24, data))
        offset = following
    return tuple(entries)


def tracks_of(entries: tuple[MetadataEntry, ...]) -> tuple[TrackEntry, ...]:
    """Return the tracks of a CD in their order; empty if it is none.

    Raises:
        DamagedError: an entry does not describe a track.
    """
    tracks = []
    for entry in entries:
        if entry.tag not in (b"CHT2", b"CHTR"):
            continue
        text = entry.data.split(b"\0")[0].decode("ascii", "replace")
        found = _TRACK.match(text)
        if found is None:
            raise DamagedError(f"its metadata describe no track: {text[:80]!r}")
        number, kind, subtype, frames, pregap, pregap_type, _, postgap = found.groups()
        tracks.append(
            TrackEntry(
                int(number),
                kind,
                subtype,
                int(frames),
                int(pregap or 0),
                pregap_type or "",
                int(postgap or 0),
            )
        )
    tracks.sort(key=lambda track: track.number)
    if [track.number for track in tracks] != list(range(1, len(tracks) + 1)):
        raise DamagedError("its metadata do not number its tracks from 1 on")
    return tuple(tracks)


def overall_sha1(raw_sha1: str, entries: tuple[MetadataEntry, ...]) -> str:
    """Return the SHA-1 of data and metadata, as the header has it (MAME, ``compute_overall_sha1``).

    Args:
        raw_sha1: SHA-1 of the data, hexadecimal.
        entries: the metadata.
    """
    hashes = sorted(
        entry.tag + hashlib.sha1(entry.data, usedforsecurity=False).digest()
        for entry in entries
        if entry.flags & _CHECKED
    )
    data = bytes.fromhex(raw_sha1) + b"".join(hashes)
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
