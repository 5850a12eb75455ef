"""Start zsofs by fork(2) from a process that has imported everything, in 0.02 s instead of 0.3 s.

`install` replaces `subprocess.Popen`. A command that begins with the arguments of `ZSOFS`, or
another of `MODULES`, is then forked by a server that each pytest process has; every other command
is executed as always, and so is one that asks for what a fork cannot do (another user, an
environment that the interpreter or the loader reads when it starts). To have one executed, write
``env`` in front of it.

What is forked is a child of pytest, with its own standard streams, environment, directory, umask,
limits, signals, session and command line, as if it had been executed. It is made by clone(2) with
CLONE_PARENT, and so has the parent of the server; a second fork would take as long as the first.
"""

import atexit
import ctypes
import gc
import importlib
import inspect
import io
import json
import os
import pkgutil
import resource
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

MODULES = (
    "zsofs",
    "tests.support.faulty",
    "tests.support.faulty_start",
    "tests.support.timed",
    "tests.support.described",
    "tests.support.hanging",
    "tests.support.passthrough",
    "tests.support.stopping_source",
)
"""What can be forked, where it follows ``python -m``."""

_READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "COVERAGE", "MALLOC_", "ZSOFS_COMMAND")
"""How variables begin that are read before ``main``, by the loader, Python or an import."""

_CLONE = {"x86_64": 56, "aarch64": 220}  # numbers of clone(2)
_CLONE_PARENT, _CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID = 0x8000, 0x200000, 0x1000000
_GET_TID_ADDRESS = 40  # prctl(2)
_MOST_WORDS = 64 << 10
_MOST_REQUEST = 160 << 10  # less than a socket takes at once
_LIMITS = [value for name, value in vars(resource).items() if name.startswith("RLIMIT_")]
_IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}  # in itself; not in what it executes
_STDERR = 2
_FAR = 3  # the first descriptor behind the standard streams

_Popen = subprocess.Popen


def install() -> None:
    """Have this process fork what can be forked, from now on.

    What it forks itself executes all: a server of its own would cost more than its few commands.
    """
    _ForkingPopen.owner = os.getpid()
    setattr(subprocess, "Popen", _ForkingPopen)  # noqa: B010 - mypy forbids the other


_END_SECONDS = 60
"""How long the server may take to end once its socket is closed."""


