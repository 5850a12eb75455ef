"""Integrity check of an image: header, index, every block, and the seal if it has one."""

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice

from zsofs.discs.file_map import files_at
from zsofs.errors import BlockError, InputError, UnreadableError
from zsofs.formats.ciso_header import entry_offset, read_entries
from zsofs.formats.geometry import Rule
from zsofs.images.checksums import Digests, Part, digester
from zsofs.images.input_image import Original
from zsofs.images.pipeline import Chunk, chunk_size, cores, stream
from zsofs.inspection.chd_facts import damaged_metadata, has_sha1, other_data
from zsofs.native.index_scan import scan

_PLAIN_BLOCK = 2048
"""Block size assumed for a plain image; it only determines the size of reads."""

_PAGE = 4096
"""Bytes read from the start of a file to test whether its disk is available."""

_Bad = BlockError | UnreadableError
"""A bad block, or an unreadable range of a plain image."""

_SLICE = 1 << 20
"""Bytes of the index read at a time for its checksum."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Damage of an image.

    Attributes:
        reason: reason as a sentence; of the first bad block, if there is one.
        bad: number of bad blocks; 0 if the damage is not in a block, or the image is plain.
        block: number of the first bad block.
        file_offset: offset of its stored bytes in the file; -1 if unknown.
        image_offset: offset of its plain bytes in the image.
        files: files of the disc with bytes in it.
        map_incomplete: why *files* may be incomplete; empty if all directories were read.
    """

    reason: str
    bad: int = 0
    block: int = -1
    file_offset: int = -1
    image_offset: int = -1
    files: tuple[str, ...] = ()
    map_incomplete: str = ""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of a check.

    Attributes:
        damage: None if the image is whole.
        digests: digests of the image, if all of it was read.
        sealed: whether it was compared with its seal.
        remarks: further remarks for the user.
        parts: digests of each part that was asked for, if all of the image was read.
    """

    damage: Damage | None
    digests: Digests = field(default_factory=Digests)
    sealed: bool = False
    remarks: tuple[str, ...] = ()
    parts: tuple[Digests, ...] = ()


def check(
    image: Original, advance: Callable[[int], None], *, quick: bool, parts: Sequence[Part] = ()
) -> CheckResult:
    """Check an image.

    Args:
        image: the open image.
        advance: called with the number of plain bytes read since the last call.
        quick: check only header and index, not the blocks.
        parts: of the image that get digests of their own, such as tracks.

    Raises:
        zsofs.errors.InputError: the file could not be read.
        zsofs.errors.SourceChangedError: the file was modified meanwhile.
        OSError: its index could not be read.
    """
    is_chd = image.is_chd
    found = None
    if image.reader is not None and not is_chd:  # the map of a CHD was checked when it was opened
        found = scan(image.reader, image.source.fd)
    index = _damaged_index(image)
    remarks = [*_stray_end(image)]
    if quick:
        damage = _at(image, found.first_bad, found.bad) if found and found.first_bad else index
        if is_chd:
            damage = _as_damage(damaged_metadata(image))
        return CheckResult(damage or _damaged_seal(image), remarks=(*image.remarks, *remarks))
    (digests, *others), first, bad = _read(image, advance, parts)
    if found is not None and found.first_bad is not None:
        if not isinstance(first, BlockError) or found.first_bad.block < first.block:
            first = found.first_bad
        bad = max(bad, found.bad)
    if first is not None:
        if index is not None:
            remarks.append(index.reason)
        return CheckResult(_at(image, first, bad), remarks=(*image.remarks, *remarks))
    damage = index or _damaged_seal(image) or _differing(image, digests)
    if is_chd:
        damage = _as_damage(damaged_metadata(image) or other_data(image, digests))
    sealed = image.seal is not None or (is_chd and has_sha1(image))
    remarks = [*image.remarks, *remarks]
    return CheckResult(damage, digests, sealed and damage is None, tuple(remarks), tuple(others))


def _as_damage(reason: str) -> Damage | None:
    """The damage of what no block is to blame for; None for an empty *reason*."""
    return Damage(reason) if reason else None


def _read(
    image: Original, advance: Callable[[int], None], parts: Sequence[Part]
) -> tuple[list[Digests], _Bad | None, int]:
    """Read all of an image: return its checksums, the first bad block, and the count of bad ones.

    Bytes that the disk does not return count as bad.
    """
    block_size = image.geometry.block_size if image.geometry else _PLAIN_BLOCK
    done = 0
    try:
        with (
            digester(every=True, parts=parts) as taker,
            stream(image, Chunk, block_size, workers=cores(), digester=taker) as chunks,
        ):
            for chunk in chunks:
                done = chunk.offset + len(chunk.plain)
                advance(len(chunk.plain))
        return taker.results(), None, 0
    except (BlockError, UnreadableError):
        first, bad = _count(image, block_size, done, advance)
    if first is None:
        raise InputError(
            "a block was decoded only at the second attempt; the memory or the disk of this"
            " machine is unreliable"
        )
    return [Digests()], first, bad


def _count(
    image: Original, block_size: int, begin: int, advance: Callable[[int], None]
) -> tuple[_Bad | None, int]:
    """Return the first bad block at or after the offset *begin*, and the number of bad blocks.

    For a plain image, only the first is searched: a disk may retry each for seconds.
    """
    size = chunk_size(block_size, image)
    out = memoryview(bytearray(size))
    first: _Bad | None = None
    bad = 0
    for offset in range(begin, image.size, size):
        length = min(size, image.size - offset)
        try:
            image.read_into(offset, out[:length])
        except BlockError:
            errors = list(_bad_blocks(image, block_size, offset, out[:length]))
        except UnreadableError as error:
            with _page_by_page(image.source.fd):
                _check_disk(image, error)
                found = _bad_blocks(image, block_size, offset, out[:length])
                errors = list(islice(found, None if image.geometry else 1))
        else:
            errors = []
        first = first or next(iter(errors), None)
        bad += len(errors)
        if first is not None and image.geometry is None:
            break
        advance(length)
    return first, bad


def _bad_blocks(image: Original, block_size: int, begin: int, out: memoryview) -> Iterator[_Bad]:
    for at in range(0, len(out), block_size):
        try:
            image.read_into(begin + at, out[at : at + block_size])
        except BlockError as error:
            yield error
        except UnreadableError as error:
            yield _as_block(image, (begin + at) // block_size, error)


@contextmanager
def _page_by_page(fd: int) -> Iterator[None]:
    """Drop a file from the page cache, and disable read-ahead within the context.

    A read-ahead fails as a whole, and its pages keep failing while they are cached.
    """
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        yield
    finally:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_NORMAL)


def _check_disk(image: Original, error: UnreadableError) -> None:
    """Check whether the disk still exists; if not, nothing is known about the image.

    Raises:
        UnreadableError: the start of the file, which was readable before, cannot be read now.
    """
    try:
        image.source.read_at(0, _PAGE)
    except OSError:
        raise error from None


def _as_block(image: Original, number: int, error: UnreadableError) -> _Bad:
    """Return the error as one of the given block, if the image has blocks."""
    geometry = image.geometry
    if geometry is None:
        return error
    if geometry.chd is not None:
        return BlockError(number, -1, f"it cannot be read: {error.why}")
    offset = -1
    with suppress(OSError):  # then the index is unreadable
        for entry in read_entries(image.source, number, 1, index_offset=geometry.index_offset):
            offset = entry_offset(entry, geometry.shift)
    return BlockError(number, offset, f"it cannot be read: {error.why}")


def _at(image: Original, error: _Bad, bad: int) -> Damage:
    """Return the damage with *error* as the first bad block."""
    if isinstance(error, UnreadableError):
        end = min(error.offset + _PLAIN_BLOCK, image.size)
        found = files_at(image.read, image.size, error.offset, end, raw_cd=image.raw_cd)
        return Damage(
            str(error),
            file_offset=error.offset,
            image_offset=error.offset,
            files=found.files,
            map_incomplete=found.incomplete,
        )
    begin, end = image.range_of(error.block)
    found = files_at(image.read, image.size, begin, end, raw_cd=image.raw_cd)
    return Damage(str(error), bad, error.block, error.offset, begin, found.files, found.incomplete)


def _stray_end(image: Original) -> Iterator[str]:
    """Yield a remark on data at the position of a seal that is not one."""
    geometry = image.geometry
    if geometry is None or geometry.rule is not Rule.FRAMED:
        return
    if image.seal is None and not image.seal_error and geometry.data_end < image.source.size:
        yield "the data after the last block is not a seal"


def _damaged_seal(image: Original) -> Damage | None:
    if not image.seal_error:
        return None
    assert image.geometry is not None
    return Damage(image.seal_error, file_offset=image.geometry.data_end)


def _damaged_index(image: Original) -> Damage | None:
    """Return the damage if the index differs from the seal."""
    seal, geometry = image.seal, image.geometry
    if seal is None or geometry is None:
        return None
    found = 0
    for offset in range(geometry.index_offset, geometry.data_start, _SLICE):
        length = min(_SLICE, geometry.data_start - offset)
        found = zlib.crc32(image.source.read_at(offset, length), found)
    if f"{found:08x}" == seal.index_crc32:
        return None
    return Damage(
        f"the index has CRC-32 {found:08x}, but the seal has {seal.index_crc32}: one of them is"
        " damaged",
        file_offset=geometry.index_offset,
    )


def _differing(image: Original, digests: Digests) -> Damage | None:
    """Return the damage if the image differs from the seal."""
    seal = image.seal
    if seal is None:
        return None
    for name, found, said in (
        ("SHA-1", digests.sha1, seal.sha1),
        ("MD5", digests.md5, seal.md5),
        ("CRC-32", digests.crc32, seal.crc32),
    ):
        if found != said:
            assert image.geometry is not None
            return Damage(
                f"the image has {name} {found}, but the seal has {said}: one of them is damaged",
                file_offset=image.geometry.data_end,
            )
    return None
