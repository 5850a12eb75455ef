"""Which files a mount shows: patterns, and packed files beside their discs."""

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.mount.opl.test_opl_mount import OPL, game, opened_below, put, put_game, tree
from tests.support import writers
from tests.support.mounting import DATA, mounted, wait_until
from zsofs.source.filters import Selection

PS2 = DATA / "ps2.iso"
PACKED = DATA / "ziso-py.zso"


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.zso", "Okami.zso", True),
        ("*.zso", "a/b/Okami.zso", True),
        ("*.zso", "a/b/Okami.ZSO", False),
        ("Okami.zso", "a/Okami.zso", True),
        ("Okami", "a/Okami.zso", False),
        ("a", "a", True),
        ("a", "b/a", True),
        ("a", "a/b", False),
        ("/a", "a", True),
        ("/a", "b/a", False),
        ("/*.zso", "Okami.zso", True),
        ("/a/*.zso", "a/Okami.zso", True),
        ("/a/*.zso", "b/a/Okami.zso", False),
        ("a/", "a", True),
        ("a/", "b/a", True),
        ("a/*", "a/b", True),
        ("a/*", "a/b/c.zso", True),
        ("a/*", "b/a/c.zso", False),
        ("*/old/*", "a/old/c.zso", True),
        ("a/*.zso", "a/b/c.zso", True),
        ("a/?.zso", "a/b.zso", True),
        ("[ab]*.zso", "beta.zso", True),
        ("[!ab]*.zso", "beta.zso", False),
        ("[x", "[x", True),
        ("a.zso", "a-zso", False),
        ("*", "new\nline", True),
        ("*.zso", "new\nline.zso", True),
        ("caf?.zso", "caf\udce9.zso", True),
        ("caf\udce9.zso", "caf\udce9.zso", True),
        ("caf\udce9.zso", "caf\udcea.zso", False),
    ],
)
def test_what_a_pattern_matches(pattern: str, path: str, matches: bool) -> None:
    own = os.fsencode(path)
    assert Selection(exclude=[pattern]).takes(own, is_folder=False) is not matches
    assert Selection(exclude=[pattern]).takes(own, is_folder=True) is not matches
    assert Selection(include=[pattern]).takes(own, is_folder=False) is matches
    assert Selection(include=[pattern]).takes(own, is_folder=True)


def test_any_include_will_do_and_any_exclude_is_enough() -> None:
    selection = Selection(include=["*.zso", "covers/*"], exclude=["*demo*", "old"])
    for path, taken in {
        b"a.zso": True,
        b"covers/a.jpg": True,
        b"a.cso": False,
        b"demo.zso": False,
        b"covers/demo.jpg": False,
    }.items():
        assert selection.takes(path, is_folder=False) is taken
    assert not selection.takes(b"a/old", is_folder=True)
    assert selection.takes(b"a/new", is_folder=True)
    assert Selection().takes(b"anything", is_folder=False)


@pytest.fixture
def games(source: Path) -> Path:
    """Packed discs and other files, in a few folders."""
    for name in ("One.zso", "Two.cso", "rpg/Three.zso", "rpg/old/Four.zso", "old/Five.zso"):
        put(source / name, b"")
        shutil.copy(PACKED, source / name)
    put(source / "covers" / "one.jpg", b"jpg")
    put(source / "rpg" / "notes.txt", b"txt")
    return source


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (
            ["--include", "*.zso"],
            "One.iso covers/ old/ old/Five.iso rpg/ rpg/Three.iso rpg/old/ rpg/old/Four.iso",
        ),
        (["--include", "rpg/*", "--exclude", "*.txt", "--exclude", "covers", "--exclude", "old"],
         "rpg/ rpg/Three.iso"),
        (["-o", "exclude=old,exclude=*.cso", "-o", "exclude=covers/"],
         "One.iso rpg/ rpg/Three.iso rpg/notes.txt"),
        (["--exclude", "/old", "-o", "include=*.zso"],
         "One.iso covers/ rpg/ rpg/Three.iso rpg/old/ rpg/old/Four.iso"),
        (["--exclude", "rpg/old/*", "--exclude", "[ot]*", "--exclude", "T*"],
         "One.iso covers/ rpg/ rpg/notes.txt"),
    ],
)  # fmt: skip
def test_a_mount_shows_what_is_selected(
    games: Path, mount: MountMaker, words: list[str], wanted: str
) -> None:
    with opened_below(games) as opened:
        made = mount(games, *words)
        found = tree(made.path)
        assert found == sorted(wanted.split())
        shown = {name.removesuffix(".iso") for name in found if name.endswith(".iso")}
        assert {name.rpartition(".")[0] for name in opened()} == shown
    for name in found:
        if name.endswith(".iso"):
            assert (made.path / name).read_bytes() == PS2.read_bytes()


