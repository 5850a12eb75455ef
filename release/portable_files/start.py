"""Entry point of the portable build, which PyInstaller makes one program of."""

import os
import shutil
import sys
from pathlib import Path

from zsofs.archives.decoder import WORKER
from zsofs.cli.main import main
from zsofs.watch.job import WORKER as WATCH_WORKER

_UNINSTALL = Path(sys.executable).parent / "uninstall.sh"


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


def _name_program() -> None:
    """Make ``sys.argv[0]`` a path, as it is of scripts: services start the program by it."""
    if "/" not in sys.argv[0]:
        sys.argv[0] = shutil.which(sys.argv[0]) or sys.executable


def start() -> int:
    """Run the command line, a process that zsofs starts for itself, or ``uninstall``."""
    _clean_environment()
    if sys.argv[1:2] == [WORKER]:
        from zsofs.archives import worker

        del sys.argv[1]
        worker.main()
        return 0
    if sys.argv[1:2] == [WATCH_WORKER]:
        from zsofs.watch import worker as watch_worker

        del sys.argv[1]
        watch_worker.main()
        return 0
    if sys.argv[1:2] == ["uninstall"]:
        os.execv("/bin/sh", ["sh", str(_UNINSTALL), *sys.argv[2:]])
    _name_program()
    return main()


if __name__ == "__main__":
    raise SystemExit(start())
