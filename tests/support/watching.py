"""Running watches for tests: the real command, with shorter waits."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.mounting import timed, wait_until
from zsofs.watch.state_file import CONTINUE, HOLD
from zsofs.watch.watch import FIRST_SCAN

QUICK = {
    "watch_quiet_closed": 0.2,
    "watch_quiet": 0.6,
    "watch_quiet_holes": 3600.0,
    "watch_scan": 5.0,
    "watch_scan_rest": 0.05,
    "watch_ask": 0.05,
    "watch_reader": 1.0,
    "watch_status": 0.05,
    "watch_full_disk": 600.0,
}


@dataclass
class Watching:
    """A watch under test.

    Attributes:
        inbox: its inbox.
        library: its library.
        state: directory of its ledger and its state file.
        options: of the command line.
        timings: other than QUICK.
        process: the watch; None while it does not run.
    """

    inbox: Path
    library: Path
    state: Path
    options: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def environment(self) -> dict[str, str]:
        """Environment of this watch, and of `zsofs status` about it."""
        state, run = str(self.state), str(self.state / "run")
        return {**os.environ, "XDG_STATE_HOME": state, "XDG_RUNTIME_DIR": run}

    @property
    def log(self) -> Path:
        """What it has printed."""
        return self.state / "log"

    def start(self, *before: str) -> None:
        """Start it, with *before* in front of its command; return when it watches."""
        (self.state / "run").mkdir(parents=True, exist_ok=True)
        words = ["watch", *self.options, str(self.inbox)]
        if self.inbox != self.library:
            words += ["-o", str(self.library)]
        with self.log.open("ab") as output:
            self.process = process = subprocess.Popen(
                [*before, *timed(**{**QUICK, **self.timings}), *words],
                stdout=output,
                stderr=output,
                env=self.environment,
            )
        wait_until(lambda: process.poll() is not None or self._has_scanned(), "the watch")
        assert process.poll() is None, self.log.read_text()

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            if number == signal.SIGTERM:
                assert self.process.returncode == 0, self.log.read_text()
            self.process = None

    def hold(self, *, is_held: bool) -> None:
        """Pause it, or let it continue, as a user does; return when it says so."""
        assert self.process is not None
        self.process.send_signal(HOLD if is_held else CONTINUE)
        wait_until(lambda: self.status()["is_held"] is is_held, "the pause")

    def job(self) -> int:
        """The process that packs."""
        assert self.process is not None
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return int(Path(children).read_text().split()[0])

    def status_file(self) -> dict[str, Any] | None:
        """The state that it has written; None if there is none of this process."""
        for path in (self.state / "run" / "zsofs").glob("watch-*.json"):
            found: dict[str, Any] = json.loads(path.read_text())
            if self.process is not None and found["process"]["pid"] == self.process.pid:
                return found
        return None

    def _has_scanned(self) -> bool:
        """Whether it sees what happens in each subdirectory from now on."""
        found = self.status_file()
        return found is not None and found["note"] != FIRST_SCAN

    def status(self) -> dict[str, Any]:
        """Its state."""
        found = self.status_file()
        assert found is not None
        return found

    def results(self) -> dict[str, dict[str, Any]]:
        """Its last results by file name."""
        return {os.path.basename(one["path"]): one for one in self.status()["results"]}

    def wait_for_results(self, *names: str, seconds: float = 30.0) -> dict[str, dict[str, Any]]:
        """Wait until there are results of these inputs; return all results."""
        try:
            wait_until(lambda: set(names) <= set(self.results()), f"results of {names}", seconds)
        except AssertionError as error:
            error.add_note(f"{json.dumps(self.status(), indent=1)}\n{self.log.read_text()}")
            raise
        return self.results()

    def waits_for(self, name: str) -> str:
        """Why an input waits; empty if it does not."""
        for one in self.status()["waiting"]:
            if os.path.basename(one["path"]) == name:
                return str(one["reason"])
        return ""


@contextmanager
def watching(folder: Path, *options: str, **timings: float) -> Iterator[Watching]:
    """Watch ``folder/inbox`` for the length of a block; the library is ``folder/library``.

    With ``--in-place``, the library is watched.
    """
    inbox = folder / ("library" if "--in-place" in options else "inbox")
    made = Watching(inbox, folder / "library", folder / "state", options, timings)
    made.inbox.mkdir(exist_ok=True)
    made.library.mkdir(exist_ok=True)
    made.start()
    try:
        yield made
    finally:
        made.end()
    with suppress(OSError):  # a test may have taken its disk
        assert "Traceback" not in made.log.read_text()
