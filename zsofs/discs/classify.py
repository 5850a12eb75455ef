"""Classification of content by its bytes: a disc image, another kind of file, or unknown.

File names are ignored. Disc structures are checked first, because the system area of a disc
(its first 16 sectors) may contain anything, such as an MBR or an ELF header.
"""

import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from zsofs.discs.iso9660 import DESCRIPTORS, PRIMARY, SECTOR, STANDARD_ID
from zsofs.formats.containers import has_magic
from zsofs.formats.file_names import APPLE_DOUBLE, APPLE_DOUBLE_MAGIC, NOT_PACKED
from zsofs.formats.ziso import ZSTD_MAGIC
from zsofs.images.probe import CD_SYNC_SIZE, is_raw_cd

Read = Callable[[int, int], bytes]
"""Returns the bytes of the content at an offset, ``read(offset, size)``; fewer at its end."""

_SAMPLE = 4096
"""Bytes per sample: the start, which has the signatures, the middle, and the end."""

_DESCRIPTOR_IDS = {
    STANDARD_ID: "an ISO 9660 image",
    b"CD-I ": "a CD-i image",
    b"BEA01": "a UDF image",
    b"NSR02": "a UDF image",
    b"NSR03": "a UDF image",
}
"""Standard identifiers at byte 1 of a volume descriptor (ECMA-119, ECMA-167, Green Book)."""

_HIGH_SIERRA = b"CDROM"
"""The identifier of the predecessor of ISO 9660, at byte 9 of a volume descriptor."""

_XDVDFS = b"MICROSOFT*XBOX*MEDIA"
_UDF_ANCHOR = 256

RAW_CD = "a raw CD image"
_CD_2336 = "an ISO 9660 image (2336-byte sectors)"
_PREGAP = "an ISO 9660 image (behind a pregap)"
OTHER_SECTORS = (RAW_CD, _CD_2336, _PREGAP)
"""CD images that programs can read if they know the sector layout."""

_COMMON_IMAGES = ("an ISO 9660 image", "a UDF image")

_DISC_SIGNATURES = (
    # (offset, signature, name); offsets in bytes.
    (0x1C, b"\xc2\x33\x9f\x3d", "a GameCube image"),
    (0x18, b"\x5d\x1c\x9e\xa3", "a Wii image"),
    (0, b"SEGA SEGASATURN ", "a Saturn image"),
    (0, b"SEGA SEGAKATANA ", "a Dreamcast image"),
    (0, b"SEGADISC", "a Mega-CD image"),
    (0, b"SEGABOOTDISC", "a Mega-CD image"),
    (0, b"SEGADATADISC", "a Mega-CD image"),
    (0, b"\x01ZZZZZ\x01", "a 3DO image"),
    (0, b"PC-FX:Hu_CD-ROM", "a PC-FX image"),
    (0x820, b"PC Engine CD-ROM SYSTEM", "a PC Engine image"),
    # XDVDFS begins at one of these sectors: a trimmed image, Xbox 360 XGD3, XGD2, and Xbox.
    (0x10000, _XDVDFS, "an Xbox image"),
    (0x2090000, _XDVDFS, "an Xbox 360 image"),
    (0xFDA0000, _XDVDFS, "an Xbox 360 image"),
    (0x18310000, _XDVDFS, "an Xbox image"),
    # ISO 9660 in sectors of 2336 bytes, and behind a pregap of 150 sectors.
    (DESCRIPTORS * 2336 + 8, PRIMARY, _CD_2336),
    ((150 + DESCRIPTORS) * SECTOR, PRIMARY, _PREGAP),
)

_EXTRACT = "; extract the disc image from it first"
_NAMED = "; pack the image file that it describes"
_AGAIN = "; if it should be a disc, download it again"

