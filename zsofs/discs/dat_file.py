"""Bounded reading of DAT files and lists of titles: plain, or in gzip, Zstandard or ZIP.

A user may name any file, by mistake or from the internet: a device, an endless pipe, an archive
that unpacks to terabytes. Each results in one error message after bounded time and memory.
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
"""The largest unpacked file in bytes; the largest DATs of one console have about 20 MB."""

_MAX_DIRECTORY = 1 << 20
"""The largest directory of a ZIP archive in bytes: zipfile takes 1 KB of memory per 46 of them."""


_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZIP = b"PK\3\4"
_ZIP_END = b"PK\5\6"
_ZIP64_LOCATOR = b"PK\6\7"
_ZIP_TAIL = 65557
"""Size of the end of a ZIP archive that can contain its end-of-directory record."""

_READ = 64 << 10

_ZSTD_READ = 256
"""Bytes of Zstandard data decoded at a time; 4 of them can expand to 128 KiB."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _DamagedError(Exception):
    """A Zstandard stream is damaged; the message has the reason."""


@dataclass(slots=True)
class Content:
    """The unpacked bytes of a file, read once sequentially.

    Attributes:
        where: name of the file for messages.
        source: stream of the bytes.
        head: bytes that were read ahead to detect the file type.
    """

    where: str
    source: _Readable
    head: bytes = b""
    _taken: int = field(default=0)

    def read(self, size: int) -> bytes:
        """Return up to *size* bytes; empty at the end.

        Raises:
            UsageError: the file is too large, or its archive is damaged.
            OSError: it cannot be read.
        """
        if self.head:
            found, self.head = self.head[:size], self.head[size:]
            return found
        return self._more(size)

    def peek(self) -> bytes:
        """Return the next bytes without consuming them."""
        if not self.head:
            self.head = self._more(_READ)
        return self.head

    def all(self) -> bytes:
        """Return all remaining bytes."""
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
    """Open a file, and the archive or compressed stream in it.

    Args:
        path: path of the file.
        where: its name for messages.
        regular: reject pipes and devices.

    Raises:
        OSError: it cannot be read.
        UsageError: it is too large, or an unsupported archive.
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
    """Return all bytes of a pipe or device, within a time limit."""
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
    # The compressed size is limited as well, which bounds the time.
    _check_size(file.seek(0, os.SEEK_END), where)
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
    """The content of consecutive Zstandard frames (RFC 8878, section 3.1).

    ``ZstdDecompressor.stream_reader`` is not used: it treats a truncated file as complete.
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
        """Return up to *size* bytes; empty at the end.

        Raises:
            _DamagedError: the stream is damaged, or ends inside a frame.
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
        """Decode buffered data up to the end of the frame."""
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
    """Return the one file in a ZIP archive."""
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
    """Check the directory size that a ZIP archive declares, before zipfile reads it."""
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
