"""A file of the source that is rewritten in place, and has its old date put back.

Whoever has it open gets its old bytes or an error, never new bytes; whoever opens it then gets the
new ones. What sets only the change time (chmod, link, rename, setxattr) ends no read.
"""

import errno
import mmap
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.disks import MIB, disk_mounted, exfat_mounted, make_ext4, take_down
from tests.support.mounting import Mount, mounted, opened, status_of, wait_until
from tests.support.rounds import rounds
from zsofs.system.file_watch import FileWatch, FileWatcher
from zsofs.system.mountinfo import mounted_at

BLOCK = 16 << 10
SIZE = 24 * BLOCK
OLD = writers.content(SIZE, ["text", "noise", "mixed"], 7, BLOCK)
NEW = OLD[BLOCK:] + OLD[:BLOCK]
PACK: dict[str, Callable[[bytes], bytes]] = {
    ".zso": lambda image: writers.maxcso_zso(image, block_size=2048),
    ".iso": bytes,
}
NAMES = pytest.mark.parametrize("name", [f"Game{suffix}" for suffix in PACK])
ROUNDS, LANES = rounds(200, 1000), 100


@contextmanager
def memory_mounted(kind: str, path: Path) -> Iterator[Path]:
    path.mkdir()
    subprocess.run(["mount", "-t", kind, "none", path], check=True)
    try:
        yield path
    finally:
        take_down(path)


@contextmanager
def passthrough_mounted(backing: Path, path: Path) -> Iterator[Path]:
    """*backing* through a FUSE file system."""
    path.mkdir()
    daemon = subprocess.Popen(
        [sys.executable, "-m", "tests.support.passthrough", backing, path],
        cwd=Path(__file__).parents[3],
    )
    try:
        wait_until(lambda: mounted_at(os.fsencode(path)) is not None, "the source's mount")
        yield path
    finally:
        take_down(path)
        daemon.wait(20)


@pytest.fixture(params=["tmpfs", "ext4"])
def local(request: pytest.FixtureRequest, tmp_path: Path, as_root: None) -> Iterator[Path]:
    """A source on a file system that reports all changes."""
    if request.param == "tmpfs":
        with memory_mounted("tmpfs", tmp_path / "disk") as path:
            yield path
        return
    image = make_ext4(tmp_path / "disk.img", 64 * MIB)
    with disk_mounted(image, tmp_path / "disk") as path:
        yield path


@pytest.fixture
def remote(tmp_path: Path, as_root: None) -> Iterator[tuple[Path, Path]]:
    """A source that others change unseen: where they do it, and what zsofs mounts."""
    with (
        memory_mounted("tmpfs", tmp_path / "backing") as backing,
        passthrough_mounted(backing, tmp_path / "remote") as path,
    ):
        yield backing, path


def put_old_disc(path: Path) -> None:
    path.write_bytes(PACK[path.suffix](OLD))
    os.utime(path, ns=(10**18, 10**18))


def rewrite(path: Path, image: bytes = NEW) -> None:
    """Write in place and put the date back, as ``rsync --inplace --times``."""
    date = path.stat()
    with path.open("r+b", buffering=0) as file:
        file.write(PACK[path.suffix](image))
    os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))


def reader(made: Mount, name: str = "Game.iso") -> int:
    """A descriptor whose reads all reach the daemon."""
    wait_until((made.path / name).exists, "the disc")  # which others may still be writing
    return os.open(made.path / name, os.O_RDONLY | os.O_DIRECT)


def assert_gone(fd: int) -> None:
    for offset in (BLOCK, 0, SIZE - 4096):
        with pytest.raises(OSError) as caught:
            os.pread(fd, 4096, offset)
        assert caught.value.errno == errno.EIO


def shows(disc: Path, image: bytes) -> bool:
    """Whether a program that opens *disc* now gets *image*."""
    try:
        return disc.read_bytes() == image
    except OSError:
        return False


def assert_rewritten(made: Mount, fd: int, number: int) -> None:
    """The old reader gets an error, which the log has once, and a new one the new bytes."""
    assert_gone(fd)
    wait_until(lambda: shows(made.path / "Game.iso", NEW), "the new disc")
    assert (made.path / "Game.iso").stat().st_ino != number
    assert_gone(fd)
    assert len(made.log_lines("after it was opened")) == 1, made.log_lines()


# Rewritten.


@NAMES
def test_an_open_disc_that_is_rewritten_with_its_old_date_gives_an_error(
    local: Path, mount: MountMaker, name: str
) -> None:
    put_old_disc(local / name)
    made = mount(local)
    fd = reader(made)
    try:
        number = os.fstat(fd).st_ino
        assert os.pread(fd, 4096, 0) == OLD[:4096]
        rewrite(local / name)
        assert_rewritten(made, fd, number)
    finally:
        os.close(fd)


