"""The manual pages say what --help says, and are right for man."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from release import commands, manual, readme
from zsofs.cli import parser
from zsofs.mount import config

pytestmark = pytest.mark.xdist_group("manual")  # they share what takes long to make

DATE = "2024-05-31"
COMMANDS = [command for command in commands.zsofs().walk() if not command.commands]


@pytest.fixture(scope="module")
def pages(module_path: Path) -> Path:
    """A folder with all pages."""
    for name, make in manual.PAGES.items():
        (module_path / name).write_text(make(DATE))
    return module_path


@pytest.fixture(scope="module")
def shown(pages: Path) -> str:
    return as_read(pages / "zsofs.1")


def as_read(page: Path) -> str:
    """A page as a reader sees it, with its lines joined."""
    done = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=78", page], capture_output=True, check=True
    )
    return joined(re.sub(".\x08", "", done.stdout.decode()))


def joined(text: str) -> str:
    """Text without the breaks of its lines, and without backticks, for which a page has bold."""
    return " ".join(text.replace("`", "").split())


def said_by_help(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "zsofs", *words, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "1000", "PATH": ""},
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


def options_of_mount() -> dict[str, tuple[str, str]]:
    """Metavar and text of each option of `zsofs mount --help` with a name that is long."""
    found = {}
    for name, text in options_in(said_by_help("mount")):
        long = re.search(r"--(\S+)(?: (\S+))?$", name)
        if long is not None and long[1] not in ("help", "demo", "foreground"):
            found[long[1]] = (long[2] or "", text)
    assert len(found) >= 17
    return found


def test_every_option_of_help_is_in_the_page_for_fstab(pages: Path) -> None:
    shown = as_read(pages / "mount.zsofs.8")
    for name, (metavar, text) in options_of_mount().items():
        word = f"{name}={metavar}" if metavar else name.replace("-", "_")
        assert f" {word} {text} " in shown
        value = {"": "", "USER": "=root", "GROUP": "=root", "LAYOUT": "=opl"}.get(metavar, "=1")
        parser.parse(["mount", "-o", f"layout=opl,{word.partition('=')[0]}{value}", "a", "b"])


def test_every_option_of_help_is_in_the_page_of_configs(pages: Path, tmp_path: Path) -> None:
    shown = as_read(pages / "zsofs.toml.5")
    values = {"USER": "root", "GROUP": "root", "LAYOUT": "opl", "FILE": "/a", "DIR": "/a"}
    values["PATH"] = "/a"
    lines = ['source = "/a"', 'mountpoint = "/b"']
    for name, (metavar, text) in options_of_mount().items():
        key = rf" ({name} = (?:true|\S+|\[\S+ \.\.\.\])) {re.escape(text)} "
        found = re.search(key, shown)
        assert found is not None, name
        line = found[1].replace(", ...]", "]")
        lines.append(line.replace(metavar, values.get(metavar, "1")) if metavar else line)
    (tmp_path / "all.toml").write_text("\n".join(lines))
    assert len(config.load(tmp_path / "all.toml")) == len(lines)


def test_sections_of_the_readme_are_in_the_page(shown: str) -> None:
    assert " Game.zso beside a real Game.iso Game.zso.iso; the real one keeps its name " in shown
    assert " zsofs mount --allow-other --writable --layout opl /srv/zso /srv/ps2 " in shown
    assert " DIAGNOSTICS " in shown
    assert " Input/output error while reading a disc — a block of that disc is damaged" in shown
    assert "](" not in shown
    assert "**" not in shown


def test_a_section_that_the_readme_does_not_have() -> None:
    with pytest.raises(ValueError, match="no section 'Nothing'"):
        readme.section("Nothing")


def test_help_with_the_columns_of_a_terminal_gives_the_same_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages = set()
    for columns in ("40", "80", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        pages.add(manual.zsofs_1(DATE))
    assert len(pages) == 1


@pytest.mark.parametrize("name", manual.PAGES)
def test_a_page_is_right_for_mandoc(pages: Path, name: str) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", pages / name], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("name", manual.PAGES)
def test_a_page_is_right_for_groff(pages: Path, name: str) -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-b", "-T", "utf8", pages / name],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "zsofs" in done.stdout
    assert "\u2010" not in done.stdout, "a hyphen that cannot be typed"
    assert "\u2019" not in done.stdout, "an apostrophe that cannot be typed"


def test_what_help_does_not_say_is_in_no_page(pages: Path) -> None:
    assert "--no-digests" not in said_by_help("pack")
    for page in pages.iterdir():
        assert "no\\-digests" not in page.read_text().replace("no-digests", "no\\-digests")
        assert "SUPPRESS" not in page.read_text()
