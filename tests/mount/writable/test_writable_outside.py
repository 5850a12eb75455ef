"""Others change the source while files are open through a writable mount, and inode numbers."""

import errno
import mmap
import os
import random
import shutil
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support.ends import join
from tests.support.mounting import DATA, Mount, change_owner, mounted, names, opened, wait_until

SECONDS = 20.0  # about one, and some for a machine that does other things as well
OLD = random.Random(1).randbytes(300_000)
NEW = random.Random(2).randbytes(200_000)


@pytest.fixture
def made(source: Path, mount: MountMaker) -> Mount:
    """A mount of a few files, all with the same content."""
    (source / "folder").mkdir()
    for name in FILES:
        (source / name).write_bytes(OLD)
    return mount(source, "--writable")


FILES = ("file.txt", "card.bin", "folder/deep.cfg")
files = pytest.mark.parametrize("name", FILES)


def content(fd: int) -> bytes:
    return os.pread(fd, 1 << 20, 0)


def soon(fd: int, wanted: bytes) -> None:
    """An open file has these bytes before long, and their number."""
    wait_until(lambda: content(fd) == wanted, "what others wrote", SECONDS)
    wait_until(lambda: os.fstat(fd).st_size == len(wanted), "its size", SECONDS)


def soon_at(path: Path, wanted: bytes) -> None:
    wait_until(lambda: path.stat().st_size == len(wanted), "the size", SECONDS)
    wait_until(lambda: path.read_bytes() == wanted, "the bytes", SECONDS)


def put(path: Path, data: bytes) -> None:
    """Replace a file as programs do that care."""
    part = path.with_name("part.part")
    part.write_bytes(data)
    part.replace(path)


# Files that are open


@files
def test_a_reader_sees_what_is_appended(made: Mount, name: str) -> None:
    with opened(made.path / name) as fd, (made.source / name).open("ab", buffering=0) as file:
        wanted = OLD
        assert content(fd) == OLD
        for number in range(3):
            more = b"%d" % number * 5000
            file.write(more)
            wanted += more
            soon(fd, wanted)
            soon_at(made.path / name, wanted)


@files
def test_a_reader_sees_what_is_cut_and_rewritten(made: Mount, name: str) -> None:
    with opened(made.path / name) as fd:
        assert content(fd) == OLD
        os.truncate(made.source / name, 12_345)
        soon(fd, OLD[:12_345])
        os.truncate(made.source / name, 50_000)
        soon(fd, OLD[:12_345] + bytes(50_000 - 12_345))
        with (made.source / name).open("r+b") as file:
            file.write(NEW[:50_000])  # the same size as before
        soon(fd, NEW[:50_000])
        with (made.source / name).open("r+b") as file:
            file.seek(20_000)
            file.write(b"a few bytes")
        soon(fd, NEW[:20_000] + b"a few bytes" + NEW[20_011:50_000])


def test_what_changes_by_its_name_in_another_folder_does_not_change_back(made: Mount) -> None:
    """Nobody tells of that here, but who asks hears of it, and whoever asks later."""
    below, wanted = made.source / "folder" / "linked.txt", OLD + b"more"
    below.hardlink_to(made.source / "file.txt")
    path = made.path / "folder" / "linked.txt"
    assert path.stat().st_size == len(OLD)
    with opened(path, os.O_PATH) as fd:  # an open that we hear of would look at it as well
        with (made.source / "file.txt").open("ab") as file:
            file.write(b"more")
        wait_until(lambda: os.fstat(fd).st_size == len(wanted), "the new size", SECONDS)
    below.with_name("other.txt").touch()  # only that one is looked at
    wait_until(path.with_name("other.txt").exists, "the other file", SECONDS)
    time.sleep(1.5)  # the kernel asks again
    assert path.stat().st_size == len(wanted)
    assert path.read_bytes() == wanted


def test_mapped_pages_follow_when_somebody_looks(made: Mount) -> None:
    """The kernel drops pages when it hears of another size or date, which it asks for at reads."""
    path = made.path / "card.bin"
    with opened(path) as fd, mmap.mmap(fd, 0, prot=mmap.PROT_READ) as pages:
        assert pages[:] == OLD
        with (made.source / "card.bin").open("r+b") as file:
            file.write(NEW)
        soon(fd, NEW + OLD[len(NEW) :])
        wait_until(lambda: pages[:] == NEW + OLD[len(NEW) :], "the mapped bytes", SECONDS)


@files
def test_a_replaced_file_is_read_to_its_end(made: Mount, name: str) -> None:
    path = made.path / name
    with opened(path) as fd, opened(path, os.O_RDWR) as writer:
        os.pread(fd, 4096, 0)
        number = os.fstat(fd).st_ino
        put(made.source / name, NEW)
        soon_at(path, NEW)
        assert path.stat().st_ino != number
        assert os.fstat(fd).st_ino == number
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert content(fd) == OLD
        assert os.fstat(fd).st_size == len(OLD)
        os.pwrite(writer, b"old", 0)  # into the old one, which has no name
        os.ftruncate(writer, 100_000)
        os.fsync(writer)
        assert content(fd) == b"old" + OLD[3:100_000]
        assert (made.source / name).read_bytes() == path.read_bytes() == NEW
        with path.open("r+b") as file:
            file.write(b"new")
        assert (made.source / name).read_bytes() == b"new" + NEW[3:]
        assert content(writer) == b"old" + OLD[3:100_000]


