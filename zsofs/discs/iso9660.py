"""The sectors and directories of an ISO 9660 image (ECMA-119), which may be hostile.

No claim of it is believed.

pycdlib is not used: opening a disc with it reads every directory, and one that contradicts itself
is refused whole.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zsofs.formats.geometry import CD_SECTOR

SECTOR = 2048
"""Plain bytes of a sector (ECMA-119, 6.1.2)."""

DESCRIPTORS = 16
"""The sector at which the descriptors of a volume begin, and how many sectors are looked through:
real discs have three to five of them."""

STANDARD_ID = b"CD001"
"""The standard identifier, at byte 1 of each volume descriptor (ECMA-119, 8.1.2)."""

PRIMARY = b"\x01" + STANDARD_ID
"""How the primary volume descriptor begins (ECMA-119, 8.4)."""

_RECORD_SIZE = 34
"""The shortest directory record, in bytes: 33 fixed ones and a name of one (ECMA-119, 9.1)."""

_IS_FOLDER = 2
"""The bit among the flags of a directory record (ECMA-119, 9.1.6)."""

_XA_SIGNATURE = b"XA"
_XA_SIZE = 14
"""Bytes that CD-ROM XA adds to a directory record, and the signature at byte 6 of them."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a file or directory lies, as the disc says: perhaps outside of it.

    Attributes:
        first: number of its first sector.
        size: in bytes.
    """

    first: int
    size: int


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a directory.

    Attributes:
        name: without its version, in capitals; a single zero or one byte for the directory itself
            and the one above.
        is_folder: whether it is one.
        extent: where it lies.
        xa_attributes: those of CD-ROM XA; 0 if the record has none.
    """

    name: bytes
    is_folder: bool
    extent: Extent
    xa_attributes: int = 0


@dataclass(frozen=True, slots=True)
class Image:
    """The sectors of an image, each as its 2048 bytes of data.

    Attributes:
        read: gives the bytes of the image at an offset, ``read(offset, size)``; fewer at its end.
        size: in bytes.
        raw_cd: sectors are stored with their 2352 bytes.
    """

    read: Callable[[int, int], bytes]
    size: int
    raw_cd: bool

    def sectors(self, first: int, count: int) -> bytes:
        """Return the data of sectors, 2048 bytes of each, in one read; fewer at the image's end.

        Args:
            first: number of the first sector.
            count: number of sectors.
        """
        stored = self.stored_sector
        begin = first * stored
        wanted = min(count * stored, self.size - begin)
        if wanted <= 0:
            return b""
        found = self.read(begin, wanted)
        if not self.raw_cd:
            return found
        return b"".join(_data(found[at : at + stored]) for at in range(0, len(found), stored))

    def content(self, extent: Extent, most: int) -> bytes:
        """Return the first bytes of a file or directory, *most* of them at most, in one read."""
        size = min(extent.size, most)
        return self.sectors(extent.first, -(-size // SECTOR))[:size]

    def directory(self, extent: Extent, most: int) -> bytes:
        """Return the first bytes of a directory, *most* of them at most, in whole sectors.

        A directory fills its sectors, whatever size its record gives: consoles read by sectors, and
        find what lies behind a size that is too small.
        """
        return self.sectors(extent.first, -(-min(extent.size, most) // SECTOR))

    @property
    def stored_sector(self) -> int:
        """Bytes that a sector takes in the image."""
        return CD_SECTOR if self.raw_cd else SECTOR


def extent_of(record: bytes) -> Extent:
    """Return the extent of a directory record, which has all its fixed bytes (ECMA-119, 9.1)."""
    first: int
    size: int
    first, size = struct.unpack_from("<I4xI", record, 2)
    return Extent(first, size)


def root_of(primary: bytes) -> Extent:
    """Return the root directory of a primary volume descriptor, a whole sector (8.4.18)."""
    return extent_of(primary[156:190])


def records(directory: bytes) -> Iterator[Record]:
    """Yield the entries of a directory (ECMA-119, 6.8.1 and 9.1).

    Each step goes at least 34 bytes on, or to the next sector: no record reaches into it.
    """
    at = 0
    while at + _RECORD_SIZE <= len(directory):
        length = directory[at]
        rest = SECTOR - at % SECTOR
        if not _RECORD_SIZE <= length <= rest:  # 0 is how writers fill a sector up
            at += rest
            continue
        record = directory[at : at + length]
        name = record[33 : 33 + record[32]].split(b";")[0].rstrip(b".").upper()
        yield Record(name, bool(record[25] & _IS_FOLDER), extent_of(record), _xa_of(record))
        at += length


def _xa_of(record: bytes) -> int:
    """Return the attributes that CD-ROM XA adds to a directory record; 0 if it has none.

    They begin at the first even byte behind the name (ECMA-119, 9.1.12 and 9.1.13).
    """
    begin = 33 + record[32]
    begin += begin % 2
    system_use = record[begin : begin + _XA_SIZE]
    if len(system_use) < _XA_SIZE or system_use[6:8] != _XA_SIGNATURE:
        return 0
    return int.from_bytes(system_use[4:6], "big")


def find(directory: bytes, wanted: bytes, *, folder: bool) -> Extent | None:
    """Return where an entry of a directory lies; None if there is none of that name and kind.

    Args:
        directory: the bytes of the directory.
        wanted: the name in capitals, without its version.
        folder: whether a directory is looked for.
    """
    for record in records(directory):
        if record.name == wanted and record.is_folder == folder:
            return record.extent
    return None


def _data(raw: bytes) -> bytes:
    """Return the data of a raw sector: behind a subheader in mode 2 (ECMA-130, 14; Green Book)."""
    start = 24 if raw[15:16] == b"\x02" else 16
    return raw[start : start + SECTOR]
