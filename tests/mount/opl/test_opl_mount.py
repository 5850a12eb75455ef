"""A mount as a share for Open PS2 Loader: what a console that lists it finds."""

import functools
import hashlib
import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from inotify_simple import INotify, flags

from tests.conftest import MountMaker
from tests.mount.reading.test_faults import stopped
from tests.support import writers
from tests.support.mounting import DATA, ZSOFS, Mount, mounted, timed, wait_until
from tests.unit.discs.test_identify import PSP_FILES, made, raw

LONGEST = 159
OPL = ("--layout", "opl")
CD_SIZE = 80 * 60 * 75 * 2048
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "ziso_py.zso": writers.ziso_py,
    "maxcso.zso": writers.maxcso_zso,
    "danixu.ziso": writers.danixu,
    "zstd.zso": writers.zstd_ziso,
    "zsoz.zso": writers.zsoz,
    "zlib.zso": writers.zlib_zso,
    "maxcso.cso": writers.maxcso_cso1,
    "maxcso2.cso": writers.maxcso_cso2,
    "ciso_py.ciso": writers.ciso_py,
    "dax.dax": writers.dax,
    "plain.iso": bytes,
    "packed.iso": writers.maxcso_zso,
}


@functools.cache  # an image has the second in it at which it was made
def game(number: int, *, dvd: bool = False, xa: bool = False) -> bytes:
    """The image of a small game with the id SLUS_200.00 + number."""
    boot = f"BOOT2 = cdrom0:\\{game_id(number)};1\r\n".encode()
    return made({"/SYSTEM.CNF": boot, "/DATA.BIN": b"%d" % number * 5000}, udf=dvd, xa=xa)


def game_id(number: int) -> str:
    return (
        f"SLUS_200.{number:02}" if number < 100 else f"SLUS_{200 + number // 100}.{number % 100:02}"
    )


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def put_game(path: Path, number: int, **kind: bool) -> bytes:
    """A packed game; returns the image."""
    image = game(number, **kind)
    put(path, writers.maxcso_zso(image))
    return image


def tree(path: Path) -> list[str]:
    """Everything in a mount, in order; folders end with a slash."""
    found = []
    for folder, folders, files in os.walk(path):
        below = os.path.relpath(folder, path)
        prefix = "" if below == "." else f"{below}/"
        found += [f"{prefix}{name}/" for name in folders] + [f"{prefix}{name}" for name in files]
    return sorted(found)


def wait_for(path: Path, *wanted: str) -> None:
    """Until a mount shows just this, beside the folders DVD and CD."""
    expected = sorted(["CD/", "DVD/", *wanted])
    wait_until(lambda: tree(path) == expected, f"{expected}, not {tree(path)}")


def status_of(made: Mount) -> dict[str, Any]:
    command = [*ZSOFS, "status", "--json", str(made.path)]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, capture_output=True, check=True).stdout
    )
    return found


def log_of_list(path: Path) -> dict[str, str]:
    """What `zsofs list` says of each disc, by its path in the source."""
    command = [*ZSOFS, "list", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, check=True)
    return {row["path"]: row["state"] for row in json.loads(done.stdout)}


# What is shown, and how


def test_every_container_gets_the_id_of_its_disc(source: Path, mount: MountMaker) -> None:
    images = {}
    for number, (name, pack) in enumerate(PACKERS.items()):
        image = game(number)
        put(source / str(number % 3) / f"Title {number} {name}", pack(image))
        title = f"Title {number} {name}".rpartition(".")[0]
        images[f"{game_id(number)}.{title}.iso"] = image
    shown = mount(source, *OPL).path
    assert tree(shown) == sorted(["CD/", "DVD/", *(f"CD/{name}" for name in images)])
    for name, image in images.items():
        assert (shown / "CD" / name).read_bytes() == image
        assert (shown / "CD" / name).stat().st_size == len(image)