@files
def test_a_deleted_file_is_read_to_its_end(made: Mount, name: str) -> None:
    path = made.path / name
    with opened(path, os.O_RDWR) as fd:
        os.pread(fd, 4096, 0)
        (made.source / name).unlink()
        wait_until(lambda: not path.exists(), "the name to go", SECONDS)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert content(fd) == OLD
        os.pwrite(fd, b"more", len(OLD))
        assert content(fd) == OLD + b"more"
        path.write_bytes(NEW)
        assert (made.source / name).read_bytes() == path.read_bytes() == NEW
        assert content(fd) == OLD + b"more"


def test_a_renamed_file_is_the_same(made: Mount) -> None:
    path, new = made.path / "file.txt", made.path / "folder" / "new.txt"
    with opened(path, os.O_RDWR) as fd:
        (made.source / "file.txt").rename(made.source / "folder" / "new.txt")
        wait_until(lambda: new.exists() and not path.exists(), "the new name", SECONDS)
        os.pwrite(fd, b"more", 0)
        soon_at(new, b"more" + OLD[4:])
        new.write_bytes(NEW)
        soon(fd, NEW)


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_WRONLY | os.O_SYNC, os.O_RDWR])
def test_two_that_append(made: Mount, flags: int) -> None:
    """One here and one in the source: neither writes over what the other has written."""
    wanted = OLD
    with (
        opened(made.path / "file.txt", flags | os.O_APPEND) as ours,
        opened(made.source / "file.txt", flags | os.O_APPEND) as theirs,
    ):
        for number in range(200):
            line = b"line %d\n" % number * (1 + number % 7)
            wanted += line
            assert os.write((ours, theirs)[number * 7 % 3 > 1], line) == len(line)
    assert (made.source / "file.txt").read_bytes() == wanted
    soon_at(made.path / "file.txt", wanted)


def test_what_changes_its_kind(made: Mount) -> None:
    path, below = made.path / "folder", made.source / "folder"
    assert names(path) == ["deep.cfg"]
    shutil.rmtree(below)
    below.write_bytes(NEW)
    wait_until(path.is_file, "a file", SECONDS)
    path.write_bytes(OLD)
    assert below.read_bytes() == OLD
    below.unlink()
    below.mkdir()
    (below / "other.txt").write_bytes(NEW)
    wait_until(lambda: path.is_dir() and names(path) == ["other.txt"], "a folder", SECONDS)
    (path / "ours.txt").write_bytes(OLD)
    assert names(below) == names(path) == ["other.txt", "ours.txt"]


BY_PATH: dict[str, Callable[[Path], object]] = {
    "rights": lambda path: path.chmod(0o640),
    "date": lambda path: os.utime(path, (5, 5)),
    "size": lambda path: os.truncate(path, 5),
}


def test_attributes_of_a_file_that_was_replaced_where_nobody_tells(
    source: Path, tmp_path: Path
) -> None:
    """A mount of a mount, which is told nothing, is asked before it looks again by itself."""
    for what in BY_PATH:
        (source / what).write_bytes(OLD)
    with (
        mounted(source, tmp_path / "inner", "--writable") as inner,
        mounted(inner.path, tmp_path / "outer", "--writable") as outer,
    ):
        assert names(outer.path) == sorted(BY_PATH)
        for what, change in BY_PATH.items():
            path = outer.path / what
            assert path.stat().st_size == len(OLD)
            put(source / what, NEW)
            soon_at(inner.path / what, NEW)
            change(path)
            status = (source / what).stat()
            assert {
                "rights": stat.S_IMODE(status.st_mode) == 0o640,
                "date": status.st_mtime == 5,
                "size": status.st_size == 5,
            }[what]


# At random, from both sides at once


_LEAST = 20
"""Changes that a side makes, however long they take."""


