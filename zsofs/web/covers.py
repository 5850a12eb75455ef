"""Covers of discs: picture files of the user beside the discs. For threads.

Two places are looked in: ``ART`` at the top of the source, with the names that OPL uses
(``SLUS_209.63_COV.png``), and ``covers`` beside a disc, with the disc's name or ID
(``covers/Okami.jpg``). Both may be hostile: no symlink is followed, and the bytes decide what a
file is.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from zsofs.system.nofollow import opened_below

MAX_SIZE = 8 << 20
"""The largest cover, in bytes."""

_MAX_NAMES = 50_000
"""Names of a directory that are read."""

_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
_MAGICS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


@dataclass(slots=True)
class Covers:
    """The covers of a source, by lowercase name without extension in each directory.

    Attributes:
        source: path of the source directory.
        names: names of files by directory.
    """

    source: str
    names: dict[str, dict[str, str]] = field(default_factory=dict)

    def look(self, folders: Iterable[str]) -> None:
        """Find the covers for discs in *folders*, relative to the source."""
        places = {"ART", *(os.path.join(folder, "covers") for folder in folders)}
        self.names = {place: found for place in places if (found := self._names(place))}

    def path_for(self, disc: str, game_id: str) -> str | None:
        """Return the path of the cover of a disc, relative to the source; None without one."""
        folder, name = os.path.split(disc)
        stem = os.path.splitext(name)[0].lower()
        wanted = game_id.lower()
        beside = os.path.join(folder, "covers")
        candidates = [(beside, stem)]
        if wanted:
            candidates += [(beside, wanted), ("ART", f"{wanted}_cov")]
        for place, key in candidates:
            found = self.names.get(place, {}).get(key)
            if found is not None:
                return os.path.join(place, found)
        return None

    def _names(self, place: str) -> dict[str, str]:
        found: dict[str, str] = {}
        with suppress(OSError):
            fd = _opened(self.source, place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for name in os.listdir(fd)[:_MAX_NAMES]:
                    stem, ending = os.path.splitext(name)
                    if ending.lower() in _ENDINGS:
                        found[stem.lower()] = name
            finally:
                os.close(fd)
        return found


def read_cover(source: str, path: str) -> tuple[bytes, str] | None:
    """Return the bytes and the media type of a picture; None if it is none.

    Args:
        source: the source directory.
        path: of the picture, relative to it.
    """
    try:
        fd = _opened(source, path, os.O_RDONLY | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            if os.fstat(fd).st_size > MAX_SIZE:
                return None
            data = file.read(MAX_SIZE)
    except OSError:
        return None
    kind = media_type(data)
    return None if kind is None else (data, kind)


def media_type(data: bytes) -> str | None:
    """Return the media type of a PNG, JPEG or WebP by its first bytes; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGICS if data.startswith(magic)), None)


def _opened(source: str, path: str, way: int) -> int:
    """Return a descriptor of a path inside the source, without following symlinks in it.

    Raises:
        OSError: it does not exist, has a symlink, or leads out of the source.
    """
    names = [os.fsencode(name) for name in Path(path).parts]
    if not names or any(name in (b"", b".", b"..", b"/") or b"\0" in name for name in names):
        raise FileNotFoundError
    top = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    fd = opened_below(top, names)
    try:
        # Before it is opened: that of a device may do something, and a symlink would be followed.
        wanted = stat.S_IFDIR if way & os.O_DIRECTORY else stat.S_IFREG
        if stat.S_IFMT(os.fstat(fd).st_mode) != wanted:
            raise FileNotFoundError
        return os.open(f"/proc/self/fd/{fd}", way | os.O_CLOEXEC)
    finally:
        os.close(fd)