def test_dvd_or_cd_is_what_the_disc_is(source: Path, mount: MountMaker) -> None:
    put_game(source / "Small.zso", 1)
    put_game(source / "Udf.zso", 2, dvd=True)
    put_game(source / "Xa.zso", 3, xa=True)
    for number, size in ((4, CD_SIZE), (5, CD_SIZE + 2048)):
        for kind, xa in (("plain", False), ("xa", True)):
            path = put(source / f"{kind} {number}.iso", game(number, xa=xa))
            os.truncate(path, size)
    put(source / "Homebrew.iso", made({"/SYSTEM.CNF": b"BOOT2 = cdrom0:\\MAIN.ELF;1\r\n"}))
    put(source / "Nothing known.iso", bytes(100_000))
    assert tree(mount(source, *OPL).path) == [
        "CD/",
        "CD/Homebrew.iso",
        "CD/Nothing known.iso",
        "CD/SLUS_200.01.Small.iso",
        "CD/SLUS_200.03.Xa.iso",
        "CD/SLUS_200.04.plain 4.iso",
        "CD/SLUS_200.04.xa 4.iso",
        "CD/SLUS_200.05.xa 5.iso",
        "DVD/",
        "DVD/SLUS_200.02.Udf.iso",
        "DVD/SLUS_200.05.plain 5.iso",
    ]


def test_a_disc_that_the_user_has_sorted_stays_in_that_folder(
    source: Path, mount: MountMaker
) -> None:
    put_game(source / "DVD" / "Rip.zso", 1)
    put_game(source / "cd" / "Large.zso", 2, dvd=True)
    put_game(source / "a" / "DVD" / "Other.zso", 3)
    assert tree(mount(source, *OPL).path) == [
        "CD/",
        "CD/SLUS_200.02.Large.iso",
        "CD/SLUS_200.03.Other.iso",
        "DVD/",
        "DVD/SLUS_200.01.Rip.iso",
    ]


def test_titles_of_a_list(source: Path, tmp_path: Path, mount: MountMaker) -> None:
    titles = tmp_path / "titles.csv"
    titles.write_text('# mine\nSLUS-20001,First: Game\nslus_200.02,"Second, Game"\nSLUS-20009,No\n')
    for number in (1, 2, 3):
        put_game(source / f"file {number}.zso", number)
    made = mount(source, *OPL, "--titles", str(titles))
    assert sorted(os.listdir(made.path / "CD")) == [
        "SLUS_200.01.First Game.iso",
        "SLUS_200.02.Second, Game.iso",
        "SLUS_200.03.file 3.iso",
    ]


def test_titles_of_a_dat_named_relative_to_where_the_command_was_given(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mount: MountMaker
) -> None:
    (tmp_path / "games.dat").write_text(
        'clrmamepro (\n\tname "PS2"\n)\n\ngame (\n\tname "Dat Game"\n\tserial "SLUS-20001"\n)\n'
    )
    put_game(source / "file.zso", 1)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.chdir(tmp_path)
    made = mount(source, "-o", "layout=opl,titles=games.dat")
    assert os.listdir(made.path / "CD") == ["SLUS_200.01.Dat Game.iso"]
    assert os.listdir(made.path / "DVD") == []


def test_two_discs_of_one_id_and_title(source: Path, mount: MountMaker) -> None:
    first = put_game(source / "a" / "Game.zso", 1)
    second = put_game(source / "b" / "GAME.cso", 1, xa=True)
    put(source / "Game.iso", game(1))
    shown = mount(source, *OPL).path / "CD"
    names = sorted(os.listdir(shown))
    assert names == [
        "SLUS_200.01.GAME (3).iso",
        "SLUS_200.01.Game (2).iso",
        "SLUS_200.01.Game.iso",
    ]
    assert (shown / names[0]).read_bytes() == second
    assert (shown / names[1]).read_bytes() == first
    assert len({name.casefold() for name in names}) == 3


def test_long_names_are_cut_and_told_once(source: Path, mount: MountMaker) -> None:
    image = put_game(source / f"{'x' * 200}.zso", 1)
    put_game(source / f"{'x' * 210}.zso", 1)
    made = mount(source, *OPL)
    shown = made.path / "CD"
    names = os.listdir(shown)
    assert sorted(names) == [
        f"SLUS_200.01.{'x' * 139} (2).iso",
        f"SLUS_200.01.{'x' * 143}.iso",
    ]
    assert (shown / f"SLUS_200.01.{'x' * 143}.iso").read_bytes() == image
    put_game(source / "another.zso", 2)
    wait_until(lambda: len(os.listdir(shown)) == 3, "another disc")
    said = made.log_lines("the title is too long for OPL")
    assert len(said) == 2
    assert f"{'x' * 200}.zso" in said[0]
    assert all(len(name.encode()) <= LONGEST for name in os.listdir(shown))


