"""Symlinks that lead out of the source: named with a reason, or followed with --allow-links-to."""

import errno
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MountMaker
from tests.support.ends import join
from tests.support.mounting import (
    DATA,
    ZSOFS,
    Mount,
    mounted,
    names,
    opened,
    status_of,
    wait_for,
    wait_until,
)
from zsofs.errors import StaleNodeError
from zsofs.source.disc_state import Count
from zsofs.source.links import Target, why_not_followed
from zsofs.source.roots import Roots
from zsofs.source.tree import SourceTree
from zsofs.system import xdg
from zsofs.vfs.disc_counts import DiscCounts

PS2 = DATA / "ps2.iso"
PACKED = DATA / "ziso-py.zso"
IMAGE = PS2.read_bytes()


def run(*words: object, code: int = 0) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run([*ZSOFS, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def listed(*words: object) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(run("list", "--json", *words).stdout)}


@pytest.fixture
def roms(tmp_path: Path) -> Path:
    """A directory beside the source with a disc in `dvd`."""
    (tmp_path / "roms" / "dvd").mkdir(parents=True)
    shutil.copy(PACKED, tmp_path / "roms" / "dvd" / "Game.zso")
    return tmp_path / "roms"


# Links that are not followed


def test_links_that_are_not_followed_are_named(source: Path, roms: Path, mount: MountMaker) -> None:
    (source / "DVD").symlink_to("../roms/dvd")
    (source / "Game.zso").symlink_to(roms / "dvd" / "Game.zso")
    (source / "gone.iso").symlink_to("nowhere.iso")
    (source / "notes.txt").symlink_to("/etc/hostname")
    (source / ".#lock.txt").symlink_to("user@host.1")
    (source / "a").mkdir()
    (source / "a" / "up").symlink_to("..")
    option = f"to follow it, use --allow-links-to {roms}/dvd"
    wanted = {
        "DVD": f"the symlink is not followed: {roms}/dvd is outside the source; {option}",
        "Game.zso": f"the symlink is not followed: {roms}/dvd/Game.zso is outside the source;"
        f" {option}",
        "gone.iso": f"the symlink is dangling: {source}/nowhere.iso does not exist",
    }
    found = listed(source)
    assert {name: row["state"] for name, row in found.items()} == wanted
    assert not any(row["is_disc"] for row in found.values())
    text = run("list", source).stdout
    assert "symlinks that are not followed:\n" in text
    assert all(f"  {name}: {why}\n" in text for name, why in wanted.items())
    made = mount(source)
    assert os.readlink(made.path / "DVD") == "../roms/dvd"
    said = status_of(made)
    assert {row["path"]: row["reason"] for row in said["links_not_followed"]} == wanted
    assert said["links_not_followed_total"] == 3
    assert "not followed: 3 symlinks\n" in run("status", made.path).stdout
    for name, why in wanted.items():
        assert len(made.log_lines(f"{name}: {why}")) == 1


def test_the_log_names_ten_links_of_a_directory(
    source: Path, roms: Path, mount: MountMaker
) -> None:
    for number in range(15):
        (source / f"{number}.zso").symlink_to(roms / "dvd" / "Game.zso")
    made = mount(source)
    assert len(names(made.path)) == 15
    assert len(made.log_lines("outside the source")) == 10
    assert len(made.log_lines("5 more symlinks are not followed")) == 1
    assert status_of(made)["links_not_followed_total"] == 15


def test_a_link_into_a_mount_is_named_without_a_look(source: Path, tmp_path: Path) -> None:
    shutil.copy(PACKED, source / "Game.zso")
    (source / "own").symlink_to(tmp_path / "mnt" / "deep")
    with mounted(source, tmp_path / "mnt") as made:
        assert names(made.path) == ["Game.iso", "own"]
        (row,) = status_of(made)["links_not_followed"]
        assert row["reason"].endswith(f"{made.path}/deep is in a zsofs mount")


def test_an_alias_of_the_source_stays_inside(tmp_path: Path, mount: MountMaker) -> None:
    (tmp_path / "real" / "lib").mkdir(parents=True)
    shutil.copy(PACKED, tmp_path / "real" / "lib" / "Game.zso")
    (tmp_path / "alias").symlink_to("real")
    (tmp_path / "other").symlink_to(tmp_path / "alias")
    for number, alias in enumerate(("alias", "other")):
        link = tmp_path / "real" / f"{number}.zso"
        link.symlink_to(tmp_path / alias / "lib" / "Game.zso")
    assert set(listed(tmp_path / "alias")) == {"0.iso", "1.iso", "lib/Game.iso"}
    made = mount(tmp_path / "alias")
    for name in ("0.iso", "1.iso"):
        assert (made.path / name).read_bytes() == IMAGE


# Links that are followed


def test_followed_in_the_plain_layout(source: Path, roms: Path, mount: MountMaker) -> None:
    (source / "DVD").symlink_to("../roms/dvd")
    (source / "Link.zso").symlink_to(roms / "dvd" / "Game.zso")
    (source / "other").symlink_to("..")
    found = listed("--allow-links-to", roms, source)
    assert {name: row["path"] for name, row in found.items() if row["is_disc"]} == {
        "DVD/Game.iso": f"{roms}/dvd/Game.zso",
        "Link.iso": "Link.zso",
    }
    made = mount(source, "--allow-links-to", str(roms))
    for name in ("DVD/Game.iso", "Link.iso"):
        assert (made.path / name).read_bytes() == IMAGE
    assert (made.path / "other").is_symlink()
    wait_until(lambda: status_of(made)["discs"] == 2, "the count")
    said = status_of(made)
    assert said["allow_links_to"] == [str(roms)]
    assert [row["path"] for row in said["links_not_followed"]] == ["other"]
    assert listed(made.path) == found


def test_a_change_behind_a_link_is_shown(source: Path, roms: Path, mount: MountMaker) -> None:
    (source / "DVD").symlink_to(roms / "dvd")
    for layout in ("plain", "opl"):
        made = mount(source, "--layout", layout, "--allow-links-to", str(roms))
        before = len(names(made.path / "DVD"))
        shutil.copy(PACKED, roms / "dvd" / f"New {layout}.zso")
        wait_until(lambda at=made, n=before: len(names(at.path / "DVD")) == n + 1, "it")  # type: ignore[misc]
        assert status_of(made)["following"] == "events"
        (roms / "dvd" / f"New {layout}.zso").unlink()
        wait_until(lambda at=made, n=before: len(names(at.path / "DVD")) == n, "its end")  # type: ignore[misc]


def test_followed_in_the_layout_for_opl(source: Path, roms: Path, mount: MountMaker) -> None:
    """The disc fits on a CD, but its user has sorted it into DVD."""
    (source / "DVD").symlink_to("../roms/dvd")
    (source / "All").symlink_to(roms)
    (roms / "dvd" / "games.bin").write_bytes(b"list")
    (roms / "other").mkdir()
    shutil.copy(PACKED, roms / "other" / "Second.zso")
    made = mount(source, "--layout", "opl", "--allow-links-to", str(roms))
    assert names(made.path) == ["CD", "DVD"]
    assert names(made.path / "DVD") == ["SLUS_209.63.Game.iso", "games.bin"]
    assert names(made.path / "CD") == ["SLUS_209.63.Second.iso"]
    for path in ("DVD/SLUS_209.63.Game.iso", "CD/SLUS_209.63.Second.iso"):
        assert (made.path / path).read_bytes() == IMAGE
    assert set(listed(made.path)) == {"DVD/SLUS_209.63.Game.iso", "CD/SLUS_209.63.Second.iso"}
    (source / "All").unlink()
    wait_for(made.path / "CD")
    assert names(made.path / "DVD") == ["SLUS_209.63.Game.iso", "games.bin"]
    (source / "DVD").unlink()
    wait_for(made.path / "DVD")
    assert status_of(made)["discs"] == 0


def test_a_link_inside_the_source_counts_as_dvd(source: Path, mount: MountMaker) -> None:
    (source / "games").mkdir()
    shutil.copy(PACKED, source / "games" / "Game.zso")
    (source / "games" / "games.bin").write_bytes(b"list")
    (source / "DVD").symlink_to("games")
    made = mount(source, "--layout", "opl", "--writable")
    assert names(made.path / "DVD") == ["SLUS_209.63.Game.iso", "games.bin"]
    (made.path / "DVD" / "new.txt").write_text("new")
    assert (source / "games" / "new.txt").read_text() == "new"


@pytest.mark.parametrize("layout", ["plain", "opl"])
def test_a_ring_is_cut(source: Path, roms: Path, mount: MountMaker, layout: str) -> None:
    (source / "b").symlink_to(roms)
    (roms / "a").symlink_to(source)
    (roms / "dvd" / "back").symlink_to(roms)
    (source / "notes").mkdir()
    (source / "notes" / "roms").symlink_to(roms / "dvd")
    made = mount(source, "--layout", layout, "--allow-links-to", str(roms))
    count = sum(len(folders) + len(files) for _, folders, files in os.walk(made.path))
    assert count < 20
    wait_until(lambda: status_of(made)["links_not_followed_total"], "the links")
    reasons = {row["path"]: row["reason"] for row in status_of(made)["links_not_followed"]}
    assert reasons[f"{roms}/a"] == (
        f"the symlink is not followed: {source} is a directory that contains it"
    )
    found = [row for row in listed("--allow-links-to", roms, source).values() if row["is_disc"]]
    assert len(found) == 1


def test_a_directory_that_contains_the_source(source: Path, roms: Path, tmp_path: Path) -> None:
    """Everything in the source keeps its path there; the source is not entered again."""
    (source / "Disc.zso").symlink_to(roms / "dvd" / "Game.zso")
    (source / "up").symlink_to("..")
    with mounted(source, tmp_path / "mnt", "--allow-links-to", str(tmp_path)) as made:
        assert names(made.path / "up" / "source") == []
        assert names(made.path / "up" / "mnt") == []
        assert (made.path / "up" / "roms" / "dvd" / "Game.iso").read_bytes() == IMAGE
        said = {row["path"]: row["reason"] for row in status_of(made)["shown_empty"]}
        assert "it is the source directory itself" in said[str(source)]
        assert set(said) == {str(source), str(made.path)}
    discs = {n for n, row in listed("--allow-links-to", tmp_path, source).items() if row["is_disc"]}
    assert discs == {"Disc.iso", "up/roms/dvd/Game.iso"}


def test_roots_within_each_other() -> None:
    assert Roots.of(b"/s", (b"/r/a", b"/r", b"/s/x", b"/ra")).others == (b"/r", b"/ra")
    assert Roots.of(b"/", (b"/r",)).others == ()
    above = Roots.of(b"/r/s", (b"/r",))
    assert list(above.repeated) == [b"/r/s"]
    assert [above.path_of(path) for path in (b"/r/s/x", b"/r/s", b"/r/sx", b"/q")] == [
        b"x",
        b"",
        b"/r/sx",
        None,
    ]


def test_disc_counts_of_a_ring_of_symlinks() -> None:
    disc_counts = DiscCounts({b"old": Count(1), b"/old": Count(5)})
    assert disc_counts.total().discs == 1
    disc_counts.take(b"", Count(), [b"/r"])
    disc_counts.take(b"/r", Count(1), [b"/q"])
    disc_counts.take(b"/q", Count(2), [b"/r"])
    assert disc_counts.total().discs == 3
    assert disc_counts.take(b"", Count(), []) == [b"/q", b"/r"]
    assert disc_counts.total().discs == 0


def test_a_link_swapped_for_one_that_leads_out(
    source: Path, roms: Path, tmp_path: Path, mount: MountMaker
) -> None:
    """Neither links in the source nor in DIR lead out of it, whenever they are swapped."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "secret.txt").write_text("secret")
    (roms / "dvd" / "secret.txt").write_text("public")
    (source / "DVD").symlink_to(roms / "dvd")
    made = mount(source, "--allow-links-to", str(roms))
    end = threading.Event()
    read: set[str] = set()
    failed: set[int | None] = set()

    def swap() -> None:
        while not end.is_set():
            os.rename(roms / "dvd", roms / "kept")
            (roms / "dvd").symlink_to(out)
            (roms / "dvd").unlink()
            os.rename(roms / "kept", roms / "dvd")

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(400):
            try:
                # While it is not followed, it is a symlink, which this process must not follow.
                with opened(made.path / "DVD", os.O_DIRECTORY | os.O_NOFOLLOW) as folder:
                    file = os.open("secret.txt", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
                with os.fdopen(file) as text:
                    read.add(text.read())
            except OSError as error:
                failed.add(error.errno)
    finally:
        end.set()
        join(swapping)
    assert read <= {"public"}
    assert failed <= {errno.ENOENT, errno.ELOOP, errno.ESTALE, errno.ENOTDIR, errno.EIO}
    (source / "DVD").unlink()
    (source / "DVD").symlink_to(out)
    wait_until((made.path / "DVD").is_symlink, "the new listing")
    assert not made.log_lines("internal error")


def test_no_step_below_an_allowed_directory_follows_a_symlink(
    source: Path, roms: Path, tmp_path: Path
) -> None:
    tree = SourceTree(os.fsencode(source), (os.fsencode(roms),))
    path = os.fsencode(roms / "dvd" / "Game.zso")
    tree.open(path).close()
    os.rename(roms / "dvd", tmp_path / "out")
    (roms / "dvd").symlink_to(tmp_path / "out")
    with pytest.raises(OSError, match="Not a directory"):
        tree.open(path)
    for outside in (tmp_path / "out" / "Game.zso", roms / ".." / "out" / "Game.zso"):
        with pytest.raises(StaleNodeError):
            tree.open(os.fsencode(outside))


# Changes through the mount


@pytest.mark.parametrize("layout", ["plain", "opl"])
def test_writes_go_where_a_plain_directorys_would(
    source: Path, roms: Path, mount: MountMaker, layout: str
) -> None:
    (source / "DVD").symlink_to("../roms/dvd")
    (source / "VMC").symlink_to(roms / "dvd")
    (source / "plain").mkdir()
    made = mount(source, "--layout", layout, "--writable", "--allow-links-to", str(roms))
    shown = made.path / "DVD"
    (shown / "games.bin").write_bytes(b"list")
    assert (roms / "dvd" / "games.bin").read_bytes() == b"list"
    os.rename(shown / "games.bin", made.path / "plain" / "moved.bin")
    assert names(source / "plain") == ["moved.bin"]
    os.rename(made.path / "plain" / "moved.bin", shown / "back.bin")
    assert (roms / "dvd" / "back.bin").read_bytes() == b"list"
    with (shown / "back.bin").open("ab") as file:
        file.write(b"more")
    assert (roms / "dvd" / "back.bin").read_bytes() == b"listmore"
    (shown / "back.bin").unlink()
    assert names(roms / "dvd") == ["Game.zso"]
    with pytest.raises(OSError, match=r"Operation not permitted|Permission denied|Read-only"):
        next(shown.glob("*.iso")).unlink()
    if layout == "plain":
        (shown / "new" / "deep").mkdir(parents=True)
        assert (roms / "dvd" / "new" / "deep").is_dir()
        os.rename(shown / "new", shown / "other")
        (shown / "other" / "deep").rmdir()
        assert names(roms / "dvd" / "other") == []
    assert (source / "DVD").is_symlink()
    assert not made.log_lines("internal error")


def test_a_symlink_with_discs_behind_it_stays(source: Path, roms: Path, mount: MountMaker) -> None:
    """Through the mount it is a directory of discs; what lies in it may change."""
    (source / "sub").mkdir()
    (source / "mine").mkdir()
    (source / "far").symlink_to("../roms/dvd")
    made = mount(source, "--writable", "--allow-links-to", str(roms))
    before = sorted(os.listdir(roms / "dvd"))
    for old, new in (("far", "other"), ("far", "sub/far"), ("mine", "far")):
        with pytest.raises(PermissionError):
            os.rename(made.path / old, made.path / new)
    with pytest.raises(OSError):
        os.rmdir(made.path / "far")
    assert os.readlink(source / "far") == "../roms/dvd"
    assert sorted(os.listdir(roms / "dvd")) == before


def test_a_rename_to_another_file_system(source: Path, tmp_path: Path, mount: MountMaker) -> None:
    elsewhere = Path("/dev/shm") / f"zsofs-{os.getpid()}-{tmp_path.name}"
    if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    elsewhere.mkdir()
    try:
        (source / "far").symlink_to(elsewhere)
        made = mount(source, "--writable", "--allow-links-to", str(elsewhere))
        (made.path / "a.txt").write_text("a")
        with pytest.raises(OSError) as failed:
            os.rename(made.path / "a.txt", made.path / "far" / "a.txt")
        assert failed.value.errno == errno.EXDEV
        shutil.move(made.path / "a.txt", made.path / "far" / "a.txt")
        assert (elsewhere / "a.txt").read_text() == "a"
    finally:
        shutil.rmtree(elsewhere)


# Other commands, and other ways to give the option


def test_verify_follows_a_farm(tmp_path: Path, roms: Path) -> None:
    farm = tmp_path / "farm"
    farm.mkdir()
    (farm / "all").symlink_to(roms)
    (farm / "again").symlink_to(roms / "dvd")
    (roms / "ring").symlink_to(farm)
    done = run("verify", "--quick", farm)
    assert "left out: 2 symlinks; --allow-links-to DIR follows" in done.stderr
    done = run("verify", "--quick", "--json", "--allow-links-to", roms, farm)
    (found,) = map(json.loads, done.stdout.splitlines())
    assert found["path"] == str(farm / "again" / "Game.zso")
    assert "1 directory that was taken already" in done.stderr


def test_pack_follows_a_farm(tmp_path: Path, roms: Path) -> None:
    farm, out = tmp_path / "farm", tmp_path / "out"
    farm.mkdir()
    shutil.copy(PS2, roms / "dvd" / "Plain.iso")
    (roms / "dvd" / "Game.zso").unlink()
    (farm / "DVD").symlink_to(roms / "dvd")
    (farm / "Link.iso").symlink_to(roms / "dvd" / "Plain.iso")
    (farm / "Out.iso").symlink_to(PS2)
    run("pack", "--recursive", "--allow-links-to", roms, farm, "-o", f"{out}/")
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.zso")) == [
        "DVD/Plain.zso",
        "Link.zso",
    ]
    run("pack", "--recursive", "--delete-source", "--allow-links-to", roms, farm / "DVD")
    assert names(roms / "dvd") == ["Plain.zso"]


@pytest.mark.parametrize("way", ["-o", "config", "fstab"])
def test_ways_to_give_the_option(
    source: Path, roms: Path, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "DVD").symlink_to(roms / "dvd")
    point = tmp_path / "mnt"
    other = tmp_path / "other dir"
    other.mkdir()
    if way == "config":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        folder = tmp_path / "config" / "zsofs"
        folder.mkdir(parents=True)
        (folder / "games.toml").write_text(
            f'source = "{source}"\nmountpoint = "{point}"\nallow-links-to = ["{roms}", "{other}"]\n'
        )
        from zsofs.cli import parser

        monkeypatch.setattr(xdg, "system_folder", lambda: folder)
        assert parser.parse(["mount", "games"]).allow_links_to == [roms, other]
        return
    words = f"allow_links_to={roms},allow-links-to={other}"
    if way == "fstab":
        from zsofs.cli import mount_helper

        found: list[Any] = []
        code = mount_helper.run(
            [str(source), str(point), "-o", f"rw,{words}"],
            lambda options: len(found.__iadd__(options.allow_links_to)) - 2,
        )
        assert (code, found) == (0, [roms, other])
        return
    with mounted(source, point, "-o", words) as made:
        assert names(made.path / "DVD") == ["Game.iso"]


def test_a_directory_that_cannot_be_allowed(source: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    for command in (["mount", source, point], ["list", source], ["verify", source]):
        missing = run(command[0], "--allow-links-to", tmp_path / "no", *command[1:], code=3)
        assert missing.stderr.count("\n") == 1
        assert f"the directory {tmp_path}/no of --allow-links-to cannot be read" in missing.stderr
        root = run(command[0], "--allow-links-to", "/", *command[1:], code=2)
        assert "'/' would allow links to everything" in root.stderr
    (tmp_path / "file").touch()
    run("mount", "--allow-links-to", tmp_path / "file", source, point, code=3)
    (tmp_path / "slash").symlink_to("/")
    run("mount", "--allow-links-to", tmp_path / "slash", source, point, code=3)


def test_a_directory_that_comes_later(source: Path, tmp_path: Path, mount: MountMaker) -> None:
    late = tmp_path / "late"
    (source / "DVD").symlink_to(late)
    made = mount(source, "--nofail", "--allow-links-to", str(late))
    assert (made.path / "DVD").is_symlink()
    late.mkdir()
    shutil.copy(PACKED, late / "Game.zso")
    wait_until(lambda: not (made.path / "DVD").is_symlink(), "the directory")
    assert names(made.path / "DVD") == ["Game.iso"]


def test_a_directory_that_comes_later_as_a_symlink(
    source: Path, roms: Path, tmp_path: Path, mount: MountMaker
) -> None:
    """Also one below a symlink; what is listed then is what the mount shows."""
    late, below = tmp_path / "late", tmp_path / "disk" / "dvd"
    (source / "DVD").symlink_to(late)
    (source / "Other.zso").symlink_to(below / "Game.zso")
    words = ("--allow-links-to", str(late), "--allow-links-to", str(below))
    made = mount(source, "--nofail", *words)
    assert names(made.path) == ["DVD", "Other.zso"]
    late.symlink_to(roms / "dvd")
    wait_until(lambda: not (made.path / "DVD").is_symlink(), "the first directory")
    assert names(made.path / "DVD") == ["Game.iso"]
    (roms / "dvd" / "New.zso").write_bytes(PACKED.read_bytes())  # it is watched
    wait_until(lambda: names(made.path / "DVD") == ["Game.iso", "New.iso"], "the new disc")
    (tmp_path / "disk").symlink_to(roms)
    wait_until(lambda: "Other.iso" in names(made.path), "the second one")
    assert (made.path / "Other.iso").read_bytes() == IMAGE
    assert status_of(made)["allow_links_to"] == [f"{roms}/dvd", f"{roms}/dvd"]
    assert set(listed(made.path)) == {"DVD/Game.iso", "DVD/New.iso", "Other.iso"}


def is_refused(made: Mount) -> bool:
    """List the mount, because nothing reports a change outside the source, and read the log."""
    os.listdir(made.path)
    return bool(made.log_lines("is the root directory"))


def test_a_directory_that_comes_later_as_the_root_directory(
    source: Path, tmp_path: Path, mount: MountMaker
) -> None:
    late = tmp_path / "late"
    (source / "DVD").symlink_to(late / "etc")
    made = mount(source, "--nofail", "--allow-links-to", str(late))
    late.symlink_to("/")
    wait_until(lambda: is_refused(made), "the refusal")
    assert (made.path / "DVD").is_symlink()


@pytest.mark.parametrize("target", ["/", "/Game.zso"])
def test_what_lies_in_the_root_directory(source: Path, target: str) -> None:
    """The option refuses that directory, so it is not suggested."""
    found = Target(os.fsencode(target), is_directory=target == "/")
    why = why_not_followed(b"Link.zso", found)
    assert why == (
        f"the symlink is not followed: {target} is outside the source, and --allow-links-to does"
        " not accept /; move the target to another directory and create the symlink again"
    )


@pytest.mark.usefixtures("as_root")
def test_files_of_a_followed_link_keep_the_rights_of_directories_above(
    source: Path, roms: Path, mount: MountMaker
) -> None:
    (source / "Open.zso").symlink_to(roms / "dvd" / "Game.zso")
    made = mount(source, "--allow-other", "--allow-links-to", str(roms))
    assert (made.path / "Open.iso").stat().st_mode & 0o044 == 0o044
    (roms / "dvd").chmod(0o700)
    wait_until(lambda: (made.path / "Open.iso").stat().st_mode & 0o044 == 0, "the mode")
