"""The sectors and folders of an ISO 9660 image. It may be hostile: no claim of it is believed.

pycdlib is not used: opening a disc with it reads every folder, and one that contradicts itself is
refused whole.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SECTOR = 2048
RAW_SECTOR = 2352

DESCRIPTORS = 16
"""The sector at which the descriptors of a volume begin, and how many sectors are looked through:
real discs have three to five of them."""

PRIMARY = b"\x01CD001"
"""How the primary volume descriptor begins."""

_RECORD_SIZE = 34
"""The shortest directory record, in bytes: 33 fixed ones and a name of one."""

_IS_FOLDER = 2
"""The bit among the flags of a directory record."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a file or folder lies, as the disc says: perhaps outside of it.

    Attributes:
        first: number of its first sector.
        size: in bytes.
    """

    first: int
    size: int


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a folder.

    Attributes:
        name: without its version, in capitals; a single zero or one byte for the folder itself and
            the one above.
        is_folder: whether it is one.
        extent: where it lies.
    """

    name: bytes
    is_folder: bool
    extent: Extent


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
        """The data of *count* sectors in one read; fewer at the end of the image."""
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
        """The first bytes of a file or folder, *most* of them at most, in one read."""
        size = min(extent.size, most)
        return self.sectors(extent.first, -(-size // SECTOR))[:size]

    def directory(self, extent: Extent, most: int) -> bytes:
        """The first bytes of a directory, *most* of them at most, in whole sectors.

        A directory fills its sectors, whatever size its record gives: consoles read by sectors, and
        find what lies behind a size that is too small.
        """
        return self.sectors(extent.first, -(-min(extent.size, most) // SECTOR))

    @property
    def stored_sector(self) -> int:
        """Bytes that a sector takes in the image."""
        return RAW_SECTOR if self.raw_cd else SECTOR


def extent_of(record: bytes) -> Extent:
    """Where a directory record says its file or folder is. It has all its fixed bytes."""
    first: int
    size: int
    first, size = struct.unpack_from("<I4xI", record, 2)
    return Extent(first, size)


def root_of(primary: bytes) -> Extent:
    """Where a primary volume descriptor, a whole sector, says the root folder is."""
    return extent_of(primary[156:190])


def records(directory: bytes) -> Iterator[Record]:
    """The entries of a folder.

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
        yield Record(name, bool(record[25] & _IS_FOLDER), extent_of(record))
        at += length


def find(directory: bytes, wanted: bytes, *, folder: bool) -> Extent | None:
    """The file, or the folder, that a directory has under a name; case and version do not count."""
    for record in records(directory):
        if record.name == wanted and record.is_folder == folder:
            return record.extent
    return None


def _data(raw: bytes) -> bytes:
    """The data of a raw sector: behind a subheader in mode 2."""
    start = 24 if raw[15:16] == b"\x02" else 16
    return raw[start : start + SECTOR]
