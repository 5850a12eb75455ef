"""Deletion of a file by identity: another file that has taken its name is never deleted.

Linux cannot unlink an inode. So the file is renamed to a unique hidden name in its directory,
checked there, and then unlinked. A run that is killed between these steps leaves the file under
the hidden name, and :func:`restore` renames it back.
"""

import os
import secrets
from collections.abc import Iterator

from zsofs.errors import InputError, reason
from zsofs.formats.file_names import deletion_name, name_before_deletion
from zsofs.system.renames import identity, rename_to_free_name


def delete(folder: int, name: str, expected: os.stat_result) -> None:
    """Delete the file *name* if it is the expected one.

    Args:
        folder: descriptor of its directory.
        name: name of the file.
        expected: its fstat.

    Raises:
        InputError: another file has the name, and keeps it, or the file was changed.
        OSError: the file could not be deleted, and keeps its name.
    """
    hidden = os.fsdecode(deletion_name(os.fsencode(name), secrets.token_hex(4)))
    try:
        rename_to_free_name(name, hidden, src_dir_fd=folder, dst_dir_fd=folder)
        _check(os.stat(hidden, dir_fd=folder, follow_symlinks=False), expected)
        os.unlink(hidden, dir_fd=folder)
    except BaseException:
        _put_back(folder, hidden, name)
        raise


def _check(caught: os.stat_result, expected: os.stat_result) -> None:
    if not os.path.samestat(caught, expected):
        raise InputError("another file now has its name")
    if identity(caught) != identity(expected):
        raise InputError("it was modified while it was being read")


def _put_back(folder: int, hidden: str, name: str) -> None:
    try:
        # On a read-only file system rename fails before it reports that the file is missing.
        os.stat(hidden, dir_fd=folder, follow_symlinks=False)
        rename_to_free_name(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileNotFoundError:
        pass  # it was not renamed, or is deleted
    except OSError as error:
        raise InputError(
            f"the file that had its name is now called {hidden} and cannot be renamed back:"
            f" {reason(error)}"
        ) from error


def restore(folder: str) -> Iterator[str]:
    """Rename files back that an interrupted run was deleting.

    Args:
        folder: path of the directory.

    Yields:
        A message per file.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # reported by the caller, which reads the directory
        return
    for hidden in names:
        name = name_before_deletion(os.fsencode(hidden))
        if name is None:
            continue
        old = os.path.join(folder, hidden)
        new = os.path.join(folder, os.fsdecode(name))
        try:
            rename_to_free_name(old, new)
        except FileNotFoundError:
            continue  # another run is deleting it, or has restored it
        except OSError as error:
            yield (
                f"{old}: an interrupted run was deleting this file, and its name {new} cannot"
                f" be restored: {reason(error)}; delete or rename it manually"
            )
        else:
            yield f"{new}: restored; an interrupted run was deleting this file"
