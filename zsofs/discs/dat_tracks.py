"""Comparison of the tracks of a CD with those of the games in a DAT."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from zsofs.discs.dat import Dat, Rom
from zsofs.images.checksums import Digests

_NUMBER = re.compile(r"\(Track (\d{1,3})\)", re.IGNORECASE)
"""As Redump numbers the files of a CD with several tracks."""


@dataclass(frozen=True, slots=True)
class DiscTrack:
    """One track of a CD that was read completely.

    Attributes:
        begin: where it begins in the image, in bytes.
        size: in bytes.
        digests: of it.
    """

    begin: int
    size: int
    digests: Digests


@dataclass(frozen=True, slots=True)
class TrackMatch:
    """What the tracks of a CD and of a game in a DAT have in common.

    Attributes:
        game: name of the game.
        matching: for each track of the CD, whether the game has it.
        count: tracks of the game.
        is_whole: whether all tracks are those of the game, in its order.
        bad_dump: whether the DAT marks one of them as a bad dump.
        weak: whether some matched only by CRC-32.
    """

    game: str
    matching: tuple[bool, ...]
    count: int
    is_whole: bool
    bad_dump: bool
    weak: bool


def best_match(dat: Dat, tracks: Sequence[DiscTrack], stem: str) -> TrackMatch | None:
    """Return the game with most tracks of a CD; None if no game has any of them.

    Args:
        dat: the DAT.
        tracks: of the CD.
        stem: name of the image, by which equal games are told apart.
    """
    found = [dat.matches(track.size, track.digests) for track in tracks]
    games = dict.fromkeys(rom.game for roms in found for rom in roms if rom.game in dat.tracks)
    matches = [_compared(game, found, in_order(dat.tracks[game])) for game in games]
    own = stem.casefold()
    return max(
        matches,
        key=lambda one: (one.is_whole, sum(one.matching), one.game.casefold() == own),
        default=None,
    )


def in_order(roms: Sequence[Rom]) -> list[Rom]:
    """Return the tracks of a game by their numbers; as in the DAT if they have none."""
    numbers = [_NUMBER.search(rom.name) for rom in roms]
    if not all(numbers):
        return list(roms)
    return sorted(roms, key=lambda rom: int(_NUMBER.findall(rom.name)[0]))


def _compared(game: str, found: Sequence[Sequence[Rom]], roms: Sequence[Rom]) -> TrackMatch:
    """Compare a game with the files of a DAT that each track of a CD is identical to."""
    own = [[rom for rom in some if rom.game == game and rom in roms] for some in found]
    matching = tuple(map(bool, own))
    is_whole = len(own) == len(roms) and all(
        rom in some for rom, some in zip(roms, own, strict=True)
    )
    used = [some[0] for some in own if some]
    return TrackMatch(
        game,
        matching,
        len(roms),
        is_whole,
        any(rom.bad_dump for rom in used),
        any(not (rom.digests.sha1 or rom.digests.md5) for rom in used),
    )