class Side(threading.Thread):
    """Changes files in one folder, whatever becomes of it."""

    def __init__(self, root: Path, seed: int, seconds: float) -> None:
        super().__init__()
        self._root = root
        self._random = random.Random(seed)
        self._end = time.monotonic() + seconds
        self.refused: set[str] = set()
        self.done = 0

    def run(self) -> None:
        acts = (self._write, self._write, self._append, self._put, self._remove, self._rename)
        while self.done < _LEAST or time.monotonic() < self._end:
            try:
                self._random.choice(acts)(self._path())
            except OSError as error:
                self.refused.add(errno.errorcode[error.errno or 0])
            self.done += 1

    def _path(self) -> Path:
        folder = self._random.choice(("", "a", "b", "a/c"))
        return self._root / folder / self._random.choice(("one.txt", "two.bin", "three"))

    def _data(self) -> bytes:
        return b"%d" % self._random.randrange(1 << 40) * int(2 ** self._random.uniform(0, 12))

    def _write(self, path: Path) -> None:
        path.write_bytes(self._data())

    def _append(self, path: Path) -> None:
        with path.open("ab") as file:
            file.write(self._data())

    def _put(self, path: Path) -> None:
        part = path.with_name(f"{self._root.name}.part")
        part.write_bytes(self._data())
        part.replace(path)

    def _remove(self, path: Path) -> None:
        if self._random.randrange(8):
            path.unlink()
        else:
            shutil.rmtree(path.parent if path.parent != self._root else self._root / "a")

    def _rename(self, path: Path) -> None:
        with suppress(FileExistsError):
            (self._root / self._random.choice(("a", "b", "a/c"))).mkdir()
        path.rename(self._path())


@pytest.mark.parametrize(
    "seconds", [pytest.param(3, id="short"), pytest.param(15, id="long", marks=pytest.mark.system)]
)
def test_both_sides_end_alike(source: Path, mount: MountMaker, seconds: int) -> None:
    made = mount(source, "--writable")
    sides = [Side(root, seed, seconds) for seed, root in enumerate((made.path, source, made.path))]
    for side in sides:
        side.start()
    for side in sides:
        join(side)
        print(side.done, side.refused)
    # Neither side is told more than that the other has just done something.
    usual = {"ENOENT", "EEXIST", "ENOTDIR", "EISDIR", "ENOTEMPTY", "ESTALE"}
    assert {code for side in sides for code in side.refused} <= usual

    def are_alike() -> bool:
        with suppress(OSError):  # a listing may be older than what it lists
            return contents(made.path) == contents(source)
        return False

    wait_until(are_alike, "both to be alike", SECONDS)
    assert made.log_lines("internal error") == []
    for path in list(contents(source)):
        (made.path / path).write_bytes(b"last")
        assert (source / path).read_bytes() == b"last"


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


# Inode numbers


def append_more(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def numbers(root: Path) -> dict[str, int]:
    """Inode numbers, for which there is one answer only."""
    found: dict[str, int] = {}
    for folder, _, _ in os.walk(root):
        with os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                number = entry.inode()
                assert path.stat().st_ino == number, path
                with opened(path) as fd:
                    assert os.fstat(fd).st_ino == number, path
                found[str(path.relative_to(root))] = number
    assert len({*found.values()}) == len(found)
    return found


def test_inode_numbers_stay(source: Path, mount: MountMaker, tmp_path: Path) -> None:
    (source / "folder" / "deeper").mkdir(parents=True)
    for name in (*FILES, "untouched.txt", "folder/deeper/none.cfg"):
        (source / name).write_bytes(OLD)
    shutil.copy(DATA / "ziso-py.zso", source / "folder" / "Game.zso")
    changes: tuple[Callable[[Path], object], ...] = (
        lambda path: path.write_bytes(NEW),
        lambda path: os.truncate(path, 5),
        lambda path: os.truncate(path, 500_000),
        lambda path: os.utime(path, (1, 1)),
        lambda path: path.chmod(0o600),
        append_more,
        change_owner,
    )
    with mounted(source, tmp_path / "mnt", "--writable") as made:
        before = numbers(made.path)
        assert set(before) == {
            *FILES, "folder", "untouched.txt", "folder/deeper", "folder/Game.iso",
            "folder/deeper/none.cfg",
        }  # fmt: skip
        for change in changes:
            for root in (made.path, source):  # from within, and by others
                for name in FILES:
                    with opened(made.path / name) as fd:
                        change(root / name)
                        assert os.fstat(fd).st_ino == before[name]
                        assert (made.path / name).stat().st_ino == before[name]
                assert numbers(made.path) == before
        wait_until(
            lambda: contents_of_files(made.path) == contents_of_files(source), "all", SECONDS
        )
        assert numbers(made.path) == before
        (made.path / "new.txt").write_bytes(NEW)
        (made.path / "new folder").mkdir()
        before = numbers(made.path)
    with mounted(source, tmp_path / "mnt", "--writable") as made:
        assert numbers(made.path) == before
        (made.path / "file.txt").write_bytes(b"")
        assert numbers(made.path) == before


def contents_of_files(root: Path) -> list[bytes]:
    return [(root / name).read_bytes() for name in FILES]


def test_renamed_within_the_mount_it_keeps_its_number(made: Mount) -> None:
    before = numbers(made.path)
    (made.path / "file.txt").rename(made.path / "folder" / "renamed.txt")
    before["folder/renamed.txt"] = before.pop("file.txt")
    assert numbers(made.path) == before
    time.sleep(1.5)  # the source was looked at since, and the kernel asks anew
    assert numbers(made.path) == before
    (made.path / "file.txt").write_bytes(NEW)  # its old name is another file's
    before["file.txt"] = (made.path / "file.txt").stat().st_ino
    assert numbers(made.path) == before
