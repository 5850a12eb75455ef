"""A packed file that replaces its input: the last check, and a program that writes meanwhile."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.mounting import names, wait_until
from tests.support.packed import image_of
from zsofs.errors import InputError
from zsofs.images.input_image import original
from zsofs.native.fileio import rename_exchange
from zsofs.pack.atomic_file import NewFile, remove_leftovers
from zsofs.pack.batch import orderly_end
from zsofs.pack.in_place import BusyError, replace_input
from zsofs.pack.interrupted_exchange import end_exchanges
from zsofs.pack.packer import PackOptions, written_file
from zsofs.pack.presets import PURPOSES
from zsofs.system import file_lease, renames

IMAGE = writers.disc(2048 * 100, ["text", "mixed"], 5)


class Silent:
    """A receiver of progress."""

    def advance(self, plain: int, stored: int) -> None:
        """Take no notice."""

    def check(self) -> None:
        """Take no notice."""


@pytest.fixture
def game(tmp_path: Path) -> Path:
    """An image."""
    (tmp_path / "Game.iso").write_bytes(IMAGE)
    return tmp_path / "Game.iso"


def replace(
    path: Path,
    meanwhile: Callable[[NewFile, int], None] = lambda file, fd: None,
    before: Callable[[], None] = lambda: None,
) -> None:
    """Pack an image in place, with things that happen before and after the exchange."""
    options = PackOptions(replace=True)
    with (
        original(str(path)) as image,
        written_file(image, str(path), PURPOSES["console"], options, Silent()) as new,
    ):
        take_name = new.file.take_name

        def take(*, replace: bool) -> None:
            take_name(replace=replace)
            meanwhile(new.file, image.source.fd)

        setattr(new.file, "take_name", take)  # noqa: B010 - it is a method
        before()
        replace_input(image, new.file)


def test_the_packed_file_has_the_name(game: Path) -> None:
    replace(game)
    assert names(game.parent) == ["Game.iso"]
    assert game.read_bytes()[:4] == b"ZISO"
    assert image_of(game) == IMAGE


def test_a_program_that_opens_the_image_gets_it_back(game: Path) -> None:
    """It found the image just before the exchange, and waits for the lease."""
    threads = []

    def write(path: str) -> None:
        with open(path, "r+b", buffering=0) as file:
            file.write(b"new")

    def meanwhile(file: NewFile, fd: int) -> None:
        assert game.read_bytes()[:4] == b"ZISO"
        threads.append(threading.Thread(target=write, args=[file.path]))
        threads[0].start()
        wait_until(lambda: fcntl.fcntl(fd, fcntl.F_GETLEASE) != fcntl.F_RDLCK, "the program")

    with pytest.raises(BusyError, match="a program has opened it for writing"):
        replace(game, meanwhile)
    threads[0].join(30)
    assert game.read_bytes() == b"new" + IMAGE[3:]
    assert names(game.parent) == ["Game.iso"]


def writing(path: str) -> threading.Thread:
    """Begin to write to an image."""

    def write() -> None:
        with open(path, "r+b", buffering=0) as file:
            file.write(b"new")

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_a_signal_that_ends_the_run_while_a_program_waits(game: Path) -> None:
    """The program gets the image, not a file that is being deleted."""
    threads = []

    def meanwhile(file: NewFile, fd: int) -> None:
        threads.append(writing(file.path))
        wait_until(lambda: fcntl.fcntl(fd, fcntl.F_GETLEASE) != fcntl.F_RDLCK, "the program")
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit), orderly_end():
        replace(game, meanwhile)
    threads[0].join(30)
    assert game.read_bytes() == b"new" + IMAGE[3:]
    assert names(game.parent) == ["Game.iso"]


def kill(file: NewFile, fd: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_after_the_exchange(game: Path) -> Path:
    """Kill a run at the moment when both files have changed their names; return the image."""
    program = "import sys, pathlib, tests.unit.pack.test_pack_in_place as test\n"
    program += "test.replace(pathlib.Path(sys.argv[1]), test.kill)"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program, str(game)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert game.read_bytes()[:4] == b"ZISO"
    remove_leftovers(str(game.parent))  # as any run of `zsofs pack` does
    (hidden,) = (path for path in game.parent.iterdir() if path != game)
    return hidden


def test_a_kill_after_the_exchange(game: Path) -> None:
    killed_after_the_exchange(game)
    assert list(end_exchanges(str(game.parent))) == []
    assert names(game.parent) == ["Game.iso"]
    assert image_of(game) == IMAGE


@pytest.mark.parametrize("keeps_date", [False, True])
def test_what_a_program_has_written_after_a_kill_is_kept(game: Path, keeps_date: bool) -> None:
    """It was waiting to write when the run was killed."""
    hidden = killed_after_the_exchange(game)
    before = hidden.stat()
    writing(str(hidden)).join(60)
    if keeps_date:
        os.truncate(hidden, len(IMAGE) + 2048)
        os.utime(hidden, ns=(before.st_atime_ns, before.st_mtime_ns))
    (note,) = end_exchanges(str(game.parent))
    assert note.startswith(f"{game}: restored; a program wrote to it")
    assert game.read_bytes() == (b"new" + IMAGE[3:]).ljust(game.stat().st_size, b"\0")
    assert names(game.parent) == ["Game.iso"]


def test_a_program_that_still_writes_after_a_kill(game: Path) -> None:
    hidden = killed_after_the_exchange(game)
    with hidden.open("r+b", buffering=0) as file:
        (note,) = end_exchanges(str(game.parent))
        assert note.startswith(f"{game}: restored")
        file.write(b"new")
    assert game.read_bytes() == b"new" + IMAGE[3:]
    assert names(game.parent) == ["Game.iso"]


def test_a_file_that_came_after_a_kill_is_not_replaced(game: Path) -> None:
    hidden = killed_after_the_exchange(game)
    game.write_bytes(b"other")
    (note,) = end_exchanges(str(game.parent))
    assert note.startswith(f"{hidden}: an interrupted run has left this image, which was {game}")
    assert (game.read_bytes(), hidden.read_bytes()) == (b"other", IMAGE)


def test_a_kill_before_the_exchange(game: Path) -> None:
    hidden = killed_after_the_exchange(game)
    rename_exchange(str(hidden), str(game))
    assert list(end_exchanges(str(game.parent))) == []
    assert names(game.parent) == ["Game.iso"]
    assert game.read_bytes() == IMAGE


def test_what_is_written_without_a_lease_is_kept(
    game: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network file system, or for another user's file."""

    def no_lease(fd: int) -> None:
        raise PermissionError

    def meanwhile(file: NewFile, fd: int) -> None:
        with open(file.path, "r+b", buffering=0) as other:
            other.write(b"new")
            os.utime(other.fileno(), (1, 1))

    monkeypatch.setattr(file_lease, "_take", no_lease)
    with pytest.raises(BusyError, match="a program has opened it for writing"):
        replace(game, meanwhile)
    assert game.read_bytes() == b"new" + IMAGE[3:]
    assert names(game.parent) == ["Game.iso"]


