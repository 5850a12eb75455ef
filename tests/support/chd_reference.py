"""A slow and obvious reader of CHD v5, to compare the fast one with.

It takes the whole file as bytes, and its parent as another reader, and shares no code with the
package. It expands the map and checks its CRC-16 and that of each hunk. FLAC and the codecs of CDs
are not in it: `decoders` takes functions for them.

Written from the facts of MAME's chd.cpp, chdcodec.cpp and huffman.cpp.
"""

from __future__ import annotations

import binascii
import lzma
import zlib
from collections.abc import Callable, Mapping

import zstandard

Decoder = Callable[[bytes, int], bytes]


class Damaged(Exception):
    """A map or a hunk that cannot be right."""


def crc16(data: bytes) -> int:
    """CRC-16 CCITT with the start value FFFF."""
    return binascii.crc_hqx(data, 0xFFFF)


class Bits:
    """Bits of a byte string, most significant first; zeros follow its end."""

    def __init__(self, data: bytes) -> None:
        self.text = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def take(self, count: int) -> int:
        piece = self.text[self.at : self.at + count].ljust(count, "0")
        self.at += count
        return int(piece, 2) if count else 0

    def check(self) -> None:
        if self.at > len(self.text):
            raise Damaged("the bits end")


class Code:
    """A canonical Huffman code: the longest codes have the smallest values."""

    def __init__(self, lengths: list[int], most: int) -> None:
        self.symbols: dict[str, int] = {}
        start = 0
        for length in range(most, 0, -1):
            for symbol, has in enumerate(lengths):
                if has == length:
                    if start >> length:
                        raise Damaged("too many codes")
                    self.symbols[f"{start:0{length}b}"] = symbol
                    start += 1
            if start & 1 and length > 1:
                raise Damaged("an incomplete code")
            start >>= 1
        if any(length > most for length in lengths):
            raise Damaged("a code is too long")
        self.most = most

    def take(self, bits: Bits) -> int:
        text = ""
        while text not in self.symbols:
            if len(text) == self.most:
                raise Damaged("no such code")
            text += str(bits.take(1))
        return self.symbols[text]


