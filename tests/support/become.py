"""Make a fork what executing a command would have made: for `tests.support.fork_server`."""

import ctypes
import fcntl
import io
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

LIMITS = [value for name, value in vars(resource).items() if name.startswith("RLIMIT_")]
IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}  # in itself; not in what it executes

_SET_DUMPABLE = 4  # prctl(2)
_STDERR = 2
_FAR = 3  # the first descriptor behind the standard streams


def become(request: Mapping[str, Any], fds: list[int]) -> None:
    """Make this process what executing the command would have made.

    Args:
        request: what the command has, by name: its ``words`` after ``python -m`` or ``python``,
            ``environment``, numbers of descriptors ``kept``, ``umask``, ``limits``, ``ignored`` and
            ``blocked`` signals, whether it begins a ``session``, its ``group`` of processes (-1: as
            this), and its ``uid``, ``gid`` and ``gids`` (None: as this).
        fds: its directory, its standard streams, and what it keeps.
    """
    if request["session"]:
        os.setsid()
    if request["group"] >= 0:
        os.setpgid(0, request["group"])
    cwd, *fds = fds
    os.fchdir(cwd)
    wanted = dict(zip((0, 1, 2, *request["kept"]), fds, strict=True))
    first = max(*wanted, *fds) + 1  # nothing is overwritten that is still to be moved
    moved = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, first) for number, fd in wanted.items()}
    for number, fd in moved.items():
        os.dup2(fd, number)
    edge = _FAR
    for number in (*request["kept"], os.sysconf("SC_OPEN_MAX")):
        os.closerange(edge, number)
        edge = number + 1
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for which, soft, hard in request["limits"]:
        resource.setrlimit(which, (soft, hard))
    _set_signals(set(request["ignored"]), request["blocked"])
    _set_streams()
    words = request["words"]
    module = [] if os.path.isabs(words[0]) else ["-m"]
    _set_command_line([sys.executable, *module, *words])
    _set_user(request["uid"], request["gid"], request["gids"])


def _set_signals(ignored: set[int], blocked: list[int]) -> None:
    """Have the signals ignored that pytest ignores, and Python; all else is as this began."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if number in ignored:
            signal.signal(number, signal.SIG_IGN)
        elif number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        elif signal.getsignal(number) == signal.SIG_IGN and number not in IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _set_streams() -> None:
    """Have sys.stdin, sys.stdout and sys.stderr made as the interpreter makes them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(number, getattr(sys, f"__{name}__"))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _stream(number: int, old: io.TextIOWrapper) -> TextIO:
    is_unbuffered = number > 0 and old.write_through  # PYTHONUNBUFFERED
    mode = "wb" if number else "rb"
    raw = open(number, mode, 0 if is_unbuffered else -1, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(
        raw,
        encoding=old.encoding,
        errors=old.errors,
        newline="\n" if number else None,
        line_buffering=not old.write_through and (number == _STDERR or os.isatty(number)),
        write_through=old.write_through,
    )


def _set_command_line(words: list[str]) -> None:
    """Write *words* where /proc shows the command line, over those of the server."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # fields 48 and 49 of proc(5)
    text = b"".join(os.fsencode(word) + b"\0" for word in words)[: end - start - 1]
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, text, len(text))


def _set_user(uid: int | None, gid: int | None, gids: list[int] | None) -> None:
    """Change to another user, as `subprocess` does before it executes something."""
    if gids is not None:
        os.setgroups(gids)
    if gid is not None:
        os.setregid(gid, gid)
    if uid is not None:
        os.setreuid(uid, uid)
        # The kernel gives /proc/PID of what changes its user to root, until it executes something.
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 1, 0, 0, 0)
