"""The command line as plain facts, read from the parsers that also print ``--help``."""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from zsofs.cli import help_format, parser


class Kind(Enum):
    """What a value is, as far as shells can offer some."""

    FILE = auto()
    DIRECTORY = auto()
    USER = auto()
    GROUP = auto()
    MOUNT = auto()
    SERVICE = auto()
    OTHER = auto()


# By what it is called in the help; all other values cannot be guessed.
_KINDS = {
    "FILE": Kind.FILE,
    "INPUT": Kind.FILE,
    "OUT": Kind.FILE,
    "PATH": Kind.FILE,
    "USER": Kind.USER,
    "GROUP": Kind.GROUP,
    "DIR": Kind.DIRECTORY,
    "INBOX": Kind.DIRECTORY,
    "LIBRARY": Kind.DIRECTORY,
    "SOURCE": Kind.DIRECTORY,
    "MOUNTPOINT": Kind.DIRECTORY,
}


# What commands expect that are about mounts and services which are there.
_EXISTING = {
    ("zsofs", "umount"): Kind.MOUNT,
    ("zsofs", "status"): Kind.MOUNT,
    ("zsofs", "top"): Kind.MOUNT,
    ("zsofs", "metrics"): Kind.MOUNT,
    ("zsofs", "web"): Kind.MOUNT,
    ("zsofs", "reload"): Kind.MOUNT,
    ("zsofs", "service", "remove"): Kind.SERVICE,
}


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Attributes:
        flags: its spellings, as in ``("-f", "--foreground")``.
        metavar: what its value is called, or None if it takes none.
        text: its help.
        choices: the values it may have, as far as they can be listed.
        repeats: whether saying it twice says more than once.
    """

    flags: tuple[str, ...]
    metavar: str | None
    text: str
    choices: tuple[str, ...]
    repeats: bool

    @property
    def value(self) -> Kind:
        """What its value is."""
        return _KINDS.get(self.metavar or "", Kind.OTHER)


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        words: how it is called, as in ``("zsofs", "mount")``.
        usage: its synopses, one for each way to call it.
        summary: its line in the list of commands.
        description: what it does.
        blocks: what follows the options: examples and remarks.
        options: without ``--help``.
        positionals: the names of what follows the options, as in ``("MOUNTPOINT",)``.
        commands: the commands beneath it.
    """

    words: tuple[str, ...]
    usage: tuple[str, ...]
    summary: str
    description: str
    blocks: tuple[help_format.Block, ...]
    options: tuple[Option, ...]
    positionals: tuple[str, ...]
    commands: tuple["Command", ...]

    @property
    def argument(self) -> Kind:
        """What follows its options."""
        if self.words in _EXISTING:
            return _EXISTING[self.words]
        names = [name for positional in self.positionals for name in positional.split("|")]
        return next((_KINDS[name] for name in names if name in _KINDS), Kind.OTHER)

    def walk(self) -> Iterator["Command"]:
        """This command and all beneath it."""
        yield self
        for command in self.commands:
            yield from command.walk()


def zsofs() -> Command:
    """The whole command line."""
    return _command(parser.parser(), ("zsofs",), "")


def _command(parser: argparse.ArgumentParser, words: tuple[str, ...], summary: str) -> Command:
    options: list[Option] = []
    positionals: list[str] = []
    commands: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            commands += [
                _command(below, (*words, name), summaries[name])
                for name, below in action.choices.items()
            ]
        elif not action.option_strings:
            positionals += str(action.metavar or action.dest).split(" ")
        elif not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS:
            options.append(_option(action))
    return Command(
        words,
        _usage(parser),
        summary,
        "\n\n".join(block.items[0][0] for block in help_format.blocks(parser.description or "")),
        help_format.blocks(parser.epilog or ""),
        tuple(options),
        tuple(positionals),
        tuple(commands),
    )


def _option(action: argparse.Action) -> Option:
    metavar = None
    if action.nargs != 0:
        metavar = str(action.metavar or action.dest.upper())
    text = _joined((action.help or "").replace("%%", "%"))
    return Option(
        tuple(action.option_strings),
        metavar,
        text,
        tuple(action.choices or ()),
        isinstance(action, argparse._AppendAction),
    )


def _usage(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    text = parser.format_usage().removeprefix("usage: ")
    text = re.sub(r"\n\s+(?=\S)(?!zsofs )", " ", text.strip().replace(" [-h]", ""))
    return tuple(line.strip() for line in text.splitlines())


def _joined(text: str) -> str:
    return " ".join(text.split())
