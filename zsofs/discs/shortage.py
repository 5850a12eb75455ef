"""Detection of images that are shorter than their own volume descriptors say.

An image that ends before its volume does was cut, mostly by a download or a copy that did not
finish. A longer image is normal: many are padded, and on a DVD9 of the PS2 the descriptor of layer
0 counts layer 0 alone.

Up to 150 missing sectors (2 seconds of a CD) need not be a fault: programs that read CDs leave out
the 2 run-out sectors of a CD that was written track at once, which no drive reads, or the postgap
of a data track, which has 150 sectors and which the descriptors of PS1 and PS2 discs count;
genisoimage pads its volumes with 150 sectors so that only these get lost. Such a shortage is called
filler, unless a file has data there. Of a UMD any number of sectors may be filler: images of UMDs
are trimmed, and all data of a UMD lies in files, by which PPSSPP decides, too (pull request 15677).
Games of the PS2 read sectors by their numbers, so files alone prove nothing there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zsofs.discs.classify import is_udf_tag
from zsofs.discs.file_map import files_at
from zsofs.discs.iso9660 import DESCRIPTORS, PRIMARY, SECTOR, Image, extent_of, root_of
from zsofs.formats.geometry import CD_SECTOR

FILLER_SECTORS = 150
"""The most sectors that may be missing without a fault, if no file has data in them."""

_UMD = b"PSP GAME"
"""The system identifier of a UMD."""

_UDF_IDS = frozenset((b"NSR02", b"NSR03"))
_ANCHOR_SECTOR = 256
_ANCHOR, _PARTITION, _LOGICAL_VOLUME, _TERMINATOR = 2, 5, 6, 8
"""Tag identifiers of UDF descriptors (ECMA-167 3/7.2.1)."""

_MOST_DESCRIPTORS = 32
"""Sectors of a UDF volume descriptor sequence that are read; the standard asks for 16."""

_NOT_WRITTEN_WHOLE = frozenset((2, 3))
"""Access types write-once and rewritable: such a partition may be as long as the medium."""

_SEARCHED = 64
"""Sectors from the first descriptor on in which a root directory is searched for."""

_NAMED = 3
"""How many files a sentence names."""

_LONGEST_NAME = 200
"""Characters of a name in a sentence."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """How much of an image is missing.

    Attributes:
        declared: number of sectors that the volume has by its descriptors.
        present: number of sectors that the image has.
        files: files and directories with data in the missing part, of which only the first few may
            be there; None if they were not looked for.
        is_umd: whether it is the image of a UMD, which may have been trimmed.
        unsure: whether further files may have data in the missing part, as not all directories
            could be read.
    """

    declared: int
    present: int
    files: tuple[str, ...] | None = None
    is_umd: bool = False
    unsure: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether data is missing, or more sectors than filler has."""
        is_long = self.declared - self.present > FILLER_SECTORS and not self.is_umd
        return bool(self.files) or is_long or self.unsure

    @property
    def sentence(self) -> str:
        """What is missing, for a person."""
        count = self.declared - self.present
        missing = (
            f"{count:,} of its {self.declared:,} sectors {'is' if count == 1 else 'are'} missing"
        )
        if not self.is_cut:
            if self.files is None:
                return f"the last {missing}; `zsofs verify` looks for files with data there"
            return (
                f"the last {missing}, but no file has data there: this is padding, which many"
                " CD and UMD images lack"
            )
        if self.files:
            more = " and more" if len(self.files) > _NAMED else ""
            return f"the image is truncated: {missing}, with data of {_listed(self.files)}{more}"
        return f"the image is truncated: {missing} according to its volume descriptors"


