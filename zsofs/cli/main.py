"""Entry point. ``zsofs --version`` needs no other module, so that scripts can ask for it often."""

import os
import sys
from collections.abc import Sequence

from zsofs import __version__


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Args:
        words: the command line; None: the arguments of this process.

    Raises:
        SystemExit: after printing help or the version.
    """
    if words is None and sys.argv[1:] == ["--version"] and _print_version():
        return 0
    from zsofs.cli.dispatch import run

    return run(words)


def _print_version() -> bool:
    """Print the version; return whether it was printed."""
    if os.path.basename(sys.argv[0]).startswith("mount."):
        return False  # for the mount helper, it is a word like any other
    try:
        os.write(1, f"zsofs {__version__}\n".encode())
    except OSError:
        return False  # it is printed again, and the error is reported
    return True
