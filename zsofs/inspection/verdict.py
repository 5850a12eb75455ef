"""Verdict on a whole image by its checksums: in a DAT, not in a DAT, or not comparable."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zsofs.discs.dat import Dat
from zsofs.discs.dat_tracks import DiscTrack, TrackMatch, best_match
from zsofs.discs.identify import Media, System
from zsofs.images.checksums import Digests

_MOST_NAMED = 3
"""Maximum number of games named in a sentence."""

_MOST_TRACKS = 10
"""Maximum number of tracks named in a sentence."""

_ODD_END = 32 << 10
"""Bytes by which programs shorten or extend images: some read 16 sectors at a time."""


@dataclass(frozen=True, slots=True)
class VerifiedImage:
    """An image that was read completely.

    Attributes:
        size: in bytes.
        digests: digests of the image.
        sealed: whether it matches the seal of its container.
        packed: whether it is in a container.
        raw_cd: whether it has raw CD sectors of 2352 bytes.
        system: the console.
        media: the kind of disc.
        remarks: irregularities, for the user.
        cut: what is missing, if the image is shorter than its own descriptors specify.
        tracks: of a CD; empty for any other image, and if nothing tells where they lie.
    """

    size: int
    digests: Digests
    sealed: bool
    packed: bool
    raw_cd: bool
    system: System
    media: Media
    remarks: tuple[str, ...] = ()
    cut: str = ""
    tracks: tuple[DiscTrack, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict on a file.

    Attributes:
        state: ``verified``, ``sealed``, ``whole``, ``unknown``, ``not comparable``, ``sound``,
            ``bad`` or ``unreadable``.
        reason: a sentence, without a full stop.
        game: the matching entry of the DAT.
        dat: the name of that DAT.
        matching: for each track of a CD, whether the DAT has it; empty if it was not compared.
    """

    state: str
    reason: str
    game: str = ""
    dat: str = ""
    matching: tuple[bool, ...] = ()


def judge(whole: VerifiedImage, dats: Sequence[Dat], stem: str) -> Verdict:
    """Return the verdict on a whole image.

    Args:
        whole: the image.
        dats: the DATs to compare with.
        stem: the file name without extension, which may be the name of a game.
    """
    every = ((dat, best_match(dat, whole.tracks, stem)) for dat in dats)
    matches = [(dat, match) for dat, match in every if match is not None]
    verified = _verified(whole, dats, matches)
    if verified is not None:
        return verified
    own = _without_dat(whole)
    # The descriptors are in the first track: if a DAT has that as it is, nothing is missing.
    if not dats or (whole.cut and not any(match.matching[0] for _, match in matches)):
        return own
    if matches:
        return _some_tracks(own, *matches[0])
    for dat in dats:
        reason = _why_not_comparable(whole, dat)
        if reason:
            return Verdict("not comparable", reason)
    reason = "not in any DAT"
    sizes = _sizes_of(whole, dats, stem)
    if sizes:
        reason += f": the entry of the same name has {_otherwise(whole.size, sizes)}"
    elif whole.sealed:
        reason += "; it is identical to the packed image"
    return replace(own, state="unknown", reason=reason)


_Matches = Sequence[tuple[Dat, TrackMatch]]


def _verified(whole: VerifiedImage, dats: Sequence[Dat], matches: _Matches) -> Verdict | None:
    """Return the verdict on an image that is in a DAT; None if it is not."""
    for dat, match in matches:
        if match.is_whole:
            return _verified_tracks(dat, match)
    for dat in dats:
        found = dat.matches(whole.size, whole.digests)
        if whole.tracks:  # one track of a CD is not the CD
            found = [rom for rom in found if len(dat.tracks.get(rom.game, ())) < 2]
        if found:
            games = list(dict.fromkeys(rom.game for rom in found))
            weak = not (found[0].digests.sha1 or found[0].digests.md5)
            reason = f"{_quoted(games)} of {dat.name}{_doubts(found[0].bad_dump, weak)}"
            return Verdict("verified", reason, games[0], dat.name)
    return None


def _verified_tracks(dat: Dat, match: TrackMatch) -> Verdict:
    """Return the verdict on a CD whose tracks are all those of a game."""
    every = f", all {match.count} tracks" if match.count > 1 else ""
    reason = f"“{match.game}” of {dat.name}{every}{_doubts(match.bad_dump, match.weak)}"
    return Verdict("verified", reason, match.game, dat.name, match.matching)


