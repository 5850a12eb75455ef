"""The child process that packs one input, as the watch sees it."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass

from zsofs.errors import InputError
from zsofs.system.full_write import write_all
from zsofs.system.own_processes import module_command, start_with_pipes
from zsofs.timings import timings
from zsofs.watch.order import Order, Outcome
from zsofs.watch.tracker import Input

_PART = 1 << 16
_MOST_LINE = 1 << 22


@dataclass(slots=True)
class Progress:
    """Progress of a job.

    Attributes:
        file: the image that is packed.
        bytes: size of the image; 0 before it is known.
        done: bytes of it that were packed or read back.
        reading_back: whether the output is being verified.
        speed: bytes per second since it began, without pauses.
    """

    file: str
    bytes: int = 0
    done: int = 0
    reading_back: bool = False
    speed: float = 0.0


@dataclass(slots=True)
class StartPause:
    """The pause after a job that could not be started; it doubles until one is started.

    Attributes:
        problem: why the last one could not be started, as a sentence; empty if it was.
    """

    problem: str = ""
    _seconds: float = 0.0
    _until: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether a job may be started."""
        return time.monotonic() >= self._until

    def begin(self, problem: str) -> bool:
        """Note that a job could not be started; return whether that is new."""
        is_new, self.problem = problem != self.problem, problem
        self._seconds = min(max(2 * self._seconds, timings().watch_ask), timings().watch_start)
        self._until = time.monotonic() + self._seconds
        return is_new

    def end(self) -> None:
        """Note that a job was started."""
        self.problem, self._seconds = "", 0.0


class Job:
    """A running job. Reading its progress never blocks.

    Attributes:
        order: the order.
        input: the input that it is about.
        progress: its progress.
        outcome: its outcome; None until it has ended, and if it ended without one.
        is_paused: whether it is stopped by a signal.
    """

    def __init__(self, order: Order, one: Input) -> None:
        """Start it.

        Raises:
            InputError: the process cannot be started.
        """
        self.order, self.input = order, one
        self.progress = Progress(order.path)
        self.outcome: Outcome | None = None
        self.is_paused = False
        self.begun = time.monotonic()
        self._running_since, self._ran = self.begun, 0.0
        self._line = b""
        try:
            self._process = start_with_pipes(
                module_command("zsofs.watch.worker", str(os.getpid())), start_new_session=True
            )
        except OSError as error:
            raise InputError(f"the process that packs it cannot be started: {error}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.fd = self._process.stdout.fileno()
        os.set_blocking(self.fd, False)
        with suppress(BrokenPipeError):  # it ended already, which shows when it is read
            write_all(self._process.stdin.fileno(), order.to_line())
        self._process.stdin.close()

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self._process.pid

    def take(self) -> bool:
        """Take what it has reported; return whether it has ended."""
        while True:
            try:
                part = os.read(self.fd, _PART)
            except BlockingIOError:
                return False
            if not part:
                self._process.wait()
                self._close()
                return True
            self._line += part
            *lines, self._line = self._line.split(b"\n")
            for line in lines:
                self._take_line(line)
            if len(self._line) > _MOST_LINE:  # never, but memory is bounded
                self._line = b""

    def _take_line(self, line: bytes) -> None:
        found = json.loads(line)
        progress = self.progress
        if found.pop("end", False):
            self.outcome = Outcome(**{**found, "outputs": tuple(found["outputs"])})
        elif "file" in found:
            self.progress = Progress(found["file"], found["bytes"])
            self._running_since, self._ran = time.monotonic(), 0.0
        elif "reading_back" in found:
            progress.reading_back, progress.done = True, 0
            self._running_since, self._ran = time.monotonic(), 0.0
        else:
            progress.done = found["done"]
            seconds = self._ran + (
                0.0 if self.is_paused else time.monotonic() - self._running_since
            )
            progress.speed = progress.done / seconds if seconds > 0 else 0.0

    def pause(self) -> None:
        """Stop it by a signal. A process that decodes an archive waits for it at a full pipe."""
        if not self.is_paused:
            self.is_paused = True
            self._ran += time.monotonic() - self._running_since
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        if self.is_paused:
            self.is_paused = False
            self._running_since = time.monotonic()
            self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """End it; what it has not completed is removed."""
        self._process.send_signal(signal.SIGTERM)
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(timings().watch_end)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()

    def why_ended(self) -> str:
        """Return how it ended, if it has no outcome."""
        code = self._process.returncode
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return f"the process that packs it ended unexpectedly, {how}"
