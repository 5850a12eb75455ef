"""An image as a stream of chunks: read and processed on all cores, delivered in order.

Memory is bounded: a chunk is reused when all consumers are done with it.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import Generic, Protocol, TypeVar

from zsofs.formats.geometry import Geometry
from zsofs.images.checksums import Digester

MEMORY = 96 << 20
"""Maximum bytes of chunks and encoders. With Python and its modules (35 MiB) and freed memory that
the C library keeps, that stays below 200 MiB."""

_CHUNK_SIZE = 1 << 20
"""Approximate plain bytes of a chunk. One takes 1 to 50 ms, so that the cost of passing it on is
negligible, and the last ones do not leave other cores idle for long."""

_PLAIN_UNIT = 64 << 10
"""Unit of reading a plain image in bytes; the value does not matter."""


class Streamable(Protocol):
    """An image that can be read from its beginning to its end."""

    @property
    def size(self) -> int:
        """Bytes of the image."""

    @property
    def geometry(self) -> Geometry | None:
        """Layout of its blocks; None if it has none."""

    @property
    def in_order(self) -> bool:
        """Whether each part waits until those before it were read."""

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fill *out* with the bytes at *offset*; for any thread."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def streaming_unit(image: Streamable) -> int:
    """Return the block size for a :func:`stream` that creates no blocks, in plain bytes."""
    return _PLAIN_UNIT if image.geometry is None else image.geometry.block_size


def chunk_size(block_size: int, image: Streamable) -> int:
    """Return the size of a chunk of whole blocks, in plain bytes; at most that of the image.

    If *image* is stored in larger blocks, a chunk is one of those, so that none is decoded twice.

    Args:
        block_size: plain bytes per block of the output.
        image: the input.
    """
    wanted = _CHUNK_SIZE
    stored_in = _source_block_size(image)
    if stored_in > wanted and stored_in % block_size == 0:
        wanted = stored_in
    blocks = min(max(wanted // block_size, 1), -(-image.size // block_size))
    return blocks * block_size


def _source_block_size(image: Streamable) -> int:
    """Return the plain bytes per block of the stored image; 1 for a plain image."""
    return 1 if image.geometry is None else image.geometry.block_size


def _reading_memory(image: Streamable, size: int) -> int:
    """Return the additional memory for reading a chunk of *size* bytes.

    That is stored bytes, up to twice a block, and whole blocks if a chunk is smaller.
    """
    block_size = _source_block_size(image)
    if block_size <= _CHUNK_SIZE:
        return 0
    return (2 if size % block_size == 0 or size >= image.size else 4) * block_size


class Chunk:
    """A part of the image.

    Attributes:
        offset: offset of its first byte in the image.
        plain: its plain bytes.
    """

    def __init__(self, size: int) -> None:
        self.offset = 0
        self._memory = memoryview(bytearray(size))
        self.plain = self._memory
        self._is_read = Event()
        self._held: list[Future[None]] = []

    def begin(self, offset: int, size: int) -> None:
        """Reuse the chunk for another part of the image, which is not read yet."""
        self.offset = offset
        self.plain = self._memory[:size]
        self._is_read.clear()
        self._held.clear()

    def read(self, image: Streamable) -> None:
        """Read the bytes from *image*."""
        try:
            image.read_into(self.offset, self.plain)
        finally:
            self.give_up()

    def give_up(self) -> None:
        """Release all threads that wait for the bytes."""
        self._is_read.set()

    def hand_to(self, digester: Digester) -> None:
        """Let *digester* process the bytes as soon as they are read."""
        self._held += digester.add(self._when_read)

    def _when_read(self) -> memoryview:
        self._is_read.wait()
        return self.plain

    def wait(self) -> None:
        """Wait until no consumer needs the bytes any more."""
        for holder in self._held:
            holder.result()


AnyChunk = TypeVar("AnyChunk", bound=Chunk)


class Stream(Generic[AnyChunk]):
    """The chunks of an image, in order."""

    def __init__(
        self,
        image: Streamable,
        workers: ThreadPoolExecutor,
        chunks: Sequence[AnyChunk],
        size: int,
        work: Callable[[AnyChunk], None] | None,
        digester: Digester | None,
    ) -> None:
        self._image = image
        self._workers = workers
        self._free = deque(chunks)
        self._size = size
        self._work = work
        self._digester = digester

    def __iter__(self) -> Iterator[AnyChunk]:
        """Yield the chunks in order, each valid until the next is requested.

        Raises:
            zsofs.errors.ZsofsError: the image is damaged, or has changed.
            OSError: it could not be read.
        """
        under_way: deque[tuple[AnyChunk, Future[None]]] = deque()
        offset = 0
        while offset < self._image.size or under_way:
            while self._free and offset < self._image.size:
                chunk = self._free.popleft()
                chunk.begin(offset, min(self._size, self._image.size - offset))
                offset += self._size
                if self._digester is not None:
                    chunk.hand_to(self._digester)
                under_way.append((chunk, self._workers.submit(self._make, chunk)))
            chunk, done = under_way.popleft()
            done.result()
            yield chunk
            chunk.wait()
            self._free.append(chunk)

    def _make(self, chunk: AnyChunk) -> None:
        chunk.read(self._image)
        if self._work is not None:
            self._work(chunk)


@contextmanager
def stream(
    image: Streamable,
    make_chunk: Callable[[int], AnyChunk],
    block_size: int,
    *,
    workers: int,
    chunk_memory: int = 0,
    work: Callable[[AnyChunk], None] | None = None,
    digester: Digester | None = None,
) -> Iterator[Stream[AnyChunk]]:
    """Read an image in chunks of whole blocks.

    Args:
        image: the input.
        make_chunk: creates a chunk with room for that many plain bytes.
        block_size: plain bytes per block.
        workers: number of worker threads.
        chunk_memory: additional memory of a chunk in bytes.
        work: function that a worker thread calls for each chunk after it was read.
        digester: receives all of the image.
    """
    size = chunk_size(block_size, image)
    # One thread more waits for the process that decodes, while all others encode.
    workers += image.in_order
    room = MEMORY // 2 // max(size + chunk_memory + _reading_memory(image, size), 1)
    chunks = [make_chunk(size) for _ in range(max(min(2 * workers + 2, room), 2))]
    pool = ThreadPoolExecutor(workers, thread_name_prefix="chunk")
    with ExitStack() as stack:
        stack.callback(pool.shutdown, cancel_futures=True)
        for chunk in chunks:  # before the threads end: the digester may wait for a chunk
            stack.callback(chunk.give_up)
        yield Stream(image, pool, chunks, size, work, digester)
