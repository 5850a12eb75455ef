"""Files under the name of a packed disc that hold something else, first of all a plain image."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.mount.control.test_status import state
from tests.mount.opl.test_opl_mount import OPL, put, tree
from tests.support import writers
from tests.support.mounting import mounted
from tests.support.packed import reports, zsofs
from tests.unit.discs.test_classify import OTHERS
from tests.unit.discs.test_identify import PS2_IMAGE, raw

REMARK = "it is a plain image, not packed: its name should end in .iso"
NAMED_PACKED = "it has the name of a packed disc, but it is"


@pytest.mark.parametrize("options", [(), ("--writable",)])
def test_a_plain_image_in_a_mount(
    tmp_path: Path, mount: MountMaker, options: tuple[str, ...]
) -> None:
    source = tmp_path / "source"
    put(source / "Game.zso", PS2_IMAGE)
    put(source / "Track.cso", raw(PS2_IMAGE, 2))
    at = mount(source, *options)
    assert tree(at.path) == ["Game.iso", "Track.bin"]
    assert (at.path / "Game.iso").read_bytes() == PS2_IMAGE
    assert (at.path / "Track.bin").read_bytes() == raw(PS2_IMAGE, 2)
    assert state(at)["refused_total"] == 0
    assert at.log_lines(f"Game.zso: {REMARK}")
    with pytest.raises(OSError):
        os.unlink(at.path / "Game.iso")
    with pytest.raises(OSError):
        os.rename(at.path / "Game.iso", at.path / "x")
    with pytest.raises(OSError):
        os.truncate(at.path / "Game.iso", 0)
    assert (source / "Game.zso").read_bytes() == PS2_IMAGE


def test_a_name_that_is_taken(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    put(source / "Game.zso", PS2_IMAGE)
    put(source / "Game.iso", b"another")
    at = mount(source)
    assert tree(at.path) == ["Game.iso", "Game.zso.iso"]
    assert (at.path / "Game.iso").read_bytes() == b"another"


def test_a_plain_image_in_the_opl_layout(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    put(source / "Game.zso", PS2_IMAGE)
    at = mount(source, *OPL)
    assert tree(at.path) == ["CD/", "CD/SLUS_209.63.Game.iso", "DVD/"]
    assert (at.path / "CD" / "SLUS_209.63.Game.iso").read_bytes() == PS2_IMAGE


def test_a_file_that_turns_out_to_be_plain(tmp_path: Path) -> None:
    """What was found is kept for the next mount, and forgotten when the file is another."""
    source = tmp_path / "source"
    put(source / "Game.zso", PS2_IMAGE)
    os.utime(source / "Game.zso", (1_000_000_000, 1_000_000_000))
    for content in (PS2_IMAGE, PS2_IMAGE, writers.maxcso_zso(PS2_IMAGE)):
        if content != (source / "Game.zso").read_bytes():
            put(source / "Game.zso", content)
        with mounted(source, tmp_path / "mnt") as made:
            assert tree(made.path) == ["Game.iso"]
            assert (made.path / "Game.iso").read_bytes() == PS2_IMAGE


def test_a_plain_image_for_all_commands(tmp_path: Path) -> None:
    source = tmp_path / "source"
    game = put(source / "Game.zso", PS2_IMAGE)
    (row,) = json.loads(zsofs("list", "--json", source).stdout)
    assert (row["name"], row["path"], row["state"]) == ("Game.iso", "Game.zso", "ok")
    assert row["remarks"] == [REMARK]
    for path in (source, game):
        (result,) = reports("verify", path)
        assert (result["state"], result["remarks"]) == ("whole", [REMARK])
    (facts,) = json.loads(zsofs("info", "--json", game).stdout)
    assert REMARK in facts["remarks"]
    assert facts["container"] == "plain"
    assert REMARK in zsofs("unpack", game, code=8).stderr
    assert game.read_bytes() == PS2_IMAGE


def test_a_plain_image_is_packed(tmp_path: Path) -> None:
    game = put(tmp_path / "in" / "Game.zso", PS2_IMAGE)
    done = zsofs("pack", game, code=8)
    assert f"{game}: {REMARK}; rename it, use -o, or use --force\n" in done.stderr
    assert game.read_bytes() == PS2_IMAGE
    (report,) = reports("pack", game, "-o", f"{tmp_path}/out/")
    assert (report["state"], REMARK in report["remarks"]) == ("packed", True)
    assert game.read_bytes() == PS2_IMAGE
    zsofs("pack", "--force", game)
    assert game.read_bytes() == (tmp_path / "out" / "Game.zso").read_bytes()
    zsofs("unpack", game)
    assert (tmp_path / "in" / "Game.iso").read_bytes() == PS2_IMAGE
    assert sorted(os.listdir(tmp_path / "in")) == ["Game.iso", "Game.zso"]


@pytest.mark.parametrize(
    "what", ["a ZIP archive", "an empty file", "an HTML page", "a RAR archive"]
)
def test_other_files_are_called_what_they_are(tmp_path: Path, mount: MountMaker, what: str) -> None:
    source = tmp_path / "source"
    game = put(source / "Game.zso", OTHERS[what])
    (result,) = reports("verify", game, code=9)
    assert result["state"] == "bad"
    assert result["reason"].startswith(f"{NAMED_PACKED} {what}")
    (row,) = json.loads(zsofs("list", "--json", source).stdout)
    assert not row["is_disc"]
    assert row["state"].startswith(f"{NAMED_PACKED} {what}")
    said = zsofs("info", game).stdout
    assert f"container  none, {what}\n" in said
    assert said.count(f"{NAMED_PACKED} {what}") == 1
    if "archive" not in what:  # whose discs are packed
        assert f"it is {what}, not a disc image" in zsofs("pack", game, code=8).stderr
    at = mount(source)
    assert tree(at.path) == ["Game.zso"]
    (refused,) = state(at)["refused"]
    assert refused["reason"].startswith(f"{NAMED_PACKED} {what}")
