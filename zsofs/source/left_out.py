"""Files with disc names that commands leave out of a directory, and their count.

The mount ignores the same names, see :mod:`zsofs.formats.file_names`.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from zsofs.formats.file_names import (
    APPLE_DOUBLE,
    IN_TRASH,
    has_disc_ending,
    is_apple_double,
    is_system_directory,
)
from zsofs.source.relpath import is_at_or_below

_LINK = "a symlink"
_REPEATED = "repeated"

_WORDS = (
    # (reason, text for one, text for several)
    (IN_TRASH, "file in a trash or system directory", "files in trash or system directories"),
    (APPLE_DOUBLE, "AppleDouble file", "AppleDouble files"),
    (_LINK, "symlink", "symlinks"),
    (_REPEATED, "directory that was taken already", "directories that were taken already"),
)

_HINT = "; --allow-links-to DIR follows symlinks whose target is in DIR"

Found = tuple[str, list[str], list[str]]
"""A directory, its subdirectories and its files, as os.walk yields them."""


@dataclass(slots=True)
class Ignored:
    """Number of files left out, by reason.

    Attributes:
        wanted: whether the file of a path would be used elsewhere.
        inputs: the files and directories on the command line.
        allowed: real paths of the directories of `--allow-links-to`.
        counts: of files, by reason.
    """

    wanted: Callable[[bytes], bool]
    inputs: Sequence[str] = ()
    allowed: Collection[bytes] = ()
    counts: Counter[str] = field(default_factory=Counter)
    _entered: set[tuple[int, int]] = field(default_factory=set)

    def walk(self, top: str, onerror: Callable[[OSError], None]) -> Iterator[Found]:
        """Walk a directory like os.walk, including directories behind followed symlinks.

        Each directory comes once if symlinks are followed: several may lead to one, or to one above
        them.
        """
        for path, folders, names in os.walk(top, onerror=onerror, followlinks=bool(self.allowed)):
            if self.allowed and not self._enter(path):
                folders.clear()
                continue
            self._prune(path, folders)
            yield path, folders, names

    def _enter(self, path: str) -> bool:
        """Return whether the directory *path* was not entered before."""
        try:
            status = os.stat(path)
        except OSError:  # reported when it is listed
            return True
        place = status.st_dev, status.st_ino
        if place in self._entered:
            self.counts[_REPEATED] += 1
            return False
        self._entered.add(place)
        return True

    def _follows(self, link: str) -> bool:
        """Return whether a symlink leads to an allowed directory that is not found without it."""
        real = os.path.realpath(os.fsencode(link))
        inputs = (os.path.realpath(os.fsencode(path)) for path in self.inputs)
        return any(is_at_or_below(real, path) for path in self.allowed) and not any(
            is_at_or_below(real, path) for path in inputs
        )

    def _prune(self, path: str, folders: list[str]) -> None:
        """Remove subdirectories of *path* that are not searched, and sort the others."""
        kept = []
        for name in sorted(folders):
            whole = os.path.join(path, name)
            if is_system_directory(os.fsencode(name)):
                self._count_files(whole)
            elif os.path.islink(whole) and not self._follows(whole):
                self.counts[_LINK] += 1
            else:
                kept.append(name)
        folders[:] = kept

    def takes(self, path: str, name: str, *, links: bool) -> bool:
        """Return whether the file *name* in the directory *path* is taken.

        *links*: whether all symlinks are used, not only followed ones.
        """
        whole = os.path.join(path, name)
        if not self.wanted(os.fsencode(whole)):
            return False
        if not links and os.path.islink(whole) and not self._follows(whole):
            self.counts[_LINK] += 1
            return False
        if name.startswith("._") and is_apple_double(os.fsencode(name), begin_of(whole)):
            self.counts[APPLE_DOUBLE] += has_disc_ending(os.fsencode(name))
            return False
        return True

    @property
    def sentence(self) -> str:
        """Summary of the files left out; empty if there are none."""
        hint = _HINT if self.counts[_LINK] else ""
        return left_out(self.counts) + hint

    def _count_files(self, trash: str) -> None:
        for folder, _, names in os.walk(os.fsencode(trash)):
            for name in names:
                taken = has_disc_ending(name) and self.wanted(os.path.join(folder, name))
                self.counts[IN_TRASH] += taken


def left_out(counts: Counter[str]) -> str:
    """Return how many files were left out, by reason; empty if none were."""
    parts = [
        f"{counts[why]:,} {one if counts[why] == 1 else several}"
        for why, one, several in _WORDS
        if counts[why]
    ]
    return f"left out: {', '.join(parts)}" if parts else ""


def begin_of(path: str | bytes) -> bytes:
    """Return the first 4 bytes of a file; none if it cannot be read, which is reported later."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(fd, 4)
    except OSError:
        return b""
    finally:
        os.close(fd)
