"""Models of the programs which write compressed disc images.

Each turns the bytes of an image into a container the way the program of that name does: where it
pads and with what, what it stores plain, what becomes of an incomplete last block, and what it
writes as the last index entry. None of this comes from the package, so it can prove the package.

Layout of all but DAX, little endian: magic[4], u32 header size, u64 image size, u32 block size,
u8 version, u8 shift, u8[2]; u32 index entries from byte 24, one per block and one for the end.
An entry is an offset in the file shifted right; bit 31 is a flag, mostly for a plain block.
"""

from __future__ import annotations

import os
import random
import struct
import zlib
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

import lz4.block
import zstandard
from hypothesis import strategies as st

HEADER = struct.Struct("<4sIQIBB2x")
PLAIN = 0x80000000
NUL = b"\0"
SKIPPABLE = struct.pack("<II", 0x184D2A50, 5) + b"extra"

Writer = Callable[[bytes], bytes]
SparseWriter = Literal["ziso_py", "maxcso", "danixu"]


def _lz4(block: bytes) -> bytes:
    return bytes(lz4.block.compress(block, mode="high_compression", store_size=False))


def _deflate(block: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(block) + compressor.flush()


def _up(position: int, shift: int) -> int:
    """`position` rounded up to what an index entry can say."""
    return -(-position >> shift) << shift


def _split(image: bytes, block_size: int, count: int) -> list[bytes]:
    return [image[i * block_size : (i + 1) * block_size] for i in range(count)]


def _ceil(size: int, block_size: int) -> int:
    return -(-size // block_size)


class _File:
    """A container being written: header, room for the index, then the blocks."""

    def __init__(
        self,
        magic: bytes,
        size: int,
        block_size: int,
        count: int,
        *,
        header_size: int = 24,
        version: int = 1,
        shift: int = 0,
        padding: bytes = NUL,
    ) -> None:
        self.shift = shift
        self.padding = padding
        self.header = HEADER.pack(magic, header_size, size, block_size, version, shift)
        self.entries: list[int] = []
        self.start = HEADER.size + 4 * (count + 1)
        self.body = bytearray()

    def position(self) -> int:
        return self.start + len(self.body)

    def align(self) -> None:
        """Pads up to the next offset an index entry can say."""
        self.body += self.padding * (_up(self.position(), self.shift) - self.position())

    def add(self, stored: bytes, *, flag: bool = False) -> None:
        """A block right here, which has to be at an aligned place."""
        self.entries.append(self.position() >> self.shift | (PLAIN if flag else 0))
        self.body += stored

    def finish(self) -> bytes:
        """The file. The end entry is rounded down if the end was not aligned."""
        self.entries.append(self.position() >> self.shift)
        return self.header + struct.pack(f"<{len(self.entries)}I", *self.entries) + self.body


def kept(image: bytes, block_size: int = 2048) -> bytes:
    """What a writer keeps of the image if it drops the incomplete last block."""
    return image[: len(image) // block_size * block_size]


def ziso_py(
    image: bytes,
    *,
    block_size: int = 2048,
    shift: int = 0,
    padding: bytes = b"X",
    version: int = 1,
    threshold: int = 95,
) -> bytes:
    """The ziso.py family: LZ4, an incomplete last block dropped though the header counts it.

    Padding goes before each block and none behind the last one, so the end entry is rounded down.
    A block is plain from `threshold` percent up. An older ziso.py of ARK-4 wrote version 2 with
    threshold 100 and the same payload.
    """
    count = len(image) // block_size
    file = _File(
        b"ZISO", len(image), block_size, count, version=version, shift=shift, padding=padding
    )
    for block in _split(image, block_size, count):
        packed = _lz4(block)
        plain = 100 * len(packed) >= threshold * block_size
        file.align()
        file.add(block if plain else packed, flag=plain)
    return file.finish()


def maxcso_zso(image: bytes, *, block_size: int = 2048, shift: int = 0) -> bytes:
    """maxcso --format=zso: LZ4, NUL padding behind every block, the last one included.

    An incomplete last block is filled up with zeros and stored as a full one. A block is plain if
    it would take up a whole block with its padding.
    """
    return _maxcso(b"ZISO", image, block_size, shift, _lz4)


def maxcso_cso1(image: bytes, *, block_size: int = 2048, shift: int = 0) -> bytes:
    """maxcso --format=cso1: as its ZSO, but raw deflate."""
    return _maxcso(b"CISO", image, block_size, shift, _deflate)


def _maxcso(
    magic: bytes, image: bytes, block_size: int, shift: int, pack: Callable[[bytes], bytes]
) -> bytes:
    count = _ceil(len(image), block_size)
    file = _File(magic, len(image), block_size, count, shift=shift)
    file.align()
    for block in _split(image, block_size, count):
        full = block.ljust(block_size, NUL)
        packed = pack(full)
        plain = _up(len(packed), shift) >= block_size
        file.add(full if plain else packed, flag=plain)
        file.align()
    return file.finish()


def maxcso_cso2(
    image: bytes, *, block_size: int = 2048, shift: int = 0, lz4_cost: int = 10
) -> bytes:
    """maxcso --format=cso2 --use-lz4: deflate or LZ4 block by block, bit 31 tells which.

    LZ4 is taken if it costs at most `lz4_cost` percent of a block more. There is no flag for a
    plain block: it is one whose stored length, padding included, is a block or more.
    """
    count = _ceil(len(image), block_size)
    file = _File(b"CISO", len(image), block_size, count, version=2, shift=shift)
    file.align()
    for block in _split(image, block_size, count):
        full = block.ljust(block_size, NUL)
        deflated, lz4ed = _deflate(full), _lz4(full)
        use_lz4 = len(lz4ed) <= len(deflated) + block_size * lz4_cost // 100
        packed = lz4ed if use_lz4 else deflated
        if _up(len(packed), shift) >= block_size:
            file.add(full)
        else:
            file.add(packed, flag=use_lz4)
        file.align()
    return file.finish()


def danixu(
    image: bytes,
    *,
    block_size: int = 2048,
    shift: int = 0,
    lose_last_byte: bool = False,
    hdl_fix: bool = False,
    stale_tail: bool = False,
) -> bytes:
    """ziso_compressor: LZ4, NUL padding before each block, the end aligned.

    The incomplete last block is compressed (or stored plain) short. With `stale_tail` it is
    stored as a full block, behind whose data lies what the read buffer held before: the start of
    the image, in one which is smaller than the buffer. `lose_last_byte` is what version 0.7.0
    does if the last read fills the buffer: a last block which is complete is stored without its
    last byte. `hdl_fix` fills the file up to a multiple of 2048 bytes.
    """
    count = _ceil(len(image), block_size)
    file = _File(b"ZISO", len(image), block_size, count, shift=shift)
    for i, block in enumerate(_split(image, block_size, count)):
        source = block
        if stale_tail and len(block) < block_size:
            source = block + image[len(block) : block_size].ljust(block_size - len(block), NUL)
        elif lose_last_byte and i == count - 1 and len(block) == block_size:
            source = block[:-1]
        packed = _lz4(source)
        plain = len(packed) >= len(source)
        file.align()
        file.add(source if plain else packed, flag=plain)
    file.align()
    result = file.finish()
    return result.ljust(_up(len(result), 11), NUL) if hdl_fix else result


def lose_last_byte(image: bytes, block_size: int = 2048) -> bytes:
    """The image as `danixu(image, lose_last_byte=True)` is to be shown: with a 0 for the byte."""
    if image and len(image) % block_size == 0:
        return image[:-1] + NUL
    return image


def zstd_ziso(
    image: bytes,
    *,
    block_size: int = 2048,
    shift: int = 0,
    padding: bytes = NUL,
    content_size: bool = True,
    checksum: bool = False,
) -> bytes:
    """A ZISO with one zstd frame per block: the header is the one of an LZ4 ZISO.

    The last block is short, blocks zstd does not shrink are plain, the end is exact. The writer
    found in the wild never shifts; with a shift this model pads before blocks and at the end.
    """
    compressor = zstandard.ZstdCompressor(
        level=9, write_content_size=content_size, write_checksum=checksum
    )
    count = _ceil(len(image), block_size)
    file = _File(b"ZISO", len(image), block_size, count, shift=shift, padding=padding)
    for block in _split(image, block_size, count):
        packed = compressor.compress(block)
        plain = len(packed) >= len(block)
        file.align()
        file.add(block if plain else packed, flag=plain)
    file.align()
    return file.finish()


def zsoz(image: bytes, *, block_size: int = 2048, shift: int = 0, trailer: bool = False) -> bytes:
    """ZSOZ: every block a zstd frame with a checksum, plain ones do not exist.

    Bit 31 is never set and the end entry is exact, the padding of the last block included.
    A zstd skippable frame may follow behind the end.
    """
    compressor = zstandard.ZstdCompressor(level=9, write_checksum=True)
    count = _ceil(len(image), block_size)
    file = _File(b"ZSOZ", len(image), block_size, count, shift=shift)
    file.align()
    for block in _split(image, block_size, count):
        file.add(compressor.compress(block))
        file.align()
    return file.finish() + (SKIPPABLE if trailer else b"")


def zlib_zso(
    image: bytes, *, block_size: int = 2048, shift: int = 0, magic: bytes = b"ZSO\x01"
) -> bytes:
    """An Android converter: blocks with zlib header, a magic of its own, NUL padding behind.

    The same program can later "repair" the magic to ZISO and leave the payload as it was.
    """
    count = _ceil(len(image), block_size)
    file = _File(magic, len(image), block_size, count, shift=shift)
    file.align()
    for block in _split(image, block_size, count):
        packed = zlib.compress(block)
        plain = len(packed) >= len(block)
        file.add(block if plain else packed, flag=plain)
        file.align()
    return file.finish()


def ciso_py(
    image: bytes,
    *,
    version: int = 1,
    header_size: int = 24,
    block_size: int = 2048,
    shift: int = 0,
    adler: bool = True,
    padding: bytes = b"X",
    threshold: int = 100,
) -> bytes:
    """The ciso.py family: raw deflate followed by the Adler-32 of the zlib wrapper.

    Padding, dropped tail and rounded end entry are those of `ziso_py`. The first writers left
    version and header size 0.
    """
    count = len(image) // block_size
    file = _File(
        b"CISO",
        len(image),
        block_size,
        count,
        header_size=header_size,
        version=version,
        shift=shift,
        padding=padding,
    )
    for block in _split(image, block_size, count):
        packed = zlib.compress(block, 9)[2 : None if adler else -4]
        plain = 100 * len(packed) >= threshold * block_size
        file.align()
        file.add(block if plain else packed, flag=plain)
    return file.finish()


def dax(image: bytes, *, full_tail: bool = True) -> bytes:
    """DAX version 0: u32 offsets and u16 lengths of zlib-wrapped frames of 8192 bytes.

    There is no end entry and no plain frame. maxcso fills the last frame up with zeros.
    """
    frames = [
        zlib.compress(block.ljust(8192, NUL) if full_tail else block, 9)
        for block in _split(image, 8192, _ceil(len(image), 8192))
    ]
    position = 32 + 6 * len(frames)
    offsets: list[int] = []
    for frame in frames:
        offsets.append(position)
        position += len(frame)
    return b"".join(
        [
            struct.pack("<4sIII16x", b"DAX\0", len(image), 0, 0),
            struct.pack(f"<{len(frames)}I", *offsets),
            struct.pack(f"<{len(frames)}H", *map(len, frames)),
            *frames,
        ]
    )


# What only looks like one of the formats and must be refused.


def gamecube_ciso(image: bytes = b"GALE01", *, block_size: int = 0x200000) -> bytes:
    """GameCube or Wii: "CISO", u32 block size, one byte per block (1: stored) up to 0x8000."""
    count = max(1, _ceil(len(image), block_size))
    header = struct.pack("<4sI", b"CISO", block_size) + b"\1" * count
    return header.ljust(0x8000, NUL) + image.ljust(count * block_size, NUL)


def xbox_cso(image: bytes) -> bytes:
    """Xbox: CISO version 2, shift 2, where bit 31 is LZ4 and no bit is plain.

    A u32 length stands before the LZ4 data. An incomplete last block is dropped. If no block can
    be compressed nothing tells the file from a real version 2.
    """
    count = len(image) // 2048
    file = _File(b"CISO", len(image), 2048, count, version=2, shift=2)
    for block in _split(image, 2048, count):
        packed = _lz4(block)
        packed = struct.pack("<I", len(packed)) + packed
        small = len(packed) + 12 < len(block)
        file.align()
        file.add(packed if small else block, flag=small)
    return file.finish()


def lzo_ziso(image: bytes = bytes(16384)) -> bytes:
    """DreamShell: a ZISO with header size 0 and LZO1X blocks, which end with 11 00 00.

    There is no LZO here. A stream of literals only is easy, though: a first byte of 17 plus
    their number (up to 238), the literals, the end mark. What it would decode to does not
    matter, as it has to be refused.
    """
    count = len(image) // 2048
    file = _File(b"ZISO", len(image), 2048, count, header_size=0)
    for block in _split(image, 2048, count):
        literals = block[:200]
        file.add(bytes([17 + len(literals)]) + literals + b"\x11\0\0")
    return file.finish()


WRITERS: dict[str, Writer] = {
    "ziso_py": ziso_py,
    "ziso_py-shifted": partial(ziso_py, shift=2),
    "ark-version2": partial(ziso_py, version=2, threshold=100),
    "maxcso_zso": maxcso_zso,
    "maxcso_zso-16384": partial(maxcso_zso, block_size=16384, shift=1),
    "danixu": danixu,
    "danixu-shifted": partial(danixu, shift=2, hdl_fix=True),
    "danixu-stale": partial(danixu, stale_tail=True),
    "zstd_ziso": zstd_ziso,
    "zsoz": zsoz,
    "zlib_zso": zlib_zso,
    "zlib_zso-repaired": partial(zlib_zso, magic=b"ZISO"),
    "ciso_py": ciso_py,
    "ciso_py-version0": partial(ciso_py, version=0, header_size=0, shift=1),
    "maxcso_cso1": maxcso_cso1,
    "maxcso_cso2": maxcso_cso2,
    "dax": dax,
}

# These drop an incomplete last block: `kept(image)` is what is to be shown.
DROPS_TAIL = frozenset(
    {"ziso_py", "ziso_py-shifted", "ark-version2", "ciso_py", "ciso_py-version0"}
)

FOREIGN: dict[str, Writer] = {
    "gamecube_ciso": gamecube_ciso,
    "xbox_cso": xbox_cso,
    "lzo_ziso": lzo_ziso,
}


# Images and containers for hypothesis.

KINDS = ("zeros", "text", "mixed", "tight", "noise")


_TEXTS = 32
"""How many blocks of text are made of words; further ones are parts of those."""


def content(size: int, kinds: list[str], seed: int, block_size: int = 2048) -> bytes:
    """`size` bytes, whose blocks are in turn of the given kinds.

    zeros; text (shrinks to a half or so); mixed (half noise); tight (noise but for a few bytes,
    so that it is about as long compressed); noise (can not be compressed).
    """
    rng = random.Random(seed)
    words = [rng.randbytes(rng.randint(2, 7)).hex().encode() for _ in range(64)]
    blocks: list[bytes] = []
    text = b""
    for i in range(_ceil(size, block_size)):
        kind = kinds[i % len(kinds)]
        if kind == "zeros":
            block = bytes(block_size)
        elif kind == "text" and len(text) < _TEXTS * block_size:
            block = b" ".join(rng.choices(words, k=block_size // 4 + 1))
            text += block
        elif kind == "text":  # a part of what there is takes a fiftieth of the time
            begin = rng.randrange(len(text) - block_size)
            block = text[begin : begin + block_size]
        elif kind == "mixed":
            block = rng.randbytes(block_size // 2) + bytes(block_size)
        elif kind == "tight":
            block = rng.randbytes(block_size - rng.randint(8, 60)) + bytes(block_size)
        else:
            block = rng.randbytes(block_size)
        blocks.append(block[:block_size])
    return b"".join(blocks)[:size]


DESCRIPTOR_END = 16 * 2048 + 190
"""The shortest image that can have a volume descriptor, as :func:`described` makes it."""


def described(image: bytes, sectors: int | None = None) -> bytes:
    """`image` with a primary volume descriptor of ISO 9660, by which it is a disc image.

    It says that the volume has `sectors` sectors, as many as the image has whole ones if not given.
    The root directory is empty.
    """
    count = len(image) // 2048 if sectors is None else sectors
    descriptor = bytearray(190)
    descriptor[:8] = b"\x01CD001\x01\0"
    descriptor[80:88] = struct.pack("<I", count) + struct.pack(">I", count)
    descriptor[128:132] = struct.pack("<H", 2048) + struct.pack(">H", 2048)
    assert len(image) >= DESCRIPTOR_END
    return image[: 16 * 2048] + bytes(descriptor) + image[DESCRIPTOR_END:]


def disc(size: int, kinds: list[str], seed: int, block_size: int = 2048) -> bytes:
    """The same as :func:`content`, as a disc image."""
    return described(content(size, kinds, seed, block_size))


def half_noise(size: int) -> bytes:
    """Noise in which each KiB comes twice: packed, it takes half as much, and no two reads of it
    are equal."""
    noise = random.Random(1).randbytes(size // 2)
    return b"".join(2 * noise[at : at + 1024] for at in range(0, len(noise), 1024))


_ANY = [2048, 2352, 4096, 6144, 16384]
_POWERS = [2048, 4096, 16384]

# What each writer can be asked for: its block sizes and its other parameters. Shifts are 0 to 6.
_CHOICES: dict[str, tuple[Callable[..., bytes], list[int], dict[str, list[object]]]] = {
    "ziso_py": (
        ziso_py,
        _ANY,
        {"padding": [b"X", NUL, b"\xff", b" "], "version": [0, 1, 2], "threshold": [90, 95, 100]},
    ),
    "maxcso_zso": (maxcso_zso, _POWERS, {}),
    "danixu": (
        danixu,
        _ANY,
        {
            "lose_last_byte": [False, True],
            "hdl_fix": [False, True],
            "stale_tail": [False, True],
        },
    ),
    "zstd_ziso": (
        zstd_ziso,
        _ANY,
        {"padding": [NUL, b"X"], "content_size": [True, False], "checksum": [True, False]},
    ),
    "zsoz": (zsoz, _ANY, {"trailer": [False, True]}),
    "zlib_zso": (zlib_zso, _ANY, {"magic": [b"ZSO\x01", b"ZISO"]}),
    "ciso_py": (
        ciso_py,
        _ANY,
        {
            "version": [0, 1],
            "header_size": [0, 24],
            "adler": [True, False],
            "padding": [b"X", NUL],
        },
    ),
    "maxcso_cso1": (maxcso_cso1, _POWERS, {}),
    "maxcso_cso2": (maxcso_cso2, _POWERS, {"lz4_cost": [0, 10, 40]}),
    "dax": (dax, [], {"full_tail": [True, False]}),
}


@st.composite
def images(draw: st.DrawFn, block_size: int = 2048, max_blocks: int = 10) -> bytes:
    """Images of sizes around the edges of blocks, of any mix of contents."""
    edges = [0, 1, 2047, 2048, 2049, block_size - 1, block_size, block_size + 1, 3 * block_size]
    size = draw(
        st.sampled_from(edges)
        | st.integers(0, max_blocks).map(lambda n: n * block_size)
        | st.integers(0, max_blocks * block_size)
    )
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    return content(size, kinds, draw(st.integers(0, 2**16)), block_size)


@st.composite
def containers(draw: st.DrawFn, *writers: str) -> tuple[bytes, bytes, str]:
    """An image, a container which is to decode to exactly that, and a word on what it is.

    Of all writers, or of the named ones (names as in this module).
    """
    name = draw(st.sampled_from(writers or tuple(_CHOICES)))
    write, block_sizes, choices = _CHOICES[name]
    arguments: dict[str, object] = {}
    block_size = 8192
    if block_sizes:
        block_size = draw(st.sampled_from(block_sizes))
        arguments = {"block_size": block_size, "shift": draw(st.integers(0, 6))}
    for key, values in choices.items():
        arguments[key] = draw(st.sampled_from(values))
    image = draw(images(block_size))
    container = write(image, **arguments)
    described = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    description = f"{name}({len(image)} bytes, {described})"
    if name in ("ziso_py", "ciso_py"):
        image = kept(image, block_size)
    if arguments.get("lose_last_byte"):
        image = lose_last_byte(image, block_size)
    return image, container, description


# Huge containers.


def _shift_for(writer: SparseWriter, size: int, index_end: int) -> int:
    """The shift the writer would choose for an image of this size."""
    if writer == "ziso_py":
        return size // 2**31
    if writer == "maxcso":
        return max(0, (index_end + size).bit_length() - 31)
    return sum(size > limit - index_end for limit in (2**31 - 1, 2**32 - 1, 2**33 - 1))


def sparse_ziso(
    path: str | os.PathLike[str],
    size: int,
    *,
    writer: SparseWriter = "ziso_py",
    blocks: dict[int, bytes] | None = None,
    block_size: int = 2048,
) -> None:
    """A ZISO file for a huge image, most of which is a hole.

    All blocks are plain and lie in the hole, so they are zeros and the offsets in the file grow
    about as large as those in the image, but for the ones in `blocks`, which hold the given data
    (of the block's exact length), compressed if the writer would. `writer` decides the shift, the
    padding and the last block: ziso_py drops an incomplete one, maxcso fills it up, danixu
    stores it short. ValueError if an offset does not fit into 31 bits.
    """
    given = dict(blocks or {})
    floor = writer == "ziso_py"
    count = size // block_size if floor else _ceil(size, block_size)
    position = HEADER.size + 4 * (count + 1)
    shift = _shift_for(writer, size, position)
    tail = size - (count - 1) * block_size if count and not floor else block_size
    if block_size % (1 << shift):
        raise ValueError("plain blocks would need padding")
    if any(not 0 <= i < count for i in given):
        raise ValueError("no such block")
    if writer == "danixu" and tail < block_size:
        given.setdefault(count - 1, bytes(tail))
    index = array("I")
    if index.itemsize != 4:
        raise RuntimeError("array('I') does not have 4 bytes here")
    with Path(path).open("wb") as file:
        position = _sparse_pad(file, position, shift, writer)
        step = block_size >> shift
        for i in [*sorted(given), count]:
            # The plain blocks up to this one follow each other without a gap.
            first = position >> shift
            gap = i - len(index)
            if first + gap * step > PLAIN:
                raise ValueError("the offsets do not fit into the index")
            index.extend(range(first | PLAIN, (first | PLAIN) + gap * step, step))
            position += gap * block_size
            if i == count:
                break
            data = given[i]
            if len(data) != (tail if i == count - 1 else block_size):
                raise ValueError(f"block {i} has {len(data)} bytes")
            if writer == "maxcso":
                data = data.ljust(block_size, NUL)
            packed = _lz4(data)
            if writer == "ziso_py":
                plain = 100 * len(packed) >= 95 * len(data)
            elif writer == "maxcso":
                plain = _up(len(packed), shift) >= len(data)
            else:
                plain = len(packed) >= len(data)
            stored = data if plain else packed
            if position >> shift >= PLAIN:
                raise ValueError("the offsets do not fit into the index")
            index.append(position >> shift | (PLAIN if plain else 0))
            file.seek(position)
            file.write(stored)
            position += len(stored)
            if i < count - 1 or not floor:
                position = _sparse_pad(file, position, shift, writer)
        if position >> shift >= PLAIN:
            raise ValueError("the offsets do not fit into the index")
        index.append(position >> shift)
        file.truncate(position)
        file.seek(0)
        file.write(HEADER.pack(b"ZISO", 24, size, block_size, 1, shift))
        if struct.pack("=I", 1) != struct.pack("<I", 1):
            index.byteswap()
        index.tofile(file)


def _sparse_pad(file: BinaryIO, position: int, shift: int, writer: SparseWriter) -> int:
    """Pads up to the next offset an index entry can say, with the writer's padding."""
    end = _up(position, shift)
    if end > position and writer == "ziso_py":
        file.seek(position)
        file.write(b"X" * (end - position))
    return end
