"""A reader of ZSOZ files, written from docs/dev/zsoz.md; it shares no code with the package."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from typing import Any

import zstandard

FRAME = b"\x28\xb5\x2f\xfd"
SEAL = 0x184D2A5A


class Refused(Exception):
    """The file, or a block of it, is not as the document says."""


class Zsoz:
    """A ZSOZ file as bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        if len(data) < 24:
            raise Refused("no header")
        head = struct.unpack_from("<4sIQIBB", data)
        magic, version, shift = head[0], head[4], head[5]
        self.size, self.block_size = int(head[2]), int(head[3])
        if magic != b"ZSOZ" or version != 1 or shift > 16 or self.size > 1 << 36:
            raise Refused("not a header of version 1")
        if self.block_size != 2352 and (
            self.block_size % 2048 or not 0 < self.block_size <= 1 << 24
        ):
            raise Refused("block size")
        self.unit = 1 << int(shift)
        self.count = -(-self.size // self.block_size)
        self.index_end = 24 + 4 * (self.count + 1)
        if self.index_end > len(data):
            raise Refused("cut inside the index")
        self.start = -(-self.index_end // self.unit) * self.unit
        self.end = self.offset(self.count)
        if self.offset(0) != self.start or self.end > len(data):
            raise Refused("ends of the index")
        if self.count and self.end < self.offset(self.count - 1):
            raise Refused("the last block ends before it begins")
        if data[self.end : self.end + 4] == FRAME:
            raise Refused("another block follows")
        self.seal = self._seal()

    def offset(self, number: int) -> int:
        """Where a block begins; of the number after the last: E."""
        entry = int(struct.unpack_from("<I", self.data, 24 + 4 * number)[0])
        if entry >> 31:
            raise Refused("bit 31")
        return int(entry * self.unit)

    def _seal(self) -> dict[str, Any] | None:
        after = self.data[self.end : self.end + 8]
        if len(after) < 8 or struct.unpack_from("<I", after)[0] != SEAL:
            return None
        length = struct.unpack_from("<I", after, 4)[0]
        text = self.data[self.end + 8 : self.end + 8 + length]
        if length > 4096 or len(text) < length:
            return None
        try:
            found = json.loads(text.decode())
            header = bytes.fromhex(found["header"])
        except (ValueError, KeyError, TypeError):
            return None
        if header != self.data[:24]:
            raise Refused("the seal is of another header")
        assert isinstance(found, dict)
        return found

    def block(self, number: int) -> bytes:
        """The plain bytes of a block."""
        begin, end = self.offset(number), self.offset(number + 1)
        if not self.start <= begin < end <= len(self.data):
            raise Refused("index entries")
        decoder = zstandard.ZstdDecompressor().decompressobj()
        try:
            plain = decoder.decompress(self.data[begin:end])
        except zstandard.ZstdError as error:
            raise Refused(str(error)) from error
        want = min(self.block_size, self.size - number * self.block_size)
        if not decoder.eof or len(decoder.unused_data) >= self.unit or len(plain) != want:
            raise Refused("not one frame of the wanted length")
        return plain

    def image(self) -> bytes:
        """All of it."""
        return b"".join(self.block(number) for number in range(self.count))

    def agrees(self, image: bytes) -> bool:
        """Whether the seal is that of *image* and of this file's index."""
        assert self.seal is not None
        return bool(
            self.seal["size"] == len(image)
            and self.seal["crc32"] == f"{zlib.crc32(image):08x}"
            and self.seal["md5"] == hashlib.md5(image).hexdigest()
            and self.seal["sha1"] == hashlib.sha1(image).hexdigest()
            and self.seal["index_crc32"] == f"{zlib.crc32(self.data[24 : self.index_end]):08x}"
        )
