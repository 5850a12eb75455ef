"""Comparison of paths by file identity."""

import os


def same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Return whether two paths, symlinks followed, lead to the same file or directory.

    Args:
        one: a path.
        other: another one.

    Returns:
        Also False if either is missing or inaccessible.
    """
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
