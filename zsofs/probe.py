"""Decides what a header does not say: the codec of the payload, and the kind of disc."""

import os
import sys
from array import array
from dataclasses import dataclass, replace

from zsofs._blocks import BlockReader
from zsofs.errors import BlockError, DamagedError, ForeignError
from zsofs.formats import identify
from zsofs.formats.geometry import Codec, Geometry

_SAMPLE = 8
"""Packed blocks tried before a codec is chosen. Random data decodes as LZ4 to just the wanted
length about never, but one of the first blocks may be damaged."""

_INDEX_SLICE = 1024
"""Index entries looked through at a time: 4 KiB, one page. The first slice of any real disc has
packed blocks; only where it has none are more of them read."""

_PLAIN_FLAG = 1 << 31

_VOLUME_DESCRIPTOR = 16
"""The 2 KiB sector that every disc has and no writer can leave out."""

_CD_SYNC = b"\x00" + b"\xff" * 10 + b"\x00"
"""How each raw sector of a CD begins."""


@dataclass(frozen=True, slots=True)
class OpenSource:
    """An open source file: its descriptor and what fstat said of it.

    Attributes:
        fd: descriptor, open for reading.
        size: in bytes.
        mtime_ns: modification time in nanoseconds.
        ctime_ns: time of the last change of any kind, in nanoseconds.
        device: st_dev of the file.
        can_look: whether bytes that are in memory can be read at once although the file system
            cannot be asked not to wait (zsofs._blocks.LOOK).
    """

    fd: int
    size: int
    mtime_ns: int
    ctime_ns: int
    device: int
    can_look: bool = False

    def read_at(self, offset: int, size: int) -> bytes:
        """The *size* bytes at *offset*; fewer at the end of the file."""
        return os.pread(self.fd, size, offset)


@dataclass(frozen=True, slots=True)
class Disc:
    """What is in a container: its geometry with the codec decided.

    Attributes:
        geometry: ``codecs`` has exactly one member.
        raw_cd: the image consists of raw 2352-byte sectors.
    """

    geometry: Geometry
    raw_cd: bool


def probe(source: OpenSource) -> Disc | None:
    """Recognise a container by what is inside; None if the file is not one.

    Raises:
        zsofs.errors.FormatError: it is one, but cut, broken, or not for us.
        OSError: the file could not be read.
    """
    geometry = identify(source)
    if geometry is None:
        return None
    if len(geometry.codecs) > 1:
        geometry = replace(geometry, codecs=(_decide_codec(source, geometry),))
    return Disc(geometry, _is_raw_cd(source, geometry))


def block_reader(geometry: Geometry, source: OpenSource) -> BlockReader:
    """The kernel's reader for an image whose codec is decided."""
    return BlockReader(
        rule=geometry.rule,
        codec=geometry.codecs[0],
        shift=geometry.shift,
        size=geometry.size,
        block_size=geometry.block_size,
        index_offset=geometry.index_offset,
        data_start=geometry.data_start,
        data_end=geometry.data_end,
        source_size=source.size,
        source_mtime_ns=source.mtime_ns,
    )


def _decide_codec(source: OpenSource, geometry: Geometry) -> Codec:
    """The codec that decodes most of the first packed blocks, never one for each block."""
    blocks = _packed_blocks(source, geometry)
    if not blocks:
        return Codec.LZ4
    best, decoded = Codec.LZ4, 0
    for codec in geometry.codecs:
        reader = block_reader(replace(geometry, codecs=(codec,)), source)
        good = sum(_decodes(reader, source.fd, number, geometry.block_size) for number in blocks)
        if good == len(blocks):
            return codec
        if good > decoded:
            best, decoded = codec, good
    if decoded:
        return best
    if source.read_at(4, 4) == b"\0\0\0\0":
        raise ForeignError("an LZO ZISO (as DreamShell writes them), which zsofs does not read")
    raise DamagedError(
        f"none of its first {len(blocks)} packed blocks is LZ4, Zstandard or zlib data"
    )


def _packed_blocks(source: OpenSource, geometry: Geometry) -> list[int]:
    """Numbers of the first packed blocks, with the volume descriptor's among them."""
    for first in range(0, geometry.block_count, _INDEX_SLICE):
        count = min(geometry.block_count - first, _INDEX_SLICE)
        entries = array("I", source.read_at(geometry.index_offset + 4 * first, 4 * count))
        if sys.byteorder == "big":
            entries.byteswap()
        if entries and min(entries) < _PLAIN_FLAG:
            packed = [first + at for at, entry in enumerate(entries) if entry < _PLAIN_FLAG]
            chosen = packed[:_SAMPLE]
            descriptor = _VOLUME_DESCRIPTOR * 2048 // geometry.block_size
            if descriptor in packed and descriptor not in chosen:
                chosen[-1] = descriptor
            return chosen
    return []


def _decodes(reader: BlockReader, fd: int, number: int, block_size: int) -> bool:
    try:
        reader.read(fd, number, 1, bytearray(block_size))
    except BlockError:
        return False
    return True


def _is_raw_cd(source: OpenSource, geometry: Geometry) -> bool:
    if not geometry.size:
        return False
    head = bytearray(geometry.block_size)
    try:
        block_reader(geometry, source).read(source.fd, 0, 1, head)
    except BlockError:
        return False
    return head.startswith(_CD_SYNC)
