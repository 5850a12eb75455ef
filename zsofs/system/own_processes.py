"""Commands that start further processes of this program."""

import json
import os
import sys

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


def program_command(*words: str) -> list[str]:
    """Return the command that runs ``zsofs`` with these arguments, from any directory."""
    return [sys.executable, *(() if is_portable() else ("-P", "-m", "zsofs")), *words]


def is_portable() -> bool:
    """Return whether this program is a portable build, which has Python in it."""
    return bool(getattr(sys, "frozen", False))  # set by PyInstaller
