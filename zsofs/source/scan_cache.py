"""Scan cache: findings of the files of a source, stored for the next mount.

A row contains only what a listing shows. Positions of blocks are read from the file itself at each
open, so that a wrong or manipulated cache causes an error, but never wrong bytes.
"""

import hashlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from zsofs.images.source_file import Key
from zsofs.source.finding import FileFinding
from zsofs.source.finding_rows import finding_in, row_of
from zsofs.system.sqlite_store import Statement, Store, StoreSchema, can_hold, row_check
from zsofs.system.xdg import cache_folder

_APPLICATION = 0x7A736F66
_VERSION = 6
"""Increment it if the meaning of a row or the rules of the inspection change."""

_COLUMNS = """\
    size, mtime_ns, ctime_ns, container, codec, image_size, block_size, raw_cd, remarks, reason,
    system, game_id, title, label, media, image_remarks, content, right_ending, cd,
    sheet, row_check"""

_ALL = f"SELECT folder, name, {_COLUMNS} FROM file"
_COUNTS = """SELECT folder, count(*) FROM file
    WHERE container IS NOT NULL AND reason = '' AND content = '' GROUP BY folder"""
"""Containers that the plain layout shows as discs, whatever their names are. The other conditions
of `state_of_content` are those of files that are no container."""

_OTHERS = f"""SELECT folder, name, {_COLUMNS} FROM file
    WHERE container IS NULL OR reason <> '' OR content <> ''"""
_IN_FOLDER = f"SELECT folder, name, {_COLUMNS} FROM file WHERE folder = ?"

_NEXT = f"""SELECT folder, name, {_COLUMNS} FROM file WHERE (folder, name) > (?, ?)
    ORDER BY folder, name LIMIT ?"""

_OPL_NAMES = "SELECT path, wanted, given, row_check FROM opl_name"

_SOURCE_TABLE = "CREATE TABLE source (path BLOB NOT NULL)"
_OPL_TABLE = """CREATE TABLE opl_name (
        path BLOB PRIMARY KEY NOT NULL,
        wanted TEXT NOT NULL,
        given TEXT NOT NULL,
        row_check INTEGER NOT NULL
    ) WITHOUT ROWID"""
_TRACE_TABLE = """CREATE TABLE boot_trace (
        path BLOB NOT NULL,
        part INTEGER NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        used_at INTEGER NOT NULL,
        trace BLOB NOT NULL,
        row_check INTEGER NOT NULL,
        PRIMARY KEY (path, part)
    ) WITHOUT ROWID"""
_SCHEMA = (
    _SOURCE_TABLE,
    f"""CREATE TABLE file (
        folder BLOB NOT NULL,
        name BLOB NOT NULL,
        {_COLUMNS},
        PRIMARY KEY (folder, name)
    ) WITHOUT ROWID""",
    _OPL_TABLE,
    _TRACE_TABLE,
)

_KEPT_FROM = (4, 5)
"""Earlier versions whose names of the OPL layout are kept: their table has not changed."""

_MOST = 64 << 20
"""Bytes of a store that takes no more texts of playlists and cue sheets. Those that are not in it
are read again by each mount: one can have 64 KiB, and a directory 32 MiB of them."""


_MOST_TRACES = 1000
"""Boot traces of one source; each has at most 16 KiB."""


class TraceKey(NamedTuple):
    """What a boot trace is of.

    The change time does not count: chmod and Samba set it, and a trace of another content would
    cost some reads, but no wrong bytes.

    Attributes:
        path: of the source file.
        part: number of what is shown of it; 0: the whole.
        size: of the source file in bytes.
        mtime_ns: its modification time in nanoseconds.
    """

    path: bytes
    part: int
    size: int
    mtime_ns: int


