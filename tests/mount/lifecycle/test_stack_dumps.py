"""SIGUSR2: what all threads of a daemon are doing, in its log, also where it hangs."""

import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.conftest import MountMaker
from tests.mount.lifecycle.test_lifecycle import daemons_of
from tests.support.ends import join
from tests.support.mounting import ZSOFS, Mount, in_time, names, unmount, wait_until
from tests.support.rounds import rounds
from zsofs.console.log_file import LogFile
from zsofs.system.mountinfo import mounted_at

DUMP = "(most recent call first)"

STUCK = """
import ctypes, os, sys
from zsofs.cli import main
from zsofs.reading import statfs_cache

fd = os.open(sys.argv.pop(1), os.O_RDWR)

async def never_answer(self, device):
    ctypes.PyDLL(None).read(fd, ctypes.create_string_buffer(1), 1)
    return statfs_cache._NO_ROOM

statfs_cache.StatfsCache.get = never_answer
sys.exit(main.main())
"""
"""A daemon that waits with the GIL held until something comes through a FIFO."""


def _has_lines(made: Mount, text: str, number: int) -> bool:
    return len(made.log_lines(text)) >= number


def test_all_threads_are_in_the_log(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    for sent in (1, 2):
        made.daemon.send_signal(signal.SIGUSR2)
        # The main thread is the last one.
        wait_until(partial(_has_lines, made, "lifecycle.py", sent), "the stacks")
        assert len(made.log_lines("Current thread")) == sent
    assert len(made.log_lines(DUMP)) > 2
    assert names(made.path) == names(source)


def test_a_daemon_at_work_is_asked_over_and_over(source: Path, mount: MountMaker) -> None:
    """Stacks that change while they are read must not end it."""
    for number in range(100):
        (source / f"{number}.txt").touch()
    made = mount(source)
    asked = rounds(5_000, thorough=100_000)
    with ThreadPoolExecutor() as pool:
        listing = pool.submit(lambda: [names(made.path) for _ in range(asked // 4)])
        for _ in range(asked):
            made.daemon.send_signal(signal.SIGUSR2)
            os.stat(made.path)
        listing.result()
    assert names(made.path) == names(source)


def test_a_daemon_that_holds_the_gil(source: Path, mount: MountMaker, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    made = mount(source, command=(sys.executable, "-c", STUCK, str(fifo)))
    program = threading.Thread(target=os.statvfs, args=(made.path,))
    program.start()
    try:
        state = Path(f"/proc/{made.daemon.pid}/task/{made.daemon.pid}/wchan")
        wait_until(lambda: "pipe_read" in state.read_text(), "the daemon to hang")
        made.daemon.send_signal(signal.SIGUSR2)
        wait_until(lambda: made.log_lines(" in never_answer"), "the stacks")
    finally:
        fifo.write_bytes(b"x")
        join(program)


def test_a_log_that_nobody_reads_stops_no_reader(source: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    reader, writer = os.pipe()
    os.write(writer, bytes(fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)))
    daemon = subprocess.Popen([*ZSOFS, "mount", "-f", str(source), str(point)], stderr=writer)
    os.close(writer)
    try:
        wait_until(lambda: mounted_at(os.fsencode(point)) is not None, "the mount")
        os.stat(point)
        daemon.send_signal(signal.SIGUSR2)
        in_time(lambda: [names(point) for _ in range(100)])
        text = b""
        while DUMP.encode() not in text:
            text = text[-100:] + os.read(reader, 1 << 16)
    finally:
        os.close(reader)
        unmount(point)
        assert daemon.wait(60) == 0


def test_a_daemon_in_the_background(source: Path, tmp_path: Path) -> None:
    point, log = tmp_path / "mnt", tmp_path / "log"
    command = [*ZSOFS, "mount", "--log-file", str(log), str(source), str(point)]
    subprocess.run(command, check=True, timeout=60)
    try:
        (daemon,) = daemons_of(point)
        os.kill(daemon, signal.SIGUSR2)
        wait_until(lambda: DUMP in log.read_text(), "the stacks")
        assert names(point) == names(source)
    finally:
        unmount(point)
        wait_until(lambda: not daemons_of(point), "the end")


def test_a_log_that_was_begun_anew(tmp_path: Path) -> None:
    """The descriptor leads to the new file, as the log itself does."""
    path = tmp_path / "log"
    handler = LogFile(path)
    fd = handler.lasting_descriptor()
    assert handler.lasting_descriptor() == fd
    for text in ("one", "two"):
        handler.emit(logging.LogRecord("log", logging.INFO, "", 0, text, (), None))
        os.write(fd, f"stacks {text}\n".encode())
        handler.doRollover()
    handler.close()
    os.write(fd, b"stacks three\n")
    assert path.with_name("log.1").read_text() == "two\nstacks two\n"
    assert path.read_text() == "stacks three\n"
    assert not os.get_inheritable(fd)
    os.close(fd)
