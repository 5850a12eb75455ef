"""DAT files: known discs with sizes and checksums, such as those of Redump and No-Intro."""

import gc
import hashlib
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from zsofs.console.text import for_people
from zsofs.discs.dat_file import Content, opened
from zsofs.discs.dat_game import HEADER, Game
from zsofs.discs.dat_games import games_of
from zsofs.discs.iso9660 import SECTOR
from zsofs.errors import UsageError, reason
from zsofs.formats.geometry import CD_SECTOR
from zsofs.images.checksums import Digests

log = logging.getLogger(__name__)

_TRACK = ".bin"

_NOTHING = {hashlib.sha1(b"").hexdigest(), hashlib.md5(b"").hexdigest()}
"""Checksums of an empty file, which is no track."""

_SIZE = re.compile(r"\s*[0-9]{1,15}\s*", re.ASCII)
_CRC32, _MD5, _SHA1 = (
    re.compile(rf"\s*(?:0[xX])?([0-9a-fA-F]{{{digits}}})\s*") for digits in (8, 32, 40)
)


@dataclass(frozen=True, slots=True)
class Rom:
    """One file of a game.

    Attributes:
        game: name of the game, such as ``Okami (USA)``.
        name: file name.
        size: size in bytes; None if the DAT does not specify it.
        digests: checksums in the DAT; a CRC-32 only together with a size.
        bad_dump: whether the DAT marks it as a bad dump.
    """

    game: str
    name: str
    size: int | None
    digests: Digests
    bad_dump: bool = False


@dataclass(slots=True)
class Dat:
    """The files of one DAT.

    Attributes:
        name: name of the DAT.
        games: number of games.
        skipped: number of files without a supported checksum.
        roms: files by size; None for those without a size.
        tracks: tracks of CD games, by game name.
        sizes: file sizes, by names of games and files in lower case without extension.
        by_checksum: files by the strongest checksum that the DAT has of them.
    """

    name: str
    games: int = 0
    skipped: int = 0
    roms: dict[int | None, list[Rom]] = field(default_factory=lambda: defaultdict(list))
    tracks: dict[str, list[Rom]] = field(default_factory=dict)
    sizes: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    by_checksum: dict[str, list[Rom]] = field(default_factory=lambda: defaultdict(list))

    def matches(self, size: int, digests: Digests) -> list[Rom]:
        """Return the files whose strongest checksum in the DAT matches.

        A SHA-1 or MD5 suffices, whatever size the DAT specifies; a CRC-32 needs the same size.
        """
        return [
            rom
            for checksum in (digests.sha1, digests.md5, digests.crc32)
            for rom in self.by_checksum.get(checksum, ())
            if checksum == _best(rom.digests) and (len(checksum) > 8 or rom.size == size)
        ]

    def add(self, game: str, roms: list[Rom]) -> None:
        """Add a game with those of its files that have a checksum."""
        self.games += 1
        sizes = {rom.size for rom in roms if rom.size is not None}
        if sizes:
            self.sizes[game.casefold()] |= sizes
        for rom in roms:
            self.roms[rom.size].append(rom)
            self.by_checksum[_best(rom.digests)].append(rom)
            stem = rom.name.rpartition(".")[0] or rom.name
            if rom.size is not None and stem != game:
                self.sizes[stem.casefold()].add(rom.size)
        tracks = [
            rom
            for rom in roms
            if rom.name.lower().endswith(_TRACK) and _best(rom.digests) not in _NOTHING
        ]
        if tracks:
            self.tracks[game] = tracks

    def sizes_of(self, stem: str) -> set[int]:
        """Return the sizes of a game, or of a file, with this name; case is ignored."""
        return self.sizes.get(stem.casefold(), set())

    def cds_as_long(self, size: int) -> list[str]:
        """Return the single-track CDs with as many sectors as *size* has at 2048 bytes each."""
        raw = size // SECTOR * CD_SECTOR
        return [
            game
            for game, tracks in self.tracks.items()
            if len(tracks) == 1 and tracks[0].size == raw
        ]

    def cds_of_tracks(self, size: int) -> list[str]:
        """Return the CDs with several tracks that have *size* bytes in total."""
        return [
            game
            for game, tracks in self.tracks.items()
            if len(tracks) > 1 and sum(track.size or 0 for track in tracks) == size
        ]

    def cd_sizes_of(self, stem: str) -> set[int]:
        """Return the sizes of all tracks of a CD with this name in total; case is ignored."""
        own = stem.casefold()
        return {
            sum(track.size or 0 for track in tracks)
            for game, tracks in self.tracks.items()
            if game.casefold() == own
        }


def load(path: Path) -> Dat:
    """Read a DAT in XML (Logiqx) or text (clrmamepro), optionally in gzip, Zstandard or ZIP.

    Raises:
        UsageError: it cannot be read, or is not a DAT.
    """
    where = for_people(os.fsencode(path))
    try:
        with opened(path, where) as content, _no_collection():
            return _load(content, where)
    except OSError as error:
        raise UsageError(f"the DAT {where} cannot be read: {reason(error)}") from None


@contextmanager
def _no_collection() -> Iterator[None]:
    """Suspend garbage collection: no cycles are created here, and it takes a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _load(content: Content, where: str) -> Dat:
    dat = Dat(where)
    for game in games_of(content):
        if game.kind == HEADER:
            dat.name = game.name or where
            continue
        roms = list(_roms(game))
        dat.skipped += len(game.files) - len(roms)
        dat.add(game.name, roms)
    if not dat.roms:
        raise UsageError(f"{where} is not a DAT: it has no game with a file and its checksums")
    if dat.skipped:
        log.warning(
            "%s: %d of %d files have no SHA-1, no MD5, and no CRC-32 with a size; they are skipped",
            where,
            dat.skipped,
            dat.skipped + sum(map(len, dat.roms.values())),
        )
    return dat


def _roms(game: Game) -> Iterator[Rom]:
    """Yield the files of a game that have a usable checksum."""
    for fields in game.files:
        size = _size(fields.get("size", ""))
        digests = Digests(
            _checksum(_CRC32, fields.get("crc") or fields.get("crc32", "")) if size else "",
            _checksum(_MD5, fields.get("md5", "")),
            _checksum(_SHA1, fields.get("sha1", "")),
        )
        if _best(digests):
            is_bad = "baddump" in (fields.get("status"), fields.get("flags"))
            yield Rom(game.name, fields.get("name", ""), size, digests, is_bad)


def _size(text: str) -> int | None:
    """Return a size in a DAT; None if it is missing or invalid."""
    return int(text) if _SIZE.fullmatch(text) else None


def _checksum(form: re.Pattern[str], text: str) -> str:
    """Return a checksum in a DAT; empty if it is missing or invalid."""
    found = form.fullmatch(text)
    return found[1].lower() if found else ""


def _best(digests: Digests) -> str:
    return digests.sha1 or digests.md5 or digests.crc32
