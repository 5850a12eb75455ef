"""Text formatting: aligned columns, sizes, times and counts. Pure functions."""

import os
import re
from collections.abc import Sequence
from typing import TextIO

from zsofs.console.text import for_people

_GAP = "  "
_USUAL_COLUMNS = 80
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_TIMES = (("d", 86_400), ("h", 3_600), ("min", 60))
_BYTE = re.compile("[\udc80-\udcff]")
"""A byte that is not valid text; it is printed as an escape."""
STILL_COUNTING = "still counting"
"""Suffix of a number of discs that is not final."""

_ESCAPE_WIDTH = len(r"\udcff")


def table(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Return rows as lines with aligned columns.

    Args:
        rows: rows with as many cells as *align* has letters.
        align: ``l`` or ``r`` for each column.

    Returns:
        One line per row, without trailing blanks.
    """
    widths = [max(map(width, cells)) for cells in zip(*rows, strict=True)]
    return [
        _GAP.join(
            _padded(cell, space, side) for cell, space, side in zip(row, widths, align, strict=True)
        ).rstrip()
        for row in rows
    ]


def _padded(text: str, columns: int, side: str) -> str:
    blanks = " " * (columns - width(text))
    return blanks + text if side == "r" else text + blanks


def width(text: str) -> int:
    """Return the number of terminal columns of a text without control characters."""
    if text.isascii():  # most names are; importing wcwidth takes longer than formatting a table
        return len(text)
    from wcwidth import wcswidth

    return wcswidth(_BYTE.sub("_" * _ESCAPE_WIDTH, text))


def terminal_columns(stream: TextIO) -> int:
    """Return the width of the terminal *stream*; 80 if unknown or not a terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        return _USUAL_COLUMNS


def shortened(text: str, columns: int) -> str:
    """Return *text*, truncated to *columns* with a trailing ``…`` if it is wider."""
    if width(text) <= columns:
        return text
    cut = ""
    for char in text:
        if width(cut + char) > columns - 1:
            break
        cut += char
    return cut + "…"


def wrapped(text: str, columns: int, indent: str) -> list[str]:
    """Return *text* as lines of at most *columns*, broken at blanks where possible.

    Args:
        text: one line.
        columns: maximum width.
        indent: prefix of each line but the first.
    """
    lines = [""]
    for word in re.findall(r" *[^ ]+", text):
        if width(lines[-1] + word) > columns and lines[-1].strip():
            lines.append(indent)
        for char in word if lines[-1].strip() or lines == [""] else word.lstrip():
            if width(lines[-1] + char) > columns and lines[-1].strip():
                lines.append(indent)
            lines[-1] += char
    return lines


def printable(text: str) -> str:
    """Return untrusted text as one line, with escapes for control characters."""
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:  # unpaired surrogates, which no path has
        raw = text.encode(errors="backslashreplace")
    return for_people(raw)


def size(count: int) -> str:
    """Return a number of bytes in decimal units with three digits: ``4.37 GB``, ``702 GB``."""
    if count < 1000:
        return f"{count} B"
    value, unit = float(count), 0
    while value >= 999.5 and unit + 1 < len(_SIZES):
        value /= 1000
        unit += 1
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {_SIZES[unit]}"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: ``3 d 4 h``, ``12 min``, ``5 s``."""
    left = max(int(seconds), 0)
    if left < 60:
        return f"{left} s"
    parts = []
    for name, unit in _TIMES:
        count, left = divmod(left, unit)
        parts.append(f"{count} {name}" if count else "")
    first = next(place for place, part in enumerate(parts) if part)
    return " ".join(part for part in parts[first : first + 2] if part)


def disc_kinds(compressed: int, plain: int) -> str:
    """Return the number of discs per kind: ``3 compressed, 1 plain``; empty without plain ones."""
    return f"{compressed:,} compressed, {plain:,} plain" if plain else ""


def counted(count: int, thing: str) -> str:
    """Return a count with its noun: ``1 disc``, ``1,234 discs``, ``2 directories``."""
    several = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{count:,} {thing if count == 1 else several}"


def waiting_reads(count: int) -> str:
    """Return how many reads wait: ``1 read waits``, ``3 reads wait``."""
    return f"{counted(count, 'read')} {'waits' if count == 1 else 'wait'}"
