"""Packing one disc: from an open image to a whole, checked file."""

import os
import queue
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from zsofs import __version__
from zsofs.errors import InputError, ZsofsError, reason
from zsofs.formats.ciso_header import INDEX_OFFSET
from zsofs.formats.seal import Seal
from zsofs.formats.ziso_writer import SECTOR, ContainerLayout
from zsofs.images.checksums import Digester, Digests, digester
from zsofs.images.input_image import Original, original
from zsofs.images.pipeline import MEMORY, Chunk, chunk_size, cores, stream
from zsofs.native.encoder import Encoder, crc32, index_entries
from zsofs.pack.atomic_file import NewFile, new_file
from zsofs.pack.presets import Packing

_INDEX_SLICE = 64 << 10
"""Bytes of the index that are written at a time: it is never in memory as a whole."""


class Watcher(Protocol):
    """Is told how it goes."""

    def advance(self, plain: int, stored: int) -> None:
        """So many more bytes of the image were taken, and became so many stored ones."""

    def check(self) -> None:
        """What was written is now read back; :meth:`advance` starts again."""


@dataclass(frozen=True, slots=True)
class PackOptions:
    """How careful to be.

    Attributes:
        verify: read back what was written, and compare it with what was read.
        digests: make checksums of the image.
        replace: a file that has the name of the new one may go.
    """

    verify: bool = True
    digests: bool = True
    replace: bool = False


@dataclass(frozen=True, slots=True)
class PackResult:
    """What became of an image.

    Attributes:
        size: of the file that was made, in bytes.
        digests: of the image.
        remarks: what a person should hear of the new file.
        error: why the new file, which is complete, may not survive a power cut; mostly empty.
    """

    size: int
    digests: Digests
    remarks: tuple[str, ...] = ()
    error: str = ""


class _Sink(Protocol):
    """Where a container goes."""

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Take *data* at *offset*."""

    def is_written_to(self, offset: int) -> None:
        """Everything up to *offset* is there, but for header and index."""


class _Nowhere:
    """For who only wants to know how long it would be."""

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """See :class:`_Sink`."""

    def is_written_to(self, offset: int) -> None:
        """See :class:`_Sink`."""


def measure(image: Original, how: Packing, care: PackOptions, watcher: Watcher) -> int:
    """How long the packed file would be, in bytes; nothing is written."""
    layout = how.layout(image.size, raw_cd=image.raw_cd)
    end, _ = _write(image, layout, how, _Nowhere(), None, watcher)
    if layout.has_seal and care.digests:
        # It has as many bytes whatever the checksums are, so none are taken.
        end += len(_seal(layout, 0, Digests("0" * 8, "0" * 32, "0" * 40)).to_bytes())
    return end


def pack(
    image: Original, target: str, how: Packing, care: PackOptions, watcher: Watcher
) -> PackResult:
    """Pack *image* into the new file *target*.

    It gets that name when all of it is on the disk, was read back and decoded from there to the
    bytes that were read, and the file of the image is still as it was.

    Raises:
        InputError: it could not be done; there is nothing under that name then.
    """
    layout = how.layout(image.size, raw_cd=image.raw_cd)
    with new_file(target) as file:
        try:
            digests, seal, end = _write_whole(image, layout, how, file, care, watcher)
            file.settle(image.status)
            if care.verify:
                watcher.check()
                _check(file, layout, digests, seal, watcher)
            image.check_unchanged()
            file.take_name(replace=care.replace)
        except OSError as error:
            raise InputError(f"{target} cannot be written: {reason(error)}") from error
    return PackResult(end, digests, (*file.remarks, *_remarks(layout)), file.error)


def _remarks(layout: ContainerLayout) -> tuple[str, ...]:
    """A note on a file that ziso.py, with which many people unpack, would cut."""
    left_over = layout.size % layout.block_size
    if layout.has_seal or not left_over or layout.block_size <= SECTOR:
        return ()
    return (
        f"ziso.py would omit the last {left_over} bytes when unpacking, because they do not"
        f" fill a block of {layout.block_size}; unpack it with zsofs, or pack it with --for"
        " console",
    )


def _write_whole(
    image: Original,
    layout: ContainerLayout,
    how: Packing,
    file: NewFile,
    care: PackOptions,
    watcher: Watcher,
) -> tuple[Digests, Seal | None, int]:
    """Write header, index, blocks and seal; returns the digests, the seal, and the file's size."""
    with ExitStack() as stack:
        taker = None
        if care.digests and (care.verify or layout.has_seal or image.seal is not None):
            taker = stack.enter_context(digester(every=layout.has_seal))
        end, index_crc32 = _write(image, layout, how, file, taker, watcher)
        digests = taker.result() if taker is not None else Digests()
    check_seal(image, digests)
    file.write(layout.header(), 0)
    seal = None
    if layout.has_seal and care.digests:
        seal = _seal(layout, index_crc32, digests)
        stored = seal.to_bytes()
        file.write(stored, end)
        end += len(stored)
    os.ftruncate(file.fd, end)
    return digests, seal, end


def _seal(layout: ContainerLayout, index_crc32: int, digests: Digests) -> Seal:
    return Seal(
        __version__,
        layout.header(),
        f"{index_crc32:08x}",
        layout.size,
        digests.crc32,
        digests.md5,
        digests.sha1,
    )