def test_what_an_smb_share_cannot_have_is_dropped_from_names(
    source: Path, mount: MountMaker
) -> None:
    image = put_game(source / 'Who? What: "Where" <1>|2*\\.zso', 1)
    odd = os.fsencode(source) + b"/caf\xe9 \xe3\x83\x9d\n.zso"
    Path(os.fsdecode(odd)).write_bytes(writers.zsoz(game(2)))
    shown = mount(source, *OPL).path / "CD"
    assert sorted(os.listdir(os.fsencode(shown))) == [
        b"SLUS_200.01.Who What Where 12.iso",
        b"SLUS_200.02.caf_ \xe3\x83\x9d.iso",
    ]
    assert (shown / "SLUS_200.01.Who What Where 12.iso").read_bytes() == image


def test_names_in_a_locale_that_is_not_utf_8(
    source: Path, monkeypatch: pytest.MonkeyPatch, mount: MountMaker
) -> None:
    put_game(source / "\u30dd\xe9.zso", 1)
    for variable in ("LC_ALL", "LANG"):
        monkeypatch.setenv(variable, "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    made = mount(source, *OPL)
    assert os.listdir(made.path / "CD") == ["SLUS_200.01.\u30dd\xe9.iso"]


def test_what_opl_cannot_play_is_left_out_and_said(source: Path, mount: MountMaker) -> None:
    track = raw(made({"/SYSTEM.CNF": b"BOOT = cdrom:\\SLUS_005.94;1\r\n"}, xa=True), 2)
    put(source / "PSP" / "Patapon.cso", writers.maxcso_cso1(made(PSP_FILES)))
    put(source / "PSP" / "Plain.iso", made(PSP_FILES))
    put(source / "PSP" / "cover.jpg", b"a cover")
    put(source / "raw" / "Track.zso", writers.danixu(track, block_size=2352))
    put(source / "bin" / "Page.bin", raw(made(PSP_FILES), 1))
    put(source / "bin" / "Page.cue", b'FILE "Page.bin" BINARY\n')
    put(source / "Image.img", game(2))
    put_game(source / "Game.zso", 3)
    made_at = mount(source, *OPL, "-v")
    assert tree(made_at.path) == ["CD/", "CD/SLUS_200.03.Game.iso", "DVD/"]
    reasons = {
        "PSP/Patapon.cso": "not in the OPL layout: it is a PSP disc",
        "PSP/Plain.iso": "not in the OPL layout: it is a PSP disc",
        "raw/Track.zso": "not in the OPL layout: it is a PS1 disc",
        "bin/Page.bin": "not in the OPL layout: it is a PSP disc",
        "Image.img": "not in the OPL layout: OPL reads only .iso files as plain images",
    }
    assert log_of_list(made_at.path) == reasons | {"Game.zso": "ok"}
    put_game(source / "More.zso", 4)
    wait_for(made_at.path, "CD/SLUS_200.03.Game.iso", "CD/SLUS_200.04.More.iso")
    for path, reason in reasons.items():
        assert len(made_at.log_lines(f"{path}: {reason}")) == 1


def test_ps2_cds_are_the_iso_of_their_first_track(source: Path, mount: MountMaker) -> None:
    """OPL reads no .bin."""
    image = game(1)
    sectors = raw(image, 2)
    put(source / "CD" / "Plain.bin", sectors + b"\x11" * 2352 * 4)
    put(source / "CD" / "Plain.cue", b'FILE "Plain.bin" BINARY\n')
    put(source / "CD" / "Other.cue", b'FILE "Other.bin" BINARY\n')
    put(source / "raw" / "Packed.zso", writers.danixu(sectors, block_size=2352))
    put(source / "raw" / "Packed.cue", b'FILE "Packed.bin" BINARY\n')
    put(source / "raw.iso", raw(image, 1))
    for name in ("cd-default", "cd-mixed"):
        shutil.copy(DATA / "chd" / f"{name}.chd", source)
    made_at = mount(source, *OPL)
    names = [
        *(f"CD/SLUS_200.01.{title}.iso" for title in ("Packed", "Plain", "raw")),
        "CD/SLUS_209.63.cd-default.iso",
        "CD/SLUS_209.63.cd-mixed.iso",
    ]
    assert tree(made_at.path) == ["CD/", "CD/Other.cue", *names, "DVD/"]
    for name in names[:3]:
        assert (made_at.path / name).read_bytes() == image
    about = json.loads((DATA / "chd" / "manifest.json").read_text())
    found = (made_at.path / names[3]).read_bytes()
    assert hashlib.sha1(found).hexdigest() == about["cd-default.chd"]["iso_sha1"]
    command = [*ZSOFS, "list", "--json", str(made_at.path)]
    rows = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert sorted(row["name"] for row in rows) == names
    for row in rows:
        assert row["is_disc"]
        assert row["plain_bytes"] == (made_at.path / row["name"]).stat().st_size


def test_other_folders_and_files_show_beside_the_discs(source: Path, mount: MountMaker) -> None:
    others = {
        "ART/SLUS_200.01_COV.png": b"\x89PNG",
        "CFG/SLUS_200.01.cfg": b"$ConfigSource=1\n",
        "VMC/SLUS_200.01_0.bin": bytes(8 << 20),
        "CHT/deep/er/SLUS_200.01.cht": b"cheat",
        "ul.cfg": bytes(64),
        "DVD/games.bin": b"the list that OPL keeps",
        "CD/games.bin": b"the other one",
    }
    for path, content in others.items():
        put(source / path, content)
    (source / "LNG").mkdir()
    put_game(source / "games" / "rpg" / "One.zso", 1)
    put(source / "games" / "readme.txt", b"beside a disc")
    put_game(source / "DVD" / "Two.zso", 2, dvd=True)
    made = mount(source, *OPL)
    folders = ["ART/", "CFG/", "CHT/", "CHT/deep/", "CHT/deep/er/", "LNG/", "VMC/"]
    discs = ["CD/SLUS_200.01.One.iso", "DVD/SLUS_200.02.Two.iso"]
    assert tree(made.path) == sorted(["CD/", "DVD/", *folders, *discs, *others])
    for path, content in others.items():
        assert (made.path / path).read_bytes() == content


def test_a_source_that_is_a_share_already_comes_out_the_same(
    source: Path, mount: MountMaker
) -> None:
    put(source / "DVD" / "SLUS_200.01.First.iso", game(1, dvd=True))
    put(source / "DVD" / "SLUS_200.02.Ripped.iso", game(2))
    put_game(source / "DVD" / "SLUS_200.03.Third.zso", 3, dvd=True)
    put(source / "CD" / "SLUS_200.04.Fourth.iso", game(4))
    put(source / "CD" / "Homebrew.iso", made({"/README.TXT": b""}))
    for name in ("CFG/SLUS_200.01.cfg", "ART/SLUS_200.01_COV.png", "DVD/games.bin", "THM/a/b.png"):
        put(source / name, name.encode())
    for name in ("APPS", "CHT", "LNG", "VMC"):
        (source / name).mkdir()
    shown = mount(source, *OPL).path
    assert [name.replace(".iso", ".zso") for name in tree(shown) if "Third" in name] == [
        "DVD/SLUS_200.03.Third.zso"
    ]
    assert tree(shown) == sorted(name.replace(".zso", ".iso") for name in tree(source))
    for path in source.rglob("*"):
        if path.is_file() and path.suffix != ".zso":
            assert (shown / path.relative_to(source)).read_bytes() == path.read_bytes()


def test_names_that_differ_in_case_only_are_one_folder(source: Path, mount: MountMaker) -> None:
    put(source / "dvd" / "games.bin", b"the list")
    put_game(source / "Dvd" / "Game.zso", 1)
    (source / "cd").write_text("not a directory")
    assert tree(mount(source, *OPL).path) == [
        "CD/",
        "DVD/",
        "DVD/SLUS_200.01.Game.iso",
        "DVD/games.bin",
    ]


def test_broken_discs_are_not_offered_to_the_console(source: Path, mount: MountMaker) -> None:
    whole = writers.maxcso_zso(game(1))
    for path in ("DVD/Broken.zso", "DVD/Broken.iso", "CD/other/Broken.cso", "Top.zso"):
        put(source / path, whole[: len(whole) // 2])
    made = mount(source, *OPL)
    wait_for(made.path, "Top.zso")
    assert {row["path"] for row in status_of(made)["refused"]} == {
        "DVD/Broken.zso",
        "DVD/Broken.iso",
        "CD/other/Broken.cso",
        "Top.zso",
    }


def test_symlinks(source: Path, tmp_path: Path, mount: MountMaker) -> None:
    put(tmp_path / "outside.zso", b"secret")
    image = put_game(source / "all" / "Game.zso", 1)
    put(source / "ART" / "a.png", b"a")
    (source / "Linked.zso").symlink_to("all/Game.zso")
    (source / "favourites").symlink_to("all")
    (source / "pictures").symlink_to("ART")
    (source / "Secret.iso").symlink_to(tmp_path / "outside.zso")
    (source / "up").symlink_to(".")
    made = mount(source, *OPL)
    found = set(os.listdir(made.path))
    assert found == {"ART", "CD", "DVD", "pictures", "Secret.iso", "up"}
    assert (made.path / "Secret.iso").is_symlink()
    assert (made.path / "up").is_symlink()
    shown = made.path / "CD"
    assert sorted(os.listdir(shown)) == ["SLUS_200.01.Game.iso", "SLUS_200.01.Linked.iso"]
    for name in os.listdir(shown):
        assert (shown / name).read_bytes() == image
    for name in ("ART", "pictures"):
        assert os.listdir(made.path / name) == ["a.png"]
    put(source / "ART" / "b.png", b"b")
    for name in ("ART", "pictures", "ART", "pictures"):
        where = made.path / name
        wait_until(lambda at=where: sorted(os.listdir(at)) == ["a.png", "b.png"], name)  # type: ignore[misc]


# Changes


def test_changes_in_the_source_follow(source: Path, mount: MountMaker) -> None:
    first = put_game(source / "One.zso", 1)
    made = mount(source, *OPL)
    cd = made.path / "CD"
    wait_for(made.path, "CD/SLUS_200.01.One.iso")
    second = put_game(source / "new" / "er" / "Two.zso", 2)
    wait_for(made.path, "CD/SLUS_200.01.One.iso", "CD/SLUS_200.02.Two.iso")
    assert (cd / "SLUS_200.02.Two.iso").read_bytes() == second
    (source / "One.zso").rename(source / "new" / "Uno.zso")
    wait_for(made.path, "CD/SLUS_200.01.Uno.iso", "CD/SLUS_200.02.Two.iso")
    assert (cd / "SLUS_200.01.Uno.iso").read_bytes() == first
    wait_until(lambda: not (cd / "SLUS_200.01.One.iso").exists(), "the old name's end")
    third = put_game(source / "next", 3, dvd=True)
    (source / "next").rename(source / "new" / "Uno.zso")
    wait_for(made.path, "DVD/SLUS_200.03.Uno.iso", "CD/SLUS_200.02.Two.iso")
    assert (made.path / "DVD" / "SLUS_200.03.Uno.iso").read_bytes() == third
    (source / "new" / "er").rename(source / "moved")
    wait_for(made.path, "DVD/SLUS_200.03.Uno.iso", "CD/SLUS_200.02.Two.iso")
    assert (cd / "SLUS_200.02.Two.iso").read_bytes() == second
    shutil.rmtree(source / "moved")
    wait_for(made.path, "DVD/SLUS_200.03.Uno.iso")
    put(source / "new" / "readme.txt", b"beside a disc")
    (source / "new" / "Uno.zso").unlink()
    wait_for(made.path, "new/", "new/readme.txt")
    put(source / "DVD" / "games.bin", b"games")
    wait_for(made.path, "new/", "new/readme.txt", "DVD/games.bin")
    assert os.listdir(cd) == []


def test_a_program_that_has_an_old_disc_open_reads_it_on(source: Path, mount: MountMaker) -> None:
    old = put_game(source / "Game.zso", 1)
    made = mount(source, *OPL)
    path = made.path / "CD" / "SLUS_200.01.Game.iso"
    with path.open("rb", buffering=0) as file:
        assert file.read(2048) == old[:2048]
        before = path.stat().st_ino
        new = put_game(source / "next", 1, xa=True)
        (source / "next").rename(source / "Game.zso")
        wait_until(lambda: path.stat().st_ino != before, "the new disc")
        assert path.read_bytes() == new
        file.seek(0)
        assert file.read() == old


@pytest.mark.parametrize("name", ["Game.zso", "Game.iso", "DVD/Game.zso", "DVD/Game.iso"])
def test_a_disc_that_is_still_being_copied(source: Path, mount: MountMaker, name: str) -> None:
    image = game(1, dvd=True)
    data = image if name.endswith(".iso") else writers.maxcso_zso(image)
    put_game(source / "Other.zso", 2)
    made = mount(source, *OPL)
    wait_for(made.path, "CD/SLUS_200.02.Other.iso")
    (source / name).parent.mkdir(exist_ok=True)
    with (source / name).open("wb") as file:
        for part in (data[: len(data) // 2], data[len(data) // 2 :]):
            file.write(part)
            file.flush()
            wait_until(lambda: status_of(made)["copying"] == 1, "the copy to be seen")
            assert os.listdir(made.path / "DVD") == []
            assert os.listdir(made.path / "CD") == ["SLUS_200.02.Other.iso"]
        assert log_of_list(made.path)[name] == "still being copied"
    wait_for(made.path, "CD/SLUS_200.02.Other.iso", "DVD/SLUS_200.01.Game.iso")
    assert (made.path / "DVD" / "SLUS_200.01.Game.iso").read_bytes() == image
    assert status_of(made)["copying"] == 0


@pytest.mark.parametrize("arguments", [(), ("--writable",)])
@pytest.mark.parametrize("own", [False, True])
def test_dvd_has_a_new_date_when_discs_come_and_go(
    source: Path, mount: MountMaker, own: bool, arguments: tuple[str, ...]
) -> None:
    """OPL lists it again when the date is another; what changes are folders that nobody sees."""
    if own:
        (source / "DVD").mkdir()
    put_game(source / "RPG" / "A.zso", 1, dvd=True)
    first = mount(source, *OPL, *arguments).path
    dates = {"now": 0}

    def changed() -> bool:
        before, dates["now"] = dates["now"], (first / "DVD").stat().st_mtime_ns
        return before != dates["now"]

    assert os.listdir(first / "DVD") == ["SLUS_200.01.A.iso"]
    assert changed()
    again = mount(source, *OPL, *arguments).path
    assert (again / "DVD").stat().st_mtime_ns == dates["now"]
    packed = writers.maxcso_zso(game(2, dvd=True))
    with (source / "RPG" / "B.zso").open("wb") as file:  # a copy
        file.write(packed[:1000])
        file.flush()
        time.sleep(1.1)
        assert os.listdir(first / "DVD") == ["SLUS_200.01.A.iso"]
        changed()
        file.write(packed[1000:])
    wait_until(changed, "a new date when the copy is done")
    assert sorted(os.listdir(first / "DVD")) == ["SLUS_200.01.A.iso", "SLUS_200.02.B.iso"]
    shutil.rmtree(source / "RPG")
    wait_until(changed, "a new date when they are gone")
    wait_until(lambda: os.listdir(first / "DVD") == [], "their end")


# All of it


def test_a_collection_of_five_hundred_discs(source: Path, tmp_path: Path) -> None:
    expected: dict[str, tuple[str, int]] = {}
    packed = {number: writers.maxcso_zso(game(number)) for number in range(5)}
    for number in range(500):
        path = source / f"{number % 7}" / f"{number % 50:02}" / f"Title {number}.zso"
        put(path, packed[number % 5])
        name = f"{game_id(number % 5)}.Title {number}.iso"
        expected[name] = (os.path.relpath(path, source), number % 5)
    put(source / "ART" / "a.png", b"a")
    with mounted(source, tmp_path / "mnt", *OPL) as made:
        assert tree(made.path) == sorted(
            ["ART/", "ART/a.png", "CD/", "DVD/", *(f"CD/{name}" for name in expected)]
        )
        for name in list(expected)[::50]:
            assert (made.path / "CD" / name).read_bytes() == game(expected[name][1])
        before = numbers(made.path)
        assert len(set(before.values())) == len(before)
        for command in (["find", str(made.path), "-ls"], ["du", "-s", str(made.path)]):
            done = subprocess.run(command, capture_output=True, check=True)
            assert done.stderr == b""
        assert status_of(made)["discs"] == 500
    with opened_below(source) as opened, mounted(source, tmp_path / "mnt", *OPL) as made:
        assert numbers(made.path) == before
        wait_until(lambda: opened() == [], "the end of what was closed")
        (made.path / "CD" / next(iter(expected))).read_bytes()
        assert opened() == [expected[next(iter(expected))][0]]


def numbers(path: Path) -> dict[str, int]:
    """The inode number of everything in a mount."""
    return {name: (path / name).lstat().st_ino for name in tree(path)}


@contextmanager
def opened_below(source: Path) -> Iterator[Callable[[], list[str]]]:
    """Which files of a folder were opened since, by path."""
    with INotify(nonblocking=True) as inotify:
        folders = {
            inotify.add_watch(folder, flags.OPEN): os.path.relpath(folder, source)
            for folder, _, _ in os.walk(source)
        }

        def opened() -> list[str]:
            found = {
                os.path.normpath(os.path.join(folders[event.wd], event.name))
                for event in inotify.read(timeout=0)
                if event.name and not event.mask & flags.ISDIR
            }
            return sorted(found)

        yield opened


def test_a_plain_mount_of_the_same_source_beside_it(source: Path, tmp_path: Path) -> None:
    """They share what was found, in one file."""
    images = [put_game(source / "a" / f"{number}.zso", number) for number in range(8)]
    with (
        mounted(source, tmp_path / "plain") as plain,
        mounted(source, tmp_path / "opl", *OPL) as opl,
        mounted(source, tmp_path / "plain2") as other,
    ):
        for number in range(8, 16):
            images.append(put_game(source / f"b{number}" / f"{number}.zso", number))
            for made in (opl, plain, other):
                os.listdir(made.path)
        wait_until(lambda: len(os.listdir(opl.path / "CD")) == 16, "all discs")
        for number, image in enumerate(images):
            folder = "a" if number < 8 else f"b{number}"
            shown = opl.path / "CD" / f"{game_id(number)}.{number}.iso"
            assert shown.read_bytes() == image
            for made in (plain, other):
                assert (made.path / folder / f"{number}.iso").read_bytes() == image
        for made in (opl, plain, other):
            assert not made.log_lines("catalog")
    # What was found in a file just written is not kept, so this one may have to look again.
    with mounted(source, tmp_path / "opl", *OPL) as opl:
        assert len(os.listdir(opl.path / "CD")) == 16
    with (
        opened_below(source) as opened,
        mounted(source, tmp_path / "plain") as plain,
        mounted(source, tmp_path / "opl", *OPL) as opl,
    ):
        assert len(tree(plain.path)) == 16 + 9
        assert len(os.listdir(opl.path / "CD")) == 16
        assert opened() == []


def test_the_layout_costs_few_reads_of_each_disc(source: Path, tmp_path: Path) -> None:
    """Counted by the kernel for the daemon as a whole, so its other reads count as well."""
    image = game(1, dvd=True)

    def reads(count: int) -> tuple[int, int]:
        for number in range(count):
            put(source / f"{number}.zso", writers.maxcso_zso(image))
        with mounted(source, tmp_path / f"mnt{count}", *OPL) as made:
            assert len(os.listdir(made.path / "DVD")) == count
            text = Path(f"/proc/{made.daemon.pid}/io").read_text()
        found = dict(line.split(": ") for line in text.splitlines())
        (source / "0.zso").unlink()
        return int(found["syscr"]), int(found["rchar"])

    few, few_bytes = reads(2)
    many, many_bytes = reads(102)  # of which one is known
    # Each read of the plain image is one of the index and one of the blocks.
    assert many - few <= 101 * 2 * 8
    assert many_bytes - few_bytes <= 101 * len(image)


# Folders that cannot be read


def test_a_folder_that_may_not_be_read_does_not_hide_the_rest(
    source: Path, tmp_path: Path, mount: MountMaker
) -> None:
    """As root nothing is closed to us, so a dead mount has to serve."""
    put_game(source / "good" / "Game.zso", 1)
    dead = source / "other" / "dead"
    dead.mkdir(parents=True)
    inner = tmp_path / "inner"
    inner.mkdir()
    with mounted(inner, dead) as gone:
        gone.may_end = True
        gone.daemon.kill()
        gone.daemon.wait(60)
        gone.daemon.returncode = 0
        made = mount(source, *OPL)
        assert os.listdir(made.path / "CD") == ["SLUS_200.01.Game.iso"]
        put_game(source / "Second.zso", 2)
        wanted = ["SLUS_200.01.Game.iso", "SLUS_200.02.Second.iso"]
        wait_until(lambda: sorted(os.listdir(made.path / "CD")) == wanted, "the second disc")
        assert set(os.listdir(made.path)) == {"CD", "DVD", "other"}


def test_a_folder_that_hangs_does_not_hide_the_rest(source: Path, tmp_path: Path) -> None:
    put_game(source / "good" / "Game.zso", 1)
    put(source / "ART" / "a.png", b"a")
    inner = tmp_path / "inner"
    image = put_game(inner / "Slow.zso", 2)
    (source / "other").mkdir()
    with mounted(inner, source / "other" / "slow") as slow:
        waiting = timed(first_opl_listing=5.0)
        with stopped(slow.daemon), mounted(source, tmp_path / "mnt", *OPL, command=waiting) as made:
            top = set(os.listdir(made.path))
            assert top >= {"ART", "CD", "DVD"}
            assert os.listdir(made.path / "CD") == ["SLUS_200.01.Game.iso"]
            put_game(source / "good" / "New.zso", 3)
            wanted = ["SLUS_200.01.Game.iso", "SLUS_200.03.New.iso"]
            wait_until(lambda: sorted(os.listdir(made.path / "CD")) == wanted, "the new disc")
        with mounted(source, tmp_path / "mnt", *OPL) as made:
            shown = made.path / "CD" / "SLUS_200.02.Slow.iso"
            wait_until(shown.exists, "the disc that was slow")
            assert shown.read_bytes() == image


def test_folders_at_the_top_have_the_rights_of_the_source(source: Path, mount: MountMaker) -> None:
    source.chmod(0o750)
    (source / "CD").mkdir(mode=0o700)
    made = mount(source, *OPL)
    for name, mode in (("", 0o550), ("DVD", 0o550), ("CD", 0o500)):
        assert stat.S_IMODE((made.path / name).stat().st_mode) == mode
    assert os.stat(made.path / "DVD").st_uid == os.stat(source).st_uid


def test_a_real_disc_folder_that_comes_and_goes(source: Path, mount: MountMaker) -> None:
    put_game(source / "Game.zso", 1, dvd=True)
    made = mount(source, *OPL)
    wait_for(made.path, "DVD/SLUS_200.01.Game.iso")
    number = (made.path / "DVD").stat().st_ino
    put(source / "DVD" / "games.bin", b"x")
    wait_for(made.path, "DVD/SLUS_200.01.Game.iso", "DVD/games.bin")
    assert (made.path / "DVD").stat().st_ino == number
    shutil.rmtree(source / "DVD")
    wait_for(made.path, "DVD/SLUS_200.01.Game.iso")
    assert (made.path / "DVD").stat().st_ino == number


def test_the_sample_discs_of_real_writers(source: Path, mount: MountMaker) -> None:
    for path in DATA.glob("*.zso"):
        shutil.copy(path, source)
    manifest = json.loads((DATA / "manifest.json").read_text())
    ps2 = [path.name for path in source.iterdir() if manifest[path.name]["image"] != "psp"]
    made = mount(source, *OPL)
    wanted = sorted(f"SLUS_209.63.{name.removesuffix('.zso')}.iso" for name in ps2)
    assert sorted(os.listdir(made.path / "CD")) == wanted
    assert len(wanted) > 5


@pytest.mark.parametrize("listed", [False, True])
def test_a_mount_that_nobody_uses_sleeps(source: Path, mount: MountMaker, listed: bool) -> None:
    """But for what wakes each mount: every change of the table of mounts, by any test."""
    put_game(source / "a" / "Game.zso", 1)
    made, plain = mount(source, *OPL), mount(source)
    for each in (made, plain):
        wait_until(lambda each=each: status_of(each)["discs"] == 1, "the first look")  # type: ignore[misc]
    if listed:
        assert len(tree(made.path)) == 3
        assert len(tree(plain.path)) == 2
    time.sleep(1.5)  # past what the kernel may believe

    def woken(each: Mount) -> int:
        text = Path(f"/proc/{each.daemon.pid}/status").read_text()
        return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    before = woken(made), woken(plain)
    time.sleep(2)
    by_others = woken(plain) - before[1]
    assert woken(made) - before[0] < 20 + by_others
    assert by_others < 200, "the plain mount sleeps as well"


def test_a_disc_added_in_an_earlier_directory_takes_no_name(source: Path, tmp_path: Path) -> None:
    put(source / "m" / "Game.zso", writers.zsoz(game(1)))
    first, second = f"{game_id(1)}.Game.iso", f"{game_id(1)}.Game (2).iso"
    with mounted(source, tmp_path / "mnt", *OPL) as made:
        wait_for(made.path, f"CD/{first}")
        number = (made.path / "CD" / first).stat().st_ino
        put(source / "a" / "Game.zso", writers.zsoz(game(1)))
        wait_for(made.path, f"CD/{first}", f"CD/{second}")
        assert (made.path / "CD" / first).stat().st_ino == number
    with mounted(source, tmp_path / "mnt", *OPL) as made:
        wait_for(made.path, f"CD/{first}", f"CD/{second}")
        assert (made.path / "CD" / first).stat().st_ino == number


def test_stat_reports_blocks_of_4096_bytes(source: Path, mount: MountMaker) -> None:
    put(source / "Game.zso", writers.zsoz(game(1)))
    put(source / "notes.txt", b"notes")
    made = mount(source)
    assert {path.stat().st_blksize for path in (made.path, *made.path.iterdir())} == {4096}
    with open(made.path / "Game.iso", "rb") as disc:
        assert len(disc.peek(1)) <= 8192
