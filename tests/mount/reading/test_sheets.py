"""Playlists and cue sheets through a mount: they name the discs that are there, live."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.mounting import DATA, mounted, status_of, wait_until

ZSO = (DATA / "ziso-py.zso").read_bytes()
TEXT = (
    b"\xef\xbb\xbf#EXTM3U\r\n#EXTINF:-1,Game.zso\r\n"
    b"Game (Disc 1).zso\r\nGame (Disc 2).chd \r\nx.zso"
)
SHOWN = TEXT.replace(b"1).zso", b"1).iso").replace(b"2).chd", b"2).cue")
OLD = 1_500_000_000


@pytest.fixture
def collection(source: Path) -> Path:
    """A playlist of a ZSO and of a CD in a CHD; a cue sheet of a container of raw sectors."""
    (source / "Game (Disc 1).zso").write_bytes(ZSO)
    shutil.copy(DATA / "chd" / "cd-mixed.chd", source / "Game (Disc 2).chd")
    raw = b"\0" + b"\xff" * 10 + b"\0" + bytes(4) + b"cd" * 1168
    (source / "Raw.zso").write_bytes(writers.maxcso_zso(raw * 20, block_size=2352))
    (source / "Raw.cue").write_bytes(b'FILE "Raw.zso" BINARY\n  TRACK 01 MODE2/2352\n')
    (source / "Game.m3u").write_bytes(TEXT)
    for path in source.iterdir():
        os.utime(path, (OLD, OLD))
    os.utime(source / "Game (Disc 2).chd", (OLD + 7, OLD + 7))
    return source


def is_text(path: Path, text: bytes) -> Callable[[], bool]:
    """Whether a file has this text, and the size of it."""

    def check() -> bool:
        return path.exists() and path.stat().st_size == len(text) and path.read_bytes() == text

    return check


def test_names_in_the_mount(collection: Path, tmp_path: Path) -> None:
    with mounted(collection, tmp_path / "mnt") as made:
        listed = made.path / "Game.m3u"
        assert listed.stat().st_size == len(SHOWN)
        assert listed.read_bytes() == SHOWN
        subprocess.run(["cp", "-p", listed, tmp_path / "copy"], check=True)
        assert (tmp_path / "copy").read_bytes() == SHOWN
        assert (tmp_path / "copy").stat().st_mtime == listed.stat().st_mtime == OLD + 7
        with listed.open("rb") as file:
            for offset in range(len(SHOWN) + 2):
                assert os.pread(file.fileno(), 9, offset) == SHOWN[offset : offset + 9]
        cue = (made.path / "Raw.cue").read_bytes()
        assert cue == b'FILE "Raw.bin" BINARY\n  TRACK 01 MODE2/2352\n'
        assert (made.path / "Raw.bin").stat().st_size == 20 * 2352
        assert stat_of(listed)[0] != (collection / "Game.m3u").stat().st_ino
        assert status_of(made)["discs"] == 3
        before = {path.name: stat_of(path) for path in made.path.iterdir()}
    with mounted(collection, tmp_path / "mnt") as made:
        assert {path.name: stat_of(path) for path in made.path.iterdir()} == before
        assert is_text(made.path / "Game.m3u", SHOWN)()


@pytest.mark.parametrize("form", ["iso", "bin", "tracks"])
def test_names_of_a_cd_in_each_form(collection: Path, mount: MountMaker, form: str) -> None:
    (collection / "Disc 2.cue").write_bytes(b'FILE "Game (Disc 2).chd" BINARY\n')
    made = mount(collection, "--cd", form)
    (name,) = (made.path / "Game.m3u").read_bytes().splitlines()[3:4]
    assert name.rstrip() == (b"Game (Disc 2).iso" if form == "iso" else b"Game (Disc 2).cue")
    assert (made.path / os.fsdecode(name.rstrip())).exists()
    if form == "iso":
        assert not (made.path / "Disc 2.cue").exists()
    else:
        named = (made.path / "Disc 2.cue").read_text().split('"')[1]
        assert (made.path / named).exists() == (form == "bin")


def stat_of(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@pytest.mark.parametrize("arguments", [(), ("--writable",)])
def test_a_playlist_follows_its_discs(
    source: Path, mount: MountMaker, arguments: tuple[str, ...]
) -> None:
    text, both = b"One.zso\nTwo.zso\n", b"One.iso\nTwo.iso\n"
    (source / "List.m3u").write_bytes(text)
    (source / "One.zso").write_bytes(ZSO)
    listed = mount(source, *arguments).path / "List.m3u"
    wait_until(is_text(listed, b"One.iso\nTwo.zso\n"), "the first disc")
    first = listed.stat()
    with listed.open("rb") as old:
        (source / "Two.zso").write_bytes(ZSO)
        wait_until(is_text(listed, both), "the second disc")
        second = listed.stat()
        assert second.st_ino != first.st_ino
        assert second.st_size == first.st_size
        assert second.st_mtime_ns == (source / "Two.zso").stat().st_mtime_ns > first.st_mtime_ns
        assert old.read() == b"One.iso\nTwo.zso\n"
    (source / "One.zso").unlink()
    wait_until(is_text(listed, b"One.zso\nTwo.iso\n"), "the first disc to go")
    (source / "Two.zso").unlink()
    wait_until(is_text(listed, text), "the second disc to go")
    os.utime(source / "List.m3u", (OLD, OLD))
    wait_until(lambda: listed.stat().st_mtime == OLD, "its own date")


def test_packing_a_disc_changes_nothing(source: Path, mount: MountMaker) -> None:
    (source / "List.m3u").write_bytes(b"One.iso\n")
    image = (DATA / "ps2.iso").read_bytes()
    (source / "One.iso").write_bytes(image)
    made = mount(source)
    listed = made.path / "List.m3u"
    before = listed.stat()
    (source / "One.zso").write_bytes(writers.maxcso_zso(image))
    wait_until((made.path / "One.zso.iso").exists, "both")
    (source / "One.iso").unlink()
    wait_until(lambda: sorted(os.listdir(made.path)) == ["List.m3u", "One.iso"], "one of them")
    assert listed.stat() == before
    assert listed.read_bytes() == b"One.iso\n"
    assert (made.path / "One.iso").read_bytes() == image


def test_a_playlist_that_is_written_is_complete_when_it_is_closed(
    source: Path, mount: MountMaker
) -> None:
    (source / "One.zso").write_bytes(ZSO)
    made = mount(source)
    listed = made.path / "List.m3u"
    with (source / "List.m3u").open("wb", buffering=0) as file:
        file.write(b"One.zso\n")
        wait_until(is_text(listed, b"One.zso\n"), "the text")
        file.write(b"# more\n")
        wait_until(is_text(listed, b"One.zso\n# more\n"), "more text")
        assert status_of(made)["copying"] == 0
    wait_until(is_text(listed, b"One.iso\n# more\n"), "the name")
    (source / "List.m3u").write_bytes(b"Two.zso\n")
    wait_until(is_text(listed, b"Two.zso\n"), "another text")


def test_what_is_no_list_of_discs_is_shown_as_it_is(source: Path, mount: MountMaker) -> None:
    (source / "One.zso").write_bytes(ZSO)
    texts = {
        "large.m3u": b"One.zso\n" + b"#" * 65536,
        "binary.m3u": b"One.zso\n\0",
        "long.m3u": b"One.zso\n" * 1001,
        "music.m3u": b"One.mp3\n",
        "empty.cue": b"",
        "wide.m3u": "One.zso\n".encode("utf-16"),
        "below.m3u": b"below/One.zso\n",
        "list.txt": b"One.zso\n",
    }
    for name, text in texts.items():
        (source / name).write_bytes(text)
    made = mount(source, "--writable")
    for name, text in texts.items():
        assert is_text(made.path / name, text)(), name
        (made.path / name).write_bytes(b"new")
        assert (source / name).read_bytes() == b"new"


def test_original_and_packed_files_beside(collection: Path, mount: MountMaker) -> None:
    made = mount(collection, "--show-raw", "--writable")
    original = made.path / "Game.m3u.raw"
    assert is_text(made.path / "Game.m3u", SHOWN)()
    assert is_text(original, TEXT)()
    assert original.stat().st_mtime == OLD
    assert is_text(made.path / "Raw.cue.raw", (collection / "Raw.cue").read_bytes())()
    for change in (os.unlink, lambda path: os.rename(path, made.path / "x"), os.utime):
        with pytest.raises(OSError) as caught:
            change(original)
        assert caught.value.errno == errno.EROFS
    assert (collection / "Game.m3u").read_bytes() == TEXT


CHANGES: dict[str, Callable[[Path], object]] = {
    "write": lambda path: os.open(path, os.O_WRONLY),
    "read and write": lambda path: os.open(path, os.O_RDWR),
    "append": lambda path: os.open(path, os.O_WRONLY | os.O_APPEND),
    "create anyway": lambda path: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    "truncate": lambda path: os.truncate(path, 5),
    "chmod": lambda path: os.chmod(path, 0o666),
    "touch": os.utime,
    "replace": lambda path: os.rename(path.parent / "mine.txt", path),
    "rename to a backup": lambda path: os.rename(path, path.parent / "Game.m3u~"),
    "delete": lambda path: path.unlink(),
}


def test_no_name_of_the_mount_gets_into_the_source(
    collection: Path, mount: MountMaker, as_root: None
) -> None:
    made = mount(collection, "--writable")
    listed = made.path / "Game.m3u"
    assert is_text(listed, SHOWN)()
    assert listed.stat().st_mode & 0o222 == 0
    (made.path / "mine.txt").write_bytes(SHOWN)
    for what, change in CHANGES.items():
        with pytest.raises(OSError) as caught:
            change(listed)
        assert caught.value.errno == errno.EROFS, what
    assert made.log_lines("Game.m3u: change refused: it is shown with the names in the mount")
    assert made.log_lines("Game.m3u: rename, replacement or deletion refused: it is shown with")
    assert (collection / "Game.m3u").read_bytes() == TEXT
    assert listed.read_bytes() == SHOWN


def test_a_playlist_without_names_of_the_mount_can_be_renamed_and_deleted(
    collection: Path, mount: MountMaker
) -> None:
    made = mount(collection, "--writable")
    listed = made.path / "sub" / "New.m3u"
    listed.parent.mkdir()
    listed.write_bytes(TEXT)
    wait_until(is_text(listed, TEXT), "the text without discs beside")
    listed.rename(made.path / "Last.m3u")
    wait_until(is_text(made.path / "Last.m3u", SHOWN), "the names of the discs")
    assert (collection / "Last.m3u").read_bytes() == TEXT
    listed.write_bytes(TEXT)
    listed.rename(listed.with_suffix(".txt"))
    listed.with_suffix(".txt").unlink()
    assert not any((collection / "sub").iterdir())


def test_a_playlist_that_is_written_through_the_mount(collection: Path, mount: MountMaker) -> None:
    made = mount(collection, "--writable")
    listed = made.path / "Own.m3u"
    own = b"Game (Disc 1).iso\n"
    listed.write_bytes(own)
    assert is_text(listed, own)()
    with listed.open("ab") as file:
        file.write(b"# mine\n")
    assert (collection / "Own.m3u").read_bytes() == own + b"# mine\n"
    listed.write_bytes(b"Game (Disc 1).zso\n")
    wait_until(is_text(listed, own), "the name in the mount")
    assert (collection / "Own.m3u").read_bytes() == b"Game (Disc 1).zso\n"


def test_the_opl_layout_shows_the_text_of_the_source(collection: Path, mount: MountMaker) -> None:
    made = mount(collection, "--layout", "opl")
    assert is_text(made.path / "Game.m3u", TEXT)()
