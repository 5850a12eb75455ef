"""Random access to the plain image in a container, whose blocks are decoded as a whole."""

from collections.abc import Callable

from zsofs.formats.geometry import Geometry
from zsofs.images.probe import block_reader, memory_for
from zsofs.images.source_file import OpenSource
from zsofs.native.block_reader import BlockReader


def read_range(
    reader: BlockReader, fd: int, geometry: Geometry, offset: int, out: memoryview
) -> None:
    """Fill *out* with plain bytes of an image; may wait for a disk.

    Blocks are decoded directly into *out* if it takes whole blocks, otherwise into a temporary
    buffer.

    Args:
        reader: block reader of the container.
        fd: descriptor of the container.
        geometry: layout of its blocks.
        offset: offset of the first byte in the image.
        out: buffer with the length of the range, which must be within the image.

    Raises:
        zsofs.errors.BlockError: a block there is damaged.
        zsofs.errors.SourceChangedError: the file was modified since it was opened.
        OSError: the file cannot be read.
    """
    span = geometry.span(offset, len(out))
    if span.is_exact:
        reader.read(fd, span.first, span.block_count, out)
        return
    blocks = bytearray(span.block_count * geometry.block_size)
    reader.read(fd, span.first, span.block_count, blocks)
    out[:] = memoryview(blocks)[span.skip : span.skip + len(out)]


def plain_bytes(source: OpenSource, geometry: Geometry) -> Callable[[int, int], bytes]:
    """Return ``read(offset, size)`` for the plain bytes of an image, fewer at its end.

    It may wait for a disk, and raises like :func:`read_range`.

    Args:
        source: the container.
        geometry: layout of its blocks.
    """
    reader = block_reader(geometry, source)

    def read(offset: int, size: int) -> bytes:
        end = min(offset + size, geometry.size)
        if end <= offset:
            return b""
        count = geometry.span(offset, end - offset).block_count
        with memory_for(source.device, count * geometry.block_size):
            out = bytearray(end - offset)
            read_range(reader, source.fd, geometry, offset, memoryview(out))
            return bytes(out)

    return read
