"""The documentation as HTML: it builds without a warning, and has what it promises."""

import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from release import commands
from tests.support.documents import DOCS

ROOT = DOCS.parent
pytestmark = pytest.mark.xdist_group("docs")  # they share what takes long to build


@pytest.fixture(scope="module")
def html(module_path: Path, parsed_docs: Path) -> Path:
    """A directory with all pages; a warning is an error."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    done = subprocess.run(
        [*command, "-d", parsed_docs, DOCS, module_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return module_path


def ids(page: Path) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', page.read_text()))


def test_every_page_is_there(html: Path) -> None:
    sources = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    built = {path.relative_to(html).with_suffix("") for path in html.rglob("*.html")}
    assert {path for path in sources if "_build" not in path.parts} <= built
    assert Path("search") in built


def test_the_search_finds_words(html: Path) -> None:
    index = (html / "searchindex.js").read_text()
    for word in ("allow", "symlink", "redump", "systemd"):
        assert word in index


def test_links_and_anchors_of_the_built_pages(html: Path) -> None:
    count = 0
    for page in html.rglob("*.html"):
        if "_static" in page.parts:
            continue
        for link in re.findall(r'<a [^>]*href="([^"]+)"', page.read_text()):
            if "://" in link or link.startswith("mailto:"):
                continue
            name, _, anchor = unquote(link).partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), (page.name, link)
            assert not anchor or anchor in ids(target), (page.name, link)
            count += 1
    assert count > 1000


def test_every_option_has_an_anchor(html: Path) -> None:
    for command in commands.zsofs().walk():
        if command.commands:
            continue
        found = ids(html / "reference" / f"{'-'.join(command.words[:2])}.html")
        for option in command.options:
            name = option.flags[0].lstrip("-")
            assert f"cmdoption-{'-'.join(command.words)}-{name}" in found, (command.words, name)


def test_options_in_texts_keep_their_hyphens(html: Path) -> None:
    text = (html / "reference" / "zsofs-mount.html").read_text()
    assert "--writable, other files" in text
    assert "\u2013" not in text


def test_exit_codes_of_help_are_in_the_page(html: Path) -> None:
    text = re.sub(r"<[^>]+>", " ", (html / "reference" / "exit-codes.html").read_text())
    (codes,) = (block for block in commands.zsofs().blocks if block.title == "exit codes")
    assert len(codes.items) >= 12
    for code, _ in codes.items:
        assert re.search(rf"\s{code}\s", text)


def test_units_are_in_the_page(html: Path) -> None:
    text = unescape(re.sub(r"<[^>]+>", "", (html / "reference" / "systemd.html").read_text()))
    for unit in ROOT.glob("systemd/*/*.service"):
        for line in unit.read_text().splitlines():
            if "=" in line and not line.startswith("#"):
                assert line in text
