"""A slow and obvious decoder for compressed disc images, to compare the fast one with.

It covers ZISO (versions 0 to 2), ZSOZ, ZSO\\x01, CISO (versions 0 to 2) and DAX version 0.
It takes the whole container as bytes (or as a mmap) and shares no code with the package.

Layout of all but DAX, little endian: magic[4], u32 header size (not to be trusted), u64 image size,
u32 block size, u8 version, u8 shift, u8[2]; the index of u32 entries always starts at byte 24.
An entry's low 31 bits, shifted left, are an offset in the file; bit 31 is a flag.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import lz4.block
import zstandard

Data = bytes | mmap.mmap
Decoder = Callable[[bytes, int, int, int, bool], bytes]

INDEX = 24
FLAG = 0x80000000
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MAX_SIZE = 64 << 30
MAX_BLOCK_SIZE = 16 << 20
MAX_SHIFT = 16
SAMPLED = 8


class Damaged(Exception):
    """A block which can not be decoded, or a header or an index which can not be used."""


class Container(Protocol):
    """What `open_container` gives back."""

    size: int
    block_size: int
    codec: str
    block_count: int

    def block(self, i: int) -> bytes:
        """The bytes of block `i`: block_size of them, fewer only in the last block."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only where the image ends."""


# One block, by codec. Every decoder takes the stored bytes (which may have stray bytes at their
# end), the length to give back, the block size, the number of stray bytes that is too many, and
# whether this is the last block. The last block may have been stored as a full one: maxcso fills
# it up with zeros, ziso_compressor with whatever its read buffer held. So a last block may decode
# to more than is wanted, up to the block size, and is cut.


def _fit(plain: bytes, want: int, block_size: int, last: bool) -> bytes:
    """`plain` if it has the right length."""
    if len(plain) == want:
        return plain
    if last and want < len(plain) <= block_size:
        return plain[:want]
    raise Damaged(f"decodes to {len(plain)} bytes, not {want}")


_KEPT = 4096
"""Larger blocks are not kept in memory."""


@lru_cache(maxsize=4096)
def _decoded(
    decoder: Decoder, stored: bytes, want: int, block_size: int, unit: int, last: bool
) -> bytes:
    """One block; copies of a container that are damaged elsewhere have the same ones."""
    return decoder(stored, want, block_size, unit, last)


def _lz4_strict(stored: bytes, room: int) -> bytes | None:
    """One LZ4 block which ends exactly where `stored` ends, None if it is not one."""
    try:
        return bytes(lz4.block.decompress(stored, uncompressed_size=room))
    except lz4.block.LZ4BlockError:
        return None


def _lz4(stored: bytes, want: int, block_size: int, unit: int, last: bool) -> bytes:
    """LZ4 with padding behind it: nothing tells where it ends, so take bytes off until it fits.

    What a shorter piece of a stream decodes to is always the start of what the stream decodes
    to, so a piece which gives enough bytes gives the right ones.
    """
    chops = len(stored) if last else min(unit, len(stored))
    for chop in range(chops):
        plain = _lz4_strict(stored[: len(stored) - chop], want)
        if plain is not None and len(plain) == want:
            return plain
    if last and want < block_size:
        for chop in range(chops):
            plain = _lz4_strict(stored[: len(stored) - chop], block_size)
            if plain is not None and len(plain) >= want:
                return plain[:want]
    raise Damaged("not an LZ4 block of the right length")


def _lz4_ziso(stored: bytes, want: int, block_size: int, unit: int, last: bool) -> bytes:
    """LZ4 in a ZISO: ziso_compressor can lose the image's last byte, which is then 0."""
    try:
        return _lz4(stored, want, block_size, unit, last)
    except Damaged:
        if last and want > 1:
            for chop in range(len(stored)):
                plain = _lz4_strict(stored[: len(stored) - chop], want)
                if plain is not None and len(plain) == want - 1:
                    return plain + b"\0"
        raise


def _zstd(stored: bytes, want: int, block_size: int, unit: int, last: bool) -> bytes:
    """One zstd frame; what follows it must be shorter than one unit of the index."""
    plain, stray = _zstd_frame(stored)
    if stray >= unit and not last:
        raise Damaged(f"{stray} stray bytes after the zstd frame")
    return _fit(plain, want, block_size, last)


