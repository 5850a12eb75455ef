"""Paths relative to the source directory, whose top is the empty path."""


def joined(folder: bytes, name: bytes) -> bytes:
    """The path of *name* in *folder*, where the top is the empty path."""
    return b"/".join((folder, name)) if folder else name


def is_at_or_below(path: bytes, top: bytes) -> bool:
    """Whether *path* is *top*, or lies in that folder at any depth."""
    return (path + b"/").startswith(top + b"/")
