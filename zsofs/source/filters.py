"""Filters of the files shown, by the patterns of the user. Pure functions of paths."""

import os
import re
from collections.abc import Iterable
from fnmatch import translate


class Selection:
    """The `--include` and `--exclude` patterns.

    A pattern with a slash, other than at its end, is matched against the path inside the source,
    one without against the name only; ``*`` also matches slashes. Case matters, as in
    file names. Paths outside the source, where a symlink leads, are absolute.
    """

    def __init__(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        self._include = [_Pattern(text) for text in include]
        self._exclude = [_Pattern(text) for text in exclude]

    def takes(self, path: bytes, *, is_folder: bool) -> bool:
        """Return whether *path* is shown; include patterns do not apply to directories."""
        if not (self._include or self._exclude):
            return True
        text = os.fsdecode(path)
        if any(pattern.matches(text) for pattern in self._exclude):
            return False
        if is_folder or not self._include:
            return True
        return any(pattern.matches(text) for pattern in self._include)

    def reaches(self, folder: bytes) -> bool:
        """Return whether a directory is shown, with all above it."""
        while folder:
            if not self.takes(folder, is_folder=True):
                return False
            folder = folder.rpartition(b"/")[0]
        return True


class _Pattern:
    def __init__(self, text: str) -> None:
        self._regex = re.compile(translate(text.strip("/")))
        self._whole = "/" in text.rstrip("/")  # one in front is for the top of the source

    def matches(self, path: str) -> bool:
        subject = path.lstrip("/") if self._whole else path.rpartition("/")[2]
        return self._regex.match(subject) is not None
