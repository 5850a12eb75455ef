"""What the documents have in common: their links lead somewhere, and their commands are run."""

import re
from pathlib import Path

import pytest

from tests.support.documents import DOCS, Document

ROOT = DOCS.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
# Each is followed from end to end by a test of its own.
RECIPES = {
    "media-box.md": "tests/system/test_media_box_document.py",
    "nas.md": "tests/system/test_nas_document.py",
    "opl-samba.md": "tests/docs/test_samba_document.py",
    "pcsx2.md": "tests/system/test_pcsx2_document.py",
}

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$", re.M | re.S)


def anchors(path: Path) -> set[str]:
    """What a link can name in a document: its headings, as GitHub writes them."""
    text = _CODE.sub("", path.read_text())
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = _LINK.findall(_CODE.sub("", path.read_text()))
    assert links or path.name == "format.md"
    for link in links:
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_recipe_has_its_test_and_its_place_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    with_commands = {path.name for path in DOCS.glob("*.md") if "\n```sh\n" in path.read_text()}
    assert with_commands == set(RECIPES)
    for name, test in RECIPES.items():
        assert f"](docs/{name})" in readme
        assert (ROOT / test).exists()
        sections = Document(name).sections()
        assert any(Document(name).blocks(heading, "sh") for heading in sections)
