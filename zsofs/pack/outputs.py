"""The files that one input becomes: one, or the files of a CD, which are one unit."""

import os
from dataclasses import dataclass

from zsofs.discs.cd_forms import CdForm, files_of
from zsofs.discs.cd_image import as_track
from zsofs.discs.cue_files import base_name, is_cue_name, sheet_of
from zsofs.errors import InputError
from zsofs.formats.cd_tracks import can_be_named, cue_sheet
from zsofs.images.input_image import Original
from zsofs.pack.cd_input import CdInput


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file of an output.

    Attributes:
        path: of the file.
        image: its content; when unpacking, byte for byte.
    """

    path: str
    image: Original


@dataclass(frozen=True, slots=True)
class Output:
    """The files that one input becomes.

    Attributes:
        path: of the file that stands for all of them in reports.
        files: all but the cue sheet.
        cue: path of the cue sheet; empty if none is written.
        text: content of the cue sheet.
    """

    path: str
    files: tuple[OutputFile, ...]
    cue: str = ""
    text: bytes = b""


def one_file(path: str, image: Original) -> Output:
    """Return an output of one file without a cue sheet."""
    return Output(path, (OutputFile(path, image),))


def output_of(found: CdInput, target: str) -> Output:
    """Return the files that an input is unpacked to.

    Args:
        found: the input.
        target: path of the output: of the cue sheet for the form TRACKS, else of the image.

    Raises:
        InputError: there can be no such files.
    """
    if found.form is CdForm.TRACKS:
        return _tracks(found.image, target)
    if is_cue_name(target):
        raise InputError(f"{target} is the name of a cue sheet; give that of the .bin with -o")
    alone = one_file(target, found.image)
    cue = f"{os.path.splitext(target)[0]}.cue"
    if found.form is not CdForm.BIN or _has_sheet(found.image, target, cue):
        return alone
    if found.image.view is None and found.image.pieces[0].begin:
        raise InputError(
            f"its first track begins at {found.image.pieces[0].begin}, so that no cue sheet can be"
            " written for it; omit --cd"
        )
    _check_name(target)
    text = cue_sheet(found.image.tracks, os.fsencode(os.path.basename(target)))
    return Output(target, alone.files, cue, text)


def _tracks(image: Original, target: str) -> Output:
    """Return the cue sheet *target* and a file for each track; raises like :func:`output_of`."""
    if not is_cue_name(target):
        raise InputError(
            f"{target} is not the name of a cue sheet, beside which --cd tracks writes a .bin for"
            " each track; give a name that ends in .cue, or a directory"
        )
    _check_name(target)
    folder, name = os.path.split(os.path.splitext(target)[0])
    sheet, *bins = files_of(CdForm.TRACKS, os.fsencode(name), image.tracks, image.pieces)
    assert isinstance(sheet.content, bytes)
    files = (
        OutputFile(os.path.join(folder, os.fsdecode(one.name)), as_track(image, number))
        for number, one in enumerate(bins, 1)
    )
    return Output(target, tuple(files), target, sheet.content)


def _check_name(target: str) -> None:
    """Check that a cue sheet can name an output; raises like :func:`output_of`."""
    if not can_be_named(os.fsencode(os.path.basename(target))):
        raise InputError(
            "a cue sheet cannot hold its name, which has a quotation mark or a line break; give"
            " another name with -o"
        )


def _has_sheet(image: Original, target: str, cue: str) -> bool:
    """Return whether the cue sheet of a raw image lies where that of its ``.bin`` would be."""
    if image.view is not None:
        return False
    sheet = sheet_of(image.path)
    file = sheet.only_file if sheet is not None else None
    if sheet is None or file is None or os.path.realpath(sheet.path) != os.path.realpath(cue):
        return False
    return os.fsdecode(base_name(file.name)) == os.path.basename(target)
