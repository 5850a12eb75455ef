"""The native reader of a container before it has the map of a CHD and the parents."""

from zsofs.formats.geometry import AnyCodec, Geometry
from zsofs.images.source_file import OpenSource
from zsofs.native.block_reader import BlockReader


def bare_reader(
    geometry: Geometry, source: OpenSource, codec: AnyCodec | None = None
) -> BlockReader:
    """Return the reader of the blocks of a container; that of a CHD still needs its map.

    Args:
        geometry: where the blocks lie.
        source: the file; its size and modification time are checked by each read.
        codec: codec of the compressed blocks; None: the first one of *geometry*.
    """
    return BlockReader(
        rule=geometry.rule,
        codec=geometry.codecs[0] if codec is None else codec,
        shift=geometry.shift,
        size=geometry.size,
        block_size=geometry.block_size,
        index_offset=geometry.index_offset,
        data_start=geometry.data_start,
        data_end=geometry.data_end,
        source_size=source.size,
        source_mtime_ns=source.mtime_mark,
    )