def _zstd_exact(stored: bytes, want: int, block_size: int, unit: int, last: bool) -> bytes:
    """One zstd frame in a ZSOZ, where the last block has no freedoms."""
    if len(stored) > 4 and not stored[4] & 4:
        raise Damaged("the frame has no checksum")
    plain, stray = _zstd_frame(stored)
    if stray >= unit:
        raise Damaged(f"{stray} stray bytes after the zstd frame")
    return _fit(plain, want, block_size, False)


def _zstd_frame(stored: bytes) -> tuple[bytes, int]:
    """What the frame at the start holds, and how many bytes come after it."""
    if not stored.startswith(ZSTD_MAGIC):
        raise Damaged("not a zstd frame")
    decoder = zstandard.ZstdDecompressor().decompressobj()
    try:
        plain = decoder.decompress(stored)
    except zstandard.ZstdError as error:
        raise Damaged(str(error)) from error
    if not decoder.eof:
        raise Damaged("the zstd frame is cut off")
    return plain, len(decoder.unused_data)


def _inflate(
    stored: bytes, want: int, block_size: int, last: bool, wbits: int
) -> tuple[bytes, bytes]:
    """A deflate stream, and what comes after it."""
    decoder = zlib.decompressobj(wbits)
    try:
        # One byte more than allowed, so that the decoder gets to see the end of the stream.
        plain = decoder.decompress(stored, block_size + 1)
    except zlib.error as error:
        raise Damaged(str(error)) from error
    if not decoder.eof:
        raise Damaged("the deflate stream does not end")
    return _fit(plain, want, block_size, last), decoder.unused_data


def _deflate(stored: bytes, want: int, block_size: int, unit: int, last: bool) -> bytes:
    """Raw deflate, without the zlib header; ciso.py leaves the right Adler-32 behind it."""
    plain, stray = _inflate(stored, want, block_size, last, -15)
    if len(stray) >= unit and not last:
        adler = zlib.adler32(plain).to_bytes(4, "big")
        if not stray.startswith(adler) or len(stray) - 4 >= unit:
            raise Damaged(f"{len(stray)} stray bytes after the deflate stream")
    return plain


def _zlib(stored: bytes, want: int, block_size: int, unit: int, last: bool) -> bytes:
    """Deflate with the zlib header (78 xx) and an Adler-32, which is checked."""
    plain, stray = _inflate(stored, want, block_size, last, 15)
    if len(stray) >= unit and not last:
        raise Damaged(f"{len(stray)} stray bytes after the zlib stream")
    return plain


def _zlib_exact(stored: bytes, want: int, block_size: int, last: bool) -> bytes:
    """The same in a DAX, whose table has the length of each frame."""
    plain, stray = _inflate(stored, want, block_size, last, 15)
    if stray:
        raise Damaged(f"{len(stray)} stray bytes after the frame")
    return plain


