"""What `zsofs verify` last found to be bad, for the library of a mount.

It is shown, and never trusted: a bad disc is read again by each `zsofs verify`. It is a file of its
own, because a result of :mod:`zsofs.inspection.verify_cache` for the same path is still needed: it
tells what the disc was before.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from zsofs.images.source_file import Key
from zsofs.inspection.verify_cache import is_racy
from zsofs.inspection.verify_report import CHANGED, Result, damage_text
from zsofs.system.sqlite_store import Store, StoreSchema, can_hold, row_check
from zsofs.system.xdg import cache_folder

_COLUMNS = "path, size, mtime_ns, ctime_ns, checked_at, reason"
_STORE_SCHEMA = StoreSchema(
    0x7A736264,
    1,
    (
        "CREATE TABLE file (path BLOB PRIMARY KEY, size, mtime_ns, ctime_ns, checked_at, reason,"
        " row_check) WITHOUT ROWID",
    ),
)
_MAX_REASON = 1000
"""The longest reason that is kept, in characters."""


@dataclass(frozen=True, slots=True)
class FoundBad:
    """A bad disc: key of its file, when it was read (in seconds since 1970), and why it is bad."""

    key: Key
    checked_at: float
    reason: str


class BadDiscs:
    """Access to that file, which is created when there is something to remember.

    If it cannot be used, only its content is lost.
    """

    def __init__(self, file: Path | None) -> None:
        """Open it; *file* is None if nothing can be kept."""
        self._file = file
        is_there = file is not None and file.exists()
        self._store = Store(file, _STORE_SCHEMA) if is_there else None

    def find(self, path: str) -> FoundBad | None:
        """Return what was found at a path; None if nothing was, or not with this content."""
        if self._store is None:
            return None
        query = f"SELECT {_COLUMNS}, row_check FROM file WHERE path = ?"
        for *values, check in self._store.read(query, os.fsencode(path)):
            _, size, mtime_ns, ctime_ns, checked_at, reason = values
            are_numbers = all(isinstance(one, int) for one in (size, mtime_ns, ctime_ns))
            is_valid = are_numbers and isinstance(checked_at, float) and isinstance(reason, str)
            if is_valid and check == row_check(values):
                return FoundBad((size, mtime_ns, ctime_ns), checked_at, reason)
            self._store.replace_damaged()
        return None

    def note(self, result: Result, before: Key | None, began_ns: int) -> None:
        """Remember whether a file is bad, by the result of a check.

        Args:
            result: the result.
            before: key of the file before the check; None if it could not be read.
            began_ns: when the check began.
        """
        place, verdict = os.path.realpath(result.path), result.verdict
        if verdict.state in ("bad", CHANGED):
            if before is not None and before == key_of(result.path):
                damage = result.damage
                why = verdict.reason if damage is None else damage_text(damage, result.blocks)
                self.keep(place, before, why, opened_ns=began_ns)
        elif verdict.state not in ("unreadable", "sound"):  # the whole disc was read
            self.forget(place)

    def keep(self, path: str, key: Key, reason: str, *, opened_ns: int) -> None:
        """Remember that a file is bad.

        Args:
            path: path of the file.
            key: identifies its content.
            reason: why it is bad.
            opened_ns: a time before its first byte was read.
        """
        if self._file is None or is_racy(key, opened_ns) or not can_hold(key):
            return
        if self._store is None:
            self._store = Store(self._file, _STORE_SCHEMA)
        printable = reason.encode(errors="replace").decode()[:_MAX_REASON]
        row = (os.fsencode(path), *key, time.time(), printable)
        self._store.write(
            (
                f"INSERT OR REPLACE INTO file ({_COLUMNS}, row_check) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(*row, row_check(row))],
            )
        )

    def forget(self, path: str) -> None:
        """Remember nothing of a path: its disc was found whole."""
        if self._store is not None and self.find(path) is not None:
            self._store.write(("DELETE FROM file WHERE path = ?", [(os.fsencode(path),)]))

    def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            self._store.close()


def key_of(path: str) -> Key | None:
    """Return the key of a file; None if it cannot be read."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def bad_discs_file() -> Path | None:
    """Return the path of the file of this user; None for a user without a home directory."""
    folder = cache_folder()
    return None if folder is None else folder / "bad-discs.sqlite"


def open_bad_discs() -> BadDiscs:
    """Open the file of this user; nothing is kept if it cannot be used, which is logged."""
    return BadDiscs(bad_discs_file())
