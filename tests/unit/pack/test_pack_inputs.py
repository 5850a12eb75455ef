"""Which inputs are packed and deleted: disc images by their bytes, and only complete ones."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.checks import dat_of, rom
from tests.support.mounting import DATA, ZSOFS, names
from tests.support.packed import image_of, reports, zsofs
from tests.unit.discs.test_classify import NOISE, OTHERS
from tests.unit.discs.test_identify import PS2_IMAGE, raw
from tests.unit.discs.test_shortage import LARGE, padded

UNKNOWN = "its content is not recognized as a disc image"
CUT = LARGE[: -200 * 2048]
"""An image of which a file lies in the missing part."""

HALF = padded(PS2_IMAGE, 300)[: -300 * 2048]
"""An image of which 300 sectors are missing, in which no file has data."""

SHORT = padded(PS2_IMAGE, 150)[: -2 * 2048]
"""An image without its last two sectors, which are filler."""

NOT_DISCS = {
    "cover.jpg": "a JPEG picture",
    "readme.txt": "a text file",
    "Mcd001.ps2": "a PS2 memory card",
    "Page.iso": "an HTML page",
    "Empty.iso": "an empty file",
    "SLUS_209.63": "an ELF program",
}


def put(folder: Path, contents: dict[str, bytes]) -> dict[str, bytes]:
    """Write files; returns their contents by name."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return contents


def kept_in(folder: Path, contents: dict[str, bytes]) -> bool:
    """Whether all these files are in a folder as they were."""
    return all((folder / name).read_bytes() == content for name, content in contents.items())


@pytest.mark.parametrize("words", [(), ("--delete-source",), ("--any",), ("--measure",)])
def test_what_the_shell_gives_for_a_star(tmp_path: Path, words: tuple[str, ...]) -> None:
    others = put(tmp_path, {name: OTHERS[what] for name, what in NOT_DISCS.items()})
    sheet = OTHERS["a cue sheet"] + b"    INDEX 01 00:00:00\r\n"
    others |= put(tmp_path, {"Game.chd": OTHERS["a CHD"], "Game.cue": sheet})
    put(tmp_path, {"Okami.iso": PS2_IMAGE})
    done = zsofs("pack", *words, *sorted(tmp_path.iterdir()), code=8)
    for name, what in NOT_DISCS.items():
        assert f"zsofs: {tmp_path}/{name}: it is {what}, not a disc image" in done.stderr
    assert f"zsofs: {tmp_path}/Game.chd: the header is no CHD header" in done.stderr
    missing = "the file Game.bin, which the cue sheet names, does not exist"
    assert f"zsofs: {tmp_path}/Game.cue: {missing}" in done.stderr
    assert kept_in(tmp_path, others)
    made = set() if words == ("--measure",) else {"Okami.zso"}
    kept = set() if words == ("--delete-source",) else {"Okami.iso"}
    assert set(names(tmp_path)) == {*others, *made, *kept}
    assert "8 failed" in done.stdout


def test_a_directory(tmp_path: Path) -> None:
    contents = put(
        tmp_path,
        {
            "Card.bin": OTHERS["a PS2 memory card"],
            "Track 02.bin": NOISE[:50_000],
            "Boot.img": OTHERS["an ELF program"],
            "Page.iso": OTHERS["an HTML page"],
            "Homebrew.iso": NOISE[:60_000],
            "Cover.zso": writers.zsoz(OTHERS["a JPEG picture"]),
            "Card.cso": writers.maxcso_cso1(OTHERS["a PS2 memory card"]),
            "Game.bin": raw(PS2_IMAGE, 2),
        },
    )
    done = {os.path.basename(r["input"]): r for r in reports("pack", tmp_path, code=8)}
    states = {name: report["state"] for name, report in done.items()}
    assert states == {
        "Card.bin": "skipped",
        "Track 02.bin": "skipped",
        "Boot.img": "skipped",
        "Page.iso": "failed",
        "Homebrew.iso": "failed",
        "Cover.zso": "skipped",
        "Card.cso": "failed",
        "Game.bin": "packed",
    }
    assert "a PS2 memory card" in done["Card.bin"]["error"]
    assert "a PS2 memory card" in done["Card.cso"]["error"]
    assert done["Track 02.bin"]["error"] == UNKNOWN
    assert done["Cover.zso"]["error"] == "already packed; use --force to pack it again"
    (tmp_path / "Game.zso").unlink()
    out = tmp_path / "out"
    done = {
        os.path.basename(r["input"]): r
        for r in reports("pack", "--any", tmp_path, "-o", out, code=8)
    }
    packed = {name for name, report in done.items() if report["state"] == "packed"}
    assert packed == {"Track 02.bin", "Homebrew.iso", "Game.bin"}
    assert kept_in(tmp_path, contents)


