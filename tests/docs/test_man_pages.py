"""The man pages contain what --help prints, and are correct for man."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from release import commands, man_pages
from tests.support.documents import DOCS
from zsofs.cli import parser
from zsofs.mount import config

pytestmark = pytest.mark.xdist_group("docs")  # they share what takes long to build

PAGES = [f"{name}.{section}" for _, name, _, _, section in man_pages.MAN_PAGES]
DAY = 1_717_113_600  # 2024-05-31
COMMANDS = [command for command in commands.zsofs().walk() if not command.commands]


@pytest.fixture(scope="module")
def pages(module_path: Path, parsed_docs: Path) -> Path:
    """A directory with all pages, built as on that day."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = str(DAY)
    try:
        man_pages.build(module_path, parsed_docs)
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before
    return module_path


def page_of(command: commands.Command) -> str:
    """The file name of the page of a command; those of services share one."""
    return f"{'-'.join(command.words[:2])}.1"


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
        env=os.environ | {"COLUMNS": "1000", "PATH": ""},
    )
    return done.stdout


def options_in(said: str) -> list[tuple[str, str]]:
    """The options that a help lists, each with its text."""
    found = re.findall(r"^  (-\S.*?)(?:  +|\n {10,})(\S.*(?:\n {10,}.*)*)$", said, re.M)
    return [(joined(name), joined(text)) for name, text in found]


def test_every_page_is_built(pages: Path) -> None:
    assert {path.name for path in pages.glob("*.[1-8]")} == set(PAGES)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words[-1])
def test_every_option_of_help_is_in_the_page(pages: Path, command: commands.Command) -> None:
    said = said_by_help(*command.words[1:])
    options = options_in(said)
    assert len(options) == len(re.findall(r"^  -", said, re.M))
    assert options[0][0] == "-h, --help"
    shown = as_read(pages / page_of(command))
    for usage in command.usage:
        assert f" {joined(usage)} " in shown
    for said_as, text in options[1:]:
        option = re.sub(
            r" [A-Z]+, -", ", -", said_as
        )  # older Pythons print the value after each name
        flags = [part.split(" ")[0] for part in option.split(", ")]
        metavar = re.search(r" ([^ ]+)$", option.split(", -")[-1]) if " " in option else None
        spelled = ", ".join(f"{flag} {metavar[1]}" if metavar else flag for flag in flags)
        assert f" {spelled} {text}" in shown
    assert f" {joined(command.description)}" in shown


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words[-1])
def test_every_example_of_help_is_in_the_page(pages: Path, command: commands.Command) -> None:
    said = said_by_help(*command.words[1:])
    shown = as_read(pages / page_of(command))
    examples = said.partition("examples:\n")[2].partition("\n\n")[0]
    assert examples.startswith("  zsofs ")
    assert joined(examples) in shown
    rest = said.partition("examples:\n")[2].partition("\n\n")[2]
    assert joined(rest) in shown


def test_every_command_and_exit_code_of_help_is_in_the_page(pages: Path) -> None:
    shown = as_read(pages / "zsofs.1")
    codes = said_by_help().partition("exit codes:\n")[2]
    assert len(codes.splitlines()) >= 8
    assert f" EXIT STATUS {joined(codes)} " in shown
    for command in commands.zsofs().commands:
        assert f" {'-'.join(command.words)}(1) {command.summary} " in shown


def options_of_mount() -> dict[str, tuple[str, str]]:
    """Metavar and text of each option of `zsofs mount --help` with a name that is long."""
    found = {}
    for name, text in options_in(said_by_help("mount")):
        long = re.search(r"--(\S+)(?: (\S+))?$", name)
        if long is not None and long[1] not in ("help", "demo", "foreground"):
            found[long[1]] = (long[2] or "", text)
    assert len(found) >= 17
    return found


VALUES = {"USER": "root", "GROUP": "root", "LAYOUT": "opl", "FORM": "bin", "WHEN": "auto"}
"""A value that is valid for what the help calls so."""


def test_every_option_of_help_is_in_the_page_for_fstab(pages: Path) -> None:
    shown = as_read(pages / "mount.zsofs.8")
    for name, (metavar, text) in options_of_mount().items():
        word = f"{name}={metavar}" if metavar else name.replace("-", "_")
        assert f" {word} {text} " in shown
        value = f"={VALUES.get(metavar, 1)}" if metavar else ""
        parser.parse(
            ["mount", "-o", f"layout=opl,writable,{word.partition('=')[0]}{value}", "a", "b"]
        )


