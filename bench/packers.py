"""Writes the compressed forms of an image, on all processors."""

import os
import signal
import struct
import zlib
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import lz4.block
import zstandard

from bench.system import BenchError

_HEADER = struct.Struct("<4sIQIBBxx")
_PLAIN = 1 << 31
_STEP = 1 << 20
"""Bytes of the image in one task; a multiple of every block size."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Packing:
    """One way to pack a disc.

    Attributes:
        codec: ``lz4``, ``zstd`` or ``deflate``.
        block_size: bytes of the image in one block.
        shift: how far index entries are shifted right; blocks are padded to fit.
        suffix: of the file's name.
    """

    codec: str
    block_size: int
    shift: int = 0
    suffix: str = ".zso"

    @property
    def name(self) -> str:
        padded = "-padded" if self.shift else ""
        return f"{self.codec}-{self.block_size >> 10}k{padded}"


def pack(image: Path, target: Path, packing: Packing) -> None:
    """Write *image* to *target* as a ZISO, or a CISO if the suffix says so."""
    size = image.stat().st_size
    if size % packing.block_size:
        raise BenchError(f"an image of {size} bytes has an incomplete last block")
    magic = b"CISO" if packing.suffix == ".cso" else b"ZISO"
    count = size // packing.block_size
    position = _HEADER.size + 4 * (count + 1)
    position += -position % (1 << packing.shift)
    index = array("I")
    with target.open("wb") as file:
        file.seek(position)
        for stored, lengths in _in_parallel(partial(_pack_step, image, packing), size):
            file.write(stored)
            for length in lengths:
                flag = _PLAIN if length < 0 else 0
                index.append(position >> packing.shift | flag)
                position += abs(length)
        index.append(position >> packing.shift)
        if position >> packing.shift >= _PLAIN:
            raise BenchError("the offsets do not fit into the index")
        file.seek(0)
        header = _HEADER.pack(magic, 24, size, packing.block_size, 1, packing.shift)
        file.write(header + struct.pack(f"<{len(index)}I", *index))


def _pack_step(image: Path, packing: Packing, offset: int) -> tuple[bytes, list[int]]:
    """The stored blocks of one step, and their lengths, those of plain blocks negative."""
    compress = _compressor(packing.codec)
    data = _part(image, offset)
    parts: list[bytes] = []
    lengths = []
    for at in range(0, len(data), packing.block_size):
        block = data[at : at + packing.block_size]
        packed = compress(block)
        packed += b"X" * (-len(packed) % (1 << packing.shift))
        plain = len(packed) >= len(block)
        parts.append(block if plain else packed)
        lengths.append(-len(block) if plain else len(packed))
    return b"".join(parts), lengths


def _compressor(codec: str) -> Callable[[bytes], bytes]:
    if codec == "lz4":
        return lambda block: bytes(
            lz4.block.compress(block, mode="high_compression", compression=9, store_size=False)
        )
    if codec == "zstd":
        return zstandard.ZstdCompressor(level=9).compress
    return lambda block: zlib.compress(block, 9, wbits=-15)


def pack_zst(image: Path, target: Path) -> None:
    """Write *image* as Zstandard frames of 1 MiB each, which a reader can seek among."""
    with target.open("wb") as file:
        for frame in _in_parallel(partial(_zst_step, image), image.stat().st_size):
            file.write(frame)


def _zst_step(image: Path, offset: int) -> bytes:
    return zstandard.ZstdCompressor(level=9).compress(_part(image, offset))


def pack_gz(image: Path, target: Path) -> None:
    """Write *image* as one ordinary gzip stream, packed in pieces like pigz does."""
    size = image.stat().st_size
    checksum = 0
    for offset in range(0, size, _STEP):
        checksum = zlib.crc32(_part(image, offset), checksum)
    with target.open("wb") as file:
        file.write(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
        for stored in _in_parallel(partial(_gz_step, image), size):
            file.write(stored)
        file.write(zlib.compressobj(6, wbits=-15).flush())
        file.write(struct.pack("<II", checksum, size & 0xFFFFFFFF))


def _gz_step(image: Path, offset: int) -> bytes:
    compressor = zlib.compressobj(6, wbits=-15)
    return compressor.compress(_part(image, offset)) + compressor.flush(zlib.Z_FULL_FLUSH)


def _part(image: Path, offset: int) -> bytes:
    with image.open("rb") as file:
        return os.pread(file.fileno(), _STEP, offset)


def _in_parallel(work: Callable[[int], Result], size: int) -> Iterator[Result]:
    """Results of *work* for each step of an image, in order, a few steps ahead."""
    processors = os.cpu_count() or 1
    with ProcessPoolExecutor(processors, initializer=_leave_interrupts_to_parent) as pool:
        waiting = []
        for offset in range(0, size, _STEP):
            waiting.append(pool.submit(work, offset))
            if len(waiting) > 4 * processors:
                yield waiting.pop(0).result(600)
        for future in waiting:
            yield future.result(600)


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
