"""The CD that the inspection of a source file finds in it, and the files that it becomes."""

import json
from dataclasses import dataclass

from zsofs.discs.cd_forms import CdForm, can_be_iso, files_of
from zsofs.formats.cd_tracks import MAX_TRACKS, Track, TrackType
from zsofs.formats.cd_views import (
    CHD_FRAME,
    USER_DATA,
    CdView,
    Piece,
    bin_pieces,
    chd_pieces,
)
from zsofs.formats.geometry import MAX_IMAGE_SIZE
from zsofs.source.shown_part import ShownPart, ShownText, ShownView

_TYPES = {kind.chd_name: kind for kind in TrackType}


@dataclass(frozen=True, slots=True)
class CdFinding:
    """The CD in a CHD, or in a file or container of raw sectors.

    Attributes:
        tracks: of the disc; of raw sectors the first track alone is known.
        form: in which it is shown by default; raw sectors are then shown as they are.
        in_chd: whether it is stored in the frames of a CHD.
    """

    tracks: tuple[Track, ...]
    form: CdForm
    in_chd: bool

    @property
    def has_iso(self) -> bool:
        """Whether it can be shown as an ``.iso``."""
        return can_be_iso(self.tracks)

    @property
    def has_image(self) -> bool:
        """Whether an image of its first track alone has to be that of a whole disc."""
        return self.form is CdForm.ISO or not self.in_chd

    def endings(self, form: CdForm) -> tuple[bytes, ...]:
        """Return how the names of its files end in a form, behind the name of the disc."""
        if form is CdForm.ISO:
            return (b".iso",)
        files = files_of(form, b"", self.tracks, self._pieces)
        return tuple(file.name for file in files)

    def parts(self, form: CdForm, stem: bytes) -> tuple[ShownPart | None, ...]:
        """Return what its files show in a form, in the order of :meth:`endings`.

        Args:
            form: ISO only if :attr:`has_iso` is true.
            stem: name of the disc, which its cue sheet has.

        Returns:
            Parts of the source file; None for the whole image in its container.
        """
        if form is CdForm.ISO and self.in_chd:
            return (self._rest_of_image(),)
        files = files_of(form, stem, self.tracks, self._pieces)
        return tuple(
            ShownView(file.content, self.tracks, self.in_chd)
            if isinstance(file.content, CdView)
            else ShownText(file.content)
            for file in files
        )

    @property
    def _pieces(self) -> tuple[Piece, ...]:
        if self.in_chd:
            return chd_pieces(self.tracks, MAX_IMAGE_SIZE)  # compared with the file when it opens
        return bin_pieces(self.tracks, (0,) * len(self.tracks))

    def _rest_of_image(self) -> ShownView | None:
        """Return the part of a CHD's image from INDEX 01 on; None if that is all of it."""
        before, frames = self.tracks[0].stored_pregap, self.tracks[0].frames
        if not before:
            return None
        piece = Piece(before * USER_DATA, frames - before, USER_DATA, 0, USER_DATA)
        return ShownView(CdView([piece]), self.tracks)

    def to_text(self) -> str:
        """Return it as text for the scan cache."""
        tracks = [
            [
                track.number,
                track.type.chd_name,
                track.frames,
                track.pregap,
                track.has_stored_pregap,
                track.postgap,
                track.subtype,
            ]
            for track in self.tracks
        ]
        return json.dumps([self.form.value, self.in_chd, tracks], separators=(",", ":"))

    @staticmethod
    def from_text(text: str) -> "CdFinding":
        """Return what :meth:`to_text` was called for.

        Raises:
            ValueError: the text is of no CD.
            TypeError: a value in it has another type.
        """
        form, in_chd, rows = json.loads(text)
        tracks = tuple(_track(*row) for row in rows)
        if not 0 < len(tracks) <= MAX_TRACKS:
            raise ValueError  # no tracks, or too many
        if in_chd and sum(track.frames for track in tracks) > MAX_IMAGE_SIZE // CHD_FRAME:
            raise ValueError  # longer than any CHD
        return CdFinding(tracks, CdForm(form), bool(in_chd))


def _track(
    number: object,
    kind: object,
    frames: object,
    pregap: object,
    has_stored_pregap: object,
    postgap: object,
    subtype: object,
) -> Track:
    lengths = frames, pregap, postgap, number
    if not isinstance(kind, str) or kind not in _TYPES or not isinstance(subtype, str):
        raise ValueError  # unknown type of track
    checked = [length for length in lengths if isinstance(length, int)]
    if len(checked) < len(lengths) or not all(0 <= length < 1 << 40 for length in checked):
        raise ValueError  # no lengths of a track
    stored, before, after, own_number = checked
    track = Track(own_number, _TYPES[kind], stored, before, bool(has_stored_pregap), after, subtype)
    if track.stored_pregap > stored:
        raise ValueError  # a track that is shorter than its pregap
    return track
