"""The form in which an open CD is read: the user data of one track, or the bytes of all of them."""

from zsofs.discs.cd_forms import CdForm, default_form, why_no_iso
from zsofs.discs.cue_files import CueSheet, sheet_of
from zsofs.discs.raw_track import track_of_raw_image
from zsofs.errors import BlockError, FormatError, InputError, UnreadableError
from zsofs.formats.cd_tracks import Track
from zsofs.formats.cd_views import bin_view, track_view, user_data_view
from zsofs.formats.cue_sheet import tracks_of_file
from zsofs.formats.geometry import CD_SECTOR
from zsofs.images.input_image import Original
from zsofs.images.view_content import view_reader


def choose_form(image: Original) -> Original:
    """Return a CD in a CHD in the form that a mount shows; any other image as it is.

    It is read as a ``.bin`` where an ``.iso`` would lack some of its data, or if its directories
    cannot be read.
    """
    if not image.is_chd or not image.tracks:
        return image
    try:
        form = default_form(image.tracks, image.read, image.size)
    except (BlockError, UnreadableError):
        form = CdForm.BIN
    return from_index_1(image) if form is CdForm.ISO else as_bin(image)


def from_index_1(image: Original) -> Original:
    """Return the user data in a CHD without a stored pregap, which is in front of an ``.iso``."""
    return as_iso(image) if image.tracks[0].stored_pregap else image


def as_bin(image: Original) -> Original:
    """Return a CD with known tracks as the ``.bin`` of all of them.

    A raw image is that already, with what may lie around its tracks.
    """
    return as_tracks(image) if image.is_chd else image


def as_tracks(image: Original) -> Original:
    """Return a CD with known tracks as exactly these, one behind the other."""
    return image.shown_as(bin_view(image.pieces), ".bin", raw_cd=_is_raw(image.tracks[0]))


def as_track(image: Original, number: int) -> Original:
    """Return the track *number* of a CD with known tracks as an image."""
    raw_cd = _is_raw(image.tracks[number - 1])
    return image.shown_as(track_view(image.pieces, number), ".bin", raw_cd=raw_cd)


def as_iso(image: Original) -> Original:
    """Return the 2048 bytes of user data of each sector of the first track as an image.

    Raises:
        InputError: the first track has no user data.
    """
    view = user_data_view(image.tracks[0], image.pieces[0]) if image.tracks else None
    if view is None:
        raise InputError("its first track has no data that an .iso can hold")
    return image.shown_as(view, ".iso", raw_cd=False)


def iso_lacks(image: Original) -> str:
    """Return what an ``.iso`` of a CD would lack, as a sentence; empty if it has all data.

    Args:
        image: with tracks: a CHD as it was opened, or a raw image.

    Raises:
        BlockError: a block is damaged.
        UnreadableError: the file cannot be read.
    """
    behind = sectors_behind(image)
    if behind:
        return f"an .iso cannot hold {behind} sectors behind its data track"
    tracks = image.tracks
    if image.cd is None:  # the user data in a CHD
        return why_no_iso(tracks, image.read, image.size)
    view = user_data_view(tracks[0], image.pieces[0]) or bin_view(image.pieces)
    return why_no_iso(tracks, view_reader(view, image.read), view.size)


def with_cue_tracks(image: Original, sheet: CueSheet | None = None) -> Original:
    """Return an image with the tracks that a cue sheet gives.

    Args:
        image: of a CD; one with tracks stays as it is.
        sheet: names the image as its only file; None: the sheet beside it, if any.

    Raises:
        FormatError: *sheet* contradicts the image, or says that it is of another type.
    """
    if image.tracks:
        return image
    own = sheet or sheet_of(image.path)
    file = own.only_file if own is not None else None
    if file is None:
        return image
    try:
        found = image.with_tracks(tracks_of_file(file, image.size))
    except FormatError:
        if sheet is not None:
            raise
        return image  # a sheet of another file
    # The 2048-byte image of a CD may lie beside the sheet of its .bin.
    is_other = sheet is None and _is_raw(found.tracks[0]) != image.raw_cd
    return image if is_other else found


def sectors_behind(image: Original) -> int:
    """Return how many sectors of a raw image with tracks lie behind them, such as audio.

    There are none if a cue sheet gives the tracks.
    """
    if image.is_chd:
        return 0
    last = image.pieces[-1]
    return (image.size - last.begin - last.size) // CD_SECTOR


def with_tracks(image: Original, sheet: CueSheet | None = None) -> Original:
    """Return an image as :func:`with_cue_tracks`, without a sheet with one data track.

    Raises:
        FormatError: *sheet* contradicts the image, or says that it is of another type.
    """
    found = with_cue_tracks(image, sheet)
    if found.tracks or not image.raw_cd:
        return found
    track = track_of_raw_image(image.read, image.size)
    return found if track is None else image.with_tracks([(track, 0)])


def _is_raw(track: Track) -> bool:
    """Return whether a track has data in sectors of 2352 bytes."""
    return track.type.sector_size == CD_SECTOR and not track.type.is_audio
