"""Commands that run for the page: `zsofs verify` of a disc, `zsofs list` to identify discs.

They are processes of their own at the lowest priority, one at a time.
"""

import json
import logging
import os
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

log = logging.getLogger(__name__)

_KEPT = 20
_WAITING = 10
"""Jobs that may wait; further ones are refused."""

_OUTPUT = 1 << 20
_TEXT = 500


@dataclass(slots=True)
class Job:
    """A command.

    Attributes:
        kind: ``verify`` or ``identify``; another kind of job may be added.
        title: what it is for, as shown.
        words: the arguments of zsofs.
        state: ``waiting``, ``running``, ``done`` or ``failed``.
        result: what it found, as a sentence.
        ended: when it ended, in seconds since 1970; 0 before.
    """

    kind: str
    title: str
    words: tuple[str, ...]
    state: str = "waiting"
    result: str = ""
    ended: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return what the page shows."""
        return {
            "kind": self.kind,
            "title": self.title,
            "state": self.state,
            "result": self.result,
            "ended": round(self.ended),
        }


class Jobs:
    """Runs jobs one after another."""

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque(maxlen=_KEPT + _WAITING)
        self._wanted = trio.Event()

    def add(self, kind: str, title: str, words: tuple[str, ...]) -> bool:
        """Add a job; return whether there was room. One that waits already is not added again."""
        waiting = [job for job in self.jobs if job.state == "waiting"]
        if any(job.words == words for job in waiting):
            return True
        if len(waiting) >= _WAITING:
            return False
        self.jobs.append(Job(kind, title, words))
        self._wanted.set()
        return True

    async def serve(self) -> None:
        """Run jobs until cancelled."""
        while True:
            job = next((one for one in self.jobs if one.state == "waiting"), None)
            if job is None:
                self._wanted = trio.Event()
                await self._wanted.wait()
                continue
            job.state = "running"
            try:
                await self._run(job)
            except (OSError, RuntimeError) as error:
                job.state, job.result = "failed", f"it could not be started: {error}"
            job.ended = time.time()

    async def _run(self, job: Job) -> None:
        command = [*_program(), *job.words]
        reads = job.kind == "verify"
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(
                    trio.run_process,
                    command,
                    stdin=b"",
                    stdout=subprocess.PIPE if reads else subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=False,
                    preexec_fn=_give_way,
                )
            )
            output = b""
            if process.stdout is not None:
                async for part in process.stdout:
                    output = (output + part)[-_OUTPUT:]
        job.state, job.result = _result(job, output, process.returncode)


def _program() -> list[str]:
    """Return the command that starts zsofs, whatever directory this process is in."""
    if getattr(sys, "frozen", False):  # set by PyInstaller
        return [sys.executable]
    return [sys.executable, "-P", "-m", "zsofs"]


def _give_way() -> None:
    os.nice(19)


def _result(job: Job, output: bytes, code: int | None) -> tuple[str, str]:
    """Return state and result of a job that has ended."""
    if job.kind != "verify":
        return ("done", "") if code == 0 else ("failed", f"exit code {code}")
    try:
        found = json.loads(output.splitlines()[-1])
        text = f"{found['state']}: {found['reason']}"[:_TEXT]
    except (ValueError, LookupError, TypeError):
        return "failed", f"zsofs verify gave no result (exit code {code})"
    return ("done" if code == 0 else "failed"), text
