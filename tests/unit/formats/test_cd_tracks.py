"""Tracks of a CHD's metadata and their cue sheets, against what chdman 0.276 and 0.289 write."""

import struct
from pathlib import Path

import pytest

from zsofs.errors import DamagedError
from zsofs.formats.cd_tracks import (
    Track,
    TrackType,
    cue_sheet,
    msf,
    parse_tracks,
    split_cue_sheet,
    track_file_name,
)

DATA = Path(__file__).parents[2] / "data" / "chd"


def text(
    number: int,
    kind: str,
    frames: int,
    *,
    pregap: int = 0,
    pregap_type: str = "MODE1",
    postgap: int = 0,
    subtype: str = "NONE",
) -> bytes:
    return (
        f"TRACK:{number} TYPE:{kind} SUBTYPE:{subtype} FRAMES:{frames} PREGAP:{pregap}"
        f" PGTYPE:{pregap_type} PGSUB:NONE POSTGAP:{postgap}\0"
    ).encode()


def metadata(path: Path) -> list[bytes]:
    """The texts of the tracks of a CHD, from its linked list of metadata."""
    data = path.read_bytes()
    (at,) = struct.unpack_from(">Q", data, 48)
    found = []
    while at:
        tag, length, following = struct.unpack_from(">4sIQ", data, at)
        assert tag == b"CHT2"
        found.append(data[at + 16 : at + 16 + (length & 0xFFFFFF)])
        at = following
    return found


@pytest.mark.parametrize("path", sorted(DATA.glob("cd-*.chd")), ids=lambda path: path.stem)
def test_the_cue_sheet_of_a_chd_is_the_one_of_chdman(path: Path) -> None:
    tracks = parse_tracks(metadata(path))
    assert cue_sheet(tracks, f"{path.stem}.bin".encode()) == path.with_suffix(".cue").read_bytes()


def test_tracks_of_a_chd() -> None:
    assert parse_tracks(metadata(DATA / "cd-mixed.chd")) == (
        Track(1, TrackType.MODE2_RAW, 301),
        Track(2, TrackType.AUDIO, 353, pregap=150, has_stored_pregap=True),
        Track(3, TrackType.AUDIO, 151),
    )
    assert parse_tracks(metadata(DATA / "cd-mode1-pregap.chd")) == (
        Track(1, TrackType.MODE1_RAW, 222),
        Track(2, TrackType.AUDIO, 97, pregap=150),
    )


def test_texts_of_old_versions_end_after_the_frames() -> None:
    old = b"TRACK:1 TYPE:MODE1_RAW SUBTYPE:NONE FRAMES:9"
    assert parse_tracks([old]) == (Track(1, TrackType.MODE1_RAW, 9),)
    assert parse_tracks([old + b"\0", b"TRACK:2 TYPE:AUDIO SUBTYPE:RW FRAMES:1 \0rest"]) == (
        Track(1, TrackType.MODE1_RAW, 9),
        Track(2, TrackType.AUDIO, 1, subtype="RW"),
    )


TYPES = {
    "MODE1": ("MODE1/2048", 2048, 0),
    "MODE1/2048": ("MODE1/2048", 2048, 0),
    "MODE1_RAW": ("MODE1/2352", 2352, 16),
    "MODE1/2352": ("MODE1/2352", 2352, 16),
    "MODE2": ("MODE2/2336", 2336, 8),
    "MODE2/2336": ("MODE2/2336", 2336, 8),
    "MODE2_FORM1": ("MODE2/2048", 2048, 0),
    "MODE2/2048": ("MODE2/2048", 2048, 0),
    "MODE2_FORM2": ("MODE2/2324", 2324, None),
    "MODE2/2324": ("MODE2/2324", 2324, None),
    "MODE2_FORM_MIX": ("MODE2/2336", 2336, 8),
    "MODE2_RAW": ("MODE2/2352", 2352, 24),
    "MODE2/2352": ("MODE2/2352", 2352, 24),
    "CDI/2352": ("MODE2/2352", 2352, 24),
    "AUDIO": ("AUDIO", 2352, None),
}
"""Names in metadata, what chdman 0.289 writes into the cue sheet for them, and bytes a sector."""


@pytest.mark.parametrize("name", TYPES)
def test_the_types_of_tracks(name: str) -> None:
    cue_name, size, user_data = TYPES[name]
    (track,) = parse_tracks([text(1, name, 5)])
    assert (track.type.cue_name, track.type.sector_size, track.type.user_data) == (
        cue_name,
        size,
        user_data,
    )
    assert track.size == 5 * size
    assert track.type.is_audio == (name == "AUDIO")
    sheet = f'FILE "a.bin" BINARY\n  TRACK 01 {cue_name}\n    INDEX 01 00:00:00\n'
    assert cue_sheet([track], b"a.bin") == sheet.encode()


