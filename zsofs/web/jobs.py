"""Jobs of the page: verification of a disc, and `zsofs list` to identify discs.

They are processes of their own at the lowest priority, one at a time. One that makes no progress,
because its disk hangs, does not hold up the others.
"""

import itertools
import json
import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from zsofs.inspection.verify_report import FAILED
from zsofs.timings import timings

_KEPT = 20
"""Jobs that have ended and are still shown."""

_WAITING = 10
"""Jobs that may wait; further ones are refused."""

_AT_ONCE = 4
"""Jobs that run, if all of them but one make no progress."""

_LAST_WAIT = 1.0
"""Seconds for the end of a process that was killed."""

_MOST_LINE = 1 << 20
_TEXT = 500


@dataclass(slots=True)
class Job:
    """A command.

    Attributes:
        number: identifies it.
        kind: ``verify`` or ``identify``.
        title: what it is for, as shown.
        command: what is run.
        state: ``waiting``, ``running``, ``done`` or ``failed``.
        result: what it found, as a sentence.
        ended: when it ended, in seconds since 1970; 0 before.
        done: bytes that were verified.
        total: number of all.
        scope: ends it.
    """

    number: int
    kind: str
    title: str
    command: tuple[str, ...]
    state: str = "waiting"
    result: str = ""
    ended: float = 0.0
    done: int = 0
    total: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _heard: float = 0.0
    _line: bytes = b""

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("waiting", "running")

    @property
    def is_silent(self) -> bool:
        """Whether it runs without a sign of progress."""
        since = time.monotonic() - self._heard
        return self.state == "running" and since > timings().web_job_silent

    def to_json(self) -> dict[str, Any]:
        """Return what the page shows."""
        return {
            "number": self.number,
            "kind": self.kind,
            "title": self.title,
            "state": self.state,
            "result": self.result,
            "ended": round(self.ended),
            "done": self.done,
            "bytes": self.total,
            "silent": self.is_silent and self.kind == "verify",  # the other has no progress
        }

    def begin(self) -> None:
        """Mark it as running."""
        self.state, self._heard = "running", time.monotonic()

    def end(self, state: str, result: str) -> None:
        """Mark it as ended."""
        self.state, self.result, self.ended = state, result[:_TEXT], time.time()

    def take(self, part: bytes) -> None:
        """Take what its process has printed: progress, and finally the result."""
        self._heard = time.monotonic()
        *lines, self._line = (self._line + part)[-_MOST_LINE:].split(b"\n")
        for line in lines:
            with suppress(ValueError, LookupError, TypeError):  # it is of this version of zsofs
                found = json.loads(line)
                if "state" in found:
                    self.result = f"{found['state']}: {found['reason']}"
                else:
                    self.done, self.total = int(found["done"]), int(found["bytes"])


def with_cache(command: list[str], folder: str) -> list[str]:
    """Return a command that keeps what it finds where the daemon of a mount looks for it.

    Args:
        command: the command.
        folder: the daemon's directory for caches, which root makes for mounts of another user;
            empty if it is unknown.
    """
    above, name = os.path.split(folder)
    is_usable = name == "zsofs" and os.path.isabs(above) and os.access(above, os.W_OK)
    return ["env", f"XDG_CACHE_HOME={above}", *command] if is_usable else command


class Jobs:
    """Runs jobs one after another."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self._numbers = itertools.count(1)
        self._changed = trio.Event()

    def add(self, kind: str, title: str, command: list[str]) -> bool:
        """Add a job; return whether there was room. One that waits already is not added again."""
        waiting = [job for job in self.jobs if job.state == "waiting"]
        if any(job.command == tuple(command) for job in waiting):
            return True
        if len(waiting) >= _WAITING:
            return False
        ended = [job for job in self.jobs if not job.is_active]
        for job in ended[: len(ended) - _KEPT + 1]:
            self.jobs.remove(job)
        self.jobs.append(Job(next(self._numbers), kind, title, tuple(command)))
        self._changed.set()
        return True

    def cancel(self, number: object) -> bool:
        """End a job that waits or runs; return whether there is one of that number."""
        for job in self.jobs:
            if job.number == number and job.is_active:
                job.end("failed", "it was ended")
                job.scope.cancel()
                self._changed.set()
                return True
        return False

    async def serve(self) -> None:
        """Run jobs until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                job = self._next()
                if job is not None:
                    job.begin()
                    nursery.start_soon(self._work, job, nursery)
                    continue
                self._changed = trio.Event()
                is_waiting = any(job.state == "waiting" for job in self.jobs)
                seconds = timings().web_job_silent / 4 if is_waiting else float("inf")
                with trio.move_on_after(seconds):
                    await self._changed.wait()

    def _next(self) -> Job | None:
        """Return the job that may begin now."""
        running = [job for job in self.jobs if job.state == "running"]
        if len(running) >= _AT_ONCE or not all(job.is_silent for job in running):
            return None
        return next((job for job in self.jobs if job.state == "waiting"), None)

    async def _work(self, job: Job, nursery: trio.Nursery) -> None:
        try:
            with job.scope:
                code = await _run(job, nursery)
                job.end(*_outcome(job, code))
        except (OSError, RuntimeError) as error:
            job.end("failed", f"it could not be started: {error}")
        finally:
            self._changed.set()


async def _run(job: Job, nursery: trio.Nursery) -> int:
    """Run the process of a job; return its exit code."""
    reads = job.kind == "verify"
    process = await trio.lowlevel.open_process(
        job.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if reads else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_give_way,
    )
    try:
        if process.stdout is not None:
            async for part in process.stdout:
                job.take(bytes(part))
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            with trio.move_on_after(_LAST_WAIT, shield=True):
                await process.wait()
            if process.returncode is None:  # it is in a call that waits for a disk
                nursery.start_soon(process.wait)
        if process.stdout is not None:
            await process.stdout.aclose()


def _give_way() -> None:
    os.nice(19)


def _outcome(job: Job, code: int) -> tuple[str, str]:
    """Return state and result of a job whose process has ended."""
    if job.kind != "verify":
        return ("done", "") if code == 0 else ("failed", f"exit code {code}")
    if not job.result:
        return "failed", f"zsofs verify gave no result (exit code {code})"
    is_well = job.result.split(":")[0] not in FAILED
    return "done" if is_well else "failed", job.result
