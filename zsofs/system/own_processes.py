"""Commands that start further processes of this program."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

RUN_MODULE = "--run-module"
"""First argument of such a process in a portable build, which has no Python to start it with."""

_START = (
    "import importlib, json, sys; sys.path[:] = json.loads(sys.argv.pop());"
    " importlib.import_module(sys.argv.pop(1)).main()"
)
"""Program of the process; its last argument is the list of directories with modules."""

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs ``main()`` of a module, isolated from the environment.

    Args:
        module: its full name.
        arguments: ``sys.argv[1:]`` of the process.
    """
    if is_portable():
        return [sys.executable, RUN_MODULE, module, *arguments]
    modules = json.dumps([_PACKAGE, *sys.path])
    return [sys.executable, "-I", "-S", "-B", "-c", _START, module, *arguments, modules]


def start_with_pipes(
    command: Sequence[str],
    *,
    stderr: int | None = None,
    fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    start_new_session: bool = False,
) -> "subprocess.Popen[bytes]":
    """Start a process with pipes for its standard input and output.

    If that fails, all descriptors are closed. Popen loses those of the first pipe if there are none
    for the second.

    Args:
        command: the program and its arguments.
        stderr: as for Popen.
        fds: descriptors that it inherits.
        env: its environment; None: that of this process.
        start_new_session: as for Popen.

    Raises:
        OSError: it cannot be started.
    """
    with ExitStack() as ours, ExitStack() as its:
        stdin, write_end = os.pipe()
        its.callback(os.close, stdin)
        to_it = ours.enter_context(open(write_end, "wb", 0))
        read_end, stdout = os.pipe()
        its.callback(os.close, stdout)
        from_it = ours.enter_context(open(read_end, "rb", 0))
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=fds,
            env=env,
            start_new_session=start_new_session,
        )
        process.stdin, process.stdout = to_it, from_it
        ours.pop_all()
    return process


def program_command(*words: str) -> list[str]:
    """Return the command that runs ``zsofs`` with these arguments, from any directory."""
    return [sys.executable, *(() if is_portable() else ("-P", "-m", "zsofs")), *words]


def is_portable() -> bool:
    """Return whether this program is a portable build, which has Python in it."""
    return bool(getattr(sys, "frozen", False))  # set by PyInstaller