def _some_tracks(own: Verdict, dat: Dat, match: TrackMatch) -> Verdict:
    """Return the verdict on a CD of which a game has some tracks."""
    count, some = len(match.matching), sum(match.matching)
    others = [number for number, is_in in enumerate(match.matching, 1) if not is_in]
    if others:
        reason = f"{some} of {count} tracks are those of “{match.game}” of {dat.name}"
        reason += f"; other tracks: {_listed(others)}"
    else:
        which = f"all {count} tracks are those" if count > 1 else "its only track is one"
        reason = f"{which} of “{match.game}” of {dat.name}"
        if match.count == count:
            reason += ", but in another order"
    if match.count != count:
        reason += f"; the DAT has {match.count} tracks"
    return replace(own, state="unknown", reason=reason, matching=match.matching)


def _listed(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - _MOST_TRACKS} more" if len(numbers) > _MOST_TRACKS else ""
    return ", ".join(map(str, numbers[:_MOST_TRACKS])) + more


def _doubts(bad_dump: bool, weak: bool) -> str:
    """Return what weakens the match with a DAT."""
    text = ", which marks it as a bad dump" if bad_dump else ""
    return text + (", matched only by CRC-32" if weak else "")


def _sizes_of(whole: VerifiedImage, dats: Sequence[Dat], stem: str) -> set[int]:
    """Return the sizes that DATs give for an image of this name."""
    if whole.tracks:
        return set[int]().union(*(dat.cd_sizes_of(stem) for dat in dats))
    return set[int]().union(*(dat.sizes_of(stem) for dat in dats))


def _otherwise(size: int, sizes: set[int]) -> str:
    """Return how an image differs from the DAT entry of the same name, which has these sizes."""
    nearest = min(sizes, key=lambda other: abs(other - size))
    if 0 < nearest - size <= _ODD_END:
        return f"{nearest - size} more bytes, so the end may be missing"
    if 0 < size - nearest <= _ODD_END:
        return f"{size - nearest} fewer bytes, so the end may be padded"
    return "different checksums, so this file may be damaged"


def _without_dat(whole: VerifiedImage) -> Verdict:
    if whole.cut:
        how = "; it was already incomplete when it was packed" if whole.sealed else ""
        return Verdict("bad", whole.cut + how)
    if whole.sealed:
        return Verdict("sealed", "it is identical to the packed image")
    if whole.packed:
        return Verdict(
            "whole", "every block can be decoded; there are no checksums to compare with"
        )
    return Verdict("whole", "it can be read to its end; there are no checksums to compare with")


def _why_not_comparable(whole: VerifiedImage, dat: Dat) -> str:
    """Return why a CD cannot be in a DAT of CDs in this form; empty if it can."""
    games = _cds_of_its_size(whole, dat)
    if _has_sectors_of_dats(whole):
        return ""
    if not games and not (_is_playstation_cd(whole) and dat.tracks):
        return ""
    reason = "a CD with sectors of 2048 bytes, while the DAT lists raw sectors of 2352 bytes (.bin)"
    return reason + (f"; according to its size it may be {_quoted(games)}" if games else "")


def _cds_of_its_size(whole: VerifiedImage, dat: Dat) -> list[str]:
    """Return the CDs in a DAT with as many sectors as an image that may be a CD."""
    if _has_sectors_of_dats(whole):
        return dat.cds_of_tracks(whole.size)
    if _is_playstation_cd(whole) or whole.system is System.OTHER:
        return dat.cds_as_long(whole.size)
    return []


def _has_sectors_of_dats(whole: VerifiedImage) -> bool:
    """Return whether an image is a CD as DATs have it; a CHD made of an ``.iso`` has one track."""
    return whole.raw_cd or len(whole.tracks) > 1


def _is_playstation_cd(whole: VerifiedImage) -> bool:
    return whole.media is Media.CD and whole.system in (System.PS1, System.PS2)


def _quoted(games: list[str]) -> str:
    more = f" or {len(games) - _MOST_NAMED} more" if len(games) > _MOST_NAMED else ""
    return " or ".join(f"“{game}”" for game in games[:_MOST_NAMED]) + more
