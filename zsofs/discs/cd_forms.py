"""The form in which a CD is shown: as the 2048-byte sectors of its data, or with all its bytes.

A form decides which files a CD becomes, what they are called, and what is in them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from zsofs.discs.form2 import Form2, find_form2
from zsofs.discs.identify import System, identify
from zsofs.formats.cd_tracks import Track, TrackType, cue_sheet, split_cue_sheet, track_file_name
from zsofs.formats.cd_views import (
    USER_DATA,
    CdView,
    Piece,
    bin_view,
    track_view,
    user_data_view,
)


class CdForm(Enum):
    """How a CD is shown.

    The values are names for users; :func:`default_form` chooses one.
    """

    ISO = "iso"
    """As one ``.iso``: 2048 bytes of user data of each sector of the first track."""
    BIN = "bin"
    """As a cue sheet and one ``.bin`` with the bytes of all tracks."""
    TRACKS = "tracks"
    """As a cue sheet and a ``.bin`` for each track."""


def default_form(tracks: Sequence[Track], read: Callable[[int, int], bytes], size: int) -> CdForm:
    """Return the form of a CD by which no program loses anything: ISO where that has all its data.

    That is so for a single track that is stored in sectors of 2048 bytes, such as a DVD that was
    packed as a CD, and for a single data track of a PS2 disc of which no file has sectors of form
    2. Games of other systems may need what an ``.iso`` lacks.

    Args:
        tracks: of the disc.
        read: returns bytes of the user data of the first track, ``read(offset, size)``; not called
            where the tracks decide.
        size: of the user data in bytes.

    Raises:
        Exception: whatever *read* raises outside of directories.
    """
    if not can_be_iso(tracks) or len(tracks) > 1:
        return CdForm.BIN
    if tracks[0].type.sector_size == USER_DATA:
        return CdForm.ISO
    is_ps2 = identify(read, size).system is System.PS2
    return CdForm.ISO if is_ps2 and find_form2(read, size).is_excluded else CdForm.BIN


def can_be_iso(tracks: Sequence[Track]) -> bool:
    """Return whether the first track of a disc has sectors with 2048 bytes of user data."""
    return bool(tracks) and tracks[0].type.user_data is not None


def why_no_iso(tracks: Sequence[Track], read: Callable[[int, int], bytes], size: int) -> str:
    """Return what of a CD an image of 2048-byte sectors would lack, as a sentence.

    The rest of raw sectors (sync, header, subheader, EDC and ECC) does not count: programs that
    read such an image do not need it. Arguments and exceptions as of :func:`default_form`.

    Returns:
        The sentence; empty if such an image has all data.
    """
    audio = sum(track.type.is_audio for track in tracks)
    if audio:
        return f"an .iso cannot hold its audio tracks, of which there are {audio}"
    if len(tracks) > 1:
        return f"an .iso cannot hold its {len(tracks)} tracks"
    if not can_be_iso(tracks):
        return "an .iso cannot hold its sectors, which have no 2048 bytes of user data"
    if tracks[0].type.sector_size == USER_DATA:
        return ""
    if identify(read, size).system is System.PS1:
        return "it is a PS1 disc, which needs its whole CD sectors"
    return "" if tracks[0].type is TrackType.MODE1_RAW else _form2(find_form2(read, size))


def _form2(found: Form2) -> str:
    """Return which Form 2 sectors an .iso would lack; empty if there are none."""
    if found.file:
        return f"an .iso cannot hold its Form 2 sectors, which {found.file} has"
    if found.unknown:
        return f"its Form 2 sectors, which an .iso cannot hold, cannot be found: {found.unknown}"
    return ""


@dataclass(frozen=True, slots=True)
class CdFile:
    """One of the files that a CD becomes.

    Attributes:
        name: of the file.
        content: the bytes of a cue sheet; else which stored bytes those of the file are.
    """

    name: bytes
    content: bytes | CdView

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self.content.size if isinstance(self.content, CdView) else len(self.content)


def files_of(
    form: CdForm, stem: bytes, tracks: Sequence[Track], pieces: Sequence[Piece]
) -> tuple[CdFile, ...]:
    """Return the files that a CD becomes, the one that programs open first.

    Args:
        form: of the CD; ISO only if :func:`can_be_iso` is true.
        stem: name of the disc without its ending.
        tracks: of the disc.
        pieces: where each of them is stored.

    Raises:
        ValueError: the first track has no user data for an ISO.
    """
    if form is CdForm.ISO:
        view = user_data_view(tracks[0], pieces[0])
        if view is None:
            raise ValueError("the first track has no 2048 bytes of user data")
        return (CdFile(stem + b".iso", view),)
    if form is CdForm.BIN:
        name = stem + b".bin"
        sheet = cue_sheet(tracks, name)
        return CdFile(stem + b".cue", sheet), CdFile(name, bin_view(pieces))
    numbers = range(1, len(tracks) + 1)
    return (
        CdFile(stem + b".cue", split_cue_sheet(tracks, stem)),
        *(
            CdFile(track_file_name(stem, number, len(tracks)), track_view(pieces, number))
            for number in numbers
        ),
    )
