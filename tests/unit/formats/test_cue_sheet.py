"""Cue sheets: what chdman, Redump and others write, and what is no sheet."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rounds import rounds
from zsofs.errors import DamagedError, ForeignError
from zsofs.formats.cd_tracks import Track, TrackType, cue_sheet, split_cue_sheet
from zsofs.formats.cue_sheet import MAX_SIZE, CueFile, CueTrack, parse_cue_sheet, tracks_of_file

DATA = Path(__file__).parents[2] / "data" / "chd"

REDUMP = (
    'FILE "Game (Track 1).bin" BINARY\r\n'
    "  TRACK 01 MODE2/2352\r\n"
    "    INDEX 01 00:00:00\r\n"
    'FILE "Game (Track 2).bin" BINARY\r\n'
    "  TRACK 02 AUDIO\r\n"
    "    INDEX 00 00:00:00\r\n"
    "    INDEX 01 00:02:00\r\n"
)

MANY_WORDS = """\ufeffREM GENRE Game
CATALOG 0123456789012
PERFORMER "FILE"
  file  Game disc.bin   binary

  TRACK 1 mode1/2352
    FLAGS DCP
    TITLE "TRACK 07 AUDIO"
    INDEX 1 0:0:0
    POSTGAP 0:2:0
  TRACK 3 AUDIO
    ISRC ABCDE1234567
    PREGAP 00:02:00
    INDEX 01 01:00:00
    INDEX 02 01:00:10
    INDEX 03 01:00:11
