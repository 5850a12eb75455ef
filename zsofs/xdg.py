"""Base directories of a user's own files, by the XDG Base Directory Specification.

Root is given only what belongs to root: sudo may hand on the environment of another user, who could
put symlinks there for root to write through.
"""

import os
import pwd
from contextlib import suppress
from pathlib import Path


def base_directory(variable: str, default: str) -> Path | None:
    """The directory that a variable names, else a default one in the home directory.

    Args:
        variable: name of an environment variable, such as ``XDG_CACHE_HOME``.
        default: the directory that stands for it, relative to the home directory.

    Returns:
        The directory, which may be missing; None for a user without a home directory.
    """
    given = Path(os.environ.get(variable, ""))
    if given.is_absolute() and _is_ours(given):
        return given
    homes = [os.environ.get("HOME", "")]
    with suppress(KeyError):
        homes.append(pwd.getpwuid(os.geteuid()).pw_dir)
    for home in map(Path, homes):
        if home.is_absolute() and _is_ours(home):
            return home / default
    return None


def _is_ours(path: Path) -> bool:
    """Whether root may use a directory, or the nearest one above it that exists; others may any."""
    if os.geteuid() != 0:
        return True
    for one in (path, *path.parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            return one.stat().st_uid == 0
    return False
