"""Conversion of paths to printable text."""

import os


def for_people(path: bytes) -> str:
    """Return a path as one line of text, with escapes for control characters."""
    text = os.fsdecode(path)
    return "".join(
        char if char.isprintable() or "\udc80" <= char <= "\udcff" else ascii(char)[1:-1]
        for char in text
    )
