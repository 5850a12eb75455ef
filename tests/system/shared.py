"""What the processes of a test run share: made by the first that needs it, and kept whole."""

import fcntl
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

# Read when this module is loaded: tests set another folder for what they run.
USER_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
PIP_CACHE = {"PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR") or str(USER_CACHE / "pip")}
"""For installations in another home: what pip has fetched and built is not fetched once more."""

_in_use: list[IO[str]] = []


def made_once(place: Path, make: Callable[[Path], None]) -> Path:
    """Return a folder that all processes may read, made if it does not exist.

    It is in use until this process ends: `remove_unused` leaves it alone.

    Args:
        place: the folder.
        make: fills the empty folder that it gets, which is then renamed.
    """
    lock = _lock_of(place)
    unfinished = place.with_name(f"unfinished-{place.name}")
    while True:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if place.is_dir():
            _in_use.append(lock)
            return place
        fcntl.flock(lock, fcntl.LOCK_UN)
        # A second lock: the process that waits to make the folder must not wait for its users.
        with _lock_of(unfinished) as making:
            fcntl.flock(making, fcntl.LOCK_EX)
            if not place.is_dir():
                remove(unfinished)
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(place)


def remove_unused(place: Path) -> None:
    """Remove what `made_once` has made, unless a process uses it."""
    with _lock_of(place) as lock, suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(place)


def remove(folder: Path) -> None:
    """Remove a folder with a system in it, if it exists; what is mounted there stays."""
    subprocess.run(["rm", "-rf", "--one-file-system", folder], check=True)


def _lock_of(place: Path) -> IO[str]:
    return place.with_name(f".{place.name}.lock").open("w")
