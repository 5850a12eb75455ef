"""Everything that is to be known of a disc image without reading all of it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from zsofs.discs.classify import Classification, classify
from zsofs.discs.examination import Examination
from zsofs.discs.identify import Identity, identify
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
"""Plain bytes of samples that are decoded: some milliseconds."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """How the blocks of a container are stored.

    Attributes:
        header: as it stands in the file; of a DAX the same in its terms.
        codec: how packed blocks are coded.
        rule: how an index entry is read.
        count: how many there are.
        scan: what the index says of them.
        zeros: about how many hold nothing but zeros: those as short as one that does.
        dropped: bytes at the end of the image that its writer did not store.
        last_plain: whether the last one is stored plain.
        last_room: bytes from where the last one begins to the end of the data.
        ends_early: bytes from the end that the index gives to the end of the file.
        fills_sector: whether those fill the file's last 2048 bytes, for programs that copy sectors.
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
    """What is known of an image.

    Attributes:
        path: of its file.
        stored: bytes of the file.
        plain: bytes of the image.
        container: its usual name; ``plain`` where it is none.
        raw_cd: whether the image has the 2352-byte sectors of a CD.
        identity: which disc it is; None if its first blocks cannot be read.
        blocks: how a container stores it.
        content: what the image is; None if its blocks cannot be read.
        remarks: oddities a person should hear of.
        chd: how a CHD stores it.
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
    """Look at the header, the whole index, and some blocks.

    Raises:
        InputError: the file could not be read.
        zsofs.errors.SourceChangedError: it was written to meanwhile.
        OSError: its index could not be read.
    """
    blocks = _blocks(image)
    try:
        identity = identify(image.read, image.size, raw_cd=image.raw_cd)
    except BlockError:
        identity = None
    try:
        content = classify(image.read, image.size)
    except (BlockError, UnreadableError):  # which `zsofs verify` reports
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
        _decodes(image, last)  # the reader then knows of a lost last byte
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
    """Where an index entry points, and whether it has bit 31 set."""
    geometry = image.geometry
    assert geometry is not None
    entry = next(iter(read_entries(image.source, number, 1)), 0)
    return entry_offset(entry, geometry.shift), has_flag(entry)


def _zeros(image: Original, found: Scan) -> int:
    """About how many blocks are zeros.

    Those are the shortest ones, if there are any. So are blocks of any other byte alone, which is
    why some of the shortest from all over the image are looked at.
    """
    assert image.geometry is not None
    step = 1 + len(found.samples) * image.geometry.block_size // _SAMPLED_BYTES
    samples = [_decodes(image, number) for number in found.samples[::step]]
    if not samples:
        return 0
    zeros = sum(data is not None and not any(data) for data in samples)
    return found.shortest_count * zeros // len(samples)


def _decodes(image: Original, number: int) -> bytes | None:
    """A block; None if it cannot be decoded."""
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
    """The oddities of an image, in plain words."""
    yield from image.remarks
    size = image.size
    if image.is_misnamed:
        yield _misnamed(image, content)
    if image.disc is not None and is_plain_image(os.fsencode(image.path)):
        yield f"it is called like a plain image, but is a {image.disc.container}"
    if image.raw_cd:
        yield "the image has raw CD sectors of 2352 bytes: as a plain file it is a .bin, no .iso"
    elif size % 2048:
        yield (
            f"the image is no multiple of 2048 bytes: {size % 2048} are left over, which most"
            " programs do not see"
        )
    if identity is None:
        yield "the beginning of the disc cannot be read"
    else:
        yield from _remarks_on_content(image, content)
    if blocks is not None:
        yield from _remarks_on_blocks(blocks)


def _misnamed(image: Original, content: Classification | None) -> str:
    """A note on what is no container, and has the name of one."""
    if content is None:
        return NOT_PACKED
    return content.not_packed or misnamed(image.ending)


def _remarks_on_content(image: Original, content: Classification | None) -> Iterator[str]:
    """A note on an image that is cut, or is no disc image at all."""
    with suppress(BlockError, UnreadableError):  # which `zsofs verify` reports
        shortage = Examination(image).shortage
        # The remark on a misnamed image has it already.
        if content is not None and content.remark and not image.is_misnamed:
            yield content.remark
        if shortage is not None:
            yield shortage.sentence


def _remarks_on_blocks(blocks: Blocks) -> Iterator[str]:
    header, bad = blocks.header, blocks.scan.bad
    if bad:
        yield (
            f"{bad:,} of {blocks.count:,} index entries are wrong; the first:"
            f" {blocks.scan.first_bad}"
        )
    if header.magic == b"ZSO\x01":
        yield "it has a magic of its own (ZSO and a byte 1), which no other program knows"
    if header.magic == b"ZISO" and header.version == 2:
        yield "its header says version 2, but its blocks are those of version 1"
    if header.header_size not in (24, 32) and header.magic != b"ZSOZ":
        yield f"its header gives its own length as {header.header_size}, which nobody minds"
    if header.magic == b"ZISO" and blocks.codec is not Codec.LZ4:
        names: dict[AnyCodec, str] = {Codec.ZSTD: "Zstandard", Codec.ZLIB: "zlib"}
        name = names.get(blocks.codec, "other")
        yield f"its header says LZ4, as any ZSO's, but its blocks are {name} data"
    if blocks.fills_sector:
        return
    if 0 < blocks.ends_early < 1 << header.shift and blocks.rule is Rule.FLAGGED:
        yield "its last index entry is rounded down; some programs cannot read the last block"
    elif blocks.rule in (Rule.FLAGGED, Rule.CISO2) and blocks.ends_early:
        yield f"{blocks.ends_early:,} bytes follow the last block, which nobody needs"
