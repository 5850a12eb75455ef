"""What the documents have in common: their links lead somewhere, and their commands are run."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.documents import DOCS, Document
from zsofs import __version__

ROOT = DOCS.parent
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "ARCHITECTURE.md", *PAGES]
# Each is followed from end to end by a test of its own.
RECIPES = {
    "container.md": "tests/system/test_container.py",
    "install.md": "tests/system/test_portable.py",
    "inbox.md": "tests/system/test_inbox_document.py",
    "media-box.md": "tests/system/test_media_box_document.py",
    "nas.md": "tests/system/test_nas_document.py",
    "opl-samba.md": "tests/docs/test_samba_document.py",
    "pcsx2.md": "tests/system/test_pcsx2_document.py",
}

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^(`{3,}).*?^\1$", re.M | re.S)


def anchors(path: Path) -> set[str]:
    """What a link can name in a document: its headings, as GitHub writes them."""
    text = _CODE.sub("", path.read_text())
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path) -> list[str]:
    """The links of a document that lead nowhere; external ones are not visited."""
    broken = []
    for link in _LINK.findall(_CODE.sub("", path.read_text())):
        if "://" in link:
            parts = urlsplit(link)
            if parts.scheme not in ("https", "http") or "." not in (parts.hostname or ""):
                broken.append(link)
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    assert broken_links(path) == []


def test_the_version_is_the_same_everywhere() -> None:
    """What pages show as the output of zsofs, and the newest section of the changelog."""
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest is not None
    shown = {newest[1]}
    for path in [*PAGES, DOCS / "terminal.svg"]:
        shown |= set(re.findall(r"zsofs[ \u00a0](\d+\.\d+\.\d+)", path.read_text()))
    assert shown == {__version__}


def test_there_are_links() -> None:
    assert sum(len(_LINK.findall(path.read_text())) for path in DOCUMENTS) > 150


@pytest.mark.parametrize(
    "link", ["nowhere.md", "#no-heading", "page.md#no-heading", "https://host", "ftp://a.example/b"]
)
def test_a_broken_link_is_found(tmp_path: Path, link: str) -> None:
    (tmp_path / "page.md").write_text(f"# A page\n\n[good](#a-page) [bad]({link})\n")
    assert broken_links(tmp_path / "page.md") == [link]


def test_every_recipe_has_its_test_and_its_place_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    with_commands = {path.name for path in DOCS.glob("*.md") if "\n```sh\n" in path.read_text()}
    assert with_commands == set(RECIPES)
    for name, test in RECIPES.items():
        assert f"](docs/{name})" in readme
        assert (ROOT / test).exists()
        sections = Document(name).sections()
        assert any(Document(name).blocks(heading, "sh") for heading in sections)


def test_the_readme_is_short_and_leads_to_every_page_of_the_guide() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 170
    for path in DOCS.glob("*.md"):
        if path.name not in ("index.md", "changelog.md"):
            assert f"](docs/{path.name})" in readme, path.name


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text()
    listed = {
        f"{name}.md"
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```$", index, re.M | re.S)
        for name in block.split("\n\n", 1)[1].split()
    }
    assert listed == {str(path.relative_to(DOCS)) for path in PAGES} - {"index.md"}
