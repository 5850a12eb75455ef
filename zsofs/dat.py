"""What discs there are, by the bytes of their images: the DATs of Redump and No-Intro."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from xml.etree.ElementTree import Element

from zsofs.digests import Digests
from zsofs.errors import UsageError
from zsofs.iso9660 import RAW_SECTOR, SECTOR
from zsofs.logiqx import GAMES, NotXmlError, elements
from zsofs.names import for_people

_MAX_SIZE = 1 << 30
"""The largest DAT taken, in bytes; the largest of one console have some tens of MB."""

_TRACK = ".bin"
_ARCHIVE = b"PK\3\4"


@dataclass(frozen=True, slots=True)
class Rom:
    """One file of a game.

    Attributes:
        game: the game, as in ``Okami (USA)``.
        name: of the file.
        size: in bytes.
        digests: those that the DAT has of it.
        bad_dump: the DAT itself calls it a bad one.
    """

    game: str
    name: str
    size: int
    digests: Digests
    bad_dump: bool = False


@dataclass(slots=True)
class Dat:
    """The files of one DAT.

    Attributes:
        name: as it calls itself.
        games: how many games it has.
        roms: by their size.
        tracks: of the games that are CDs, by their name.
        sizes: of the files, by the names of games and files, without endings and capitals.
    """

    name: str
    games: int = 0
    roms: dict[int, list[Rom]] = field(default_factory=lambda: defaultdict(list))
    tracks: dict[str, list[Rom]] = field(default_factory=dict)
    sizes: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def matches(self, size: int, digests: Digests) -> list[Rom]:
        """The files that have this size, and of which the best checksum that is known is this."""
        return [rom for rom in self.roms.get(size, ()) if _is_same(rom.digests, digests)]

    def sizes_of(self, stem: str) -> set[int]:
        """The sizes of what is called so, a game or a file of one; case does not count."""
        return self.sizes.get(stem.casefold(), set())

    def cds_as_long(self, size: int) -> list[str]:
        """The CDs of one track with as many sectors as *size* bytes are, at 2048 in each."""
        raw = size // SECTOR * RAW_SECTOR
        return [
            game
            for game, tracks in self.tracks.items()
            if len(tracks) == 1 and tracks[0].size == raw
        ]

    def cds_of_tracks(self, size: int) -> list[str]:
        """The CDs with several tracks that have *size* bytes together."""
        return [
            game
            for game, tracks in self.tracks.items()
            if len(tracks) > 1 and sum(track.size for track in tracks) == size
        ]


def load(path: Path) -> Dat:
    """Read a DAT in XML.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    where = for_people(os.fsencode(path))
    try:
        with path.open("rb") as file:
            return _load(file, where)
    except OSError as error:
        raise UsageError(f"the DAT {where} cannot be read: {error.strerror}") from None
    except NotXmlError as error:
        raise UsageError(
            f"{where}, line {error.line}: expected the XML of a DAT, found {error}"
        ) from None


def _load(file: BinaryIO, where: str) -> Dat:
    if os.fstat(file.fileno()).st_size > _MAX_SIZE:
        raise UsageError(f"{where} has more than {_MAX_SIZE >> 30} GiB, as no DAT has")
    if file.read(len(_ARCHIVE)) == _ARCHIVE:
        raise UsageError(f"{where} is a ZIP archive; unpack it and give the DAT that is in it")
    file.seek(0)
    dat = Dat(where)
    for element in elements(file, GAMES | {"header"}):
        if element.tag == "header":
            dat.name = " ".join((element.findtext("name") or "").split()) or where
            continue
        dat.games += 1
        game = element.get("name", "").strip()
        roms = list(_roms(element, game))
        for rom in roms:
            dat.roms[rom.size].append(rom)
            for name in (game, os.path.splitext(rom.name)[0]):
                dat.sizes[name.casefold()].add(rom.size)
        tracks = [rom for rom in roms if rom.name.lower().endswith(_TRACK)]
        if tracks:
            dat.tracks[game] = tracks
    if not dat.roms:
        raise UsageError(f"{where} is no DAT: there is no game with a file and its checksums in it")
    return dat


def _roms(game: Element, name: str) -> Iterator[Rom]:
    """The files of a game that have a size and a checksum."""
    for rom in game.iter("rom"):
        size = rom.get("size", "")
        digests = Digests(
            _hexadecimal(rom, "crc", 8), _hexadecimal(rom, "md5", 32), _hexadecimal(rom, "sha1", 40)
        )
        if re.fullmatch(r"[0-9]{1,15}", size) and digests != Digests():
            yield Rom(name, rom.get("name", ""), int(size), digests, rom.get("status") == "baddump")


def _hexadecimal(rom: Element, key: str, digits: int) -> str:
    """A checksum as a DAT has it; empty if it has none, or something else."""
    text = rom.get(key, "").strip().lower()
    return text if re.fullmatch(f"[0-9a-f]{{{digits}}}", text) else ""


def _is_same(known: Digests, found: Digests) -> bool:
    if known.sha1:
        return known.sha1 == found.sha1
    if known.md5:
        return known.md5 == found.md5
    return known.crc32 == found.crc32
