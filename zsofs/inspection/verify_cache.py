"""What `zsofs verify` and `zsofs pack` found in images that were whole, kept for the next time.

Only images that were whole are kept; a damaged one is read again. What a DAT says is not kept:
the checksums of an image can be compared with any DAT later.
"""

import json
import os
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsofs.discs.identify import Media, System
from zsofs.images.checksums import Digests
from zsofs.images.source_file import Key
from zsofs.inspection.verdict import VerifiedImage
from zsofs.system.sqlite_store import Store, StoreSchema, can_hold, row_check
from zsofs.system.volume_id import disk_of
from zsofs.system.xdg import cache_folder

_VERSION = 3
"""Raised whenever a row comes to mean something else, or a file would be judged differently."""

_RACY_NS = 2_000_000_000
"""A file that changed so recently before it was opened is not kept: another change within the same
tick of a file system's clock, two seconds on FAT, would not show in its times."""

_NEVER = -(1 << 62)
"""A change time that no file has."""

_COLUMNS = "path, size, mtime_ns, ctime_ns, disk, checked_at, whole"
_DESIGN = StoreSchema(
    0x7A736F76,
    _VERSION,
    (
        "CREATE TABLE file (path BLOB PRIMARY KEY, size, mtime_ns, ctime_ns, disk, checked_at,"
        " whole, row_check) WITHOUT ROWID",
    ),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of the image in a file from an earlier time.

    Attributes:
        key: of the file when it was read.
        disk: the disk that it was on, as :func:`zsofs.system.volume_id.disk_of` gives it.
        checked_at: when it was read, in seconds since 1970.
        whole: the image.
    """

    key: Key
    disk: str
    checked_at: float
    whole: VerifiedImage

    def is_of(self, key: Key, disk: str | None) -> bool:
        """Whether a file with this key on this disk has the same content."""
        return self.key == key and self.disk == disk

    def seems_of(self, key: Key, disk: str) -> bool:
        """Whether such a file should have the same content, going by its size and date."""
        return self.key[:2] == key[:2] and self.disk == disk


class Checked:
    """The images that were whole. A store that cannot be used costs what it holds, nothing else."""

    def __init__(self, store: Store | None) -> None:
        """Args: *store* is None where nothing can be kept."""
        self._store = store

    def find(self, path: str) -> Kept | None:
        """Return what was found under a path; None if that is not known."""
        if self._store is None:
            return None
        query = f"SELECT {_COLUMNS}, row_check FROM file WHERE path = ?"
        rows = self._store.read(query, os.fsencode(path))
        if not rows:
            return None
        kept = _kept(rows[0])
        if kept is None:
            self._store.replace_damaged()
        return kept

    def keep(self, path: str, key: Key, disk: str, whole: VerifiedImage, *, opened_ns: int) -> None:
        """Keep what was found in a file.

        Args:
            path: of the file.
            key: what stands for its content.
            disk: what :func:`zsofs.system.volume_id.disk_of` says of it.
            whole: what was found.
            opened_ns: when the file was opened, before its first byte was read.
        """
        is_racy = any(0 <= opened_ns - date < _RACY_NS for date in key[1:])
        if is_racy or not can_hold(key):
            return
        self._write(path, key, disk, whole)

    def remember(self, path: str, key: Key, disk: str, whole: VerifiedImage) -> None:
        """Keep what was just written to a file, to compare with; the file is read all the same.

        Its times are too fresh to tell a later change within the same tick of the clock.
        """
        if can_hold(key):
            self._write(path, (*key[:2], _NEVER), disk, whole)

    def _write(self, path: str, key: Key, disk: str, whole: VerifiedImage) -> None:
        if self._store is None:
            return
        row = (os.fsencode(path), *key, disk, time.time(), json.dumps(_as_object(whole)))
        self._store.write(
            (
                f"INSERT OR REPLACE INTO file ({_COLUMNS}, row_check)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(*row, row_check(row))],
            )
        )

    def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            self._store.close()


def store_file() -> Path | None:
    """Return where the store of this user lies; None for a user without a home directory."""
    folder = cache_folder()
    return None if folder is None else folder / "verified.sqlite"


def open_checked() -> Checked:
    """Open the store of this user; one in memory if it cannot be used, which the log tells."""
    file = store_file()
    return Checked(None if file is None else Store(file, _DESIGN))


def remember_written(path: str, size: int, digests: Digests) -> None:
    """Keep the checksums of an image that was just written to *path*, if that can be done.

    A container without checksums of its own can later be compared with them.

    Args:
        path: of the new file.
        size: of the image in it, in bytes.
        digests: of the image; it needs a SHA-1.
    """
    if not digests.sha1:
        return
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status, disk = os.fstat(fd), disk_of(fd)
        finally:
            os.close(fd)
        if disk is None:
            return
        whole = VerifiedImage(
            size,
            digests,
            sealed=False,
            packed=True,
            raw_cd=False,
            system=System.OTHER,
            media=Media.DVD,
        )
        key = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        with closing(open_checked()) as checked:
            checked.remember(os.path.realpath(path), key, disk, whole)


def _as_object(whole: VerifiedImage) -> dict[str, object]:
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


def _kept(row: tuple[Any, ...]) -> Kept | None:
    """What a row says; None if it makes no sense."""
    *values, check = row
    if check != row_check(values):
        return None
    _path, size, mtime_ns, ctime_ns, disk, checked_at, text = values
    if not all(isinstance(part, int) for part in (size, mtime_ns, ctime_ns)):
        return None
    if not (isinstance(disk, str) and isinstance(checked_at, float) and 0 <= checked_at < 1 << 36):
        return None
    try:
        whole = _whole(json.loads(text))
        return Kept((size, mtime_ns, ctime_ns), disk, checked_at, whole)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


def _whole(said: dict[str, object]) -> VerifiedImage:
    """What a row says of an image.

    Raises:
        TypeError: it makes no sense.
        ValueError: it makes no sense.
        KeyError: it makes no sense.
    """
    size, remarks = said["size"], said["remarks"]
    if not isinstance(size, int) or not isinstance(remarks, list):
        raise TypeError("a row of another kind")
    return VerifiedImage(
        size,
        Digests(str(said["crc32"]), str(said["md5"]), str(said["sha1"])),
        bool(said["sealed"]),
        bool(said["packed"]),
        bool(said["raw_cd"]),
        System(said["system"]),
        Media(said["media"]),
        tuple(map(str, remarks)),
    )
