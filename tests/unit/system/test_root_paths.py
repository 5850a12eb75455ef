"""Root acts on the mount that it made, whoever moves the directories above the mount point."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.mount.lifecycle.test_setuid import NOBODY, library, processes_of, run
from tests.support.ends import spawned
from tests.support.mounting import unmount, wait_until
from tests.support.rounds import rounds
from zsofs.system import fuse_mount
from zsofs.system.mountinfo import Mounted, mounted_at
from zsofs.system.nofollow import make_directory, remove_directory

__all__ = ["library"]

pytestmark = pytest.mark.usefixtures("as_root")

ROUNDS = rounds(8, 25)

AS_NOBODY = ("--setuid", "nobody", "--allow-other")


@pytest.fixture(autouse=True)
def _counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other user cannot write where coverage is counted."""
    for name in [name for name in os.environ if name.startswith("COVERAGE")]:
        monkeypatch.delenv(name)


@contextmanager
def tmpfs(path: Path) -> Iterator[Path]:
    """A file system in memory, mounted at *path*."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "victim", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def home(library: Path, tmp_path: Path) -> Iterator[Path]:
    """A directory of another user; what is mounted below it is unmounted at the end."""
    path = tmp_path / "home"
    (path / "a").mkdir(parents=True)
    for one in (path, path / "a"):
        os.chown(one, NOBODY, NOBODY)
    yield path
    for name in ("a", "b"):
        with suppress(OSError):
            unmount(path / name / "iso")


def mount_in_background(library: Path, point: Path, words: tuple[str, ...]) -> int:
    """Mount; returns the process that unmounts at the end."""
    done = run("mount", *words, "--log-file", "/dev/null", library, point)
    assert done.returncode == 0, done.stderr
    return processes_of(point)["keeper"]


def as_nobody(*words: object) -> None:
    subprocess.run(list(map(str, words)), user=NOBODY, group=NOBODY, check=True)


@pytest.mark.parametrize("words", [AS_NOBODY, ()])
def test_a_directory_above_is_swapped_before_the_end(
    library: Path, home: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Also where root serves itself, at a mount point in the directory of another user."""
    (home / "a/iso").mkdir()
    with tmpfs(tmp_path / "victim/iso") as victim:
        ends = mount_in_background(library, home / "a/iso", words)
        as_nobody("mv", home / "a", home / "b")
        as_nobody("ln", "-s", tmp_path / "victim", home / "a")
        os.kill(ends, signal.SIGTERM)
        wait_until(lambda: not processes_of(home / "a/iso"), "the end", 60)
        assert mounted_at(os.fsencode(victim)) is not None
        assert mounted_at(os.fsencode(home / "b/iso")) is None
        assert os.listdir(home / "b/iso") == []


@pytest.mark.parametrize("words", [AS_NOBODY, ()])
def test_a_directory_that_root_did_not_make_stays(
    library: Path, home: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """The mount point that root made is moved; an empty directory has its path by the end."""
    (tmp_path / "victim/iso").mkdir(parents=True)
    ends = mount_in_background(library, home / "a/iso", words)
    as_nobody("mv", home / "a", home / "b")
    as_nobody("ln", "-s", tmp_path / "victim", home / "a")
    os.kill(ends, signal.SIGTERM)
    wait_until(lambda: not processes_of(home / "a/iso"), "the end", 60)
    assert (tmp_path / "victim/iso").is_dir()
    assert mounted_at(os.fsencode(home / "b/iso")) is None


# Puts a symlink in the place of the directory `a` for a moment, again and again.
SWAP = """
import os, random, sys, time
os.chdir(sys.argv[1])
while True:
    time.sleep(random.uniform(0, 0.01))
    os.rename("a", "b")
    os.symlink(sys.argv[2], "a")
    os.unlink("a")
    os.rename("b", "a")
"""


def test_a_directory_above_is_swapped_all_the_time(
    library: Path, home: Path, tmp_path: Path
) -> None:
    """In many rounds of mounting and unmounting; each may fail, and must not reach the victim."""
    (home / "a/iso").mkdir()
    lists = ("mount", *AS_NOBODY, "--log-file", "/dev/null", library, home / "a/iso")
    made = 0
    with tmpfs(tmp_path / "victim/iso") as victim:
        before = mounted_at(os.fsencode(victim))
        words = ["python3", "-c", SWAP, str(home), str(tmp_path / "victim")]
        for number in range(ROUNDS):
            with spawned(words, user=NOBODY, group=NOBODY) as swapping:
                try:
                    done = run(*lists)
                    assert "Traceback" not in done.stderr
                    made += done.returncode == 0
                    assert mounted_at(os.fsencode(victim)) == before
                    if number % 2:
                        run("umount", home / "a/iso")
                    for process in processes_of(home / "a/iso").values():
                        with suppress(ProcessLookupError):
                            os.kill(process, signal.SIGTERM)
                    wait_until(lambda: not processes_of(home / "a/iso"), "the end", 60)
                finally:
                    swapping.kill()
            assert mounted_at(os.fsencode(victim)) == before
            tidy(home)
    assert made, "no round has mounted anything"


def tidy(home: Path) -> None:
    """Have `a` be the directory again, with nothing mounted below it."""
    if (home / "b").exists():
        (home / "a").unlink(missing_ok=True)
        (home / "b").rename(home / "a")
    unmount(home / "a/iso")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[int, Mounted, Path, Path]]:
    """Two mounts that nobody serves: the first was moved, the second has its path now.

    The descriptor and the line of the first, its path, and that of the second.
    """
    old, moved, other = tmp_path / "d/iso", tmp_path / "moved/iso", tmp_path / "other"
    old.mkdir(parents=True)
    (other / "iso").mkdir(parents=True)
    first, mounted = mount_unserved(old)
    (tmp_path / "d").rename(tmp_path / "moved")
    (tmp_path / "d").symlink_to(other)
    second, _ = mount_unserved(other / "iso")
    try:
        yield first, mounted, moved, other / "iso"
    finally:
        os.close(first)
        os.close(second)
        unmount(moved)
        unmount(other / "iso")