def test_what_is_excluded_cannot_be_reached_by_name(games: Path, mount: MountMaker) -> None:
    made = mount(games, "--exclude", "old", "--exclude", "Two.*")
    for name in ("old", "old/Five.iso", "old/Five.zso", "Two.iso", "Two.cso", "rpg/old/Four.iso"):
        assert not (made.path / name).exists()
    assert (made.path / "One.iso").exists()


def test_new_files_are_selected_as_well(games: Path, mount: MountMaker) -> None:
    made = mount(games, "--include", "*.zso", "--exclude", "*demo*")
    assert "One.iso" in os.listdir(made.path)
    for name in ("Six demo.zso", "Six.cso", "Six.zso"):
        shutil.copy(PACKED, games / name)
    wait_until((made.path / "Six.iso").exists, "the new disc")
    assert {name for name in os.listdir(made.path) if "Six" in name} == {"Six.iso"}
    (games / "Six.zso").rename(games / "Six demo 2.zso")
    wait_until(lambda: not (made.path / "Six.iso").exists(), "the disc to go")
    assert not [name for name in os.listdir(made.path) if "Six" in name]


def test_names_that_are_not_utf_8(source: Path, mount: MountMaker) -> None:
    for name in (b"caf\xe9.zso", b"caf\xea.zso", b"new\nline.zso"):
        shutil.copy(os.fsencode(PACKED), os.path.join(os.fsencode(source), name))
    made = mount(source, "--exclude", os.fsdecode(b"caf\xe9.*"))
    assert sorted(os.listdir(os.fsencode(made.path))) == [b"caf\xea.iso", b"new\nline.iso"]
    made = mount(source, "--include", "caf?.zso")
    assert sorted(os.listdir(os.fsencode(made.path))) == [b"caf\xe9.iso", b"caf\xea.iso"]


def test_a_symlink_is_selected_by_its_own_name(games: Path, mount: MountMaker) -> None:
    (games / "Link.zso").symlink_to("old/Five.zso")
    (games / "folder").symlink_to("old")
    made = mount(games, "--exclude", "/old", "--exclude", "One.zso")
    assert (made.path / "Link.iso").read_bytes() == PS2.read_bytes()
    assert os.listdir(made.path / "folder") == ["Five.iso"]
    made = mount(games, "--exclude", "Link*", "--exclude", "folder")
    assert {"Link.iso", "folder"}.isdisjoint(os.listdir(made.path))


def test_excluded_folders_are_known_to_the_next_mount(games: Path, tmp_path: Path) -> None:
    """A mount that leaves them out forgets nothing that others know of them."""
    time.sleep(0.1)  # what is found in a file that was written just now is not kept
    with mounted(games, tmp_path / "mnt") as made:
        assert "old/Five.iso" in tree(made.path)
    with mounted(games, tmp_path / "mnt", "--exclude", "old") as made:
        assert "old/" not in tree(made.path)
    with opened_below(games) as opened, mounted(games, tmp_path / "mnt") as made:
        assert "old/Five.iso" in tree(made.path)
        assert opened() == []