def find_shortage(
    read: Callable[[int, int], bytes], size: int, *, raw_cd: bool, names: bool = False
) -> Shortage | None:
    """Compare the size of an image with what its descriptors of ISO 9660 and UDF say.

    Args:
        read: gives the bytes of the image at an offset, ``read(offset, size)``; fewer at its end.
        size: of the image in bytes.
        raw_cd: the image consists of raw 2352-byte sectors, by which it is then measured.
        names: look for the files in the missing part, which may read all directories.

    Returns:
        None if nothing is missing, or if there are no descriptors.

    Raises:
        Exception: whatever *read* raises. Nothing that is in the image raises anything.
    """
    image = Image(read, size, raw_cd)
    present = -(-size // image.stored_sector)  # a file may end within the last sector
    area = image.sectors(DESCRIPTORS, DESCRIPTORS)
    descriptors = [area[at : at + SECTOR] for at in range(0, len(area), SECTOR)]
    primary = next((one for one in descriptors if one.startswith(PRIMARY)), b"")
    declared = 0
    if len(primary) == SECTOR:
        declared = max(_volume_ends(image, primary))
    if any(one[1:6] in _UDF_IDS for one in descriptors):
        declared = max(declared, *_udf_ends(image), 0)
    if declared <= present or (primary and _is_later_session(image, primary)):
        return None
    is_umd = primary[8:40].rstrip() == _UMD
    if not names:
        return Shortage(declared, present, None, is_umd)
    end = declared * image.stored_sector
    found = files_at(read, size, size, end, raw_cd=raw_cd, most=_NAMED + 1)
    return Shortage(declared, present, found.files, is_umd, bool(found.incomplete))


def declared_size(head: bytes, *, raw_cd: bool) -> int | None:
    """Return the size in bytes that the first bytes of an image declare, by its first descriptor.

    None if there is no volume descriptor of ISO 9660 in sector 16.
    """
    begin, stored = (
        (DESCRIPTORS * CD_SECTOR + 16, CD_SECTOR) if raw_cd else (DESCRIPTORS * SECTOR, SECTOR)
    )
    if raw_cd and head[begin - 1 : begin] == b"\x02":  # the mode; a subheader follows
        begin += 8
    primary = head[begin : begin + 130]
    return _volume_size(primary) * stored if primary.startswith(PRIMARY) else None


def _volume_ends(image: Image, primary: bytes) -> Iterator[int]:
    """The sectors at which the volumes of ISO 9660 end: that of the disc, and that of layer 1."""
    end = _volume_size(primary)
    yield end
    if end > DESCRIPTORS:
        # Layer 1 of a DVD9 of the PS2 is a volume of its own: its descriptor lies where layer 0
        # ends, and its sectors count from 16 before that.
        second = image.sectors(end, 1)
        if len(second) == SECTOR and second.startswith(PRIMARY):
            yield end - DESCRIPTORS + _volume_size(second)


def _volume_size(primary: bytes) -> int:
    """Volume space size in sectors of 2048 bytes (ECMA-119 8.4.8), the smaller if it has two."""
    blocks = int.from_bytes(primary[80:84], "little")
    again = int.from_bytes(primary[84:88], "big")
    block_size = int.from_bytes(primary[128:130], "little")
    if block_size not in (512, 1024):
        block_size = SECTOR
    return -(-(min(blocks, again) or blocks) * block_size // SECTOR)


def _udf_ends(image: Image) -> Iterator[int]:
    """The sectors at which the parts of a UDF volume end (ECMA-167 3/10), as far as it has them."""
    anchor = image.sectors(_ANCHOR_SECTOR, 1)
    if not _is_tagged(anchor, _ANCHOR, _ANCHOR_SECTOR):
        return
    yield _extent_end(anchor, 16)  # the main volume descriptor sequence
    yield _extent_end(anchor, 24)  # its copy
    first = int.from_bytes(anchor[20:24], "little")
    count = min(int.from_bytes(anchor[16:20], "little") // SECTOR, _MOST_DESCRIPTORS)
    sequence = image.sectors(first, count)
    for number in range(len(sequence) // SECTOR):
        one = sequence[number * SECTOR : (number + 1) * SECTOR]
        if _is_tagged(one, _TERMINATOR, first + number):
            return
        if _is_tagged(one, _PARTITION, first + number):
            if int.from_bytes(one[184:188], "little") not in _NOT_WRITTEN_WHOLE:
                yield int.from_bytes(one[188:192], "little") + int.from_bytes(
                    one[192:196], "little"
                )
        elif _is_tagged(one, _LOGICAL_VOLUME, first + number):
            yield _extent_end(one, 432)  # the logical volume integrity sequence


def _is_tagged(sector: bytes, identifier: int, number: int) -> bool:
    """Whether a whole sector is such a UDF descriptor, and says that it belongs where it lies."""
    return (
        len(sector) == SECTOR
        and is_udf_tag(sector, identifier)
        and int.from_bytes(sector[12:16], "little") == number
    )


def _extent_end(descriptor: bytes, offset: int) -> int:
    """The sector at which an extent ends, of which length and place are at an offset; 0 if none."""
    length = int.from_bytes(descriptor[offset : offset + 4], "little")
    first = int.from_bytes(descriptor[offset + 4 : offset + 8], "little")
    return first + -(-length // SECTOR) if length else 0


def _is_later_session(image: Image, primary: bytes) -> bool:
    """Whether sectors are counted from the start of a disc of which the image is a later part.

    So it is with the data track of a GD-ROM, or the second session of an enhanced CD: their root
    directory lies near the descriptors, and not in the sector that they name.
    """
    root = root_of(primary).first
    area = image.sectors(DESCRIPTORS, _SEARCHED)
    for number in range(len(area) // SECTOR):
        record = area[number * SECTOR : number * SECTOR + 34]
        if record[0] == 34 and record[32:34] == b"\1\0" and extent_of(record).first == root:
            return root != DESCRIPTORS + number
    return False


def _listed(files: tuple[str, ...]) -> str:
    """The first names; a hostile disc has names of any length, of which the end is enough."""
    names = files[:_NAMED]
    return ", ".join(
        name if len(name) <= _LONGEST_NAME else f"…{name[-_LONGEST_NAME:]}" for name in names
    )
