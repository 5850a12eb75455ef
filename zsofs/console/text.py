"""Text for people from bytes of paths."""

import os


def for_people(path: bytes) -> str:
    """A path as one line of text: control characters are written as escapes."""
    text = os.fsdecode(path)
    return "".join(
        char if char.isprintable() or "\udc80" <= char <= "\udcff" else ascii(char)[1:-1]
        for char in text
    )
