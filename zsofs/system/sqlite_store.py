"""Expendable SQLite files: created if missing, replaced if damaged.

Any failure of such a file (damage, a lock, a full disk, another kind of file in its place) loses
only its content. A damaged file is renamed to ``NAME.broken``, and a new one is created.
"""

import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsofs.errors import reason
from zsofs.system.cache_files import one_at_a_time, set_aside, unfit
from zsofs.timings import timings

log = logging.getLogger(__name__)


_MAX_VALUE = 1 << 20
"""The longest value in bytes that is read from a store."""

_MAX_INTEGER = 1 << 63

MEMORY = Path(":memory:")
"""SQLite's name for an in-memory store."""
_OTHER_VERSION = "it was written by another version of zsofs"

_NOT_DAMAGE = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    )
)
"""Primary result codes that do not indicate a damaged file."""

Statement = tuple[str, list[tuple[object, ...]]]
"""An SQL statement and the parameters of each execution."""


class UnusableStoreError(Exception):
    """A store cannot be used now, for a reason other than damage. The message is the reason."""


class DamagedStoreError(Exception):
    """The content of a store is invalid. The message is the reason."""


@dataclass(frozen=True, slots=True)
class StoreSchema:
    """Requirements for a store.

    Attributes:
        application: application_id of SQLite.
        version: user_version; a store with another one is replaced.
        schema: statements that create the tables. A store with another schema is replaced.
        is_ours: checks the content of a store with this schema.
        fill: called with the connection of a new store.
        kept: returns what a new store takes over from one of another version, given a connection
            to it, on which no trigger or view is executed, and its version.
    """

    application: int
    version: int
    schema: tuple[str, ...]
    is_ours: Callable[[sqlite3.Connection], bool] = lambda connection: True
    fill: Callable[[sqlite3.Connection], object] = lambda connection: None
    kept: Callable[[sqlite3.Connection, int], Sequence[Statement]] = lambda connection, version: ()


def row_check(values: Iterable[object]) -> int:
    """Return the checksum of the values of a row, as SQLite returns them.

    SQLite checks the structure of its pages, but not the values in them.
    """
    return zlib.crc32(repr(tuple(values)).encode("utf-8", "surrogatepass"))


def can_hold(key: Iterable[int]) -> bool:
    """Return whether SQLite can store these integers; a file may have a date out of range."""
    return all(abs(part) < _MAX_INTEGER for part in key)


