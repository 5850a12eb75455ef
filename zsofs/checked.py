"""Which files were whole when `zsofs verify` read them, kept for the next time.

Only files that were whole are kept: a bad one is looked at again. What a DAT says is not kept, so
another DAT is another question to the same checksums.
"""

import json
import logging
import os
import sqlite3
import time
from pathlib import Path

from zsofs.catalog import Key
from zsofs.digests import Digests
from zsofs.disc import Media, System
from zsofs.store import Design, cache_folder, open_store
from zsofs.verdict import Whole

log = logging.getLogger(__name__)

_VERSION = 3
"""Raised whenever a row comes to mean something else, or a file would be judged differently."""

_RACY_NS = 2_000_000_000
"""A file that changed so recently before it was opened is not kept: another change within the same
tick of a file system's clock, two seconds on FAT, would not show in its times."""

_COLUMNS = "size, mtime_ns, ctime_ns, disk, checked_at, whole"
_DESIGN = Design(
    0x7A736F76,
    _VERSION,
    (f"CREATE TABLE file (path BLOB PRIMARY KEY, {_COLUMNS}) WITHOUT ROWID",),
    is_ours=lambda store: not store.execute(f"SELECT {_COLUMNS} FROM file LIMIT 0").fetchall(),
)


class Checked:
    """The whole files. A store that cannot be used costs the keeping, and nothing else."""

    def __init__(self, connection: sqlite3.Connection | None, file: Path | None = None) -> None:
        """*file* is where the store lies, for messages."""
        self._connection = connection
        self._file = file

    def find(self, path: str, key: Key, disk: str) -> tuple[Whole, float] | None:
        """What was found in this very content of a file, and when; None if that is not known."""
        if self._connection is None:
            return None
        query = f"SELECT {_COLUMNS} FROM file WHERE path = ?"
        try:
            row = self._connection.execute(query, (os.fsencode(path),)).fetchone()
            if row is None or row[:4] != (*key, disk):
                return None
            return _whole(json.loads(row[5])), float(row[4])
        except (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError) as error:
            log.info("what was checked before cannot be read from %s: %s", self._file, error)
            return None

    def keep(self, path: str, key: Key, disk: str, whole: Whole, *, opened_ns: int) -> None:
        """Keep what was found in a file.

        Args:
            path: of the file.
            key: what stands for its content.
            disk: what :func:`zsofs.disk.disk_of` says of it.
            whole: what was found.
            opened_ns: when the file was opened, before its first byte was read.
        """
        if self._connection is None or any(0 <= opened_ns - date < _RACY_NS for date in key[1:3]):
            return
        values = (os.fsencode(path), *key, disk, time.time(), json.dumps(_as_object(whole)))
        try:
            with self._connection:
                self._connection.execute(
                    f"INSERT OR REPLACE INTO file (path, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            log.warning("nothing that was checked can be kept at %s: %s", self._file, error)
            self._connection = None

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()


def open_checked() -> Checked:
    """The store of this user; an empty one if it cannot be used, which the log tells."""
    folder = cache_folder()
    if folder is None:
        return Checked(None)
    file = folder / "verified.sqlite"
    try:
        return Checked(open_store(file, _DESIGN), file)
    except (sqlite3.Error, OSError) as error:
        log.warning("nothing that was checked can be kept at %s: %s", file, error)
        return Checked(None)


def _as_object(whole: Whole) -> dict[str, object]:
    return {
        "size": whole.size,
        "crc32": whole.digests.crc32,
        "md5": whole.digests.md5,
        "sha1": whole.digests.sha1,
        "sealed": whole.sealed,
        "packed": whole.packed,
        "raw_cd": whole.raw_cd,
        "system": whole.system.value,
        "media": whole.media.value,
        "remarks": whole.remarks,
    }


def _whole(said: dict[str, object]) -> Whole:
    """What a row says.

    Raises:
        TypeError: it makes no sense.
        ValueError: it makes no sense.
        KeyError: it makes no sense.
    """
    size, remarks = said["size"], said["remarks"]
    if not isinstance(size, int) or not isinstance(remarks, list):
        raise TypeError("a row of another kind")
    return Whole(
        size,
        Digests(str(said["crc32"]), str(said["md5"]), str(said["sha1"])),
        bool(said["sealed"]),
        bool(said["packed"]),
        bool(said["raw_cd"]),
        System(said["system"]),
        Media(said["media"]),
        tuple(map(str, remarks)),
    )
