"""The parser of one command is the one that it has among all commands."""

import argparse

import pytest

from zsofs.cli.command_parser import CommandParser
from zsofs.cli.parser import parser


def commands_of(whole: argparse.ArgumentParser) -> dict[str, CommandParser]:
    """The parser of each command."""
    (found,) = (
        action for action in whole._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(found.choices)


COMMANDS = commands_of(parser())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_by_itself_is_the_same(name: str) -> None:
    alone = commands_of(parser(name))
    assert list(alone) == [name]
    assert alone[name].format_help() == COMMANDS[name].format_help()


@pytest.mark.parametrize("word", ["", "--help", "moun", "unmount"])
def test_with_any_other_word_all_commands_are_there(word: str) -> None:
    assert list(commands_of(parser(word))) == list(COMMANDS)
