"""Files that commands leave out of a directory although they are named like discs, and their count.

The mount goes by the same names, see :mod:`zsofs.names`.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from zsofs.names import (
    APPLE_DOUBLE,
    IN_TRASH,
    has_disc_ending,
    is_apple_double,
    is_system_directory,
)

_LINK = "a symlink"

_WORDS = (
    # (reason, text for one, text for several)
    (IN_TRASH, "file in a trash or system directory", "files in trash or system directories"),
    (APPLE_DOUBLE, "AppleDouble file", "AppleDouble files"),
    (_LINK, "symlink", "symlinks"),
)


@dataclass(slots=True)
class Ignored:
    """How many files were left out, by reason.

    Attributes:
        wanted: whether a file of this name would be taken anywhere else.
        counts: of files, by reason.
    """

    wanted: Callable[[bytes], bool]
    counts: Counter[str] = field(default_factory=Counter)

    def prune(self, path: str, folders: list[str]) -> None:
        """Remove what is not looked into from the subdirectories of *path*, and sort the rest."""
        kept = []
        for name in sorted(folders):
            whole = os.path.join(path, name)
            if is_system_directory(os.fsencode(name)):
                self._count_files(whole)
            elif os.path.islink(whole):
                self.counts[_LINK] += 1
            else:
                kept.append(name)
        folders[:] = kept

    def takes(self, path: str, name: str, *, links: bool) -> bool:
        """Whether the file *name* in the directory *path* is taken; *links* if symlinks are."""
        if not self.wanted(os.fsencode(name)):
            return False
        whole = os.path.join(path, name)
        if not links and os.path.islink(whole):
            self.counts[_LINK] += 1
            return False
        if name.startswith("._") and is_apple_double(os.fsencode(name), _begin(whole)):
            self.counts[APPLE_DOUBLE] += has_disc_ending(os.fsencode(name))
            return False
        return True

    @property
    def sentence(self) -> str:
        """What was left out; empty if nothing was."""
        return left_out(self.counts)

    def _count_files(self, trash: str) -> None:
        for _, _, names in os.walk(trash):
            for name in map(os.fsencode, names):
                self.counts[IN_TRASH] += has_disc_ending(name) and self.wanted(name)


def left_out(counts: Counter[str]) -> str:
    """Return how many files were left out, by reason; empty if none were."""
    parts = [
        f"{counts[why]:,} {one if counts[why] == 1 else several}"
        for why, one, several in _WORDS
        if counts[why]
    ]
    return f"left out: {', '.join(parts)}" if parts else ""


def _begin(path: str) -> bytes:
    """Return the first bytes of a file; empty if it cannot be read, which is reported later."""
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
