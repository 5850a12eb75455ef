"""DAT files and lists of titles as bytes: plain, or in gzip, Zstandard or a ZIP archive, bounded.

A user may name any file by mistake, or one from the net: a device, a pipe that never ends, an
archive that unpacks to terabytes. Each ends in one sentence after bounded time and memory.
"""

import gzip
import io
import os
import select
import stat
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from zsofs.errors import UsageError
from zsofs.timings import timings

MAX_SIZE = 64 << 20
"""The largest unpacked file, in bytes; the largest DATs of one console have about 20 MB."""

_MAX_DIRECTORY = 1 << 20
"""The largest directory of a ZIP archive, in bytes: zipfile takes 1 KB of memory for 46 of them."""


_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZIP = b"PK\3\4"
_ZIP_END = b"PK\5\6"
_ZIP64_LOCATOR = b"PK\6\7"
_ZIP_TAIL = 65557
"""Bytes at the end of a ZIP archive within which its directory is described."""

_READ = 64 << 10

_ZSTD_READ = 256
"""Bytes of Zstandard that are unpacked at a time; 4 of them can be a block of 128 KiB."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _DamagedError(Exception):
    """A stream of Zstandard is damaged; the message says how."""


@dataclass(slots=True)
class Content:
    """The unpacked bytes of a file, read once from first to last.

    Attributes:
        where: name of the file for messages.
        source: what gives the bytes.
        head: those that were read already, to see what the file is.
    """

    where: str
    source: _Readable
    head: bytes = b""
    _taken: int = field(default=0)

    def read(self, size: int) -> bytes:
        """Return up to *size* bytes; none at the end.

        Raises:
            UsageError: the file has too many bytes, or its archive is damaged.
            OSError: it cannot be read.
        """
        if self.head:
            found, self.head = self.head[:size], self.head[size:]
            return found
        return self._more(size)

    def peek(self) -> bytes:
        """Return the first bytes that are still to be read."""
        if not self.head:
            self.head = self._more(_READ)
        return self.head

    def all(self) -> bytes:
        """Return everything that is still to be read."""
        return b"".join(iter(lambda: self.read(_READ), b""))

    def _more(self, size: int) -> bytes:
        try:
            found = self.source.read(size)
        except (
            gzip.BadGzipFile,
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            _DamagedError,
        ) as error:
            raise UsageError(f"{self.where} is a damaged archive: {error}") from None
        self._taken += len(found)
        _check_size(self._taken, self.where)
        return found


def _check_size(size: int, where: str) -> None:
    if size > MAX_SIZE:
        raise UsageError(
            f"{where} has more than {MAX_SIZE >> 20} MiB; no list or DAT of a console is that large"
        )


@contextmanager
def opened(path: Path, where: str, *, regular: bool = False) -> Iterator[Content]:
    """Open a file that may be packed.

    Args:
        path: of the file.
        where: its name for messages.
        regular: refuse pipes and devices.

    Raises:
        OSError: it cannot be read.
        UsageError: it is too large, or an archive that cannot be used.
    """
    with ExitStack() as stack:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        stack.callback(os.close, fd)
        kind = os.fstat(fd).st_mode
        file: BinaryIO
        if stat.S_ISREG(kind):
            file = stack.enter_context(open(fd, "rb", closefd=False))
        elif regular or stat.S_ISBLK(kind):
            raise OSError(0, "it is not a regular file")
        else:
            file = io.BytesIO(_drained(fd, where))
        yield _unpacked(file, where, stack)


def _drained(fd: int, where: str) -> bytes:
    """All bytes of a pipe or device, which may come late, or never end."""
    found = bytearray()
    until = time.monotonic() + timings().pipe
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while len(found) <= MAX_SIZE:
        left = until - time.monotonic()
        if left <= 0 or not poll.poll(1000 * left):
            raise UsageError(f"{where} is a pipe that did not end within {timings().pipe:.0f} s")
        try:
            piece = os.read(fd, _READ)
        except BlockingIOError:
            continue
        if not piece:
            break
        found += piece
    return bytes(found)


def _unpacked(file: BinaryIO, where: str, stack: ExitStack) -> Content:
    _check_size(file.seek(0, os.SEEK_END), where)  # packed as well, or it could go on for hours
    file.seek(0)
    magic = file.read(len(_ZIP))
    file.seek(0)
    if magic.startswith(_GZIP):
        return Content(where, stack.enter_context(gzip.GzipFile(fileobj=file)))
    if magic == _ZSTD:
        return Content(where, _ZstdFrames(file))
    if magic == _ZIP:
        return _zipped(file, where, stack)
    return Content(where, file)


class _ZstdFrames:
    """The content of Zstandard frames that follow one another (RFC 8878, section 3.1).

    ``ZstdDecompressor.stream_reader`` is not used: it takes a file that was cut for a whole one.
    Windows may have 128 MiB, the limit of libzstd and of the program zstd.
    """

    def __init__(self, file: BinaryIO) -> None:
        from zstandard import ZstdDecompressor

        self._file = file
        self._stored = b""
        self._plain = io.BytesIO()
        self._decompressor = ZstdDecompressor()
        self._frame = self._decompressor.decompressobj()
        self._is_within = False

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes; none at the end.

        Raises:
            _DamagedError: the stream is damaged, or ends within a frame.
            OSError: the file cannot be read.
        """
        while not (found := self._plain.read(size)):
            self._stored = self._stored or self._file.read(_ZSTD_READ)
            if not self._stored:
                if self._is_within:
                    raise _DamagedError("it ends inside a Zstandard frame")
                break
            self._unpack()
        return found

    def _unpack(self) -> None:
        """Unpack what is stored, as far as the frame goes."""
        from zstandard import ZstdError

        try:
            self._plain = io.BytesIO(self._frame.decompress(self._stored))
        except ZstdError as error:
            raise _DamagedError(str(error)) from None
        self._stored = self._frame.unused_data
        self._is_within = not self._frame.eof
        if self._frame.eof:
            self._frame = self._decompressor.decompressobj()


def _zipped(file: BinaryIO, where: str, stack: ExitStack) -> Content:
    """The one file in a ZIP archive."""
    _check_directory(file, where)
    try:
        archive = stack.enter_context(zipfile.ZipFile(file))
        files = [one for one in archive.infolist() if not one.is_dir()]
        if len(files) != 1:
            raise UsageError(
                f"{where} is a ZIP archive with {len(files)} files; extract it and give one of them"
            )
        if files[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UsageError(f"{where} is a ZIP archive of an unsupported kind; extract it")
        return Content(where, stack.enter_context(archive.open(files[0])))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
        raise UsageError(f"{where} is a ZIP archive that cannot be read: {error}") from None


def _check_directory(file: BinaryIO, where: str) -> None:
    """See that a ZIP archive says that its directory is short, before zipfile reads it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _ZIP_TAIL, 0))
    tail = file.read(_ZIP_TAIL)
    file.seek(0)
    at = tail.rfind(_ZIP_END)
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    if at < 0 or directory > _MAX_DIRECTORY or _ZIP64_LOCATOR in tail[max(at - 20, 0) : at]:
        raise UsageError(
            f"{where} is a ZIP archive that is truncated or has too many files; extract it"
        )
