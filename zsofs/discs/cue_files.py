"""Cue sheets on the disk, and the files that they name."""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from zsofs.console.text import for_people
from zsofs.errors import DamagedError, InputError, reason
from zsofs.formats.cue_sheet import MAX_SIZE, CueFile, parse_cue_sheet
from zsofs.formats.file_names import is_cue_sheet, is_packed_name

_MOST_SHEETS = 10_000
"""Cue sheets of one directory that are read."""

_MOST_BYTES = 16 << 20
"""Bytes of all cue sheets of one directory that are read: those of 1,600 CDs with 99 tracks."""


@dataclass(frozen=True, slots=True)
class CueSheet:
    """A cue sheet that was read.

    Attributes:
        path: of the sheet.
        text: its bytes.
        files: that it names, each with tracks.
    """

    path: str
    text: bytes
    files: tuple[CueFile, ...]

    @property
    def only_file(self) -> CueFile | None:
        """The file of all tracks; None if there are several."""
        return self.files[0] if len(self.files) == 1 else None

    def find(self, file: CueFile) -> str | None:
        """Return the path of a file that the sheet names; None if it does not exist.

        It is searched in the directory of the sheet, whatever directory the sheet names: sheets
        from other systems have paths of other machines. Case is ignored if no name matches exactly.
        """
        folder = os.path.dirname(self.path)
        name = os.fsdecode(base_name(file.name))
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
        try:
            names = os.listdir(folder or os.curdir)
        except OSError:
            return None
        others = (other for other in sorted(names) if other.casefold() == name.casefold())
        paths = (os.path.join(folder, other) for other in others)
        return next(filter(os.path.isfile, paths), None)


def base_name(name: bytes) -> bytes:
    """Return a name in a cue sheet without its directories, also those of Windows."""
    return name.replace(b"\\", b"/").rpartition(b"/")[2]


def missing_file(file: CueFile) -> str:
    """Return the sentence on a file that a cue sheet names and that does not exist."""
    return f"the file {for_people(file.name)}, which the cue sheet names, does not exist"


def is_cue_name(path: str) -> bool:
    """Return whether a file has the name of a cue sheet."""
    return is_cue_sheet(os.fsencode(path))


def read_cue_sheet(path: str) -> CueSheet:
    """Return the cue sheet in a file.

    Raises:
        InputError: it cannot be read.
        DamagedError: it is no cue sheet, or contradicts itself.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            text = os.read(fd, MAX_SIZE + 1)
        finally:
            os.close(fd)
    except OSError as error:
        raise InputError(f"it cannot be opened: {reason(error)}") from None
    return CueSheet(path, text, parse_cue_sheet(text))


def sheet_of(path: str) -> CueSheet | None:
    """Return the cue sheet that names an image: one of its directory.

    Args:
        path: of the ``.bin``, or of a container, whose name may differ from it by its extension.

    Returns:
        The sheet; None if there is none that can be used. If several name the image, the one with
        its name, else the first.
    """
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0].casefold()
    is_packed = is_packed_name(os.fsencode(name))
    for sheet in sorted(
        _sheets_in(folder, _state_of(folder)),
        key=lambda one: os.path.splitext(os.path.basename(one.path))[0].casefold() != stem,
    ):
        for file in sheet.files:
            named = os.fsdecode(base_name(file.name)).casefold()
            if named == name.casefold() or (is_packed and os.path.splitext(named)[0] == stem):
                return sheet
    return None


_State = tuple[tuple[str, int, int], ...]
"""Names, sizes and modification times of the cue sheets in a directory."""


def _state_of(folder: str) -> _State:
    found: list[tuple[str, int, int]] = []
    total = 0
    try:
        with os.scandir(folder or os.curdir) as entries:
            for entry in entries:
                if is_cue_name(entry.name) and entry.is_file() and len(found) < _MOST_SHEETS:
                    status = entry.stat()
                    if status.st_size <= min(MAX_SIZE, _MOST_BYTES - total):
                        total += status.st_size
                        found.append((entry.name, status.st_size, status.st_mtime_ns))
    except OSError:
        return ()
    return tuple(sorted(found))


@lru_cache(maxsize=4)
def _sheets_in(folder: str, state: _State) -> tuple[CueSheet, ...]:
    """Return the cue sheets of a directory that can be used, read once for all of its images."""
    found = []
    for name, _size, _date in state:
        with suppress(InputError, DamagedError):
            found.append(read_cue_sheet(os.path.join(folder, name)))
    return tuple(found)
