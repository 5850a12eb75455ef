"""The files of the page keep to its policy: nothing inline, nothing from elsewhere."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

STATIC = Path(str(files("zsofs.web").joinpath("static")))
NAMES = sorted(path.name for path in STATIC.iterdir())
MAX_LINES = 400


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".html")])
def test_html_has_no_inline_code(name: str) -> None:
    text = (STATIC / name).read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert '<html lang="en">' in text


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
def test_scripts_make_no_html_of_text(name: str) -> None:
    text = (STATIC / name).read_text()
    assert not re.search(r"\.(?:inner|outer)HTML\s*=(?!=)|insertAdjacentHTML|document\.write", text)
    assert not re.search(r"\beval\(|new Function|setAttribute\(.style", text)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_comes_from_elsewhere(name: str) -> None:
    text = (STATIC / name).read_text()
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert text.count("\n") <= MAX_LINES


def test_every_file_that_a_page_names_exists() -> None:
    named: set[str] = set()
    for name in NAMES:
        text = (STATIC / name).read_text()
        named |= set(re.findall(r"(?:src|href)=\"/([\w.]+\.\w+)\"", text))
        named |= set(re.findall(r"(?:from|import) \"\./([\w.]+)\"", text))
    assert named
    assert named <= set(NAMES)
    assert {name for name in NAMES if not name.endswith(".html")} == named | {"app.js"}
