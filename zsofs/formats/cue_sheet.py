"""Cue sheets: the tracks of a CD and the files that hold them (CDRWIN's User's Guide, appendix A).

A sheet comes from the source, so its size is bounded and what it says is checked. What programs
write besides (``REM``, ``TITLE``, ``CATALOG`` and the like) is skipped.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from zsofs.errors import DamagedError, ForeignError
from zsofs.formats.cd_tracks import FRAMES_PER_SECOND, MAX_TRACKS, Track, TrackType

MAX_SIZE = 65536
"""Bytes of the largest cue sheet that is read; those of 99 tracks have about 10,000."""

_MAX_INDEX = 99

_TYPES = {
    "AUDIO": TrackType.AUDIO,
    "MODE1/2048": TrackType.MODE1,
    "MODE1/2352": TrackType.MODE1_RAW,
    "MODE2/2048": TrackType.MODE2_FORM1,
    "MODE2/2324": TrackType.MODE2_FORM2,
    "MODE2/2336": TrackType.MODE2,
    "MODE2/2352": TrackType.MODE2_RAW,
    "CDI/2336": TrackType.MODE2,
    "CDI/2352": TrackType.MODE2_RAW,
}

_TRACK = re.compile(r"(\d{1,2})\s+(\S{1,16})")
_INDEX = re.compile(r"(\d{1,2})\s+(\d{1,3}:\d{1,2}:\d{1,2})")
_TIME = re.compile(r"(\d{1,3}):(\d{1,2}):(\d{1,2})")


@dataclass(slots=True)
class CueTrack:
    """One track of a cue sheet. Times are in frames.

    Attributes:
        number: from 1 to 99.
        type: what its sectors hold.
        pregap: in front of the track, not in its file.
        postgap: behind the track, not in its file.
        indexes: where each index is in the file, by its number; 1 is always there.
    """

    number: int
    type: TrackType
    pregap: int = 0
    postgap: int = 0
    indexes: dict[int, int] = field(default_factory=dict)

    @property
    def start(self) -> int:
        """Where the track begins in its file: at its stored pregap if it has one."""
        return self.indexes.get(0, self.indexes[1])


@dataclass(slots=True)
class CueFile:
    """One file of a cue sheet.

    Attributes:
        name: as it stands there; perhaps with directories, perhaps of a file that is not there.
        kind: in capitals; ``BINARY`` is the only one that zsofs reads.
        tracks: that it holds, in the order of their numbers.
    """

    name: bytes
    kind: str
    tracks: list[CueTrack] = field(default_factory=list)


def parse_cue_sheet(data: bytes) -> tuple[CueFile, ...]:
    """Return the files of a cue sheet and their tracks.

    Args:
        data: the whole sheet, with line ends of any system, and perhaps a UTF-8 byte order mark.

    Raises:
        DamagedError: the sheet contradicts itself or cannot be understood; names the line.
    """
    if len(data) > MAX_SIZE:
        raise DamagedError(f"the cue sheet has more than {MAX_SIZE} bytes")
    parser = _Parser()
    lines = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"\n").split(b"\n")
    number = 0
    for number, line in enumerate(lines, 1):
        parser.number = number
        parser.take(line.strip())
    return parser.finish()


class _Parser:
    """The state between two lines.

    Attributes:
        number: of the line, for messages.
    """

    def __init__(self) -> None:
        self.number = 0
        self._files: list[CueFile] = []
        self._track: CueTrack | None = None
        self._latest = 0

    def take(self, line: bytes) -> None:
        """Take one line without the white space around it, which may be empty."""
        if not line:
            return
        word, *others = line.split(None, 1)
        rest = others[0] if others else b""
        command: Callable[[str], None] | None = {
            b"TRACK": self._begin_track,
            b"INDEX": self._add_index,
            b"PREGAP": self._set_pregap,
            b"POSTGAP": self._set_postgap,
        }.get(word.upper())
        if word.upper() == b"FILE":
            self._begin_file(rest)
        elif command is not None:
            command(rest.decode("ascii", "backslashreplace"))

    def finish(self) -> tuple[CueFile, ...]:
        """Return what was read."""
        self._end_track()
        if not any(file.tracks for file in self._files):
            self._fail("there is no track")
        return tuple(file for file in self._files if file.tracks)

    def _fail(self, why: str) -> NoReturn:
        raise DamagedError(f"line {self.number} of the cue sheet: {why}")

    def _begin_file(self, rest: bytes) -> None:
        name, kind = rest, b""
        if rest.startswith(b'"'):
            name, _, kind = rest[1:].partition(b'"')
        elif len(rest.split()) > 1:
            name, kind = rest.rsplit(None, 1)
        if not name or not kind.strip().isalnum():
            self._fail("a FILE needs a name and a type")
        if self._track is not None and 1 not in self._track.indexes:
            self._fail(f"track {self._track.number} is spread over two files")
        self._end_track()
        self._files.append(CueFile(name, kind.strip().decode("ascii").upper()))
        self._latest = 0

    def _begin_track(self, text: str) -> None:
        found = _TRACK.fullmatch(text)
        if found is None:
            self._fail("a TRACK needs a number and a type")
        self._end_track()
        number, kind = int(found[1]), found[2].upper()
        if not self._files:
            self._fail("a TRACK stands before the first FILE")
        before = max((track.number for file in self._files for track in file.tracks), default=0)
        if not before < number <= MAX_TRACKS:
            self._fail(f"track {number} follows track {before}")
        if kind not in _TYPES:
            self._fail(f"the track type {kind!r} is not supported")
        self._track = CueTrack(number, _TYPES[kind])

    def _end_track(self) -> None:
        if self._track is not None:
            if 1 not in self._track.indexes:
                self._fail(f"track {self._track.number} has no INDEX 01")
            self._files[-1].tracks.append(self._track)
        self._track = None

    def _add_index(self, text: str) -> None:
        found = _INDEX.fullmatch(text)
        if found is None:
            self._fail("an INDEX needs a number and a time as 00:00:00")
        track = self._current("INDEX")
        index, at = int(found[1]), self._time(found[2])
        if index != (max(track.indexes) + 1 if track.indexes else min(index, 1)):
            self._fail(f"INDEX {index:02d} is out of order")
        if at < self._latest:
            self._fail(f"INDEX {index:02d} lies before the one in front of it")
        self._latest = at
        track.indexes[index] = at

    def _set_pregap(self, text: str) -> None:
        track = self._current("PREGAP")
        if track.indexes:
            self._fail("a PREGAP stands behind an INDEX")
        track.pregap = self._time(text)

    def _set_postgap(self, text: str) -> None:
        track = self._current("POSTGAP")
        if 1 not in track.indexes:
            self._fail("a POSTGAP stands before INDEX 01")
        track.postgap = self._time(text)

    def _current(self, command: str) -> CueTrack:
        if self._track is None:
            self._fail(f"{command} stands before the first TRACK of its FILE")
        return self._track

    def _time(self, text: str) -> int:
        found = _TIME.fullmatch(text)
        if found is None:
            self._fail("a time has the form 00:00:00")
        minutes, seconds, frames = map(int, found.groups())
        if seconds >= 60 or frames >= FRAMES_PER_SECOND:
            self._fail(f"{text} is no time: a minute has 60 seconds, a second has 75 frames")
        return (60 * minutes + seconds) * FRAMES_PER_SECOND + frames


def tracks_of_file(file: CueFile, size: int) -> tuple[tuple[Track, int], ...]:
    """Return the tracks that a file holds, each with the byte at which it begins there.

    The last one goes to the end of the file; bytes behind its last whole sector belong to none.

    Args:
        file: one of the cue sheet.
        size: of the file in bytes.

    Raises:
        DamagedError: the file is shorter than the sheet says.
        ForeignError: it is not of the type ``BINARY``.
    """
    if file.kind != "BINARY":
        number = file.tracks[0].number
        raise ForeignError(f"track {number} is in a file of the type {file.kind}; expected BINARY")
    found = []
    begin = file.tracks[0].start * file.tracks[0].type.sector_size
    for cue_track, following in zip(file.tracks, [*file.tracks[1:], None], strict=True):
        sector = cue_track.type.sector_size
        if following is None:
            frames = max(size - begin, -1) // sector
        else:
            frames = following.start - cue_track.start
        stored_pregap = cue_track.indexes[1] - cue_track.start
        if frames < stored_pregap or begin + frames * sector > size:
            raise DamagedError(
                f"the cue sheet has track {cue_track.number} at byte {begin} of a file of {size}"
                " bytes, which is too short for it"
            )
        pregap = stored_pregap or cue_track.pregap
        track = Track(
            cue_track.number, cue_track.type, frames, pregap, stored_pregap > 0, cue_track.postgap
        )
        found.append((track, begin))
        begin += frames * sector
    return tuple(found)
