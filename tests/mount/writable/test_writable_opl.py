"""The writable mount as a share for Open PS2 Loader: where what it writes lies in the source."""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.mount.reading.test_faults import FAULTY, Faults, faults
from tests.mount.writable.test_writable_races import under_way
from tests.support.mounting import DATA, Mount, mounted, names, status_of, wait_until

__all__ = ["faults"]  # a fixture

OPL = ("--layout", "opl", "--writable")
FOLDERS = ("CD", "DVD", "VMC", "CFG", "ART", "THM", "LNG", "CHT", "APPS")


@pytest.fixture
def share(source: Path, tmp_path: Path) -> Iterator[Mount]:
    """A source with its only disc, which fits on a CD, in a folder of its own."""
    (source / "RPG").mkdir()
    shutil.copy(DATA / "ziso-py.zso", source / "RPG" / "game.zso")
    with mounted(source, tmp_path / "mnt", *OPL) as mount:
        yield mount
        assert not mount.log_lines("internal error"), mount.log.read_text()


def the_disc(mount: Mount) -> str:
    (name,) = [name for name in names(mount.path / "CD") if name.endswith(".iso")]
    return name


def connect(root: Path) -> None:
    """What OPL does first: it makes its folders, and does not mind those that are there."""
    for folder in FOLDERS:
        try:
            os.mkdir(root / folder)
        except FileExistsError:
            assert folder in ("CD", "DVD")


def test_the_first_connection(share: Mount) -> None:
    assert names(share.path) == ["CD", "DVD"]
    connect(share.path)
    assert names(share.path) == sorted(FOLDERS)
    assert names(share.source) == sorted({*FOLDERS, "RPG"} - {"CD", "DVD"})
    assert len(names(share.path / "CD")) == 1


def test_the_lists_of_games(share: Mount) -> None:
    """`CD/games.bin` makes a real folder CD, though the disc lies elsewhere."""
    disc = the_disc(share)
    for folder in ("DVD", "CD"):
        games = share.path / folder / "games.bin"
        games.write_bytes(b"list" * 100)
        assert games.read_bytes() == b"list" * 100
        assert "games.bin" in names(share.path / folder)
        number = games.stat().st_ino
        games.write_bytes(b"a longer list" * 100)
        assert games.stat().st_ino == number
        assert (share.source / folder / "games.bin").read_bytes() == b"a longer list" * 100
    assert names(share.path / "CD") == sorted([disc, "games.bin"])
    assert names(share.path / "DVD") == ["games.bin"]
    assert names(share.source) == ["CD", "DVD", "RPG"]
    os.unlink(share.path / "DVD" / "games.bin")
    assert names(share.path / "DVD") == []
    os.rename(share.path / "CD" / "games.bin", share.path / "DVD" / "games.bin")
    assert names(share.path / "CD") == [disc]
    assert names(share.source / "DVD") == ["games.bin"]
    assert (share.path / "CD" / disc).read_bytes() == (DATA / "ps2.iso").read_bytes()


def test_settings_and_memory_cards(share: Mount) -> None:
    connect(share.path)
    card = share.path / "VMC" / "card.bin"
    with card.open("wb") as file:
        file.write(bytes(1 << 20))
    with card.open("r+b", buffering=0) as file:
        for at in range(0, 1 << 20, 4096):
            os.pwrite(file.fileno(), b"saved" * 100, at)
    expected = (b"saved" * 100 + bytes(4096 - 500)) * 256
    assert card.read_bytes() == expected
    assert (share.source / "VMC" / "card.bin").read_bytes() == expected
    for number in range(50):
        (share.path / "CFG" / f"SLUS_{number:03}.00.cfg").write_text(f"$Compat={number}\n")
    assert len(names(share.path / "CFG")) == 50
    assert names(share.source / "CFG") == names(share.path / "CFG")
    assert status_of(share)["copying"] == 0


def test_a_memory_card_in_use_is_no_disc_being_copied(share: Mount) -> None:
    connect(share.path)
    with (share.path / "VMC" / "card.bin").open("wb") as file:
        file.write(bytes(100_000))
        file.flush()
        assert names(share.path / "VMC") == ["card.bin"]
        said = status_of(share)
        assert said["copying"] == 0
        assert said["writable"] is True
        assert [reader["path"] for reader in said["readers"]] == ["VMC/card.bin"]


def test_dvd_in_small_letters(source: Path, mount: MountMaker) -> None:
    (source / "dvd").mkdir()
    shutil.copy(DATA / "ziso-py.zso", source / "dvd" / "game.zso")
    share = mount(source, *OPL)
    (share.path / "DVD" / "games.bin").write_bytes(b"list")
    assert names(source) == ["dvd"]
    assert names(source / "dvd") == ["game.zso", "games.bin"]
    assert "games.bin" in names(share.path / "DVD")


