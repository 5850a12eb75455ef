"""Whether two paths lead to one file."""

import os


def same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Return whether two paths, symlinks followed, lead to the same file or directory.

    Args:
        one: a path.
        other: another one.

    Returns:
        False also if either is missing or cannot be reached.
    """
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
