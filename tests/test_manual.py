"""The manual page says what --help says, and is right for man."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from release import commands, manual

DATE = "2024-05-31"
COMMANDS = [command for command in commands.zsofs().walk() if not command.commands]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manual") / "zsofs.1"
    path.write_text(manual.zsofs_1(DATE))
    return path


@pytest.fixture(scope="module")
def shown(page: Path) -> str:
    """The page as a reader sees it, with its lines joined."""
    done = subprocess.run(
        ["mandoc", "-T", "ascii", "-O", "width=78", page], capture_output=True, check=True
    )
    return joined(re.sub(rb".\x08", b"", done.stdout).decode())


def joined(text: str) -> str:
    """Text without the breaks of its lines, and without backticks, for which a page has bold."""
    return " ".join(text.replace("`", "").split())


def said_by_help(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "zsofs", *words, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "300", "PATH": ""},
    )
    return done.stdout


def options_in(said: str) -> list[tuple[str, str]]:
    """The options that a help lists, each with its text."""
    found = re.findall(r"^  (-\S.*?)(?:  +|\n {10,})(\S.*(?:\n {10,}.*)*)$", said, re.M)
    return [(joined(name), joined(text)) for name, text in found]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words[-1])
def test_every_option_of_help_is_in_the_page(shown: str, command: commands.Command) -> None:
    said = said_by_help(*command.words[1:])
    options = options_in(said)
    assert len(options) == len(re.findall(r"^  -", said, re.M))
    assert options[0][0] == "-h, --help"
    name = " ".join(command.words)
    start = shown.index(f" {name} {joined(command.usage[0])} ")
    part = shown[start : shown.index(" Examples: ", start)]
    for said_as, text in options[1:]:
        option = re.sub(
            r" [A-Z]+, -", ", -", said_as
        )  # older Pythons say the value after each name
        assert f" {option} {text}" in part
    assert f" {joined(command.description)}" in part


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words[-1])
def test_every_example_of_help_is_in_the_page(shown: str, command: commands.Command) -> None:
    said = said_by_help(*command.words[1:])
    examples = said.partition("examples:\n")[2].partition("\n\n")[0]
    assert examples.startswith("  zsofs ")
    assert joined(examples) in shown
    rest = said.partition("examples:\n")[2].partition("\n\n")[2]
    assert joined(rest) in shown


def test_every_exit_code_of_help_is_in_the_page(shown: str) -> None:
    codes = said_by_help().partition("exit codes:\n")[2]
    assert len(codes.splitlines()) >= 8
    assert f" EXIT STATUS {joined(codes)} " in shown


def test_help_with_the_columns_of_a_terminal_gives_the_same_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages = set()
    for columns in ("40", "80", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        pages.add(manual.zsofs_1(DATE))
    assert len(pages) == 1


def test_the_page_is_right_for_mandoc(page: Path) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", page], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0)


def test_the_page_is_right_for_groff(page: Path) -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-b", "-K", "utf8", "-T", "utf8", page],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "zsofs" in done.stdout
    assert "\u2010" not in done.stdout, "a hyphen that cannot be typed"
    assert "\u2019" not in done.stdout, "an apostrophe that cannot be typed"
