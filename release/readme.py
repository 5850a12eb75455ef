"""Sections of the README as parts of a manual page."""

import re
from collections.abc import Iterator
from pathlib import Path

from release import roff

_README = Path(__file__).parent.parent / "README.md"


def section(title: str) -> str:
    """What the README says below a heading, as roff.

    Args:
        title: the heading without its marks.

    Raises:
        ValueError: there is no such heading.
    """
    text = _README.read_text()
    found = re.search(
        rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,3}} |\Z)", _plain(text), re.M | re.S
    )
    if found is None:
        raise ValueError(f"the README has no section {title!r}")
    return "".join(map(_block, _blocks(found[2]))).removeprefix(".PP\n")  # a heading is enough


def _plain(text: str) -> str:
    """Markdown without its links, and without the references that have no meaning elsewhere."""
    text = re.sub(r",? *\(see \[[^]]*\]\(#[^)]*\)\)", "", text)
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs, tables, and code with all its lines."""
    for number, part in enumerate(re.split(r"^```\w*\n", text, flags=re.MULTILINE)):
        if number % 2:
            yield f"```\n{part}"
        else:
            yield from (block for block in re.split(r"\n{2,}", part.strip("\n")) if block)


def _block(text: str) -> str:
    if text.startswith("```"):
        lines = "".join(f"{roff.literal(line)}\n" for line in text.splitlines()[1:])
        return f".PP\n.in +4n\n.EX\n{lines}.EE\n.in\n"
    if text.startswith("|"):
        return "".join(map(_row, text.splitlines()[2:]))
    return roff.paragraph(_inline(text))


def _row(line: str) -> str:
    """A row of a table: what its first cell has, explained by the others."""
    first, *others = (cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|")))
    return roff.explained(_inline(first), _inline("; ".join(others)))


def _inline(text: str) -> str:
    bold = re.compile(r"\*\*(.+?)\*\*")  # code in it is bold, too
    return roff.prose(
        bold.sub(lambda found: f"`{found[1].replace('`', '')}`", " ".join(text.split()))
    )
