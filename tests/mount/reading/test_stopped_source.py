"""A source or a log that stops answering one kind of call: other requests are answered."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support.disks import MIB, disk_mounted, make_ext4
from tests.support.ends import join
from tests.support.mounting import (
    DATA,
    ZSOFS,
    Mount,
    drop_pages,
    in_time,
    mounted,
    names,
    opened,
    status_of,
    unmount,
    wait_until,
)
from tests.support.stopping_source import CALLS, Stop
from zsofs.console.log_thread import ThreadedHandler
from zsofs.system.fusermount import Detacher
from zsofs.system.mountinfo import mounted_at

DISC, IMAGE = DATA / "ziso-py.zso", (DATA / "ps2.iso").read_bytes()


@dataclass(frozen=True)
class Disk:
    """The disk ``slow`` inside the source directory, with a disc, a picture and a link."""

    path: Path
    stop: Stop


@pytest.fixture
def slow(source: Path, tmp_path: Path) -> Iterator[Disk]:
    """A source of two discs: one on a disk that is all right, one on the disk in ``slow``."""
    (source / "good.zso").write_bytes(DISC.read_bytes())
    content, point = tmp_path / "content", source / "slow"
    content.mkdir()
    point.mkdir()
    (content / "bad.zso").write_bytes(DISC.read_bytes())
    (content / "cover.jpg").write_bytes(b"picture")
    (content / "link").symlink_to("cover.jpg")
    stop = Stop(content)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.stopping_source", content, point]
    )
    try:
        wait_until(lambda: server.poll() is not None or os.path.ismount(point), "the slow disk")
        yield Disk(point, stop)
    finally:
        stop.end()
        unmount(point)
        server.wait(20)


def use(path: Path) -> "subprocess.Popen[bytes]":
    """A program that lists the slow folder, and reads and closes all that is in it."""
    code = (
        "import os, sys\n"
        "folder = sys.argv[1]\n"
        "for name in os.listdir(folder):\n"
        "    path = os.path.join(folder, name)\n"
        "    os.lstat(path)\n"
        "    with open(path, 'rb') as file:\n"
        "        os.fstat(file.fileno())\n"
        "        file.read()\n"
    )
    return subprocess.Popen([sys.executable, "-c", code, path], stderr=subprocess.DEVNULL)


def takes_part(mount: Mount) -> None:
    """What has nothing to do with the slow disk, on a thread of the test that must not hang."""
    assert "good.iso" in names(mount.path)
    drop_pages(mount.path / "good.iso")
    assert (mount.path / "good.iso").read_bytes() == IMAGE
    status_of(mount)
    assert os.statvfs(mount.path).f_namemax


@pytest.mark.parametrize("call", CALLS)
def test_one_kind_of_call_that_stops_stops_nothing_else(
    slow: Disk, mount: MountMaker, call: str
) -> None:
    made = mount(slow.path.parent)
    made.may_end = True
    takes_part(made)
    slow.stop.begin(call)
    user = use(made.path / "slow")
    try:
        wait_until(slow.stop.has_come, f"a call of {call}")
        in_time(lambda: takes_part(made))
        in_time(lambda: takes_part(made))
        made.daemon.send_signal(signal.SIGTERM)
        wait_until(lambda: mounted_at(os.fsencode(made.path)) is None, "the end of the mount")
    finally:
        slow.stop.end()
        user.kill()
        user.wait(20)
    assert made.daemon.wait(30) == 0


def test_a_mount_is_detached_while_no_file_of_a_disk_can_be_closed(
    slow: Disk, mount: MountMaker
) -> None:
    """As a daemon does it that is not root's, with a file of the disk open."""
    detacher = Detacher()
    made = mount(slow.path.parent)
    made.may_end = True
    wait_until(lambda: not status_of(made)["counting"], "the count, which closes files as well")
    fd = os.open(slow.path / "cover.jpg", os.O_RDONLY)
    slow.stop.begin("flush")
    detaching = threading.Thread(target=detacher.detach, args=(os.fsencode(made.path),))
    try:
        detaching.start()
        detaching.join(20)
        assert mounted_at(os.fsencode(made.path)) is None
        assert not slow.stop.has_come()
    finally:
        slow.stop.end()
        join(detaching)
        os.close(fd)


