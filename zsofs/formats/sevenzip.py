"""Facts from the header of a 7z archive, before anything is decoded (LZMA SDK, ``7zFormat.txt``).

libarchive allocates the dictionary that the archive specifies and reports encryption late, so both
are read here first. Names and sizes of the files are left to libarchive.
"""

import lzma
import struct
from collections.abc import Callable
from dataclasses import dataclass

from zsofs.errors import DamagedError

_START = struct.Struct("<6s2xIQQI")
"""Signature header: magic, version, CRC-32, and offset, size and CRC-32 of the header."""

_MAX_HEADER = 64 << 20
"""Largest header that is read, in bytes; 100,000 names need about a tenth of it."""

_MAX_COUNT = 100_000
_HEADER, _ENCODED = 0x01, 0x17
_MAIN_STREAMS, _PACK_INFO, _UNPACK_INFO = 0x04, 0x06, 0x07
_SIZE, _CRC, _FOLDER, _UNPACK_SIZES = 0x09, 0x0A, 0x0B, 0x0C

_LZMA, _LZMA2, _PPMD = b"\3\1\1", b"\x21", b"\3\4\1"
_AES, _DEFLATE64 = b"\6\xf1\7\1", b"\4\1\x09"
_SUPPORTED = frozenset(
    (
        b"\0",  # stored
        b"\3",  # Delta
        b"\4",  # BCJ, in the numbering of xz
        _LZMA2,
        _LZMA,
        _PPMD,
        b"\4\1\x08",  # deflate
        b"\4\2\2",  # bzip2
        b"\3\3\1\3",  # BCJ
        b"\3\3\1\x1b",  # BCJ2
        b"\3\3\5\1",
        b"\3\3\7\1",
        b"\3\3\x08\5",
    )
)
"""Methods of libarchive's reader (``archive_read_support_format_7zip.c``)."""

_NAMES = {_DEFLATE64: "Deflate64", b"\4\xf7\x11\1": "Zstandard", b"\4\xf7\x11\4": "LZ4"}

_DAMAGED = "the 7z header is damaged"


@dataclass(frozen=True, slots=True)
class SevenZip:
    """Facts about a 7z archive.

    Attributes:
        end: where it ends, in bytes from its start.
        dictionary: memory that its decoders need for their dictionaries, in bytes.
        problem: why it is not read, as a sentence; empty if it is.
    """

    end: int
    dictionary: int = 0
    problem: str = ""


