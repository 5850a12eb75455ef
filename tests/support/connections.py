"""Connections to SQLite files that a test has not closed.

Python 3.13 warns of them when it collects garbage, which may be in any later test.
"""

import sqlite3
import traceback
from typing import Any

_MOST_FRAMES = 8

_connect = sqlite3.connect
_made: list[tuple[sqlite3.Connection, traceback.StackSummary]] = []


def install() -> None:
    """Have this process note its connections, from now on."""
    setattr(sqlite3, "connect", _noted)  # noqa: B010 - mypy forbids the other


def left_open() -> list[str]:
    """Return where those that are open were made; forget all."""
    made = _made[:]
    _made.clear()
    return ["".join(stack.format()) for connection, stack in made if _is_open(connection)]


def _is_open(connection: sqlite3.Connection) -> bool:
    try:
        return connection.total_changes >= 0
    except sqlite3.ProgrammingError:
        return False


def _noted(*args: Any, **kwargs: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = _connect(*args, **kwargs)
    frames = traceback.StackSummary.extract(
        traceback.walk_stack(None), limit=_MOST_FRAMES, lookup_lines=False
    )
    frames.reverse()
    _made.append((connection, frames))
    return connection
