"""What a CHD's header says of its hunks and their map, in plain numbers."""

from dataclasses import dataclass
from typing import NamedTuple

from zsofs.formats.cd_tracks import Track

_SLOW = frozenset((5, 8))
"""LZMA and its form for CDs, by the numbers of :class:`zsofs.formats.geometry.ChdCodec`."""


@dataclass(frozen=True, slots=True)
class ChdMapHeader:
    """The map: where it lies, and the 16 bytes that a compressed one begins with.

    Attributes:
        compressed: whether it is a bit stream; else it has a 32-bit number for each hunk.
        offset: where the bit stream or the numbers begin in the file, in bytes.
        size: of them in bytes.
        first_offset: where the first stored hunk begins, in bytes.
        crc: CRC-16 of the expanded map.
        bits: of a stored length, of a reference to another hunk, of one to the parent.
    """

    compressed: bool
    offset: int
    size: int
    first_offset: int = 0
    crc: int = 0
    bits: tuple[int, int, int] = (0, 0, 0)


class ChdSha1s(NamedTuple):
    """The SHA-1s of a header, hexadecimal.

    Attributes:
        data: of all data.
        overall: of that and of the metadata; children name their parent by it.
        parent: of the parent; empty if there is none.
    """

    data: str
    overall: str
    parent: str


@dataclass(frozen=True, slots=True)
class ChdLayout:
    """The hunks of a CHD. Sizes are in bytes.

    Attributes:
        hunk_size: of each hunk.
        hunk_count: number of hunks.
        unit_size: of each unit; hunks consist of whole units.
        logical_size: of all data, as of the header.
        codecs: of the map's types 0 to 3, numbers of ``native/codecs.pxd``.
        map: where the hunks lie.
        sha1s: of the header.
        skip: bytes of each unit in front of those that the image has.
        take: bytes of each unit that the image has; 0 if it has whole hunks.
        tracks: of a CD.
    """

    hunk_size: int
    hunk_count: int
    unit_size: int
    logical_size: int
    codecs: tuple[int, int, int, int]
    map: ChdMapHeader
    sha1s: ChdSha1s
    skip: int = 0
    take: int = 0
    tracks: tuple[Track, ...] = ()

    @property
    def is_slow(self) -> bool:
        """Whether hunks may be stored as LZMA, which is decoded at some 50 MB/s a core."""
        return not _SLOW.isdisjoint(self.codecs)

    @property
    def block_size(self) -> int:
        """Bytes of the image in each hunk."""
        return self.hunk_size // self.unit_size * self.take if self.take else self.hunk_size