def test_every_option_of_help_is_in_the_page_of_configs(pages: Path, tmp_path: Path) -> None:
    shown = as_read(pages / "zsofs.toml.5")
    values = VALUES | {"FILE": "/a", "DIR": "/a", "PATH": "/a"}
    lines = ['source = "/a"', 'mountpoint = "/b"']
    for name, (metavar, text) in options_of_mount().items():
        key = rf" ({name} = (?:true|\S+|\[\S+ \.\.\.\])) {re.escape(text)} "
        found = re.search(key, shown)
        assert found is not None, name
        line = found[1].replace(", ...]", "]")
        lines.append(line.replace(metavar, values.get(metavar, "1")) if metavar else line)
    (tmp_path / "all.toml").write_text("\n".join(lines))
    assert len(config.load(tmp_path / "all.toml")) == len(lines)


@pytest.mark.parametrize(
    ("page", "source"),
    [(f"{name}.{section}", source) for source, name, _, _, section in man_pages.MAN_PAGES],
)
def test_a_page_has_every_section_of_its_source(pages: Path, page: str, source: str) -> None:
    shown = (pages / page).read_text()
    headings = re.findall(r"^##+ (.*)$", (DOCS / f"{source}.md").read_text(), re.M)
    assert headings
    titles = {joined(title) for title in re.findall(r"^\.S[HS] (.*)$", shown, re.M)}
    for heading in headings:
        title = heading.replace("-", "\\-").replace("`", "")
        assert {title, title.upper()} & titles, heading


def test_links_are_names_of_man_pages(pages: Path) -> None:
    shown = as_read(pages / "zsofs-mounting.7")
    assert " zsofs-mount(1) lists all options. " in shown
    assert " other names and directories (zsofs-opl(7)). " in shown
    for page in PAGES:
        named = set(re.findall(r"\b([\w.-]+)\((\d)\)", as_read(pages / page)))
        ours = {(name, number) for name, number in named if "zsofs" in name.lower()}
        assert {f"{name}.{number}".lower() for name, number in ours} <= set(PAGES)


def test_pages_of_the_guide(pages: Path) -> None:
    shown = as_read(pages / "zsofs-mounting.7")
    assert " Game.zso beside a real Game.iso Game.zso.iso; the real one keeps its name " in shown
    shown = as_read(pages / "zsofs-opl.7")
    assert " zsofs mount --allow-other --writable --layout opl /srv/zso /srv/ps2 " in shown
    shown = as_read(pages / "zsofs-troubleshooting.7")
    assert " Input/output error " in shown
    for page in PAGES:
        text = as_read(pages / page)
        assert "](" not in text
        assert "**" not in text
        assert "<>" not in text


def test_help_with_the_columns_of_a_terminal_gives_the_same_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = set()
    for columns in ("40", "80", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        found.add(repr(commands.zsofs()))
    assert len(found) == 1


def test_the_date_is_that_of_the_sources(pages: Path) -> None:
    date = time.strftime("%Y-%m-%d", time.gmtime(DAY))
    for page in PAGES:
        assert f' "{date}" ' in (pages / page).read_text()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_right_for_mandoc(pages: Path, name: str) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", pages / name], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("name", PAGES)
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
    assert "\u02dc" not in done.stdout, "a tilde that cannot be typed"


def test_what_help_does_not_say_is_in_no_page_of_a_command(pages: Path) -> None:
    assert "--no-digests" not in said_by_help("pack")
    for page in pages.glob("*.[158]"):
        assert "no\\-digests" not in page.read_text().replace("no-digests", "no\\-digests")
        assert "SUPPRESS" not in page.read_text()


def test_built_pages_need_no_sphinx(pages: Path, tmp_path: Path) -> None:
    """As from a source distribution: its pages are used as they are."""
    (tmp_path / "man").mkdir()
    for page in PAGES:
        (tmp_path / "man" / page).write_bytes((pages / page).read_bytes())
    code = f"""
import pathlib, sys
sys.modules["sphinx"] = None
from release import man_pages
man_pages.ROOT = pathlib.Path({str(tmp_path)!r})
man_pages.BUILT = man_pages.ROOT / "man"
print(*man_pages.pages())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=DOCS.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == sorted(PAGES)


def test_a_warning_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that leads nowhere stops the build, with what Sphinx says."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "conf.py").write_text('extensions = ["myst_parser"]\nnitpicky = True\n')
    (tmp_path / "docs" / "index.md").write_text("# Title\n\n[a page](nowhere.md)\n")
    monkeypatch.setattr(man_pages, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"nowhere\.md"):
        man_pages.build(tmp_path / "man")
