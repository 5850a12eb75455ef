"""Start zsofs by fork(2) from a process that has imported everything, in 0.02 s instead of 0.3 s.

`install` replaces `subprocess.Popen`. A command that begins with the arguments of `ZSOFS`, or
another of `MODULES`, is then forked by a server that each pytest process has; every other command
is executed as always, and so is one that asks for what a fork cannot do (an environment that the
interpreter or the loader reads when it starts). To have one executed, write ``env`` in front of it.

What is forked is a child of pytest, with its own standard streams, environment, directory, umask,
limits, signals, session, user and command line, as if it had been executed. It is made by clone(2)
with CLONE_PARENT, and so has the parent of the server; a second fork would take as long as the
first. `in_scripts` has the command for scripts, which are no part of pytest (`script_server`).
"""

import atexit
import ctypes
import gc
import importlib
import inspect
import json
import os
import pkgutil
import resource
import runpy
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support import script_server
from tests.support.become import IGNORED_BY_PYTHON, LIMITS, become

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
    plain = ["executable", "preexec_fn"]
    if os.geteuid() != 0:  # who cannot become another user
        plain += ["uid", "gid", "gids"]
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
        self.name = f"zsofs-tests-{self.owner}-{secrets.token_hex(8)}"
        with theirs, script_server.listening(self.name) as scripts:
            fds = [theirs.fileno(), scripts.fileno()]
            # Its own words are written over by those of the commands, which may be longer.
            command = [sys.executable, "-m", "tests.support.fork_server", *map(str, fds)]
            command.append(" " * 4096)
            root = Path(__file__).parents[2]
            self._process = _Popen(command, pass_fds=fds, cwd=root, stdin=subprocess.DEVNULL)
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
            "limits": [(which, *resource.getrlimit(which)) for which in LIMITS],
            "ignored": sorted(ignored - IGNORED_BY_PYTHON),
            "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            "session": asked["start_new_session"],
            "group": asked["process_group"],
            "uid": asked["uid"],
            "gid": asked["gid"],
            "gids": asked["gids"],
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


def in_scripts(module: str | Path = "zsofs") -> tuple[str, ...]:
    """What to run in a script, with arguments: a fork of the server, if that can be.

    It is executed where a fork would differ: in another environment for the interpreter or another
    session, with fewer rights, closed standard streams or more descriptors than those.

    Args:
        module: one of `MODULES`, or the path of the installed program, whose name may be another.
    """
    client = str(Path(__file__).with_name("script_client.py"))
    return (sys.executable, "-I", "-S", client, _server().name, str(module))


# ---- In the server ----


def _serve(its: socket.socket, scripts: socket.socket) -> list[str]:
    """Fork whatever is asked for; returns in the children only, with the arguments of each."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for what serves scripts
    environment = _read_at_start(_environment(None))
    ready = select.poll()
    for line in (its, scripts):
        ready.register(line, select.POLLIN)
    while True:
        asked = {fd for fd, _ in ready.poll()}
        words = _fork_for_pytest(its) if its.fileno() in asked else None
        if words is None and scripts.fileno() in asked:
            words = script_server.fork(scripts, lambda given: _read_at_start(given) == environment)
        if words is not None:
            its.detach()  # it is closed
            scripts.detach()
            return words


def _fork_for_pytest(its: socket.socket) -> list[str] | None:
    """Fork what pytest asks for; returns its arguments there, and None in the server."""
    data, fds, *_ = socket.recv_fds(its, _MOST_REQUEST, 100)
    if not data:
        os._exit(0)
    child = _fork_sibling()
    if child == 0:
        request = json.loads(data)
        become(request, fds)
        return list(request["words"])
    its.send(str(child).encode())
    for fd in fds:
        os.close(fd)
    return None


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
    words = _serve(*(socket.socket(fileno=int(number)) for number in sys.argv[1:3]))
    sys.argv[:] = words
    try:
        if os.path.isabs(words[0]):  # the program, under one of its names
            from zsofs.cli.main import main

            sys.exit(main())
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
