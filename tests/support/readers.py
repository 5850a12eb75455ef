"""Models of the programs that read ZSO files without zsofs: their arithmetic, step by step.

Each takes an open file and gives ranges of the image the way the program does, so that a file which
would lead it astray leads the model astray as well. None of it comes from the package.
"""

from __future__ import annotations

import os
import random
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

import lz4.block

HEADER = struct.Struct("<4sIQIBB2x")
PLAIN = 0x80000000
SECTOR = 2048


class Misread(Exception):
    """The program would crash, refuse the file, or read past its buffers."""


def lz4_fast(memory: bytes | bytearray, at: int, want: int) -> bytes:
    """LZ4_decompress_fast, and LZ4_decompress_safe_partial: stops when *want* bytes are there.

    Where the packed data ends it does not know.
    """
    out = bytearray()
    while True:
        token = memory[at]
        at += 1
        length, at = _length(memory, at, token >> 4)
        out += memory[at : at + length]
        at += length
        if len(out) >= want:
            if len(out) > want:
                raise Misread("literals past the end of the buffer")
            return bytes(out)
        offset = memory[at] | memory[at + 1] << 8
        length, at = _length(memory, at + 2, token & 15)
        if not 0 < offset <= len(out):
            raise Misread("a match before the buffer")
        for _ in range(length + 4):
            out.append(out[-offset])
        if len(out) > want:
            raise Misread("a match past the end of the buffer")


def _length(memory: bytes | bytearray, at: int, nibble: int) -> tuple[int, int]:
    length = nibble
    if nibble == 15:
        while True:
            more = memory[at]
            length += more
            at += 1
            if more != 255:
                break
    return length, at


