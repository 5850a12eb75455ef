"""CDs as inputs: the form in which one is packed or unpacked, and the files of a cue sheet."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from zsofs.discs.cd_forms import CdForm, why_no_iso
from zsofs.discs.cd_image import (
    as_bin,
    as_iso,
    as_tracks,
    choose_form,
    from_index_1,
    iso_lacks,
    sectors_behind,
    with_tracks,
)
from zsofs.discs.cue_files import CueSheet, is_cue_name, missing_file, read_cue_sheet, sheet_of
from zsofs.errors import DamagedError, InputError
from zsofs.formats.cd_tracks import Track
from zsofs.images.input_image import Original, original
from zsofs.pack.jobs import PackRequest

_UNPACK = "; unpack it to .cue and .bin with: zsofs unpack"
_PACK = "; to pack its whole sectors, name the .bin, without --cd and --for console"
_CHD = "; for one file that holds all its tracks, use: chdman createcd"
"""What can be done with a CD that an .iso cannot hold."""


@dataclass(frozen=True, slots=True)
class CdInput:
    """An open input.

    Attributes:
        image: what is packed or unpacked.
        form: of a CD; None for any other image, and for a ``.bin`` without tracks.
        sheet: the cue sheet that was named as the input; None if a disc image was.
        notes: for the user.
    """

    image: Original
    form: CdForm | None = None
    sheet: CueSheet | None = None
    notes: tuple[str, ...] = ()


@contextmanager
def opened_input(path: str, request: PackRequest) -> Iterator[CdInput]:
    """Open an input within the context: a disc image, or for packing a cue sheet.

    Raises:
        InputError: it cannot be opened, or is not available in the requested form.
    """
    if request.packing is None or not is_cue_name(path) or os.path.isdir(path):
        with original(path) as image:
            yield _to_pack(image, request) if request.packing else _to_unpack(image, request.form)
        return
    try:
        sheet = read_cue_sheet(path)
    except DamagedError as error:
        raise InputError(str(error)) from error
    with original(_only_file(sheet)) as image:
        yield CdInput(_data_of(image, sheet), CdForm.ISO, sheet)


def _only_file(sheet: CueSheet) -> str:
    """Return the path of the ``.bin`` of a cue sheet.

    Raises:
        InputError: there are several, or it does not exist.
    """
    file = sheet.only_file
    if file is None:
        tracks = [Track(one.number, one.type, 0) for each in sheet.files for one in each.tracks]
        raise InputError(why_no_iso(tracks, _unread, 0) + _CHD)
    path = sheet.find(file)
    if path is None:
        raise InputError(missing_file(file))
    return path


def _unread(_offset: int, _size: int) -> bytes:
    """Return no bytes: nothing is read if there are several tracks."""
    return b""


def _data_of(image: Original, sheet: CueSheet | None) -> Original:
    """Return the 2048-byte sectors of a raw image of a data disc.

    Raises:
        InputError: it has what they cannot hold.
        DamagedError: the cue sheet contradicts it.
    """
    cd = with_tracks(image, sheet)
    if not cd.tracks:
        return image
    own = sheet or sheet_of(image.path)
    if own is not None and own.only_file is None:
        _only_file(own)  # it is one of several tracks
    reason = iso_lacks(cd)
    if reason:
        raise InputError(reason + _PACK)
    return as_iso(cd)


def _to_pack(image: Original, request: PackRequest) -> CdInput:
    """Return an image in the form in which it is packed; raises like :func:`opened_input`."""
    if image.tracks:
        reason = iso_lacks(image)
        if reason:
            raise InputError(reason + _UNPACK)
        return CdInput(from_index_1(image), CdForm.ISO)
    for_device = request.packing is not None and bool(request.packing.device)
    if image.raw_cd and (request.form is CdForm.ISO or for_device):
        return CdInput(_data_of(image, None), CdForm.ISO)
    return CdInput(image)


def _to_unpack(image: Original, form: CdForm | None) -> CdInput:
    """Return an image in the form in which it is unpacked; raises like :func:`opened_input`."""
    if form is None:
        chosen = choose_form(image)
        is_bin = chosen.view is not None and chosen.ending == ".bin"
        return CdInput(chosen, CdForm.BIN if is_bin else None)
    cd = with_tracks(image) if image.raw_cd else image
    if not cd.tracks:
        return CdInput(image)
    if form is not CdForm.ISO:
        behind = sectors_behind(cd)
        if behind:
            raise InputError(
                f"{behind} sectors lie behind its data track, and no cue sheet tells which tracks"
                " they are; omit --cd"
            )
        return CdInput(as_tracks(cd) if form is CdForm.TRACKS else as_bin(cd), form)
    reason = iso_lacks(cd)
    return CdInput(as_iso(cd), form, notes=(reason,) if reason else ())