class _ForkingPopen(_Popen[Any]):
    """A `subprocess.Popen` whose process may come from the server.

    Attributes:
        owner: the process that has a server; not its forks.
    """

    owner = 0

    def _execute_child(self, args: Any, *others: Any) -> None:
        execute: Any = getattr(_Popen, "_execute_child")  # noqa: B009 - it is private
        asked = inspect.signature(execute).bind(self, args, *others).arguments
        words = _words(asked) if os.getpid() == self.owner else None
        if words is None:
            execute(self, args, *others)
            return
        pipes = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        fds = [own if fd == -1 else fd for own, fd in enumerate(pipes)]
        self.pid = _server().start(words, fds, asked)
        ends = [asked[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite")]
        close: Any = getattr(self, "_close_pipe_fds")  # noqa: B009
        self._child_created = True
        close(*ends, asked["errread"], asked["errwrite"])


def _words(asked: Mapping[str, Any]) -> list[str] | None:
    """Return the arguments of a command that can be forked; None for all others."""
    args = asked["args"]
    if isinstance(args, str | bytes | os.PathLike):
        return None
    words = [os.fsdecode(word) for word in args]
    if words[:2] != [sys.executable, "-m"] or words[2:3] == [] or words[2] not in MODULES:
        return None
    plain = ("executable", "preexec_fn", "gid", "gids", "uid")
    if any(asked[name] is not None for name in plain) or asked["shell"] or not asked["close_fds"]:
        return None
    if (
        _read_at_start(_environment(asked["env"])) != _server().environment
        or sum(map(len, words)) > _MOST_WORDS
    ):
        return None
    return words


def _environment(given: Mapping[Any, Any] | None) -> dict[str, str]:
    """Return what a process gets: by default all that C knows, such as COLUMNS of readline."""
    if given is not None:
        return {os.fsdecode(key): os.fsdecode(value) for key, value in given.items()}
    found = {}
    strings = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    number = 0
    while string := strings[number]:
        key, _, value = os.fsdecode(string).partition("=")
        found[key] = value
        number += 1
    return found


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key.startswith(_READ_AT_START)}


# ---- In the process that runs the tests ----


class _Server:
    """The connection to a process that has imported everything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.owner = os.getpid()
        self.environment = _read_at_start(_environment(None))
        with theirs:
            fd = theirs.fileno()
            # Its own words are written over by those of the commands, which may be longer.
            command = [sys.executable, "-m", "tests.support.fork_server", str(fd), " " * 4096]
            root = Path(__file__).parents[2]
            self._process = _Popen(command, pass_fds=[fd], cwd=root, stdin=subprocess.DEVNULL)
        atexit.register(self._end)

    def start(self, words: list[str], fds: list[int], asked: Mapping[str, Any]) -> int:
        """Fork a process that runs these words; returns its number."""
        kept = sorted(map(int, asked["pass_fds"]))
        ignored = {n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN}
        request = {
            "words": words[2:],
            "environment": _environment(asked["env"]),
            "kept": kept,
            "umask": asked["umask"] if asked["umask"] >= 0 else _umask(),
            "limits": [(which, *resource.getrlimit(which)) for which in _LIMITS],
            "ignored": sorted(ignored - _IGNORED_BY_PYTHON),
            "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            "session": asked["start_new_session"],
            "group": asked["process_group"],
        }
        cwd = os.open(asked["cwd"] or ".", os.O_PATH | os.O_DIRECTORY)
        try:
            with self._lock:
                data = json.dumps(request).encode()
                assert len(data) <= _MOST_REQUEST, "the environment or the command is too long"
                socket.send_fds(self._socket, [data], [cwd, *fds, *kept])
                answer = self._socket.recv(100)
        finally:
            os.close(cwd)
        assert answer, "the fork server has ended"
        return int(answer)

    def _end(self) -> None:
        if os.getpid() == self.owner:
            self._socket.close()
            self._process.wait(_END_SECONDS)


_started: list[_Server] = []
_starting = threading.Lock()


def _server() -> _Server:
    """Return the server of this process."""
    with _starting:
        if not _started:
            _started.append(_Server())
        return _started[0]


def _umask() -> int:
    """Return the umask, without setting it meanwhile, which other threads would feel."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("Umask:")[2].split()[0], 8)


# ---- In the server ----


def _serve(its: socket.socket) -> list[str]:
    """Fork whatever is asked for; returns in the children only, with the arguments of each."""
    while True:
        data, fds, *_ = socket.recv_fds(its, _MOST_REQUEST, 100)
        if not data:
            os._exit(0)
        child = _fork_sibling()
        if child == 0:
            request = json.loads(data)
            _become(request, fds)
            return list(request["words"])
        its.send(str(child).encode())
        for fd in fds:
            os.close(fd)


def _fork_sibling() -> int:
    """Do what `os.fork` does, but with the parent of this process as parent of the new one."""
    python = ctypes.PyDLL(None, use_errno=True)  # it keeps the GIL, as os.fork does
    address = ctypes.c_void_p()
    assert python.prctl(_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0) == 0
    flags = _CLONE_PARENT | _CLONE_CHILD_CLEARTID | _CLONE_CHILD_SETTID | signal.SIGCHLD
    number = ctypes.c_long(_CLONE[os.uname().machine])
    python.PyOS_BeforeFork()
    # Where the thread's number is kept is the last argument, or the one before, by architecture.
    child = int(python.syscall(number, ctypes.c_long(flags), None, None, address, address))
    if child == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    assert child > 0, os.strerror(ctypes.get_errno())
    return child


def _become(request: Mapping[str, Any], fds: list[int]) -> None:
    """Make this process what executing the command would have made."""
    if request["session"]:
        os.setsid()
    if request["group"] >= 0:
        os.setpgid(0, request["group"])
    cwd, *fds = fds
    os.fchdir(cwd)
    wanted = dict(zip((0, 1, 2, *request["kept"]), fds, strict=True))
    first = max(*wanted, *fds) + 1  # nothing is overwritten that is still to be moved
    moved = {number: _copy(fd, first) for number, fd in wanted.items()}
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
    _set_command_line([sys.executable, "-m", *request["words"]])


def _copy(fd: int, least: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, least)


def _set_signals(ignored: set[int], blocked: list[int]) -> None:
    """Have the signals ignored that pytest ignores, and Python; all else is as this began."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if number in ignored:
            signal.signal(number, signal.SIG_IGN)
        elif number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        elif signal.getsignal(number) == signal.SIG_IGN and number not in _IGNORED_BY_PYTHON:
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


def _import_everything() -> None:
    from zsofs.fuse import receive

    receive.load()  # before pyfuse3, as the command does
    import zsofs

    for found in pkgutil.walk_packages(zsofs.__path__, "zsofs."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def _use_once() -> None:
    """Fill the caches of libraries that each process would fill, with nothing that it could see.

    They are regular expressions, and the place of the C library: inotify_simple runs ldconfig.
    """
    from inotify_simple import INotify

    from zsofs.cli.parser import parser
    from zsofs.system.mountinfo import mounted_at

    INotify().close()
    parser().format_help()
    mounted_at(b"/")


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends pytest, and that ends this
    _import_everything()
    _use_once()
    gc.collect()
    gc.freeze()
    words = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv[:] = words
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        _end(0 if end.code is None else end.code)
        raise


def _end(code: int | str) -> None:
    """End as the interpreter does, but without the end of each module: 0.02 s for so many of them.

    Returns if there is more to do: a message, or a stream that does not take what is left.
    """
    if not isinstance(code, int):
        return
    threading._shutdown()  # type: ignore[attr-defined] # it waits for threads
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code & 0xFF)


if __name__ == "__main__":
    _main()