"""


def test_what_redump_has() -> None:
    files = parse_cue_sheet(REDUMP.encode())
    assert files == (
        CueFile(
            b"Game (Track 1).bin", "BINARY", [CueTrack(1, TrackType.MODE2_RAW, indexes={1: 0})]
        ),
        CueFile(
            b"Game (Track 2).bin",
            "BINARY",
            [CueTrack(2, TrackType.AUDIO, indexes={0: 0, 1: 150})],
        ),
    )
    assert tracks_of_file(files[1], 200 * 2352) == (
        (Track(2, TrackType.AUDIO, 200, pregap=150, has_stored_pregap=True), 0),
    )


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_what_other_programs_write(line_end: str) -> None:
    (file,) = parse_cue_sheet(MANY_WORDS.replace("\n", line_end).encode())
    assert (file.name, file.kind) == (b"Game disc.bin", "BINARY")
    assert file.tracks == [
        CueTrack(1, TrackType.MODE1_RAW, postgap=150, indexes={1: 0}),
        CueTrack(3, TrackType.AUDIO, pregap=150, indexes={1: 4500, 2: 4510, 3: 4511}),
    ]
    assert tracks_of_file(file, 4600 * 2352 + 7) == (
        (Track(1, TrackType.MODE1_RAW, 4500, postgap=150), 0),
        (Track(3, TrackType.AUDIO, 100, pregap=150), 4500 * 2352),
    )


@pytest.mark.parametrize("path", sorted(DATA.glob("cd-*.cue")), ids=lambda path: path.stem)
def test_the_sheets_of_chdman_are_read_as_they_were_written(path: Path) -> None:
    (file,) = parse_cue_sheet(path.read_bytes())
    size = {"cd-mixed": 1893360, "cd-mode1-pregap": 750288, "cd-of-dvd-iso": 1468416}
    tracks = [track for track, _begin in tracks_of_file(file, size.get(path.stem, 1646400))]
    assert cue_sheet(tracks, file.name) == path.read_bytes()


KINDS = [kind for kind in TrackType if kind is not TrackType.MODE2_FORM_MIX]


@settings(max_examples=rounds(150, 600))
@given(data=st.data())
def test_what_is_written_is_read_again(data: st.DataObject) -> None:
    tracks = []
    for number in range(1, data.draw(st.integers(1, 12)) + 1):
        frames = data.draw(st.integers(1, 5000))
        pregap = data.draw(st.integers(0, frames))
        tracks.append(
            Track(
                number,
                data.draw(st.sampled_from(KINDS)),
                frames,
                pregap,
                has_stored_pregap=bool(pregap) and data.draw(st.booleans()),
                postgap=data.draw(st.integers(0, 200)),
            )
        )
    (file,) = parse_cue_sheet(cue_sheet(tracks, b"a b.bin"))
    found = tracks_of_file(file, sum(track.size for track in tracks))
    assert [track for track, _ in found] == tracks
    assert [begin for _, begin in found] == [
        sum(track.size for track in tracks[:number]) for number in range(len(tracks))
    ]
    files = parse_cue_sheet(split_cue_sheet(tracks, b"Game"))
    assert [
        one
        for file, track in zip(files, tracks, strict=True)
        for one in tracks_of_file(file, track.size)
    ] == [(track, 0) for track in tracks]


HEAD = b'FILE "a.bin" BINARY\n TRACK 01 AUDIO\n INDEX 01 00:00:00\n'


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        (b"", "line 1 of the cue sheet: there is no track"),
        (b"REM nothing", "line 1 of the cue sheet: there is no track"),
        (b'FILE "a.bin" BINARY', "line 1 of the cue sheet: there is no track"),
        (b"\xff\xfe\0", "there is no track"),
        (b'FILE "a.bin"', "line 1 of the cue sheet: a FILE needs a name and a type"),
        (b'FILE "" BINARY', "a FILE needs a name and a type"),
        (b"FILE a.bin", "a FILE needs a name and a type"),
        (b"FILE", "a FILE needs a name and a type"),
        (b'FILE "a.bin BINARY', "a FILE needs a name and a type"),
        (b'FILE "a" b "c" BINARY', "a FILE needs a name and a type"),
        (b"TRACK 01 AUDIO", "a TRACK stands before the first FILE"),
        (b"INDEX 01 00:00:00", "INDEX stands before the first TRACK of its FILE"),
        (HEAD + b"TRACK", "line 4 of the cue sheet: a TRACK needs a number and a type"),
        (HEAD + b"TRACK 1234 AUDIO", "a TRACK needs a number and a type"),
        (HEAD + b"TRACK 02 VIDEO", "the track type 'VIDEO' is not supported"),
        (HEAD + b"TRACK 02 CDG", "the track type 'CDG' is not supported"),
        (HEAD + b"TRACK 02 M\xc3", "the track type 'M\\\\XC3' is not supported"),
        (HEAD + b"TRACK 01 AUDIO", "track 1 follows track 1"),
        (HEAD + b"TRACK 00 AUDIO", "track 0 follows track 1"),
        (HEAD + b"TRACK 02 AUDIO", "track 2 has no INDEX 01"),
        (HEAD + b"TRACK 02 AUDIO\nTRACK 03 AUDIO", "track 2 has no INDEX 01"),
        (HEAD + b'TRACK 02 AUDIO\nFILE "b" BINARY', "track 2 is spread over two files"),
        (HEAD + b"INDEX 01 00:00:01", "INDEX 01 is out of order"),
        (HEAD + b"INDEX 03 00:00:01", "INDEX 03 is out of order"),
        (HEAD + b"TRACK 02 AUDIO\nINDEX 02 00:00:01", "INDEX 02 is out of order"),
        (HEAD + b"INDEX 02 00:00:75", "00:00:75 is no time"),
        (HEAD + b"INDEX 02 00:60:00", "00:60:00 is no time"),
        (HEAD + b"INDEX 02 00:60", "an INDEX needs a number and a time"),
        (HEAD + b"INDEX 02 1000:00:00", "an INDEX needs a number and a time"),
        (
            HEAD + b"INDEX 02 00:00:05\nTRACK 02 AUDIO\nINDEX 01 00:00:04",
            "INDEX 01 lies before the one in front of it",
        ),
        (HEAD + b"PREGAP 00:00:05", "a PREGAP stands behind an INDEX"),
        (HEAD + b"POSTGAP soon", "a time has the form 00:00:00"),
        (HEAD + b"TRACK 02 AUDIO\nPOSTGAP 00:00:05", "a POSTGAP stands before INDEX 01"),
        (HEAD + b'FILE "b" BINARY\nPREGAP 00:00:05', "PREGAP stands before the first TRACK"),
        (HEAD + b" " * MAX_SIZE, f"the cue sheet has more than {MAX_SIZE} bytes"),
    ],
)
def test_what_is_no_cue_sheet(sheet: bytes, message: str) -> None:
    with pytest.raises(DamagedError) as caught:
        parse_cue_sheet(sheet)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_second_file_begins_at_its_own_zero() -> None:
    later = HEAD.replace(b"00:00:00", b"00:09:00") + HEAD.replace(b"01 AUDIO", b"02 AUDIO")
    assert [file.tracks[0].start for file in parse_cue_sheet(later)] == [675, 0]


def test_files_that_are_too_short_or_of_another_kind() -> None:
    (file,) = parse_cue_sheet(MANY_WORDS.encode())
    assert tracks_of_file(file, 4500 * 2352)[1][0].frames == 0
    with pytest.raises(DamagedError, match="track 1 at byte 0 of a file of 10583999 bytes"):
        tracks_of_file(file, 4500 * 2352 - 1)
    with pytest.raises(DamagedError, match="track 1 at byte 0 of a file of 10 bytes"):
        tracks_of_file(file, 10)
    (file,) = parse_cue_sheet(REDUMP.encode())[1:]
    assert tracks_of_file(file, 150 * 2352)[0][0].frames == 150
    with pytest.raises(DamagedError, match="track 2 at byte 0"):
        tracks_of_file(file, 150 * 2352 - 1)
    (file,) = parse_cue_sheet(HEAD.replace(b"BINARY", b"wave"))
    with pytest.raises(
        ForeignError, match="track 1 is in a file of the type WAVE; expected BINARY"
    ):
        tracks_of_file(file, 10**6)


@settings(max_examples=rounds(300, 5000), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_text_is_a_sheet_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    lines = (REDUMP + MANY_WORDS).encode().splitlines()
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(lines))
        line = bytearray(lines[chance.randrange(len(lines))])
        if line and chance.random() < 0.7:
            line[chance.randrange(len(line))] = chance.randrange(256)
        lines[at] = bytes(line) if chance.random() < 0.8 else b""
    message = ""
    try:
        for file in parse_cue_sheet(b"\n".join(lines)):
            if file.kind == "BINARY":
                found = tracks_of_file(file, 10_000_000)
                assert all(0 <= begin <= begin + one.size <= 10_000_000 for one, begin in found)
    except DamagedError as error:
        message = str(error)
    assert not message or message.isprintable()
