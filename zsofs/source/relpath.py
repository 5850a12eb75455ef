"""Paths relative to the source directory, whose top is the empty path."""


def joined(folder: bytes, name: bytes) -> bytes:
    """Return the path of *name* in *folder*, where the top is the empty path."""
    return b"/".join((folder, name)) if folder else name


def is_at_or_below(path: bytes, top: bytes) -> bool:
    """Return whether *path* is *top*, or lies in that directory at any depth."""
    return (path + b"/").startswith(top + b"/")
