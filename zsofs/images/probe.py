"""Detection of what a header does not specify: the codec of the payload, and the kind of disc."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from zsofs.errors import BlockError, DamagedError, ForeignError, FormatError, StaleNodeError
from zsofs.formats.ciso_header import entry_offset, has_flag, read_entries
from zsofs.formats.containers import identify
from zsofs.formats.geometry import AnyCodec, Codec, Geometry
from zsofs.formats.ziso import ZSTD_MAGIC
from zsofs.images.bare_reader import bare_reader
from zsofs.images.chd_file import use_chd
from zsofs.images.source_file import OpenSource
from zsofs.native.block_reader import BlockReader

_SAMPLE = 8
"""Compressed blocks tried before a codec is chosen if not all of the first blocks decode. Random
data practically never decodes as LZ4 to the exact length, but a block may be damaged."""

FIRST_BYTES = 40 << 10
"""Plain bytes tried at once: up to the volume descriptor in sector 16, which every disc has and no
writer can omit, including images with 2352-byte sectors."""

_HEAD_SIZE = 4096
"""Bytes read from the start of a file: header and first index entries, one page."""

_OPENED_SIZE = 64 << 10
"""Bytes read from the start of a file that is opened: with them, the index of 32 MiB in blocks of
2 KiB is in memory. A hard disk takes 0.5 ms longer, and 8 for going there again."""

_SAMPLED_BYTES = 4 << 20
_FEWEST_SAMPLES = 3
"""Minimum number of sampled blocks. A file can have blocks of 16 MiB, which take a second each, so
samples are otherwise limited by their plain bytes."""

_INDEX_SLICE = 1024
"""Index entries examined at a time: 4 KiB, one page. The first slice of any real disc has
compressed blocks; more slices are read only if it has none."""

_FIRST_SLICES = 16
_MORE_SLICES = 48
"""Maximum number of slices: those at the start, and others spread over the rest. The index of an
image of 64 GiB has 128 MiB."""

_LARGE_READ = 1 << 20
"""Plain bytes decoded at once from which a probe waits for other probes on the same disk."""

_VOLUME_DESCRIPTOR = 32 << 10
"""Offset of the first volume descriptor in an image of 2048-byte sectors (ECMA-119, 6.2.1)."""

_CD_SYNC = b"\x00" + b"\xff" * 10 + b"\x00"
"""Sync pattern of a raw CD sector (ECMA-130, 14)."""

CD_SYNC_SIZE = len(_CD_SYNC)
"""Bytes from the start of an image that :func:`is_raw_cd` needs."""


@dataclass(slots=True)
class Disc:
    """Facts about a container that a listing needs.

    Attributes:
        container: name of the container format.
        codec: codec of its compressed blocks.
        size: size of the plain image in bytes.
        block_size: plain bytes per block.
        raw_cd: whether the image has raw CD sectors of 2352 bytes.
        remarks: irregularities, for the user.
    """

    container: str
    codec: AnyCodec
    size: int
    block_size: int
    raw_cd: bool
    remarks: tuple[str, ...] = ()


_large_reads: dict[int, threading.Lock] = {}


@contextmanager
def memory_for(device: int, size: int) -> Iterator[None]:
    """Wait until *size* bytes may be decoded at once: one large buffer per disk at a time.

    Otherwise each scanning thread could take up to 64 MiB.

    Args:
        device: st_dev of the file.
        size: plain bytes that are decoded within the context.
    """
    if size <= _LARGE_READ:
        yield
        return
    with _large_reads.setdefault(device, threading.Lock()):
        yield


class _Head:
    """A source file with its first bytes cached."""

    def __init__(self, source: OpenSource, size: int = _HEAD_SIZE) -> None:
        self.size = source.size
        self._source = source
        self._head = source.read_at(0, size)

    def read_at(self, offset: int, size: int) -> bytes:
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        return self._source.read_at(offset, size)


def probe(source: OpenSource) -> Disc | None:
    """Return the facts about a container; None for any other file.

    Raises:
        zsofs.errors.FormatError: as :func:`probe_image`.
        OSError: the file cannot be read.
    """
    found = probe_image(source)
    return None if found is None else found[0]


def probe_image(source: OpenSource) -> tuple[Disc, bytes | bytearray] | None:
    """Return the facts about a container, and the start of its image; None for any other file.

    Three places of the file are read: its header, the end of its index, and the first blocks. May
    wait for a disk.

    Args:
        source: the file.

    Returns:
        The container, and :data:`FIRST_BYTES` or more bytes of the image; fewer if the image is
        shorter or they do not decode.

    Raises:
        zsofs.errors.FormatError: the file is a container, but it is truncated, damaged or of a kind
            that zsofs does not support.
        OSError: the file cannot be read.
    """
    head = _Head(source)
    geometry = identify(head)
    if geometry is None:
        return None
    codec, first = _decide_codec(source, head, geometry)
    disc = Disc(
        geometry.container,
        codec,
        geometry.size,
        geometry.block_size,
        is_raw_cd(first),
        geometry.remarks,
    )
    return disc, first


def is_raw_cd(head: bytes | bytearray) -> bool:
    """Return whether an image has raw CD sectors of 2352 bytes.

    Args:
        head: the first bytes of the image, :data:`CD_SYNC_SIZE` or more unless it is shorter.
    """
    return head.startswith(_CD_SYNC)


def geometry_of(source: OpenSource, disc: Disc, *, is_checked: bool = False) -> Geometry:
    """Return the layout of a container that was probed before, from the present file.

    Args:
        source: the file.
        disc: result of :func:`probe`.
        is_checked: whether size and times of the file are those that a scan found *disc* with: the
            end of the index (of ZSOZ: the seal) is not read again then, which costs a hard disk an
            access.

    Returns:
        The geometry, with the codec of *disc* as its only one.

    Raises:
        zsofs.errors.StaleNodeError: the file contains another disc, or none.
        OSError: the file could not be read.
    """
    try:
        geometry = identify(_Head(source, _OPENED_SIZE), disc.size if is_checked else None)
    except FormatError:
        geometry = None
    if (
        geometry is None
        or (geometry.size, geometry.block_size) != (disc.size, disc.block_size)
        or disc.codec not in geometry.codecs
    ):
        raise StaleNodeError("the file no longer contains the disc that was listed")
    return replace(geometry, codecs=(disc.codec,))


def block_reader(
    geometry: Geometry, source: OpenSource, codec: AnyCodec | None = None
) -> BlockReader:
    """Return the native reader of the blocks of a container.

    Args:
        geometry: where the blocks lie.
        source: the file; its size and modification time are checked by each read.
        codec: codec of the compressed blocks; None: the first one of *geometry*.
    """
    reader = bare_reader(geometry, source, codec)
    if geometry.chd is not None:
        use_chd(reader, source, geometry.chd)
    return reader


class _Trial:
    """Trial decoding of an image with one codec."""

    def __init__(self, source: OpenSource, geometry: Geometry, codec: AnyCodec) -> None:
        self.codec = codec
        self._fd = source.fd
        self._device = source.device
        self._block_size = geometry.block_size
        self._reader = block_reader(geometry, source, codec)

    def decoded(self, first: int, count: int = 1) -> bytearray | None:
        """Return the start of these blocks; None if one of them does not decode."""
        size = self._block_size * count
        try:
            with memory_for(self._device, size):
                out = bytearray(size)
                self._reader.read(self._fd, first, count, out)
                del out[FIRST_BYTES:]
        except BlockError:
            return None
        return out


def _decide_codec(
    source: OpenSource, head: _Head, geometry: Geometry
) -> tuple[AnyCodec, bytes | bytearray]:
    """Return the codec that decodes most of the first compressed blocks; it is never per block.

    Returns:
        The codec, and the plain bytes at the start of the image, as far as they decode.
    """
    if not geometry.size:
        return geometry.codecs[-1], b""
    count = geometry.span(0, FIRST_BYTES).block_count
    if len(geometry.codecs) == 1:
        only = _Trial(source, geometry, geometry.codecs[0])
        return only.codec, only.decoded(0, count) or only.decoded(0) or b""
    entries = read_entries(head, 0, count, index_offset=geometry.index_offset)
    packed = [entry for entry in entries if not has_flag(entry)]
    if packed:
        # One block only determines the order: an LZ4 block cannot start like this.
        begins = head.read_at(entry_offset(packed[0], geometry.shift), len(ZSTD_MAGIC))
        likely = sorted(
            geometry.codecs, key=lambda codec: (codec is Codec.ZSTD) is not (begins == ZSTD_MAGIC)
        )
        for codec in likely:
            first = _Trial(source, geometry, codec).decoded(0, count)
            if first is not None:
                return codec, first
    trials = [_Trial(source, geometry, codec) for codec in geometry.codecs]
    best = _best_trial(head, geometry, trials)
    return best.codec, best.decoded(0) or b""


def _best_trial(head: _Head, geometry: Geometry, trials: list[_Trial]) -> _Trial:
    blocks = _packed_blocks(head, geometry)
    blocks = blocks[: max(_SAMPLED_BYTES // geometry.block_size, _FEWEST_SAMPLES)]
    if not blocks:
        return next((trial for trial in trials if trial.codec is Codec.LZ4), trials[0])
    good = dict.fromkeys(trials, 0)
    for trial in trials:
        good[trial] = sum(trial.decoded(number) is not None for number in blocks)
        if good[trial] == len(blocks):
            return trial
    best = max(trials, key=good.__getitem__)
    if good[best]:
        return best
    if head.read_at(4, 4) == b"\0\0\0\0":
        raise ForeignError(
            "this is an LZO ZISO (written by DreamShell), which zsofs does not support"
        )
    raise DamagedError(
        f"none of its first {len(blocks)} packed blocks is LZ4, Zstandard or zlib data"
    )


def _packed_blocks(head: _Head, geometry: Geometry) -> list[int]:
    """Return the numbers of the first compressed blocks, including the volume descriptor's."""
    for first in _slices(geometry.block_count):
        count = min(geometry.block_count - first, _INDEX_SLICE)
        entries = read_entries(head, first, count, index_offset=geometry.index_offset)
        packed = [first + at for at, entry in enumerate(entries) if not has_flag(entry)]
        if packed:
            chosen = packed[:_SAMPLE]
            descriptor = _VOLUME_DESCRIPTOR // geometry.block_size
            if descriptor in packed and descriptor not in chosen:
                chosen[-1] = descriptor
            return chosen
    return []


def _slices(count: int) -> Iterator[int]:
    """Yield the starts of the slices examined in an index of *count* entries."""
    slices = -(-count // _INDEX_SLICE)
    yield from range(0, min(slices, _FIRST_SLICES) * _INDEX_SLICE, _INDEX_SLICE)
    rest = max(slices - _FIRST_SLICES, 0)
    for number in range(min(rest, _MORE_SLICES)):
        yield (_FIRST_SLICES + rest * number // min(rest, _MORE_SLICES)) * _INDEX_SLICE
