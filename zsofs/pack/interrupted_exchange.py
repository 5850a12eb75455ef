"""What a run that was killed has left while it replaced an image by its packed file.

Then the hidden name has either the packed file, which is deleted, or the image. A program that was
waiting to write to the image has written to it since: such an image gets its name back.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from zsofs.errors import ZsofsError, reason
from zsofs.formats.file_names import name_before_exchange
from zsofs.images.input_image import original
from zsofs.native.fileio import rename_exchange
from zsofs.pack.atomic_file import sync_folder
from zsofs.pack.in_place import exchange_token
from zsofs.system.file_lease import has_writer


def end_exchanges(folder: str) -> Iterator[str]:
    """End the exchanges in a directory that were interrupted.

    Args:
        folder: path of the directory, in which no exchange is in progress.

    Yields:
        A message per file that is kept.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # reported by the caller, which reads the directory
        return
    for name in names:
        found = name_before_exchange(os.fsencode(name))
        if found is None:
            continue
        hidden, target = os.path.join(folder, name), os.path.join(folder, os.fsdecode(found[0]))
        try:
            note = _end(hidden, target, found[1])
        except (OSError, ZsofsError) as error:
            note = (
                f"{hidden}: an interrupted run has left this file, which was {target}, and it can"
                f" be neither restored nor deleted: {reason(error)}"
            )
        if note:
            yield note


def _end(hidden: str, target: str, token: str) -> str:
    """End one exchange; return a message if a file is kept."""
    status = os.lstat(hidden)
    if not stat.S_ISREG(status.st_mode):
        return ""  # none of ours
    if exchange_token(status) == token:  # the packed file, which has not got the name
        os.unlink(hidden)
        return ""
    is_ours = False
    with suppress(FileNotFoundError):
        is_ours = exchange_token(os.lstat(target)) == token
    if not is_ours:
        return (
            f"{hidden}: an interrupted run has left this image, which was {target}, and that has"
            " changed since; rename or delete it manually"
        )
    with original(target) as packed:
        if _is_unchanged(hidden, packed.size, packed.status.st_mtime_ns):
            os.unlink(hidden)
            return ""
        rename_exchange(hidden, target)
        if os.path.samestat(os.lstat(hidden), packed.status):
            os.unlink(hidden)
    sync_folder(os.path.dirname(target))
    return (
        f"{target}: restored; a program wrote to it while an interrupted run replaced it by its"
        " packed file"
    )


def _is_unchanged(path: str, size: int, mtime_ns: int) -> bool:
    """Return whether nothing has written to an image since it was packed, or is going to."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        status = os.fstat(fd)
        is_same = (status.st_size, status.st_mtime_ns) == (size, mtime_ns)
        return is_same and not has_writer(fd)
    finally:
        os.close(fd)
