"""Where a container is written to, and its index, which is buffered."""

from typing import Protocol

from zsofs.formats.ciso_header import INDEX_OFFSET
from zsofs.native.encoder import crc32

_INDEX_SLICE = 64 << 10
"""Bytes of the index that are buffered; the complete index is never in memory."""


class Sink(Protocol):
    """Destination of a container."""

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write *data* at *offset*."""

    def is_written_to(self, offset: int) -> None:
        """Report that everything up to *offset* is written, except header and index."""


class Nowhere:
    """A sink that discards data, to measure the packed size."""

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """See :class:`Sink`."""

    def is_written_to(self, offset: int) -> None:
        """See :class:`Sink`."""


class IndexWriter:
    """Buffered writer of the index."""

    def __init__(self, sink: Sink) -> None:
        self.crc32 = 0
        self._sink = sink
        self._offset = INDEX_OFFSET
        self._entries = bytearray()

    def add(self, entries: bytes) -> None:
        """Append entries."""
        self._entries += entries
        if len(self._entries) >= _INDEX_SLICE:
            self.flush()

    def flush(self) -> None:
        """Write the buffered entries."""
        self._sink.write(bytes(self._entries), self._offset)
        self.crc32 = crc32(self._entries, self.crc32)
        self._offset += len(self._entries)
        self._entries.clear()
