"""Pack one disc: from an open image to a complete, verified file."""

import os
import queue
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from zsofs import __version__
from zsofs.errors import InputError, reason
from zsofs.formats.seal import Seal
from zsofs.formats.ziso_writer import SECTOR, ContainerLayout
from zsofs.images.checksums import Digester, Digests, digester
from zsofs.images.input_image import Original, original, size_of
from zsofs.images.pipeline import MEMORY, Chunk, Streamable, chunk_size, cores, stream
from zsofs.native.encoder import Encoder, index_entries
from zsofs.pack.atomic_file import NewFile, new_file
from zsofs.pack.presets import Packing
from zsofs.pack.read_back import Watcher, reading_back, sha1_of
from zsofs.pack.sink import IndexWriter, Nowhere, Sink


class PackInput(Streamable, Protocol):
    """An image to pack: an open file, or a stream from an archive."""

    @property
    def status(self) -> os.stat_result:
        """Stat result of its file, whose mode and times the output gets."""

    @property
    def raw_cd(self) -> bool:
        """Whether it has raw CD sectors of 2352 bytes."""

    @property
    def seal(self) -> Seal | None:
        """The seal of its container, if any."""

    def check_unchanged(self) -> None:
        """Check that its file is unchanged since it was opened."""


@dataclass(frozen=True, slots=True)
class PackOptions:
    """Safety options.

    Attributes:
        verify: read the output back and compare it with the input.
        digests: compute checksums of the image.
        replace: an existing output file may be replaced.
    """

    verify: bool = True
    digests: bool = True
    replace: bool = False


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A new file under its final name.

    Attributes:
        path: of the file.
        size: of the image in bytes.
        digests: of the image.
    """

    path: str
    size: int
    digests: Digests


@dataclass(frozen=True, slots=True)
class PackResult:
    """Result of packing or unpacking an image.

    Attributes:
        size: size of the new files in bytes.
        digests: digests of the image; empty if it became several files.
        remarks: remarks on the new file for the user.
        error: why the new file, which is complete, may not survive a power failure; usually empty.
        cue_sheets: path of the cue sheet that was written beside the new files, if any.
        made: the new files, without the cue sheet.
        existing: path of a file that existed before and has this image; empty if it was written.
    """

    size: int
    digests: Digests
    remarks: tuple[str, ...] = ()
    error: str = ""
    cue_sheets: tuple[str, ...] = ()
    made: tuple[MadeFile, ...] = ()
    existing: str = ""


class ExistsError(Exception):
    """The image that was packed is in another file already, under the name that it would get.

    Attributes:
        path: of that file, which was read completely.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(path)


def measure(image: PackInput, how: Packing, options: PackOptions, watcher: Watcher) -> int:
    """Return the size of the packed file in bytes, without writing it."""
    layout = how.layout(image.size, raw_cd=image.raw_cd)
    end, _ = _write(image, layout, how, Nowhere(), None, watcher)
    if layout.has_seal and options.digests:
        # Its size does not depend on the checksums, so none are computed.
        end += len(_seal(layout, 0, Digests("0" * 8, "0" * 32, "0" * 40)).to_bytes())
    return end


