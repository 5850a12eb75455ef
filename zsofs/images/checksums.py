"""Checksums of a stream of image data: CRC-32, MD5 and SHA-1, in their own threads."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from zsofs.native.encoder import crc32


@dataclass(frozen=True, slots=True)
class Digests:
    """Checksums as lower-case hexadecimal digits; empty if not requested."""

    crc32: str = ""
    md5: str = ""
    sha1: str = ""


class Digester:
    """Computes checksums of the pieces of an image, which it receives in order.

    OpenSSL's MD5 does 0.9 GB/s here, its SHA-1 2.2 and libdeflate's CRC-32 more than 10: the last
    two share a thread, so that MD5 determines the throughput.
    """

    def __init__(self, stack: ExitStack, *, every: bool) -> None:
        """Create it; *every* requests all three checksums, otherwise SHA-1 only.

        The threads end with *stack*.
        """
        self._every = every
        self._crc32 = 0
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._first = _one_thread(stack, "sha1")
        self._second = _one_thread(stack, "md5") if every else None

    def add(self, piece: Callable[[], memoryview]) -> "list[Future[None]]":
        """Add a piece.

        Args:
            piece: waits for the piece and returns it.

        Returns:
            Futures that are done when its memory is no longer needed.
        """
        begun = [self._first.submit(self._add_first, piece)]
        if self._second is not None:
            begun.append(self._second.submit(self._add_second, piece))
        return begun

    def _add_first(self, piece: Callable[[], memoryview]) -> None:
        data = piece()
        self._sha1.update(data)
        if self._every:
            self._crc32 = crc32(data, self._crc32)

    def _add_second(self, piece: Callable[[], memoryview]) -> None:
        self._md5.update(piece())

    def result(self) -> Digests:
        """Return the checksums of all pieces added."""
        sha1 = self._sha1.hexdigest()
        if not self._every:
            return Digests(sha1=sha1)
        return Digests(f"{self._crc32:08x}", self._md5.hexdigest(), sha1)


def _one_thread(stack: ExitStack, name: str) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)
    stack.callback(pool.shutdown, cancel_futures=True)
    return pool


@contextmanager
def digester(*, every: bool) -> Iterator[Digester]:
    """Provide a digester whose threads end with the context."""
    with ExitStack() as stack:
        yield Digester(stack, every=every)
