"""Facts from the headers of a RAR volume, before anything is decoded.

RAR 5 by RARLAB's technical note ("RAR 5.0 archive format"), earlier ones by ``technote.txt`` of
RAR 3 and 4. libarchive reports solid, old and encrypted archives late or not at all, and does not
check the checksums of stored files.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from zsofs.errors import DamagedError
from zsofs.formats.archive_magic import RAR_3, RAR_5

_BLOCK = struct.Struct("<HBHH")
"""CRC-16, type, flags, header size of a block before RAR 5."""

_MAIN, _FILE, _END = 0x73, 0x74, 0x7B
_STORED = 0x30
_FIRST_OF_RAR_3 = 29
"""Version of the packing of RAR 2.9 and all of RAR 3, which is what libarchive reads."""

_SOLID = "it is a solid archive of RAR 3 or 4, which zsofs does not read; extract it first"
_DAMAGED = "a RAR header is damaged"
_ENCRYPTED = "it is encrypted; extract it with its password first"
_LIST_ENCRYPTED = "its list of files is encrypted; extract it with its password first"

_MAX_BLOCKS = 250_000
_MAX_HEADER = 2 << 20

Read = Callable[[int, int], bytes]
"""Returns the bytes of a volume at an offset, ``read(offset, size)``; fewer at its end."""


@dataclass(frozen=True, slots=True)
class RarFile:
    """A file or directory, by its last header: one that is split over volumes has several.

    Attributes:
        size: of its content in bytes.
        crc32: of its content; None if there is none.
        blake2sp: hash of its content, 32 bytes; empty if there is none.
    """

    size: int
    crc32: int | None = None
    blake2sp: bytes = b""


@dataclass(slots=True)
class RarVolume:
    """Facts about one volume.

    Attributes:
        continues: whether another volume follows it.
        problem: why the archive is not read, as a sentence; empty if it is.
        files: the files that end in it, in order.
        end: where its last block ends, in bytes from its start.
    """

    continues: bool = False
    problem: str = ""
    files: list[RarFile] = field(default_factory=list)
    end: int = 0


def parse(read: Read, size: int) -> RarVolume:
    """Return the facts about a volume.

    Args:
        read: access to the volume.
        size: of the volume in bytes.

    Raises:
        DamagedError: it is no RAR volume, or has too many blocks.
    """
    head = read(0, len(RAR_5))
    if head == RAR_5:
        return _parse_5(read, size)
    if head.startswith(RAR_3):
        return _parse_3(read, size)
    raise DamagedError(_DAMAGED)


def _parse_3(read: Read, size: int) -> RarVolume:
    volume = RarVolume()
    at = len(RAR_3)
    is_solid, files = False, 0
    for _ in range(_MAX_BLOCKS):
        head = read(at, 40)
        volume.end = at
        if len(head) < _BLOCK.size:
            return volume
        _, kind, flags, length = _BLOCK.unpack_from(head)
        if length < _BLOCK.size:
            raise DamagedError(_DAMAGED)
        if kind == _END:
            volume.continues = bool(flags & 1)
            volume.end += length
            return volume
        is_solid = is_solid or (kind == _MAIN and bool(flags & 8))
        files += kind == _FILE and not flags & 1  # else it continues one
        volume.problem = _problem_3(kind, flags, head) or (_SOLID if is_solid and files > 1 else "")
        if volume.problem:
            return volume
        at += length + _data_3(kind, flags, head)
        volume.end = at
        if kind == _FILE:
            volume.continues = bool(flags & 2)
            if not volume.continues and len(head) >= 20:
                volume.files.append(_file_3(flags, head))
        if at >= size:
            return volume
        volume.continues = False
    raise DamagedError(f"it has more than {_MAX_BLOCKS} blocks")


def _data_3(kind: int, flags: int, head: bytes) -> int:
    """Return the number of bytes that follow a header."""
    if not (flags & 0x8000 or kind in (_FILE, 0x7A)):
        return 0
    data = int.from_bytes(head[7:11], "little")
    if kind in (_FILE, 0x7A) and flags & 0x100:
        data |= int.from_bytes(head[32:36], "little") << 32
    return data


def _file_3(flags: int, head: bytes) -> RarFile:
    size = int.from_bytes(head[11:15], "little")
    if flags & 0x100:
        size |= int.from_bytes(head[36:40], "little") << 32
    return RarFile(size, int.from_bytes(head[16:20], "little"))


def _problem_3(kind: int, flags: int, head: bytes) -> str:
    if kind == _MAIN and flags & 0x80:
        return _LIST_ENCRYPTED
    if kind != _FILE or len(head) < 26:
        return ""
    version, method = head[24], head[25]
    if flags & 4:
        return _ENCRYPTED
    if method == _STORED:
        return ""
    if version < _FIRST_OF_RAR_3:
        return (
            f"it is packed as RAR {version // 10}.{version % 10} did, which zsofs does not read;"
            " extract it first"
        )
    return _SOLID if flags & 0x10 else ""


class _Header5:
    """The fields of a block header of RAR 5."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self) -> int:
        """Return a number of 7 bits in each byte, the lowest first."""
        value = shift = 0
        while shift < 64:
            if self.at >= len(self.data):
                raise DamagedError(_DAMAGED)
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7
        raise DamagedError(_DAMAGED)


def _parse_5(read: Read, size: int) -> RarVolume:
    volume = RarVolume()
    at = len(RAR_5)
    for _ in range(_MAX_BLOCKS):
        volume.end = at
        start = _Header5(read(at + 4, 16))
        if not start.data:
            return volume
        length = start.number()
        if length > _MAX_HEADER:
            raise DamagedError(_DAMAGED)
        header = _Header5(read(at + 4 + start.at, length))
        kind, flags = header.number(), header.number()
        extra = header.number() if flags & 1 else 0
        data = header.number() if flags & 2 else 0
        volume.continues = False
        if kind == 5:
            volume.continues = bool(header.number() & 1)
            volume.end += 4 + start.at + length
            return volume
        if kind == 4:
            volume.problem = _LIST_ENCRYPTED
        elif kind == 2:
            volume.continues = bool(flags & 0x10)
            _file_5(header, extra, volume)
        at += 4 + start.at + length + data
        volume.end = at
        if at >= size or volume.problem:
            return volume
    raise DamagedError(f"it has more than {_MAX_BLOCKS} blocks")


def _file_5(header: _Header5, extra: int, volume: RarVolume) -> None:
    """Read a header of a file into *volume*; *extra* is the size of its last area in bytes."""
    flags = header.number()
    size = header.number()
    header.number()  # attributes
    header.at += 4 * bool(flags & 2)
    crc32 = None
    if flags & 4:
        crc32 = int.from_bytes(header.data[header.at : header.at + 4], "little")
        header.at += 4
    if header.number() & 0x3F:
        volume.problem = "it is packed as RAR 7 does, which zsofs does not read; extract it first"
        return
    blake2sp = b""
    area = _Header5(header.data[max(len(header.data) - extra, 0) :] if extra else b"")
    while area.at < len(area.data):
        length = area.number()
        begin = area.at
        kind = area.number()
        if kind == 1:
            volume.problem = _ENCRYPTED
            return
        if kind == 2 and area.number() == 0:
            blake2sp = area.data[area.at : area.at + 32]
        area.at = begin + length
    if not volume.continues:
        volume.files.append(RarFile(size, crc32, blake2sp))
