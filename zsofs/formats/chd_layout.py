"""What a CHD's header says of its hunks and their map, in plain numbers."""

from dataclasses import dataclass

UNIT_SECTOR = 2048
"""Bytes of a unit of a DVD."""

UNIT_CD = 2448
"""Bytes of a unit of a CD: a frame of 2352 bytes and 96 bytes of subcode."""


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
        raw_sha1: SHA-1 of all data, hexadecimal.
        sha1: SHA-1 of that and of the metadata; what children name their parent by.
        parent_sha1: that of the parent; empty if there is none.
        skip: bytes of each unit in front of those that the image has.
        take: bytes of each unit that the image has; 0 if it has whole hunks.
    """

    hunk_size: int
    hunk_count: int
    unit_size: int
    logical_size: int
    codecs: tuple[int, int, int, int]
    map: ChdMapHeader
    raw_sha1: str
    sha1: str
    parent_sha1: str
    skip: int = 0
    take: int = 0

    @property
    def block_size(self) -> int:
        """Bytes of the image in each hunk."""
        return self.hunk_size // self.unit_size * self.take if self.take else self.hunk_size
