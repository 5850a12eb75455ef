"""Detection of the program that wrote a container, by its characteristics."""

import zlib
from collections.abc import Iterator

from zsofs.errors import BlockError
from zsofs.formats.ciso_header import entry_offset, has_flag, read_entries
from zsofs.formats.geometry import CD_SECTOR, Codec
from zsofs.images.input_image import Original
from zsofs.inspection.facts import Blocks, Facts

_SAMPLE = 64
"""Number of blocks whose last byte is checked for padding."""

_X = ord("X")

_ZISO_PY = "ziso.py (Open PS2 Loader, ARK-4)"
_ZISO_PY_PERCENT = 95
"""Compressed size in percent from which ziso.py stores a block uncompressed."""


def maker_of(image: Original, facts: Facts) -> str:
    """Return the program, or the candidates; empty if unknown."""
    return next(_guesses(image, facts.blocks), "") if facts.blocks is not None else ""


def _guesses(image: Original, blocks: Blocks) -> Iterator[str]:
    magic = blocks.header.magic
    if image.seal is not None:
        yield f"zsofs {image.seal.version}"
    if magic == b"ZSOZ":
        yield "zsofs"
    if magic == b"DAX\0":
        yield "maxcso or an older DAX tool"
    if magic == b"CISO":
        yield _maker_of_cso(image, blocks)
    if blocks.codec is Codec.ZSTD:
        yield "a converter that takes ZSO for Zstandard, such as DuckShrink"
    if blocks.codec is Codec.ZLIB:
        yield "a converter for Android that takes ZSO for zlib (DiscConverter)"
    yield from _guesses_of_zso(image, blocks)


def _guesses_of_zso(image: Original, blocks: Blocks) -> Iterator[str]:
    header = blocks.header
    if blocks.fills_sector:
        yield from _guesses_of_filled(image, blocks)
    if header.version == 2:
        yield "an earlier ziso.py of ARK-4"
    if blocks.dropped:
        yield _ZISO_PY
    if header.block_size == CD_SECTOR or header.size % 2048:
        yield "ziso_compressor"  # the other programs accept neither
    if image.reader is not None and image.reader.final_byte_missing:
        yield "ziso_compressor 0.7.0"
    if header.shift and _pads_with_x(image, blocks):
        yield _ZISO_PY
    if blocks.last_plain and blocks.last_room < header.block_size:
        yield "ziso_compressor"  # maxcso pads it
    if header.shift or 100 * blocks.scan.longest >= _ZISO_PY_PERCENT * header.block_size:
        yield "maxcso or ziso_compressor"
    yield f"{_ZISO_PY}, maxcso or ziso_compressor"


def _guesses_of_filled(image: Original, blocks: Blocks) -> Iterator[str]:
    """Yield programs that pad a file to a whole sector; others end with the last block."""
    if blocks.last_plain or not blocks.count:
        yield "zsofs or ziso_compressor"  # both with zeros
    begin = image.source.size - blocks.ends_early
    last, *filling = image.source.read_at(begin - 1, blocks.ends_early + 1)
    if set(filling) == {_X} or (set(filling) == {0} and last == _X):
        yield "zsofs"
    if image.reader is not None and not image.reader.final_byte_missing:
        yield "ziso_compressor"  # with --hdl-fix


def _pads_with_x(image: Original, blocks: Blocks) -> bool:
    """Return whether blocks are padded with X much more often than by chance."""
    count = min(blocks.count, _SAMPLE)
    entries = read_entries(image.source, 0, count + 1)
    places = [entry_offset(entry, blocks.header.shift) for entry in entries[1:]]
    before = [image.source.read_at(place - 1, 1) for place in places if place]
    return 5 * before.count(b"X") > len(before)


def _maker_of_cso(image: Original, blocks: Blocks) -> str:
    if blocks.header.version == 2:
        return "maxcso"
    if _has_adler(image, blocks):
        return "ciso.py or a tool like it"
    if blocks.header.header_size == 24 and blocks.header.version == 1:
        return "zsofs or maxcso"
    return "ciso or a tool like it"


def _has_adler(image: Original, blocks: Blocks) -> bool:
    """Return whether a zlib trailer (Adler-32) follows one of the first deflate streams."""
    size, shift = blocks.header.block_size, blocks.header.shift
    entries = read_entries(image.source, 0, min(blocks.count, _SAMPLE) + 1)
    for number, entry in enumerate(entries[:-1]):
        if has_flag(entry):
            continue
        stream = zlib.decompressobj(-15)
        try:
            plain = image.read(number * size, size)
            stored = image.source.read_at(entry_offset(entry, shift), 2 * size + 64)
            stream.decompress(stored, 2 * size)
        except (BlockError, zlib.error):
            continue
        return stream.unused_data.startswith(zlib.adler32(plain).to_bytes(4, "big"))
    return False
