"""Outputs that exist before a run: whether one is a copy of its input, by its bytes."""

import os
from contextlib import ExitStack

from zsofs.errors import InputError, SourceChangedError, ZsofsError
from zsofs.images.checksums import Digests, digester
from zsofs.images.input_image import Original, original
from zsofs.images.pipeline import Chunk, cores, stream, streaming_unit
from zsofs.pack.atomic_file import sync_folder
from zsofs.pack.packer import PackInput, check_seal
from zsofs.pack.read_back import Watcher


class _PairedChunk(Chunk):
    """A part of an image, and the same part of another one.

    Attributes:
        is_same: whether both were read, and are equal.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.is_same = False
        self._beside = memoryview(bytearray(size))

    def compare(self, other: Original) -> None:
        """Read the same part of *other*, and compare."""
        beside = self._beside[: len(self.plain)]
        try:
            other.read_into(self.offset, beside)
        except ZsofsError:  # damaged
            self.is_same = False
        else:  # as bytes, for which that is one memcmp
            self.is_same = self.plain.tobytes() == beside.tobytes()


def compared(
    image: PackInput, path: str, watcher: Watcher, *, packed: bool, from_disk: bool = False
) -> Digests | None:
    """Return the SHA-1 of an image if the file *path* has the same image; None if it does not.

    Both are read completely, or as far as they are equal.

    Args:
        image: the image.
        path: path of the other file.
        watcher: receives progress.
        packed: whether the other file has to be a container; otherwise a plain image.
        from_disk: sync the other file first, and read it from the disk: the input is to be deleted.

    Raises:
        ZsofsError: the input is damaged or has changed, or the other file has.
        OSError: the other file cannot be synced.
    """
    with ExitStack() as stack:
        try:
            other = stack.enter_context(original(path, as_it_is=not packed))
        except ZsofsError:
            return None
        if other.size != image.size or (other.disc is not None) is not packed or other.seal_error:
            return None
        if from_disk:
            settle(other.source.fd, path)
        digests = _digests_if_same(image, other, watcher)
        if digests is None or (other.seal is not None and other.seal.sha1 != digests.sha1):
            return None
        check_seal(image, digests)
        image.check_unchanged()
        _check_in_place(other, path)
        return digests


def _digests_if_same(image: PackInput, other: Original, watcher: Watcher) -> Digests | None:
    unit = max(streaming_unit(image), streaming_unit(other))
    with (
        digester(every=False) as taker,
        stream(
            image,
            _PairedChunk,
            unit,
            workers=cores(),
            chunk_memory=2 * max(unit, 1 << 20),
            work=lambda chunk: chunk.compare(other),
            digester=taker,
        ) as chunks,
    ):
        for chunk in chunks:
            if not chunk.is_same:
                return None
            watcher.advance(len(chunk.plain), 0)
        return taker.result()


def _check_in_place(other: Original, path: str) -> None:
    """Check that the file that was compared is unchanged and has its name.

    Raises:
        InputError: it has changed, or has gone.
    """
    try:
        other.check_unchanged()
        is_there = os.path.samestat(os.stat(path), other.status)
    except (OSError, SourceChangedError):
        is_there = False
    if not is_there:
        raise InputError(f"{path} was replaced or modified while it was compared; try again")


def settle(fd: int, path: str) -> None:
    """Sync a file that another program may have written, so that it is read back from the disk.

    Args:
        fd: a descriptor of it.
        path: its path.

    Raises:
        OSError: it cannot be synced.
    """
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    sync_folder(os.path.dirname(path))
