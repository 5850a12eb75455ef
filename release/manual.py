"""The manual page zsofs(1), from the parsers that also print ``--help``: no text is typed twice."""

from collections.abc import Iterable

from release import roff
from release.commands import Block, Command, Option, zsofs
from zsofs import __version__

_SOURCE = f"zsofs {__version__}"
_TITLES = {"exit codes": "Exit status"}  # as man-pages(7) calls it


def zsofs_1(date: str) -> str:
    """The page zsofs(1).

    Args:
        date: when what it describes was last changed, as in ``2024-05-31``.
    """
    whole = zsofs()
    ends = [command for command in whole.walk() if not command.commands]
    page = [
        roff.title("zsofs", 1, date, _SOURCE),
        roff.heading("Name"),
        roff.filled(f"zsofs \\- {roff.prose(_summary(whole))}"),
        roff.heading("Synopsis"),
        _synopses(usage for command in ends for usage in command.usage),
        roff.heading("Description"),
        roff.filled(roff.prose(whole.description)),
        roff.heading("Options"),
        *map(_option, whole.options),
        roff.heading("Commands"),
    ]
    for command in ends:
        page += [
            roff.subheading(" ".join(command.words)),
            _synopses(command.usage),
            roff.paragraph(roff.prose(command.description)),
            *map(_option, command.options),
            *(_block(block, inside=True) for block in command.blocks),
        ]
    page += [_block(block, inside=False) for block in whole.blocks]
    return "".join(page)


def _summary(whole: Command) -> str:
    text = whole.description.rstrip(".")
    return text[0].lower() + text[1:]


def _synopses(usages: Iterable[str]) -> str:
    return ".br\n".join(roff.filled(roff.words(usage)) for usage in usages)


def _option(option: Option) -> str:
    value = f" {roff.italic(option.metavar)}" if option.metavar else ""
    said = ", ".join(roff.bold(flag) for flag in option.flags) + value
    return roff.explained(said, roff.prose(option.text))


def _block(block: Block, *, inside: bool) -> str:
    if not block.title:
        return "".join(roff.paragraph(roff.prose(text)) for text, _ in block.items)
    if inside:
        head = roff.paragraph(roff.escaped(block.title.capitalize() + ":"))
    else:
        head = roff.heading(_TITLES.get(block.title, block.title))
    return head + "".join(
        roff.explained(roff.bold(what), roff.prose(text)) for what, text in block.items
    )
