"""Where the tracks of a CD lie in its image, and CDs of several files."""

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from zsofs.discs.dat import Dat
from zsofs.discs.dat_tracks import DiscTrack, in_order
from zsofs.images.checksums import Digests, Part
from zsofs.images.input_image import Original
from zsofs.inspection.verdict import VerifiedImage


def parts_of(image: Original, dats: Sequence[Dat]) -> tuple[Part, ...]:
    """Return where the tracks of a CD begin and end in its image; empty if that is not known.

    The tracks are those of a CHD or a cue sheet. Otherwise, a raw image with as many bytes as all
    tracks of a game in a DAT is divided like that game.

    Args:
        image: a CD as a ``.bin``, or any other image.
        dats: the DATs to compare with.
    """
    if image.view is not None:
        return _divided([piece.size for piece in image.view.pieces])
    if image.tracks:
        return tuple((piece.begin, piece.begin + piece.size) for piece in image.pieces)
    if not image.raw_cd:
        return ()
    own = os.path.splitext(os.path.basename(image.path))[0].casefold()
    games = [(dat, game) for dat in dats for game in dat.cds_of_tracks(image.size)]
    if not games:
        return ()
    dat, game = min(games, key=lambda one: one[1].casefold() != own)
    return _divided([track.size or 0 for track in in_order(dat.tracks[game])])


def _divided(sizes: Sequence[int]) -> tuple[Part, ...]:
    return tuple(pairwise(accumulate(sizes, initial=0)))


def tracks_of(whole: VerifiedImage, parts: tuple[Part, ...]) -> tuple[DiscTrack, ...] | None:
    """Return the tracks of an image that was read; None if their checksums are not known.

    Args:
        whole: the image.
        parts: where its tracks lie.
    """
    if not parts or parts == ((0, whole.size),):
        return tuple(DiscTrack(begin, end, whole.digests) for begin, end in parts)
    found = tuple((one.begin, one.begin + one.size) for one in whole.tracks)
    return whole.tracks if found == parts else None


def set_of(wholes: Sequence[VerifiedImage]) -> VerifiedImage:
    """Return the disc that several files of a cue sheet are, with all their tracks."""
    return replace(
        wholes[0],
        size=sum(whole.size for whole in wholes),
        digests=Digests(),
        remarks=(),
        cut=next((whole.cut for whole in wholes if whole.cut), ""),
        tracks=tuple(track for whole in wholes for track in whole.tracks),
    )
