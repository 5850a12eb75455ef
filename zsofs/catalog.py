"""What was learned about the files of a source, kept for the next mount.

A row holds what a listing tells: never where blocks lie, which each opening reads from the file
itself. So a catalog that is wrong, or made wrong on purpose, costs an error and no wrong byte.
"""

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from zsofs.disc import Identity, Media, System
from zsofs.formats.geometry import MAX_BLOCK_SIZE, MAX_IMAGE_SIZE, Codec
from zsofs.probe import Disc
from zsofs.store import MEMORY, WAIT_SECONDS, Design, cache_folder, open_store

log = logging.getLogger(__name__)

_APPLICATION = 0x7A736F66
_VERSION = 4
"""Raised whenever a row comes to mean something else, or a file would be judged differently."""

_COLUMNS = """\
    size, mtime_ns, ctime_ns, container, codec, image_size, block_size, raw_cd, remarks, reason,
    system, game_id, title, label, media, image_remarks, content, right_ending"""

_SCHEMA = (
    "CREATE TABLE source (path BLOB NOT NULL)",
    f"""CREATE TABLE file (
        folder BLOB NOT NULL,
        name BLOB NOT NULL,
        {_COLUMNS},
        PRIMARY KEY (folder, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE opl_name (
        path BLOB PRIMARY KEY NOT NULL,
        wanted TEXT NOT NULL,
        given TEXT NOT NULL
    ) WITHOUT ROWID""",
)

_MAX_INTEGER = 1 << 63
"""What SQLite can hold; a file may have a date beyond, and is then looked into at each mount."""

_CODECS: dict[object, Codec] = {int(codec): codec for codec in Codec}

Key = tuple[int, int, int]
"""Size in bytes, modification time and change time in nanoseconds: one content of a file."""


@dataclass(slots=True)
class Finding:
    """What was found inside a file.

    Attributes:
        disc: what is in it, if it is a container.
        reason: why it is not shown as a disc, if it looks like one.
        identity: which disc it is, if somebody wanted to know.
        remarks: oddities of the image itself, packed or plain, beside those of its container.
        content: what the image is, as in ``an HTML page``; empty for an ISO 9660 or UDF image of
            2048-byte sectors, and where that is not known.
        right_ending: the one that a plain image should have, as in ``.iso``, where its name has
            that of a packed one; else empty.
    """

    disc: Disc | None
    reason: str = ""
    identity: Identity | None = None
    remarks: tuple[str, ...] = ()
    content: str = ""
    right_ending: str = ""


class Catalog:
    """The findings in one source folder. Any thread may use it; all calls may wait for a disk."""

    def __init__(self, file: Path | None, source: bytes) -> None:
        """Open the catalog of *source*, a real path; *file* None keeps it in memory.

        A file that cannot be used is replaced; where none can be written, memory has to do.
        """
        self._lock = threading.Lock()
        self._closed = False
        self._connection = _open(file, source)
        self._file = file
        self._source = source

    def close(self) -> None:
        """Close the file, unless a disk that hangs keeps some thread at it: the end is no later."""
        self._closed = True
        if self._lock.acquire(timeout=WAIT_SECONDS):
            self._connection.close()
            self._lock.release()

    def folder(self, path: bytes) -> dict[bytes, tuple[Key, Finding]]:
        """What is known of the files of a folder, by name."""
        found = {}
        query = f"SELECT name, {_COLUMNS} FROM file WHERE folder = ?"
        for name, *row in self._read(query, path):
            finding = _finding(row)
            if isinstance(name, bytes) and finding is not None:
                found[name] = (row[0], row[1], row[2]), finding
        return found

    def keep(
        self,
        path: bytes,
        findings: Iterable[tuple[bytes, Key, Finding]],
        gone: Iterable[bytes] = (),
    ) -> None:
        """Keep findings of the folder *path* and drop those of the names *gone*."""
        findings = [
            found for found in findings if all(abs(part) < _MAX_INTEGER for part in found[1])
        ]
        query = f"INSERT OR REPLACE INTO file (folder, name, {_COLUMNS}) VALUES ({_marks(20)})"
        self._write(
            ("DELETE FROM file WHERE folder = ? AND name = ?", [(path, name) for name in gone]),
            (query, [(path, name, *key, *_row(finding)) for name, key, finding in findings]),
        )

    def drop_folders(self, paths: Iterable[bytes]) -> None:
        """Drop all findings of these folders."""
        self._write(("DELETE FROM file WHERE folder = ?", [(path,) for path in paths]))

    def discs(self) -> dict[bytes, int]:
        """How many discs each folder had when it was last looked at."""
        query = "SELECT folder, count(container) FROM file GROUP BY folder"
        return {path: number for path, number in self._read(query) if isinstance(path, bytes)}

    def opl_names(self) -> dict[bytes, tuple[str, str]]:
        """Return the name each disc wanted and was given in the OPL layout, by path."""
        return {
            path: (wanted, given)
            for path, wanted, given in self._read("SELECT path, wanted, given FROM opl_name")
            if isinstance(path, bytes) and isinstance(wanted, str) and isinstance(given, str)
        }

    def keep_opl_names(
        self, given: Mapping[bytes, tuple[str, str]], gone: Iterable[bytes] = ()
    ) -> None:
        """Keep the names *given*, as :meth:`opl_names` has them; drop those of the paths *gone*."""
        self._write(
            ("DELETE FROM opl_name WHERE path = ?", [(path,) for path in gone]),
            (
                "INSERT OR REPLACE INTO opl_name VALUES (?, ?, ?)",
                [(path, *names) for path, names in given.items()],
            ),
        )

    def _read(self, query: str, *values: bytes) -> list[tuple[Any, ...]]:
        with self._held() as held:
            if held:
                return self._connection.execute(query, values).fetchall()
        return []

    def _write(self, *statements: tuple[str, list[tuple[object, ...]]]) -> None:
        with self._held() as held:
            if held:
                with self._connection:
                    for statement, rows in statements:
                        self._connection.executemany(statement, rows)

    @contextmanager
    def _held(self) -> Iterator[bool]:
        """The connection for one thread; whether it may be used at all.

        Neither a disk that hangs under the catalog nor an error of it holds up who looks at files.
        """
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            yield False
            return
        try:
            yield not self._closed
        except sqlite3.OperationalError as error:  # kept by another mount, or the disk is full
            log.info("the catalog %s could not be used: %s", self._file, error)
        except sqlite3.DatabaseError as error:
            self._give_up(error)
        finally:
            self._lock.release()

    def _give_up(self, error: Exception) -> None:
        """Go on in memory; the next mount finds the broken file and replaces it."""
        log.warning("the catalog %s is broken (%s) and not used any more", self._file, error)
        self._connection.close()
        self._connection = _open(None, self._source)


