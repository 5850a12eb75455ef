"""Printing to where it may not arrive: to nobody, onto a full disk, to a stream that is closed."""

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
    """Make sure that descriptors 0 to 2 are taken, and that any file name can be printed."""
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
    """Print to standard output, at once.

    Raises:
        BrokenPipeError: nobody reads it any more.
        PrintError: it cannot be written.
    """
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        print_nowhere(sys.stdout)
        raise PrintError(error) from error


def mention(text: str) -> None:
    """Print to standard output what nobody needs: if it is not taken soon, or not at all, go on."""

    def print_it() -> None:
        try:
            print(text, flush=True)
        except OSError:  # whoever listened has gone
            print_nowhere(sys.stdout)

    thread = threading.Thread(target=print_it, daemon=True)
    with suppress(RuntimeError):  # no thread can be had
        thread.start()
        _printing.append(thread)
        thread.join(timings().terminal)


def is_stuck() -> bool:
    """Whether something that was mentioned has not been taken yet."""
    return any(thread.is_alive() for thread in _printing)


def complain(text: str) -> None:
    """Print a line to standard error, if that takes it: there is nowhere else to say it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        print_nowhere(sys.stderr)


def print_nowhere(stream: TextIO) -> None:
    """Let a stream take what is printed from now on, and what it still holds, and drop it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
