"""Boot traces of real mounts: a second start, a library that is scanned, a disk that hangs."""

import errno
import functools
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import writers
from tests.support.hanging import hanging_disk
from tests.support.mounting import Mount, mounted, opened, status_of, timed, wait_until
from tests.support.packed import zsofs
from zsofs.system.hard_disk import is_on_hard_disk

_SIZE = 32 << 20
_READ = 64 << 10
_PLACES = [place * (256 << 10) for place in random.Random(2).sample(range(_SIZE >> 18), 100)]


@functools.cache
def _image() -> bytes:
    return writers.half_noise(_SIZE)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def packed(module_path: Path) -> Path:
    (module_path / "Game.iso").write_bytes(_image())
    zsofs("pack", "--any", "--for", "opl", module_path / "Game.iso")
    (module_path / "Game.iso").unlink()
    return module_path / "Game.zso"


@pytest.fixture
def own(tmp_path: Path, packed: Path) -> Path:
    """A directory with the disc, whose files the kernel has in memory."""
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(packed, folder)
    return folder


@pytest.fixture
def source(own: Path, tmp_path: Path) -> Iterator[Path]:
    """The same on a disk of which nobody can say what is in memory: it may have to be read."""
    with hanging_disk(own, tmp_path / "slow") as disk:
        yield disk.path


def play(
    disc: Path, places: list[int], size: int = _READ, *, begin: Callable[[], None] | None = None
) -> None:
    """Read as a game does: each place once, *size* bytes at a time, nothing of it cached, with
    pauses. What is read comes after *begin*, with the disc open."""
    with opened(disc) as fd:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        if begin is not None:
            begin()
        for place in places:
            for offset in range(place, place + _READ, size):
                read = min(size, place + _READ - offset)
                assert os.pread(fd, read, offset) == _image()[offset : offset + read]
            time.sleep(0.002)


def follow(mount: Mount, starts: int = 1) -> None:
    """Wait until so many starts are compared with their boot trace, which a busy machine delays."""
    wait_until(lambda: preloaded(mount)["followed_starts"] == starts, "the trace")


@contextmanager
def slow_mount(source: Path, mnt: Path, *options: str, **seconds: float) -> Iterator[Mount]:
    """A mount of the disc on a disk of which nobody can say what is in memory."""
    with mounted(source, mnt, *options, command=timed(quiet_file=0.2, **seconds)) as mount:
        wait_until((mnt / "Game.iso").exists, "the file to be complete")
        yield mount


def preloaded(mount: Mount) -> dict[str, Any]:
    found: dict[str, Any] = status_of(mount)["preload"]
    return found


@pytest.mark.parametrize("size", [2 << 10, 8 << 10, 32 << 10, 64 << 10])
def test_the_second_start_is_read_ahead_by_a_new_process(
    source: Path, tmp_path: Path, size: int
) -> None:
    """OPL reads 8 KiB at a time, PPSSPP as many sectors as it needs, PCSX2 large parts."""
    with slow_mount(source, tmp_path / "mnt") as mount:
        play(mount.path / "Game.iso", _PLACES, size)
        wait_until(lambda: preloaded(mount)["stored_starts"] == 1, "the start to be stored")
        assert preloaded(mount)["fetched_bytes"] == 0
    with slow_mount(source, tmp_path / "mnt") as mount:
        play(mount.path / "Game.iso", _PLACES, size, begin=lambda: follow(mount))
        wait_until(lambda: preloaded(mount)["stored_starts"] == 1, "the start to be stored")
        found = preloaded(mount)
        assert found["followed_starts"] == 1
        assert found["used_bytes"] + found["wasted_bytes"] == found["fetched_bytes"] > 0
        assert found["wasted_bytes"] <= 0.2 * found["fetched_bytes"]
        assert "1 start followed" in zsofs("status", mount.path).stdout


def test_a_start_from_memory_is_not_followed(own: Path, tmp_path: Path) -> None:
    for start in range(2):
        with mounted(own, tmp_path / "mnt") as mount:
            play(mount.path / "Game.iso", _PLACES)
            wait_until(lambda: preloaded(mount)["stored_starts"] == 1, "the start to be stored")
            assert preloaded(mount)["followed_starts"] == 0, start
            assert preloaded(mount)["requests"] == 0


def test_without_it_nothing_is_recorded(source: Path, tmp_path: Path) -> None:
    for options in (["--no-preload"], []):
        with slow_mount(source, tmp_path / "mnt", *options) as mount:
            play(mount.path / "Game.iso", _PLACES)
            assert preloaded(mount)["enabled"] == (not options)
            assert preloaded(mount)["followed_starts"] == 0


def test_a_handle_that_stays_open_is_started_again(source: Path, tmp_path: Path) -> None:
    """As that of a share is while the console is off."""
    mnt, quick = tmp_path / "mnt", {"trace_check": 0.05, "trace_length": 0.5, "disc_idle": 0.5}
    with slow_mount(source, mnt, **quick) as mount, opened(mnt / "Game.iso") as fd:
        for start in range(2):
            for place in _PLACES:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                assert os.pread(fd, _READ, place) == _image()[place : place + _READ]
            wait_until(
                lambda: preloaded(mount)["followed_starts"] == start + 1,  # noqa: B023
                "the disc to be idle",
            )
        assert preloaded(mount)["fetched_bytes"] > 0


