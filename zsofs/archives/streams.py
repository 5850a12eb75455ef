"""Single compressed files: gzip, bzip2, xz and Zstandard, with all checksums that they have.

libarchive does not check those of gzip.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator

import zstandard

from zsofs.archives.examine import MAX_DICTIONARY
from zsofs.archives.joined import Joined
from zsofs.archives.kinds import ArchiveKind
from zsofs.errors import DamagedError

_INPUT = 64 << 10
_ZSTD_INPUT = 4 << 10
"""Bytes of input for one call. zstandard's output cannot be limited, and 4 bytes can stand for a
block of 128 KiB: 128 MiB for this."""

_OUTPUT = 256 << 10

_Member = Generator[bytes, None, bytes]
"""Yields the content of one member; returns the input that follows it."""


def decoded(kind: ArchiveKind, file: Joined) -> Iterator[bytes]:
    """Yield the content of a compressed file, of all its members.

    Raises:
        DamagedError: it is damaged or truncated.
        MemoryError: it needs more memory than is permitted.
    """
    member = _MEMBERS[kind]
    file.seek(0)
    rest = file.read(_INPUT)
    while rest:
        try:
            rest = yield from member(file, rest)
        except (zlib.error, OSError, ValueError, lzma.LZMAError, zstandard.ZstdError) as error:
            if isinstance(error, lzma.LZMAError) and "emory" in str(error):
                raise MemoryError from None
            raise DamagedError(f"it is damaged: {error}") from None
        while not rest.strip(b"\0"):  # zeros may fill it up, as on tapes
            rest = file.read(_INPUT)
            if not rest:
                return
        rest = rest.lstrip(b"\0")


def _needed(file: Joined) -> bytes:
    data = file.read(_INPUT)
    if not data:
        raise DamagedError("it is truncated")
    return data


def _gzip(file: Joined, data: bytes) -> _Member:
    inflater = zlib.decompressobj(31)  # zlib checks the CRC-32 and the length
    while True:
        out = inflater.decompress(data, _OUTPUT)
        if out:
            yield out
        if inflater.eof:
            return inflater.unused_data
        data = inflater.unconsumed_tail or _needed(file)


def _bzip2(file: Joined, data: bytes) -> _Member:
    return _decompressed(bz2.BZ2Decompressor(), file, data)


def _xz(file: Joined, data: bytes) -> _Member:
    return _decompressed(lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_DICTIONARY), file, data)


def _decompressed(
    decoder: bz2.BZ2Decompressor | lzma.LZMADecompressor, file: Joined, data: bytes
) -> _Member:
    while True:
        out = decoder.decompress(data, _OUTPUT)
        if out:
            yield out
        if decoder.eof:
            return decoder.unused_data
        data = _needed(file) if decoder.needs_input else b""


def _zstd(file: Joined, data: bytes) -> _Member:
    decoder = zstandard.ZstdDecompressor(max_window_size=1 << 30).decompressobj()
    while True:
        for at in range(0, len(data), _ZSTD_INPUT):
            piece = data[at : at + _ZSTD_INPUT]
            out = decoder.decompress(piece)
            if out:
                yield out
            if decoder.eof:
                return decoder.unused_data + data[at + len(piece) :]
        data = _needed(file)


_MEMBERS: dict[ArchiveKind, Callable[[Joined, bytes], _Member]] = {
    ArchiveKind.GZIP: _gzip,
    ArchiveKind.BZIP2: _bzip2,
    ArchiveKind.XZ: _xz,
    ArchiveKind.ZSTD: _zstd,
}


def size_of(kind: ArchiveKind, file: Joined) -> tuple[int | None, int]:
    """Return the size that a compressed file specifies for its content.

    Returns:
        The size in bytes, None if unknown, and the number by which it is to be taken modulo; 0 if
        it is the size itself. It is that of one member: all of them are known at the end only.
    """
    if kind is ArchiveKind.GZIP:  # RFC 1952, section 2.3.1: ISIZE, at the end
        return int.from_bytes(file.read_at(file.size - 4, 4), "little"), 1 << 32
    if kind is ArchiveKind.XZ:
        return _xz_size(file), 0
    if kind is ArchiveKind.ZSTD:
        try:
            size = zstandard.get_frame_parameters(file.read_at(0, 18)).content_size
        except zstandard.ZstdError:
            return None, 0
        return (None, 0) if size == zstandard.CONTENTSIZE_UNKNOWN else (size, 0)
    return None, 0


def _xz_size(file: Joined) -> int | None:
    """Return the size in the index of the last stream (xz-file-format.txt, sections 2.1.2, 4)."""
    footer = file.read_at(file.size - 12, 12)
    if len(footer) < 12 or footer[10:] != b"YZ":
        return None
    length = 4 * (int.from_bytes(footer[4:8], "little") + 1)
    if not 8 <= length <= 16 << 20 or length > file.size:
        return None
    index = file.read_at(file.size - 12 - length, length)
    total, at = 0, 1

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = index[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80 or shift > 56:
                return value
            shift += 7

    try:
        for _ in range(number()):
            number()
            total += number()
    except IndexError:
        return None
    return total