def test_a_chmod_after_it_was_rewritten_does_not_excuse_it(local: Path, mount: MountMaker) -> None:
    path = local / "Game.zso"
    put_old_disc(path)
    made = mount(local)
    fd = reader(made)
    try:
        number = os.fstat(fd).st_ino
        assert os.pread(fd, 4096, 0) == OLD[:4096]
        rewrite(path)
        path.chmod(0o600)
        assert_rewritten(made, fd, number)
    finally:
        os.close(fd)


def test_pages_of_a_disc_that_was_rewritten_are_not_given_to_new_readers(
    local: Path, mount: MountMaker
) -> None:
    """Not even while an old reader keeps the old number alive."""
    path = local / "Game.iso"
    put_old_disc(path)
    made = mount(local)
    with opened(made.path / "Game.iso") as fd:
        assert os.pread(fd, SIZE // 2, 0) == OLD[: SIZE // 2]
        rewrite(path)
        assert not shows(made.path / "Game.iso", OLD)  # at once
        wait_until(lambda: shows(made.path / "Game.iso", NEW), "the new disc")
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert_gone(fd)
        assert shows(made.path / "Game.iso", NEW)


def test_a_disc_rewritten_through_another_hard_link(local: Path, mount: MountMaker) -> None:
    """Of which no event of the directory tells that is mounted."""
    (local / "source").mkdir()
    path = local / "source" / "Game.iso"
    put_old_disc(path)
    other = local / "Game.iso"
    made = mount(local / "source")
    fd = reader(made)
    try:
        number = os.fstat(fd).st_ino
        assert os.pread(fd, 4096, 0) == OLD[:4096]
        other.hardlink_to(path)
        assert os.pread(fd, 4096, 0) == OLD[:4096]
        rewrite(other)
        other.unlink()
        assert_gone(fd)
        wait_until(lambda: shows(made.path / "Game.iso", NEW), "the new disc")
        assert (made.path / "Game.iso").stat().st_ino != number
    finally:
        os.close(fd)


def test_a_file_that_a_program_has_open_for_writing_is_read_until_it_writes(
    local: Path, mount: MountMaker
) -> None:
    path = local / "Game.iso"
    put_old_disc(path)
    made = mount(local)
    with opened(path, os.O_RDWR) as writer:
        fd = reader(made)
        try:
            for _ in range(3):
                assert os.pread(fd, SIZE, 0) == OLD
            os.pwrite(writer, NEW, 0)
            os.utime(path, ns=(10**18, 10**18))
            assert_gone(fd)
        finally:
            os.close(fd)
        assert not shows(made.path / "Game.iso", OLD)
        wait_until(lambda: shows(made.path / "Game.iso", NEW), "the new disc")


@pytest.mark.parametrize("ends", [False, True], ids=["still mapped", "unmapped"])
def test_a_disc_rewritten_by_a_mapping(local: Path, mount: MountMaker, ends: bool) -> None:
    """inotify does not report stores to a mapping."""
    path = local / "Game.iso"
    put_old_disc(path)
    made = mount(local)
    fd = reader(made)
    try:
        assert os.pread(fd, 4096, 0) == OLD[:4096]
        date = path.stat()
        with path.open("r+b") as file:
            pages = mmap.mmap(file.fileno(), SIZE)
        pages[:] = NEW
        if ends:
            pages.close()
        os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))
        assert_gone(fd)
        pages.close()
        wait_until(lambda: shows(made.path / "Game.iso", NEW), "the new disc")
    finally:
        os.close(fd)


