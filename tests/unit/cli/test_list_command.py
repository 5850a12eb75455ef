"""What `zsofs list` prints of folders and of mounts."""

import json
import os
import pty
import re
import select
import shlex
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MountMaker
from tests.mount.control.test_control import answering
from tests.mount.control.test_control import point as point
from tests.mount.control.test_control import runtime as runtime
from tests.mount.opl.test_opl_mount import OPL, game, opened_below, put, put_game
from tests.mount.reading.test_faults import stopped
from tests.support import writers
from tests.support.ends import spawned
from tests.support.fork_server import in_scripts
from tests.support.mounting import DATA, ZSOFS, mounted, open_to_others, wait_until
from tests.unit.cli.test_messages import refused, run
from tests.unit.discs.test_identify import PSP_FILES, made, raw
from zsofs.console.tables import size, width

ROOT = Path(__file__).parents[3]
FIELDS = {
    "name": str,
    "files": list,
    "path": str,
    "is_disc": bool,
    "state": str,
    "container": str,
    "codec": str,
    "block_size": int,
    "stored_bytes": int,
    "plain_bytes": int,
    "id": str,
    "title": str,
    "label": str,
    "system": str,
    "media": str,
    "remarks": list,
}
MAY_BE_NULL = {"container", "codec", "block_size", "plain_bytes"}