def huff(stored: bytes, size: int) -> bytes:
    bits = Bits(stored)
    small = [bits.take(3)]
    first = bits.take(3) + 1
    small += [0] * (first - 1)
    while len(small) < 24:
        length = bits.take(3)
        if length == 7:
            break
        small.append(length)
    small += [0] * (24 - len(small))
    code = Code(small, 6)
    lengths: list[int] = []
    last = 0
    while len(lengths) < 256:
        bits.check()
        value = code.take(bits)
        if value:
            last = value - 1
            lengths.append(last)
            continue
        repeats = bits.take(3) + 2
        if repeats == 9:
            repeats += bits.take(8)
        lengths += [last] * repeats
    code = Code(lengths[:256], 16)
    out = bytes(code.take(bits) for _ in range(size))
    bits.check()
    if len(stored) != -(-bits.at // 8):
        raise Damaged("bytes are left over")
    return out


def deflate(stored: bytes, size: int) -> bytes:
    stream = zlib.decompressobj(-15)
    try:
        out = stream.decompress(stored, size + 1)
    except zlib.error as error:
        raise Damaged(str(error)) from None
    if not stream.eof or stream.unused_data or stream.unconsumed_tail:
        raise Damaged("the stream does not end with the stored bytes")
    return out


def lzma1(stored: bytes, size: int) -> bytes:
    filters = [
        {"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": max(size, 4096)},
    ]
    stream = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    try:
        return stream.decompress(stored, size)
    except lzma.LZMAError as error:
        raise Damaged(str(error)) from None


def zstd(stored: bytes, size: int) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompress(stored, max_output_size=size)
    except zstandard.ZstdError as error:
        raise Damaged(str(error)) from None


DECODERS: dict[bytes, Decoder] = {b"zlib": deflate, b"lzma": lzma1, b"zstd": zstd, b"huff": huff}


class Chd:
    """A CHD of version 5."""

    def __init__(
        self,
        data: bytes,
        parent: Chd | None = None,
        decoders: Mapping[bytes, Decoder] = DECODERS,
    ) -> None:
        def number(offset: int, size: int) -> int:
            return int.from_bytes(data[offset : offset + size], "big")

        if data[:8] != b"MComprHD" or number(12, 4) != 5:
            raise Damaged("no CHD of version 5")
        self.data = data
        self.parent = parent
        self.decoders = decoders
        self.codecs = [data[16 + 4 * at : 20 + 4 * at] for at in range(4)]
        self.size = number(32, 8)
        self.hunk_size = number(56, 4)
        self.unit_size = number(60, 4)
        self.raw_sha1 = data[64:84].hex()
        self.sha1 = data[84:104].hex()
        self.parent_sha1 = data[104:124].hex() if any(data[104:124]) else ""
        self.hunk_count = -(-self.size // self.hunk_size)
        self.map: list[tuple[int, int, int, int]]
        at = number(40, 8)
        if self.codecs[0] == bytes(4):
            self.map = [
                (4, self.hunk_size, place * self.hunk_size, -1)
                if (place := number(at + 4 * hunk, 4))
                else (7, 0, hunk * self.hunk_size // self.unit_size, -1)
                for hunk in range(self.hunk_count)
            ]
        else:
            self.map = self._expand(data[at + 16 : at + 16 + number(at, 4)], data[at : at + 16])

    def _types(self, bits: Bits) -> list[int]:
        lengths: list[int] = []
        while len(lengths) < 16:
            length = bits.take(4)
            repeats = 1
            if length == 1:
                length = bits.take(4)
                if length != 1:
                    repeats = bits.take(4) + 3
            lengths += [length] * repeats
        if len(lengths) > 16:
            raise Damaged("too many lengths")
        code = Code(lengths, 8)
        types: list[int] = []
        last = 0
        while len(types) < self.hunk_count:
            bits.check()
            symbol = code.take(bits)
            if symbol == 7:
                types += [last] * (3 + code.take(bits))
            elif symbol == 8:
                types += [last] * (19 + (code.take(bits) << 4) + code.take(bits))
            elif symbol > 13:
                raise Damaged("no such type")
            else:
                last = symbol
                types.append(last)
        return types[: self.hunk_count]

    def _expand(self, stored: bytes, header: bytes) -> list[tuple[int, int, int, int]]:
        length_bits, self_bits, parent_bits = header[12:15]
        offset = int.from_bytes(header[4:10], "big")
        bits = Bits(stored)
        entries = []
        step = self.hunk_size // self.unit_size
        last_self = last_parent = 0
        for hunk, kind in enumerate(self._types(bits)):
            if kind <= 4:
                length = bits.take(length_bits) if kind < 4 else self.hunk_size
                entries.append((kind, length, offset, bits.take(16)))
                offset += length
            elif kind in (5, 9, 10):
                last_self = bits.take(self_bits) if kind == 5 else last_self + (kind == 10)
                entries.append((5, 0, last_self, 0))
            else:
                if kind == 6:
                    last_parent = bits.take(parent_bits)
                elif kind == 11:
                    last_parent = hunk * step
                elif kind == 13:
                    last_parent += step
                entries.append((6, 0, last_parent, 0))
        bits.check()
        expanded = b"".join(
            bytes([kind])
            + length.to_bytes(3, "big")
            + place.to_bytes(6, "big")
            + crc.to_bytes(2, "big")
            for kind, length, place, crc in entries
        )
        if crc16(expanded) != int.from_bytes(header[10:12], "big"):
            raise Damaged("the map has another CRC-16")
        return entries

    def hunk(self, number: int, links: int = 0) -> bytes:
        kind, length, place, crc = self.map[number]
        if kind == 5:
            if place >= self.hunk_count or links >= 32:
                raise Damaged("a reference leads nowhere")
            return self.hunk(place, links + 1)
        if kind == 7 and self.parent is None:
            return bytes(self.hunk_size)
        if kind in (6, 7):
            if self.parent is None:
                raise Damaged("there is no parent")
            return self.parent.bytes_at(place * self.unit_size, self.hunk_size)
        stored = self.data[place : place + length]
        if len(stored) < length or not length:
            raise Damaged("the file ends")
        out = stored if kind == 4 else self._decoded(self.codecs[kind], stored)
        if len(out) != self.hunk_size or (crc >= 0 and crc16(out) != crc):
            raise Damaged("the hunk is damaged")
        return out

    def _decoded(self, codec: bytes, stored: bytes) -> bytes:
        if codec not in self.decoders:
            raise Damaged("no such codec")
        return self.decoders[codec](stored, self.hunk_size)

    def bytes_at(self, offset: int, size: int) -> bytes:
        first = offset // self.hunk_size
        last = (offset + size - 1) // self.hunk_size
        if last >= self.hunk_count:
            raise Damaged("it has no such bytes")
        hunks = b"".join(self.hunk(number) for number in range(first, last + 1))
        return hunks[offset - first * self.hunk_size :][:size]

    def image(self) -> bytes:
        return b"".join(self.hunk(number) for number in range(self.hunk_count))[: self.size]
