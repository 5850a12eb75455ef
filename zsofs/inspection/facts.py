"""Facts about a disc image that are found without reading all of it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from zsofs.discs.classify import Classification, classify
from zsofs.discs.examination import Examination
from zsofs.discs.identify import Identity, System, identify
from zsofs.errors import BlockError, UnreadableError
from zsofs.formats.ciso_header import (
    HEADER_SIZE,
    Header,
    entry_offset,
    has_flag,
    parse_header,
    read_entries,
)
from zsofs.formats.dax import FRAME_SIZE
from zsofs.formats.file_names import NOT_PACKED, is_plain_image, misnamed
from zsofs.formats.geometry import AnyCodec, Codec, Rule
from zsofs.images.input_image import Original
from zsofs.inspection.chd_facts import ChdFacts, chd_facts
from zsofs.native.index_scan import Scan, scan

_SAMPLED_BYTES = 4 << 20
"""Plain bytes of samples that are decoded, which takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """How the blocks of a container are stored.

    Attributes:
        header: as stored in the file; for DAX, converted to the same fields.
        codec: codec of the compressed blocks.
        rule: interpretation of index entries.
        count: number of blocks.
        scan: statistics of the index.
        zeros: estimated number of blocks of zeros, from the blocks as short as a known one.
        dropped: bytes at the end of the image that were not stored.
        last_plain: whether the last block is stored uncompressed.
        last_room: bytes from the start of the last block to the end of the data.
        ends_early: bytes from the end of the data, by the index, to the end of the file.
        fills_sector: whether these pad the file to a multiple of 2048 bytes.
    """

    header: Header
    codec: AnyCodec
    rule: Rule
    count: int
    scan: Scan
    zeros: int
    dropped: int
    last_plain: bool
    last_room: int
    ends_early: int
    fills_sector: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about an image.

    Attributes:
        path: path of its file.
        stored: size of the file in bytes.
        plain: size of the image in bytes.
        container: name of the container format; ``plain`` for a plain image.
        raw_cd: whether the image has raw CD sectors of 2352 bytes.
        identity: identity of the disc; None if its first blocks cannot be read.
        blocks: how the blocks are stored in a container.
        content: kind of content; None if its blocks cannot be read.
        remarks: irregularities, for the user.
        chd: how a CHD stores it; None for other containers.
    """

    path: str
    stored: int
    plain: int
    container: str
    raw_cd: bool
    identity: Identity | None
    blocks: Blocks | None
    content: Classification | None
    remarks: tuple[str, ...]
    chd: ChdFacts | None = None


def gather(image: Original) -> Facts:
    """Read the header, the complete index, and some blocks.

    Raises:
        InputError: the file could not be read.
        zsofs.errors.SourceChangedError: the file was modified meanwhile.
        OSError: its index could not be read.
    """
    blocks = _blocks(image)
    try:
        identity = identify(image.read, image.size, raw_cd=image.raw_cd)
    except BlockError:
        identity = None
    try:
        content = classify(image.read, image.size)
    except (BlockError, UnreadableError):  # reported by `zsofs verify`
        content = None
    image.check_unchanged()
    return Facts(
        image.path,
        image.source.size,
        image.size,
        image.disc.container if image.disc else "plain",
        image.raw_cd,
        identity,
        blocks,
        content,
        tuple(_remarks(image, blocks, identity, content)),
        chd_facts(image),
    )


def _blocks(image: Original) -> Blocks | None:
    geometry, reader = image.geometry, image.reader
    if geometry is None or reader is None or geometry.chd is not None:
        return None
    found = scan(reader, image.source.fd)
    last = geometry.block_count - 1
    if last >= 0:
        _decodes(image, last)  # so that the reader detects a missing last byte
    if geometry.rule is Rule.DAX:
        header = Header(b"DAX\0", 32, geometry.size, FRAME_SIZE, 0, 0)
        begin, end, flag = 0, image.source.size, False
    else:
        header = parse_header(image.source.read_at(0, HEADER_SIZE))
        begin, flag = _entry(image, max(last, 0))
        end, _ = _entry(image, last + 1)
    ends_early = image.source.size - end
    return Blocks(
        header,
        geometry.codecs[0],
        geometry.rule,
        geometry.block_count,
        found,
        _zeros(image, found),
        header.size - geometry.size,
        flag and geometry.rule is Rule.FLAGGED,
        image.source.size - begin,
        ends_early,
        0 < ends_early < 2048 and image.source.size % 2048 == 0,
    )


def _entry(image: Original, number: int) -> tuple[int, bool]:
    """Return the offset in an index entry, and whether bit 31 is set."""
    geometry = image.geometry
    assert geometry is not None
    entry = next(iter(read_entries(image.source, number, 1)), 0)
    return entry_offset(entry, geometry.shift), has_flag(entry)


def _zeros(image: Original, found: Scan) -> int:
    """Return the approximate number of blocks of zeros.

    Blocks of zeros are the shortest ones. Blocks of another repeated byte are as short, so some of
    the shortest blocks across the image are decoded.
    """
    assert image.geometry is not None
    step = 1 + len(found.samples) * image.geometry.block_size // _SAMPLED_BYTES
    samples = [_decodes(image, number) for number in found.samples[::step]]
    if not samples:
        return 0
    zeros = sum(data is not None and not any(data) for data in samples)
    return found.shortest_count * zeros // len(samples)


def _decodes(image: Original, number: int) -> bytes | None:
    """Return a block; None if it cannot be decoded."""
    geometry = image.geometry
    assert geometry is not None
    try:
        return image.read(number * geometry.block_size, geometry.block_size)
    except BlockError:
        return None


def _remarks(
    image: Original,
    blocks: Blocks | None,
    identity: Identity | None,
    content: Classification | None,
) -> Iterator[str]:
    """Yield the irregularities of an image."""
    yield from image.remarks
    size = image.size
    if image.is_misnamed:
        yield _misnamed(image, content)
    if image.disc is not None and is_plain_image(os.fsencode(image.path)):
        yield f"it has the name of a plain image, but is a {image.disc.container}"
    if image.raw_cd:
        yield (
            "the image has raw CD sectors of 2352 bytes: as a plain file it is a .bin, not an .iso"
        )
    elif size % 2048:
        yield (
            f"the image size is not a multiple of 2048 bytes: {size % 2048} bytes remain, which"
            " most programs ignore"
        )
    if identity is None:
        yield "the start of the disc cannot be read"
    else:
        yield from _remarks_on_content(image, content)
    if blocks is not None:
        yield from _remarks_on_blocks(blocks)
    chd = image.geometry.chd if image.geometry is not None else None
    is_psp = identity is not None and identity.system is System.PSP
    if is_psp and chd is not None and chd.hunk_size != 2048:
        yield (
            f"PPSSPP plays it, but warns that its hunks of {chd.hunk_size} bytes are slow;"
            " re-create it with: chdman createdvd -hs 2048"
        )


def _misnamed(image: Original, content: Classification | None) -> str:
    """Return the remark on a plain file with the name of a container."""
    if content is None:
        return NOT_PACKED
    return content.not_packed or misnamed(image.ending)


def _remarks_on_content(image: Original, content: Classification | None) -> Iterator[str]:
    """Yield the remark on an image that is truncated or is not a disc image."""
    with suppress(BlockError, UnreadableError):  # reported by `zsofs verify`
        shortage = Examination(image).shortage
        # Already part of the remark on a misnamed image.
        if content is not None and content.remark and not image.is_misnamed:
            yield content.remark
        if shortage is not None:
            yield shortage.sentence


def _remarks_on_blocks(blocks: Blocks) -> Iterator[str]:
    header, bad = blocks.header, blocks.scan.bad
    if bad:
        yield (
            f"{bad:,} of {blocks.count:,} index entries are invalid; the first:"
            f" {blocks.scan.first_bad}"
        )
    if header.magic == b"ZSO\x01":
        yield "its magic is non-standard (ZSO and a byte 1); no other program recognizes it"
    if header.magic == b"ZISO" and header.version == 2:
        yield "its header says version 2, but its blocks have the layout of version 1"
    if header.header_size not in (24, 32) and header.magic != b"ZSOZ":
        yield f"its header gives its own length as {header.header_size}, which all programs ignore"
    if header.magic == b"ZISO" and blocks.codec is not Codec.LZ4:
        names: dict[AnyCodec, str] = {Codec.ZSTD: "Zstandard", Codec.ZLIB: "zlib"}
        name = names.get(blocks.codec, "other")
        yield f"its header implies LZ4, as in any ZSO, but its blocks are {name} data"
    if blocks.fills_sector:
        return
    if 0 < blocks.ends_early < 1 << header.shift and blocks.rule is Rule.FLAGGED:
        yield "its last index entry is rounded down; some programs cannot read the last block"
    elif blocks.rule in (Rule.FLAGGED, Rule.CISO2) and blocks.ends_early:
        yield f"{blocks.ends_early:,} unused bytes follow the last block"
