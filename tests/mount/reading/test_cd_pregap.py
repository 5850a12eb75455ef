"""CDs whose first track has a stored pregap: an .iso begins behind it, in mounts and commands."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.chd_writer import PLAIN, Hunk, chd
from tests.support.mounting import ZSOFS, mounted, names
from tests.support.packed import image_of, zsofs
from tests.unit.discs.test_identify import PS2_IMAGE, raw

PREGAP = 150
HUNK = 8 * 2448


def cd(kind: str, pregap: bytes, data: bytes, sector: int) -> bytes:
    """A CHD of one track; its pregap and data are whole sectors."""
    stored = pregap + data
    frames = len(stored) // sector
    text = (
        f"TRACK:1 TYPE:{kind} SUBTYPE:NONE FRAMES:{frames} PREGAP:{PREGAP} PGTYPE:V{kind}"
        " PGSUB:NONE POSTGAP:0"
    )
    units = b"".join(
        stored[at : at + sector].ljust(2448, b"\0") for at in range(0, len(stored), sector)
    )
    units += bytes(-len(units) % HUNK)
    hunks = [Hunk(PLAIN, units[at : at + HUNK]) for at in range(0, len(units), HUNK)]
    return chd(
        hunks,
        hunk_size=HUNK,
        unit_size=2448,
        codecs=[b"cdzl"],
        image=units,
        metadata=[(b"CHT2", text.encode())],
    )


@pytest.fixture
def game(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    path = tmp_path / "source" / "Game.chd"
    path.write_bytes(cd("MODE1", b"gap " * (PREGAP * 512), PS2_IMAGE, 2048))
    return path


def test_a_mount_and_the_commands_agree(game: Path, tmp_path: Path) -> None:
    with mounted(game.parent, tmp_path / "mnt") as mount:
        assert names(mount.path) == ["Game.iso"]
        assert (mount.path / "Game.iso").read_bytes() == PS2_IMAGE
    for words in ((), ("--cd", "iso")):
        out = tmp_path / f"out{len(words)}"
        zsofs("unpack", game, *words, "-o", f"{out}/")
        assert [path.name for path in out.iterdir()] == ["Game.iso"]
        assert (out / "Game.iso").read_bytes() == PS2_IMAGE
    zsofs("pack", game, "-o", tmp_path / "Game.zso")
    assert image_of(tmp_path / "Game.zso") == PS2_IMAGE
    done = subprocess.run([*ZSOFS, "unpack", game, "-o", "-"], capture_output=True, check=True)
    assert done.stdout == PS2_IMAGE
    (about,) = json.loads(zsofs("info", "--json", game).stdout)
    assert (about["plain_bytes"], about["system"]) == (len(PS2_IMAGE), "PS2")


def test_an_iso_without_the_pregap_is_no_reason_to_delete_the_disc(game: Path) -> None:
    said = zsofs("unpack", "--delete-source", game, code=8).stderr
    assert "the CHD has a pregap, which the image lacks" in said
    assert game.exists()


@pytest.mark.parametrize("form", ["bin", "tracks"])
def test_the_other_forms_have_the_pregap(game: Path, tmp_path: Path, form: str) -> None:
    image = "Game.bin" if form == "bin" else "Game (Track 1).bin"
    out = tmp_path / "out"
    zsofs("unpack", "--cd", form, game, "-o", f"{out}/")
    with mounted(game.parent, tmp_path / "mnt", "--cd", form) as mount:
        assert names(mount.path) == names(out) == sorted([image, "Game.cue"])
        for name in names(out):
            assert (mount.path / name).read_bytes() == (out / name).read_bytes()
    assert (out / image).read_bytes() == b"gap " * (PREGAP * 512) + PS2_IMAGE
    text = (out / "Game.cue").read_text()
    assert "INDEX 00 00:00:00" in text
    assert "INDEX 01 00:02:00" in text


def test_raw_sectors(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    game = tmp_path / "source" / "Game.chd"
    game.write_bytes(cd("MODE1_RAW", raw(bytes(PREGAP * 2048), 1), raw(PS2_IMAGE, 1), 2352))
    zsofs("unpack", "--cd", "iso", game, "-o", tmp_path / "Game.iso")
    assert (tmp_path / "Game.iso").read_bytes() == PS2_IMAGE
    with mounted(game.parent, tmp_path / "mnt", "--cd", "iso") as mount:
        assert (mount.path / "Game.iso").read_bytes() == PS2_IMAGE
