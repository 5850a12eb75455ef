"""Entry point of the portable build, of which PyInstaller makes a program for launch.sh."""

import importlib
import os
import shutil
import sys

from zsofs.cli.main import main
from zsofs.system.own_processes import RUN_MODULE


def _clean_environment() -> None:
    """Undo what the program's first stage has set, for all programs that zsofs starts.

    They would load the libraries of the portable build instead of those of the system.
    """
    own = [name for name in os.environ if name.startswith("_PYI_")]
    for name in (*own, "LD_LIBRARY_PATH"):
        os.environ.pop(name, None)
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before


def _name_program(started_as: str) -> None:
    """Make ``sys.argv[0]`` a path, as it is of scripts: services start the program by it."""
    sys.argv[0] = started_as
    if "/" not in started_as:
        sys.argv[0] = shutil.which(started_as) or sys.executable


def start() -> int:
    """Run the command line, or another process of the program."""
    _clean_environment()
    started_as = os.environ.pop("ZSOFS_STARTED_AS", sys.argv[0])  # by launch.sh
    if sys.argv[1:2] == [RUN_MODULE]:
        _, module = sys.argv[1:3]
        del sys.argv[1:3]
        importlib.import_module(module).main()
        return 0
    _name_program(started_as)
    return main()


if __name__ == "__main__":
    raise SystemExit(start())
