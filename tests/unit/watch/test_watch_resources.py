"""A watch that lacks open files: it says so once, and continues when there are more."""

import logging
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.mounting import names, wait_until
from tests.support.packed import image_of
from tests.support.watching import watching
from zsofs.watch.pausing import ReaderCheck

IMAGE = writers.disc(2048 * 300, ["text", "mixed", "noise"], 5)


@contextmanager
def few_open_files(count: int, process: int = 0) -> Iterator[None]:
    """Limit the open files of a process, by default this one."""
    before = resource.prlimit(process, resource.RLIMIT_NOFILE)
    resource.prlimit(process, resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_NOFILE, before)


def test_mounts_that_cannot_be_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The thread that asks survives, and packing does not wait for it."""
    check = ReaderCheck(str(tmp_path))
    try:
        with few_open_files(3):
            check.wants([str(tmp_path)])
            wait_until(lambda: bool(check.problem), "the problem")
            assert check.wants([str(tmp_path)])
            assert check.reader == ""
        wait_until(lambda: not check.problem, "an answer")
    finally:
        check.close()
    assert "cannot be asked: Too many open files" in caplog.text
    assert [one.levelno for one in caplog.records] == [logging.WARNING]
    assert "Traceback" not in caplog.text


def test_a_job_that_cannot_be_started(tmp_path: Path) -> None:
    """It is tried again after pauses that grow; the log has it once."""
    with watching(tmp_path, watch_ask=0.02, watch_start=0.2) as watch:
        assert watch.process is not None
        (watch.inbox / "first.iso").write_bytes(b"This is no disc.\n" * 500)
        watch.wait_for_results("first.iso")  # all that is opened once is open
        wait_until(lambda: watch.status()["state"] == "idle", "the end of the job")
        with few_open_files(open_files(watch.process.pid) + 5, watch.process.pid):
            (watch.inbox / "Game.iso").write_bytes(IMAGE)
            wait_until(lambda: "cannot be started" in watch.status()["note"], "the note")
            assert watch.status()["state"] == "waiting"
            time.sleep(0.5)  # several times the longest pause
            assert names(watch.library) == []
        watch.wait_for_results("Game.iso")
        wait_until(lambda: watch.status()["note"] == "", "the end of the note")
    assert watch.log.read_text().count("cannot be started") == 1


def test_a_watch_without_open_files_continues(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        assert watch.process is not None
        with few_open_files(3, watch.process.pid):
            (watch.inbox / "Game.iso").write_bytes(IMAGE)
            time.sleep(1)
            assert watch.process.poll() is None, watch.log.read_text()
        watch.wait_for_results("Game.iso")
    assert image_of(watch.library / "Game.zso") == IMAGE


def open_files(process: int) -> int:
    """The files that a process has open all the time; the pipes of another one need six more."""
    counts = []
    for _ in range(20):  # a scan has more of them for a moment
        counts.append(len(os.listdir(f"/proc/{process}/fd")))
        time.sleep(0.02)
    return min(counts)
