"""The inputs in an inbox: files that are packed together, by their names."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from zsofs.discs.cue_files import is_cue_name, missing_file, read_cue_sheet
from zsofs.errors import DamagedError, InputError
from zsofs.formats.archive_names import Volumes, is_archive
from zsofs.formats.file_names import has_disc_ending, is_system_directory, is_track, is_undecided
from zsofs.system.mountinfo import FILE_SYSTEM_TYPE, mount_table

ERROR_ENDING = ".zsofs-error.txt"

_PARTIAL = (
    ".part",
    ".partial",
    ".crdownload",
    ".download",
    ".opdownload",
    ".filepart",
    ".!qb",
    ".!ut",
    ".!bt",
    ".bc!",
    ".aria2",
)
"""Extensions that browsers, torrent clients and file transfers append until a file is complete, or
of the file with the state of the download beside it."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Files that become outputs together, and are deleted or moved together.

    Attributes:
        path: the file that is given to `zsofs pack`.
        files: all of them, *path* first.
        lacks: why it cannot be packed yet, as a sentence; empty if all of its files exist.
        may_grow: whether other files may belong to it that have not arrived.
        lacks_sheet: whether a cue sheet may come that names it.
    """

    path: str
    files: tuple[str, ...]
    lacks: str = ""
    may_grow: bool = False
    lacks_sheet: bool = False


def find_units(inbox: str, outside: Sequence[str], enter: Callable[[str], None]) -> Iterator[Unit]:
    """Yield the inputs in an inbox, and in its subdirectories; see :func:`searched`."""
    for folder, names in searched(inbox, outside, enter):
        yield from units_of(folder, names)


def searched(
    inbox: str, outside: Sequence[str], enter: Callable[[str], None]
) -> Iterator[tuple[str, list[str]]]:
    """Yield the path of each directory of an inbox, and the names of its regular files, sorted.

    Hidden files, symlinks, trash directories and mounts of zsofs are left out.

    Args:
        inbox: real path of the directory.
        outside: real paths of directories that are not searched, also under other paths: a
            container may have the library in its inbox, and at a path of its own.
        enter: called with the path of each directory before it is read.

    Raises:
        OSError: the inbox cannot be read; an unreadable subdirectory is left out.
    """
    skipped = {
        *outside,
        *(os.fsdecode(one.path) for one in mount_table() if one.kind == FILE_SYSTEM_TYPE),
    }
    left_out = set(filter(None, map(_number_of, outside)))
    pending = [inbox]
    while pending:
        folder = pending.pop()
        if folder != inbox and _number_of(folder) in left_out:
            continue
        enter(folder)
        try:
            files, folders = _listed(folder)
        except OSError:
            if folder == inbox:
                raise
            continue
        pending += [path for path in folders if path not in skipped]
        yield folder, files


def _number_of(folder: str) -> tuple[int, int] | None:
    """Return device and inode number of a directory; None if it has gone."""
    try:
        status = os.lstat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _listed(folder: str) -> tuple[list[str], list[str]]:
    """Return the names of regular files, and the paths of subdirectories."""
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not is_system_directory(os.fsencode(entry.name)):
                    folders.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                files.append(entry.name)
    return sorted(files), sorted(folders, reverse=True)


def units_of(folder: str, names: Sequence[str]) -> Iterator[Unit]:
    """Yield the inputs among the files of a directory.

    Args:
        folder: its path.
        names: names of its regular files, sorted.
    """
    present = {name.lower() for name in names}
    taken: set[str] = set()
    for name in filter(is_cue_name, names):
        unit = _cue_unit(os.path.join(folder, name))
        taken.update(map(os.path.basename, unit.files))
        yield _unless_partial(unit, present)
    volumes = _volumes_of(names)
    partial = {
        first: name
        for name in names
        for ending in filter(name.lower().endswith, _PARTIAL)
        for first in _volumes_of([name[: -len(ending)]])
    }
    for first, members in volumes.items():
        is_one = len(members) == 1 and not Volumes(os.fsencode(members[0])).known
        if is_one and first not in partial:
            continue
        taken.update(members)
        unit = _volume_unit(folder, os.fsdecode(first), members)
        if first in partial:
            why = f"it is being downloaded: {partial[first]} is beside it"
            unit = Unit(unit.path, unit.files, why)
        yield _unless_partial(unit, present)
    for name in names:
        encoded = os.fsencode(name)
        if name not in taken and (has_disc_ending(encoded) or is_archive(encoded)):
            path = os.path.join(folder, name)
            lacks = "it is a track of a CD, whose cue sheet is missing" if is_track(encoded) else ""
            is_track_of_cd = is_undecided(encoded)  # perhaps
            # A child of a CHD has to be there before its parent is deleted.
            may_grow = is_track_of_cd or encoded.lower().endswith(b".chd")
            unit = Unit(path, (path,), lacks, may_grow, lacks_sheet=is_track_of_cd)
            yield _unless_partial(unit, present)


def _cue_unit(path: str) -> Unit:
    """Return a cue sheet with the files that it names."""
    try:
        sheet = read_cue_sheet(path)
    except (InputError, DamagedError) as error:
        return Unit(path, (path,), f"the cue sheet cannot be used: {error}")
    places = [sheet.find(file) for file in sheet.files]
    lacks = next(
        (missing_file(file) for file, place in zip(sheet.files, places, strict=True) if not place),
        "",
    )
    return Unit(path, (path, *dict.fromkeys(filter(None, places))), lacks)


def _volumes_of(names: Sequence[str]) -> dict[bytes, list[str]]:
    """Return the names that may be volumes of archives, by the name of the first one."""
    volumes: dict[bytes, list[str]] = {}
    for name in names:
        way = Volumes(os.fsencode(name))
        if way.may_be_split:
            volumes.setdefault(way.last or way.name(0), []).append(name)
    return volumes


def _volume_unit(folder: str, first: str, members: Sequence[str]) -> Unit:
    """Return the volumes of an archive."""
    lacks = "" if first in members else f"its volume {first} is missing"
    path = os.path.join(folder, first if first in members else members[0])
    others = [os.path.join(folder, name) for name in members]
    return Unit(path, (path, *(one for one in others if one != path)), lacks, may_grow=True)


def _unless_partial(unit: Unit, present: set[str]) -> Unit:
    """Return a unit, marked if a download of one of its files is in progress."""
    for file in unit.files:
        name = os.path.basename(file)
        for ending in _PARTIAL:
            if name.lower() + ending in present:
                why = f"it is being downloaded: {name}{ending} is beside it"
                return Unit(unit.path, unit.files, why)
    return unit
