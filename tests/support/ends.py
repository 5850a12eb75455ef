"""Bounded waits for what tests and benchmarks start, so that none of them waits for ever."""

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

_PROCESS_SECONDS = 60
_THREAD_SECONDS = 300  # a thread may have a whole workload to do


@contextmanager
def spawned(words: Sequence[Any], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """Run a program for the length of a block; afterwards it is gone, or the test fails.

    ``with subprocess.Popen(...)`` waits without a limit, also for a program that cannot be killed
    because it waits for a disk.

    Args:
        words: the command line.
        options: as subprocess.Popen has them.
    """
    process = subprocess.Popen(words, **options)
    try:
        yield process
        _close_pipes(process)
        process.wait(_PROCESS_SECONDS)
    finally:
        process.kill()
        _close_pipes(process)
        process.wait(_PROCESS_SECONDS)


def _close_pipes(process: "subprocess.Popen[Any]") -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def join(thread: threading.Thread) -> None:
    """Wait for the end of a thread; fail if it does not end."""
    thread.join(_THREAD_SECONDS)
    assert not thread.is_alive(), f"{thread.name} has not ended after {_THREAD_SECONDS} s"
