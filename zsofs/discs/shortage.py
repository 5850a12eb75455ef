"""Detection of images that are shorter than their own volume descriptors specify.

An image that ends before its volume is truncated, usually because a download or copy did not
finish. A longer image is normal: many are padded, and on a PS2 DVD9 the descriptor of layer
0 covers only layer 0.

Up to 150 missing sectors (2 seconds of a CD) may be harmless: programs that read CDs omit
the 2 run-out sectors of a track-at-once CD, which no drive reads, or the postgap of a data
track, which has 150 sectors and which the descriptors of PS1 and PS2 discs include;
genisoimage pads its volumes with 150 sectors so that only these are lost. Such a shortage is
called filler, unless a file has data there. For a UMD, any number of sectors may be filler: UMD
images are trimmed, and all data of a UMD is in files, which is also the criterion of PPSSPP
(pull request 15677). PS2 games read sectors by number, so files alone prove nothing there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zsofs.discs.classify import is_udf_tag
from zsofs.discs.file_map import files_at
from zsofs.discs.iso9660 import DESCRIPTORS, PRIMARY, SECTOR, Image, extent_of, root_of
from zsofs.formats.geometry import CD_SECTOR

FILLER_SECTORS = 150
"""Maximum number of sectors that may be missing without a fault, if no file has data there."""

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
"""Maximum number of files named in a sentence."""

_LONGEST_NAME = 200
"""Maximum length of a name in a sentence."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """The missing part of an image.

    Attributes:
        declared: number of sectors of the volume according to its descriptors.
        present: number of sectors in the image.
        files: files and directories with data in the missing part, possibly only the first few;
            None if they were not searched.
        is_umd: whether it is a UMD image, which may have been trimmed.
        unsure: whether more files may have data in the missing part, because not all directories
            could be read.
    """

    declared: int
    present: int
    files: tuple[str, ...] | None = None
    is_umd: bool = False
    unsure: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether data is missing, or more sectors than filler."""
        is_long = self.declared - self.present > FILLER_SECTORS and not self.is_umd
        return bool(self.files) or is_long or self.unsure

    @property
    def sentence(self) -> str:
        """What is missing, as a sentence."""
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
    """Compare the size of an image with its ISO 9660 and UDF descriptors.

    Args:
        read: returns the bytes of the image at an offset, ``read(offset, size)``; fewer at its end.
        size: size of the image in bytes.
        raw_cd: whether the image has raw CD sectors of 2352 bytes, which are then its unit.
        names: search for files in the missing part, which may read all directories.

    Returns:
        None if nothing is missing, or if there are no descriptors.

    Raises:
        Exception: whatever *read* raises. No content of the image raises an exception.
    """
    image = Image(read, size, raw_cd)
    present = -(-size // image.stored_sector)  # a file may end inside the last sector
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

    None if sector 16 has no ISO 9660 volume descriptor.
    """
    begin, stored = (
        (DESCRIPTORS * CD_SECTOR + 16, CD_SECTOR) if raw_cd else (DESCRIPTORS * SECTOR, SECTOR)
    )
    if raw_cd and head[begin - 1 : begin] == b"\x02":  # the mode; a subheader follows
        begin += 8
    primary = head[begin : begin + 130]
    return _volume_size(primary) * stored if primary.startswith(PRIMARY) else None


def _volume_ends(image: Image, primary: bytes) -> Iterator[int]:
    """Yield the end sectors of the ISO 9660 volumes: that of the disc, and that of layer 1."""
    end = _volume_size(primary)
    yield end
    if end > DESCRIPTORS:
        # Layer 1 of a PS2 DVD9 is a volume of its own: its descriptor is at the end of layer 0, and
        # its sectors count from 16 before that.
        second = image.sectors(end, 1)
        if len(second) == SECTOR and second.startswith(PRIMARY):
            yield end - DESCRIPTORS + _volume_size(second)


def _volume_size(primary: bytes) -> int:
    """Return the volume space size in sectors (ECMA-119 8.4.8), the smaller of its two values."""
    blocks = int.from_bytes(primary[80:84], "little")
    again = int.from_bytes(primary[84:88], "big")
    block_size = int.from_bytes(primary[128:130], "little")
    if block_size not in (512, 1024):
        block_size = SECTOR
    return -(-(min(blocks, again) or blocks) * block_size // SECTOR)


def _udf_ends(image: Image) -> Iterator[int]:
    """Yield the end sectors of the parts of a UDF volume (ECMA-167 3/10) that can be read."""
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
    """Return whether a sector is this kind of UDF descriptor and has its own sector number."""
    return (
        len(sector) == SECTOR
        and is_udf_tag(sector, identifier)
        and int.from_bytes(sector[12:16], "little") == number
    )


def _extent_end(descriptor: bytes, offset: int) -> int:
    """Return the end sector of the extent at an offset of a descriptor; 0 if there is none."""
    length = int.from_bytes(descriptor[offset : offset + 4], "little")
    first = int.from_bytes(descriptor[offset + 4 : offset + 8], "little")
    return first + -(-length // SECTOR) if length else 0


def _is_later_session(image: Image, primary: bytes) -> bool:
    """Return whether the image is a later part of a disc that counts sectors from its start.

    Examples are the data track of a GD-ROM and the second session of an enhanced CD: their root
    directory is near the descriptors, not in the sector that they specify.
    """
    root = root_of(primary).first
    area = image.sectors(DESCRIPTORS, _SEARCHED)
    for number in range(len(area) // SECTOR):
        record = area[number * SECTOR : number * SECTOR + 34]
        if record[0] == 34 and record[32:34] == b"\1\0" and extent_of(record).first == root:
            return root != DESCRIPTORS + number
    return False


def _listed(files: tuple[str, ...]) -> str:
    """Return the first names. Names of a hostile disc are shortened to their end."""
    names = files[:_NAMED]
    return ", ".join(
        name if len(name) <= _LONGEST_NAME else f"…{name[-_LONGEST_NAME:]}" for name in names
    )