def test_a_program_that_has_it_open(game: Path) -> None:
    with game.open("r+b"), pytest.raises(BusyError, match="a program has it open for writing"):
        replace(game)
    assert game.read_bytes() == IMAGE
    assert names(game.parent) == ["Game.iso"]


def replaced(game: Path) -> None:
    game.with_name("Other.iso").rename(game)


def written(game: Path) -> None:
    game.write_bytes(b"other")


@pytest.mark.parametrize("change", [replaced, written, Path.unlink])
def test_an_image_that_is_another_one_now(game: Path, change: Callable[[Path], None]) -> None:
    """Nothing is replaced that was not packed."""
    game.with_name("Other.iso").write_bytes(b"other")
    with pytest.raises(InputError):
        replace(game, before=lambda: change(game))
    left = {path.name: path.read_bytes() for path in game.parent.iterdir()}
    assert left.pop("Game.iso", None) == (None if change is Path.unlink else b"other")
    assert left == ({} if change is replaced else {"Other.iso": b"other"})


def test_an_image_with_another_name(game: Path) -> None:
    with pytest.raises(InputError, match="hard links"):
        replace(game, before=lambda: game.with_name("Other.iso").hardlink_to(game))
    assert names(game.parent) == ["Game.iso", "Other.iso"]
    assert game.read_bytes() == IMAGE


def test_a_file_system_that_cannot_exchange(game: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(old: str, new: str) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(renames, "rename_exchange", cannot)
    replace(game)
    assert image_of(game) == IMAGE
    assert names(game.parent) == ["Game.iso"]


def test_a_directory_that_is_renamed_meanwhile(tmp_path: Path, game: Path) -> None:
    """The hidden image in it is deleted all the same."""
    (tmp_path / "before").mkdir()
    game = game.rename(tmp_path / "before" / game.name)

    def meanwhile(file: NewFile, fd: int) -> None:
        (tmp_path / "before").rename(tmp_path / "after")

    replace(game, meanwhile)
    assert names(tmp_path / "after") == ["Game.iso"]
    assert image_of(tmp_path / "after/Game.iso") == IMAGE
