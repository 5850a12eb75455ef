"""The tracks of a CD: what a CHD's metadata say of them, and the cue sheet that names them.

The text of a track is ``TRACK:1 TYPE:MODE2_RAW SUBTYPE:NONE FRAMES:700 PREGAP:0 PGTYPE:MODE1
PGSUB:NONE POSTGAP:0`` (tag ``CHT2``); in files of old versions of chdman it ends after FRAMES
(``CHTR``). It comes from the file, so nothing of it is believed.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate

from zsofs.errors import DamagedError

FRAMES_PER_SECOND = 75
"""Frames (sectors) of a CD in a second (IEC 60908)."""

MAX_TRACKS = 99
"""Tracks of a CD at most (IEC 60908)."""

_TEXT = re.compile(
    r"TRACK:(\d{1,3}) TYPE:(\S{1,15}) SUBTYPE:(\S{1,15}) FRAMES:(\d{1,9})"
    r"(?: PREGAP:(\d{1,9}) PGTYPE:(\S{1,15}) PGSUB:(\S{1,15}) POSTGAP:(\d{1,9}))?\s*"
)


class TrackType(Enum):
    """What the sectors of a track hold, under the names of chdman.

    Attributes:
        cue_name: how cue sheets call it.
        sector_size: bytes of a sector that are stored, which are those in a ``.bin``.
        user_data: where the 2048 bytes of user data begin in them; None if there are none.
    """

    MODE1 = ("MODE1", "MODE1/2048", 2048, 0)
    MODE1_RAW = ("MODE1_RAW", "MODE1/2352", 2352, 16)
    MODE2 = ("MODE2", "MODE2/2336", 2336, 8)
    MODE2_FORM1 = ("MODE2_FORM1", "MODE2/2048", 2048, 0)
    MODE2_FORM2 = ("MODE2_FORM2", "MODE2/2324", 2324, None)
    MODE2_FORM_MIX = ("MODE2_FORM_MIX", "MODE2/2336", 2336, 8)
    MODE2_RAW = ("MODE2_RAW", "MODE2/2352", 2352, 24)
    AUDIO = ("AUDIO", "AUDIO", 2352, None)

    def __init__(
        self, chd_name: str, cue_name: str, sector_size: int, user_data: int | None
    ) -> None:
        self.chd_name = chd_name
        self.cue_name = cue_name
        self.sector_size = sector_size
        self.user_data = user_data

    @property
    def is_audio(self) -> bool:
        """Whether the track is sound."""
        return self is TrackType.AUDIO


_TYPES = {kind.chd_name: kind for kind in TrackType} | {
    # chdman reads these names too; it writes them only into cue sheets.
    "MODE1/2048": TrackType.MODE1,
    "MODE1/2352": TrackType.MODE1_RAW,
    "MODE2/2336": TrackType.MODE2,
    "MODE2/2048": TrackType.MODE2_FORM1,
    "MODE2/2324": TrackType.MODE2_FORM2,
    "MODE2/2352": TrackType.MODE2_RAW,
    "CDI/2352": TrackType.MODE2_RAW,
}


@dataclass(frozen=True, slots=True)
class Track:
    """One track of a CD. Lengths are in frames.

    Attributes:
        number: from 1 on.
        type: what its sectors hold.
        frames: that are stored, a stored pregap included.
        pregap: in front of the track.
        has_stored_pregap: whether the pregap is the first part of ``frames``.
        postgap: behind the track, never stored.
        subtype: kind of the subcode; ``NONE`` if there is none.
    """

    number: int
    type: TrackType
    frames: int
    pregap: int = 0
    has_stored_pregap: bool = False
    postgap: int = 0
    subtype: str = "NONE"

    @property
    def stored_pregap(self) -> int:
        """Frames of the pregap that are stored: where INDEX 01 is in the track."""
        return self.pregap if self.has_stored_pregap else 0

    @property
    def size(self) -> int:
        """Bytes of the track in a ``.bin``."""
        return self.frames * self.type.sector_size


def parse_tracks(texts: Iterable[bytes]) -> tuple[Track, ...]:
    """Return the tracks that the metadata of a CHD describe, by number.

    Args:
        texts: the data of each ``CHT2`` and ``CHTR``, in any order.

    Raises:
        DamagedError: one is no description of a track, or they are not numbered from 1 on.
    """
    tracks = sorted(map(_parse_track, texts), key=lambda track: track.number)
    numbers = [track.number for track in tracks]
    if numbers != list(range(1, len(tracks) + 1)) or len(tracks) > MAX_TRACKS:
        raise DamagedError(
            f"the CHD numbers its tracks {_listed(numbers)}; expected 1 to {MAX_TRACKS} at most"
        )
    return tuple(tracks)


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return f"{shown}, …" if len(numbers) > 10 else shown


def _parse_track(data: bytes) -> Track:
    text = data.split(b"\0")[0].decode("ascii", "backslashreplace")
    found = _TEXT.fullmatch(text)
    if found is None:
        raise DamagedError(f"the CHD describes a track in an unknown form: {text[:80]!r}")
    number, kind, subtype, frames, pregap, pregap_type, _, postgap = found.groups()
    if kind not in _TYPES:
        raise DamagedError(f"track {number} of the CHD is of the unknown type {kind!r}")
    track = Track(
        int(number),
        _TYPES[kind],
        int(frames),
        int(pregap or 0),
        (pregap_type or "").startswith("V"),
        int(postgap or 0),
        subtype,
    )
    if track.stored_pregap > track.frames:
        raise DamagedError(
            f"track {number} of the CHD has {track.frames} frames, fewer than its stored pregap of"
            f" {track.pregap}"
        )
    return track


def msf(frames: int) -> str:
    """Return a number of frames as minutes, seconds and frames, as cue sheets have it."""
    seconds, rest = divmod(frames, FRAMES_PER_SECOND)
    return f"{seconds // 60:02d}:{seconds % 60:02d}:{rest:02d}"


def begins(tracks: Sequence[Track]) -> list[int]:
    """Return the frame at which each track begins in one ``.bin`` of all of them."""
    return list(accumulate((track.frames for track in tracks[:-1]), initial=0))[: len(tracks)]


def track_file_name(stem: bytes, number: int, count: int) -> bytes:
    """Return the name of the ``.bin`` of one track, as ``chdman extractcd -sb`` and Redump have it.

    Args:
        stem: name of the disc without its ending.
        number: of the track.
        count: tracks of the disc; from 10 on, all numbers have two digits.
    """
    digits = 2 if count >= 10 else 1
    return stem + f" (Track {number:0{digits}d}).bin".encode()


def can_be_named(name: bytes) -> bool:
    """Return whether a cue sheet can hold a file name: it has no escapes for `"` and line ends."""
    return not any(char in name for char in b'"\r\n')


def cue_sheet(tracks: Sequence[Track], bin_name: bytes) -> bytes:
    """Return the cue sheet of one ``.bin``, byte for byte as ``chdman extractcd`` writes it.

    Args:
        tracks: of the disc.
        bin_name: name of the file that holds all of them.
    """
    lines = [_file_line(bin_name)]
    for track, begin in zip(tracks, begins(tracks), strict=True):
        lines += _track_lines(track, begin)
    return b"".join(lines)


def split_cue_sheet(tracks: Sequence[Track], stem: bytes) -> bytes:
    """Return the cue sheet of a ``.bin`` for each track, as ``chdman extractcd -sb`` writes it.

    Args:
        tracks: of the disc.
        stem: name of the disc without its ending; see :func:`track_file_name`.
    """
    lines: list[bytes] = []
    for track in tracks:
        lines.append(_file_line(track_file_name(stem, track.number, len(tracks))))
        lines += _track_lines(track, 0)
    return b"".join(lines)


def _file_line(name: bytes) -> bytes:
    return b'FILE "' + name + b'" BINARY\n'


def _track_lines(track: Track, start: int) -> list[bytes]:
    """The lines of a track that begins *start* frames from the begin of its file."""
    lines = [f"  TRACK {track.number:02d} {track.type.cue_name}\n"]
    if track.stored_pregap:
        lines.append(f"    INDEX 00 {msf(start)}\n")
    elif track.pregap:
        lines.append(f"    PREGAP {msf(track.pregap)}\n")
    lines.append(f"    INDEX 01 {msf(start + track.stored_pregap)}\n")
    if track.postgap:
        lines.append(f"    POSTGAP {msf(track.postgap)}\n")
    return [line.encode() for line in lines]