def pack(
    image: PackInput,
    target: str,
    how: Packing,
    options: PackOptions,
    watcher: Watcher,
    inspect: Callable[[Original], None] | None = None,
    name: Callable[[str, Digests], str] | None = None,
) -> PackResult:
    """Pack *image* into the new file *target*.

    The file is renamed to *target* after it was synced, read back from the disk, decoded and
    compared with the input, and if the input file is unchanged.

    Args:
        image: the input.
        target: path of the output.
        how: codec, level, block size.
        options: safety options.
        watcher: receives progress.
        inspect: called with the new file before it is renamed; raises InputError if it must not be.
        name: returns the path that it gets instead, by *target* and digests; nothing is replaced.
            It raises ExistsError if nothing is to be created, because a file has the image.

    Raises:
        InputError: packing failed; *target* was not created.
    """
    with written_file(image, target, how, options, watcher) as new:
        if inspect is not None:
            with original(new.file.path) as copy:
                inspect(copy)
        image.check_unchanged()
        if name is not None:
            try:
                target = new.file.rename_to(name(target, new.digests))
            except ExistsError as there:
                return PackResult(size_of(there.path), new.digests, existing=there.path)
        new.file.take_name(replace=options.replace)
    return new.result(target, image)


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A packed file that is complete, and does not have its name yet.

    Attributes:
        file: the file.
        size: its size in bytes.
        digests: of the image.
        remarks: remarks for the user.
    """

    file: NewFile
    size: int
    digests: Digests
    remarks: tuple[str, ...]

    def result(self, path: str, image: PackInput) -> PackResult:
        """Return the result of packing *image*, when the file has its name *path*."""
        remarks = (*self.file.remarks, *self.remarks)
        made = MadeFile(path, image.size, self.digests)
        return PackResult(self.size, self.digests, remarks, self.file.error, made=(made,))


@contextmanager
def written_file(
    image: PackInput, target: str, how: Packing, options: PackOptions, watcher: Watcher
) -> Iterator[WrittenFile]:
    """Pack *image* into a new file for *target*; it is deleted on exit unless it was renamed.

    It was synced, read back from the disk, decoded and compared with the input, as *options* say.

    Args:
        image: the input.
        target: path of the output.
        how: codec, level, block size.
        options: safety options.
        watcher: receives progress.

    Raises:
        InputError: packing failed; also for an OSError within the context.
    """
    layout = how.layout(image.size, raw_cd=image.raw_cd)
    with new_file(target) as file:
        try:
            digests, seal, end = _write_whole(image, layout, how, file, options, watcher)
            file.settle(image.status)
            if options.verify:
                watcher.check()
                _check(file, layout, digests, seal, watcher)
            yield WrittenFile(file, end, digests, _remarks(layout))
        except OSError as error:
            raise InputError(f"{target} cannot be written: {reason(error)}") from error


def _remarks(layout: ContainerLayout) -> tuple[str, ...]:
    """Return a note on a file that ziso.py, a common unpacker, would truncate."""
    left_over = layout.size % layout.block_size
    if layout.has_seal or not left_over or layout.block_size <= SECTOR:
        return ()
    return (
        f"ziso.py would omit the last {left_over} bytes when unpacking, because they do not"
        f" fill a block of {layout.block_size}; unpack it with zsofs, or pack it with --for"
        " console",
    )


def _write_whole(
    image: PackInput,
    layout: ContainerLayout,
    how: Packing,
    file: NewFile,
    options: PackOptions,
    watcher: Watcher,
) -> tuple[Digests, Seal | None, int]:
    """Write header, index, blocks and seal; return the digests, the seal, and the file size."""
    with ExitStack() as stack:
        taker = None
        if options.digests and (options.verify or layout.has_seal or image.seal is not None):
            taker = stack.enter_context(digester(every=layout.has_seal))
        end, index_crc32 = _write(image, layout, how, file, taker, watcher)
        digests = taker.result() if taker is not None else Digests()
    check_seal(image, digests)
    file.write(layout.header(), 0)
    seal = None
    if layout.has_seal and options.digests:
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


def check_seal(image: PackInput, digests: Digests) -> None:
    """Compare the digests of the image with the seal of its container.

    Raises:
        InputError: they differ.
    """
    if image.seal is not None and digests.sha1 and image.seal.sha1 != digests.sha1:
        raise InputError(
            f"the image has SHA-1 {digests.sha1}, but the seal has {image.seal.sha1}: one of them"
            " is damaged"
        )


class _PackedChunk(Chunk):
    """A chunk with its stored blocks.

    Attributes:
        stored: the stored blocks, concatenated.
        lengths: their lengths, in the format of the encoder.
        length: their total length in bytes.
        filler: padding byte that may follow them.
    """

    def __init__(self, size: int, room: int, blocks: int) -> None:
        super().__init__(size)
        self.stored = memoryview(bytearray(room))
        self.lengths = array("I", bytes(4 * blocks))
        self.length = 0
        self.filler = 0


def _write(
    image: PackInput,
    layout: ContainerLayout,
    how: Packing,
    sink: Sink,
    taker: Digester | None,
    watcher: Watcher,
) -> tuple[int, int]:
    """Write the blocks, the index, and the padding before a seal.

    Returns:
        The end of the file without a seal, and the CRC-32 of the index.
    """
    filler = 0
    position = layout.data_start >> layout.shift
    index = IndexWriter(sink)
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
    image: PackInput, layout: ContainerLayout, how: Packing, taker: Digester | None
) -> Iterator[Iterator[_PackedChunk]]:
    """Provide the image in chunks that worker threads pack on all cores."""
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


def _check(
    file: NewFile, layout: ContainerLayout, digests: Digests, seal: Seal | None, watcher: Watcher
) -> None:
    """Read the new file back as any reader would; raises like :func:`reading_back`."""
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
