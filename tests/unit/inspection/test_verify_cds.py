"""`zsofs verify` of CDs, by track: CHDs, `.bin` with and without a cue sheet, containers, sets."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tests.mount.following.test_scan_cache import cache_home as cache_home
from tests.support import writers
from tests.support.checks import dat_of, result, results, rom
from tests.support.mounting import DATA
from tests.support.packed import reports, zsofs
from tests.unit.inspection.test_verify import age, put
from tests.unit.pack.test_pack_cds import CDS, CHDS
from zsofs.discs.dat import Dat, load
from zsofs.discs.dat_tracks import best_match

MIXED = "cd-mixed.chd"
GAME = "Sample & CD (USA)"

pytestmark = pytest.mark.usefixtures("cache_home")


def lines_of(name: str, game: str = GAME) -> list[str]:
    """The files of a CD as Redump lists them; the checksums are of what chdman extracts."""
    tracks = CDS[name]["tracks"]
    found = []
    for number, track in enumerate(tracks, 1):
        label = f" (Track {number})" if len(tracks) > 1 else ""
        line = rom(f"{game}{label}.bin", b"", keys="", size=str(track["size"]))
        found.append(line.replace("/>", f' sha1="{track["sha1"]}"/>'))
    return [rom(f"{game}.cue", b"a sheet with CRLF"), *found]


def dat(tmp_path: Path, *lines: str, games: dict[str, list[str]] | None = None) -> Dat:
    return load(put(tmp_path / "cd.dat", dat_of(games or {GAME: list(lines)}).encode()))


@pytest.fixture
def bins(tmp_path: Path) -> Path:
    """The mixed CD as `Game.cue` and `Game.bin`, and as `Set.cue` and a file for each track."""
    shutil.copy(CHDS / MIXED, tmp_path / "Game.chd")
    zsofs("unpack", tmp_path / "Game.chd")
    zsofs("unpack", "--cd", "tracks", tmp_path / "Game.chd", "-o", tmp_path / "set" / "Set.cue")
    (tmp_path / "Game.chd").unlink()
    return tmp_path


@pytest.mark.parametrize("name", CDS)
def test_chds_of_chdman(tmp_path: Path, name: str) -> None:
    count = len(CDS[name]["tracks"])
    found = result(CHDS / name, dat(tmp_path, *lines_of(name)))
    assert found.verdict.state == "verified"
    assert found.verdict.game == GAME
    assert found.verdict.reason.endswith(f", all {count} tracks") == (count > 1)
    told = [(track.size, track.digests.sha1) for track in found.tracks]
    assert told == [(track["size"], track["sha1"]) for track in CDS[name]["tracks"]]
    assert found.size == CDS[name]["bin_size"]
    assert found.digests.sha1 == CDS[name]["bin_sha1"]


def test_a_chd_of_an_iso_is_not_comparable(tmp_path: Path) -> None:
    """A DAT cannot have its 2048-byte sectors: that is no sign of damage."""
    name = "cd-of-dvd-iso.chd"
    frames = CDS[name]["tracks"][0]["size"] // 2048
    chd = tmp_path / f"{GAME}.chd"
    shutil.copy(CHDS / name, chd)
    line = rom(f"{GAME}.bin", b"", keys="", size=str(frames * 2352))
    line = line.replace("/>", f' sha1="{"1" * 40}"/>')
    found = result(chd, dat(tmp_path, rom(f"{GAME}.cue", b""), line)).verdict
    assert found.state == "not comparable"
    assert found.reason.endswith(f"according to its size it may be “{GAME}”")


def test_some_tracks(tmp_path: Path) -> None:
    cue, one, two, three = lines_of(MIXED)
    other = two.replace(CDS[MIXED]["tracks"][1]["sha1"], "0" * 40)
    found = result(CHDS / MIXED, dat(tmp_path, cue, one, other, three)).verdict
    assert (found.state, found.matching) == ("unknown", (True, False, True))
    assert found.reason == (
        f"2 of 3 tracks are those of “{GAME}” of Sony - PlayStation 2; other tracks: 2"
    )
    fourth = rom(f"{GAME} (Track 4).bin", b"\1" * 2352)
    found = result(CHDS / MIXED, dat(tmp_path, cue, one, two, three, fourth)).verdict
    assert found.state == "unknown"
    assert found.reason.endswith("all 3 tracks are those of “" + GAME + "” of"
                                 " Sony - PlayStation 2; the DAT has 4 tracks")  # fmt: skip
    mixed_up = [two.replace("Track 2", "Track 3"), three.replace("Track 3", "Track 2")]
    found = result(CHDS / MIXED, dat(tmp_path, cue, one, *mixed_up)).verdict
    assert found.state == "unknown"
    assert found.reason.endswith(", but in another order")
    found = result(CHDS / MIXED, dat(tmp_path, rom("Other.bin", b"other"))).verdict
    assert (found.state, found.matching) == ("unknown", ())


def test_one_track_of_a_cd_is_not_the_cd(tmp_path: Path) -> None:
    lines = [*lines_of("cd-default.chd"), rom(f"{GAME} (Track 2).bin", b"\1" * 2352)]
    found = result(CHDS / "cd-default.chd", dat(tmp_path, *lines)).verdict
    assert found.state == "unknown"
    assert "its only track is one of “" in found.reason
    assert "the DAT has 2 tracks" in found.reason
    zsofs("unpack", "--cd", "tracks", CHDS / "cd-default.chd", "-o", tmp_path / "x" / "G.cue")
    alone = tmp_path / "x" / "G (Track 1).bin"
    (tmp_path / "x" / "G.cue").unlink()
    assert result(alone, dat(tmp_path, *lines)).verdict.state == "verified", "a file that is listed"


def test_the_order_and_the_game_with_most_tracks(tmp_path: Path) -> None:
    cue, *tracks = lines_of(MIXED)
    games = {"Part": [cue, tracks[1]], GAME: [cue, *reversed(tracks)], "Twin": [cue, *tracks]}
    found = result(CHDS / MIXED, dat(tmp_path, games=games))
    assert (found.verdict.state, found.verdict.game) == ("verified", GAME)
    match = best_match(dat(tmp_path, games=games), found.tracks, "twin")
    assert match is not None
    assert match.game == "Twin", "of equal games that with the name of the file"


def test_one_bin(bins: Path) -> None:
    known = dat(bins, *lines_of(MIXED))
    for path in (bins / "Game.bin", bins / "Game.cue"):
        found = result(path, known)
        assert found.path == str(path)
        assert (found.verdict.state, len(found.tracks)) == ("verified", 3)
        assert found.verdict.reason.endswith(", all 3 tracks")
    (bins / "Game.cue").unlink()
    found = result(bins / "Game.bin", known)
    assert found.verdict.state == "verified", "divided as in the DAT"
    data = bytearray((bins / "Game.bin").read_bytes())
    data[-5] ^= 1
    found = result(put(bins / "Game.bin", bytes(data)), known)
    assert (found.verdict.state, found.verdict.matching) == ("unknown", (True, True, False))


def test_a_raw_container(bins: Path) -> None:
    image = (bins / "Game.bin").read_bytes()
    (bins / "Game.bin").unlink()
    known = dat(bins, *lines_of(MIXED))
    for name in ("Game.zso", "Other.zso"):
        packed = put(bins / name, writers.danixu(image, block_size=2352))
        found = result(packed, known)
        assert found.verdict.state == "verified", "by the sheet, or divided as in the DAT"
        assert len(found.tracks) == 3


def test_an_iso_beside_the_sheet_of_its_bin(tmp_path: Path) -> None:
    name = "cd-default.chd"
    zsofs("unpack", "--cd", "bin", CHDS / name, "-o", tmp_path / "Game.bin")
    zsofs("unpack", "--cd", "iso", CHDS / name, "-o", tmp_path / "Game.iso")
    zsofs("pack", tmp_path / "Game.iso")
    redump = dat(tmp_path, *lines_of(name))
    assert result(tmp_path / "Game.bin", redump).verdict.state == "verified"
    found = result(tmp_path / "Game.zso", redump)
    assert found.verdict.state == "not comparable"
    assert not found.tracks, "those of the .bin"


@pytest.mark.parametrize("ending", [".bin", ".iso"])
def test_a_truncated_cd_is_bad_whatever_else_the_dat_has(tmp_path: Path, ending: str) -> None:
    """As long as another CD of the DAT by chance, which of 10,000 one is now and then."""
    path, sectors = tmp_path / f"Game{ending}", 400
    zsofs("unpack", "--cd", ending[1:], CHDS / "cd-default.chd", "-o", path)
    (tmp_path / "Game.cue").unlink(missing_ok=True)
    os.truncate(path, sectors * (2352 if ending == ".bin" else 2048))
    one, two = (rom(f"Other (Track {at}).bin", bytes(200 * 2352), keys="sha1") for at in (1, 2))
    alone = rom("Alone.bin", bytes(sectors * 2352), keys="sha1")
    for games in ({"Other": [one, two]}, {"Alone": [alone]}, {"None": [one]}):
        found = result(path, dat(tmp_path, games=games)).verdict
        assert found.state == "bad"
        assert found.reason.startswith("the image is truncated: 317 of its 717 sectors are missing")


def test_a_set_of_files(bins: Path) -> None:
    folder = bins / "set"
    known = dat(bins, *lines_of(MIXED))
    assert result(folder / "Set.cue", known).verdict.reason.endswith(", all 3 tracks")
    states = {Path(one.path).name: one.verdict.state for one in results(folder, dats=(known,))}
    assert states == dict.fromkeys(
        ["Set (Track 1).bin", "Set (Track 2).bin", "Set (Track 3).bin", "Set.cue"], "verified"
    )
    track = folder / "Set (Track 3).bin"
    data = bytearray(track.read_bytes())
    data[9] ^= 1
    track.write_bytes(data)
    found = result(folder / "Set.cue", known).verdict
    assert (found.state, found.matching) == ("unknown", (True, True, False))
    assert result(folder / "Set.cue", quick=True).verdict.state in ("sound", "bad")
    track.unlink()
    for paths in ([folder / "Set.cue"], [folder]):
        *_, found_last = results(*paths, dats=(known,))
        assert found_last.verdict.state == "bad"
        assert found_last.verdict.reason == (
            "the file Set (Track 3).bin, which the cue sheet names, does not exist"
        )
    for other in folder.glob("*.bin"):
        other.unlink()
    assert results(folder, dats=(known,)) == [], "a sheet of files that are elsewhere"


def test_a_sheet_with_files_of_another_type(bins: Path) -> None:
    """In a directory, one that zsofs does not read is no sign of damage."""
    cue = bins / "set" / "Set.cue"
    head, rest = cue.read_text().split("\n", 1)
    cue.write_text(head + "\n" + rest.replace("BINARY", "WAVE"))
    assert [Path(one.path).name for one in results(bins / "set")] == ["Set (Track 1).bin"]
    verdict = result(cue).verdict
    assert verdict.state == "unreadable"
    assert "file       Set (Track 2).bin" in zsofs("info", cue).stdout
    assert verdict.reason == "track 2 is in a file of the type WAVE; expected BINARY"


def test_a_sheet_that_contradicts_its_file(bins: Path) -> None:
    known = dat(bins, *lines_of(MIXED))
    sheet = (bins / "Game.cue").read_text()
    put(bins / "Game.cue", sheet.replace("00:08:54", "10:08:54").encode())
    found = result(bins / "Game.cue", known).verdict
    assert found.state == "bad"
    assert "which is too short for it" in found.reason
    assert result(bins / "Game.bin", known).verdict.state == "verified", "the sheet is not used"
    put(bins / "Game.cue", b"no sheet")
    found = result(bins / "Game.cue", known).verdict
    assert (found.state, found.reason) == ("bad", "line 1 of the cue sheet: there is no track")
    assert [one.verdict.state for one in results(bins / "Game.bin", dats=(known,))] == ["verified"]


def test_json_and_the_cache(bins: Path) -> None:
    cds = put(bins / "cd.dat", dat_of({GAME: lines_of(MIXED)}).encode())
    file = bins / "Game.bin"
    age(file)
    (first,) = reports("verify", "--dat", cds, file)
    assert [one["in_dat"] for one in first["tracks"]] == [True, True, True]
    assert [one["sha1"] for one in first["tracks"]] == [
        track["sha1"] for track in CDS[MIXED]["tracks"]
    ]
    (again,) = reports("verify", "--dat", cds, file)
    assert again["read_before"]
    assert again["tracks"] == first["tracks"]
    sheet = (bins / "Game.cue").read_text()
    put(bins / "Game.cue", sheet.replace("INDEX 00 00:04:01", "INDEX 00 00:04:02").encode())
    (other,) = reports("verify", "--dat", cds, file, code=10)
    assert not other["read_before"], "its tracks are others now"
    assert [one["in_dat"] for one in other["tracks"]] == [False, False, True]
    (plain,) = reports("verify", DATA / "ps2.iso")
    assert plain["tracks"] is None
    whole = hashlib.sha1(file.read_bytes()).hexdigest()
    assert first["sha1"] == again["sha1"] == other["sha1"] == whole


def test_audio_in_other_files_is_not_damage(bins: Path) -> None:
    text = b'FILE "Game.bin" BINARY\n  TRACK 01 MODE2/2352\n    INDEX 01 00:00:00\n'
    put(bins / "Game.wav", b"RIFF")
    put(
        bins / "Game.cue", text + b'FILE "Game.wav" WAVE\n  TRACK 02 AUDIO\n    INDEX 01 00:00:00\n'
    )
    found = result(bins / "Game.cue").verdict
    assert (found.state, found.reason) == (
        "unreadable", "track 2 is in a file of the type WAVE; expected BINARY"
    )  # fmt: skip
    done = zsofs("info", bins / "Game.cue")
    assert "file       Game.wav" in done.stdout


def test_images_that_begin_with_audio(tmp_path: Path) -> None:
    tracks = [bytes([1, 0, value, 0]) * 588 * 300 for value in (1, 2)]
    put(tmp_path / "Game.bin", b"".join(tracks))
    put(
        tmp_path / "Game.cue",
        b'FILE "Game.bin" BINARY\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n'
        b"  TRACK 02 AUDIO\n    INDEX 01 00:04:00\n",
    )
    put(tmp_path / "card.bin", b"\1" * 2352)
    files = [rom(f"{GAME} (Track {at}).bin", track) for at, track in enumerate(tracks, 1)]
    nothing = rom(f"{GAME} (Track 3).bin", b"")
    (found,) = results(tmp_path, dats=(dat(tmp_path, *files, nothing),))
    assert found.path == f"{tmp_path}/Game.bin"
    assert "not recognized" not in zsofs("verify", "--no-cache", tmp_path / "Game.cue").stdout
    assert (found.verdict.state, found.verdict.game) == ("verified", GAME)