def check_seal(image: Original, digests: Digests) -> None:
    """Compare what was read with what the image's own container says of it.

    Raises:
        InputError: they differ.
    """
    if image.seal is not None and digests.sha1 and image.seal.sha1 != digests.sha1:
        raise InputError(
            f"the image has SHA-1 {digests.sha1}, but the seal has {image.seal.sha1}: one of"
            " them is"
            " damaged"
        )


class _PackedChunk(Chunk):
    """A chunk with its stored blocks.

    Attributes:
        stored: the stored blocks, one after another.
        lengths: of each of them, as the encoder gives them.
        length: of all of them, in bytes.
        filler: the byte that may follow them.
    """

    def __init__(self, size: int, room: int, blocks: int) -> None:
        super().__init__(size)
        self.stored = memoryview(bytearray(room))
        self.lengths = array("I", bytes(4 * blocks))
        self.length = 0
        self.filler = 0


def _write(
    image: Original,
    layout: ContainerLayout,
    how: Packing,
    sink: _Sink,
    taker: Digester | None,
    watcher: Watcher,
) -> tuple[int, int]:
    """Write blocks and index, and what follows them in front of a seal.

    Returns:
        Where the file ends without a seal, and the CRC-32 of the index.
    """
    filler = 0
    position = layout.data_start >> layout.shift
    index = _IndexWriter(sink)
    with _packed_chunks(image, layout, how, taker) as chunks:
        for chunk in chunks:
            count = -(-len(chunk.plain) // layout.block_size)
            begin = position << layout.shift
            sink.write(chunk.stored[: chunk.length], begin)
            entries, position = index_entries(chunk.lengths, count, position)
            index.add(entries)
            sink.is_written_to(begin + chunk.length)
            watcher.advance(len(chunk.plain), chunk.length)
            filler = chunk.filler
    index.add(position.to_bytes(4, "little"))
    index.flush()
    data_end = position << layout.shift
    end = layout.end_of_file(data_end)
    sink.write(bytes([filler]) * (end - data_end), data_end)
    return end, index.crc32


@contextmanager
def _packed_chunks(
    image: Original, layout: ContainerLayout, how: Packing, taker: Digester | None
) -> Iterator[Iterator[_PackedChunk]]:
    """The image in chunks that are packed by all cores."""
    encoders: queue.SimpleQueue[Encoder] = queue.SimpleQueue()
    first = Encoder(layout.codec, how.level, layout.block_size, layout.shift)
    workers = max(min(cores(), MEMORY // 2 // first.memory), 1)
    encoders.put(first)
    for _ in range(workers - 1):
        encoders.put(Encoder(layout.codec, how.level, layout.block_size, layout.shift))

    def work(chunk: _PackedChunk) -> None:
        encoder = encoders.get()
        try:
            chunk.length = encoder.encode(chunk.plain, chunk.stored, chunk.lengths)
            chunk.filler = encoder.filler
        finally:
            encoders.put(encoder)

    room = first.room(chunk_size(layout.block_size, image))
    with stream(
        image,
        lambda size: _PackedChunk(size, room, size // layout.block_size),
        layout.block_size,
        workers=workers,
        chunk_memory=room,
        work=work,
        digester=taker,
    ) as chunks:
        yield iter(chunks)


class _IndexWriter:
    """Writes the index bit by bit."""

    def __init__(self, sink: _Sink) -> None:
        self.crc32 = 0
        self._sink = sink
        self._offset = INDEX_OFFSET
        self._entries = bytearray()

    def add(self, entries: bytes) -> None:
        """Take the entries that follow."""
        self._entries += entries
        if len(self._entries) >= _INDEX_SLICE:
            self.flush()

    def flush(self) -> None:
        """Write what has been taken."""
        self._sink.write(bytes(self._entries), self._offset)
        self.crc32 = crc32(self._entries, self.crc32)
        self._offset += len(self._entries)
        self._entries.clear()


def _check(
    file: NewFile, layout: ContainerLayout, digests: Digests, seal: Seal | None, watcher: Watcher
) -> None:
    """Read the new file back as any reader would; raises as :func:`reading_back`."""
    with reading_back(), original(file.path) as copy:
        codec = copy.disc and copy.disc.codec
        if (codec, copy.size) != (layout.codec, layout.size) and layout.size:
            raise InputError(
                f"it is recognized as {copy.size} bytes of {codec.name if codec else 'no codec'},"
                f" not as {layout.size} bytes of {layout.codec.name}"
            )
        sha1 = sha1_of(copy, layout.block_size, watcher)
        if sha1 != digests.sha1:
            raise InputError(f"its SHA-1 is {sha1}, but the SHA-1 of the input is {digests.sha1}")
        if copy.seal != seal:
            raise InputError(copy.seal_error or "its seal differs from the one that was written")


@contextmanager
def reading_back() -> Iterator[None]:
    """Read back what was written.

    Raises:
        InputError: it does not hold what was read, for the reason raised within the context.
    """
    try:
        yield
    except ZsofsError as error:
        raise InputError(
            "verification failed, the data read back differs from the data written; the disk"
            f" may be failing: {error}"
        ) from error


def sha1_of(image: Original, block_size: int, watcher: Watcher) -> str:
    """SHA-1 of all of an image, read and decoded by all cores."""
    with (
        digester(every=False) as taker,
        stream(image, Chunk, block_size, workers=cores(), digester=taker) as chunks,
    ):
        for chunk in chunks:
            watcher.advance(len(chunk.plain), 0)
        return taker.result().sha1