def test_any(tmp_path: Path) -> None:
    """It takes what cannot be told, says so, and never deletes anything."""
    contents = put(tmp_path, {"Homebrew.iso": NOISE, "cover.jpg": OTHERS["a JPEG picture"]})
    said = zsofs("pack", tmp_path / "Homebrew.iso", code=8).stderr
    assert said == f"zsofs: {tmp_path}/Homebrew.iso: {UNKNOWN}; if it is one, use --any\n"
    assert names(tmp_path) == sorted(contents)
    for words in (("--any", "--delete-source"), ("--delete-source", "--any", "--force")):
        said = zsofs("pack", *words, tmp_path / "Homebrew.iso", code=2).stderr
        assert "--any and --delete-source cannot be combined" in said
    (report,) = reports("pack", "--any", tmp_path / "Homebrew.iso")
    assert report["remarks"] == [UNKNOWN]
    assert image_of(tmp_path / "Homebrew.zso") == NOISE
    packed = (tmp_path / "Homebrew.zso").read_bytes()
    said = zsofs("pack", "--any", "--force", tmp_path / "Homebrew.zso", code=8).stderr
    assert "the output would replace the input, but" in said
    assert (tmp_path / "Homebrew.zso").read_bytes() == packed
    assert kept_in(tmp_path, contents)


@pytest.mark.parametrize("write", [writers.ziso_py, writers.maxcso_cso1, writers.zsoz, writers.dax])
def test_what_is_in_a_container_counts(tmp_path: Path, write: writers.Writer) -> None:
    picture = OTHERS["a JPEG picture"][:4096]
    contents = put(
        tmp_path,
        {"Cover.cso": write(picture), "Noise.cso": write(NOISE[:65536]), "No.cso": write(b"")},
    )
    for words in ((), ("--delete-source",), ("--any",)):
        done = zsofs("pack", *words, tmp_path / "Cover.cso", code=8)
        assert "it is a JPEG picture, not a disc image" in done.stderr
        done = zsofs("pack", *words, tmp_path / "No.cso", code=8)
        assert "it is an empty file, not a disc image" in done.stderr
    done = zsofs("pack", "--delete-source", tmp_path / "Noise.cso", code=8)
    assert f"{UNKNOWN}; if it is one, use --any" in done.stderr
    assert names(tmp_path) == sorted(contents)
    assert kept_in(tmp_path, contents)
    zsofs("pack", "--any", tmp_path / "Noise.cso", "-o", tmp_path / "Noise.zso")
    assert image_of(tmp_path / "Noise.zso") == NOISE[:65536]


def test_links_and_standard_input(tmp_path: Path) -> None:
    picture = OTHERS["a JPEG picture"]
    put(tmp_path, {"cover.jpg": picture})
    (tmp_path / "Link.iso").symlink_to("cover.jpg")
    os.link(tmp_path / "cover.jpg", tmp_path / "Hard.iso")
    for name in ("Link.iso", "Hard.iso"):
        said = zsofs("pack", "--delete-source", tmp_path / name, code=8).stderr
        assert "it is a JPEG picture" in said
    with (tmp_path / "cover.jpg").open("rb") as file:
        done = subprocess.run(
            [*ZSOFS, "pack", "/dev/stdin", "-o", str(tmp_path / "Game.zso")],
            stdin=file,
            capture_output=True,
            check=False,
        )
    assert done.returncode == 8
    assert b"it is a JPEG picture" in done.stderr
    assert names(tmp_path) == ["Hard.iso", "Link.iso", "cover.jpg"]


def test_a_picture_that_was_packed_before(tmp_path: Path, source: Path, mount: MountMaker) -> None:
    """Its bytes are served as before; info, list, verify and the log say what it is."""
    picture = OTHERS["a JPEG picture"]
    path = source / "cover.jpg.zso"
    path.write_bytes(writers.zsoz(picture))
    remark = "its content is a JPEG picture, not a disc image"
    made = mount(source)
    assert (made.path / "cover.jpg.iso").read_bytes() == picture
    assert [line for line in made.log_lines(remark) if "cover.jpg.zso" in line]
    assert f"note       {remark}" in zsofs("info", path).stdout
    assert f"note: {remark}" in zsofs("verify", path).stdout
    assert f"note: {remark}" in zsofs("verify", "--quick", path).stdout
    (row,) = json.loads(zsofs("list", "--json", source).stdout)
    assert row["remarks"] == [remark]
    assert f"notes:\n  cover.jpg.zso: {remark}" in zsofs("list", source).stdout
    done = zsofs("unpack", "--delete-source", path, "-o", tmp_path / "cover.jpg")
    assert remark in done.stderr
    assert (tmp_path / "cover.jpg").read_bytes() == picture


WAYS_OF_A_CUT = {
    "Plain.iso": CUT,
    "Half.iso": HALF,
    "Raw.bin": raw(LARGE, 2)[: -200 * 2352],
    "Packed.zso": writers.zsoz(CUT),
    "Packed.cso": writers.maxcso_cso1(HALF),
}


