"""The volumes of an archive as one file, read by position."""

import os
from collections.abc import Sequence


class Joined:
    """Descriptors of files, read as if they were one. It has a position, as a file has.

    Attributes:
        size: bytes of all files.
        position: offset of the next :meth:`read`.
    """

    def __init__(self, fds: Sequence[int], sizes: Sequence[int]) -> None:
        self._parts = list(zip(fds, sizes, strict=True))
        self.size = sum(sizes)
        self.position = 0

    def read_at(self, offset: int, size: int) -> bytes:
        """Return the *size* bytes at *offset*; fewer at the end.

        Raises:
            OSError: a file cannot be read.
        """
        pieces = []
        for fd, length in self._parts:
            while size > 0 and offset < length:
                piece = os.pread(fd, min(size, length - offset), offset)
                if not piece:  # truncated since it was opened, which is checked at the end
                    break
                pieces.append(piece)
                offset, size = offset + len(piece), size - len(piece)
            offset -= length
            if size <= 0:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, as a file does."""
        data = self.read_at(self.position, size if size >= 0 else self.size - self.position)
        self.position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("a negative position")
        self.position = base + offset
        return self.position

    def tell(self) -> int:
        """Return the position."""
        return self.position

    def seekable(self) -> bool:
        """Return True."""
        return True
