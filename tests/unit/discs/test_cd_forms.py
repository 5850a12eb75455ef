"""The form in which a CD is shown by default, and the files that it becomes in each form."""

import pytest

from tests.unit.discs.test_form2 import FILES, MIXED, PS1, xa_image
from tests.unit.discs.test_identify import made
from tests.unit.formats.test_cd_tracks import DATA, metadata
from zsofs.discs.cd_forms import CdForm, can_be_iso, default_form, files_of
from zsofs.formats.cd_tracks import Track, TrackType, parse_tracks
from zsofs.formats.cd_views import CdView, chd_pieces


def form(tracks: list[Track], image: bytes) -> CdForm:
    return default_form(tracks, lambda at, n: image[at : at + n], len(image))


def track(kind: TrackType, number: int = 1) -> Track:
    return Track(number, kind, 100)


@pytest.mark.parametrize("kind", [TrackType.MODE1_RAW, TrackType.MODE2_RAW, TrackType.MODE2])
def test_a_ps2_disc_without_form_2_is_an_iso(kind: TrackType) -> None:
    assert form([track(kind)], xa_image(FILES, {})) is CdForm.ISO
    assert form([track(kind)], made(FILES)) is CdForm.ISO
    assert form([track(kind)], xa_image(FILES, {b"MOVIE.STR": MIXED})) is CdForm.BIN
    assert form([track(kind)], xa_image(PS1, {})) is CdForm.BIN, "a PS1 disc"
    assert form([track(kind)], made({"/A.BIN": b"1"})) is CdForm.BIN, "of no known system"
    assert form([track(kind)], b"") is CdForm.BIN
    two = [track(kind), track(TrackType.AUDIO, 2)]
    assert form(two, xa_image(FILES, {})) is CdForm.BIN


def never(_offset: int, _size: int) -> bytes:
    raise AssertionError("the tracks decide")


@pytest.mark.parametrize("kind", [TrackType.MODE1, TrackType.MODE2_FORM1])
def test_sectors_that_are_stored_in_2048_bytes_are_an_iso(kind: TrackType) -> None:
    assert default_form([track(kind)], never, 0) is CdForm.ISO
    assert default_form([track(kind), track(TrackType.AUDIO, 2)], never, 0) is CdForm.BIN


@pytest.mark.parametrize("kind", [TrackType.AUDIO, TrackType.MODE2_FORM2])
def test_sectors_without_2048_bytes_of_data_are_no_iso(kind: TrackType) -> None:
    assert default_form([track(kind)], never, 0) is CdForm.BIN
    assert not can_be_iso([track(kind)])
    assert can_be_iso([track(TrackType.MODE1_RAW), track(kind, 2)])


def test_no_tracks() -> None:
    assert not can_be_iso([])
    assert default_form([], never, 0) is CdForm.BIN


def files(form: CdForm, name: str, stem: bytes = b"Game") -> dict[bytes, int]:
    tracks = parse_tracks(metadata(DATA / f"{name}.chd"))
    units = sum((track.frames + 3) // 4 * 4 for track in tracks)
    found = files_of(form, stem, tracks, chd_pieces(tracks, units))
    return {file.name: file.size for file in found}


def test_the_files_of_a_cd_in_each_form() -> None:
    """Sizes as in the manifest of the images, and those of the files of chdman extractcd -sb."""
    assert files(CdForm.ISO, "cd-default") == {b"Game.iso": 1433600}
    assert files(CdForm.ISO, "cd-of-dvd-iso") == {b"Game.iso": 1468416}
    assert files(CdForm.ISO, "cd-mode1-pregap") == {b"Game.iso": 454656}
    assert files(CdForm.BIN, "cd-mixed", b"cd-mixed") == {
        b"cd-mixed.cue": len((DATA / "cd-mixed.cue").read_bytes()),
        b"cd-mixed.bin": 1893360,
    }
    assert files(CdForm.TRACKS, "cd-mixed") == {
        b"Game.cue": 243,
        b"Game (Track 1).bin": 707952,
        b"Game (Track 2).bin": 830256,
        b"Game (Track 3).bin": 355152,
    }
    assert [*files(CdForm.TRACKS, "cd-default")] == [b"Game.cue", b"Game (Track 1).bin"]


def test_the_cue_sheet_names_the_files_beside_it() -> None:
    tracks = [Track(number, TrackType.AUDIO, 4) for number in range(1, 12)]
    pieces = chd_pieces(tracks, 44)
    for form, count in ((CdForm.BIN, 1), (CdForm.TRACKS, 11)):
        sheet, *others = files_of(form, b"A 'b' \xff", tracks, pieces)
        assert isinstance(sheet.content, bytes)
        named = [line.split(b'"')[1] for line in sheet.content.splitlines() if b"FILE" in line]
        assert named == [file.name for file in others]
        assert len(others) == count
        assert all(isinstance(file.content, CdView) for file in others)
    with pytest.raises(ValueError, match="no 2048 bytes of user data"):
        files_of(CdForm.ISO, b"A", tracks, pieces)
