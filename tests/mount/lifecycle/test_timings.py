"""The real timings, as the documents promise them: other tests run zsofs with shorter ones."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mounting import ZSOFS, timed
from zsofs.timings import Timings, timings

REAL = {
    "quiet_file": 3.0,
    "closing_file": 0.25,
    "gather_changes": 0.05,
    "trust_unwatched": 1.0,
    "trust_watched": 30.0,
    "first_poll": 5.0,
    "longest_poll": 30.0,
    "stale_listing": 0.25,
    "look_for_source": 2.0,
    "first_opl_listing": 20.0,
    "trust_cycle": 30.0,
    "mount_point_stat": 2.0,
    "count_give_way": 0.25,
    "count_give_way_check": 0.005,
    "trust_count": 30.0,
    "new_disc_quiet": 60.0,
    "new_disc_grace": 600.0,
    "new_disc_gives_way": 5.0,
    "new_disc_mark": 10.0,
    "stale_free_space": 0.25,
    "look_at_open_file": 0.25,
    "idle_check": 15.0,
    "call_hangs": 1.0,
    "retry_thread": 1.0,
    "queue": 60.0,
    "disk_in_use": 0.05,
    "retry_finished_jobs": 0.05,
    "file_map": 10.0,
    "file_map_pause": 0.001,
    "disk_sleeps": 600.0,
    "trace_check": 15.0,
    "trace_length": 300.0,
    "trace_pause": 5.0,
    "trace_quiet": 0.005,
    "trace_yield": 0.1,
    "read_follows": 0.01,
    "trace_scan": 10.0,
    "disc_idle": 600.0,
    "keep_awake": 120.0,
    "web_disk": 5.0,
    "web_silent": 0.7,
    "web_job_silent": 10.0,
    "last_reads": 1.0,
    "last_reads_check": 0.02,
    "last_invalidations": 2.0,
    "last_invalidations_check": 0.01,
    "keeper_answer": 2.0,
    "keeper_detach": 8.0,
    "keeper_unmount": 2.0,
    "reload": 3.0,
    "other_mounts": 2.0,
    "peer": 4.0,
    "socket_check": 30.0,
    "library_first": 2.0,
    "library_check": 1.0,
    "library_unused": 600.0,
    "last_bind": 1.0,
    "retry_accept": 0.5,
    "answer": 5.0,
    "unmount": 8.0,
    "unmount_answer": 3.0,
    "unmount_users": 1.5,
    "find_users": 1.2,
    "web_request": 15.0,
    "web_send": 10.0,
    "web_poll": 1.0,
    "web_ping": 15.0,
    "web_covers": 30.0,
    "web_identify": 600.0,
    "mount_answer": 2.0,
    "program": 3.0,
    "pipe": 10.0,
    "terminal": 0.5,
    "log_message": 0.05,
    "last_log_messages": 1.0,
    "stacks": 5.0,
    "log_again": 3600.0,
    "service_status": 10.0,
    "reports": 1.0,
    "retry_service_manager": 0.5,
    "watch_quiet_closed": 5.0,
    "watch_quiet": 60.0,
    "watch_quiet_holes": 3600.0,
    "watch_quiet_sheet": 3600.0,
    "watch_scan": 30.0,
    "watch_scan_rest": 1.0,
    "watch_reader": 5.0,
    "watch_ask": 1.0,
    "watch_start": 300.0,
    "watch_full_disk": 600.0,
    "watch_status": 1.0,
    "watch_end": 5.0,
    "watch_lock": 1.0,
    "store_lock": 2.0,
    "store_rest": 30.0,
    "retry_store_lock": 0.02,
}


def test_the_real_timings() -> None:
    assert dataclasses.asdict(timings()) == REAL


def test_what_depends_on_another_timing() -> None:
    real = Timings()
    assert real.peer < real.answer, "the daemon gives up before the command does"
    assert real.find_users <= real.unmount_users
    assert real.unmount + real.unmount_users < 10, "umount promises 10 seconds"
    assert real.keeper_detach + real.keeper_unmount <= 10, "TimeoutStopSec= in the units is longer"


def test_nothing_is_read_from_the_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timing can only be changed by a program that calls `use`, which zsofs itself never does."""
    for path in (Path(__file__).parents[3] / "zsofs").rglob("*.py"):
        text = path.read_text()
        assert path.name == "timings.py" or "timings.use(" not in text, path
        assert "import Timings" not in text, path
    code = "from zsofs.timings import timings; import dataclasses, json;" + (
        "print(json.dumps(dataclasses.asdict(timings())))"
    )
    for name in ("TIMINGS", "ZSOFS_TIMINGS", "ZSOFS_QUIET_FILE"):
        monkeypatch.setenv(name, json.dumps({"quiet_file": 0.1}))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) == REAL


def test_unknown_timings_are_refused() -> None:
    done = subprocess.run(
        [*timed(quiet_files=1.0), "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "quiet_files" in done.stderr
    version = subprocess.run([*ZSOFS, "--version"], capture_output=True, text=True, check=True)
    done = subprocess.run(
        [*timed(quiet_file=1.0), "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == version.stdout