@pytest.mark.parametrize("name", WAYS_OF_A_CUT)
def test_a_cut_image_is_told_everywhere(tmp_path: Path, name: str, mount: MountMaker) -> None:
    source = tmp_path / "in"
    source.mkdir()
    contents = put(source, {name: WAYS_OF_A_CUT[name]})
    path = source / name
    said = "the image is truncated: "
    assert f"note       {said}" in zsofs("info", path).stdout
    (found,) = json.loads(zsofs("info", "--json", path).stdout)
    assert any(remark.startswith(said) for remark in found["remarks"])
    if path.suffix != ".bin":  # which is no row of a list
        (row,) = json.loads(zsofs("list", "--json", source).stdout)
        assert any(remark.startswith(said) for remark in row["remarks"])
        assert f"  {name}: {said}" in zsofs("list", source).stdout
    for words in ((), ("--quick",), ("--no-cache",)):
        (checked,) = reports("verify", *words, source, code=9)
        assert checked["state"] == "bad"
        assert checked["reason"].startswith(said)
        assert checked["damage"] is not None
    made = mount(source)
    assert names(made.path)
    assert [line for line in made.log_lines(said) if name in line]
    out = tmp_path / "out" / "Game.zso"
    done = zsofs("pack", path, "-o", out)
    assert f"zsofs: {path}: {said}" in done.stderr
    packed = out.read_bytes()
    done = zsofs("pack", "--force", "--delete-source", path, "-o", out, code=8)
    assert "packed, but the input was not deleted: the image is truncated" in done.stderr
    assert out.read_bytes() == packed
    assert kept_in(source, contents)
    (checked,) = reports("verify", out, code=9)
    assert checked["reason"].endswith("; it was already incomplete when it was packed")
    back = tmp_path / "back"
    (report,) = reports("unpack", "--delete-source", out, "-o", back / "Game.iso", code=8)
    assert report["state"] == "unpacked"
    assert any(remark.startswith(said) for remark in report["remarks"])
    assert out.read_bytes() == packed
    assert (back / "Game.iso").read_bytes() == image_of(
        path, as_it_is=path.suffix in (".iso", ".bin")
    )


def test_a_batch_names_what_it_kept(tmp_path: Path) -> None:
    put(tmp_path, {"A.iso": CUT, "B.iso": PS2_IMAGE})
    done = zsofs("pack", "--delete-source", tmp_path, code=8)
    assert names(tmp_path) == ["A.iso", "A.zso", "B.zso"]
    assert done.stdout.splitlines()[-1] == f"  kept: {tmp_path}/A.iso"


def test_a_cut_image_is_not_replaced_by_its_copy(tmp_path: Path) -> None:
    path = tmp_path / "Game.zso"
    path.write_bytes(writers.ziso_py(CUT))
    for words in (("--force",), ("--force", "--delete-source")):
        said = zsofs("pack", *words, path, code=8).stderr
        assert "the output would replace the input, but the image is truncated" in said
        assert path.read_bytes() == writers.ziso_py(CUT)
    assert names(tmp_path) == ["Game.zso"]


def test_filler_is_only_mentioned(tmp_path: Path) -> None:
    path = tmp_path / "Game.iso"
    path.write_bytes(SHORT)
    (checked,) = reports("verify", path)
    assert checked["state"] == "whole"
    (remark,) = checked["remarks"]
    assert "no file has data there" in remark
    (row,) = json.loads(zsofs("list", "--json", tmp_path).stdout)
    assert "`zsofs verify` looks for files" in row["remarks"][0]
    assert "cut" not in zsofs("info", path).stdout
    (report,) = reports("pack", "--delete-source", path)
    assert report["remarks"] == [remark]
    assert names(tmp_path) == ["Game.zso"]
    (checked,) = reports("verify", tmp_path)
    assert (checked["state"], checked["remarks"]) == ("sealed", [remark])


def test_a_dat_knows_better(tmp_path: Path) -> None:
    """Some pressed discs are shorter than they say; a DAT that has one proves it."""
    path = tmp_path / "Game.iso"
    path.write_bytes(HALF)
    dat = tmp_path / "a.dat"
    dat.write_text(dat_of({"Short": [rom("Short.iso", HALF)]}))
    other = tmp_path / "b.dat"
    other.write_text(dat_of({"Other": [rom("Other.iso", b"other")]}))
    for words in ((), ("--no-cache",)):
        (checked,) = reports("verify", *words, "--dat", dat, path)
        assert checked["state"] == "verified"
        (checked,) = reports("verify", *words, "--dat", other, path, code=9)
        assert checked["state"] == "bad"


def test_what_is_longer_than_it_says_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "Game.iso"
    path.write_bytes(PS2_IMAGE + bytes(300 * 2048))
    (checked,) = reports("verify", path)
    assert (checked["state"], checked["remarks"]) == ("whole", [])
    (report,) = reports("pack", "--delete-source", path)
    assert report["remarks"] == []
    assert names(tmp_path) == ["Game.zso"]


def test_the_samples_of_other_programs_are_complete_discs(tmp_path: Path) -> None:
    paths = [path for path in DATA.iterdir() if path.suffix in (".iso", ".zso", ".cso", ".dax")]
    for path in paths:
        (report,) = reports("pack", path, "-o", tmp_path / f"{path.name}.zso")
        assert not [remark for remark in report["remarks"] if "sector" in remark], path