def test_pages_of_a_disc_that_another_machine_rewrote(
    remote: tuple[Path, Path], mount: MountMaker
) -> None:
    backing, source = remote
    path = backing / "Game.iso"
    put_old_disc(path)
    made = mount(source)
    with opened(made.path / "Game.iso") as fd:
        assert os.pread(fd, SIZE // 2, 0) == OLD[: SIZE // 2]
        rewrite(path)
        assert not shows(made.path / "Game.iso", OLD)
        wait_until(lambda: shows(made.path / "Game.iso", NEW), "the new disc")


@NAMES
def test_a_disc_of_another_machine_that_is_rewritten(
    remote: tuple[Path, Path], mount: MountMaker, name: str
) -> None:
    backing, source = remote
    put_old_disc(backing / name)
    made = mount(source)
    fd = reader(made)
    try:
        number = os.fstat(fd).st_ino
        assert os.pread(fd, 4096, 0) == OLD[:4096]
        rewrite(backing / name)
        assert_rewritten(made, fd, number)
    finally:
        os.close(fd)


def test_a_file_system_without_change_times(tmp_path: Path, as_root: None) -> None:
    """exfat-fuse reports the date as change time, so that only events tell."""
    with (
        exfat_mounted(tmp_path, tmp_path / "disk") as source,
        mounted(source, tmp_path / "mnt") as made,
    ):
        path = source / "Game.iso"
        put_old_disc(path)
        before = path.stat()
        fd = reader(made)
        try:
            number = os.fstat(fd).st_ino
            assert os.pread(fd, 4096, 0) == OLD[:4096]
            rewrite(path)
            assert path.stat().st_ctime_ns == before.st_ctime_ns
            assert not shows(made.path / "Game.iso", OLD)
            assert_rewritten(made, fd, number)
        finally:
            os.close(fd)


# Not rewritten.

TOUCHES: dict[str, Callable[[Path], object]] = {
    "chmod": lambda path: path.chmod(0o640),
    "chown": lambda path: os.chown(path, 1, 1),
    "link": lambda path: path.with_name("other").hardlink_to(path),
    "setxattr": lambda path: os.setxattr(path, "user.DOSATTRIB", b"0x20"),
    "the same date": lambda path: os.utime(path, ns=(10**18, 10**18)),
}


@NAMES
def test_what_sets_only_the_change_time_ends_no_read_and_drops_no_page(
    local: Path, mount: MountMaker, name: str
) -> None:
    path = local / name
    put_old_disc(path)
    made = mount(local)
    fd = reader(made)
    try:
        number = os.fstat(fd).st_ino
        assert shows(made.path / "Game.iso", OLD)
        for touch, act in TOUCHES.items():
            act(path)
            if touch != "link":  # of which the directory reports only the new name
                wait_until(
                    lambda: (made.path / "Game.iso").stat().st_ctime_ns == path.stat().st_ctime_ns,
                    f"{touch} to show",
                )
            assert os.pread(fd, SIZE, 0) == OLD, touch
            assert (made.path / "Game.iso").stat().st_ino == number, touch
            bytes_before = status_of(made)["bytes"]
            assert shows(made.path / "Game.iso", OLD), touch
            assert status_of(made)["bytes"] == bytes_before, f"{touch}: pages were dropped"
        path.rename(path.with_name("Renamed" + path.suffix))
        assert os.pread(fd, SIZE, 0) == OLD
        path.with_name("Renamed" + path.suffix).unlink()
        assert os.pread(fd, SIZE, 0) == OLD
        path.with_name("other").unlink()
        assert os.pread(fd, SIZE, 0) == OLD
    finally:
        os.close(fd)
    assert not made.log_lines("after it was opened")


def test_a_stream_goes_on_while_attributes_are_set_all_the_time(
    local: Path, mount: MountMaker
) -> None:
    path = local / "Game.zso"
    put_old_disc(path)
    made = mount(local)
    end, modes = threading.Event(), (0o600, 0o644)

    def touch() -> int:
        count = 0
        while not end.is_set():
            path.chmod(modes[count % 2])
            os.setxattr(path, "user.DOSATTRIB", b"%d" % count)
            count += 1
        return count

    fd = reader(made)
    try:
        with ThreadPoolExecutor(1) as pool:
            touched = pool.submit(touch)
            try:
                for number in range(300):
                    offset = number % 24 * BLOCK
                    assert os.pread(fd, BLOCK, offset) == OLD[offset : offset + BLOCK]
            finally:
                end.set()
            assert touched.result(300) > 100
        rewrite(path)
        assert_gone(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("touch", [touch for touch in TOUCHES if touch != "the same date"])
def test_what_explains_the_change_time_on_another_machine(
    remote: tuple[Path, Path], mount: MountMaker, touch: str
) -> None:
    """The new mode, owner, number of links, or attribute can be seen there, too."""
    backing, source = remote
    path = backing / "Game.zso"
    put_old_disc(path)
    made = mount(source)
    fd = reader(made)
    try:
        assert os.pread(fd, 4096, 0) == OLD[:4096]
        TOUCHES[touch](path)
        assert os.pread(fd, SIZE, 0) == OLD
        time.sleep(0.05)  # the new change time is settled
        assert os.pread(fd, SIZE, 0) == OLD
        rewrite(path)
        assert_gone(fd)
    finally:
        os.close(fd)


def test_a_rename_explains_the_change_time_of_a_source_that_is_not_watched(
    remote: tuple[Path, Path], mount: MountMaker
) -> None:
    backing, source = remote
    put_old_disc(backing / "Game.zso")
    made = mount(source)
    fd = reader(made)
    try:
        assert os.pread(fd, 4096, 0) == OLD[:4096]
        (source / "Game.zso").rename(source / "Renamed.zso")
        assert os.pread(fd, SIZE, 0) == OLD
    finally:
        os.close(fd)


# Within one tick of the clock.


def read_while_written(made: Mount, path: Path, number: int) -> str:
    """Write one image, have it read, and write the other meanwhile; what a reader got."""
    images = (OLD, NEW) if number % 2 else (NEW, OLD)
    chance = random.Random(number)
    first, second = (PACK[path.suffix](image) for image in images)
    path.write_bytes(first)

    def write() -> None:
        time.sleep(chance.choice((0.0, 0.002, 0.02, 1.0)) * chance.random())
        with path.open("r+b", buffering=0) as file:
            file.write(second)

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        disc = made.path / path.with_suffix(".iso").name
        try:
            with opened(disc, os.O_RDONLY | chance.choice((0, os.O_DIRECT))) as fd:
                got = b"".join(os.pread(fd, 4096, offset) for offset in range(0, SIZE, 4096))
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        finally:
            written.result(300)
    return "one content" if got in images else "a mix"


@pytest.mark.parametrize("suffix", PACK)
def test_two_contents_of_one_tick_are_never_mixed(
    tmp_path: Path, as_root: None, suffix: str
) -> None:
    """With small inodes the times of ext4 are whole seconds, so that all rounds are within one."""
    image = make_ext4(tmp_path / "disk.img", 256 * MIB, "-I", "128")
    with (
        disk_mounted(image, tmp_path / "disk") as source,
        mounted(source, tmp_path / "mnt") as made,
    ):
        (source / "other").touch()
        assert not (source / "other").stat().st_ctime_ns % 1_000_000_000

        def read_in(lane: int) -> list[str]:
            path = source / f"Game {lane}{suffix}"
            got = [read_while_written(made, path, number) for number in range(lane, ROUNDS, LANES)]
            last = NEW if (ROUNDS - LANES + lane) % 2 else OLD
            disc = made.path / path.with_suffix(".iso").name
            wait_until(lambda: shows(disc, last), f"the last content of {path.name}", 60)
            return got

        with ThreadPoolExecutor(LANES) as pool:
            got = [one for some in pool.map(read_in, range(LANES)) for one in some]
    print({what: got.count(what) for what in {*got}})
    assert "one content" in got
    assert {*got} <= {"one content", "EIO", "ESTALE", "ENOENT"}


def test_a_file_that_was_just_written_waits_for_the_clock(local: Path, mount: MountMaker) -> None:
    """And only for that: a date in the future is no reason to wait."""
    made = mount(local)
    for number, date in enumerate((time.time_ns(), 2 * 10**18)):
        path = local / f"Game {number}.iso"
        path.write_bytes(OLD)
        os.utime(path, ns=(date, date))
        assert (made.path / path.name).read_bytes() == OLD


# What is known of writes.


def begun(watcher: FileWatcher, fd: int) -> FileWatch:
    with watcher.adding():
        watch = FileWatch(0, watcher.add(fd), alone=True, dated=True)
        watcher.claim(watch)
    return watch


@pytest.fixture
def watcher() -> Iterator[FileWatcher]:
    with closing(FileWatcher()) as made:
        yield made


def test_each_watch_of_a_file_is_told_of_what_came_since_it_was_added(
    tmp_path: Path, watcher: FileWatcher
) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with opened(path) as fd, opened(path, os.O_WRONLY) as writer:
        first = begun(watcher, fd)
        with watcher.adding():
            late = FileWatch(0, watcher.add(fd), alone=True, dated=True)
            assert late.number == first.number
            path.chmod(0o600)
            watcher.take()
            assert first.is_clean
            os.pwrite(writer, b"X", 0)
            watcher.take()
            watcher.claim(late)
        assert first.written
        assert late.written
        again = begun(watcher, fd)
        assert again.is_clean
        watcher.release(again)
        os.pwrite(writer, b"X", 0)
        watcher.take()
        assert not again.written


def test_watches_whose_events_were_lost_see_nothing(tmp_path: Path, watcher: FileWatcher) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    paths = [tmp_path / "one", tmp_path / "other"]
    for path in paths:
        path.write_bytes(OLD)
    with opened(paths[0], os.O_RDWR) as one, opened(paths[1], os.O_RDWR) as other:
        watches = [begun(watcher, fd) for fd in (one, other)]
        third = tmp_path / "third"
        third.touch()
        with opened(third) as fd:
            watches.append(begun(watcher, fd))
            for _ in range(most // 2 + 10):
                os.pwrite(one, b"X", 0)
                os.pwrite(other, b"X", 0)
            watcher.take()
    assert not any(watch.sees_all for watch in watches)
    assert [watch.written for watch in watches] == [True, True, False]
