"""The input files of a run, so that no output overwrites one, and their deletion."""

import os
import shlex
import unicodedata
from collections.abc import Callable, Sequence

from zsofs.discs.cue_files import CueSheet, is_cue_name, read_cue_sheet
from zsofs.discs.examination import Examination
from zsofs.errors import FormatError, InputError, ZsofsError, reason
from zsofs.formats.file_names import has_disc_ending
from zsofs.images.input_image import Original, original
from zsofs.pack.atomic_file import sync_folder
from zsofs.source.new_disc_mark import NOT_COPIED, is_marked


class InputFiles:
    """The inputs of a run, which are found under any path: links and other spellings.

    Attributes:
        of_sheets: for each cue sheet among the inputs, the first of its files that is an input.
            It is found in advance, because ``--delete-source`` deletes the files one by one.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._by_inode: dict[tuple[int, int], str] = {}
        self._by_name: dict[str, list[str]] = {}
        for path in paths:
            try:
                status = os.stat(path)
            except OSError:  # reported when it is processed
                continue
            self._by_inode.setdefault((status.st_dev, status.st_ino), path)
            self._by_name.setdefault(_folded(path), []).append(path)
        sheets = {path: self._files_of(path) for path in paths if is_cue_name(path)}
        self.of_sheets = {path: files[0] for path, files in sheets.items() if files}

    def _files_of(self, sheet: str) -> list[str]:
        """Return the files that a cue sheet names and that are inputs."""
        try:
            read = read_cue_sheet(sheet)
        except (InputError, FormatError):  # reported when it is processed
            return []
        places = [read.find(file) for file in read.files]
        return [place for place in places if place is not None and self.find(place)]

    def find(self, path: str) -> str | None:
        """Return the input that is the same file as *path*, or None."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        found = self._by_inode.get((status.st_dev, status.st_ino))
        if found is not None:
            return found
        # FAT and exFAT generate inode numbers: they may change, or differ for each spelling.
        for other in self._by_name.get(_folded(path), ()):
            if not os.path.lexists(other):
                continue
            if os.path.samefile(path, other) or not _is_listed(path):
                return other
        return None


def _folded(path: str) -> str:
    """Return a path that is equal for all spellings on a case-insensitive disk."""
    return unicodedata.normalize("NFC", os.path.realpath(path).casefold())


def _is_listed(path: str) -> bool:
    """Return whether the directory lists the name in this spelling."""
    folder, name = os.path.split(os.path.realpath(path))
    try:
        return name in os.listdir(folder)
    except OSError:
        return True


def meant_as_output(paths: Sequence[str]) -> str:
    """Return a hint if the last of several inputs is probably meant as the output, as in cp(1).

    That is the case if it does not exist and does not have the name of a disc.
    """
    *others, last = paths
    if not others or os.path.lexists(last) or has_disc_ending(os.fsencode(last)):
        return ""
    is_directory = os.path.isdir(others[0]) or len(others) > 1 or last.endswith("/")
    return f" (did you mean -o {shlex.quote(last if is_directory else last + '/')}?)"


def delete_input(remove: Callable[[], None], path: str) -> tuple[str, tuple[str, ...]]:
    """Delete an input whose output is complete.

    Args:
        remove: deletes it, as :meth:`zsofs.images.input_image.Original.remove` does.
        path: its path.

    Returns:
        Why it could not be deleted (empty if it was), and remarks.
    """
    try:
        remove()
    except (OSError, ZsofsError) as error:
        return f"the output is complete, but the input was not deleted: {reason(error)}", ()
    try:
        sync_folder(os.path.dirname(path))
    except OSError as error:
        remark = (
            "it was deleted, but may reappear after a power failure: its directory cannot be"
            f" synced: {reason(error)}"
        )
        return "", (remark,)
    return "", ()


def why_incomplete(image: Original) -> str:
    """Return why the file of an image is incomplete, although its size is right; usually empty.

    A mount with `--new-discs` marks files whose copy through it was broken off.
    """
    return NOT_COPIED if is_marked(image.source.fd) else ""


def why_kept(examined: Examination) -> str:
    """Return why an input must be kept although its output is complete; usually empty."""
    if examined.cut:
        return "the image is truncated"
    return why_incomplete(examined.image) or examined.image.lacks


def remove_input(image: Original, sheet: CueSheet | None) -> None:
    """Delete an input, and then the cue sheet that was named for it.

    Raises:
        InputError: one has changed; it is kept, and the sheet with it.
        OSError: one could not be deleted.
    """
    image.remove()
    if sheet is not None:
        with original(sheet.path, as_it_is=True) as text:
            if text.read(0, len(sheet.text) + 1) != sheet.text:
                raise InputError("its cue sheet was modified meanwhile")
            text.remove()