def test_packed_files_beside_their_discs(games: Path, mount: MountMaker) -> None:
    shutil.copy(PACKED, games / "One.iso")
    made = mount(games, "--show-raw", "--exclude", "old")
    assert tree(made.path) == [
        "One.iso",
        "One.zso",
        "One.zso.iso",
        "Two.cso",
        "Two.iso",
        "covers/",
        "covers/one.jpg",
        "rpg/",
        "rpg/Three.iso",
        "rpg/Three.zso",
        "rpg/notes.txt",
    ]
    for name in ("One.zso", "Two.cso", "rpg/Three.zso"):
        assert (made.path / name).read_bytes() == PACKED.read_bytes()
    for name in ("One.iso", "One.zso.iso", "Two.iso", "rpg/Three.iso"):
        assert (made.path / name).read_bytes() == PS2.read_bytes()
    numbers = {name: (made.path / name).stat().st_ino for name in tree(made.path)}
    assert len(set(numbers.values())) == len(numbers)
    assert "show_raw" not in made.log.read_text()
    assert "One.zso" not in tree(mount(games).path)
    assert "One.zso" in tree(mount(games, "-o", "show_raw").path)


def test_a_packed_file_that_changes_beside_its_disc(source: Path, mount: MountMaker) -> None:
    put(source / "Game.zso", writers.maxcso_zso(game(1)))
    made = mount(source, "--show-raw")
    assert sorted(os.listdir(made.path)) == ["Game.iso", "Game.zso"]
    put(source / "next", writers.zstd_ziso(game(2)))
    (source / "next").rename(source / "Game.zso")
    new = (source / "Game.zso").read_bytes()
    wait_until(lambda: (made.path / "Game.zso").read_bytes() == new, "the new file")
    assert (made.path / "Game.iso").read_bytes() == game(2)


def test_selected_discs_in_the_opl_layout(source: Path, mount: MountMaker) -> None:
    put_game(source / "One.zso", 1)
    put_game(source / "rpg" / "Two.zso", 2)
    put_game(source / "rpg" / "demo" / "Three.zso", 3)
    put_game(source / "old" / "Four.zso", 4)
    put(source / "ART" / "a.png", b"a")
    put(source / "DVD" / "games.bin", b"x")
    with opened_below(source) as opened:
        made = mount(
            source, *OPL, "--exclude", "old", "--exclude", "rpg/demo", "--exclude", "*.bin"
        )
        assert tree(made.path) == [
            "ART/",
            "ART/a.png",
            "CD/",
            "CD/SLUS_200.01.One.iso",
            "CD/SLUS_200.02.Two.iso",
            "DVD/",
        ]
        assert opened() == ["One.zso", "rpg/Two.zso"]
    put_game(source / "old" / "Five.zso", 5)
    put_game(source / "rpg" / "Six.zso", 6)
    wait_until((made.path / "CD" / "SLUS_200.06.Six.iso").exists, "the new disc")
    assert len(os.listdir(made.path / "CD")) == 3
    made = mount(source, "-o", "layout=opl,include=rpg/*,include=*.png")
    assert sorted(os.listdir(made.path / "CD")) == [
        "SLUS_200.02.Two.iso",
        "SLUS_200.03.Three.iso",
        "SLUS_200.06.Six.iso",
    ]


def test_raw_files_are_not_offered_to_the_console(source: Path, mount: MountMaker) -> None:
    """OPL would list a .zso file as a disc of its own."""
    put_game(source / "DVD" / "One.zso", 1, dvd=True)
    put_game(source / "Two.zso", 2)
    made = mount(source, *OPL, "--show-raw")
    assert tree(made.path) == ["CD/", "CD/SLUS_200.02.Two.iso", "DVD/", "DVD/SLUS_200.01.One.iso"]