class Store:
    """A store that never raises: errors are logged, and a damaged store is replaced.

    Thread-safe. All calls may wait for a disk.
    """

    def __init__(self, file: Path | None, store_schema: StoreSchema) -> None:
        """Open the store in *file*; None keeps it in memory."""
        self._file = file
        self._store_schema = store_schema
        self._lock = threading.Lock()
        self._closed = False
        self._replaced = False
        self._inode = 0
        self._resting_until = 0.0
        self._connection = self._open()

    def close(self) -> None:
        """Close the file; a thread that hangs in it for long closes it when it is done."""
        self._closed = True
        if self._lock.acquire(timeout=timings().store_lock):
            _close(self._connection)
            self._lock.release()

    def read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query; none if the store cannot be used."""
        found: list[tuple[Any, ...]] = []
        with self._held() as connection:
            if connection is not None:
                found = connection.execute(query, values).fetchall()
        return found

    def write(self, *statements: Statement) -> None:
        """Execute statements in one transaction; nothing happens if the store cannot be used."""
        for _attempt in range(2):  # the second attempt is for a store that was just replaced
            done = False
            with self._held() as connection:
                if connection is not None:
                    with connection:
                        for statement, rows in statements:
                            connection.executemany(statement, rows)
                done = True
            if done:
                return

    def mark(self) -> tuple[int, int] | None:
        """Return numbers that differ after a change, by this process or another one.

        None while the store cannot be used.
        """
        found = None
        with self._held() as connection:
            if connection is not None:
                (version,) = connection.execute("PRAGMA data_version").fetchone()
                found = version, connection.total_changes
        return found

    def replace_damaged(self) -> None:
        """Replace the store because one of its rows is damaged."""
        with self._held() as connection:
            if connection is not None:
                raise DamagedStoreError("one of its rows is damaged")

    @contextmanager
    def _held(self) -> Iterator[sqlite3.Connection | None]:
        """Yield the connection, for one thread at a time; None if it is unavailable.

        Errors of the store and a hanging disk do not affect the caller.
        """
        if not self._lock.acquire(timeout=timings().store_lock):
            yield None
            return
        try:
            resting = self._closed or time.monotonic() < self._resting_until
            yield None if resting else self._connection
        except Exception as error:  # noqa: BLE001 - sqlite3 raises various exceptions for damage
            self._recover(error)
        finally:
            if self._closed:
                _close(self._connection)
            self._lock.release()

    def _recover(self, error: Exception) -> None:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_DBMOVED:
            _close(self._connection)  # another mount has replaced the file
            self._connection = self._open()
        elif _is_damage(error, self._file):
            log.warning(
                "the cache %s is damaged and will be recreated: %s", self._file, _why(error)
            )
            _close(self._connection)
            self._connection = self._renewed()
        else:
            self._resting_until = time.monotonic() + timings().store_rest
            log.info("the cache %s cannot be used: %s", self._file, _why(error))

    def _renewed(self) -> sqlite3.Connection:
        """Return a new store in place of a damaged one; in memory if that is damaged as well."""
        if self._file is None or self._replaced:
            return open_store(MEMORY, self._store_schema)
        self._replaced = True
        # Unless another mount has already replaced it.
        return self._open(damaged=_inode(self._file) == self._inode)

    def _open(self, *, damaged: bool = False) -> sqlite3.Connection:
        if self._file is not None:
            try:
                connection = open_store(self._file, self._store_schema, damaged=damaged)
            except Exception as error:  # noqa: BLE001 - a cache must never end the process
                log.warning("the cache %s cannot be used: %s", self._file, _why(error))
            else:
                self._inode = _inode(self._file)
                return connection
        return open_store(MEMORY, self._store_schema)


def open_store(
    file: Path, store_schema: StoreSchema, *, damaged: bool = False
) -> sqlite3.Connection:
    """Return a connection to the store in *file*, for one thread at a time.

    A file that does not match *store_schema* is moved aside; with *damaged*, always.

    Raises:
        UnusableStoreError: it is locked, or its disk is full or read-only.
        OSError: its directory cannot be created, or the file cannot be moved aside.
    """
    if file is MEMORY:
        return _opened(file, store_schema)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with one_at_a_time(file.parent, timings().store_lock):
        why = "damaged" if damaged else unfit(file)
        if not why:
            try:
                return _opened(file, store_schema)
            except DamagedStoreError as error:
                why = str(error)
        if not damaged:
            level = logging.INFO if why == _OTHER_VERSION else logging.WARNING
            log.log(level, "the cache %s is damaged and will be recreated: %s", file, why)
        kept = _kept(file, store_schema) if why == _OTHER_VERSION else ()
        set_aside(file)
        try:
            return _opened(file, store_schema, kept)
        except DamagedStoreError as error:
            raise UnusableStoreError(f"the new one is also damaged: {error}") from error


def _kept(file: Path, store_schema: StoreSchema) -> Sequence[Statement]:
    """Return what a store of another version leaves to the new one; nothing if it is damaged."""
    try:
        with closing(sqlite3.connect(file, timeout=timings().store_lock)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
            if _one(connection, "PRAGMA application_id") != store_schema.application:
                return ()
            version = _one(connection, "PRAGMA user_version")
            return store_schema.kept(connection, version) if isinstance(version, int) else ()
    except Exception as error:  # noqa: BLE001 - sqlite3 raises various exceptions for damage
        log.info("the cache %s cannot be used: %s", file, _why(error))
        return ()


def _opened(
    file: Path, store_schema: StoreSchema, kept: Sequence[Statement] = ()
) -> sqlite3.Connection:
    """Return a connection to a store; *kept* are the first rows of a new one.

    Raises:
        UnusableStoreError: it cannot be used now.
        DamagedStoreError: it is damaged, or of another kind.
    """
    connection = None
    try:
        connection = sqlite3.connect(file, timeout=timings().store_lock, check_same_thread=False)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
        _prepare(connection, store_schema)
        with connection:
            for statement, rows in kept:
                connection.executemany(statement, rows)
    except BaseException as error:
        if connection is not None:
            _close(connection)
        if not isinstance(error, Exception) or isinstance(error, DamagedStoreError):
            raise
        kind = DamagedStoreError if _is_damage(error, file) else UnusableStoreError
        raise kind(_why(error)) from error
    return connection


def _prepare(connection: sqlite3.Connection, store_schema: StoreSchema) -> None:
    """Create the tables of a new store; check an existing one.

    Raises:
        DamagedStoreError: it is damaged, or of another kind.
        Exception: whatever sqlite3 raises for a damaged file, such as a UnicodeDecodeError for its
            message.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA trusted_schema = OFF")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.execute(f"PRAGMA application_id = {store_schema.application}")
            connection.execute(f"PRAGMA user_version = {store_schema.version}")
            for statement in store_schema.schema:
                connection.execute(statement)
            store_schema.fill(connection)
    schema = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    for why, found, wanted in (
        (_OTHER_VERSION, _one(connection, "PRAGMA user_version"), store_schema.version),
        (
            "its application ID does not match",
            _one(connection, "PRAGMA application_id"),
            store_schema.application,
        ),
        # Compared as a whole, so that no view or trigger of a hostile file is executed.
        ("its tables do not match", sorted(sql for (sql,) in schema), sorted(store_schema.schema)),
        ("its structure is damaged", _one(connection, "PRAGMA quick_check(1)"), "ok"),
        ("it belongs to another source", store_schema.is_ours(connection), True),
    ):
        if found != wanted:
            raise DamagedStoreError(why)


def _one(connection: sqlite3.Connection, query: str) -> object:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _is_damage(error: Exception, file: Path | None) -> bool:
    """Return whether an error is due to the content of the file.

    A file with an unknown write version in its header is read-only to SQLite, although its disk and
    its mode are not.

    sqlite3 also raises exceptions without a code, such as a UnicodeDecodeError if the message
    quotes damaged bytes.
    """
    if isinstance(error, (UnusableStoreError, OSError, MemoryError)):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_READONLY and file is not None:
        return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
    return code is None or code & 0xFF not in _NOT_DAMAGE


def _inode(file: Path) -> int:
    with suppress(OSError):
        return os.stat(file).st_ino
    return 0


def _why(error: Exception) -> str:
    """Return the reason for a message, on one line."""
    return " ".join(reason(error).split()) or type(error).__name__


def _close(connection: sqlite3.Connection) -> None:
    with suppress(Exception):
        connection.close()
