"""The files that one run reads: none is overwritten by the copy of another; how one is deleted."""

import os
import shlex
import unicodedata
from collections.abc import Iterable, Sequence

from zsofs.errors import ZsofsError, reason
from zsofs.formats.file_names import has_disc_ending
from zsofs.images.input_image import Original, original
from zsofs.images.pipeline import streaming_unit
from zsofs.pack.atomic_file import sync_folder
from zsofs.pack.packer import sha1_of


class InputFiles:
    """The inputs of a run, found again under any name: links, and other spellings of a path."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_inode: dict[tuple[int, int], str] = {}
        self._by_name: dict[str, list[str]] = {}
        for path in paths:
            try:
                status = os.stat(path)
            except OSError:  # reported when its turn comes
                continue
            self._by_inode.setdefault((status.st_dev, status.st_ino), path)
            self._by_name.setdefault(_folded(path), []).append(path)

    def find(self, path: str) -> str | None:
        """Return the input that *path* is another name of, or None."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        found = self._by_inode.get((status.st_dev, status.st_ino))
        if found is not None:
            return found
        # FAT and exFAT invent inode numbers: they may forget them, or have one for each spelling.
        for other in self._by_name.get(_folded(path), ()):
            if not os.path.lexists(other):
                continue
            if os.path.samefile(path, other) or not _is_listed(path):
                return other
        return None


def _folded(path: str) -> str:
    """A path that is the same for all spellings of it on a disk that ignores case."""
    return unicodedata.normalize("NFC", os.path.realpath(path).casefold())


def _is_listed(path: str) -> bool:
    """Whether its directory has the name in this spelling."""
    folder, name = os.path.split(os.path.realpath(path))
    try:
        return name in os.listdir(folder)
    except OSError:
        return True


def meant_as_output(paths: Sequence[str]) -> str:
    """Return a hint if the last of several inputs is probably the output, as for cp(1).

    It does not exist, and its name is not that of a disc.
    """
    *others, last = paths
    if not others or os.path.lexists(last) or has_disc_ending(os.fsencode(last)):
        return ""
    is_directory = os.path.isdir(others[0]) or len(others) > 1 or last.endswith("/")
    return f" (did you mean -o {shlex.quote(last if is_directory else last + '/')}?)"


def is_same_image(image: Original, path: str, *, packed: bool) -> bool:
    """Return whether the file *path* holds the same image, after reading both completely.

    Args:
        image: an open image.
        path: of the other file.
        packed: whether that is a container; a plain image otherwise.
    """
    try:
        with original(path, as_it_is=not packed) as other:
            if other.size != image.size or (other.disc is not None) is not packed:
                return False
            sha1 = sha1_of(other, streaming_unit(other), _Silent())
    except ZsofsError:  # it is damaged
        return False
    return sha1 == sha1_of(image, streaming_unit(image), _Silent())


class _Silent:
    """A :class:`zsofs.pack.packer.Watcher` that reports nothing."""

    def advance(self, plain: int, stored: int) -> None:
        """Do nothing."""

    def check(self) -> None:
        """Do nothing."""


def delete_input(image: Original) -> tuple[str, tuple[str, ...]]:
    """Delete an input whose copy is complete.

    Returns:
        Why it could not be deleted, empty if it was; and remarks.
    """
    try:
        image.remove()
    except (OSError, ZsofsError) as error:
        return f"the output is complete, but the input was not deleted: {reason(error)}", ()
    try:
        sync_folder(os.path.dirname(image.path))
    except OSError as error:
        remark = (
            "it was deleted, but may reappear after a power failure: its directory cannot be"
            f" synced: {reason(error)}"
        )
        return "", (remark,)
    return "", ()
