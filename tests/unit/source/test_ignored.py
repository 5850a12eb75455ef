"""Files that are named like discs and never taken for one, and discs that OPL cannot play."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.mount.control.test_status import state
from tests.mount.opl.test_opl_mount import OPL, put, tree
from tests.support import writers
from tests.support.packed import zsofs
from tests.unit.discs.test_identify import PS2_IMAGE, made, raw
from zsofs.formats.file_names import is_in_trash, is_system_directory

PS1_FILES = {"/SYSTEM.CNF": b"BOOT = cdrom:\\SLUS_005.94;1\r\n"}
APPLE_DOUBLE = b"\0\5\x16\7\0\2\0\0" + bytes(4088)
TRASHES = (
    ".Trash",
    ".Trash-1000",
    ".Trashes",
    "$RECYCLE.BIN",
    "$Recycle.Bin",
    "RECYCLER",
    ".recycle",
    "#recycle",
    "@Recycle",
    "@eaDir",
    "lost+found",
    "System Volume Information",
)
NOT_FOR_OPL = {
    "DVD/PS1.iso": (made(PS1_FILES, xa=True), "it is a PS1 disc"),
    "Raw.iso": (raw(made({"/README.TXT": b"x"}), 2), "it has raw CD sectors"),
    "Empty.iso": (b"", "it is an empty file"),
    "Page.iso": (b"<html>not found</html>", "it is an HTML page"),
    "Cube.iso": (
        bytes(0x1C) + b"\xc2\x33\x9f\x3d" + bytes(700_000),
        "it is a GameCube image",
    ),
}


def with_trash(source: Path) -> Path:
    """Fill a source with one disc, and with deleted ones in all kinds of trash."""
    put(source / "Game.iso", PS2_IMAGE)
    for name in TRASHES:
        put(source / name / "files" / "Plain.iso", PS2_IMAGE)
        put(source / "below" / name / "Packed.zso", writers.maxcso_zso(PS2_IMAGE))
    put(source / "._Game.iso", APPLE_DOUBLE)
    put(source / "DVD" / "._Other.zso", APPLE_DOUBLE)
    return source


COUNTED = f"left out: {2 * len(TRASHES)} files in trash or system directories, 2 AppleDouble files"


@pytest.mark.parametrize("name", [b"Trash", b"trash-1000", b".Trash-me", b"recycle", b"lost found"])
def test_other_directories(name: bytes) -> None:
    assert not is_system_directory(name)


def test_a_path_in_the_trash() -> None:
    assert is_in_trash(b"a/.Trash-1000/files/b")
    assert not is_in_trash(b"a/b")
    assert not is_in_trash(b"")


def test_trash_in_the_opl_layout(tmp_path: Path, mount: MountMaker) -> None:
    mounted = mount(with_trash(tmp_path / "source"), *OPL)
    assert tree(mounted.path) == ["CD/", "CD/SLUS_209.63.Game.iso", "DVD/"]
    assert state(mounted)["left_out_total"] == 0
    done = zsofs("list", "--json", mounted.path)
    assert [row["path"] for row in json.loads(done.stdout)] == ["Game.iso"]
    assert COUNTED in done.stderr


def test_trash_in_the_plain_layout(tmp_path: Path, mount: MountMaker) -> None:
    source = with_trash(tmp_path / "source")
    mounted = mount(source)
    assert tree(mounted.path) == tree(source)
    packed = Path("below", TRASHES[0], "Packed.zso")
    assert (mounted.path / packed).read_bytes() == (source / packed).read_bytes()
    assert (mounted.path / "._Game.iso").read_bytes() == APPLE_DOUBLE
    found = state(mounted)
    assert (found["discs"], found["refused_total"]) == (1, 0), "Game.iso alone"


def test_a_disc_that_is_moved_to_the_trash_and_back(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    trash = source / ".Trash-1000"
    trash.mkdir(parents=True)
    put(source / "Game.zso", writers.maxcso_zso(PS2_IMAGE))
    mounted = mount(source)
    assert tree(mounted.path) == [".Trash-1000/", "Game.iso"]
    (source / "Game.zso").rename(trash / "Game.zso")
    assert os.listdir(mounted.path) == [".Trash-1000"]
    assert os.listdir(mounted.path / ".Trash-1000") == ["Game.zso"]
    (trash / "Game.zso").rename(source / "Game.zso")
    assert sorted(os.listdir(mounted.path)) == [".Trash-1000", "Game.iso"]
    assert (mounted.path / "Game.iso").read_bytes() == PS2_IMAGE


def test_what_opl_cannot_play(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    put(source / "Game.iso", PS2_IMAGE)
    for name, (content, _) in NOT_FOR_OPL.items():
        put(source / name, content)
    mounted = mount(source, *OPL, "-v")
    assert tree(mounted.path) == ["CD/", "CD/SLUS_209.63.Game.iso", "DVD/"]
    reasons = {
        name: f"not in the OPL layout: {reason}" for name, (_, reason) in NOT_FOR_OPL.items()
    }
    rows = json.loads(zsofs("list", "--json", mounted.path).stdout)
    assert {row["path"]: row["state"] for row in rows} == {"Game.iso": "ok"} | reasons
    found = state(mounted)
    assert {row["path"]: row["reason"] for row in found["left_out"]} == reasons
    said = zsofs("status", mounted.path).stdout
    assert f"  not shown: {len(reasons)} files\n" in said
    for name, (_, reason) in NOT_FOR_OPL.items():
        assert mounted.log_lines(f"{name}: not in the OPL layout: {reason}")
        (facts,) = json.loads(zsofs("info", "--json", source / name).stdout)
        assert facts["why_not"]["OPL"] == reason


def test_packed_discs_that_opl_cannot_play_are_not_counted(
    tmp_path: Path, mount: MountMaker
) -> None:
    source = tmp_path / "source"
    put(source / "Game.zso", writers.maxcso_zso(PS2_IMAGE))
    put(source / "PS1.zso", writers.maxcso_zso(made(PS1_FILES, xa=True)))
    mounted = mount(source, *OPL)
    assert tree(mounted.path) == ["CD/", "CD/SLUS_209.63.Game.iso", "DVD/"]
    found = state(mounted)
    assert (found["discs"], found["left_out_total"]) == (1, 1)


def with_dots(folder: Path, content: bytes, ending: str) -> list[str]:
    """Write discs whose names begin with a dot, or that lie in such a folder."""
    names = [f".hack Part 1{ending}", f".hack/Part 2{ending}", f"Other{ending}"]
    for name in names:
        put(folder / name, content)
    return names


def test_names_that_begin_with_a_dot(tmp_path: Path) -> None:
    source = tmp_path / "source"
    plain = with_dots(source, PS2_IMAGE, ".iso")
    rows = json.loads(zsofs("list", "--json", source).stdout)
    assert sorted(row["path"] for row in rows) == plain
    said = [json.loads(line) for line in zsofs("verify", "--json", source).stdout.splitlines()]
    assert sorted(os.path.relpath(row["path"], source) for row in said) == plain
    zsofs("pack", "--recursive", source, "-o", tmp_path / "packed")
    packed = tmp_path / "packed"
    assert sorted(tree(packed)) == sorted(
        [".hack/", *(name.replace(".iso", ".zso") for name in plain)]
    )
    zsofs("unpack", "--recursive", packed, "-o", tmp_path / "again")
    for name in plain:
        assert (tmp_path / "again" / name).read_bytes() == PS2_IMAGE


@pytest.mark.parametrize(
    "command", [("verify",), ("pack", "--recursive"), ("unpack", "--recursive")]
)
def test_what_is_left_out_is_counted(tmp_path: Path, command: tuple[str, ...]) -> None:
    source = with_trash(tmp_path / "source")
    put(source / "Other.zso", writers.maxcso_zso(PS2_IMAGE))
    before = sorted(tree(source))
    done = zsofs(*command, source, *(() if command == ("verify",) else ("-o", tmp_path / "out")))
    counted = COUNTED
    if command[0] == "unpack":
        counted = f"left out: {len(TRASHES)} files in trash or system directories, 1 AppleDouble"
    assert counted in done.stderr
    assert sorted(tree(source)) == before
    assert "Packed" not in done.stdout + done.stderr
    assert "._" not in done.stdout + done.stderr


def test_symlinks_that_are_not_packed_are_counted(tmp_path: Path) -> None:
    put(tmp_path / "in" / "Game.iso", PS2_IMAGE)
    (tmp_path / "in" / "Link.iso").symlink_to("Game.iso")
    done = zsofs("pack", tmp_path / "in")
    assert "zsofs: left out: 1 symlink; --allow-links-to DIR follows" in done.stderr
    assert sorted(os.listdir(tmp_path / "in")) == ["Game.iso", "Game.zso", "Link.iso"]


def test_a_trash_directory_that_is_named(tmp_path: Path) -> None:
    trash = tmp_path / ".Trash-1000"
    put(trash / "Game.iso", PS2_IMAGE)
    assert "Game.iso: whole" in zsofs("verify", trash).stdout
    zsofs("pack", trash)
    assert (trash / "Game.zso").exists()