def test_gaps_that_are_stored_and_gaps_that_are_not() -> None:
    tracks = parse_tracks(
        [
            text(1, "MODE1_RAW", 9, pregap=4, pregap_type="VMODE1_RAW", postgap=3),
            text(2, "AUDIO", 6, pregap=2, pregap_type="VAUDIO"),
            text(3, "AUDIO", 7, pregap=80, postgap=20),
        ]
    )
    assert [track.stored_pregap for track in tracks] == [4, 2, 0]
    assert cue_sheet(tracks, b"g.bin").decode() == (
        'FILE "g.bin" BINARY\n'
        "  TRACK 01 MODE1/2352\n"
        "    INDEX 00 00:00:00\n"
        "    INDEX 01 00:00:04\n"
        "    POSTGAP 00:00:03\n"
        "  TRACK 02 AUDIO\n"
        "    INDEX 00 00:00:09\n"
        "    INDEX 01 00:00:11\n"
        "  TRACK 03 AUDIO\n"
        "    PREGAP 00:01:05\n"
        "    INDEX 01 00:00:15\n"
        "    POSTGAP 00:00:20\n"
    )
    assert split_cue_sheet(tracks, b"g").decode() == (
        'FILE "g (Track 1).bin" BINARY\n'
        "  TRACK 01 MODE1/2352\n"
        "    INDEX 00 00:00:00\n"
        "    INDEX 01 00:00:04\n"
        "    POSTGAP 00:00:03\n"
        'FILE "g (Track 2).bin" BINARY\n'
        "  TRACK 02 AUDIO\n"
        "    INDEX 00 00:00:00\n"
        "    INDEX 01 00:00:02\n"
        'FILE "g (Track 3).bin" BINARY\n'
        "  TRACK 03 AUDIO\n"
        "    PREGAP 00:01:05\n"
        "    INDEX 01 00:00:00\n"
        "    POSTGAP 00:00:20\n"
    )


def test_tracks_are_ordered_by_number_and_may_be_empty() -> None:
    tracks = parse_tracks(
        [text(3, "AUDIO", 4), text(1, "MODE1_RAW", 9), text(2, "AUDIO", 0, subtype="RW_RAW")]
    )
    assert [track.frames for track in tracks] == [9, 0, 4]
    assert tracks[1].subtype == "RW_RAW"
    assert cue_sheet(tracks, b"z.bin").decode().splitlines()[4:] == [
        "    INDEX 01 00:00:09",
        "  TRACK 03 AUDIO",
        "    INDEX 01 00:00:09",
    ]


def test_names_of_tracks_have_two_digits_from_ten_tracks_on() -> None:
    assert track_file_name(b"Game", 1, 1) == b"Game (Track 1).bin"
    assert track_file_name(b"Game", 9, 9) == b"Game (Track 9).bin"
    assert track_file_name(b"Game", 1, 10) == b"Game (Track 01).bin"
    assert track_file_name(b"G\xff", 10, 99) == b"G\xff (Track 10).bin"
    ten = parse_tracks(text(number, "AUDIO", 5) for number in range(1, 11))
    assert b'FILE "many (Track 01).bin" BINARY\n  TRACK 01' in split_cue_sheet(ten, b"many")


@pytest.mark.parametrize(
    ("frames", "shown"),
    [
        (0, "00:00:00"),
        (74, "00:00:74"),
        (75, "00:01:00"),
        (4500, "01:00:00"),
        (450000, "100:00:00"),
    ],
)
def test_times(frames: int, shown: str) -> None:
    assert msf(frames) == shown


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([b""], "in an unknown form"),
        ([b"TRACK:1"], "in an unknown form"),
        ([text(1, "AUDIO", 5).replace(b"FRAMES", b"FRAME")], "in an unknown form"),
        ([text(1, "AUDIO", 10**9)], "in an unknown form"),
        ([text(1, "AUDIO", 5)[:-5]], "in an unknown form"),
        ([b"\xff\n" + text(1, "AUDIO", 5)], "in an unknown form"),
        ([text(1, "NONSENSE", 5)], "is of the unknown type 'NONSENSE'"),
        ([text(1, "CDI/2336", 5)], "is of the unknown type 'CDI/2336'"),
        ([text(2, "AUDIO", 5)], "numbers its tracks 2; expected 1 to 99 at most"),
        ([text(1, "AUDIO", 5)] * 2, "numbers its tracks 1, 1; expected"),
        ([text(1, "AUDIO", 5), text(3, "AUDIO", 5)], "numbers its tracks 1, 3; expected"),
        ([text(n, "AUDIO", 5) for n in range(1, 101)], "8, 9, 10, …; expected"),
        (
            [text(1, "AUDIO", 5, pregap=6, pregap_type="VAUDIO")],
            "track 1 of the CHD has 5 frames, fewer than its stored pregap of 6",
        ),
    ],
)
def test_metadata_that_describe_no_disc(texts: list[bytes], message: str) -> None:
    with pytest.raises(DamagedError) as caught:
        parse_tracks(texts)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_no_metadata_are_no_tracks() -> None:
    assert parse_tracks([]) == ()
