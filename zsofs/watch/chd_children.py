"""Children of a CHD: they cannot be read without it, so it is not deleted or moved away."""

import os
from collections.abc import Iterable, Iterator

from zsofs.errors import FormatError
from zsofs.formats.chd import HEADER_SIZE, ChdHeader, parse_header


def child_of(path: str, directories: Iterable[str]) -> str:
    """Return the path of a CHD whose parent is the one at *path*; empty if there is none.

    A child is read only if its parent is in the same directory; but a child in another one may be
    on its way there. May wait for a disk.

    Args:
        path: of any file.
        directories: are searched, with their subdirectories. Those that cannot be read are left
            out.
    """
    header = _header(path)
    if header is None or not any(header.sha1):  # an uncompressed CHD has no SHA-1
        return ""
    for other in _chds_in(directories):
        found = _header(other)
        if found is not None and found.parent_sha1 == header.sha1:
            return other
    return ""


def sha1_of(path: str) -> str:
    """Return the SHA-1 by which children of a CHD name it; empty for any other file."""
    header = _header(path)
    return header.sha1.hex() if header is not None and any(header.sha1) else ""


def _chds_in(directories: Iterable[str]) -> Iterator[str]:
    for directory in directories:
        for folder, _, names in os.walk(directory):
            for name in names:
                if name.lower().endswith(".chd"):
                    yield os.path.join(folder, name)


def _header(path: str) -> ChdHeader | None:
    """Return the header of a CHD; None if the file is none, or cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return parse_header(os.pread(fd, HEADER_SIZE, 0))
    except (OSError, FormatError):
        return None
    finally:
        os.close(fd)