_SIGNATURES = (
    # (offset, signature, name, advice); the first that matches counts.
    (0, APPLE_DOUBLE_MAGIC, APPLE_DOUBLE, ""),
    (0, b"Sony PS2 Memory Card Format ", "a PS2 memory card", ""),
    (0, b"123-456-STD", "a PS1 memory card", ""),
    (0, b"\0PMV", "a PS1 memory card", ""),
    (0, b"MComprHD", "a CHD", _EXTRACT),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _EXTRACT),
    (0, b"PK\x03\x04", "a ZIP archive", _EXTRACT),
    (0, b"PK\x05\x06", "a ZIP archive", _EXTRACT),
    (0, b"PK\x07\x08", "a ZIP archive", _EXTRACT),
    (0, b"Rar!\x1a\x07", "a RAR archive", _EXTRACT),
    (0, b"MSCF\0\0\0\0", "a CAB archive", _EXTRACT),
    (257, b"ustar", "a tar archive", _EXTRACT),
    (7, b"**ACE**", "an ACE archive", _EXTRACT),
    (0, b"\x1f\x8b\x08", "a gzip file", _EXTRACT),
    (4, b"1AY&SY", "a bzip2 file", _EXTRACT),
    (0, b"\xfd7zXZ\0", "an xz file", _EXTRACT),
    (0, ZSTD_MAGIC, "a Zstandard file", _EXTRACT),
    (0, b"\x04\x22\x4d\x18", "an LZ4 file", _EXTRACT),
    (0, b"ZISO", "a ZSO", _EXTRACT),
    (0, b"ZSOZ", "a ZSOZ", _EXTRACT),
    (0, b"CISO", "a CSO", _EXTRACT),
    (0, b"DAX\0", "a DAX", _EXTRACT),
    (0, b"JISO", "a JSO", _EXTRACT),
    (0, b"IsZ!", "an ISZ", _EXTRACT),
    (0, b"ECM\0", "an ECM file", _EXTRACT),
    (0, b"DAA\0", "a DAA", _EXTRACT),
    (0, b"\0PBP", "a PBP", _EXTRACT),
    (0, b"\x7fPKG", "a PKG", ""),
    (0, b"WBFS", "a WBFS container", _EXTRACT),
    (0, b"WIA\x01", "a WIA", _EXTRACT),
    (0, b"RVZ\x01", "an RVZ", _EXTRACT),
    (0, b"\x01\xc0\x0b\xb1", "a GCZ", _EXTRACT),
    (0, b"MEDIA DESCRIPTOR", "an MDS file", _NAMED),
    (0, b"hsqs", "a SquashFS image", ""),
    (0, b"QFI\xfb", "a QCOW2 disk image", ""),
    (0, b"KDMV", "a VMDK disk image", ""),
    (0, b"vhdxfile", "a VHDX disk image", ""),
    (0, b"conectix", "a VHD disk image", ""),
    (3, b"NTFS    ", "an NTFS disk image", ""),
    (3, b"EXFAT   ", "an exFAT disk image", ""),
    (0x36, b"FAT1", "a FAT disk image", ""),
    (0x52, b"FAT32   ", "a FAT disk image", ""),
    (0, b"\xff\xd8\xff", "a JPEG picture", ""),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture", ""),
    (0, b"GIF87a", "a GIF picture", ""),
    (0, b"GIF89a", "a GIF picture", ""),
    (0, b"8BPS\0\x01", "a Photoshop picture", ""),
    (0, b"II*\0", "a TIFF picture", ""),
    (0, b"MM\0*", "a TIFF picture", ""),
    (0, b"\0\0\x01\0\x01\0", "an icon", ""),
    (8, b"WEBP", "a WebP picture", ""),
    (8, b"WAVE", "a WAV audio file", ""),
    (8, b"AVI LIST", "an AVI video", ""),
    (4, b"ftyp", "an MP4 or HEIF file", ""),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska video", ""),
    (0, b"\0\0\x01\xba", "an MPEG video", ""),
    (0, b"ID3", "an MP3 file", ""),
    (0, b"fLaC", "a FLAC audio file", ""),
    (0, b"OggS", "an Ogg file", ""),
    (0, b"%PDF-", "a PDF document", ""),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Microsoft Office document", ""),
    (0, b"SQLite format 3\0", "an SQLite database", ""),
    (0, b"\x7fELF", "an ELF program", ""),
    (0, b"\0PSF", "a PARAM.SFO file", ""),
    (0, b"d8:announce", "a torrent file", ""),
)