class _Blocks:
    """What the containers have in common."""

    def __init__(self, data: Data, size: int, block_size: int) -> None:
        self.data = data
        self.size = size
        self.block_size = block_size
        self.block_count = -(-size // block_size)
        self.codec = ""

    def block(self, i: int) -> bytes:
        raise NotImplementedError

    def read(self, offset: int, size: int) -> bytes:
        if offset < 0 or size < 0:
            raise ValueError("negative offset or size")
        end = min(self.size, offset + size)
        result = b""
        while offset < end:
            i, skip = divmod(offset, self.block_size)
            piece = self.block(i)[skip : skip + end - offset]
            result += piece
            offset += len(piece)
        return result

    def want(self, i: int) -> int:
        """How many bytes of the image block `i` holds."""
        if not 0 <= i < self.block_count:
            raise IndexError(i)
        return min(self.block_size, self.size - i * self.block_size)


class _Indexed(_Blocks):
    """ZISO, ZSOZ, ZSO\\x01 and CISO."""

    def __init__(self, data: Data) -> None:
        if len(data) < INDEX:
            raise Damaged("no room for a header")
        fields = struct.unpack_from("<4sIQIBB", data)
        self.magic: bytes = fields[0]
        self.header_size: int = fields[1]
        self.version: int = fields[4]
        self.shift: int = fields[5]
        size: int = fields[2]
        block_size: int = fields[3]
        self.check_kind()
        if not 0 < block_size <= MAX_BLOCK_SIZE:
            raise Damaged(f"block size {block_size}")
        if size > MAX_SIZE:
            raise Damaged(f"image size {size}")
        if self.shift > MAX_SHIFT:
            raise Damaged(f"shift {self.shift}")
        super().__init__(data, size, block_size)
        self.unit = 1 << self.shift
        if self.magic != b"ZSOZ" and self.tail_was_dropped():
            self.block_count = size // block_size
            self.size = self.block_count * block_size
        self.index_end = INDEX + 4 * (self.block_count + 1)
        if self.index_end > len(data):
            raise Damaged("the index is longer than the file")
        self.decoder: Decoder | None = None
        self.choose_codec()

    def check_kind(self) -> None:
        """Refuses what only looks like one of the formats."""
        # GameCube and Wii: "CISO", u32 block size, then a map with one byte (0 or 1) per block
        # which fills the header up to 0x8000 bytes.
        if self.magic == b"CISO" and self.header_size >= 0x8000:
            raise ValueError("a GameCube or Wii image")
        versions = {b"ZISO": 2, b"CISO": 2, b"ZSO\x01": 2, b"ZSOZ": 1}
        if self.version > versions[self.magic] or (self.magic == b"ZSOZ" and self.version != 1):
            raise ValueError(f"version {self.version}")

    def tail_was_dropped(self) -> bool:
        """Whether the index leaves out the last, incomplete block.

        The ziso.py and ciso.py families store floor(size / block size) blocks. Their first block
        then starts before a full index could end. From shift 3 up the missing entry can drown in
        the padding before the first block: then it consists of four padding bytes, which make no
        sense as the end of the data.
        """
        full = -(-self.size // self.block_size)
        if self.size % self.block_size == 0:
            return False
        if len(self.data) < INDEX + 4:
            raise Damaged("the index is longer than the file")
        if self.offset(0) < INDEX + 4 * (full + 1):
            return True
        if len(self.data) < INDEX + 4 * (full + 1):
            return False
        end = self.entry(full)
        return len(set(end.to_bytes(4, "little"))) == 1 and (
            end >= FLAG
            or self.offset(full) < self.offset(full - 1)
            or self.offset(full) > len(self.data)
        )

    def entry(self, i: int) -> int:
        value: int = struct.unpack_from("<I", self.data, INDEX + 4 * i)[0]
        return value

    def offset(self, i: int) -> int:
        return (self.entry(i) & ~FLAG) << self.shift

    def flagged(self, i: int) -> bool:
        return self.entry(i) >= FLAG

    def plain(self, i: int) -> bool:
        """Whether block `i` is stored as it is.

        Bit 31 says so, but not in ZSOZ (which has no plain blocks) and not in CISO version 2,
        where the stored length does.
        """
        if self.magic == b"ZSOZ":
            return False
        if self.magic == b"CISO" and self.version == 2:
            return self.offset(i + 1) - self.offset(i) >= self.block_size
        return self.flagged(i)

    def block(self, i: int) -> bytes:
        want = self.want(i)
        if self.decoder is not None:
            return self.decode(i, want, self.decoder)
        # CISO version 2: bit 31 tells LZ4 from deflate.
        return self.decode(i, want, _lz4 if self.flagged(i) else _deflate)

    def decode(self, i: int, want: int, decoder: Decoder) -> bytes:
        last = i == self.block_count - 1
        start = self.offset(i)
        end = self.offset(i + 1)
        zsoz = self.magic == b"ZSOZ"
        if zsoz and (self.flagged(i) or self.flagged(i + 1)):
            raise Damaged("bit 31 in a ZSOZ")
        if start < self.index_end:
            raise Damaged("the block lies in the header or the index")
        # The last entry is often wrong, ziso.py rounds it down: only ZSOZ and the plain rule of
        # CISO version 2 depend on it.
        exact = not last or zsoz or (self.magic == b"CISO" and self.version == 2)
        if exact and end < start:
            raise Damaged("the next block starts before this one")
        if self.plain(i):
            if not last and end - start < want:
                raise Damaged("the next block starts inside this one")
            if not last and end - start >= want + self.unit:
                raise Damaged("more than padding lies behind the block")
            stored = self.data[start : start + want]
            if last and decoder is _lz4_ziso and len(stored) == want - 1:
                stored += b"\0"
            if len(stored) != want:
                raise Damaged("the file ends inside the block")
            return stored
        most = 2 * self.block_size + self.unit
        if last and not zsoz:
            end = min(len(self.data), start + most)
        if end - start > most:
            raise Damaged(f"{end - start} bytes are too many for one block")
        if end > len(self.data):
            raise Damaged("the file ends inside the block")
        if end <= start:
            raise Damaged("nothing is stored")
        decode = _decoded if end - start <= _KEPT >= want else _decoded.__wrapped__
        return decode(decoder, self.data[start:end], want, self.block_size, self.unit, last)

    def choose_codec(self) -> None:
        """One codec for the whole file: the header of a ZISO does not tell."""
        if self.magic == b"ZSOZ":
            self.codec, self.decoder = "zstd", _zstd_exact
        elif self.magic == b"ZSO\x01":
            self.codec, self.decoder = "zlib", _zlib
        elif self.magic == b"ZISO":
            self.sample_ziso()
        elif self.version == 2:
            self.codec = "mixed"
            self.refuse_xbox()
        else:
            self.codec, self.decoder = "deflate", _deflate

    def sample_ziso(self) -> None:
        """The codec which decodes most of the first compressed blocks (and block 16)."""
        sample = self.compressed_blocks()
        self.codec, self.decoder = "lz4", _lz4_ziso
        best = 0
        choices: list[tuple[str, Decoder]] = [
            ("zstd", _zstd),
            ("lz4", _lz4_ziso),
            ("zlib", _zlib),
        ]
        for codec, decoder in choices:
            good = sum(self.decodes(i, decoder) for i in sample)
            if good > best:
                best = good
                self.codec, self.decoder = codec, decoder
        if sample and best == 0:
            # LZO1X streams end with 11 00 00, and the one writer of them leaves header size 0.
            ends = [self.data[self.offset(i) : self.offset(i + 1)] for i in sample]
            if self.header_size == 0 or any(end.endswith(b"\x11\0\0") for end in ends):
                raise ValueError("LZO in a ZISO")
            raise Damaged("none of the first blocks can be decoded")

    def refuse_xbox(self) -> None:
        """Xbox CISO says version 2 too, but its LZ4 blocks start with a length."""
        sample = [i for i in self.compressed_blocks() if self.flagged(i)]
        if sample and not any(self.decodes(i, _lz4) for i in sample):
            raise ValueError("an Xbox image")

    def compressed_blocks(self) -> list[int]:
        found: list[int] = []
        for i in range(self.block_count):
            if not self.plain(i):
                found.append(i)
                if len(found) == SAMPLED:
                    break
        if self.block_count > 16 and 16 not in found and not self.plain(16):
            found.append(16)
        return found

    def decodes(self, i: int, decoder: Decoder) -> bool:
        try:
            self.decode(i, self.want(i), decoder)
        except Damaged:
            return False
        return True


class _Dax(_Blocks):
    """DAX version 0: "DAX\\0", u32 size, u32 version, u32 areas, 16 bytes; u32 offset of every
    frame, then u16 stored length of every frame. A frame holds 8192 bytes, zlib-wrapped."""

    def __init__(self, data: Data) -> None:
        if len(data) < 32:
            raise Damaged("no room for a header")
        size, version, _areas = struct.unpack_from("<III", data, 4)
        if version != 0:
            raise ValueError(f"DAX version {version}")
        super().__init__(data, size, 8192)
        self.codec = "zlib"
        self.tables_end = 32 + 6 * self.block_count
        if self.tables_end > len(data):
            raise Damaged("the tables are longer than the file")

    def block(self, i: int) -> bytes:
        want = self.want(i)
        start: int = struct.unpack_from("<I", self.data, 32 + 4 * i)[0]
        length: int = struct.unpack_from("<H", self.data, 32 + 4 * self.block_count + 2 * i)[0]
        if start < self.tables_end:
            raise Damaged("the frame lies in the header or the tables")
        if length > 2 * self.block_size + 1:
            raise Damaged(f"{length} bytes are too many for one frame")
        stored = self.data[start : start + length]
        if len(stored) != length:
            raise Damaged("the file ends inside the frame")
        return _zlib_exact(stored, want, self.block_size, i == self.block_count - 1)


def open_container(data: Data) -> Container:
    """The container in `data`.

    Damaged if its header or its index can not be used, ValueError if it is of another kind.
    """
    magic = bytes(data[:4])
    if magic in (b"ZISO", b"ZSOZ", b"ZSO\x01", b"CISO"):
        return _Indexed(data)
    if magic == b"DAX\0":
        return _Dax(data)
    raise ValueError("not a known container")


def decode(data: Data) -> bytes:
    """The whole image."""
    container = open_container(data)
    return b"".join(container.block(i) for i in range(container.block_count))
