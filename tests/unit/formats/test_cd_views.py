"""Where the bytes of a view are stored: every range of small views, against a count by hand."""

import itertools
import random

import pytest

from zsofs.errors import DamagedError
from zsofs.formats.cd_tracks import Track, TrackType
from zsofs.formats.cd_views import (
    CHD_FRAME,
    CdView,
    Piece,
    ViewSpan,
    bin_pieces,
    bin_view,
    chd_begins,
    chd_pieces,
    track_view,
    user_data_view,
)
from zsofs.native.cd_codecs import gather


def slowly(pieces: list[Piece]) -> list[int]:
    """Where each byte of a view is stored, one after the other."""
    places = []
    for piece in pieces:
        for number in range(piece.unit_count):
            for byte in range(piece.width):
                at = byte ^ 1 if piece.swapped else byte
                places.append(piece.begin + number * piece.unit + piece.skip + at)
    return places


def through(view: CdView, offset: int, length: int, stored: bytes) -> bytes:
    """Bytes of a view, joined from its spans as the native code does it."""
    out = bytearray()
    for span in view.spans(offset, length):
        part = bytearray(span.length)
        gather(
            stored[span.begin : span.end],
            unit=span.unit,
            skip=span.skip,
            width=span.width,
            swapped=span.swapped,
            head=span.head,
            out=part,
        )
        out += part
    return bytes(out)


PIECES = [
    [],
    [Piece(0, 0, 4, 0, 4)],
    [Piece(0, 3, 4, 0, 4)],
    [Piece(5, 3, 7, 2, 3)],
    [Piece(2, 3, 6, 1, 4, swapped=True)],
    [Piece(0, 2, 6, 0, 4, swapped=True), Piece(12, 0, 6, 0, 6), Piece(30, 3, 6, 2, 3)],
    [Piece(20, 1, 5, 0, 5), Piece(0, 2, 5, 1, 2), Piece(40, 2, 6, 0, 2, swapped=True)],
]


@pytest.mark.parametrize("pieces", PIECES)
def test_every_range_of_a_small_view(pieces: list[Piece]) -> None:
    stored = random.Random(1).randbytes(64)
    places = slowly(pieces)
    view = CdView(pieces)
    assert view.size == len(places)
    for offset in range(view.size + 3):
        for length in range(view.size + 5):
            wanted = bytes(stored[at] for at in places[offset : offset + length])
            assert through(view, offset, length, stored) == wanted
            spans = view.spans(offset, length)
            assert sum(span.length for span in spans) == len(wanted)
            for span in spans:  # no unit is read that has no byte of the range
                assert 0 <= span.head < span.width
                assert (span.unit_count - 1) * span.width < span.head + span.length
                assert span.head + span.length <= span.unit_count * span.width


TYPES = list(TrackType)


@pytest.mark.parametrize("frames", [*itertools.product((0, 1, 3, 4, 5), repeat=2)])
def test_a_bin_has_the_sectors_of_each_track_without_padding(frames: tuple[int, int]) -> None:
    for kind, other in itertools.product(TYPES, TYPES):
        tracks = [Track(1, kind, frames[0]), Track(2, other, frames[1])]
        second = (frames[0] + 3) // 4 * 4
        units = second + frames[1]
        assert chd_begins(tracks, units) == (0, second)
        stored = random.Random(str((kind, other, frames))).randbytes(units * CHD_FRAME)
        parts = []
        for track, begin in zip(tracks, (0, second), strict=True):
            part = b""
            for frame in range(begin, begin + track.frames):
                sector = stored[frame * CHD_FRAME :][: track.type.sector_size]
                if track.type is TrackType.AUDIO:
                    sector = b"".join(sector[at : at + 2][::-1] for at in range(0, 2352, 2))
                part += sector
            parts.append(part)
        pieces = chd_pieces(tracks, units)
        whole = bin_view(pieces)
        assert whole.size == sum(track.size for track in tracks)
        assert through(whole, 0, whole.size, stored) == b"".join(parts)
        for number, part in enumerate(parts, 1):
            view = track_view(pieces, number)
            assert view.size == len(part)
            assert through(view, 0, view.size, stored) == part


@pytest.mark.parametrize("kind", TYPES)
def test_the_user_data_of_a_track(kind: TrackType) -> None:
    track = Track(1, kind, 7, pregap=2, has_stored_pregap=True)
    stored = random.Random(3).randbytes(7 * CHD_FRAME)
    (piece,) = chd_pieces([track], 7)
    view = user_data_view(track, piece)
    if kind.user_data is None:
        assert view is None
        return
    assert view is not None
    wanted = b"".join(stored[frame * CHD_FRAME + kind.user_data :][:2048] for frame in range(2, 7))
    assert view.size == 5 * 2048 == len(wanted)
    for offset, length in ((0, 10240), (1, 9000), (2047, 2), (4096, 2048), (10239, 5), (10240, 1)):
        assert through(view, offset, length, stored) == wanted[offset : offset + length]


def test_the_user_data_of_a_bin() -> None:
    """Without a pregap, and in a file that has tracks in front of it."""
    track = Track(2, TrackType.MODE2_RAW, 4)
    stored = random.Random(4).randbytes(100 + 4 * 2352)
    (piece,) = bin_pieces([track], [100])
    view = user_data_view(track, piece)
    assert view is not None
    wanted = b"".join(stored[100 + frame * 2352 + 24 :][:2048] for frame in range(4))
    assert through(view, 0, view.size, stored) == wanted


def test_a_dvd_packed_as_a_cd_beyond_32_bits() -> None:
    track = Track(1, TrackType.MODE1, 4_150_000)
    (piece,) = chd_pieces([track], 4_150_000)
    view = user_data_view(track, piece)
    assert view is not None
    assert view.size == 4_150_000 * 2048
    assert view.spans(view.size - 3000, 5000) == (
        ViewSpan(4_149_998 * 2448, 2, 2448, 0, 2048, False, 1096, 3000),
    )


def test_tracks_that_are_longer_than_the_chd() -> None:
    tracks = [Track(1, TrackType.AUDIO, 5), Track(2, TrackType.AUDIO, 3)]
    assert chd_begins(tracks, 11) == (0, 8)
    with pytest.raises(DamagedError) as caught:
        chd_begins(tracks, 10)
    assert str(caught.value) == ("track 2 of the CHD ends at frame 11, but the CHD has 10 frames")
