"""Watches and jobs on the page: their progress, and what may be done to them with the token."""

import functools
import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import writers
from tests.support.disks import MIB
from tests.support.ends import spawned
from tests.support.mounting import names, wait_until
from tests.support.pages import Page, served, wait_for_state
from tests.support.watching import watching
from zsofs.errors import ControlError
from zsofs.watch.state_file import ProcessFacts, hold, running


@functools.cache
def big() -> bytes:
    return writers.disc(24 * MIB, ["text", "mixed"], 2)


@pytest.fixture(autouse=True)
def one_place_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page and watches of a user have the same runtime directory."""
    (tmp_path / "state/run").mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "state/run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def watch_of(state: dict[str, Any], library: Path) -> dict[str, Any]:
    """What the page shows of the watch of a library."""
    found = [one for one in state["watches"] if one["library"] == str(library)]
    return found[0] if found else {}


def press(page: Page, watch: dict[str, Any], *, hold: bool) -> int:
    """Pause a watch, or continue it, as the button does; return the status."""
    body = json.dumps({"watch": watch["id"], "hold": hold}).encode()
    return page.ask("/api/watch", "POST", body).status


def test_a_watch_with_progress_that_is_paused_and_continued(tmp_path: Path) -> None:
    with served(tmp_path) as page, watching(tmp_path, "--for", "small") as watch:
        (watch.inbox / "Big.iso").write_bytes(big())
        state = wait_for_state(
            page,
            lambda one: watch_of(one, watch.library).get("current", {}).get("done_bytes"),
            "the progress",
        )
        shown = watch_of(state, watch.library)
        assert shown["current"]["path"] == str(watch.inbox / "Big.iso")
        assert 0 < shown["current"]["done_bytes"] <= shown["current"]["bytes"] == len(big())
        assert (shown["can_be_held"], shown["is_held"]) == (True, False)
        assert press(page, shown, hold=True) == 401  # without the token
        page.log_in()
        assert press(page, shown, hold=True) == 200
        state = wait_for_state(
            page, lambda one: watch_of(one, watch.library)["is_held"], "the pause"
        )
        shown = watch_of(state, watch.library)
        assert (shown["state"], shown["note"]) == ("paused", "by a user")
        stat = f"/proc/{watch.job()}/stat"
        wait_until(lambda: Path(stat).read_text().rpartition(")")[2].split()[0] == "T", "the stop")
        assert [name for name in names(watch.library) if not name.startswith(".")] == []
        assert press(page, shown, hold=False) == 200
        watch.wait_for_results("Big.iso")
        state = wait_for_state(
            page, lambda one: watch_of(one, watch.library)["results"], "the result"
        )
        (result,) = watch_of(state, watch.library)["results"]
        assert (result["state"], os.path.basename(result["path"])) == ("packed", "Big.iso")
    assert names(watch.library) == ["Big.zso"]


def test_a_paused_watch_begins_nothing_and_ends(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        (state,) = running()
        hold(state, is_held=True)
        wait_until(lambda: watch.status()["is_held"], "the pause")
        (watch.inbox / "Game.iso").write_bytes(big()[:MIB])
        wait_until(lambda: watch.status()["counts"]["queue"] == 1, "the queue")
        assert watch.process is not None
        watch.process.send_signal(signal.SIGHUP)  # a scan does not end it
        hold(state, is_held=True)
        hold(state, is_held=False)
        watch.wait_for_results("Game.iso")
        hold(state, is_held=True)
        wait_until(lambda: watch.status()["is_held"], "the pause")
    with pytest.raises(ControlError, match="cannot be paused or continued: No such process"):
        hold(state, is_held=True)
    with pytest.raises(ControlError, match="runs an older version"):
        hold(replace(state, can_be_held=False), is_held=True)


def test_another_process_of_that_number_gets_no_signal(tmp_path: Path) -> None:
    """The signal would end this test."""
    with watching(tmp_path):
        (state,) = running()
    reused = replace(state, process=replace(state.process, pid=os.getpid()))
    with pytest.raises(ControlError, match="No such process"):
        hold(reused, is_held=True)


def test_a_process_that_would_end_gets_no_signal(tmp_path: Path) -> None:
    """A state file can name any process of its owner; most programs end at these signals."""
    with watching(tmp_path), spawned(["sleep", "60"]) as other:
        (state,) = running()
        wait_until(lambda: Path(f"/proc/{other.pid}/comm").read_text() == "sleep\n", "the program")
        forged = replace(state, process=facts_of(other.pid))
        for is_held in (True, False):
            with pytest.raises(ControlError, match="No such process"):
                hold(forged, is_held=is_held)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.2)
        other.kill()


@pytest.mark.usefixtures("as_root")
def test_root_believes_no_file_that_names_a_process_of_another_user(tmp_path: Path) -> None:
    """A service of another user could have root's page send a signal to any process."""
    with watching(tmp_path):
        (state,) = running()
        (file,) = (tmp_path / "state").rglob("watch-*.json")
        os.chown(file, 65534, 65534)
        forged = file.with_name("watch-forged.json")
        forged.write_text(file.read_text())
        assert list(running()) == [state]
        os.chown(forged, 65534, 65534)
        assert list(running()) == []
        file.unlink()


def facts_of(pid: int) -> ProcessFacts:
    """What a state file says of a process."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return ProcessFacts(pid, ticks, "0")


def test_watches_and_jobs_that_are_not_there(tmp_path: Path) -> None:
    values: tuple[object, ...] = ("1-2", 1, None, "", [], {"a": 1})
    with served(tmp_path) as page:
        page.log_in()
        for path, field in (("/api/watch", "watch"), ("/api/end", "job")):
            for value in values:
                body = json.dumps({field: value, "hold": True}).encode()
                assert page.ask(path, "POST", body).status == 404
            assert page.ask(path, "POST", b"{}", Origin="http://evil.example").status == 403