def test_a_scan_of_a_library_fetches_little(own: Path, source: Path, tmp_path: Path) -> None:
    for number in range(1, 12):
        (own / f"Game {number}.zso").hardlink_to(own / "Game.zso")
    with slow_mount(source, tmp_path / "mnt") as mount:
        wait_until(lambda: len(list(mount.path.glob("*.iso"))) == 12, "all to be complete")
        discs = sorted(mount.path.iterdir())
        for disc in discs:
            play(disc, _PLACES[:40])
        wait_until(lambda: preloaded(mount)["stored_starts"] == len(discs), "the traces")
    with slow_mount(source, tmp_path / "mnt", trace_scan=3600.0) as mount:
        for number, disc in enumerate(discs, 1):
            play(disc, _PLACES[:5], begin=partial(follow, mount, number))
        found = preloaded(mount)
        assert found["followed_starts"] == len(discs)
        assert found["fetched_bytes"] <= 1 << 20, "of the first disc; of the others nothing"


def test_a_disk_that_hangs_while_it_is_read_ahead(own: Path, tmp_path: Path) -> None:
    """Its reader waits, as it would anyway; others do not, and the mount can be ended."""
    both = tmp_path / "both"
    both.mkdir()
    shutil.copy(own / "Game.zso", both / "Other.zso")
    game, other = tmp_path / "mnt" / "disk" / "Game.iso", tmp_path / "mnt" / "Other.iso"
    with hanging_disk(own, both / "disk") as disk:
        with mounted(both, tmp_path / "mnt") as mount:
            wait_until(game.exists, "the file to be complete")
            play(game, _PLACES)
            wait_until(lambda: preloaded(mount)["stored_starts"] == 1, "the trace")
        with mounted(both, tmp_path / "mnt") as mount, ExitStack() as stack:
            wait_until(game.exists, "the file to be complete")
            fd = stack.enter_context(opened(game))
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            follow(mount)
            for place in _PLACES[:5]:
                os.pread(fd, _READ, place)
            with opened(both / "disk" / "Game.zso") as stored:
                os.posix_fadvise(stored, 0, 0, os.POSIX_FADV_DONTNEED)
            disk.hang("read")
            found: list[bytes] = []

            def read_on() -> None:
                found.extend(os.pread(fd, _READ, place) for place in _PLACES[5:])

            reader = threading.Thread(target=read_on)
            reader.start()
            play(other, _PLACES[:20])
            assert not found
            disk.hang()
            reader.join(30)
            assert found == [_image()[place : place + _READ] for place in _PLACES[5:]]
            disk.hang("read")


def test_damaged_blocks_are_errors_as_without_it(own: Path, source: Path, tmp_path: Path) -> None:
    with slow_mount(source, tmp_path / "mnt") as mount:
        play(mount.path / "Game.iso", _PLACES)
    status = (own / "Game.zso").stat()
    with (own / "Game.zso").open("r+b") as file:
        for place in _PLACES[10:100:9]:
            file.seek(24 + 4 * (place // 2048))
            file.write(b"\xff\xff\xff\x7f")
    os.utime(own / "Game.zso", ns=(status.st_atime_ns, status.st_mtime_ns))
    with opened(source / "Game.zso") as stored:  # of the disk, which the kernel has in memory
        os.posix_fadvise(stored, 0, 0, os.POSIX_FADV_DONTNEED)
    with slow_mount(source, tmp_path / "mnt") as mount, opened(mount.path / "Game.iso") as fd:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        follow(mount)
        for number, place in enumerate(_PLACES):
            sound = place
            if number in range(10, 100, 9):
                with pytest.raises(OSError) as raised:
                    os.pread(fd, 2048, place)
                assert raised.value.errno == errno.EIO
                sound += 4096
            assert os.pread(fd, 2048, sound) == _image()[sound : sound + 2048]
        assert preloaded(mount)["followed_starts"] == 1


def _read_from_disk(mount: Mount) -> int:
    """Bytes that the daemon had read from disks."""
    lines = Path(f"/proc/{mount.daemon.pid}/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("read_bytes:")))


@pytest.mark.parametrize("when", ["auto", "never"])
def test_a_disk_is_kept_awake_by_reads_that_reach_it(own: Path, tmp_path: Path, when: str) -> None:
    with opened(own / "Game.zso") as stored:
        if not is_on_hard_disk(stored):
            pytest.skip("the files of tests are not on a hard disk")
    command = timed(keep_awake=0.05)
    options = ["--keep-awake", when]
    with mounted(own, tmp_path / "mnt", *options, command=command) as mount:
        time.sleep(0.2)
        with opened(mount.path / "Game.iso") as fd:
            os.pread(fd, _READ, _PLACES[0])
            before = _read_from_disk(mount)
            if when == "auto":
                wait_until(lambda: _read_from_disk(mount) > before + 2 * 4096, "reads of the disk")
            else:
                time.sleep(0.5)
                assert _read_from_disk(mount) == before
