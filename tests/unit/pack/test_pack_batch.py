"""Which files are packed and unpacked, under which names, and the message for each."""

import os
import pty
import re
import shutil
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from tests.support import writers
from tests.support.mounting import DATA, ZSOFS, names
from tests.support.packed import image_of, reports, zsofs
from tests.support.printed import ROOT
from zsofs.formats.geometry import Codec
from zsofs.pack.presets import PURPOSES
from zsofs.pack.report import Report, Reporter

IMAGE = writers.disc(100_000, ["text", "noise"], 2)
LINE = r"([^\r\n\x1b|]+) \|[^\r\n|]*\| +(\d+) % [^\r\n]*, ([^\r\n\x1b]*[^\r\n\x1b ])"
"""A bar: its title, the share that is done, and the note at its end."""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Discs, and what lies beside discs."""
    folder = tmp_path / "library"
    (folder / "PSP" / "deep").mkdir(parents=True)
    (folder / "VMC").mkdir()
    (folder / ".trash").mkdir()
    (folder / "Okami.iso").write_bytes(IMAGE)
    (folder / "PSP" / "Patapon.cso").write_bytes(writers.maxcso_cso1(IMAGE))
    (folder / "PSP" / "deep" / "Old.ISO").write_bytes(IMAGE)
    (folder / "VMC" / "card.bin").write_bytes(bytes(100_000))
    (folder / ".trash" / "Gone.iso").write_bytes(IMAGE)
    (folder / "._Okami.iso").write_bytes(b"\0\5\x16\7" + bytes(4092))
    (folder / "notes.txt").write_text("no disc")
    (folder / "link.iso").symlink_to("Okami.iso")
    (folder / "linked").symlink_to("PSP")
    return folder


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_folder_into_another(library: Path, tmp_path: Path) -> None:
    before = files(library)
    out = tmp_path / "out"
    said = zsofs("pack", library, "-o", out).stderr
    assert said == (
        "zsofs: left out: 2 directories below; use --recursive to include them\n"
        "zsofs: left out: 1 file in a trash or system directory, 1 AppleDouble file, 2 symlinks;"
        " --allow-links-to DIR follows symlinks whose target is in DIR\n"
    )
    assert files(out) == {"Okami.zso"}
    assert "below" not in zsofs("pack", "--recursive", library, "-o", tmp_path / "else").stderr
    said = zsofs("unpack", library).stderr
    assert said.startswith("zsofs: no discs found\nzsofs: left out: 2 directories below")
    done = reports("pack", "--recursive", library, "-o", out)
    assert files(out) == {"Okami.zso", "PSP/Patapon.zso", "PSP/deep/Old.zso"}
    assert {os.path.basename(r["input"]): r["state"] for r in done} == {
        "Okami.iso": "skipped",
        "Patapon.cso": "packed",
        "Old.ISO": "packed",
        "card.bin": "skipped",
    }
    assert files(library) == before
    back = tmp_path / "back"
    zsofs("unpack", "--recursive", out, "-o", back)
    assert files(back) == {"Okami.iso", "PSP/Patapon.iso", "PSP/deep/Old.iso"}
    assert all((back / name).read_bytes() == IMAGE for name in files(back))


def test_packed_discs_with_the_name_of_plain_ones_are_unpacked(tmp_path: Path) -> None:
    """As what a mount shows: what is inside decides."""
    folder, out = tmp_path / "library", tmp_path / "out"
    (folder / ".trash").mkdir(parents=True)
    shutil.copy(DATA / "chd" / "cd-mixed.chd", folder / "CD.bin")
    packed = writers.maxcso_zso(IMAGE)
    for name in ("Disc.iso", ".trash/Gone.iso", "Link.iso"):
        (folder / name).write_bytes(packed)
    (folder / "Plain.iso").write_bytes(IMAGE)
    (folder / ".trash" / "Plain.iso").write_bytes(IMAGE)
    (folder / "Link.iso").replace(tmp_path / "Link.iso")
    (folder / "Link.iso").symlink_to(tmp_path / "Link.iso")
    before = files(folder)
    kept = zsofs("unpack", folder, code=8)
    for name in ("CD.bin", "Disc.iso"):
        path = folder / name
        assert f"{path}: {path} is the input itself; give another name with -o\n" in kept.stderr
    assert files(folder) == before
    said = zsofs("unpack", folder, "-o", out).stderr
    assert "left out: 1 file in a trash or system directory, 1 symlink;" in said
    assert files(out) == {"CD.bin", "CD.cue", "Disc.iso"}
    assert (out / "Disc.iso").read_bytes() == IMAGE
    zsofs("unpack", folder, "--allow-links-to", tmp_path, "-o", out)
    assert (out / "Link.iso").read_bytes() == IMAGE
    zsofs("unpack", "--force", folder)
    assert files(folder) == before | {"CD.cue"}
    assert (folder / "Disc.iso").read_bytes() == IMAGE


def test_an_output_folder_among_the_inputs_is_no_input(library: Path) -> None:
    for state in ("packed", "skipped"):
        done = reports("pack", "--recursive", library, "-o", library / "new")
        found = {r["input"]: r["state"] for r in done if not r["input"].endswith("card.bin")}
        assert set(found.values()) == {state}
        assert len(found) == 3


def test_beside_each_and_the_sources_deleted(library: Path) -> None:
    zsofs("pack", "--recursive", "--delete-source", library)
    assert files(library) == {
        "Okami.zso",
        "PSP/Patapon.zso",
        "PSP/deep/Old.zso",
        "VMC/card.bin",
        ".trash/Gone.iso",
        "._Okami.iso",
        "notes.txt",
    }
    again = reports("pack", "--recursive", "--delete-source", library)
    assert {r["state"] for r in again} == {"skipped"}, "there is nothing left to do"


def test_one_bad_input_does_not_stop_the_others(tmp_path: Path) -> None:
    good, bad = tmp_path / "B.cso", tmp_path / "A.cso"
    good.write_bytes(writers.maxcso_cso1(IMAGE))
    broken = bytearray(good.read_bytes())
    broken[-3000:-2000] = b"\xff" * 1000
    bad.write_bytes(broken)
    os.mkfifo(tmp_path / "C.gz")
    missing = tmp_path / "D.iso"
    done = zsofs("pack", bad, tmp_path / "C.gz", missing, good, code=8)
    assert names(tmp_path) == ["A.cso", "B.cso", "B.zso", "C.gz"]
    assert f"zsofs: {bad}: block " in done.stderr
    assert "at file offset" in done.stderr
    assert f"{missing}: it cannot be opened: No such file" in done.stderr
    assert "it is not a regular file" in done.stderr
    summary = done.stdout.splitlines()[2:]
    assert summary[0].startswith("1 file packed")
    assert "3 failed" in summary[0]
    assert summary[1:] == [f"  failed: {path}" for path in (bad, tmp_path / "C.gz", missing)]


def test_what_is_there_already(tmp_path: Path) -> None:
    source, target = tmp_path / "Game.iso", tmp_path / "Game.zso"
    source.write_bytes(IMAGE)
    zsofs("pack", source)
    first = target.stat().st_ino
    assert "already exists" in zsofs("pack", source).stdout
    assert target.stat().st_ino == first
    zsofs("pack", "--force", source)
    assert target.stat().st_ino != first
    for content in (b"something else", target.read_bytes()[:-1000], writers.ziso_py(bytes(4096))):
        target.write_bytes(content)
        os.utime(target)
        assert "use --force to replace it" in zsofs("pack", source, code=8).stderr
        assert target.read_bytes() == content
    zsofs("pack", "--force", source)
    assert image_of(target) == IMAGE
    os.utime(source, (2**31, 2**31))  # newer than its output, and not changed
    assert "already exists and has this image" in zsofs("pack", source).stdout
    source.write_bytes(IMAGE[:-1] + bytes([IMAGE[-1] ^ 1]))
    os.utime(source, (2**31, 2**31))
    assert "use --force to replace it" in zsofs("pack", source, code=8).stderr
    target.unlink()
    target.mkdir()
    assert ("is not a regular file") in zsofs(
        "pack", "--force", source, "-o", f"{tmp_path}/", code=8
    ).stderr


def test_packing_a_zso_anew_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "Game.zso"
    path.write_bytes(writers.ziso_py(IMAGE[:98304]))
    assert "already packed" in zsofs("pack", path).stdout
    done = zsofs("pack", "--force", "--no-verify", path, code=8)
    assert "omit --no-verify" in done.stderr
    assert path.read_bytes().startswith(b"ZISO")
    zsofs("pack", "--force", "--delete-source", path)
    assert path.read_bytes().startswith(b"ZSOZ")
    assert image_of(path) == IMAGE[:98304]
    assert names(tmp_path) == ["Game.zso"]


def test_a_name_in_capitals_is_the_same_place(tmp_path: Path) -> None:
    path = tmp_path / "GAME.ZSO"
    path.write_bytes(writers.ziso_py(IMAGE[:98304]))
    for where in (path, tmp_path):
        assert "already packed" in zsofs("pack", where).stdout
    assert "already packed" in zsofs("pack", tmp_path, "-o", tmp_path).stdout
    zsofs("pack", "--force", path)
    assert names(tmp_path) == ["GAME.ZSO"]
    assert path.read_bytes().startswith(b"ZSOZ")
    zsofs("pack", path, "-o", f"{tmp_path}/new/")
    assert names(tmp_path / "new") == ["GAME.zso"]
    path.rename(tmp_path / "GAME.ISO")
    assert "is the input itself" in zsofs("unpack", tmp_path / "GAME.ISO", code=8).stderr


def test_a_plain_image_is_not_replaced_by_its_own_copy(tmp_path: Path) -> None:
    path = tmp_path / "Game.iso"
    path.write_bytes(IMAGE)
    (tmp_path / "Link.zso").symlink_to("Game.iso")
    os.link(path, tmp_path / "Hard.zso")
    for words in ((), ("--force",), ("--force", "--delete-source")):
        for target in (path, tmp_path / "Link.zso", tmp_path / "Hard.zso"):
            done = zsofs("pack", *words, path, "-o", target, code=8)
            assert f"{target} is the input itself; give another name with -o" in done.stderr
    assert path.read_bytes() == IMAGE
    assert names(tmp_path) == ["Game.iso", "Hard.zso", "Link.zso"]


def test_two_inputs_for_one_name(tmp_path: Path) -> None:
    (tmp_path / "Game.iso").write_bytes(IMAGE)
    (tmp_path / "Game.cso").write_bytes(writers.maxcso_cso1(IMAGE[:50_000]))
    for words in ((), ("--force",)):
        done = zsofs("pack", *words, tmp_path, code=8)
        said = (
            f"{tmp_path}/Game.zso is also the output of {tmp_path}/Game.cso; rename one of"
            " them, or use -o"
        )
        assert said in done.stderr
        assert image_of(tmp_path / "Game.zso") == image_of(tmp_path / "Game.cso")
        (tmp_path / "Game.zso").unlink()


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_two_inputs_for_one_name_in_the_next_run(tmp_path: Path, command: str) -> None:
    """Two discs of one size: that the copy of the first one is there says nothing of the other."""
    other = writers.described(IMAGE[::-1])
    for folder, image in (("a", IMAGE), ("b", other)):
        (tmp_path / folder).mkdir()
        packed = writers.maxcso_cso1(image) if command == "unpack" else image
        (tmp_path / folder / "Game.iso").write_bytes(packed)
    inputs = [tmp_path / folder / "Game.iso" for folder in ("a", "b")]
    for first in ("MB/s", "already exists"):
        done = zsofs(command, *inputs, "-o", f"{tmp_path}/out/", code=8)
        assert first in done.stdout.splitlines()[0]
        assert f"is also the output of {inputs[0]}; rename one of them, or use -o" in done.stderr
        (made,) = (tmp_path / "out").iterdir()
        assert image_of(made) == IMAGE


def test_one_input_that_is_named_twice(tmp_path: Path) -> None:
    source = tmp_path / "Game.iso"
    source.write_bytes(IMAGE)
    for states in (["packed", "skipped", "skipped"], ["skipped"] * 3):
        done = reports("pack", source, f"{tmp_path}/./Game.iso", source)
        assert [report["state"] for report in done] == states
    assert [report["state"] for report in reports("pack", tmp_path, source)] == ["skipped"] * 3
    assert image_of(tmp_path / "Game.zso") == IMAGE


def test_measuring_takes_what_packing_would(tmp_path: Path) -> None:
    (tmp_path / "Game.iso").write_bytes(IMAGE)
    zsofs("pack", tmp_path / "Game.iso")
    shutil.copy(DATA / "maxcso-2048.cso", tmp_path / "Other.cso")
    (tmp_path / "Game.cso").write_bytes(writers.maxcso_cso1(IMAGE[:50_000]))
    states = {
        os.path.basename(r["input"]): r["state"]
        for r in reports("pack", "--measure", tmp_path, code=8)
    }
    assert states == {
        "Game.cso": "failed",
        "Game.iso": "skipped",
        "Game.zso": "skipped",
        "Other.cso": "measured",
    }
    named = reports("pack", "--measure", tmp_path / "Game.iso", tmp_path / "Game.zso")
    assert {r["state"] for r in named} == {"measured"}, "what is named is measured all the same"


def test_what_an_input_that_was_packed_had_before(tmp_path: Path) -> None:
    source = tmp_path / "Game.cso"
    shutil.copy(DATA / "maxcso-2048.cso", source)
    for words in (("--measure",), ("--force",)):
        (report,) = reports("pack", *words, source)
        assert report["input_bytes"] == source.stat().st_size
        said = zsofs("pack", *words, source, source.with_suffix(".iso"), code=8).stdout
        assert re.search(r"1\.47 MB to \d+ kB \(\d+ %\), 531 kB before, ", said), said
        assert re.search(r"1\.47 MB plain, \d+ kB packed, 531 kB before; 1 failed", said), said
    assert "before" not in zsofs("unpack", source).stdout
    assert "before" not in zsofs("pack", "--measure", source.with_suffix(".iso")).stdout


def test_a_plain_image_cannot_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "Game.zso").write_bytes(IMAGE)
    done = zsofs("unpack", tmp_path / "Game.zso", code=8)
    assert "it is a plain image, not packed: its name should end in .iso" in done.stderr
    assert names(tmp_path) == ["Game.zso"]
    (tmp_path / "Game.zso").rename(tmp_path / "Game.iso")
    assert zsofs("unpack", tmp_path / "Game.iso", code=8).stderr.startswith(
        f"zsofs: {tmp_path}/Game.iso: it is a plain image, not packed\n"
    )


def test_another_file_cannot_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "notes.iso").write_text("hello\n")
    done = zsofs("unpack", tmp_path / "notes.iso", code=8)
    assert "notes.iso: it is a text file, not a packed disc\n" in done.stderr


@pytest.mark.parametrize("name", ["Game.cso", "Game.ZSO", "Game.dax"])
def test_a_damaged_container_is_not_packed_as_a_plain_disc(tmp_path: Path, name: str) -> None:
    """A wrong bit in its first bytes, where only the name tells, or a page of a web server."""
    damaged = "it has the name of a packed disc, but not the contents of one"
    page = "it is an HTML page, not a disc image; if it should be a disc, download it again"
    for content, said in (
        (b"\x00" + writers.maxcso_cso1(IMAGE)[1:], damaged),
        (b"<html>no such file</html>", page),
        (b"", "it is an empty file, not a disc image"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        for words in (("--delete-source", path), ("--force", path), (tmp_path,)):
            done = zsofs("pack", *words, code=8)
            assert done.stderr.endswith(f"{path}: {said}\n")
            assert names(tmp_path) == [name]
            assert path.read_bytes() == content


def test_a_damaged_container_in_a_folder_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "A.cso").write_bytes(b"\x00" + writers.maxcso_cso1(IMAGE)[1:])
    (tmp_path / "B.iso").write_bytes(IMAGE)
    summary = zsofs("pack", tmp_path, code=8).stdout.splitlines()[2:]
    assert "1 failed" in summary[0]
    assert summary[1] == f"  failed: {tmp_path}/A.cso"
    assert image_of(tmp_path / "B.zso") == IMAGE


@pytest.mark.parametrize("size", [(64 << 30) + 2048, 5 << 40])
def test_an_image_that_is_larger_than_any_disc(tmp_path: Path, size: int) -> None:
    """What zsofs would not read is not made."""
    source = tmp_path / "Game.iso"
    with source.open("wb") as file:
        file.truncate(size)
    for words in ((), ("--no-verify",), ("--measure",), ("--for", "console")):
        said = zsofs("pack", "--any", *words, source, code=8).stderr
        assert said == (
            f"zsofs: {source}: its {size} bytes are larger than any disc; 64 GiB is the maximum\n"
        )
    assert names(tmp_path) == ["Game.iso"]


def test_a_container_in_a_container_loses_one_shell(tmp_path: Path) -> None:
    inner = writers.ziso_py(IMAGE[:98304])
    (tmp_path / "Game.zso").write_bytes(writers.zsoz(inner))
    zsofs("unpack", tmp_path / "Game.zso")
    assert (tmp_path / "Game.iso").read_bytes() == inner


def test_where_the_output_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "Game.iso"
    source.write_bytes(IMAGE)
    zsofs("pack", source, "-o", tmp_path / "odd name.xyz")
    zsofs("pack", source, "-o", f"{tmp_path}/new/")
    zsofs("pack", source, "-o", tmp_path / "new" / "below" / "Other.zso")
    zsofs("pack", source, "-o", tmp_path / "new" / "below")
    assert files(tmp_path) == {
        "Game.iso",
        "odd name.xyz",
        "new/Game.zso",
        "new/below/Other.zso",
        "new/below/Game.zso",
    }
    monkeypatch.chdir(tmp_path)
    zsofs("unpack", "new/Game.zso", "-o", "Back.iso")
    assert Path("Back.iso").read_bytes() == IMAGE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pack",), "INPUT"),
        (("pack", ""), "'' is not a path"),
        (("pack", "x", "--level", "23"), "not a compression level"),
        (("pack", "x", "--codec", "lz4", "--level", "13"), "lz4 has the levels 1 to 12"),
        (("pack", "x", "--block-size", "3000"), "a multiple of 2048"),
        (("pack", "x", "--block-size", "2M"), "up to 1024K"),
        (("pack", "x", "--for", "speed"), "invalid choice"),
        (("pack", "x", "-o", "-"), "only for `zsofs unpack`"),
        (("unpack", "x", "y", "-o", "-"), "of a single file"),
        (("unpack", "x", "-o", "-", "--delete-source"), "--delete-source"),
        (("pack", "x", "--delete-source", "--no-verify"), "requires verification"),
        (("pack", "x", "--measure", "--delete-source"), "--measure writes nothing"),
        (("pack", "x", "--no-digests"), "requires --no-verify"),
        (("pack", "x", "y", "-o", "/etc/hostname"), "is not a directory"),
    ],
)
def test_command_lines_that_make_no_sense(words: tuple[str, ...], said: str) -> None:
    assert said in zsofs(*words, code=2).stderr


def test_quiet_says_nothing_but_errors(tmp_path: Path) -> None:
    (tmp_path / "Game.iso").write_bytes(IMAGE)
    done = zsofs("pack", "--quiet", tmp_path / "Game.iso")
    assert (done.stdout, done.stderr) == ("", "")
    done = zsofs("pack", "--quiet", tmp_path / "none.iso", code=8)
    assert "none.iso" in done.stderr


def test_bars_on_a_terminal_only(tmp_path: Path) -> None:
    for name in ("A", "B"):
        (tmp_path / f"{name}.iso").write_bytes(IMAGE * 120)
    said = _on_a_terminal("pack", "--level", "15", str(tmp_path))
    assert "A.iso |" in said
    assert "2 files |" in said
    assert " left" in said
    assert "reading back" in said
    batch = [line for line in re.split(r"[\r\n]+", said) if line.startswith("2 files |")]
    shares = [int(share) for line in batch for share in re.findall(r"(\d+) %", line)[:1]]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 100
    assert any(0 < share < 50 for share in shares), "it moves while a file is under way"
    assert all("B/s, " in line for line in batch)
    assert any(re.search(r"\d+ % of it", line) for line in batch)
    assert f"{tmp_path}/A.iso -> {tmp_path}/A.zso: 12.0 MB to " in said
    again = ("pack", "--force", "--level", "1", str(tmp_path))
    assert "|" not in zsofs(*again).stderr
    assert "|" not in _on_a_terminal(*again, "--quiet")


def test_the_bar_while_reading_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Eager(Reporter):
        """Shows each step, however quickly one follows the other."""

        def _bar(self, title: str, total: int, position: int) -> "tqdm[Any]":
            bar = super()._bar(title, total, position)
            bar.mininterval, bar.miniters, bar.dynamic_miniters = 0, 0, False
            return bar

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with open(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with Eager(quiet=False, as_json=False) as bars:
            bars.begin([("A.iso", 600), ("B.iso", 600)])
            for name in ("A.iso", "B.iso"):
                bars.file(name, 1000)
                for _ in range(2):
                    bars.advance(500, 250)
                bars.check()
                for _ in range(2):
                    bars.advance(500, 0)
                bars.tell(Report(name, "copy", "packed", 1000, 500, 1000))
    said = _all_said(ours)
    shown: dict[str, list[tuple[int, str]]] = {"A.iso": [], "B.iso": [], "2 files": []}
    for name, share, note in re.findall(LINE, said):
        shown[name].append((int(share), note))
    half = "50 % of it"
    for name in ("A.iso", "B.iso"):
        assert [share for share, _ in shown[name]] == [0, 50, 100, 0, 50, 100]
        assert [note for _, note in shown[name]][1:] == [half, half, *["reading back"] * 3]
    batch = list(dict.fromkeys(shown["2 files"]))
    assert batch[1:] == [(25, half), (50, half), (75, half), (100, half)]


def _on_a_terminal(*words: str) -> str:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    process = subprocess.Popen([*ZSOFS, *words], stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = _all_said(ours)
    assert process.wait(60) == 0
    return said


def _all_said(terminal: int) -> str:
    """What was printed on a terminal until its other end was closed."""
    said = b""
    with suppress(OSError):  # EIO: the other end is closed
        while piece := os.read(terminal, 65536):
            said += piece
    os.close(terminal)
    return said.decode()


def test_names_that_are_no_text(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\n\x1b[31m.iso"
    with open(odd, "wb") as file:
        file.write(IMAGE)
    (report,) = reports("pack", os.fsdecode(odd))
    assert os.fsencode(report["output"]) == odd[:-4] + b".zso"
    said = zsofs("pack", "--force", os.fsdecode(odd)).stdout
    assert "\x1b" not in said
    assert said.count("\n") == 2


def test_a_name_that_would_be_too_long(tmp_path: Path) -> None:
    source = tmp_path / ("x" * 252)
    source.write_bytes(IMAGE)
    assert "File name too long" in zsofs("pack", source, code=8).stderr
    assert names(tmp_path) == ["x" * 252]
    zsofs("pack", source, "-o", tmp_path / "y.zso")
    longest = tmp_path / ("ü" * 125 + ".iso")
    longest.write_bytes(IMAGE)
    zsofs("pack", longest)
    assert image_of(longest.with_suffix(".zso")) == IMAGE


def test_oddities_of_the_input_are_said(tmp_path: Path) -> None:
    done = zsofs("pack", DATA / "ziso-compressor.zso", "-o", tmp_path / "a.zso")
    assert "the last byte of the image was not stored" in done.stderr
    quiet = zsofs("pack", "-q", DATA / "ziso-compressor.zso", "-o", tmp_path / "b.zso")
    assert quiet.stdout == quiet.stderr == ""


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_an_output_that_may_be_a_file_or_a_folder(tmp_path: Path, command: str) -> None:
    """Whoever means a folder must not get a file of that name."""
    source = tmp_path / ("Game.iso" if command == "pack" else "Game.zso")
    shutil.copy(DATA / ("ps2.iso" if command == "pack" else "ziso-py.zso"), source)
    said = zsofs(command, source, "-o", tmp_path / "new", code=2).stderr
    assert f"give {tmp_path}/new/ for a directory" in said
    assert names(tmp_path) == [source.name]
    zsofs(command, source, "-o", f"{tmp_path}/new/")
    assert len(names(tmp_path / "new")) == 1
    zsofs(command, source, "-o", tmp_path / "new")
    (tmp_path / "file").touch()
    zsofs(command, "--force", source, "-o", tmp_path / "file")
    assert (tmp_path / "file").stat().st_size


def test_what_for_stands_for_is_said_alike() -> None:
    """The table of the help and that of docs/pack.md, and what is done."""
    said: dict[str, list[str]] = {}
    for line in (ROOT / "docs" / "pack.md").read_text().splitlines():
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        if cells[0] in PURPOSES and len(cells) == 7:
            packed = round(float(cells[2].removesuffix(" %")))
            said[cells[0]] = [*cells[1].replace(",", "").split(), f"{packed} %", *cells[3:]]
    assert list(said) == list(PURPOSES)
    text = zsofs("pack", "--help").stdout
    helped = {
        words[0]: [*words[1:4], " ".join(words[4:6]), *words[6:]]
        for words in map(str.split, text.splitlines())
        if words and words[0] in PURPOSES and len(words) == 10
    }
    assert helped == said
    for name, how in PURPOSES.items():
        codec = {Codec.ZSTD: "zstd", Codec.LZ4: "LZ4", Codec.DEFLATE: "deflate"}[how.codec]
        assert said[name][:3] == [codec, str(how.level), f"{how.block_size >> 10}K"]