def test_a_disk_that_hangs_already_when_the_mount_begins(slow: Disk, mount: MountMaker) -> None:
    """The first listing of the directory that it is mounted in does not wait for it."""
    slow.stop.begin("getattr")
    made = mount(slow.path.parent)
    made.may_end = True
    try:
        in_time(lambda: takes_part(made))
        in_time(lambda: takes_part(made))
        assert made.log_lines("slow: cannot be examined: the program that serves")
    finally:
        slow.stop.end()
    wait_until(lambda: "slow" in names(made.path), "the disk that answers again")
    wait_until(lambda: "bad.iso" in names(made.path / "slow"), "its discs")


@pytest.mark.usefixtures("as_root", "own_mounts")
def test_a_mount_that_is_bound_into_its_own_source(source: Path, mount: MountMaker) -> None:
    """It would wait for its own answers there, so it shows nothing."""
    (source / "good.zso").write_bytes(DISC.read_bytes())
    inside = source / "own"
    inside.mkdir()
    made = mount(source)
    takes_part(made)
    subprocess.run(["mount", "--bind", made.path, inside], check=True)
    try:
        in_time(lambda: wait_until(lambda: not names(made.path / "own"), "an empty directory"))
        in_time(lambda: takes_part(made))
    finally:
        subprocess.run(["umount", "-l", inside], check=True)


@pytest.mark.parametrize("kind", ["output", "terminal"])
def test_a_log_that_takes_nothing_stops_nothing(source: Path, tmp_path: Path, kind: str) -> None:
    """As a terminal after Ctrl-S does; here it is a full pipe."""
    (source / "good.zso").write_bytes(DISC.read_bytes())
    point, fifo = tmp_path / "mnt", tmp_path / "log"
    os.mkfifo(fifo)
    with opened(fifo, os.O_RDONLY | os.O_NONBLOCK) as reader, opened(fifo, os.O_WRONLY) as writer:
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        os.set_blocking(writer, True)
        daemon = subprocess.Popen(
            [*ZSOFS, "mount", "-f", "-v", source, point],
            stdout=writer if kind == "output" else subprocess.DEVNULL,
            stderr=writer if kind == "terminal" else None,
        )
        made = Mount(source, point, daemon, fifo)
        try:
            wait_until(lambda: mounted_at(os.fsencode(point)) is not None, "the mount")
            for _ in range(3):  # each has something to tell
                in_time(lambda: takes_part(made))
                daemon.send_signal(signal.SIGUSR1)
                daemon.send_signal(signal.SIGHUP)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(30) == 0
            assert mounted_at(os.fsencode(point)) is None
        finally:
            daemon.kill()
            daemon.wait(20)
            unmount(point)
        while os.read(reader, 1 << 20).strip(b"\0"):
            pass


@pytest.mark.usefixtures("as_root")
def test_a_log_on_a_disk_that_hangs_stops_nothing(source: Path, tmp_path: Path) -> None:
    (source / "good.zso").write_bytes(DISC.read_bytes())
    point = tmp_path / "mnt"
    image = make_ext4(tmp_path / "disk.img", 8 * MIB)
    with disk_mounted(image, tmp_path / "disk") as disk:
        words = ["-v", "--log-file", str(disk / "log")]
        with mounted(source, point, *words) as made:
            made.may_end = True
            takes_part(made)
            subprocess.run(["fsfreeze", "-f", disk], check=True)
            try:
                for _ in range(3):  # each has something to tell
                    made.daemon.send_signal(signal.SIGUSR1)
                    made.daemon.send_signal(signal.SIGHUP)
                    in_time(lambda: takes_part(made))
                made.daemon.send_signal(signal.SIGTERM)
                wait_until(lambda: mounted_at(os.fsencode(point)) is None, "the end of the mount")
            finally:
                subprocess.run(["fsfreeze", "-u", disk], check=True)
            assert made.daemon.wait(30) == 0


def test_messages_that_a_slow_log_could_not_take_are_counted() -> None:
    """And those that it could are written in order, by a thread."""
    gate, said = threading.Event(), []

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            gate.wait(30)
            said.append(record.getMessage())

    handler = ThreadedHandler(Slow())
    for number in range(1200):
        handler.handle(logging.makeLogRecord({"msg": "message %d", "args": (number,)}))
    assert said == []
    gate.set()
    assert handler.finish()
    wait_until(lambda: "dropped" in said[-1], "the count")
    count = len(said) - 1
    assert said[:count] == [f"message {number}" for number in range(count)]
    assert said[-1].startswith(f"{1200 - count} messages were dropped")
    handler.handle(logging.makeLogRecord({"msg": "at once"}))
    assert said[-1] == "at once"