def default_catalog_file(source: bytes) -> Path | None:
    """Where the catalog of a source folder, a real path, lies: a file of its own.

    None for a user without a home folder.
    """
    folder = cache_folder()
    return folder / catalog_name(source) if folder is not None else None


def catalog_name(source: bytes) -> str:
    """Name of the catalog of a source folder."""
    return f"{hashlib.blake2b(source, digest_size=8).hexdigest()}.sqlite"


def _open(file: Path | None, source: bytes) -> sqlite3.Connection:
    design = Design(
        _APPLICATION, _VERSION, _SCHEMA, partial(_is_ours, source), partial(_fill, source)
    )
    connection = None
    if file is not None:
        try:
            connection = open_store(file, design)
        except (sqlite3.Error, OSError) as error:
            log.warning("no catalog can be kept at %s: %s", file, error)
    return connection or open_store(MEMORY, design)


def _fill(source: bytes, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO source VALUES (?)", (source,))


def _is_ours(source: bytes, connection: sqlite3.Connection) -> bool:
    return (
        connection.execute("SELECT path FROM source").fetchall() == [(source,)]
        and not connection.execute(f"SELECT folder, name, {_COLUMNS} FROM file LIMIT 0").fetchall()
    )


def _row(finding: Finding) -> tuple[object, ...]:
    disc, identity = finding.disc, finding.identity
    return (
        *(
            (None,) * 6
            if disc is None
            else (
                disc.container,
                int(disc.codec),
                disc.size,
                disc.block_size,
                disc.raw_cd,
                "\n".join(disc.remarks),
            )
        ),
        _storable(finding.reason),
        *(
            (None,) * 5
            if identity is None
            else (
                identity.system.value,
                identity.game_id,
                _storable(identity.title),
                _storable(identity.label),
                identity.media.value,
            )
        ),
        _storable("\n".join(finding.remarks)),
        finding.content,
        finding.right_ending,
    )


def _finding(row: list[object]) -> Finding | None:
    """What a row says; None if it makes no sense."""
    size, mtime_ns, ctime_ns, *disc, reason, system, game_id, title, label, media = row[:-3]
    remarks, content, right_ending = row[-3:]
    if not (isinstance(size, int) and isinstance(mtime_ns, int) and isinstance(ctime_ns, int)):
        return None
    try:
        identity = (
            None
            if system is None
            else Identity(System(system), _text(game_id), _text(title), _text(label), Media(media))
        )
        return Finding(
            None if disc[0] is None else _disc(disc),
            _text(reason),
            identity,
            _lines(remarks),
            _text(content),
            _text(right_ending),
        )
    except (TypeError, ValueError):
        return None


def _disc(row: list[object]) -> Disc:
    container, codec, size, block_size, raw_cd, remarks = row
    if not (isinstance(size, int) and isinstance(block_size, int) and codec in _CODECS):
        raise TypeError("not numbers")
    if not (0 <= size <= MAX_IMAGE_SIZE and 0 < block_size <= MAX_BLOCK_SIZE):
        raise ValueError("out of bounds")
    return Disc(_text(container), _CODECS[codec], size, block_size, bool(raw_cd), _lines(remarks))


def _lines(remarks: object) -> tuple[str, ...]:
    return tuple(_text(remarks).split("\n")) if remarks else ()


def _storable(text: str) -> str:
    """SQLite takes only what UTF-8 can hold."""
    return text.encode(errors="replace").decode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _marks(count: int) -> str:
    return ", ".join("?" * count)
