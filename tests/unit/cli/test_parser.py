"""The parser of one command is the one that it has among all commands."""

import argparse
from collections.abc import Iterator

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


def parsers(of: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of all commands below it."""
    yield of
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


@pytest.mark.parametrize("columns", [80, 132])
def test_help_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for one in parsers(parser()):
        lines = one.format_help().splitlines()
        assert max(map(len, lines)) < columns, one.prog


def test_a_wide_terminal_changes_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def words(columns: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        return [word for one in parsers(parser()) for word in one.format_help().split()]

    assert words(80) == words(200)