_TEXTS = (
    # (pattern, name, advice); the first that is found in the first sample counts.
    (rb"(?i)\A<(!doctype\s+html|html|head|body|title|script)\b", "an HTML page", _AGAIN),
    (rb"\A(<\?xml\b|<!DOCTYPE\b|<\w+[ >])", "an XML file", ""),
    (rb"(?im)^[ \t]*FILE[ \t].*[ \t](BINARY|MOTOROLA|WAVE|MP3|AIFF)\b", "a cue sheet", _NAMED),
    (rb"(?m)^\[CloneCD\]", "a CloneCD control file", _NAMED),
    (rb"\A\d+\s+1 0 4 \d+ ", "a GDI file", _NAMED),
    (rb"(?m)^TRACK (MODE\d|AUDIO)", "a TOC file", _NAMED),
)

_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b")) + b"\x7f"
"""Bytes that no text has."""


UNRECOGNIZED = "its content is not recognized as a disc image"


class ContentKind(Enum):
    """Whether content is a disc image."""

    DISC = "disc"
    OTHER = "other"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Classification:
    """What content is.

    Attributes:
        kind: DISC for a disc image of any system, OTHER for what is certainly none.
        name: what it is, with its article, as in ``a JPEG picture``; empty if unknown.
        advice: what to do instead of packing it, as the end of a sentence; empty if nothing.
    """

    kind: ContentKind
    name: str = ""
    advice: str = ""

    @property
    def refusal(self) -> str:
        """Why the content is not packed; for OTHER and UNKNOWN."""
        if self.kind is ContentKind.UNKNOWN:
            return UNRECOGNIZED
        return f"it is {self.name}, not a disc image" + self.advice

    @property
    def remark(self) -> str:
        """A note on a file that was packed or named like a disc; empty for a disc image."""
        if self.kind is ContentKind.DISC:
            return ""
        if self.kind is ContentKind.UNKNOWN:
            return UNRECOGNIZED
        return f"its content is {self.name}, not a disc image"

    @property
    def not_packed(self) -> str:
        """Why a file under the name of a packed disc is none; empty if it is a plain image."""
        if self.kind is ContentKind.DISC:
            return ""
        if self.kind is ContentKind.UNKNOWN:
            return NOT_PACKED
        return f"it has the name of a packed disc, but it is {self.name}{self.advice}"

    @property
    def ending(self) -> str:
        """The ending that the name of a disc image should have."""
        return ".bin" if self.name == RAW_CD else ".iso"

    @property
    def peculiarity(self) -> str:
        """The name, unless it is an image of 2048-byte sectors as discs of all consoles may be."""
        return "" if self.name in _COMMON_IMAGES else self.name


def classify(read: Read, size: int) -> Classification:
    """Determine what content is, in a few short reads. The content may be hostile.

    Args:
        read: access to the content.
        size: of the content in bytes.

    Raises:
        Exception: whatever *read* raises.
    """
    if size == 0:
        return Classification(ContentKind.OTHER, "an empty file")
    head = read(0, min(_SAMPLE, size))
    disc = _disc_name(read, size, head) if size >= SECTOR else ""
    if disc:
        return Classification(ContentKind.DISC, disc)
    for offset, signature, name, advice in _SIGNATURES:
        if head.startswith(signature, offset):
            return Classification(ContentKind.OTHER, name, advice)
    return (
        _by_structure(head, size) or _text(read, size, head) or Classification(ContentKind.UNKNOWN)
    )


def looks_like_disc(fd: int) -> bool:
    """Return whether a file begins like a container, a raw CD image or an ISO 9660 image.

    Two short reads, for files that must not be changed: a container counts whether it is whole or
    not, and whether zsofs reads it or not. May wait for a disk.

    Args:
        fd: descriptor of the file, open for reading.

    Raises:
        OSError: the file cannot be read.
    """
    head = os.pread(fd, CD_SYNC_SIZE, 0)
    if has_magic(head) or is_raw_cd(head):
        return True
    return has_iso9660(fd)


def has_iso9660(fd: int) -> bool:
    """Return whether a file begins like an ISO 9660 image of 2048-byte sectors; one short read.

    Args:
        fd: descriptor of the file, open for reading.

    Raises:
        OSError: the file cannot be read.
    """
    return os.pread(fd, len(STANDARD_ID), DESCRIPTORS * SECTOR + 1) == STANDARD_ID


