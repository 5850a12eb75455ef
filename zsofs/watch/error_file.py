"""The text file beside an input that could not be packed."""

import os
import secrets
import zlib
from contextlib import suppress
from pathlib import Path

from zsofs.console.tables import printable
from zsofs.formats.file_names import MAX_NAME
from zsofs.system.full_write import new_file
from zsofs.watch.units import ERROR_ENDING

_MARK = "zsofs could not pack this file. It tries again when the file changes.\n"
_MOST = 4096


def write(path: str, error: str) -> None:
    """Write why *path* could not be packed; replace only a file that zsofs has written.

    Raises:
        OSError: it cannot be written.
    """
    target = _beside(path)
    if os.path.lexists(target) and not _is_ours(target):
        return
    unfinished = target.with_name(f".{secrets.token_hex(8)}{ERROR_ENDING}")
    text = f"{printable(os.path.basename(path))}: {printable(error)}"
    text = f"{_MARK}\n{text.encode(errors='backslashreplace').decode()}\n"
    with new_file(unfinished, text, 0o666):
        unfinished.rename(target)


def remove(path: str) -> None:
    """Delete the text file beside *path*, if zsofs has written it."""
    target = _beside(path)
    with suppress(OSError):
        if _is_ours(target):
            target.unlink()


def _beside(path: str) -> Path:
    """Return the path of the text beside *path*; a name that is too long is shortened."""
    folder, name = os.path.split(path)
    encoded = os.fsencode(name)
    ending = ERROR_ENDING.encode()
    if len(encoded) + len(ending) > MAX_NAME:
        ending = f"~{zlib.crc32(encoded):08x}{ERROR_ENDING}".encode()
        # Do not split a character: some file systems reject names that are not valid text.
        encoded = encoded[: MAX_NAME - len(ending)].decode(errors="ignore").encode()
    return Path(folder, os.fsdecode(encoded + ending))


def _is_ours(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(fd, _MOST).startswith(_MARK.encode())
        finally:
            os.close(fd)
    except OSError:
        return False