def mount_unserved(path: Path) -> tuple[int, Mounted]:
    place = os.open(path, os.O_PATH)
    try:
        return fuse_mount.mount(
            b"source", place, user=0, group=0, writable=False, allow_other=False
        )
    finally:
        os.close(place)


@pytest.mark.parametrize("name", ["detach", "unmount"])
def test_a_mount_is_taken_down_where_it_is(
    pair: tuple[int, Mounted, Path, Path], name: str
) -> None:
    """And without a word to its server, which never answers here."""
    _, mounted, moved, other = pair
    begin = time.monotonic()
    getattr(fuse_mount, name)(mounted)
    assert time.monotonic() - begin < 30
    assert mounted_at(os.fsencode(moved)) is None
    assert mounted_at(os.fsencode(other)) is not None
    with pytest.raises(OSError):
        getattr(fuse_mount, name)(mounted)
    assert mounted_at(os.fsencode(other)) is not None


def test_the_connection_of_a_mount_that_was_moved(pair: tuple[int, Mounted, Path, Path]) -> None:
    first, mounted, _, other = pair
    there = mounted_at(os.fsencode(other))
    assert there is not None
    limits = {
        device: Path(f"/sys/class/bdi/{device}/read_ahead_kb")
        for device in (mounted.device, there.device)
    }
    before = limits[there.device].read_text()
    fuse_mount.raise_limits(mounted, 256 << 10)
    assert limits[mounted.device].read_text() == "256\n"
    assert limits[there.device].read_text() == before
    assert fuse_mount.is_connected(first)
    fuse_mount.detach(mounted)
    wait_until(lambda: not fuse_mount.is_connected(first), "the end of the connection")


def test_a_descriptor_of_the_mount_keeps_it_in_use(tmp_path: Path) -> None:
    """So none is kept; and nobody asks a server that hangs, as umount(8) does."""
    (tmp_path / "iso").mkdir()
    fd, mounted = mount_unserved(tmp_path / "iso")
    try:
        with fuse_mount.opened(mounted), pytest.raises(OSError, match="busy"):
            fuse_mount.unmount(mounted)
        fuse_mount.unmount(mounted)
        assert mounted_at(os.fsencode(tmp_path / "iso")) is None
    finally:
        os.close(fd)
        unmount(tmp_path / "iso")


@pytest.mark.parametrize("words", [AS_NOBODY, ()])
def test_the_administrator_unmounts_with_another_program(
    library: Path, home: Path, words: tuple[str, ...]
) -> None:
    """Neither process holds the mount in use."""
    (home / "a/iso").mkdir()
    mount_in_background(library, home / "a/iso", words)
    assert os.listdir(home / "a/iso") == ["Game.iso"]
    subprocess.run(["umount", home / "a/iso"], check=True)
    wait_until(lambda: not processes_of(home / "a/iso"), "the end", 60)


def test_a_mount_that_is_hidden_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "d/iso").mkdir(parents=True)
    fd, mounted = mount_unserved(tmp_path / "d/iso")
    try:
        with tmpfs(tmp_path / "d"), tmpfs(tmp_path / "d/iso") as hiding:
            with pytest.raises(OSError, match="another mount covers it"):
                fuse_mount.detach(mounted)
            assert mounted_at(os.fsencode(hiding)) is not None
    finally:
        os.close(fd)
        unmount(tmp_path / "d/iso")


def test_root_unmounts_nothing_by_a_symlink_of_another_user(library: Path, home: Path) -> None:
    point = home.parent / "mnt"
    try:
        assert run("mount", "--log-file", "/dev/null", library, point).returncode == 0
        as_nobody("ln", "-s", point, home / "a/iso")
        for words in ((), ("--lazy",)):
            done = run("umount", *words, home / "a/iso")
            assert done.returncode == 4
            assert "which is not owned by root" in done.stderr
            assert os.listdir(point) == ["Game.iso"]
        assert run("umount", point).returncode == 0
    finally:
        unmount(point)


def test_making_and_removing_directories(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "other/iso").mkdir(parents=True)
    path = bytes(tmp_path / "d/iso")
    made = make_directory(path)
    with pytest.raises(FileExistsError):
        make_directory(path)
    (tmp_path / "d").rename(tmp_path / "moved")
    (tmp_path / "d").symlink_to(tmp_path / "other")
    for act in (lambda: remove_directory(path, made), lambda: make_directory(path + b"2")):
        with pytest.raises(NotADirectoryError):
            act()
    (tmp_path / "d").unlink()
    (tmp_path / "other").rename(tmp_path / "d")
    with pytest.raises(OSError, match="Stale"):
        remove_directory(path, made)
    assert os.listdir(tmp_path / "d") == ["iso"]
    remove_directory(path)
    remove_directory(bytes(tmp_path / "moved/iso"), made)
    assert os.listdir(tmp_path / "moved") == os.listdir(tmp_path / "d") == []