class _Fields:
    """The bytes of a header, read one field after another."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next *size* bytes."""
        if size > len(self._data) - self._at:
            raise DamagedError(_DAMAGED)
        self._at += size
        return self._data[self._at - size : self._at]

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """Return a number: the leading ones of its first byte count the bytes that follow."""
        first = self.byte()
        value, mask = 0, 0x80
        for count in range(8):
            if not first & mask:
                return value | (first & (mask - 1)) << (8 * count)
            value |= self.byte() << (8 * count)
            mask >>= 1
        return value

    def count(self) -> int:
        """Return a number of things of which an archive has few."""
        value = self.number()
        if value > _MAX_COUNT:
            raise DamagedError(_DAMAGED)
        return value

    def digests(self, count: int) -> None:
        """Skip CRC-32s."""
        defined = count
        if not self.byte():
            bits = self.take(-(-count // 8))
            defined = sum(bits[number >> 3] >> (7 - (number & 7)) & 1 for number in range(count))
        self.take(4 * defined)

    def expect(self, identifier: int) -> None:
        """Read an identifier that must follow."""
        found = self.byte()
        if found != identifier:
            raise DamagedError(_DAMAGED)


@dataclass(frozen=True, slots=True)
class _Streams:
    """Where packed streams are, and the coders that unpack them."""

    offset: int
    sizes: list[int]
    coders: list[tuple[bytes, bytes]]
    unpacked: list[int]


def parse(read: Callable[[int, int], bytes], size: int) -> SevenZip:
    """Return the facts about a 7z archive.

    Args:
        read: returns the bytes at an offset, ``read(offset, size)``; fewer at the end.
        size: of the archive, in bytes.

    Raises:
        DamagedError: its header is damaged.
    """
    head = read(0, _START.size)
    if len(head) < _START.size:
        return SevenZip(_START.size)
    _, _, offset, length, _ = _START.unpack(head)
    end = _START.size + offset + length
    if end > size or not length:
        return SevenZip(end)
    if length > _MAX_HEADER:
        raise DamagedError(_DAMAGED)
    header = read(_START.size + offset, length)
    dictionary = 0
    for _ in range(4):
        fields = _Fields(header)
        kind = fields.byte()
        if kind == _HEADER:
            streams = _main_streams(fields)
            coders = streams.coders if streams else []
            return SevenZip(end, max(dictionary, _memory(coders)), _problem(coders, "it"))
        if kind != _ENCODED:
            break
        streams = _streams(fields)
        problem = _problem(streams.coders, "its list of files")
        dictionary = max(dictionary, _memory(streams.coders))
        if problem:
            return SevenZip(end, dictionary, problem)
        packed = read(_START.size + streams.offset, min(sum(streams.sizes), size))
        header = _decoded(streams, packed)
    raise DamagedError(_DAMAGED)


def _main_streams(fields: _Fields) -> _Streams | None:
    kind = fields.byte()
    if kind == 0x02:  # archive properties: a list of identifier, size, bytes
        while fields.byte():
            fields.take(fields.number())
        kind = fields.byte()
    if kind == 0x03:
        raise DamagedError(_DAMAGED)
    return _streams(fields) if kind == _MAIN_STREAMS else None


def _streams(fields: _Fields) -> _Streams:
    offset, sizes = 0, []
    kind = fields.byte()
    if kind == _PACK_INFO:
        offset = fields.number()
        count = fields.count()
        kind = fields.byte()
        if kind == _SIZE:
            sizes = [fields.number() for _ in range(count)]
            kind = fields.byte()
        if kind == _CRC:
            fields.digests(count)
            kind = fields.byte()
        if kind:
            raise DamagedError(_DAMAGED)
        kind = fields.byte()
    coders: list[tuple[bytes, bytes]] = []
    unpacked: list[int] = []
    if kind == _UNPACK_INFO:
        fields.expect(_FOLDER)
        folders = fields.count()
        fields.expect(0)  # not in another stream
        outputs = sum(_folder(fields, coders) for _ in range(folders))
        fields.expect(_UNPACK_SIZES)
        unpacked = [fields.number() for _ in range(outputs)]
    return _Streams(offset, sizes, coders, unpacked)


def _folder(fields: _Fields, coders: list[tuple[bytes, bytes]]) -> int:
    """Read the coders of a chain into *coders*; return the number of its output streams."""
    inputs = outputs = 0
    count = fields.count()
    if not 1 <= count <= 32:
        raise DamagedError(_DAMAGED)
    for _ in range(count):
        flags = fields.byte()
        method = fields.take(flags & 15)
        more = (fields.count(), fields.count()) if flags & 0x10 else (1, 1)
        properties = fields.take(fields.count()) if flags & 0x20 else b""
        inputs, outputs = inputs + more[0], outputs + more[1]
        coders.append((method, properties))
    bound = outputs - 1
    if inputs > 64 or not 0 <= bound <= inputs:
        raise DamagedError(_DAMAGED)
    for _ in range(2 * bound):
        fields.number()
    for _ in range(inputs - bound if inputs - bound > 1 else 0):
        fields.number()
    return outputs


def _memory(coders: list[tuple[bytes, bytes]]) -> int:
    """Return the dictionary of the coder that needs most, in bytes."""
    return max((_dictionary(method, properties) for method, properties in coders), default=0)


def _dictionary(method: bytes, properties: bytes) -> int:
    if method in (_LZMA, _PPMD) and len(properties) == 5:
        return int.from_bytes(properties[1:], "little")
    if method == _LZMA2 and len(properties) == 1:
        bits = properties[0]
        return 0xFFFFFFFF if bits >= 40 else (2 | bits & 1) << (bits // 2 + 11)
    return 0


def _problem(coders: list[tuple[bytes, bytes]], what: str) -> str:
    methods = {method for method, _ in coders}
    if _AES in methods:
        return f"{what} is encrypted; extract it with its password first"
    other = sorted(methods - _SUPPORTED)
    if not other:
        return ""
    name = _NAMES.get(other[0], f"the method {other[0].hex()}")
    return f"{what} is packed with {name}, which zsofs does not read; extract it first"


def _decoded(streams: _Streams, packed: bytes) -> bytes:
    """Return the header that an encoded header contains."""
    if len(streams.coders) != 1 or not streams.unpacked:
        raise DamagedError(_DAMAGED)
    (method, properties), size = streams.coders[0], streams.unpacked[-1]
    if size > _MAX_HEADER:
        raise DamagedError(_DAMAGED)
    if method == b"\0":
        return packed[:size]
    dictionary = max(4096, min(_dictionary(method, properties), size))
    if method == _LZMA and len(properties) == 5 and properties[0] < 225:
        rest, lc = divmod(properties[0], 9)
        pb, lp = divmod(rest, 5)
        chain = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}
    elif method == _LZMA2:
        chain = {"id": lzma.FILTER_LZMA2, "dict_size": dictionary}
    else:
        raise DamagedError(_DAMAGED)
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chain]).decompress(packed, size)
    except (lzma.LZMAError, ValueError):
        raise DamagedError(_DAMAGED) from None
