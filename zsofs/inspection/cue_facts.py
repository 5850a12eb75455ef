"""Facts about the files and tracks of a cue sheet."""

import os
from dataclasses import dataclass
from typing import Any

from zsofs.console.tables import size
from zsofs.console.text import for_people
from zsofs.discs.cue_files import missing_file, read_cue_sheet
from zsofs.errors import FormatError, InputError
from zsofs.formats.cd_tracks import Track, msf
from zsofs.formats.cue_sheet import tracks_of_file
from zsofs.images.input_image import size_of


@dataclass(frozen=True, slots=True)
class SheetFacts:
    """Facts about a cue sheet.

    Attributes:
        rows: of `zsofs info`.
        tracks: as `zsofs info --json` prints them.
        size: of all files that exist, in bytes.
        first: path of the file with the first track.
        remarks: irregularities, for the user.
    """

    rows: list[tuple[str, str]]
    tracks: list[dict[str, Any]]
    size: int
    first: str
    remarks: tuple[str, ...]


def sheet_facts(path: str) -> SheetFacts:
    """Return the facts about a cue sheet.

    Raises:
        InputError: it or its first file cannot be read.
        DamagedError: it is no cue sheet, or contradicts itself.
    """
    sheet = read_cue_sheet(path)
    paths = [sheet.find(file) for file in sheet.files]
    if paths[0] is None:
        raise InputError(missing_file(sheet.files[0]))
    rows: list[tuple[str, str]] = []
    tracks: list[dict[str, Any]] = []
    remarks: list[str] = []
    total = 0
    for file, place in zip(sheet.files, paths, strict=True):
        name = for_people(file.name)
        if place is None:
            remarks.append(missing_file(file))
            placed = tuple((Track(one.number, one.type, 0, one.pregap), 0) for one in file.tracks)
            rows.append(("file", f"{name}, missing"))
        else:
            stored = size_of(place)
            total += stored
            try:
                placed = tracks_of_file(file, stored)
            except FormatError as error:
                remarks.append(str(error))
                placed = ()
            rows.append(("file", f"{name}, {size(stored)}"))
        for track, begin in placed:
            frame = begin // track.type.sector_size
            rows.append((f"track {track.number}", track_text(track, frame)))
            named = {"number": track.number, "type": track.type.cue_name}
            tracks.append(named | {"file": os.fsdecode(file.name)} | track_object(track, frame))
    return SheetFacts(rows, tracks, total, paths[0], tuple(remarks))


def track_text(track: Track, begin: int) -> str:
    """Return type, length, pregap and indexes of a track that begins at a frame of its file."""
    parts = [track.type.cue_name, f"{track.frames:,} frames ({msf(track.frames)})"]
    if track.stored_pregap:
        parts.append(f"INDEX 00 {msf(begin)}")
    elif track.pregap:
        parts.append(f"pregap of {track.pregap:,} frames, not stored")
    parts.append(f"INDEX 01 {msf(begin + track.stored_pregap)}")
    if track.postgap:
        parts.append(f"postgap of {track.postgap:,} frames, not stored")
    return ", ".join(parts)


def track_object(track: Track, begin: int) -> dict[str, Any]:
    """Return the same as :func:`track_text`, without the type, for ``--json``."""
    return {
        "frames": track.frames,
        "pregap": track.pregap,
        "postgap": track.postgap,
        "index_00": begin if track.stored_pregap else None,
        "index_01": begin + track.stored_pregap,
    }
