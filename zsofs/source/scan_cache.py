"""What was learned about the files of a source, kept for the next mount.

A row holds what a listing tells: never where blocks lie, which each opening reads from the file
itself. So a catalog that is wrong, or made wrong on purpose, costs an error and no wrong byte.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from zsofs.discs.identify import Identity, Media, System
from zsofs.formats.geometry import MAX_BLOCK_SIZE, MAX_IMAGE_SIZE, Codec
from zsofs.images.probe import Disc
from zsofs.images.source_file import Key
from zsofs.system.sqlite_store import Store, StoreSchema, can_hold, row_check
from zsofs.system.xdg import cache_folder

_APPLICATION = 0x7A736F66
_VERSION = 4
"""Raised whenever a row comes to mean something else, or a file would be judged differently."""

_COLUMNS = """\
    size, mtime_ns, ctime_ns, container, codec, image_size, block_size, raw_cd, remarks, reason,
    system, game_id, title, label, media, image_remarks, content, right_ending,
    row_check"""

_ALL = f"SELECT folder, name, {_COLUMNS} FROM file"
_IN_FOLDER = f"SELECT folder, name, {_COLUMNS} FROM file WHERE folder = ?"

_OPL_NAMES = "SELECT path, wanted, given, row_check FROM opl_name"

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
        given TEXT NOT NULL,
        row_check INTEGER NOT NULL
    ) WITHOUT ROWID""",
)

_CODECS: dict[object, Codec] = {int(codec): codec for codec in Codec}


@dataclass(slots=True)
class FileFinding:
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


class ScanCache:
    """The findings in one source folder. Any thread may use it; all calls may wait for a disk."""

    def __init__(self, file: Path | None, source: bytes) -> None:
        """Open the catalog of *source*, a real path; *file* None keeps it in memory.

        A file that cannot be used is replaced; where none can be written, memory has to do.
        """
        design = StoreSchema(
            _APPLICATION, _VERSION, _SCHEMA, partial(_is_ours, source), partial(_fill, source)
        )
        self._store = Store(file, design)

    def close(self) -> None:
        """Close the file, unless a disk that hangs keeps some thread at it: the end is no later."""
        self._store.close()

    def folder(self, path: bytes) -> dict[bytes, tuple[Key, FileFinding]]:
        """Return the findings in a directory by name; none if one of its rows is damaged."""
        found = {}
        for row in self._store.read(_IN_FOLDER, path):
            finding = _finding(row)
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
        """Keep findings of the folder *path* and drop those of the names *gone*."""
        rows = [
            (path, name, *key, *_row(finding)) for name, key, finding in findings if can_hold(key)
        ]
        query = f"INSERT OR REPLACE INTO file (folder, name, {_COLUMNS}) VALUES ({_marks(21)})"
        self._store.write(
            ("DELETE FROM file WHERE folder = ? AND name = ?", [(path, name) for name in gone]),
            (query, [(*row, row_check(row)) for row in rows]),
        )

    def drop_folders(self, paths: Iterable[bytes]) -> None:
        """Drop all findings of these folders."""
        self._store.write(("DELETE FROM file WHERE folder = ?", [(path,) for path in paths]))

    def findings(self) -> list[tuple[bytes, bytes, FileFinding]]:
        """Return the folder, name and finding of each file; none if a row is damaged."""
        found = []
        for row in self._store.read(_ALL):
            finding = _finding(row)
            if finding is None:
                self._store.replace_damaged()
                return []
            found.append((row[0], row[1], finding))
        return found

    def opl_names(self) -> dict[bytes, tuple[str, str]]:
        """Return the name each disc wanted and was given in the OPL layout, by path."""
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
        """Keep the names *given*, as :meth:`opl_names` has them; drop those of the paths *gone*."""
        rows = [(path, *names) for path, names in given.items()]
        self._store.write(
            ("DELETE FROM opl_name WHERE path = ?", [(path,) for path in gone]),
            (
                "INSERT OR REPLACE INTO opl_name VALUES (?, ?, ?, ?)",
                [(*row, row_check(row)) for row in rows],
            ),
        )


def default_catalog_file(source: bytes) -> Path | None:
    """Where the catalog of a source folder, a real path, lies: a file of its own.

    None for a user without a home folder.
    """
    folder = cache_folder()
    return folder / catalog_name(source) if folder is not None else None


def catalog_name(source: bytes) -> str:
    """Name of the catalog of a source folder."""
    return f"{hashlib.blake2b(source, digest_size=8).hexdigest()}.sqlite"


def _fill(source: bytes, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO source VALUES (?)", (source,))


def _is_ours(source: bytes, connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT path FROM source").fetchall() == [(source,)]


def _row(finding: FileFinding) -> tuple[object, ...]:
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
                int(disc.raw_cd),
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


def _finding(row: tuple[Any, ...]) -> FileFinding | None:
    """What a row says; None if it makes no sense."""
    folder, name, *key, container, codec, size, block_size, raw_cd, remarks = row[:11]
    reason, system, game_id, title, label, media, said, content, right_ending, check = row[11:]
    if check != row_check(row[:-1]) or not all(isinstance(part, int) for part in key):
        return None
    if not (isinstance(folder, bytes) and isinstance(name, bytes)):
        return None
    try:
        identity = (
            None
            if system is None
            else Identity(System(system), _text(game_id), _text(title), _text(label), Media(media))
        )
        disc = (
            None
            if container is None
            else _disc([container, codec, size, block_size, raw_cd, remarks])
        )
        ending = _text(right_ending)
        return FileFinding(disc, _text(reason), identity, _lines(said), _text(content), ending)
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
