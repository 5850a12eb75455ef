"""Checksums of a stream of image data: CRC-32, MD5 and SHA-1, in their own threads."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from zsofs.native.encoder import crc32


@dataclass(frozen=True, slots=True)
class Digests:
    """Checksums as lower-case hexadecimal digits; empty if not requested."""

    crc32: str = ""
    md5: str = ""
    sha1: str = ""


Part = tuple[int, int]
"""Where a part of an image, such as a track, begins and ends, in bytes."""


class _Sum:
    """One checksum of a whole image and of parts of it, computed in order.

    Args:
        new: makes the state for one of them.
        parts: in order, without overlaps.
    """

    def __init__(self, new: "Callable[[], _State]", parts: Sequence[Part]) -> None:
        self._whole = new()
        self._parts = [(begin, end, new()) for begin, end in parts]
        self._first = 0
        self._offset = 0

    def add(self, data: memoryview) -> None:
        """Add the next bytes of the image."""
        begin, end = self._offset, self._offset + len(data)
        self._offset = end
        self._whole.update(data)
        for part_begin, part_end, state in self._parts[self._first :]:
            if part_begin >= end:
                break
            state.update(data[max(part_begin - begin, 0) : part_end - begin])
            self._first += part_end <= end

    def results(self) -> list[str]:
        """Return the checksum of the image, then that of each part."""
        return [state.hexdigest() for state in (self._whole, *(one[2] for one in self._parts))]


class _State(Protocol):
    def update(self, data: memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Crc32:
    """A CRC-32 in the form of :mod:`hashlib`."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: memoryview, /) -> None:
        self._value = crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def _sha1() -> _State:
    return hashlib.sha1(usedforsecurity=False)


def _md5() -> _State:
    return hashlib.md5(usedforsecurity=False)


class Digester:
    """Computes checksums of the pieces of an image, which it receives in order.

    OpenSSL's MD5 does 0.9 GB/s here, its SHA-1 2.2 and libdeflate's CRC-32 more than 10: the last
    two share a thread, so that MD5 determines the throughput.
    """

    def __init__(self, stack: ExitStack, *, every: bool, parts: Sequence[Part]) -> None:
        """Create it; *every* requests all three checksums, otherwise SHA-1 only.

        The threads end with *stack*. *parts* are in order and do not overlap.
        """
        self._sha1 = _Sum(_sha1, parts)
        self._crc32 = _Sum(_Crc32, parts) if every else None
        self._md5 = _Sum(_md5, parts) if every else None
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
        self._sha1.add(data)
        if self._crc32 is not None:
            self._crc32.add(data)

    def _add_second(self, piece: Callable[[], memoryview]) -> None:
        assert self._md5 is not None
        self._md5.add(piece())

    def result(self) -> Digests:
        """Return the checksums of all pieces added."""
        return self.results()[0]

    def results(self) -> list[Digests]:
        """Return the checksums of all pieces added, then those of each part."""
        sha1 = self._sha1.results()
        if self._crc32 is None or self._md5 is None:
            return [Digests(sha1=one) for one in sha1]
        every = zip(self._crc32.results(), self._md5.results(), sha1, strict=True)
        return [Digests(*one) for one in every]


def _one_thread(stack: ExitStack, name: str) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)
    stack.callback(pool.shutdown, cancel_futures=True)
    return pool


@contextmanager
def digester(*, every: bool, parts: Sequence[Part] = ()) -> Iterator[Digester]:
    """Provide a digester whose threads end with the context.

    Args:
        every: whether all three checksums are computed, otherwise SHA-1 only.
        parts: of the image, in order and without overlaps, that get checksums of their own.
    """
    with ExitStack() as stack:
        yield Digester(stack, every=every, parts=parts)
