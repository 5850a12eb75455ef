"""The connections that a test leaves open."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support import connections


def test_what_is_open_is_named_by_its_place(tmp_path: Path) -> None:
    assert connections.left_open() == []
    with closing(sqlite3.connect(tmp_path / "closed.sqlite")):
        pass
    with closing(sqlite3.connect(tmp_path / "open.sqlite")):
        (place,) = connections.left_open()
    assert Path(__file__).name in place
    assert "open.sqlite" in place
    assert connections.left_open() == []
