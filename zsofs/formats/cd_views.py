"""Views of a CD: which stored bytes the bytes of a ``.bin`` or ``.iso`` are, as pure arithmetic.

What is stored is a stream of units: the 2448-byte frames of a CHD, or the sectors of a ``.bin``. A
view joins the same part of each unit, and of one or more tracks.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from zsofs.errors import DamagedError
from zsofs.formats.cd_tracks import Track, TrackType

CHD_FRAME = 2448
"""Bytes of a unit of a CD in a CHD: a sector of 2352 bytes and 96 bytes of subcode."""

USER_DATA = 2048
"""Bytes of user data in a sector of a data track."""

_PADDED_TO = 4
"""Each track is padded to a multiple of so many frames in a CHD, and nowhere else."""


class ViewSpan(NamedTuple):
    """A run of stored units, and the bytes of them that a range of a view consists of.

    The parts of the units, joined, are a stream; the range is ``length`` bytes of it from ``head``
    on. These are the arguments of :func:`zsofs.native.cd_codecs.gather`.

    Attributes:
        begin: where the first unit begins in what is stored, in bytes.
        unit_count: number of units.
        unit: bytes of a unit.
        skip: where the part begins in a unit.
        width: bytes of the part.
        swapped: whether the two bytes of each sample are swapped.
        head: bytes of the first part in front of the range.
        length: bytes of the range.
    """

    begin: int
    unit_count: int
    unit: int
    skip: int
    width: int
    swapped: bool
    head: int
    length: int

    @property
    def end(self) -> int:
        """Where the part of the last unit ends in what is stored, in bytes."""
        return self.begin + (self.unit_count - 1) * self.unit + self.skip + self.width


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of units that a view takes the same part of; attributes as of :class:`ViewSpan`."""

    begin: int
    unit_count: int
    unit: int
    skip: int
    width: int
    swapped: bool = False

    @property
    def size(self) -> int:
        """Bytes of the view that it gives."""
        return self.unit_count * self.width

    def span(self, offset: int, length: int) -> ViewSpan:
        """Return the units of a range that lies in this piece and is not empty."""
        first, head = divmod(offset, self.width)
        count = (offset + length - 1) // self.width + 1 - first
        begin = self.begin + first * self.unit
        return ViewSpan(begin, count, self.unit, self.skip, self.width, self.swapped, head, length)


class CdView:
    """The bytes of one shown file, as pieces of what is stored.

    Args:
        pieces: in the order of the view.

    Attributes:
        size: bytes of the view.
        end: where the last byte of it is stored, plus one.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = tuple(piece for piece in pieces if piece.size)
        self._ends = tuple(accumulate(piece.size for piece in self._pieces))
        self.size = self._ends[-1] if self._ends else 0
        self.end = max((piece.span(0, piece.size).end for piece in self._pieces), default=0)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The pieces, without empty ones."""
        return self._pieces

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CdView) and self._pieces == other._pieces

    def __hash__(self) -> int:
        return hash(self._pieces)

    def __repr__(self) -> str:
        return f"CdView({self._pieces})"

    def spans(self, offset: int, length: int) -> tuple[ViewSpan, ...]:
        """Return where a range of the view is stored; what lies behind its end is left out.

        Args:
            offset: in the view, in bytes.
            length: in bytes.
        """
        end = min(offset + length, self.size)
        found = []
        number = bisect_right(self._ends, offset)
        while offset < end:
            piece, piece_end = self._pieces[number], self._ends[number]
            until = min(end, piece_end)
            found.append(piece.span(offset - (piece_end - piece.size), until - offset))
            offset = until
            number += 1
        return tuple(found)


def chd_begins(tracks: Sequence[Track], unit_count: int) -> tuple[int, ...]:
    """Return the number of the unit that each track begins with in a CHD.

    Args:
        tracks: of the disc, by number.
        unit_count: units that the CHD has.

    Raises:
        DamagedError: the tracks are longer than the CHD.
    """
    begins = []
    at = 0
    for track in tracks:
        begins.append(at)
        if at + track.frames > unit_count:
            raise DamagedError(
                f"track {track.number} of the CHD ends at frame {at + track.frames}, but the CHD"
                f" has {unit_count} frames"
            )
        at += -(-track.frames // _PADDED_TO) * _PADDED_TO
    return tuple(begins)


def chd_pieces(tracks: Sequence[Track], unit_count: int) -> tuple[Piece, ...]:
    """Return each track as it is in a ``.bin``, whose audio is little endian, as pieces of a CHD.

    Arguments and exceptions as of :func:`chd_begins`.
    """
    return tuple(
        Piece(begin * CHD_FRAME, track.frames, CHD_FRAME, 0, size, track.type is TrackType.AUDIO)
        for track, begin in zip(tracks, chd_begins(tracks, unit_count), strict=True)
        for size in (track.type.sector_size,)
    )


def bin_pieces(tracks: Sequence[Track], begins: Sequence[int]) -> tuple[Piece, ...]:
    """Return each track as pieces of one ``.bin``.

    Args:
        tracks: of the disc.
        begins: where each begins in the file, in bytes.
    """
    return tuple(
        Piece(begin, track.frames, size, 0, size)
        for track, begin in zip(tracks, begins, strict=True)
        for size in (track.type.sector_size,)
    )


def bin_view(pieces: Sequence[Piece]) -> CdView:
    """Return all tracks as one ``.bin``."""
    return CdView(pieces)


def track_view(pieces: Sequence[Piece], number: int) -> CdView:
    """Return the ``.bin`` of the track *number*."""
    return CdView(pieces[number - 1 : number])


def user_data_view(track: Track, piece: Piece) -> CdView | None:
    """Return the 2048 bytes of user data of each sector of a track, from its INDEX 01 on.

    Returns:
        The view; None if the sectors have no 2048 bytes of user data.
    """
    user_data = track.type.user_data
    if user_data is None:
        return None
    before = track.stored_pregap
    begin = piece.begin + before * piece.unit
    return CdView([Piece(begin, piece.unit_count - before, piece.unit, user_data, USER_DATA)])
