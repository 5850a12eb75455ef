"""Images that are read completely, with progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from zsofs.errors import InputError, ZsofsError
from zsofs.images.checksums import digester
from zsofs.images.pipeline import Chunk, Streamable, cores, stream


class Watcher(Protocol):
    """Receiver of progress."""

    def advance(self, plain: int, stored: int) -> None:
        """Report that *plain* more bytes of the image were processed, into *stored* bytes."""

    def check(self) -> None:
        """Report that the output is now read back; :meth:`advance` starts again at 0."""


class Silent:
    """A :class:`Watcher` that reports nothing."""

    def advance(self, plain: int, stored: int) -> None:
        """Do nothing."""

    def check(self) -> None:
        """Do nothing."""


@contextmanager
def reading_back() -> Iterator[None]:
    """Context in which the output is read back.

    Raises:
        InputError: it differs from the input, for the reason raised within the context.
    """
    try:
        yield
    except ZsofsError as error:
        raise InputError(
            "verification failed, the data read back differs from the data written; the disk"
            f" may be failing: {error}"
        ) from error


def sha1_of(image: Streamable, block_size: int, watcher: Watcher) -> str:
    """Return the SHA-1 of an image, read and decoded on all cores."""
    with (
        digester(every=False) as taker,
        stream(image, Chunk, block_size, workers=cores(), digester=taker) as chunks,
    ):
        for chunk in chunks:
            watcher.advance(len(chunk.plain), 0)
        return taker.result().sha1
