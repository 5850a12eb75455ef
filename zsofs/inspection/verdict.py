"""Verdict on a whole image by its checksums: in a DAT, not in a DAT, or not comparable."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zsofs.discs.dat import Dat
from zsofs.discs.identify import Media, System
from zsofs.images.checksums import Digests

_MOST_NAMED = 3
"""Maximum number of games named in a sentence."""


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict on a file.

    Attributes:
        state: ``verified``, ``sealed``, ``whole``, ``unknown``, ``not comparable``, ``sound``,
            ``bad`` or ``unreadable``.
        reason: a sentence, without a full stop.
        game: the matching entry of the DAT.
        dat: the name of that DAT.
    """

    state: str
    reason: str
    game: str = ""
    dat: str = ""


def judge(whole: VerifiedImage, dats: Sequence[Dat], stem: str) -> Verdict:
    """Return the verdict on a whole image.

    Args:
        whole: the image.
        dats: the DATs to compare with.
        stem: the file name without extension, which may be the name of a game.
    """
    for dat in dats:
        found = dat.matches(whole.size, whole.digests)
        if found:
            games = list(dict.fromkeys(rom.game for rom in found))
            reason = f"{_quoted(games)} of {dat.name}"
            if found[0].bad_dump:
                reason += ", which marks it as a bad dump"
            if not (found[0].digests.sha1 or found[0].digests.md5):
                reason += ", matched only by CRC-32"
            return Verdict("verified", reason, games[0], dat.name)
    own = _without_dat(whole)
    if not dats or (whole.cut and not any(_cds_of_its_size(whole, dat) for dat in dats)):
        return own
    for dat in dats:
        reason = _why_not_comparable(whole, dat)
        if reason:
            return Verdict("not comparable", reason)
    reason = "not in any DAT"
    sizes = set[int]().union(*(dat.sizes_of(stem) for dat in dats))
    if sizes:
        reason += f": the entry of the same name has {_otherwise(whole.size, sizes)}"
    elif whole.sealed:
        reason += "; it is identical to the packed image"
    return replace(own, state="unknown", reason=reason)


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
    if whole.raw_cd:
        if games:
            return (
                "all tracks of a CD in one image, while the DAT lists each track separately;"
                f" according to its size it may be {_quoted(games)}"
            )
        return ""
    if not games and not (_is_playstation_cd(whole) and dat.tracks):
        return ""
    reason = "a CD with sectors of 2048 bytes, while the DAT lists raw sectors of 2352 bytes (.bin)"
    return reason + (f"; according to its size it may be {_quoted(games)}" if games else "")


def _cds_of_its_size(whole: VerifiedImage, dat: Dat) -> list[str]:
    """Return the CDs in a DAT with as many sectors as an image that may be a CD."""
    if whole.raw_cd:
        return dat.cds_of_tracks(whole.size)
    if _is_playstation_cd(whole) or whole.system is System.OTHER:
        return dat.cds_as_long(whole.size)
    return []


def _is_playstation_cd(whole: VerifiedImage) -> bool:
    return whole.media is Media.CD and whole.system in (System.PS1, System.PS2)


def _quoted(games: list[str]) -> str:
    more = f" or {len(games) - _MOST_NAMED} more" if len(games) > _MOST_NAMED else ""
    return " or ".join(f"“{game}”" for game in games[:_MOST_NAMED]) + more
