"""A disc that is being copied into the source is shown packed until it is whole."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.mounting import (
    ZSOFS,
    Mount,
    all_the_time,
    mounted,
    names,
    status_of,
    timed,
    wait_for,
    wait_until,
)
from tests.support.rounds import rounds
from tests.unit.watch.test_watch_in_place import being_opened
from zsofs.timings import Timings

IMAGE = writers.content(2 << 20, ["mixed", "noise"], seed=5)
PACKED = writers.maxcso_zso(IMAGE, block_size=16384)
OTHER = writers.content(1 << 20, ["text", "noise"], seed=6)
OTHER_PACKED = writers.maxcso_zso(OTHER, block_size=2048)
CHUNK = 200_000
HEAD = 2 * CHUNK
"""Header, index and the first blocks: enough for a disc, if nobody asks what the rest is."""

QUIET = Timings().quiet_file
SOON_QUIET = 0.5
QUICK = timed(quiet_file=SOON_QUIET)

WITHOUT_LEASES = ("setpriv", "--bounding-set", "-lease", "--inh-caps", "-lease")
"""Runs a program as a root that can ask if somebody writes a file only of root's own files."""

SOMEBODY = 54321
ROUNDS = 3


@contextmanager
def open_for_writing(path: Path, flags: int = os.O_CREAT) -> Iterator[int]:
    fd = os.open(path, os.O_WRONLY | flags, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def never(folder: Path, name: str) -> Iterator[None]:
    """Fail if a folder is seen to show *name* at any time within the context."""
    looks: list[bool] = []

    def look() -> None:
        looks.append(name in names(folder))
        time.sleep(0.001)  # else this, and the daemon, take a core each for as long as it lasts

    with all_the_time(look):
        yield
    assert looks
    assert not any(looks)


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def check_disc(made: Mount, image: bytes = IMAGE) -> None:
    wait_for(made.path, "Game.iso")
    wait_until((made.path / "Game.iso").exists, "the disc")
    assert (made.path / "Game.iso").read_bytes() == image
    wait_until(lambda: status_of(made)["copying"] == 0, "the count")
    status = status_of(made)
    assert (status["discs"], status["refused"]) == (1, [])


# A file that is written


def test_a_slow_copy_is_shown_packed_until_it_is_closed(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    packed = made.path / "Game.zso"
    with open_for_writing(source / "Game.zso") as fd, never(made.path, "Game.iso"):
        for begin in range(0, len(PACKED), CHUNK):
            os.write(fd, PACKED[begin : begin + CHUNK])
            end = min(begin + CHUNK, len(PACKED))
            wait_until(lambda size=end: size_of(packed) == size, "its new size")  # type: ignore[misc]
        assert packed.read_bytes() == PACKED
        wait_until(lambda: status_of(made)["copying"] == 1, "the count")
        assert status_of(made)["refused"] == []
    check_disc(made)
    assert made.log_lines("shown as a plain file") == []


def test_a_copy_becomes_the_disc_as_soon_as_it_is_closed(source: Path, mount: MountMaker) -> None:
    """Not only after the seconds without a change that have to do where nothing better tells."""
    made = mount(source)
    best = float("inf")
    for _ in range(ROUNDS):
        with open_for_writing(source / "Game.zso") as fd:
            os.write(fd, PACKED)
            wait_for(made.path, "Game.zso")
        begun = time.monotonic()
        wait_for(made.path, "Game.iso")
        best = min(best, time.monotonic() - begun)
        (source / "Game.zso").unlink()
        wait_for(made.path)
    assert best < QUIET / 2


def test_a_copy_into_room_that_was_set_aside(source: Path, mount: MountMaker) -> None:
    """It has its full size from the first, and its first blocks: only its writer tells."""
    made = mount(source, command=QUICK)
    with open_for_writing(source / "Game.zso") as fd, never(made.path, "Game.iso"):
        os.posix_fallocate(fd, 0, len(PACKED))
        wait_until(lambda: size_of(made.path / "Game.zso") == len(PACKED), "the empty file")
        os.pwrite(fd, PACKED[:HEAD], 0)
        time.sleep(SOON_QUIET + 1)
        os.pwrite(fd, PACKED[HEAD:], HEAD)
    check_disc(made)
    assert made.log_lines("shown as a plain file") == []


def test_a_program_that_keeps_a_whole_file_open(source: Path, mount: MountMaker) -> None:
    """It may write yet, however long it has not."""
    made = mount(source, command=QUICK)
    with open_for_writing(source / "Game.zso") as fd, never(made.path, "Game.iso"):
        os.write(fd, PACKED)
        time.sleep(SOON_QUIET + 1)
        assert names(made.path) == ["Game.zso"]
    check_disc(made)


def test_a_file_that_was_being_written_when_the_mount_began(
    source: Path, mount: MountMaker
) -> None:
    os.close(os.open(source / "Game.zso", os.O_WRONLY | os.O_CREAT, 0o644))
    with open_for_writing(source / "Game.zso") as fd:
        os.write(fd, PACKED)
        os.utime(source / "Game.zso", ns=(1_000_000_000, 1_000_000_000))
        made = mount(source, command=QUICK)
        with never(made.path, "Game.iso"):
            wait_for(made.path, "Game.zso")
            time.sleep(SOON_QUIET + 0.5)
            assert names(made.path) == ["Game.zso"]
    check_disc(made)


def test_a_copy_under_another_name_that_is_renamed(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    with never(made.path, "Game.iso"):
        (source / "Game.zso.part").write_bytes(PACKED)
        wait_for(made.path, "Game.zso.part")
    (source / "Game.zso.part").rename(source / "Game.zso")
    check_disc(made)


def test_a_copy_that_is_renamed_before_it_is_closed(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    with (
        open_for_writing(source / "Game.zso.part") as fd,
        never(made.path, "Game.iso"),
    ):
        os.write(fd, PACKED[:HEAD])
        wait_for(made.path, "Game.zso.part")
        (source / "Game.zso.part").rename(source / "Game.zso")
        wait_for(made.path, "Game.zso")
        os.write(fd, PACKED[HEAD:])
        time.sleep(0.5)
        assert names(made.path) == ["Game.zso"]
    check_disc(made)


def test_a_copy_over_a_disc_that_is_shown(source: Path, mount: MountMaker) -> None:
    """Meanwhile it is a packed file; nobody reads a mix of the two discs."""
    (source / "Game.zso").write_bytes(OTHER_PACKED)
    made = mount(source)
    check_disc(made, OTHER)
    with open_for_writing(source / "Game.zso", os.O_TRUNC) as fd:
        os.write(fd, PACKED[:HEAD])
        wait_for(made.path, "Game.zso")
        with never(made.path, "Game.iso"):
            os.write(fd, PACKED[HEAD:])
            wait_until(lambda: size_of(made.path / "Game.zso") == len(PACKED), "all of it")
    check_disc(made)


def test_an_interrupted_copy_stays_packed_and_says_why(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    with open_for_writing(source / "Game.zso") as fd:
        os.write(fd, PACKED[:HEAD])
        wait_until(lambda: names(made.path) and status_of(made)["copying"] == 1, "the count")
        assert status_of(made)["refused"] == []
        assert made.log_lines("shown as a plain file") == []
    wait_until(lambda: names(made.path) and status_of(made)["refused"], "the reason")
    status = status_of(made)
    assert (status["discs"], status["copying"]) == (0, 0)
    (refused,) = status["refused"]
    assert refused["path"] == "Game.zso"
    assert "truncated" in refused["reason"]
    wait_until(lambda: made.log_lines("shown as a plain file, not as a disc"), "the log")
    assert names(made.path) == ["Game.zso"]
    assert (made.path / "Game.zso").read_bytes() == PACKED[:HEAD]
    with open_for_writing(source / "Game.zso", os.O_APPEND) as fd:  # it is gone on with
        os.write(fd, PACKED[HEAD:])
    check_disc(made)


def test_two_programs_write_one_after_the_other(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    with open_for_writing(source / "Game.zso") as first:
        os.write(first, PACKED[:HEAD])
        with open_for_writing(source / "Game.zso") as second, never(made.path, "Game.iso"):
            os.pwrite(second, PACKED[HEAD:], HEAD)
            wait_until(lambda: size_of(made.path / "Game.zso") == len(PACKED), "all of it")
        with never(made.path, "Game.iso"):
            time.sleep(0.5)
            assert names(made.path) == ["Game.zso"]
    check_disc(made)


# Where nobody can be asked who writes


@pytest.fixture
def somebodys(source: Path) -> Path:
    """The source directory, whose files belong to another user than the daemon's."""
    os.chown(source, SOMEBODY, SOMEBODY)
    return source


def make_somebodys(path: Path) -> None:
    path.touch()
    os.chown(path, SOMEBODY, SOMEBODY)


@pytest.mark.usefixtures("as_root")
def test_a_closed_copy_is_whole_also_for_who_may_not_ask(
    somebodys: Path, mount: MountMaker
) -> None:
    """The kernel tells of its closing, to everyone."""
    made = mount(somebodys, command=(*WITHOUT_LEASES, *ZSOFS))
    best = float("inf")
    for _ in range(ROUNDS):
        make_somebodys(somebodys / "Game.zso")
        with open_for_writing(somebodys / "Game.zso") as fd, never(made.path, "Game.iso"):
            os.write(fd, PACKED[:HEAD])
            wait_for(made.path, "Game.zso")
            os.write(fd, PACKED[HEAD:])
            wait_until(lambda: size_of(made.path / "Game.zso") == len(PACKED), "all of it")
        begun = time.monotonic()
        wait_for(made.path, "Game.iso")
        best = min(best, time.monotonic() - begun)
        check_disc(made)
        (somebodys / "Game.zso").unlink()
        wait_for(made.path)
    assert best < QUIET - 0.5


@pytest.mark.usefixtures("as_root")
def test_who_may_not_ask_waits_until_a_file_is_quiet(somebodys: Path, mount: MountMaker) -> None:
    """What is then found to be cut is looked at again when it grows."""
    made = mount(somebodys, command=(*WITHOUT_LEASES, *ZSOFS))
    assert names(made.path) == []
    make_somebodys(somebodys / "Game.zso")
    quiet_from = 0.0
    with open_for_writing(somebodys / "Game.zso") as fd:
        with never(made.path, "Game.iso"):
            for begin in range(0, len(PACKED), CHUNK):
                quiet_from = time.monotonic()
                os.write(fd, PACKED[begin : begin + CHUNK])
                time.sleep(0.3)
            assert status_of(made)["refused"] == []
        wait_for(made.path, "Game.iso")
        assert time.monotonic() > quiet_from + QUIET - 1
    check_disc(made)


@pytest.mark.usefixtures("as_root")
def test_a_quiet_half_of_a_file_is_refused_until_the_rest_comes(
    somebodys: Path, mount: MountMaker
) -> None:
    made = mount(somebodys, command=(*WITHOUT_LEASES, *QUICK))
    make_somebodys(somebodys / "Game.zso")
    with open_for_writing(somebodys / "Game.zso") as fd:
        with never(made.path, "Game.iso"):
            os.write(fd, PACKED[:HEAD])
            wait_until(lambda: status_of(made)["refused"], "the reason")
            assert names(made.path) == ["Game.zso"]
        os.write(fd, PACKED[HEAD:])
    check_disc(made)


@pytest.mark.usefixtures("as_root")
def test_files_that_have_long_been_there_are_discs_at_once_for_who_may_not_ask(
    somebodys: Path, mount: MountMaker
) -> None:
    make_somebodys(somebodys / "Game.zso")
    (somebodys / "Game.zso").write_bytes(PACKED)
    time.sleep(SOON_QUIET + 0.2)
    made = mount(somebodys, command=(*WITHOUT_LEASES, *QUICK))
    assert names(made.path) == ["Game.iso"]


def test_a_copy_behind_another_file_system_is_shown_packed_until_it_is_quiet(
    tmp_path: Path, source: Path
) -> None:
    """FUSE lets everyone have a lease, whoever writes behind it."""
    with (
        mounted(source, tmp_path / "inner", "--show-raw") as inner,
        mounted(inner.path, tmp_path / "outer") as made,
    ):
        assert names(made.path) == []
        with open_for_writing(source / "Game.zso") as fd, never(made.path, "Game.iso"):
            os.write(fd, PACKED[:HEAD])
            os.posix_fallocate(fd, 0, len(PACKED))
            wait_until(lambda: names(inner.path) == ["Game.zso"], "the inner mount")
            subprocess.run([*ZSOFS, "reload", str(made.path)], check=True)
            assert names(made.path) == ["Game.zso"]
            assert status_of(made)["copying"] == 1
            os.pwrite(fd, PACKED[HEAD:], HEAD)
        # The inner mount now shows the disc beside the packed file.
        wait_for(inner.path, "Game.iso", "Game.zso")
        subprocess.run([*ZSOFS, "reload", str(made.path)], check=True)
        wait_for(made.path, "Game.iso", "Game.zso.iso", seconds=60)
        for name in ("Game.iso", "Game.zso.iso"):
            assert (made.path / name).read_bytes() == IMAGE


# Asking who writes disturbs nobody

ASK_AND_OPEN = """
import fcntl, os, subprocess, sys, time
from zsofs.system import file_lease

really, path, writers = fcntl.fcntl, sys.argv[1], []

def call(fd, command, argument=0):
    answer = really(fd, command, argument)
    if (command, argument) == (fcntl.F_SETLEASE, fcntl.F_RDLCK):
        code = "import os, sys; os.close(os.open(sys.argv[1], os.O_WRONLY))"
        writers.append(subprocess.Popen([sys.executable, "-c", code, path]))
        while really(fd, fcntl.F_GETLEASE) != fcntl.F_UNLCK:  # until the kernel wants it back
            time.sleep(0.01)
    return answer

fcntl.fcntl = call
fd = os.open(path, os.O_RDONLY)
assert file_lease.has_writer(fd) is False
assert writers[0].wait(20) == 0
print("went on")
"""


def test_a_writer_that_opens_while_it_is_asked_for(tmp_path: Path) -> None:
    """It waits for the answer, and the signal that tells of it ends nobody."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    done = subprocess.run(
        [sys.executable, "-c", ASK_AND_OPEN, path],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr


WRITE_OFTEN = """
import os, sys, time

longest = 0
for number in range(int(sys.argv[2])):
    begun = time.monotonic()
    fd = os.open(sys.argv[1], os.O_WRONLY)
    longest = max(longest, time.monotonic() - begun)
    os.pwrite(fd, b"ZISO", 0)
    os.close(fd)
print(longest)
"""


def test_writers_that_open_and_close_all_the_time(source: Path, mount: MountMaker) -> None:
    for number in range(4):
        (source / f"{number}.zso").write_bytes(PACKED)
    made = mount(source)
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                WRITE_OFTEN,
                source / f"{number % 4}.zso",
                str(rounds(10_000, 60_000)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    looks = 0
    while any(writer.poll() is None for writer in running):
        looks += len(names(made.path)) == 4
    for writer in running:
        assert writer.stdout is not None
        longest = float(writer.stdout.read())
        writer.stdout.close()
        assert writer.wait(60) == 0
        assert longest < 20, "the kernel takes a lease away after 45 seconds"
    assert looks
    assert made.is_alive()
    wait_for(made.path, *(f"{number}.iso" for number in range(4)))
    for number in range(4):
        assert (made.path / f"{number}.iso").read_bytes() == IMAGE


def test_a_file_that_counts_as_open_at_its_close(tmp_path: Path, source: Path) -> None:
    """Linux reports a close first. No other event follows, and the disc appears all the same."""
    command = timed(quiet_file=600.0, gather_changes=600.0)  # no scan for other reasons
    with mounted(source, tmp_path / "mnt", command=command) as made:
        (source / "Game.part").write_bytes(PACKED)
        assert names(made.path) == ["Game.part"]
        with being_opened(source / "Game.part"):
            (source / "Game.part").rename(source / "Game.zso")
            wait_until(lambda: names(made.path) == ["Game.zso"], "the file")
        wait_until(lambda: names(made.path) == ["Game.iso"], "the disc")
