"""An argument parser that rejects abbreviations and suggests corrections."""

import argparse
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

from zsofs.cli.help_format import HelpFormatter
from zsofs.console.stdio import say
from zsofs.console.suggestions import did_you_mean
from zsofs.errors import UsageError

_OTHER_OPTIONS = {
    "--dry-run": "--measure",
    "--delete": "--delete-source",
    "--remove-source": "--delete-source",
    "--overwrite": "--force",
    "--out": "--output",
    "--silent": "--quiet",
    "--debug": "--verbose",
}
_OTHER_COMMANDS = {
    "compress": "pack",
    "decompress": "unpack",
    "extract": "unpack",
    "check": "verify",
    "ls": "list",
    "uninstall": "remove",
    "delete": "remove",
    "add": "install",
}
_OTHER_VALUES = {
    "ps1": "console",
    "best": "small",
    "speed": "fast",
    "zst": "zstd",
}
"""Names used by other programs, and the zsofs names to suggest for them."""


class CommandParser(argparse.ArgumentParser):
    """Argument parser that reports errors in one sentence and rejects abbreviations.

    An abbreviation can turn a typo into an option: ``--d`` would mean ``--delete-source``.
    """

    def __init__(self, **options: object) -> None:
        options["allow_abbrev"] = False
        super().__init__(**options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """See :class:`argparse.ArgumentParser`.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message}; see: {self.prog} --help")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse arguments; unlike argparse, reject unknown ones here.

        The parser of a subcommand does this itself, so that the message names its ``--help``.
        """
        if args is not None:
            self._check_options(args)
            if not args and self._commands() is not None:
                say(self.summary())
                self.error("no command given")
        options, left = super().parse_known_args(args, namespace)
        if left:
            self._refuse(left)
        return options, left

    def summary(self) -> str:
        """Return all commands, one on each line."""
        commands = self._commands()
        found = [] if commands is None else commands._choices_actions
        width = max((len(one.dest) for one in found), default=0)
        return "\n".join(f"  {one.dest:{width}}  {one.help or ''}" for one in found)

    def _commands(self) -> "Commands | None":
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return action
        return None

    def _check_options(self, words: Sequence[str]) -> None:
        """Reject an unknown option, even if a required argument is also missing."""
        known = self._option_string_actions
        for word in words:
            name = word.partition("=")[0]
            if word == "--" or (self._commands() is not None and not word.startswith("-")):
                return
            is_long = name.startswith("--") and " " not in word
            # argparse would parse -force as -f and -o with the value "rce".
            is_short = name.startswith("-") and len(name) > 2 and "-" + name in known
            if (is_long and name not in known) or is_short:
                self._refuse([word])

    def _refuse(self, words: Sequence[str]) -> NoReturn:
        name = words[0].partition("=")[0]
        hint = ""
        if name.startswith("-"):
            hint = did_you_mean(name, self._long_options(), _OTHER_OPTIONS)
        self.error(f"unrecognized arguments: {' '.join(words)}{hint}")

    def _long_options(self) -> list[str]:
        return [
            name
            for name, action in self._option_string_actions.items()
            if name.startswith("--") and action.help != argparse.SUPPRESS
        ]

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """See :class:`argparse.ArgumentParser`; the message has what may have been meant."""
        if action.choices is None or value in action.choices:
            return
        choices = list(map(str, action.choices))
        is_command = isinstance(action, argparse._SubParsersAction)
        others: Mapping[str, str] = _OTHER_COMMANDS if is_command else _OTHER_VALUES
        raise argparse.ArgumentError(
            action,
            f"invalid choice: {value!r} (choose from {', '.join(choices)})"
            + did_you_mean(str(value), choices, others),
        )


Commands: TypeAlias = "argparse._SubParsersAction[CommandParser]"
"""The argparse object to which subcommands are added."""

OptionGroup: TypeAlias = "argparse._ActionsContainer"
"""A parser, or a group of options with a title of their own in its help."""


def add_command(
    commands: Commands,
    name: str,
    summary: str,
    description: str,
    examples: str,
    *,
    usage: str | None = None,
) -> CommandParser:
    """Add a command; return its parser.

    Args:
        commands: the argparse object to which it is added.
        name: name of the command.
        summary: one-line description for the list of commands.
        description: description for its own help.
        examples: text below the options in its help.
        usage: usage line; None: generated from the arguments.
    """
    return commands.add_parser(
        name,
        help=summary,
        usage=usage,
        description=description,
        epilog=examples,
        formatter_class=HelpFormatter,
    )


def without_aliases(words: list[str]) -> list[str]:
    """Replace the aliases ``help``, ``version`` and ``unmount`` in a command line."""
    match words:
        case ["help", *others]:
            return [*others, "--help"]
        case ["version"]:
            return ["--version"]
        case ["unmount", *others]:
            return ["umount", *others]
    return words
