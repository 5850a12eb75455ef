"""A log file in a directory that others may write to: they lead it nowhere, and stop nobody."""

import errno
import logging
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.mount.lifecycle.test_lifecycle import daemons_of
from tests.support.mounting import ZSOFS, wait_until
from zsofs.console.log_file import LogFile
from zsofs.console.log_thread import ThreadedHandler
from zsofs.system.xdg import base_directory

NOBODY = 65534
MIB = 1 << 20


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory as /tmp is one."""
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(0o1777)
    return path


def write(path: Path, *texts: str) -> None:
    """Log to *path*."""
    handler = LogFile(path)
    for text in texts:
        handler.emit(logging.LogRecord("log", logging.INFO, "", 0, text, (), None))
    handler.close()


@pytest.fixture(autouse=True)
def _errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong while a record is written fails the test."""

    def fail(self: logging.Handler, record: logging.LogRecord) -> None:
        raise  # noqa: PLE0704 - called while an exception is handled

    monkeypatch.setattr(logging.Handler, "handleError", fail)


def test_a_new_file_in_directories_that_are_made(shared: Path) -> None:
    path = shared / "a/b/log"
    write(path, "one")
    write(path, "two")
    assert path.read_text() == "one\ntwo\n"


def test_symlinks_of_ones_own_are_followed(shared: Path) -> None:
    (shared / "to").mkdir()
    (shared / "way").symlink_to("to")
    (shared / "log").symlink_to("way/file")
    write(shared / "log", "one")
    assert (shared / "to/file").read_text() == "one\n"


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("link", ["log", "way"])
def test_symlinks_of_another_user(shared: Path, tmp_path: Path, link: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "log").write_text("")
    (shared / "log").symlink_to(victim / "log")
    (shared / "way").symlink_to(victim)
    for name in ("log", "way"):
        os.chown(shared / name, NOBODY, NOBODY, follow_symlinks=False)
    path = shared / "log" if link == "log" else shared / "way" / "log"
    with pytest.raises(OSError, match=f"the symlink .*/{link} is owned by another user"):
        LogFile(path)
    assert (victim / "log").read_text() == ""


def test_what_is_no_file(shared: Path) -> None:
    os.mkfifo(shared / "fifo")
    (shared / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shared / "socket"))
        for name in ("fifo", "directory", "socket"):
            with pytest.raises(OSError, match="it is not a regular file"):
                LogFile(shared / name)
    with pytest.raises(OSError, match="it is not a regular file"):
        LogFile(Path("/dev/ptmx"))
    write(Path("/dev/null"), "nothing")


def test_a_hard_link(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    os.link(tmp_path / "victim", shared / "log")
    with pytest.raises(OSError, match="it has more than one hard link"):
        LogFile(shared / "log")
    assert (tmp_path / "victim").read_text() == ""


@pytest.mark.usefixtures("as_root")
def test_a_file_of_another_user(shared: Path, tmp_path: Path) -> None:
    for path in (shared / "log", tmp_path / "log"):
        path.touch()
        os.chown(path, NOBODY, NOBODY)
    with pytest.raises(OSError, match="it is owned by another user"):
        LogFile(shared / "log")
    write(tmp_path / "log", "in a directory of one's own that does no harm")


def test_it_stays_small(shared: Path) -> None:
    victim = shared / "victim"
    victim.write_text("mine")
    (shared / "log.1").symlink_to(victim)
    lines = [f"{number} " + "x" * (MIB // 4) for number in range(9)]
    write(shared / "log", *lines)
    assert victim.read_text() == "mine"
    older, newer = shared / "log.1", shared / "log"
    assert stat.S_ISREG(older.lstat().st_mode)
    assert max(older.stat().st_size, newer.stat().st_size) <= MIB
    assert [line[0] for line in (older.read_text() + newer.read_text()).splitlines()] == list(
        "345678"
    )


def test_a_fifo_does_not_hold_up_a_mount(source: Path, shared: Path, tmp_path: Path) -> None:
    log, point = shared / "log", tmp_path / "mnt"
    os.mkfifo(log)
    done = subprocess.run(
        [*ZSOFS, "mount", "--log-file", str(log), str(source), str(point)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (
        3,
        f"zsofs: the log file {log} cannot be written: it is not a regular file; give another"
        " path with --log-file\n",
    )
    assert not point.exists()
    wait_until(lambda: not daemons_of(point), "the end")


@pytest.mark.usefixtures("as_root")
def test_root_writes_nothing_below_the_home_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose environment sudo may hand on."""
    theirs, own = tmp_path / "theirs", tmp_path / "own"
    for path in (theirs, own):
        path.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    monkeypatch.setenv("HOME", str(theirs))
    monkeypatch.setenv("XDG_STATE_HOME", str(theirs / "state/below"))
    found = base_directory("XDG_STATE_HOME", ".local/state")
    assert found is None or not found.is_relative_to(theirs)
    monkeypatch.setenv("HOME", str(own))
    assert base_directory("XDG_STATE_HOME", ".local/state") == own / ".local/state"
    monkeypatch.setenv("XDG_STATE_HOME", str(own / "state/below"))
    assert base_directory("XDG_STATE_HOME", ".local/state") == own / "state/below"


def test_a_log_goes_on_where_it_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk, or in a directory that the daemon may not change."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    handler = LogFile(tmp_path / "log")
    handler.maxBytes = 200
    monkeypatch.setattr(os, "rename", fail)
    for number in range(20):
        message = f"message {number} of twenty"
        handler.handle(logging.LogRecord("x", logging.WARNING, __file__, 0, message, None, None))
    handler.close()
    assert (tmp_path / "log").read_text().splitlines()[-1] == "message 19 of twenty"
    assert len((tmp_path / "log").read_text().splitlines()) == 20


def test_the_log_needs_no_lock_of_logging() -> None:
    """From Python 3.13 on, logging takes the lock of a handler in any case."""
    taken: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            taken.append(record.getMessage())

    handler = ThreadedHandler(Kept())
    handler.lock = None
    record = logging.LogRecord("x", logging.WARNING, __file__, 0, "said", None, None)
    assert handler.handle(record)
    assert handler.finish()
    assert taken == ["said"]
    handler.addFilter(lambda record: False)
    assert not handler.handle(record)
    assert handler.finish()
    assert taken == ["said"]