class ScanCache:
    """The findings of one source. Thread-safe; all calls may wait for a disk."""

    def __init__(self, file: Path | None, source: bytes) -> None:
        """Open the scan cache of *source*, a real path; without *file*, it is kept in memory.

        A file that cannot be used is replaced; if it cannot be written, memory is used.
        """
        store_schema = StoreSchema(
            _APPLICATION,
            _VERSION,
            _SCHEMA,
            partial(_is_ours, source),
            partial(_fill, source),
            partial(_kept_rows, source),
        )
        self._store = Store(file, store_schema)

    def close(self) -> None:
        """Close the file, unless a thread is blocked in it by a disk that hangs; never wait."""
        self._store.close()

    def folder(self, path: bytes) -> dict[bytes, tuple[Key, FileFinding]]:
        """Return key and finding of the files of a directory by name; empty if a row is damaged."""
        found = {}
        for row in self._store.read(_IN_FOLDER, path):
            finding = finding_in(row)
            if finding is None:
                self._store.replace_damaged()
                return {}
            found[row[1]] = (row[2], row[3], row[4]), finding
        return found

    def keep(
        self,
        path: bytes,
        findings: Iterable[tuple[bytes, Key, FileFinding]],
        gone: Iterable[bytes] = (),
    ) -> None:
        """Store findings of the directory *path* and delete those of the names *gone*.

        Playlists and cue sheets are not stored in a store that is large already.
        """
        kept = [one for one in findings if can_hold(one[1])]
        if any(finding.sheet is not None for _, _, finding in kept) and self._is_full:
            gone = [*gone, *(name for name, _, finding in kept if finding.sheet is not None)]
            kept = [one for one in kept if one[2].sheet is None]
        rows = [(path, name, *key, *row_of(finding)) for name, key, finding in kept]
        query = f"INSERT OR REPLACE INTO file (folder, name, {_COLUMNS}) VALUES ({_marks(23)})"
        self._store.write(
            ("DELETE FROM file WHERE folder = ? AND name = ?", [(path, name) for name in gone]),
            (query, [(*row, row_check(row)) for row in rows]),
        )

    @property
    def _is_full(self) -> bool:
        """Whether the store has no room for texts."""
        pages, free, size = (
            next(iter(self._store.read(f"PRAGMA {name}")), (0,))[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return bool((pages - free) * size > _MOST)

    def boot_trace(self, key: TraceKey) -> bytes | None:
        """Return the boot trace of a content; None if there is none, or it is of another one."""
        query = "SELECT * FROM boot_trace WHERE path = ? AND part = ?"
        for *row, check in self._store.read(query, key.path, key.part):
            *_, size, mtime_ns, _used_at, trace = row
            if check != row_check(row) or not isinstance(trace, bytes):
                self._store.replace_damaged()
                return None
            if (size, mtime_ns) == (key.size, key.mtime_ns):
                return trace
        return None

    def boot_traces_of(self, path: bytes) -> list[tuple[TraceKey, int, bytes]]:
        """Return key, time of the last start in seconds since 1970, and boot trace of a file.

        There is one for each part of it that is shown.
        """
        rows = self._store.read("SELECT * FROM boot_trace WHERE path = ?", path)
        return [
            (TraceKey(*row[:4]), row[4], row[5])
            for *row, check in rows
            if check == row_check(row) and isinstance(row[5], bytes)
        ]

    def boot_trace_paths(self) -> set[bytes]:
        """Return the paths of files with boot traces."""
        rows = self._store.read("SELECT DISTINCT path FROM boot_trace")
        return {path for (path,) in rows if isinstance(path, bytes)}

    def keep_boot_trace(self, key: TraceKey, trace: bytes) -> None:
        """Store the boot trace of a content, in the place of that which was stored longest ago."""
        row = (key.path, key.part, key.size, key.mtime_ns, int(time.time()), trace)
        if not can_hold(row[1:5]):
            return
        self._store.write(
            (
                "INSERT OR REPLACE INTO boot_trace VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(*row, row_check(row))],
            ),
            (
                "DELETE FROM boot_trace WHERE (path, part) IN (SELECT path, part FROM boot_trace"
                " ORDER BY used_at DESC LIMIT -1 OFFSET ?)",
                [(_MOST_TRACES,)],
            ),
        )

    def drop_folders(self, paths: Iterable[bytes]) -> None:
        """Delete all findings of these directories."""
        self._store.write(("DELETE FROM file WHERE folder = ?", [(path,) for path in paths]))

    def findings(self) -> list[tuple[bytes, bytes, FileFinding]]:
        """Return the directory, name and finding of each file; none if a row is damaged."""
        return self._findings(_ALL)

    def counts(self) -> tuple[dict[bytes, int], list[tuple[bytes, bytes, FileFinding]]]:
        """Return the findings as far as a count of discs in the plain layout needs them.

        The rows of ordinary discs are counted by SQLite and not checked, because a mount begins
        with this count, and its first scan of each directory checks them: 1 instead of 90 ms for
        10,000 discs.

        Returns:
            The number of ordinary discs in containers in each directory, and the other findings
            as in :meth:`findings`.
        """
        counted = self._store.read(_COUNTS)
        others = self._findings(_OTHERS)
        return {folder: count for folder, count in counted if isinstance(folder, bytes)}, others

    def _findings(self, query: str) -> list[tuple[bytes, bytes, FileFinding]]:
        found = []
        for row in self._store.read(query):
            finding = finding_in(row)
            if finding is None:
                self._store.replace_damaged()
                return []
            found.append((row[0], row[1], finding))
        return found

    def mark(self) -> tuple[int, int] | None:
        """Return numbers that differ after a change; None while the cache cannot be used."""
        return self._store.mark()

    def each_finding(self, count: int) -> Iterator[tuple[bytes, bytes, Key, FileFinding]]:
        """Yield the directory, name, key and finding of each file; it ends at a damaged row.

        *count* rows at a time are read, so that no call of the store takes long.
        """
        last = b"", b""
        while rows := self._store.read(_NEXT, *last, count):
            for row in rows:
                finding = finding_in(row)
                if finding is None:
                    self._store.replace_damaged()
                    return
                yield row[0], row[1], (row[2], row[3], row[4]), finding
            last = rows[-1][0], rows[-1][1]

    def opl_names(self) -> dict[bytes, tuple[str, str]]:
        """Return wanted and assigned name of each disc in the OPL layout, by path."""
        found: dict[bytes, tuple[str, str]] = {}
        for *row, check in self._store.read(_OPL_NAMES):
            path, wanted, given = row
            if check != row_check(row) or not isinstance(path, bytes):
                self._store.replace_damaged()
                return {}
            found[path] = str(wanted), str(given)
        return found

    def keep_opl_names(
        self, given: Mapping[bytes, tuple[str, str]], gone: Iterable[bytes] = ()
    ) -> None:
        """Store the names *given*, as in :meth:`opl_names`; delete those of the paths *gone*."""
        rows = [(path, *names) for path, names in given.items()]
        self._store.write(
            ("DELETE FROM opl_name WHERE path = ?", [(path,) for path in gone]),
            (
                "INSERT OR REPLACE INTO opl_name VALUES (?, ?, ?, ?)",
                [(*row, row_check(row)) for row in rows],
            ),
        )


def default_catalog_file(source: bytes) -> Path | None:
    """Return the path of the scan cache of a source directory, a real path.

    None for a user without a home directory.
    """
    folder = cache_folder()
    return folder / catalog_name(source) if folder is not None else None


def catalog_name(source: bytes) -> str:
    """Return the file name of the scan cache of a source directory."""
    return f"{hashlib.blake2b(source, digest_size=8).hexdigest()}.sqlite"


def _fill(source: bytes, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO source VALUES (?)", (source,))


def _kept_rows(source: bytes, connection: sqlite3.Connection, version: int) -> Sequence[Statement]:
    """Return the names of the OPL layout in a store of an earlier version: players know them."""
    tables = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master")}
    if version not in _KEPT_FROM or not {_SOURCE_TABLE, _OPL_TABLE} <= tables:
        return ()  # another table, or a view, is not read
    if not _is_ours(source, connection):
        return ()
    names = connection.execute(_OPL_NAMES).fetchall()
    kept = [tuple(row) for row in names if row[-1] == row_check(row[:-1])]
    return ((f"INSERT INTO opl_name VALUES ({_marks(4)})", kept),)


def _is_ours(source: bytes, connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT path FROM source").fetchall() == [(source,)]


def _marks(count: int) -> str:
    return ", ".join("?" * count)