def test_two_folders_for_dvds(source: Path, mount: MountMaker) -> None:
    for folder in ("dvd", "DVD"):
        (source / folder).mkdir()
        (source / folder / f"{folder}.txt").write_text(folder)
    share = mount(source, *OPL).path / "DVD"
    assert names(share) == ["DVD.txt", "dvd.txt"]
    (share / "dvd.txt").write_text("small")
    (share / "new.txt").write_text("new")
    os.rename(share / "dvd.txt", share / "renamed.txt")
    os.unlink(share / "DVD.txt")
    assert names(share) == ["new.txt", "renamed.txt"]
    assert names(source / "DVD") == ["new.txt", "renamed.txt"]
    assert names(source / "dvd") == []
    assert (source / "DVD" / "renamed.txt").read_text() == "small"


def test_the_folders_of_discs_stay(share: Mount) -> None:
    (share.path / "CFG").mkdir()
    acts: tuple[Callable[[], None], ...] = (
        lambda: os.rmdir(share.path / "DVD"),
        lambda: os.rename(share.path / "DVD", share.path / "old"),
        lambda: os.rename(share.path / "CFG", share.path / "DVD"),
        lambda: os.mkdir(share.path / "DVD" / "sub"),
        lambda: os.rename(share.path / "CFG", share.path / "DVD" / "CFG"),
        lambda: os.mkdir(share.path / "dvd"),
        lambda: os.mkdir(share.path / "RPG"),
    )
    for act in acts:
        with pytest.raises(OSError) as caught:
            act()
        assert caught.value.errno in (errno.EACCES, errno.EEXIST)
    assert names(share.path) == ["CD", "CFG", "DVD"]
    assert names(share.source) == ["CFG", "RPG"]


def test_attributes_of_a_folder_that_is_not_there_yet(share: Mount) -> None:
    moment = 4 * 10**18  # later than that of any disc, which would be shown instead
    os.utime(share.path / "CD", ns=(moment, moment))
    assert (share.source / "CD").stat().st_mtime_ns == moment
    assert (share.path / "CD").stat().st_mtime_ns == moment


FIRST: dict[str, Callable[[Path], object]] = {
    "a file is made": lambda root: (root / "DVD" / "games.bin").touch(),
    "a file is moved there": lambda root: (root / "file").rename(root / "DVD" / "file"),
    "it gets another date": lambda root: os.utime(root / "DVD", (1, 1)),
    "it gets another owner": lambda root: os.chown(root / "DVD", -1, os.getgid()),
}


@pytest.mark.parametrize("what", FIRST)
def test_a_folder_of_discs_is_made_like_the_folder_it_lies_in(
    source: Path, mount: MountMaker, what: str
) -> None:
    """Whatever makes it needed; requests that are not for a new file do not even say an umask."""
    source.chmod(0o750)
    (source / "file").touch()
    share = mount(source, *OPL)
    FIRST[what](share.path)
    assert stat.S_IMODE((source / "DVD").stat().st_mode) == 0o750
    (share.path / "CD").chmod(0o711)
    assert stat.S_IMODE((source / "CD").stat().st_mode) == 0o711


def test_a_folder_of_discs_is_on_the_disk_before_what_is_in_it(
    source: Path, mount: MountMaker, faults: Faults
) -> None:
    """Who syncs a list of games knows of no folder that has to be synced as well."""
    made = mount(source, *OPL, command=FAULTY)
    path = made.path / "DVD" / "games.bin"
    with under_way(faults, "create SourceWriter.sync_folder", path.touch):
        assert (source / "DVD").exists()
        assert not (source / "DVD" / "games.bin").exists()


def test_numbers_stay_after_a_remount(source: Path, tmp_path: Path) -> None:
    seen = []
    for number in range(2):
        with mounted(source, tmp_path / f"mnt{number}", *OPL) as mount:
            path = mount.path / "DVD" / "games.bin"
            path.write_bytes(os.urandom(100 + number))
            seen.append(path.stat().st_ino)
    assert seen[0] == seen[1]


def test_new_discs_show_beside_what_was_written(share: Mount) -> None:
    (share.path / "DVD" / "games.bin").write_bytes(b"list")
    shutil.copy(DATA / "maxcso-2048.zso", share.source / "DVD" / "second.zso")
    wait_until(lambda: len(names(share.path / "DVD")) == 2, "the second disc")
    assert "games.bin" in names(share.path / "DVD")


def test_what_was_just_made_shows_however_long_a_look_takes(
    source: Path, mount: MountMaker, faults: Faults
) -> None:
    """The first look at the new folder DVD takes longer than a listing waits for it."""
    made = mount(source, *OPL, command=FAULTY)
    assert names(made.path) == ["CD", "DVD"]
    with faults.on("create", "Scanner.survey", "slow") as slow:
        (made.path / "DVD" / "games.bin").write_bytes(b"list")
        for _ in range(4):
            assert names(made.path / "DVD") == ["games.bin"]
            assert (made.path / "DVD" / "games.bin").read_bytes() == b"list"
        assert slow in faults.done()


def test_attributes_of_an_open_folder_that_is_not_there_yet(share: Mount) -> None:
    """The system asks once more where a path is stale, but not for what is open."""
    moment = 4 * 10**18  # later than that of any disc, which would be shown instead
    for name in ("CD", "DVD"):
        fd = os.open(share.path / name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.utime(fd, ns=(moment, moment))
            assert os.fstat(fd).st_mtime_ns == moment
        finally:
            os.close(fd)
        assert (share.source / name).stat().st_mtime_ns == moment
