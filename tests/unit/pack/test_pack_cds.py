"""CDs as inputs: every form that `zsofs unpack --cd` writes, and cue sheets that are packed."""

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import writers
from tests.support.mounting import DATA, ZSOFS, names
from tests.support.packed import image_of, left_in, reports, zsofs
from tests.unit.discs.test_form2 import FILES, MIXED, PS1, xa_image
from tests.unit.discs.test_identify import raw
from zsofs.discs.cd_forms import CdForm
from zsofs.discs.cd_image import as_iso
from zsofs.formats.cd_tracks import Track, TrackType
from zsofs.images.input_image import original
from zsofs.pack import unpacker
from zsofs.pack.atomic_file import NewFile
from zsofs.pack.batch import run
from zsofs.pack.jobs import PackRequest
from zsofs.pack.packer import PackOptions
from zsofs.pack.report import Reporter
from zsofs.system import renames

CHDS = DATA / "chd"
CDS: dict[str, Any] = {
    name: about
    for name, about in json.loads((CHDS / "manifest.json").read_text()).items()
    if name != "_" and about["kind"] == "cd"
}


def sha1(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def sheet(name: str, *tracks: str) -> bytes:
    lines = [f'FILE "{name}" BINARY']
    for number, track in enumerate(tracks, 1):
        lines += [f"  TRACK {number:02d} {track}", f"    INDEX 01 00:00:{number - 1:02d}"]
    return "\r\n".join(lines).encode()


# Unpack


@pytest.mark.parametrize("name", CDS)
def test_each_form_of_a_chd(tmp_path: Path, name: str) -> None:
    about = CDS[name]
    shutil.copy(CHDS / name, tmp_path / "Game.chd")
    for form in ("iso", "bin", "tracks"):
        (one,) = reports("unpack", "--cd", form, tmp_path / "Game.chd", "-o", f"{tmp_path}/{form}/")
        assert one["state"] == "unpacked"
        assert sorted(one["outputs"]) == [str(path) for path in sorted((tmp_path / form).iterdir())]
        (again,) = reports("unpack", "--cd", form, tmp_path / "Game.chd", "-o", tmp_path / form)
        assert again["state"] == "skipped", again
    if "iso_sha1" in about:
        assert sha1(tmp_path / "iso" / "Game.iso") == about["iso_sha1"]
    assert sha1(tmp_path / "bin" / "Game.bin") == about["bin_sha1"]
    named = (CHDS / about["cue"]).read_bytes().replace(Path(name).stem.encode(), b"Game")
    assert (tmp_path / "bin" / "Game.cue").read_bytes() == named
    for number, track in enumerate(about["tracks"], 1):
        assert sha1(tmp_path / "tracks" / f"Game (Track {number}).bin") == track["sha1"]
    assert len(names(tmp_path / "tracks")) == 1 + len(about["tracks"])
    text = (tmp_path / "tracks" / "Game.cue").read_text()
    assert text.count('FILE "Game (Track ') == len(about["tracks"])


def test_a_dvd_is_an_iso_in_each_form(tmp_path: Path) -> None:
    for form in ("iso", "bin", "tracks"):
        zsofs("unpack", "--cd", form, CHDS / "dvd-default.chd", "-o", f"{tmp_path}/{form}/")
        assert names(tmp_path / form) == ["dvd-default.iso"]


def test_names_of_sets(tmp_path: Path) -> None:
    source = shutil.copy(CHDS / "cd-mixed.chd", tmp_path / "Game.chd")
    done = zsofs("unpack", "--cd", "tracks", source, "-o", tmp_path / "Other.bin", code=8)
    assert "give a name that ends in .cue, or a directory" in done.stderr
    done = zsofs("unpack", "--cd", "tracks", source, "-o", "-", code=8)
    assert "-o - takes one image" in done.stderr
    done = zsofs("unpack", "--cd", "iso", source)
    assert "an .iso cannot hold its audio tracks, of which there are 2" in done.stderr
    line = zsofs("unpack", "--cd", "tracks", source, "-o", tmp_path / "O.cue").stdout
    assert f"{tmp_path}/O.cue and 3 .bin files" in line
    (tmp_path / "O (Track 2).bin").unlink()
    done = zsofs("unpack", "--cd", "tracks", source, "-o", tmp_path / "O.cue", code=8)
    assert "but other files of the disc are missing; use --force to write all" in done.stderr
    zsofs("unpack", "--force", "--cd", "tracks", source, "-o", tmp_path / "O.cue")
    (tmp_path / "O.cue").write_text("other")
    done = zsofs("unpack", "--cd", "tracks", source, "-o", tmp_path / "O.cue", code=8)
    assert "its cue sheet is missing or differs" in done.stderr
    zsofs("unpack", "--force", "--cd", "tracks", source, "-o", tmp_path / "O.cue")
    assert (tmp_path / "O.cue").read_text().startswith("FILE")
    (tmp_path / "O.cue").unlink()
    os.mkfifo(tmp_path / "O.cue")
    done = zsofs("unpack", "--cd", "tracks", source, "-o", tmp_path / "O.cue", code=8)
    assert "its cue sheet is missing or differs" in done.stderr


def test_the_source_of_a_set_is_deleted_if_nothing_is_lost(tmp_path: Path) -> None:
    source = Path(shutil.copy(CHDS / "cd-default.chd", tmp_path / "Game.chd"))
    done = zsofs("unpack", "--cd", "iso", "--delete-source", source, code=8)
    assert "the CHD has whole CD sectors" in done.stderr
    zsofs("unpack", "--cd", "tracks", "--delete-source", source)
    assert names(tmp_path) == ["Game (Track 1).bin", "Game.cue", "Game.iso"]


def test_a_name_that_is_taken_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files that have their names already are deleted again: a set is whole or not there."""
    source = shutil.copy(CHDS / "cd-mixed.chd", tmp_path / "Game.chd")
    taken = tmp_path / "Game (Track 3).bin"
    take = NewFile.take_name

    def take_name(self: NewFile, *, replace: bool) -> None:
        if not taken.exists():
            taken.write_bytes(b"of another program")
        take(self, replace=replace)

    monkeypatch.setattr(NewFile, "take_name", take_name)
    request = PackRequest([str(source)], None, False, None, PackOptions(), form=CdForm.TRACKS)
    told: list[str] = []
    code = run(
        request, Reporter(quiet=True, as_json=False), lambda path, _size, _sums: told.append(path)
    )
    assert (code, told) == (8, [])
    assert "was created during the run" in capsys.readouterr().err
    assert names(tmp_path) == ["Game (Track 3).bin", "Game.chd"]
    assert taken.read_bytes() == b"of another program"


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("failure", ["name", "disk"])
def test_a_set_that_cannot_be_replaced_as_a_whole(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: str,
    can_exchange: bool,
) -> None:
    """--force: the files that were replaced are restored, or named if the disk cannot do that."""
    source = shutil.copy(CHDS / "cd-mixed.chd", tmp_path / "Game.chd")
    there = [tmp_path / f"Game (Track {number}).bin" for number in (1, 3)]
    for path in (*there, tmp_path / "Game.cue"):
        path.write_bytes(b"before")
    take, taken = NewFile.take_name, []

    def take_name(self: NewFile, *, replace: bool) -> None:
        taken.append(self)
        if len(taken) == 3 and failure == "name":
            there[1].unlink()
            there[1].write_bytes(b"of another program")
        elif len(taken) == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        take(self, replace=replace)

    def cannot(*_: str) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(NewFile, "take_name", take_name)
    if not can_exchange:
        monkeypatch.setattr(renames, "rename_exchange", cannot)
    options = PackOptions(replace=True)
    request = PackRequest([str(source)], None, False, None, options, form=CdForm.TRACKS)
    reporter = Reporter(quiet=True, as_json=False)
    assert run(request, reporter, lambda *_: None) == 8
    said = capsys.readouterr().err
    assert ("was replaced or modified during the run" in said) == (failure == "name")
    assert (f"; before that, {there[0]} had been replaced" in said) == (not can_exchange)
    assert names(tmp_path) == [*(path.name for path in there), "Game.chd", "Game.cue"]
    assert (there[0].read_bytes() == b"before") == can_exchange
    assert there[1].read_bytes() == (b"of another program" if failure == "name" else b"before")
    assert (tmp_path / "Game.cue").read_bytes() == b"before"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_set_leaves_nothing(tmp_path: Path, number: int) -> None:
    """Stopped while it reads back, when all files are written."""
    script = (
        "import os, signal, sys\n"
        "from zsofs.pack import unpacker\n"
        "from zsofs.cli.main import main\n"
        f"unpacker._read_back = lambda *_: os.kill(os.getpid(), {int(number)})\n"
        "sys.exit(main())\n"
    )
    source = shutil.copy(CHDS / "cd-mixed.chd", tmp_path / "Game.chd")
    assert callable(unpacker._read_back)
    command = [ZSOFS[0], "-c", script, "unpack", "--cd", "tracks", str(source)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode in (128 + number, -number)
    assert [name for name in names(tmp_path) if not name.startswith(".")] == ["Game.chd"]
    zsofs("unpack", "--cd", "tracks", source)
    assert left_in(tmp_path) == []
    assert len(names(tmp_path)) == 5


def test_forms_of_a_raw_container(tmp_path: Path) -> None:
    image = xa_image(FILES, {})
    packed = put(tmp_path / "Game.zso", writers.danixu(raw(image, 2), block_size=2352))
    zsofs("unpack", "--cd", "iso", packed)
    assert (tmp_path / "Game.iso").read_bytes() == image
    zsofs("unpack", "--cd", "bin", packed)
    assert (tmp_path / "Game.bin").read_bytes() == raw(image, 2)
    assert b'FILE "Game.bin" BINARY\n  TRACK 01 MODE2/2352' in (tmp_path / "Game.cue").read_bytes()
    (tmp_path / "Game.bin").unlink()
    put(tmp_path / "Game.cue", sheet("Game.bin", "MODE2/2352"))
    zsofs("unpack", "--cd", "bin", packed)
    assert (tmp_path / "Game.cue").read_bytes() == sheet("Game.bin", "MODE2/2352"), "it has one"
    zsofs("unpack", "--cd", "tracks", packed, "-o", tmp_path / "T.cue")
    assert (tmp_path / "T (Track 1).bin").read_bytes() == raw(image, 2)


@pytest.mark.parametrize(("index", "rest"), [("00:00:02", b""), ("00:00:00", b"\1" * 100)])
def test_a_raw_container_with_more_than_its_tracks_is_kept(
    tmp_path: Path, index: str, rest: bytes
) -> None:
    whole = raw(xa_image(FILES, {}), 2)
    packed = put(tmp_path / "Game.zso", writers.danixu(whole + rest, block_size=2352))
    text = sheet("Game.bin", "MODE2/2352").replace(b"00:00:00", index.encode())
    put(tmp_path / "Game.cue", text)
    target = tmp_path / "T.cue"
    done = zsofs("unpack", "--cd", "tracks", "--delete-source", packed, "-o", target, code=8)
    assert "the file has bytes that belong to no track of its cue sheet" in done.stderr
    assert packed.exists()
    begin = int(index[-2:]) * 2352
    assert (tmp_path / "T (Track 1).bin").read_bytes() == whole[begin:]


# Pack


def test_a_cue_sheet_stands_for_its_file(tmp_path: Path) -> None:
    image = xa_image(FILES, {})
    put(tmp_path / "Disc.bin", raw(image, 2))
    cue = put(tmp_path / "Game.cue", sheet("C:\\games\\DISC.bin", "MODE2/2352"))
    zsofs("pack", cue)
    assert image_of(tmp_path / "Game.zso") == image
    (tmp_path / "Game.zso").unlink()
    done = zsofs("pack", "--delete-source", cue, code=8)
    assert "the file has whole CD sectors, of which the image has the user data" in done.stderr
    assert names(tmp_path) == ["Disc.bin", "Game.cue", "Game.zso"]


def test_a_set_of_2048_byte_sectors_is_deleted_as_one(tmp_path: Path) -> None:
    image = xa_image(FILES, {})
    put(tmp_path / "Game.bin", image)
    cue = put(tmp_path / "Game.cue", sheet("Game.bin", "MODE1/2048"))
    zsofs("pack", "--delete-source", cue)
    assert names(tmp_path) == ["Game.zso"]
    assert image_of(tmp_path / "Game.zso") == image


@pytest.mark.parametrize(
    ("content", "tracks", "reason"),
    [
        (xa_image(FILES, {}), ["MODE2/2352", "AUDIO"], "its audio tracks, of which there are 1"),
        (xa_image(FILES, {}), ["MODE2/2352", "MODE2/2352"], "an .iso cannot hold its 2 tracks"),
        (xa_image(FILES, {b"MOVIE.STR": MIXED}), ["MODE2/2352"], "its Form 2 sectors, which"),
        (xa_image(PS1, {}), ["MODE2/2352"], "it is a PS1 disc, which needs its whole CD sectors"),
        (bytes(2048 * 30), ["MODE2/2352"], "cannot be found: it has no ISO 9660 volume"),
        (b"", ["AUDIO"], "its audio tracks, of which there are 1"),
    ],
)  # fmt: skip
def test_what_an_iso_cannot_hold(
    tmp_path: Path, content: bytes, tracks: list[str], reason: str
) -> None:
    image = put(tmp_path / "Game.bin", raw(content, 2) or b"\1\2" * 1176 * 20)
    cue = put(tmp_path / "Game.cue", sheet("Game.bin", *tracks))
    done = zsofs("pack", cue, code=8)
    assert reason in done.stderr
    assert "to pack its whole sectors, name the .bin" in done.stderr
    if content:
        for words in (("--cd", "iso"), ("--for", "console")):
            done = zsofs("pack", *words, tmp_path, code=8)
            assert reason in done.stderr
    assert names(tmp_path) == ["Game.bin", "Game.cue"]
    if content:
        zsofs("pack", image)
        assert image_of(tmp_path / "Game.zso") == image.read_bytes(), "all of it, as ever"


def test_a_data_disc_of_mode_1(tmp_path: Path) -> None:
    """Of no console, and without a file system: mode 1 has no forms."""
    content = bytes(range(256)) * 8 * 20
    put(tmp_path / "Game.bin", raw(content, 1))
    zsofs("pack", "--any", put(tmp_path / "Game.cue", sheet("Game.bin", "MODE1/2352")))
    assert image_of(tmp_path / "Game.zso") == content


def test_forms_of_bins_in_a_directory(tmp_path: Path) -> None:
    image = xa_image(FILES, {})
    put(tmp_path / "Game.bin", raw(image, 2))
    put(tmp_path / "Game.cue", sheet("Game.bin", "MODE2/2352"))
    put(tmp_path / "Track.bin", raw(image, 2))
    two = sheet("Track.bin", "MODE2/2352") + b'\nFILE "Track2.bin" BINARY\n  TRACK 02 AUDIO\n'
    put(tmp_path / "Set.cue", two + b"    INDEX 01 00:00:00\n")
    zsofs("pack", tmp_path, "-o", f"{tmp_path}/auto/")
    assert image_of(tmp_path / "auto" / "Game.zso") == raw(image, 2)
    for words in (("--cd", "iso"), ("--for", "console")):
        done = zsofs("pack", *words, tmp_path, "-o", f"{tmp_path}/{words[1]}/", code=8)
        assert names(tmp_path / words[1]) == ["Game.zso"]
        assert image_of(tmp_path / words[1] / "Game.zso") == image
        assert f"{tmp_path}/Track.bin: an .iso cannot hold its audio tracks" in done.stderr
    done = zsofs("pack", tmp_path / "Game.bin", tmp_path / "Game.cue")
    assert "Game.cue: skipped, " in done.stdout
    assert image_of(tmp_path / "Game.zso") == raw(image, 2)


def test_sheets_of_files_that_are_inputs_too(tmp_path: Path) -> None:
    image = raw(xa_image(FILES, {}), 2)
    names_of = {"Game": ["Game.bin"], "Set": ["Set (Track 1).bin", "Set (Track 2).bin"]}
    for title, files in names_of.items():
        lines = [sheet(files[0], "MODE2/2352")]
        put(tmp_path / files[0], image)
        for file in files[1:]:
            put(tmp_path / file, b"\1\0" * 1176 * 300)
            lines.append(sheet(file, "AUDIO").replace(b"TRACK 01", b"TRACK 02"))
        put(tmp_path / f"{title}.cue", b"\n".join(lines))
    done = zsofs("pack", tmp_path / "Set.cue", code=8)
    assert "; for one file that holds all its tracks, use: chdman createcd\n" in done.stderr
    done = zsofs("pack", "--delete-source", *sorted(tmp_path.iterdir()), code=8)
    for title, files in names_of.items():
        assert f"{title}.cue: skipped, {tmp_path}/{files[0]}, which it names" in done.stdout
    assert done.stdout.count("failed: ") == 1  # the audio track
    assert names(tmp_path) == [
        "Game.cue", "Game.zso", "Set (Track 1).zso", "Set (Track 2).bin", "Set.cue"
    ]  # fmt: skip


def test_sheets_of_files_that_cannot_be_packed(tmp_path: Path) -> None:
    cue = put(tmp_path / "Game.cue", sheet("Game.bin", "MODE2/2352"))
    done = zsofs("pack", cue, code=8)
    assert "the file Game.bin, which the cue sheet names, does not exist" in done.stderr
    put(tmp_path / "Game.bin", b"short")
    assert "which is too short for it" in zsofs("pack", put(cue, cue.read_bytes().replace(
        b"00:00:00", b"00:00:05")), code=8).stderr  # fmt: skip
    done = zsofs("pack", put(cue, b"\0" * 100), code=8)
    assert "of the cue sheet: there is no track" in done.stderr
    done = zsofs("pack", put(cue, sheet("Game.zso", "MODE1/2048")), code=8)
    assert "Game.zso, which the cue sheet names, does not exist" in done.stderr
    put(tmp_path / "Game.zso", xa_image(FILES, {}))
    done = zsofs("pack", "--force", cue, code=8)
    assert "is the input itself" in done.stderr
    os.mkfifo(tmp_path / "Pipe.cue")
    zsofs("pack", tmp_path / "Pipe.cue", code=8)


def test_chds_that_an_iso_cannot_hold(tmp_path: Path) -> None:
    for name in ("cd-mixed.chd", "cd-mode1-pregap.chd"):
        done = zsofs("pack", CHDS / name, "-o", f"{tmp_path}/", code=8)
        assert "an .iso cannot hold its audio tracks, of which there are " in done.stderr
        assert "unpack it to .cue and .bin with: zsofs unpack" in done.stderr


def test_audio_behind_the_data_without_a_cue_sheet(tmp_path: Path) -> None:
    data = xa_image(FILES, {})
    image = raw(data, 2) + b"\1\2" * 1176 * 20
    put(tmp_path / "Game.bin", image)
    done = zsofs("pack", "--cd", "iso", tmp_path / "Game.bin", code=8)
    assert "an .iso cannot hold 20 sectors behind its data track" in done.stderr
    packed = put(tmp_path / "Game.zso", writers.danixu(image, block_size=2352))
    for form in ("bin", "tracks"):
        done = zsofs("unpack", "--cd", form, packed, code=8)
        assert "no cue sheet tells which tracks they are" in done.stderr
    (tmp_path / "Game.bin").unlink()
    done = zsofs("unpack", "--cd", "iso", "--delete-source", packed, code=8)
    assert (tmp_path / "Game.iso").read_bytes() == data
    assert "an .iso cannot hold 20 sectors behind its data track" in done.stderr
    assert names(tmp_path) == ["Game.iso", "Game.zso"]


# Programs that no one here wrote read what is written.


def test_bchunk_and_cd_info_read_the_cue_sheet(tmp_path: Path) -> None:
    shutil.copy(CHDS / "cd-mixed.chd", tmp_path / "Game.chd")
    for form in ("bin", "iso"):
        zsofs("unpack", "--cd", form, tmp_path / "Game.chd")
    zsofs("unpack", "--cd", "tracks", tmp_path / "Game.chd", "-o", f"{tmp_path}/set/")
    command = ["bchunk", "Game.bin", "Game.cue", "out"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=True)
    assert (tmp_path / "out01.iso").read_bytes() == (tmp_path / "Game.iso").read_bytes()
    second = (tmp_path / "set" / "Game (Track 2).bin").read_bytes()
    assert (tmp_path / "out02.cdr").read_bytes() == second[150 * 2352 :], "from INDEX 01 on"
    third = (tmp_path / "set" / "Game (Track 3).bin").read_bytes()
    assert (tmp_path / "out03.cdr").read_bytes() == third
    command = ["cd-info", "--no-analyze", "--no-disc-mode", "--cue-file=Game.cue"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, timeout=60, text=True, check=True
    )
    tracks = re.findall(r"^ +[123]: (\S+) +(\d+) +(\w+)", done.stdout, re.M)
    assert tracks == [
        ("00:02:00", "000000", "XA"),
        ("00:08:01", "000451", "audio"),
        ("00:10:54", "000654", "audio"),
    ]
    for cue in (tmp_path / "Game.cue", tmp_path / "set" / "Game.cue"):
        command = ["cueprint", "-d", "%N", str(cue)]
        assert subprocess.run(command, capture_output=True, timeout=60, check=True).stdout == b"3"
    with original(str(tmp_path / "Game.chd")) as image:
        assert len(image.tracks) == 3


def test_an_image_without_the_pregap_is_no_reason_to_delete_the_disc(tmp_path: Path) -> None:
    path = tmp_path / "Game.bin"
    path.write_bytes(bytes(12 * 2048))
    with original(str(path)) as image:
        for pregap, lacks in ((2, "the file has a pregap, which the image lacks"), (0, "")):
            track = Track(1, TrackType.MODE1, 12, pregap, has_stored_pregap=pregap > 0)
            iso = as_iso(image.with_tracks([(track, 0)]))
            assert iso.size == (12 - pregap) * 2048
            assert iso.lacks == lacks


def test_a_name_that_a_cue_sheet_cannot_hold(tmp_path: Path) -> None:
    game = tmp_path / 'The "Game".chd'
    shutil.copyfile(DATA / "chd" / "cd-mixed.chd", game)
    for words in ((), ("--cd", "tracks")):
        done = zsofs("unpack", "--delete-source", *words, game, code=8)
        assert "a cue sheet cannot hold its name" in done.stderr
    assert os.listdir(tmp_path) == [game.name]
    zsofs("unpack", game, "-o", tmp_path / "Game.bin")
    assert sorted(os.listdir(tmp_path)) == ["Game.bin", "Game.cue", game.name]
