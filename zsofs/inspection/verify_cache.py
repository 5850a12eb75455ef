"""Cache of results of `zsofs verify` and `zsofs pack` for whole images.

Only whole images are cached; a damaged one is read again. DAT verdicts are not cached: the
checksums can be compared with any DAT later.
"""

import json
import os
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsofs.discs.dat_tracks import DiscTrack
from zsofs.discs.identify import Media, System
from zsofs.images.checksums import Digests
from zsofs.images.source_file import Key
from zsofs.inspection.verdict import VerifiedImage
from zsofs.system.sqlite_store import Store, StoreSchema, can_hold, row_check
from zsofs.system.volume_id import disk_of
from zsofs.system.xdg import cache_folder

_VERSION = 3
"""Incremented if the meaning of a row changes, or if files would be judged differently."""

_RACY_NS = 2_000_000_000
"""A file that changed within this time before it was opened is not cached: another change within
the resolution of its time stamps, two seconds on FAT, would not be visible."""

_NEVER = -(1 << 62)
"""A change time that no file has."""

_COLUMNS = "path, size, mtime_ns, ctime_ns, disk, checked_at, whole"
_STORE_SCHEMA = StoreSchema(
    0x7A736F76,
    _VERSION,
    (
        "CREATE TABLE file (path BLOB PRIMARY KEY, size, mtime_ns, ctime_ns, disk, checked_at,"
        " whole, row_check) WITHOUT ROWID",
    ),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A cached result.

    Attributes:
        key: key of the file when it was read.
        disk: identifier of its disk, from :func:`zsofs.system.volume_id.disk_of`.
        checked_at: when it was read, in seconds since 1970.
        whole: the image.
    """

    key: Key
    disk: str
    checked_at: float
    whole: VerifiedImage

    def is_of(self, key: Key, disk: str | None) -> bool:
        """Return whether a file with this key on this disk has the same content."""
        return self.key == key and self.disk == disk

    def seems_of(self, key: Key, disk: str) -> bool:
        """Return whether such a file should have the same content, by its size and date."""
        return self.key[:2] == key[:2] and self.disk == disk


class Checked:
    """Access to the cache. If it cannot be used, only its results are lost."""

    def __init__(self, store: Store | None) -> None:
        """Create it; *store* is None if nothing can be cached."""
        self._store = store

    def find(self, path: str) -> Kept | None:
        """Return the cached result for a path; None if there is none."""
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
        """Cache the result for a file.

        Args:
            path: path of the file.
            key: identifies its content.
            disk: identifier of its disk, from :func:`zsofs.system.volume_id.disk_of`.
            whole: the image.
            opened_ns: when the file was opened, before its first byte was read.
        """
        if is_racy(key, opened_ns) or not can_hold(key):
            return
        self._write(path, key, disk, whole)

    def remember(self, path: str, key: Key, disk: str, whole: VerifiedImage) -> None:
        """Cache the checksums of a new file for later comparison; it is still read by `verify`.

        Its time stamps are too recent to detect a change within their resolution.
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


def is_racy(key: Key, opened_ns: int) -> bool:
    """Return whether a file may have changed once more without another time stamp.

    Args:
        key: of the file.
        opened_ns: when it was opened, before its first byte was read.
    """
    return any(0 <= opened_ns - date < _RACY_NS for date in key[1:])


def store_file() -> Path | None:
    """Return the path of the cache of this user; None for a user without a home directory."""
    folder = cache_folder()
    return None if folder is None else folder / "verified.sqlite"


def open_checked() -> Checked:
    """Open the cache of this user, or one in memory if it cannot be used, which is logged."""
    file = store_file()
    return Checked(None if file is None else Store(file, _STORE_SCHEMA))


def remember_written(path: str, size: int, digests: Digests) -> None:
    """Cache the checksums of an image that was just written to *path*, if possible.

    They allow a later comparison even if the container has no checksums.

    Args:
        path: path of the new file.
        size: size of its image in bytes.
        digests: digests of the image; a SHA-1 is required.
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
        "tracks": [
            [one.begin, one.size, one.digests.crc32, one.digests.md5, one.digests.sha1]
            for one in whole.tracks
        ],
    }


def _kept(row: tuple[Any, ...]) -> Kept | None:
    """Return the result in a row; None if it is invalid."""
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
    """Return the image in a row.

    Raises:
        TypeError: it is invalid.
        ValueError: it is invalid.
        KeyError: it is invalid.
    """
    size, remarks = said["size"], said["remarks"]
    tracks = said.get("tracks", [])  # rows of CDs had none before they were compared by track
    if not isinstance(size, int) or not isinstance(remarks, list) or not isinstance(tracks, list):
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
        tracks=tuple(map(_track, tracks)),
    )


def _track(said: list[object]) -> DiscTrack:
    """Return a track in a row; raises like :func:`_whole`."""
    begin, size, *digests = said
    if not isinstance(begin, int) or not isinstance(size, int):
        raise TypeError("a row of another kind")
    return DiscTrack(begin, size, Digests(*map(str, digests)))