def _disc_name(read: Read, size: int, head: bytes) -> str:
    """Return what kind of disc image the content is; empty if it is none."""
    if is_raw_cd(head):
        return RAW_CD
    begin = DESCRIPTORS * SECTOR
    area = read(begin, min(begin, size - begin)) if size > begin else b""
    for at in range(0, len(area) - 14, SECTOR):
        name = _DESCRIPTOR_IDS.get(area[at + 1 : at + 6])
        if name:
            return name
        if area.startswith(_HIGH_SIERRA, at + 9):
            return "a High Sierra image"
    for offset, signature, name in _DISC_SIGNATURES:
        if offset + len(signature) <= len(head):
            found = head.startswith(signature, offset)
        elif offset + len(signature) <= size:
            found = read(offset, len(signature)) == signature
        else:
            continue
        if found:
            return name
    if is_udf_tag(read(_UDF_ANCHOR * SECTOR, 16) if size > _UDF_ANCHOR * SECTOR else b"", 2):
        return "a UDF image"
    return _apple(head)


def is_udf_tag(data: bytes, identifier: int) -> bool:
    """Return whether *data* starts with a valid descriptor tag of this kind (ECMA-167 3/7.2)."""
    if len(data) < 16 or int.from_bytes(data[:2], "little") != identifier:
        return False
    return (sum(data[:16]) - data[4]) & 0xFF == data[4]


def _apple(head: bytes) -> str:
    """Return the name of an Apple disc format; empty if it is none."""
    if head.startswith(b"ER") and b"PM" in (head[512:514], head[2048:2050]):
        return "an image with an Apple partition map"
    volume = head[1024 : 1024 + 26]
    if volume[:4] in (b"H+\0\x04", b"HX\0\x05"):
        return "an HFS+ image"
    if volume.startswith(b"BD") and len(volume) == 26:
        blocks, block_size = struct.unpack_from(">HI", volume, 18)
        if blocks and block_size and block_size % 512 == 0:
            return "an HFS image"
    return ""


def _by_structure(head: bytes, size: int) -> Classification | None:
    """Recognize what has a short signature, by more than that."""
    if head.startswith(b"MC") and len(head) >= 128 and head[127] == 0x0E and size % 131072 == 0:
        # 0x0E is the checksum of the first frame.
        return Classification(ContentKind.OTHER, "a PS1 memory card")
    if head.startswith(b"BM") and head[6:10] == bytes(4) and head[14:18] in _BITMAP_HEADERS:
        return Classification(ContentKind.OTHER, "a BMP picture")
    if head.startswith(b"MZ") and len(head) >= 64:
        header = int.from_bytes(head[60:64], "little")
        if head.startswith((b"PE\0\0", b"NE", b"LE"), header):
            return Classification(ContentKind.OTHER, "a Windows or DOS program")
    if head.startswith(b"\x53\xef", 0x438) and not any(head[:1024]):
        return Classification(ContentKind.OTHER, "an ext4 disk image")
    return None


_BITMAP_HEADERS = frozenset(struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124))


def _text(read: Read, size: int, head: bytes) -> Classification | None:
    """Recognize text, which is text at the beginning, in the middle, and at the end."""
    if not _is_text(head):
        return None
    for offset in (size // 2, max(size - _SAMPLE, 0)):
        if size > _SAMPLE and not _is_text(read(offset, min(_SAMPLE, size - offset))):
            return None
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, name, advice in _TEXTS:
        if re.search(pattern, begin):
            return Classification(ContentKind.OTHER, name, advice)
    return Classification(ContentKind.OTHER, "a text file")


def _is_text(sample: bytes) -> bool:
    """Return whether a sample is text: UTF-8, UTF-16 with a BOM, or mostly ASCII."""
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        sample = sample[: len(sample) // 2 * 2].decode("utf-16", "replace").encode()
    elif len(sample.decode(errors="ignore").encode()) >= len(sample) - 6:
        return not _has_control(sample)  # the sample may begin or end within a character
    return not _has_control(sample) and sum(byte < 0x80 for byte in sample) * 10 > len(sample) * 7


def may_be_old_text(data: bytes) -> bool:
    """Return whether data may be text in any code page: the drawings of an .nfo are not ASCII."""
    return not _has_control(data)


def _has_control(sample: bytes) -> bool:
    return len(sample.translate(None, _CONTROL)) != len(sample)