class Opl:
    """Open PS2 Loader: knows the magic, the shift and blocks of 2048, and reads whole sectors."""

    index_entries = 64  # it keeps a window of the index

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.sectors_on_device = os.fstat(file.fileno()).st_size // SECTOR  # the rest is not seen
        magic, _, size, _, _, self.shift = HEADER.unpack(self._raw(0, 24, 0))
        if magic != b"ZISO":
            raise Misread("no ZSO")
        self.sectors = size // SECTOR
        self.window_at = -1
        self.window: tuple[int, ...] = ()

    def _raw(self, offset: int, size: int, shift: int) -> bytes:
        """*size* bytes at *offset* units, in sectors of the device."""
        in_sector = SECTOR >> shift
        sector, skip = offset // in_sector, (offset % in_sector) << shift
        count = -(-(skip + size) // SECTOR)
        if sector + count > self.sectors_on_device:
            raise Misread(f"past the last sector: {sector} + {count}")
        self.file.seek(sector * SECTOR)
        return self.file.read(count * SECTOR)[skip : skip + size]

    def _entry(self, number: int) -> int:
        if not 0 <= number - self.window_at < len(self.window) or self.window_at < 0:
            count = min(self.index_entries, self.sectors + 1 - number)
            raw = self._raw(24 + 4 * number, 4 * count, 0)
            self.window_at, self.window = number, struct.unpack(f"<{count}I", raw)
        return int(self.window[number - self.window_at])

    def read(self, first: int, count: int) -> bytes:
        """*count* sectors, by way of the end of the caller's own buffer."""
        buffer = bytearray(count * SECTOR)
        begin, end = self._entry(first), self._entry(first + count)
        packed = ((end & 0x7FFFFFFF) - (begin & 0x7FFFFFFF)) << self.shift
        at = len(buffer) - packed
        if at < 0:
            raise Misread("packed data is longer than the buffer")
        buffer[at:] = self._raw(begin & 0x7FFFFFFF, packed, self.shift)
        for number in range(first, first + count):
            entry, after = self._entry(number), self._entry(number + 1)
            length = ((after & 0x7FFFFFFF) - (entry & 0x7FFFFFFF)) << self.shift
            if entry & PLAIN:
                sector = bytes(buffer[at : at + min(length, SECTOR)])
            else:
                sector = lz4_fast(buffer, at, SECTOR)
            place = (number - first) * SECTOR
            buffer[place : place + SECTOR] = sector
            if len(buffer) != count * SECTOR:
                raise Misread("a plain block that is no whole sector")
            at += length
        return bytes(buffer)


class _Indexed:
    """What the other programs share: the header, and the index as a whole."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.length = os.fstat(file.fileno()).st_size
        head = HEADER.unpack(file.read(24))
        self.magic, self.header_size, self.size = bytes(head[0]), int(head[1]), int(head[2])
        self.block_size, self.version, self.shift = int(head[3]), int(head[4]), int(head[5])

    def entry(self, number: int) -> int:
        self.file.seek(24 + 4 * number)
        return int.from_bytes(self.file.read(4), "little")

    def offset(self, number: int) -> int:
        return (self.entry(number) & 0x7FFFFFFF) << self.shift

    def at(self, offset: int, size: int) -> bytes:
        self.file.seek(offset)
        return self.file.read(size)


class Pcsx2(_Indexed):
    """PCSX2: a power of two for a block, a full frame at a time."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        if self.magic != b"ZISO" or self.version > 1:
            raise Misread("not a ZSO of version 0 or 1")
        if self.block_size < SECTOR or self.block_size & (self.block_size - 1):
            raise Misread("block size")
        self.sectors = self.size // SECTOR

    def read(self, first: int, count: int) -> bytes:
        out = bytearray()
        for number in range(first, first + count):
            frame, within = divmod(number * SECTOR, self.block_size)
            begin, end = self.offset(frame), self.offset(frame + 1)
            if self.entry(frame) & PLAIN:
                out += self.at(begin + within, SECTOR)
            else:
                packed = self.at(begin, end - begin)
                out += lz4_fast(packed, 0, self.block_size)[within : within + SECTOR]
        return bytes(out)


class Maxcso(_Indexed):
    """maxcso: whole sectors only, and every block inside of the file."""

    takes = b"ZISO"

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        if self.magic != self.takes or self.version > 2 or not 2048 <= self.block_size <= 0x40000:
            raise Misread("header")
        if self.size % SECTOR:
            raise Misread("no whole number of sectors")
        self.sectors = self.size // SECTOR

    def read(self, first: int, count: int) -> bytes:
        out = bytearray()
        for number in range(first, first + count):
            block, within = divmod(number * SECTOR, self.block_size)
            begin, end = self.offset(block), self.offset(block + 1)
            if end < begin or end > self.length:
                raise Misread("index")
            stored = self.at(begin, end - begin)
            if self.entry(block) & PLAIN:
                out += stored[within : within + SECTOR]
            else:
                out += lz4_fast(stored, 0, self.block_size)[within : within + SECTOR]
        return bytes(out)


class ZisoPy(_Indexed):
    """ziso.py: the strict decoder, and a byte less of padding until it takes it."""

    takes_runs = False

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        if self.magic != b"ZISO" or self.header_size != 24 or self.version > 1:
            raise Misread("header")
        self.sectors = self.size // self.block_size

    def read(self, first: int, count: int) -> bytes:
        out = bytearray()
        for number in range(first, first + count):
            begin = self.offset(number)
            length = self.offset(number + 1) - begin
            if self.entry(number) & PLAIN:
                length = self.block_size
            elif number == self.size // self.block_size - 1:
                length = self.size - begin  # with its own idea of where the last block ends
            stored = self.at(begin, length)
            out += stored if self.entry(number) & PLAIN else self._chopped(stored)
        return bytes(out)

    def _chopped(self, stored: bytes) -> bytes:
        while stored:
            try:
                return bytes(lz4.block.decompress(stored, uncompressed_size=self.block_size))
            except lz4.block.LZ4BlockError:
                padding = stored[-1:]
                stored = stored.rstrip(padding) if self.takes_runs else stored[:-1]
        raise Misread("no LZ4 data")


class ZisoPyOfRuns(ZisoPy):
    """Another ziso.py, which takes all equal bytes off at once."""

    takes_runs = True


class OldOpl(Opl):
    """An earlier Open PS2 Loader: it counts one block more, and else reads them one by one.

    For the last blocks it takes what follows the index for an entry.
    """

    index_entries = 256

    def read(self, first: int, count: int) -> bytes:
        size = count * SECTOR
        packed = bytearray()
        if self._window(first, first + count + 1):
            begin = self.window[first - self.window_at] & 0x7FFFFFFF
            end = self.window[first + count + 1 - self.window_at] & 0x7FFFFFFF
            length = (end - begin) << self.shift & 0xFFFFFFFF
            if length < size:
                room = self.sectors_on_device * SECTOR - (begin << self.shift)
                packed += self._raw(
                    begin, min(length, room), self.shift
                )  # a short read is no error
        fast, at = bool(packed), 0
        out = bytearray()
        for number in range(first, first + count):
            if number >= self.window_at + len(self.window) - 1:
                self._window(number, number + 1)
            entry, after = self.window[number - self.window_at :][:2]
            length = ((after & 0x7FFFFFFF) - (entry & 0x7FFFFFFF)) << self.shift
            if fast:
                stored = bytes(packed[at : at + min(length, SECTOR)])
                at += length
            else:
                stored = self._raw(entry & 0x7FFFFFFF, length, self.shift)
            if len(stored) > SECTOR:
                raise Misread("a block that is longer than its buffer")
            out += stored if entry & PLAIN else lz4_fast(stored, 0, SECTOR)
        return bytes(out)

    def _window(self, first: int, last: int) -> bool:
        """Have the entries from *first* on; whether *last* is among them."""
        held = self.window_at <= first and last < self.window_at + len(self.window)
        if self.window_at < 0 or not held:
            room = self.sectors_on_device * SECTOR - (24 + 4 * first)
            raw = self._raw(24 + 4 * first, min(4 * self.index_entries, room), 0)
            self.window_at = first
            self.window = struct.unpack(f"<{len(raw) // 4}I", raw[: len(raw) // 4 * 4])
        return last < self.window_at + len(self.window)


def inflated(stored: bytes, want: int) -> bytes:
    """A raw deflate stream, which must end, and give *want* bytes."""
    inflater = zlib.decompressobj(-15)
    try:
        plain = inflater.decompress(stored, want)
    except zlib.error as error:
        raise Misread(str(error)) from None
    if len(plain) != want or not inflater.eof:
        raise Misread("not a whole block")
    return plain


class Ppsspp(_Indexed):
    """PPSSPP: versions 0 and 1, the index in order and inside of the file, whole sectors read."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        if self.magic != b"CISO" or self.version > 1 or self.shift > 20:
            raise Misread("not a CSO of version 0 or 1")
        if self.block_size < SECTOR or self.block_size & (self.block_size - 1):
            raise Misread("block size")
        frames = self.size // self.block_size
        index = struct.unpack(f"<{frames + 1}I", self.at(24, 4 * (frames + 1)))
        offsets = [(entry & 0x7FFFFFFF) << self.shift for entry in index]
        if offsets != sorted(offsets) or offsets[-1] > self.length:
            raise Misread("index")
        self.sectors = self.size // SECTOR

    def read(self, first: int, count: int) -> bytes:
        out = bytearray()
        for number in range(first, first + count):
            frame, within = divmod(number * SECTOR, self.block_size)
            begin, end = self.offset(frame), self.offset(frame + 1)
            if self.entry(frame) & PLAIN:
                out += self.at(begin + within, SECTOR).ljust(SECTOR, b"\0")
            else:
                whole = inflated(self.at(begin, end - begin), self.block_size)
                out += whole[within : within + SECTOR]
        return bytes(out)


class MaxcsoOfCso(Maxcso):
    """maxcso with a CSO: a plain block is as long as the index says."""

    takes = b"CISO"

    def read(self, first: int, count: int) -> bytes:
        out = bytearray()
        for number in range(first, first + count):
            begin, end = self.offset(number), self.offset(number + 1)
            if end < begin or end > self.length:
                raise Misread("index")
            stored = self.at(begin, end - begin)
            out += stored if self.entry(number) & PLAIN else inflated(stored, self.block_size)
        return bytes(out)


class CisoPy(_Indexed):
    """ciso.py: whole blocks; with a shift it reads a unit more than the index says."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        wrong = self.magic != b"CISO" or self.header_size != 24 or self.version > 1
        if wrong or not self.block_size or not self.size:
            raise Misread("header")
        self.sectors = self.size // self.block_size

    def read(self, first: int, count: int) -> bytes:
        out = bytearray()
        for number in range(first, first + count):
            begin = self.offset(number)
            if self.entry(number) & PLAIN:
                plain = self.at(begin, self.block_size)
            else:
                more = 1 << self.shift if self.shift else 0
                stored = self.at(begin, self.offset(number + 1) - begin + more)
                plain = zlib.decompress(stored, -15)
            if len(plain) != self.block_size:
                raise Misread("a short block")
            out += plain
        return bytes(out)


CSO_READERS: dict[str, type[Ppsspp] | type[MaxcsoOfCso] | type[CisoPy]] = {
    "PPSSPP": Ppsspp,
    "maxcso": MaxcsoOfCso,
    "ciso.py": CisoPy,
}

READERS: dict[str, type[Opl] | type[Pcsx2] | type[Maxcso] | type[ZisoPy]] = {
    "OPL": Opl,
    "an earlier OPL": OldOpl,
    "PCSX2": Pcsx2,
    "maxcso": Maxcso,
    "ziso.py": ZisoPy,
    "another ziso.py": ZisoPyOfRuns,
}


class Reader(Protocol):
    """What all models have."""

    sectors: int

    def read(self, first: int, count: int) -> bytes:
        """Give sectors of the image."""


def check_every_sector(
    path: Path,
    image: bytes,
    sectors: int,
    readers: Mapping[str, Callable[[BinaryIO], Reader]],
    seed: str,
) -> None:
    """Each model reads the whole image, a random number of sectors at a time."""
    rng = random.Random(seed)
    for name, reader in readers.items():
        with path.open("rb") as file:
            opened = reader(file)
            assert opened.sectors == sectors
            first = 0
            while first < sectors:
                count = min(rng.randint(1, 48), sectors - first)
                got = opened.read(first, count)
                assert got == image[first * SECTOR : (first + count) * SECTOR], (name, first, count)
                first += count
