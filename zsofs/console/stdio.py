"""Output to streams that may fail: closed pipes, full disks, closed descriptors."""

import io
import os
import sys
import threading
from contextlib import suppress
from typing import TextIO

from zsofs.errors import PrintError
from zsofs.timings import timings

_printing: list[threading.Thread] = []


def open_streams() -> None:
    """Make sure that descriptors 0 to 2 are open, and that any file name can be printed."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is fd
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str = "", *, end: str = "\n") -> None:
    """Print to standard output and flush.

    Raises:
        BrokenPipeError: the reader has closed the pipe.
        PrintError: writing failed.
    """
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        print_nowhere(sys.stdout)
        raise PrintError(error) from error


def mention(text: str) -> None:
    """Print an optional message to standard output; give up if it fails or takes too long."""

    def print_it() -> None:
        try:
            print(text, flush=True)
        except OSError:  # the reader has exited
            print_nowhere(sys.stdout)

    thread = threading.Thread(target=print_it, daemon=True)
    with suppress(RuntimeError):  # no thread available
        thread.start()
        _printing.append(thread)
        thread.join(timings().terminal)


def is_stuck() -> bool:
    """Return whether a :func:`mention` is still blocked."""
    return any(thread.is_alive() for thread in _printing)


def complain(text: str) -> None:
    """Print a line to standard error; errors are ignored, because there is no other place."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        print_nowhere(sys.stderr)


def print_nowhere(stream: TextIO) -> None:
    """Redirect a stream to /dev/null, and discard what it has buffered."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
