"""The metadata of a CHD: a linked list of entries, of which tracks and kind are taken.

Big endian: 4 bytes tag, u8 flags, u24 length, u64 offset of the next entry (0: none), then the data
(MAME, ``chd.cpp``, ``metadata_find``).
"""

import hashlib
import struct
from dataclasses import dataclass

from zsofs.errors import DamagedError
from zsofs.formats.cd_tracks import Track, parse_tracks
from zsofs.formats.geometry import SourceBytes

_ENTRY = struct.Struct(">4sIQ")
_MOST_ENTRIES = 512
"""A CD has one for each of up to 99 tracks; a laserdisc more, which is refused by its first."""

_MOST_DATA = 1 << 20
"""Bytes of the data of all entries; a hard disk's IDENT has 512."""

_CHECKED = 0x01
"""The flag of an entry that the overall SHA-1 covers."""


@dataclass(frozen=True, slots=True)
class MetadataEntry:
    """One entry: its tag of 4 bytes, flags, and data."""

    tag: bytes
    flags: int
    data: bytes


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
            raise DamagedError(f"the file is truncated: its metadata at {offset} is past its end")
        tag, word, following = _ENTRY.unpack(head)
        length = word & 0xFFFFFF
        room -= length
        if len(entries) == _MOST_ENTRIES or room < 0:
            raise DamagedError("it has more metadata than any disc, or they refer to themselves")
        data = source.read_at(offset + _ENTRY.size, length)
        if len(data) < length:
            raise DamagedError(f"the file is truncated: it ends inside its metadata at {offset}")
        entries.append(MetadataEntry(tag, word >> 24, data))
        offset = following
    return tuple(entries)


def tracks_of(entries: tuple[MetadataEntry, ...]) -> tuple[Track, ...]:
    """Return the tracks of a CD in their order; empty if it is none.

    Raises:
        DamagedError: an entry does not describe a track.
    """
    return parse_tracks(entry.data for entry in entries if entry.tag in (b"CHT2", b"CHTR"))


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
