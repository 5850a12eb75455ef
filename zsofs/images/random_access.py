"""Random access to the plain image in a container, whose blocks are decoded as a whole."""

from zsofs.formats.geometry import Geometry
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
