"""Identification of a plain disc image: console, ID and title of the game, CD or DVD.

It takes a few short reads. The image may be hostile.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from zsofs.discs.iso9660 import DESCRIPTORS, PRIMARY, SECTOR, Image, find, root_of

_UDF_MARKS = frozenset((b"NSR02", b"NSR03"))
_XA_MARK = b"CD-XA001"

_CD_SECTORS = 80 * 60 * 75
"""Sectors of an 80-minute CD, at 75 per second: the longest on which games were pressed. CDs of
90 and 99 minutes are outside the standard."""

_DIRECTORY_SECTORS = 64
"""Sectors of a directory that are searched: about 2,000 names, read at once."""

_MAX_CONFIGURATION = 2048
"""Bytes of SYSTEM.CNF that are read; those of games have about 60."""

_MAX_PARAMETERS = 16384
"""Bytes of PARAM.SFO that are read; those of games have less than 5,000."""

_MAX_TITLE = 512
"""Bytes of a title; the console's own limit is 128."""

_BOOT_LINE = re.compile(r"\s*(BOOT2?)\s*=([^;]*)", re.IGNORECASE)
_BOOT_FILE = re.compile(r"[A-Z]{4}_\d{3}\.\d{2}", re.ASCII)
_PSP_ID = re.compile(r"([A-Z]{4})-?(\d{5})(?!\d)", re.ASCII)
_PARAMETER = struct.Struct("<HHIII")


class Media(Enum):
    """The physical kind of the disc."""

    CD = "CD"
    DVD = "DVD"
    UMD = "UMD"


class System(Enum):
    """The console that a disc is for."""

    PS2 = "PS2"
    PS1 = "PS1"
    PSP = "PSP"
    OTHER = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of a disc. Texts are one line each, and empty if unknown.

    Attributes:
        system: the console.
        game_id: ``SLUS_209.63`` for PS1 and PS2, from the name of the boot program; ``ULUS-10041``
            for PSP; empty for homebrew.
        title: title stored on a PSP disc; PS1 and PS2 discs have none.
        label: volume label.
        media: CD, DVD or UMD.
    """

    system: System
    game_id: str
    title: str
    label: str
    media: Media


def identify(read: Callable[[int, int], bytes], size: int, *, raw_cd: bool = False) -> Identity:
    """Identify a disc with at most six reads of at most 147 KiB.

    The media is CD for raw sectors. Otherwise it is DVD if the volume has a UDF descriptor
    (``NSR02`` or ``NSR03``), as pressed PS2 DVDs do; else CD if the primary volume descriptor has
    the CD-ROM XA mark (``CD-XA001``), as PS2 CDs do; else it is determined by size: an image larger
    than an 80-minute CD is a DVD. A PSP disc is a UMD.

    Args:
        read: returns the bytes of the image at an offset, ``read(offset, size)``; fewer at its end.
        size: size of the image in bytes.
        raw_cd: whether the image has raw CD sectors of 2352 bytes.

    Raises:
        Exception: whatever *read* raises. No content of the image raises an exception.
    """
    image = Image(read, size, raw_cd)
    area = image.sectors(DESCRIPTORS, DESCRIPTORS)
    descriptors = [area[at : at + SECTOR] for at in range(0, len(area), SECTOR)]
    primary = next((one for one in descriptors if one.startswith(PRIMARY)), b"")
    media = _media(descriptors, primary, image)
    if len(primary) < SECTOR:
        return Identity(System.OTHER, "", "", "", media)
    label = _text(primary[40:72])
    root = image.directory(root_of(primary), _DIRECTORY_SECTORS * SECTOR)
    system, game_id = _playstation(image, root)
    title = ""
    if system is System.OTHER:
        system, game_id, title = _portable(image, root)
    if system is System.PSP and not raw_cd:
        media = Media.UMD
    return Identity(system, game_id, title, label, media)


def _media(descriptors: list[bytes], primary: bytes, image: Image) -> Media:
    if image.raw_cd:
        return Media.CD
    if any(one[1:6] in _UDF_MARKS for one in descriptors):
        return Media.DVD
    if primary[1024:1032] == _XA_MARK or image.size <= _CD_SECTORS * SECTOR:
        return Media.CD
    return Media.DVD


def _playstation(image: Image, root: bytes) -> tuple[System, str]:
    r"""Return system and ID from SYSTEM.CNF.

    It has ``BOOT2 = cdrom0:\SLUS_209.63;1`` on PS2, ``BOOT = …`` on PS1.
    """
    place = find(root, b"SYSTEM.CNF", folder=False)
    if place is None:
        return System.OTHER, ""
    text = image.content(place, _MAX_CONFIGURATION).decode("ascii", "replace")
    boot: dict[str, str] = {}
    for line in text.replace("\r", "\n").split("\n"):
        said = _BOOT_LINE.match(line)
        if said is not None:
            boot.setdefault(said[1].upper(), said[2])
    for word, system in (("BOOT2", System.PS2), ("BOOT", System.PS1)):
        if word in boot:
            words = re.split(r"[\\/:]", boot[word])[-1].upper().split()
            return system, words[0] if words and _BOOT_FILE.fullmatch(words[0]) else ""
    return System.OTHER, ""


def _portable(image: Image, root: bytes) -> tuple[System, str, str]:
    """Return system, ID and title from UMD_DATA.BIN and PSP_GAME/PARAM.SFO."""
    disc = find(root, b"UMD_DATA.BIN", folder=False)
    folder = find(root, b"PSP_GAME", folder=True)
    parameters: dict[bytes, str] = {}
    if folder is not None:
        records = image.directory(folder, _DIRECTORY_SECTORS * SECTOR)
        place = find(records, b"PARAM.SFO", folder=False)
        if place is not None:
            parameters = _parameters(image.content(place, _MAX_PARAMETERS))
    if disc is None and not parameters:
        return System.OTHER, "", ""
    written = image.content(disc, 16).decode("ascii", "replace") if disc is not None else ""
    for one in (written, parameters.get(b"DISC_ID", "")):
        found = _PSP_ID.match(one.upper())
        if found is not None:
            return System.PSP, f"{found[1]}-{found[2]}", parameters.get(b"TITLE", "")
    return System.PSP, "", parameters.get(b"TITLE", "")


def _parameters(data: bytes) -> dict[bytes, str]:
    """Return the relevant texts of a PARAM.SFO by name; empty if it is invalid."""
    found: dict[bytes, str] = {}
    if len(data) < 20 or not data.startswith(b"\0PSF"):
        return found
    names, values, count = struct.unpack_from("<3I", data, 8)
    for at in range(20, min(20 + _PARAMETER.size * count, len(data) - 15), _PARAMETER.size):
        name_at, _kind, length, _room, value_at = _PARAMETER.unpack_from(data, at)
        name = data[names + name_at : names + name_at + 16].split(b"\0")[0]
        if name in (b"DISC_ID", b"TITLE"):
            begin = values + value_at
            found[name] = _text(data[begin : begin + min(length, _MAX_TITLE)])
    return found


def _text(data: bytes) -> str:
    """Return a text as one line, up to a zero byte; invalid bytes become U+FFFD."""
    text = data.split(b"\0")[0].decode("utf-8", "replace")
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
