"""Stores: what becomes of the connection when the store is closed."""

import sqlite3
import threading
from pathlib import Path

import pytest

from tests.conftest import TimingsSetter
from zsofs.system.sqlite_store import Store, StoreSchema

SCHEMA = StoreSchema(0x7A737465, 1, ("CREATE TABLE names (name TEXT)",))


def test_who_still_uses_a_closed_store_closes_its_file(
    tmp_path: Path, set_timings: TimingsSetter
) -> None:
    """A thread that hangs in a disk keeps the store longer than its end waits for it."""
    set_timings(store_lock=0.01)
    store = Store(tmp_path / "store.sqlite", SCHEMA)
    connection = store._connection
    hangs, enters = threading.Event(), threading.Event()

    def slow() -> int:
        enters.set()
        hangs.wait(20)
        return 1

    connection.create_function("slow", 0, slow)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(store.read("SELECT slow()")))
    thread.start()
    try:
        assert enters.wait(20)
        store.close()
    finally:
        hangs.set()
        thread.join(20)
    assert found == [[(1,)]]
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        connection.execute("SELECT 1")
    assert store.read("SELECT name FROM names") == []
