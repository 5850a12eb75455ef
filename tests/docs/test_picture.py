"""The picture in the README shows what the commands print today."""

import html
import re

import pytest

from release import picture

pytestmark = pytest.mark.xdist_group("docs")

_CHANGES = re.compile(r"process \d+|for \d+ s")
"""Parts of the output that differ from run to run."""


def comparable(text: str) -> str:
    return _CHANGES.sub("…", text.replace("\u00a0", " "))


def test_the_picture_is_what_the_commands_print() -> None:
    kept = re.findall(r"<text [^>]*>(.*)</text>", picture.PICTURE.read_text())
    shown = picture.shown()
    assert len(shown) > 15
    assert [comparable(html.unescape(line)) for line in kept] == [
        comparable(line) for line in shown
    ]


def test_the_picture_has_its_own_form() -> None:
    drawn = picture.drawn(["$ zsofs list", "a <b> & c"])
    assert "a\u00a0&lt;b&gt;\u00a0&amp;\u00a0c" in drawn
    assert picture.PICTURE.read_text().startswith("<svg ")
