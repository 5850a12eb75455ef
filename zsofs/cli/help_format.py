"""The layout of ``--help``: descriptions and examples fit the width of the terminal."""

import argparse
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

_WIDEST = 98
"""Longer lines of text are hard to read, however wide the terminal is."""

_EXPLANATION = 28
"""Columns that an explanation has at least beside what it explains."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a help text.

    Attributes:
        title: such as ``examples``, with its indentation; empty for a paragraph.
        items: pairs of what is explained and its explanation; for a paragraph its text and "".
    """

    title: str
    items: tuple[tuple[str, str], ...]

    @property
    def is_table(self) -> bool:
        """Whether it has more than two columns."""
        return any("  " in text for _, text in self.items)


def blocks(text: str) -> tuple[Block, ...]:
    """Return the parts of a description or an epilog, which empty lines separate."""
    return tuple(map(_block, re.split(r"\n\s*\n", text.strip("\n"))))


def _block(text: str) -> Block:
    """Parse one part: ``title:`` with indented pairs, or a paragraph."""
    first, _, rest = text.partition("\n")
    if not rest.startswith("  "):
        return Block("", ((" ".join(text.split()), ""),))
    items: list[tuple[str, str]] = []
    for line in rest.splitlines():
        if line.startswith("     "):  # the explanation of a long line, or more of it
            what, explanation = items[-1]
            items[-1] = (what, f"{explanation} {line.strip()}".strip())
        else:
            what, _, explanation = line.strip().partition("  ")
            items.append((what, explanation.strip()))
    return Block(first.rstrip(":"), tuple(items))


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """A formatter that wraps descriptions and epilogs, and keeps their lists and tables."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """See :class:`argparse.HelpFormatter`."""
        parts = ["\n".join(_lines(block, min(width, _WIDEST))) for block in blocks(text)]
        return textwrap.indent("\n\n".join(parts), indent) + "\n"

    def _split_lines(self, text: str, width: int) -> list[str]:
        """See :class:`argparse.HelpFormatter`."""
        return _wrapped(" ".join(text.split()), width)


def _lines(block: Block, width: int) -> Iterator[str]:
    if not block.title:
        yield from _wrapped(block.items[0][0], width)
        return
    margin = " " * (len(block.title) - len(block.title.lstrip()))
    yield from _wrapped(block.title.strip() + ":", width, margin, margin)
    most = width if block.is_table else width - _EXPLANATION
    column = max((len(what) for what, _ in block.items if len(what) + 4 <= most), default=0)
    for what, explanation in block.items:
        start = f"  {what:<{column}}  "
        if block.is_table:
            yield start + explanation
        elif len(what) <= column:
            yield from _wrapped(explanation, width, start, " " * len(start))
        else:
            yield f"  {what}"
            margin = " " * (column + 4)
            yield from _wrapped(explanation, width, margin, margin)


def _wrapped(text: str, width: int, first: str = "", others: str = "") -> list[str]:
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or ([first.rstrip()] if first.strip() else [])
