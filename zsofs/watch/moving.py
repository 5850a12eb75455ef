"""Moves of inputs to another directory, by identity, without replacing a file there."""

import os
from collections.abc import Sequence
from contextlib import suppress

from zsofs.errors import InputError, reason
from zsofs.pack.atomic_file import sync_folder
from zsofs.system.renames import rename_to_free_name
from zsofs.watch.whole import FileIdentity

_MOST_NAMES = 1000


def move(files: Sequence[tuple[str, FileIdentity]], inbox: str, directory: str) -> tuple[str, ...]:
    """Move files to *directory*, below which they get their path relative to the inbox.

    Args:
        files: real paths with the expected identities. If the name of one of several is taken, all
            get a new directory.
        inbox: real path of the inbox.
        directory: real path of a directory on the same file system.

    Returns:
        The new paths.

    Raises:
        InputError: a file was not moved, and has its old name; those before it have new ones.
    """
    targets = [os.path.join(directory, os.path.relpath(path, inbox)) for path, _ in files]
    if len(files) > 1 and any(map(os.path.lexists, targets)):
        # A cue sheet and the volumes of an archive find each other by their names.
        folder = _free_folder(os.path.splitext(targets[0])[0])
        targets = [os.path.join(folder, os.path.basename(target)) for target in targets]
    return tuple(
        _move(path, expected, target, directory)
        for (path, expected), target in zip(files, targets, strict=True)
    )


def _free_folder(path: str) -> str:
    """Return the first path of a directory that does not exist."""
    numbers = range(2, _MOST_NAMES)
    return next(
        (new for number in numbers if not os.path.lexists(new := f"{path} ({number})")), path
    )


def _move(path: str, expected: FileIdentity, target: str, directory: str) -> str:
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        new = _renamed(path, target)
        found = os.lstat(new)
        if (found.st_ino, found.st_size, found.st_mtime_ns) != (
            expected.inode,
            expected.size,
            expected.mtime_ns,
        ):
            rename_to_free_name(new, path)
            raise InputError("another file now has its name")
    except OSError as error:
        raise InputError(f"it cannot be moved to {directory}: {reason(error)}") from error
    for folder in {os.path.dirname(new), os.path.dirname(path)}:
        with suppress(OSError):  # after a power failure it may have its old name, and is there
            sync_folder(folder)
    return new


def _renamed(path: str, target: str) -> str:
    """Rename a file to the first free name; return it."""
    stem, ending = os.path.splitext(target)
    for number in range(1, _MOST_NAMES):
        new = target if number == 1 else f"{stem} ({number}){ending}"
        try:
            rename_to_free_name(path, new)
        except FileExistsError:
            continue
        return new
    raise FileExistsError(f"there are {_MOST_NAMES} files with this name")
