"""SQLite files of what zsofs can do without: made where they are missing, made anew where broken.

Where one lies and what its rows mean is its owner's business.
"""

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from zsofs.xdg import base_directory

log = logging.getLogger(__name__)

WAIT_SECONDS = 2.0
"""How long another process may keep a store to itself."""

_TRY_AGAIN_SECONDS = 0.02

MEMORY = Path(":memory:")
"""What SQLite knows as a store that is in no file."""


@dataclass(frozen=True, slots=True)
class Design:
    """What a store has to be.

    Attributes:
        application: SQLite's application_id.
        version: its user_version: other ones are not ours to read.
        schema: the statements that make the tables.
        is_ours: whether a store with these numbers is what it should be.
        fill: called with one that was just made.
    """

    application: int
    version: int
    schema: tuple[str, ...]
    is_ours: Callable[[sqlite3.Connection], bool]
    fill: Callable[[sqlite3.Connection], object] = lambda connection: None


def cache_folder() -> Path | None:
    """Where zsofs keeps what it can do without; None for a user without a home folder."""
    base = base_directory("XDG_CACHE_HOME", ".cache")
    return None if base is None else base / "zsofs"


def open_store(file: Path, design: Design) -> sqlite3.Connection:
    """A connection to the store in *file*, for one thread at a time.

    Raises:
        sqlite3.Error: it cannot be used now: another process keeps it, or there is no room.
        OSError: its folder cannot be made.
    """
    if file is MEMORY:
        connection = _opened(file, design)
    else:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _one_at_a_time(file.parent):
            connection = _opened(file, design)
            if connection is None:
                log.info("%s is broken, or of another kind, and made anew", file)
                _discard(file)
                connection = _opened(file, design)
    if connection is None:
        raise sqlite3.DatabaseError("it is broken, and cannot be made anew")
    return connection


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep other processes of ours from opening a store in *folder*, where locks are to be had.

    Of two mounts that begin together, one would discard what the other has just made anew; and
    SQLite does not wait for a file that another one is about to make (tried: it is locked at once).
    """
    until = time.monotonic() + WAIT_SECONDS
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < until:
                    time.sleep(_TRY_AGAIN_SECONDS)
                    continue
            except OSError:  # NFS locks no folders
                pass
            break
        yield
    finally:
        os.close(fd)


def _opened(file: Path, design: Design) -> sqlite3.Connection | None:
    """A connection to a store; None if it is broken or of another kind.

    Raises:
        sqlite3.OperationalError: it cannot be used now.
    """
    connection = sqlite3.connect(file, timeout=WAIT_SECONDS, check_same_thread=False)
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    try:
        if _prepared(connection, design):
            return connection
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # else it has no such table or column
            connection.close()
            raise
    except sqlite3.DatabaseError:
        pass
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def _prepared(connection: sqlite3.Connection, design: Design) -> bool:
    """Have the store made if it is not there; whether it is as designed, and whole."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA trusted_schema = OFF")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.execute(f"PRAGMA application_id = {design.application}")
            connection.execute(f"PRAGMA user_version = {design.version}")
            for statement in design.schema:
                connection.execute(statement)
            design.fill(connection)
    return (
        connection.execute("PRAGMA application_id").fetchone() == (design.application,)
        and connection.execute("PRAGMA user_version").fetchone() == (design.version,)
        and connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        and design.is_ours(connection)
    )


def _discard(file: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        try:
            file.with_name(file.name + ending).unlink(missing_ok=True)
        except OSError as error:
            log.info("%s cannot be removed: %s", file, error.strerror)