def listed(path: Path, *arguments: str) -> str:
    """What it prints; it must have nothing to complain about."""
    done = run("list", *arguments, path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert isinstance(done.stdout, str)
    return done.stdout


def objects(path: Path) -> dict[str, dict[str, Any]]:
    """What it says for programs, by the name of each disc in the mount."""
    rows = json.loads(listed(path, "--json"))
    for row in rows:
        assert set(row) == set(FIELDS)
        for field, kind in FIELDS.items():
            assert isinstance(row[field], kind) or (row[field] is None and field in MAY_BE_NULL)
    found = {row["name"]: row for row in rows}
    assert len(found) == len(rows)
    assert list(found) == sorted(found)
    return found


def names(said: str) -> list[str]:
    """The last column of a table."""
    lines = said.splitlines()
    start = lines[0].index("name")
    return [line[start:] for line in lines[1 : lines.index("")]]


@pytest.fixture
def games(source: Path) -> Path:
    """Discs of several kinds, and files that are none."""
    shutil.copy(DATA / "ziso-py.zso", source / "Okami.zso")
    put(source / "rpg" / "x", b"").unlink()
    shutil.copy(DATA / "maxcso-16384.zso", source / "rpg" / "Large.zso")
    shutil.copy(DATA / "ciso-py.cso", source / "rpg" / "Other.cso")
    put(source / "PSP" / "Patapon.dax", writers.dax(made(PSP_FILES)))
    shutil.copy(DATA / "ps2.iso", source / "Plain.iso")
    put(source / "raw" / "Track.zso", writers.danixu(raw(game(3), 2), block_size=2352))
    put(source / "raw" / "Game.bin", raw(game(4), 1))
    put(source / "raw" / "Game.cue", b'FILE "Game.bin" BINARY\n')
    put(source / "VMC" / "Card.bin", bytes(100_000))
    put(source / "DVD" / "games.bin", b"x" * 5000)
    put(source / "ART" / "cover.jpg", b"jpg")
    put(source / "notes", b"text")
    return source


def test_a_folder(games: Path) -> None:
    said = listed(games)
    assert said.splitlines()[:2] == [
        " stored    plain  ratio  id           container       name",
        " 680 kB  1.47 MB   46 %  SLUS_209.63  ZSO lz4 2K      Okami.iso",
    ]
    assert names(said) == [
        "Okami.iso",
        "PSP/Patapon.iso",
        "Plain.iso",
        "raw/Game.bin",
        "raw/Track.bin",
        "rpg/Large.iso",
        "rpg/Other.iso",
    ]
    assert "599 kB  1.47 MB   41 %  SLUS_209.63  ZSO lz4 16K     rpg/Large.iso" in said
    assert "542 kB  1.47 MB   37 %  SLUS_209.63  CSO deflate 2K  rpg/Other.iso" in said
    assert "1.47 MB  1.47 MB  100 %  SLUS_209.63  plain           Plain.iso" in said
    assert "not shown" not in said
    assert not re.search(r" $", said, re.M)


def test_the_sums(games: Path) -> None:
    stored = sum(row["stored_bytes"] for row in objects(games).values())
    shown = sum(row["plain_bytes"] for row in objects(games).values())
    assert listed(games).splitlines()[-1] == (
        f"7 discs (5 compressed, 2 plain), {size(shown)} shown, {size(stored)} stored,"
        f" {size(shown - stored)} saved"
    )
    for path in games.rglob("*.*o"):
        if path.name != "Plain.iso":
            path.unlink()
    shutil.rmtree(games / "raw")
    (games / "PSP" / "Patapon.dax").unlink()
    assert listed(games).splitlines()[-1] == (
        "1 disc (0 compressed, 1 plain), 1.47 MB shown, 1.47 MB stored"
    )


def test_for_programs(games: Path) -> None:
    found = objects(games)
    assert found["rpg/Large.iso"] == {
        "name": "rpg/Large.iso",
        "files": ["rpg/Large.iso"],
        "path": "rpg/Large.zso",
        "is_disc": True,
        "state": "ok",
        "container": "ZSO",
        "codec": "lz4",
        "block_size": 16384,
        "stored_bytes": 599173,
        "plain_bytes": 1468416,
        "id": "SLUS_209.63",
        "title": "",
        "label": "SAMPLE_11",
        "system": "PS2",
        "media": "CD",
        "remarks": [],
    }
    assert found["PSP/Patapon.iso"]["title"] == "Caf\xe9 2"
    assert found["PSP/Patapon.iso"]["id"] == "ULUS-10041"
    assert found["PSP/Patapon.iso"]["system"] == "PSP"
    assert found["PSP/Patapon.iso"]["container"] == "DAX"
    plain = found["Plain.iso"]
    assert (plain["container"], plain["codec"], plain["block_size"]) == (None, None, None)
    assert plain["plain_bytes"] == plain["stored_bytes"] == 1468416
    assert found["raw/Game.bin"]["id"] == "SLUS_200.04"
    assert found["raw/Track.bin"]["id"] == "SLUS_200.03"


def test_what_a_mount_shows_and_what_is_listed_are_the_same(games: Path, mount: MountMaker) -> None:
    shutil.copy(DATA / "ziso-py.zso", games / "Plain.zso")
    shutil.copy(DATA / "ziso-py.zso", games / ("y" * 253))
    made_at = mount(games, "--exclude", "PSP", "--show-raw")
    found = objects(made_at.path)
    discs = {name: row for name, row in found.items() if row["is_disc"]}
    assert set(discs) == {
        "Okami.iso",
        "Plain.iso",
        "Plain.zso.iso",
        "raw/Game.bin",
        "raw/Track.bin",
        "rpg/Large.iso",
        "rpg/Other.iso",
    }
    assert "would be longer than 255 bytes" in found["y" * 253]["state"]
    for name, row in discs.items():
        assert (made_at.path / name).stat().st_size == row["plain_bytes"]
        assert (games / row["path"]).stat().st_size == row["stored_bytes"]
    assert "PSP/Patapon.iso" in objects(games)
    assert names(listed(made_at.path)) == list(discs)


def test_what_an_opl_mount_shows_and_from_which_file(games: Path, mount: MountMaker) -> None:
    titles = put(games.parent / "titles.csv", b"SLUS-20963,Final Fantasy XII\n")
    put_game(games / "DVD" / "SLUS_200.09.Sorted.zso", 9)
    made_at = mount(games, *OPL, "--titles", str(titles))
    said = listed(made_at.path)
    assert names(said) == [
        "CD/SLUS_200.03.Track.iso <- raw/Track.zso",
        "CD/SLUS_200.04.Game.iso <- raw/Game.bin",
        "CD/SLUS_209.63.Final Fantasy XII (2).iso <- Plain.iso",
        "CD/SLUS_209.63.Final Fantasy XII (3).iso <- rpg/Large.zso",
        "CD/SLUS_209.63.Final Fantasy XII (4).iso <- rpg/Other.cso",
        "CD/SLUS_209.63.Final Fantasy XII.iso <- Okami.zso",
        "DVD/SLUS_200.09.Sorted.iso",
    ]
    assert said.splitlines()[-3:] == [
        "",
        "not shown as discs: 1 file",
        "  PSP/Patapon.dax: not in the OPL layout: it is a PSP disc",
    ]
    assert said.splitlines()[-4].startswith("7 discs (5 compressed, 2 plain), ")
    found = objects(made_at.path)
    for name, row in found.items():
        if row["is_disc"]:
            assert (made_at.path / name).stat().st_size == row["plain_bytes"]
    assert found["PSP/Patapon.dax"]["is_disc"] is False
    assert found["PSP/Patapon.dax"]["plain_bytes"] is None


def test_files_that_are_not_shown_as_discs(source: Path) -> None:
    whole = writers.maxcso_zso(game(1))
    put(source / "a" / "Cut.zso", whole[: len(whole) // 2])
    put(source / "GameCube.ciso", writers.gamecube_ciso())
    put(source / "Page.zso", b"<html>No such file</html>")
    put(source / "Whole.zso", whole)
    with (source / "New.zso").open("wb") as file, (source / "New.iso").open("wb") as plain:
        file.write(whole)
        plain.write(game(2))
        file.flush()
        plain.flush()
        said = listed(source)
        assert names(said) == ["Whole.iso"]
        *_, header, gamecube, iso, zso, page, cut = said.splitlines()
        assert header == "not shown as discs: 5 files"
        assert gamecube.startswith("  GameCube.ciso: ")
        assert iso == "  New.iso: still being copied"
        assert zso == "  New.zso: still being copied"
        assert page == (
            "  Page.zso: it has the name of a packed disc, but it is an HTML page; if it should be"
            " a disc, download it again"
        )
        assert cut.startswith("  a/Cut.zso: the file is truncated")
        found = objects(source)
        assert found["New.zso"]["state"] == "still being copied"
        assert found["a/Cut.zso"]["state"].startswith("the file is truncated")
        assert [name for name, row in found.items() if row["is_disc"]] == ["Whole.iso"]
    assert names(listed(source)) == ["New.iso", "New.zso.iso", "Whole.iso"]


def test_a_folder_without_discs(source: Path) -> None:
    put(source / "a" / "readme.txt", b"text")
    assert listed(source) == f"no discs in {source}\n"
    assert json.loads(listed(source, "--json")) == []
    put(source / "Cut.zso", writers.maxcso_zso(game(1))[:500])
    said = listed(source).splitlines()
    assert said[:3] == [f"no discs in {source}", "", "not shown as discs: 1 file"]
    assert len(said) == 4


def test_what_cannot_be_listed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "does not exist" in refused(3, "list", tmp_path / "none")
    assert "is not a directory" in refused(3, "list", tmp_path / "file")
    assert "does not exist" in refused(3, "list", "--json", tmp_path / "none")


@pytest.mark.usefixtures("as_root", "another_user")
def test_folders_without_the_right_to_read_them(games: Path, tmp_path: Path) -> None:
    open_to_others(tmp_path)
    (games / "rpg").chmod(0o700)
    (games / "PSP" / "Patapon.dax").chmod(0o600)
    home = {"user": 65534, "group": 65534, "cwd": ROOT}
    # Who may not ask whether a file is still being written takes it for whole after 3 seconds.
    wait_until(lambda: "copied" not in run("list", games, **home).stdout, "the quiet")
    done = run("list", games, **home)
    assert done.returncode == 0
    assert done.stderr == "zsofs: rpg: the directory cannot be read: Permission denied\n"
    assert "Okami.iso" in names(done.stdout)
    assert "  PSP/Patapon.dax: it could not be read: Permission denied" in done.stdout.splitlines()
    games.chmod(0o700)
    said = refused(3, "list", games, **home)
    assert f"the source directory {games} cannot be read: Permission denied" in said


@pytest.mark.usefixtures("as_root", "another_user")
def test_who_has_no_home_may_list_as_well(games: Path, tmp_path: Path) -> None:
    open_to_others(tmp_path)
    done = subprocess.run(
        [*ZSOFS, "list", str(games)],
        capture_output=True,
        text=True,
        check=True,
        user=54321,
        group=54321,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stderr == ""
    assert "rpg/Large" in done.stdout


def test_a_broken_folder_does_not_stop_it(games: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (games / "dead").mkdir()
    with mounted(inner, games / "dead") as gone:
        gone.may_end = True
        gone.daemon.kill()
        gone.daemon.wait(60)
        gone.daemon.returncode = 0
        done = run("list", games)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "zsofs: dead: the directory cannot be read: Transport endpoint is not connected"
    ]
    assert "7 discs" in done.stdout


def test_odd_names(source: Path) -> None:
    packed = writers.maxcso_zso(game(1))
    odd = {
        b"new\nline.zso": "new\\nline.iso",
        b"\x1b[31mred.zso": "\\x1b[31mred.iso",
        b"caf\xe9.zso": "caf\\udce9.iso",
        "\u30dd\u30b1.zso".encode(): "\u30dd\u30b1.iso",
        "\u202eright to left.zso".encode(): "\\u202eright to left.iso",
    }
    for name in odd:
        Path(os.fsdecode(os.path.join(os.fsencode(source), name))).write_bytes(packed)
    Path(os.fsdecode(os.fsencode(source) + b"/cut\n\xff.zso")).write_bytes(packed[:500])
    said = listed(source)
    assert names(said) == [odd[name] for name in sorted(odd)]
    assert "  cut\\n\\udcff.zso: the file is truncated" in said
    assert said.isascii() or all(line.isprintable() for line in said.splitlines())
    found = objects(source)
    assert found["caf\udce9.iso"]["path"] == "caf\udce9.zso"
    assert found["new\nline.iso"]["path"] == "new\nline.zso"


def test_a_terminal_of_80_columns_breaks_nothing_but_names(source: Path) -> None:
    for title in (
        "Short",
        "Shin Megami Tensei - Persona 4 - Special Edition (USA) (En,Fr,De) (v2.0)",
    ):
        put_game(source / f"{title}.zso", len(title))
    lines = listed(source).splitlines()
    start = lines[0].index("name")
    assert start < 60
    assert all(line[start - 2 : start] == "  " for line in lines[:3])
    assert [width(line) for line in lines if width(line) > 80] == [start + 76]


def test_a_mount_that_does_not_answer(games: Path, mount: MountMaker) -> None:
    stuck = mount(games)
    with stopped(stuck.daemon):
        said = refused(7, "list", stuck.path)
        assert "does not answer within 5 seconds" in said
    assert "7 discs" in listed(stuck.path)


def test_a_mount_whose_titles_are_gone(games: Path, tmp_path: Path, mount: MountMaker) -> None:
    titles = put(tmp_path / "titles.csv", b"SLUS-20963,Title\n")
    made_at = mount(games, *OPL, "--titles", str(titles))
    titles.unlink()
    assert "titles.csv" in refused(3, "list", made_at.path)
    assert (made_at.path / "CD" / "SLUS_209.63.Title.iso").exists()


NONSENSE: dict[str, dict[str, Any]] = {
    "no source": {},
    "source as a number": {"source": 5},
    "source with a NUL": {"source": "/srv/w\0x"},
    "source that is no text": {"source": "/srv/\ud800"},
    "source from where it is opened": {"source": "games"},
    "include as a number": {"source": "/srv", "include": 5},
    "include of numbers": {"source": "/srv", "include": [5]},
    "exclude as a text": {"source": "/srv", "exclude": "text"},
    "exclude as nothing": {"source": "/srv", "exclude": None},
    "titles as a number": {"source": "/srv", "layout": "opl", "titles": 5},
    "titles as a list": {"source": "/srv", "layout": "opl", "titles": ["a"]},
    "titles that are no text": {"source": "/srv", "layout": "opl", "titles": "/srv/\ud800"},
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_a_daemon_that_says_nonsense(point: bytes, kind: str) -> None:
    async def answer(_: dict[str, Any]) -> dict[str, Any]:
        return NONSENSE[kind]

    with answering(point, answer):
        assert "did not report what it shows" in refused(7, "list", os.fsdecode(point))


def test_titles_that_are_no_file(games: Path, tmp_path: Path, point: bytes) -> None:
    """A FIFO into which nobody writes, a device, a folder."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    async def answer(_: dict[str, Any]) -> dict[str, Any]:
        return {"source": str(games), "layout": "opl", "titles": str(titles)}

    with answering(point, answer):
        for titles in (fifo, Path("/dev/zero"), tmp_path):
            said = refused(3, "list", os.fsdecode(point))
            assert f"the list of titles {titles} cannot be read: it is not a regular file" in said
        titles = put(tmp_path / "titles.csv", b"SLUS-20963,Title\n")
        assert "CD/SLUS_209.63.Title.iso" in run("list", os.fsdecode(point)).stdout


def test_a_second_time_opens_no_file(games: Path, mount: MountMaker) -> None:
    before = listed(games)
    time.sleep(0.1)  # what is found in a file just written is not kept
    assert listed(games) == before
    with opened_below(games) as opened:
        assert listed(games) == before
        assert opened() == []
    os.utime(games / "Okami.zso")
    with opened_below(games) as opened:
        assert listed(games) == before
        assert "Okami.zso" in opened()


def in_terminal(path: Path) -> str:
    """What it prints where standard error is a terminal."""
    ours, theirs = pty.openpty()
    try:
        with spawned(
            [*ZSOFS, "list", str(path)], stdout=subprocess.DEVNULL, stderr=theirs
        ) as process:
            os.close(theirs)
            said = b""
            while select.select([ours], [], [], 20)[0]:
                try:
                    part = os.read(ours, 4096)
                except OSError:  # the other end was closed
                    break
                said += part
            assert process.wait(20) == 0
    finally:
        os.close(ours)
    return said.decode()


def test_progress_shows_in_a_terminal_only(games: Path, tmp_path: Path) -> None:
    said = in_terminal(games)
    assert re.search(r"\A\r\x1b\[K\d+ files scanned\r\x1b\[K\d+ files scanned", said)
    assert "files scanned" not in listed(games)
    assert said.endswith("\r\x1b[K"), "nothing of it stays"
    inner = tmp_path / "inner"
    inner.mkdir()
    (games / "ART" / "dead").mkdir()
    with mounted(inner, games / "ART" / "dead") as gone:
        gone.may_end = True
        gone.daemon.kill()
        gone.daemon.wait(60)
        gone.daemon.returncode = 0
        said = in_terminal(games)
    at = said.index("zsofs: ART/dead: the directory cannot be read: ")
    assert said[:at].endswith("\r\x1b[K"), "on a line of its own"


def test_who_reads_only_the_beginning(source: Path) -> None:
    data = (DATA / "ziso-py.zso").read_bytes()
    put(source / "0.zso", data)
    for number in range(1, 900):
        os.link(source / "0.zso", source / f"{'long ' * 40}{number}.zso")
    for extra in ("", "--json"):
        words = shlex.join([*in_scripts(), "list", *extra.split(), str(source)])
        for redirected in ("", "2>&1"):
            done = subprocess.run(
                ["bash", "-c", f"set -o pipefail; {words} {redirected} | head -n 1"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert len(done.stdout.splitlines()) == 1


def test_a_mount_of_another_version(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that says less than this expects."""
    from tests.mount.control.test_control import answering
    from tests.mount.control.test_control import mounted as listed_by_the_kernel

    async def nothing(request: dict[str, Any]) -> dict[str, Any]:
        return {"version": "9.9"}

    with listed_by_the_kernel(tmp_path / "mnt") as point, answering(point, nothing):
        said = refused(7, "list", os.fsdecode(point))
        assert "did not report what it shows" in said


def test_sockets_and_fifos_are_no_discs(source: Path) -> None:
    os.mkfifo(source / "fifo.zso")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "s.iso"))
        assert listed(source) == f"no discs in {source}\n"


def test_symlinks_are_listed_under_their_own_names(source: Path, tmp_path: Path) -> None:
    put_game(source / "a" / "Game.zso", 1)
    put_game(tmp_path / "outside.zso", 2)
    (source / "Link.zso").symlink_to("a/Game.zso")
    (source / "out.zso").symlink_to(tmp_path / "outside.zso")
    (source / "b").symlink_to("a")
    (source / "a" / "up").symlink_to("..")
    found = objects(source)
    assert {name: row["path"] for name, row in found.items()} == {
        "Link.iso": "Link.zso",
        "a/Game.iso": "a/Game.zso",
        "out.zso": "out.zso",
    }
    assert found["out.zso"]["is_disc"] is False
