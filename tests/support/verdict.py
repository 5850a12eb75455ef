"""What a reader of a container that may be damaged is to be given, by the reference decoder.

A block that the reference decodes has one right answer, and for one that it refuses the right
answer is an error. What else is tolerated is computed here from the stored bytes, so that a
decoder which is not the reference's twin still cannot give just anything:

LZ4 has no end mark. The reference takes off no more bytes at the end than padding can have. One
that stops as soon as it has all the bytes it wants is right too. And liblz4 takes the distance 0,
which does not exist, for a run of zeros; to refuse it is right too.

Where a last LZ4 block is stored in full, but damaged behind the end of the image, the reference
does not notice. To refuse it is right too.

Where an LZ4 image lost its last byte, nothing tells so for sure; the reference puts a 0 there
whatever follows the block, and one that does so only before padding is right too.

A damaged Zstandard frame decodes to bytes, or to an error, as the version of the library will
have it (1.5.4 and 1.5.7 differ). What the version of the system makes of it is right too.

libdeflate, unlike zlib, takes two length codes that do not exist. What it makes of a stream that
zlib refuses is tolerated.
"""

import ctypes
import itertools
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, cached_property, partial

from tests.support import reference

PAGE = 4096


class Verdict:
    """What may be read where a block, or a page, lies. None stands for an error.

    Attributes:
        right: what the reference gives.
        tolerated: what else may be given; worked out when it is asked for.
    """

    def __init__(
        self, right: bytes | None, tolerated: Callable[[], Iterable[bytes | None]]
    ) -> None:
        self.right = right
        self._tolerated = tolerated

    @cached_property
    def tolerated(self) -> tuple[bytes | None, ...]:
        return tuple(self._tolerated())

    def allows(self, given: bytes | None) -> bool:
        """Whether *given* may be read."""
        return given == self.right or given in self.tolerated


class _Lenient(reference._Indexed):
    """The reference, but for what it refuses on a mere guess.

    It takes each CISO whose header size is 0x8000 or more for a GameCube's, and a few LZ4 blocks
    that do not decode for an Xbox's. And it refuses a ZISO none of whose first blocks decodes,
    where a decoder that stops as soon as it has all the bytes it wants may find some that do.
    """

    def check_kind(self) -> None:
        if self.magic != b"CISO" or self.version > 2:
            super().check_kind()

    def refuse_xbox(self) -> None:
        pass

    def choose_codec(self) -> None:
        if self.magic == b"ZSO\x01":  # zlib, but a reader may look into those too
            self.sample_ziso()
        else:
            super().choose_codec()

    def sample_ziso(self) -> None:
        try:
            super().sample_ziso()
        except (reference.Damaged, ValueError):
            best = -1
            for codec, decoder in _ZISO_CODECS.items():
                before, (self.codec, self.decoder) = (self.codec, self.decoder), (codec, decoder)
                answers = [set(_tolerated(self, i, None)) for i in self.compressed_blocks()]
                good = sum(bool(one - {None}) for one in answers)
                if good > best:
                    best = good
                else:
                    self.codec, self.decoder = before


_ZISO_CODECS: dict[str, reference.Decoder] = {
    "zstd": reference._zstd,
    "lz4": reference._lz4_ziso,
    "zlib": reference._zlib,
}


def open_or_none(data: bytes) -> reference.Container | None:
    """The container, None if the reference refuses it as a whole."""
    try:
        if data[:4] in (b"CISO", b"ZISO", b"ZSO\x01"):
            return _Lenient(data)
        return reference.open_container(data)
    except (reference.Damaged, ValueError, struct.error):
        return None


def verdict(container: reference.Container, number: int) -> Verdict:
    """What may be read where block *number* lies."""
    try:
        right = container.block(number)
    except (reference.Damaged, struct.error):
        right = None
    return Verdict(right, partial(_tolerated, container, number, right))


def verdicts(container: reference.Container) -> list[Verdict]:
    """The same for all blocks."""
    return [verdict(container, number) for number in range(container.block_count)]


def pages(container: reference.Container, blocks: list[Verdict]) -> list[Verdict]:
    """The same for each page of the image: one that touches a bad block is bad."""
    return [_page(container, blocks, begin) for begin in range(0, container.size, PAGE)]


def _page(container: reference.Container, blocks: list[Verdict], begin: int) -> Verdict:
    end = min(begin + PAGE, container.size)
    first, last = begin // container.block_size, (end - 1) // container.block_size
    skip = begin - first * container.block_size
    touched = blocks[first : last + 1]

    def joined(parts: Sequence[bytes | None]) -> bytes | None:
        if None in parts:
            return None
        return b"".join(part for part in parts if part is not None)[skip : skip + end - begin]

    def others() -> Iterator[bytes | None]:
        answers = [(one.right, *one.tolerated) for one in touched]
        return map(joined, itertools.product(*answers))

    return Verdict(joined([one.right for one in touched]), others)


def _tolerated(
    container: reference.Container, number: int, right: bytes | None
) -> Iterator[bytes | None]:
    if isinstance(container, reference._Dax):
        if right is None:
            yield from _tolerated_deflate(
                container, number, _stored_dax(container, number), zlib=True
            )
        return
    assert isinstance(container, reference._Indexed)
    if container.plain(number):
        return
    codec = container.codec
    if codec == "mixed":
        codec = "lz4" if container.flagged(number) else "deflate"
    last = number == container.block_count - 1
    stored = _stored(container, number, last)
    if codec == "lz4":
        yield from _tolerated_lz4(container, number, stored, right)
    elif codec == "zstd":
        yield from _tolerated_zstd(container, number, stored, right)
    elif right is None:
        yield from _tolerated_deflate(container, number, stored, zlib=codec == "zlib")


def _tolerated_lz4(
    container: reference._Indexed, number: int, stored: bytes, right: bytes | None
) -> Iterator[bytes | None]:
    want = container.want(number)
    last = number == container.block_count - 1
    begun = lz4_begin(stored, want)
    if len(begun) > len(lz4_begin(stored, want, zero_distance=False)):
        yield None
    if right is None:
        if len(begun) == want:
            yield begun
        if last and len(begun) >= want - 1:
            yield begun[: want - 1] + b"\0"
    elif last:
        try:
            reference._lz4(stored, want, container.block_size, container.unit, last)
        except reference.Damaged:  # so the last byte of `right` is the one that is lost
            yield None
            if len(begun) == want:
                yield begun
        if want < container.block_size and not _ends_well(stored, want, container.block_size):
            yield None


def _ends_well(stored: bytes, want: int, block_size: int) -> bool:
    """Whether a last LZ4 block is sound up to its end, wherever that is."""
    _, ends = _lz4_walk(stored, block_size, zero_distance=False)
    places = [used for used, made in ends if made in (want, block_size)]
    pieces = [reference._lz4_strict(stored[:place], block_size) for place in (*places, len(stored))]
    return any(piece is not None and len(piece) >= want for piece in pieces)


def _tolerated_zstd(
    container: reference._Indexed, number: int, stored: bytes, right: bytes | None
) -> Iterator[bytes | None]:
    if not stored.startswith(reference.ZSTD_MAGIC):
        return
    last = number == container.block_count - 1 and container.magic != b"ZSOZ"
    unit = len(stored) if last else container.unit
    answer = _fitting(container, number, _system_zstd(stored, container.block_size, unit))
    if answer != right:
        yield answer


def _tolerated_deflate(
    container: reference.Container, number: int, stored: bytes, *, zlib: bool
) -> Iterator[bytes | None]:
    answer = _fitting(container, number, _system_deflate(stored, container.block_size, zlib=zlib))
    if answer is not None:
        yield answer


def _fitting(container: reference.Container, number: int, given: bytes | None) -> bytes | None:
    """What a block gives, cut if it is the last, or None if its length is wrong."""
    begin = number * container.block_size
    want = min(container.block_size, container.size - begin)
    framed = isinstance(container, reference._Indexed) and container.magic == b"ZSOZ"
    last = number == container.block_count - 1 and not framed
    if given is None or not (len(given) == want or (last and len(given) > want)):
        return None
    return given[:want]


def _stored(container: reference._Indexed, number: int, last: bool) -> bytes:
    start, end = container.offset(number), container.offset(number + 1)
    most = 2 * container.block_size + container.unit
    if last and container.magic != b"ZSOZ":
        end = min(len(container.data), start + most)
    if start < container.index_end or end - start > most or end > len(container.data):
        return b""
    return container.data[start:end]


def _stored_dax(container: reference._Dax, number: int) -> bytes:
    count = container.block_count
    (start,) = struct.unpack_from("<I", container.data, 32 + 4 * number)
    (length,) = struct.unpack_from("<H", container.data, 32 + 4 * count + 2 * number)
    return container.data[start : start + length] if start >= container.tables_end else b""


def lz4_begin(stored: bytes, want: int, *, zero_distance: bool = True) -> bytes:
    """The first bytes of an LZ4 block, *want* at most, up to where it stops making sense."""
    return _lz4_walk(stored, want, zero_distance=zero_distance)[0][:want]


def _lz4_walk(
    stored: bytes, want: int, *, zero_distance: bool
) -> tuple[bytes, list[tuple[int, int]]]:
    """The same, and where it may end: how much each run of literals has used and made there."""
    out = bytearray()
    ends: list[tuple[int, int]] = []
    at = 0

    def length(nibble: int) -> int:
        nonlocal at
        result = nibble
        while nibble == 15:
            more = stored[at]
            at += 1
            result += more
            if more < 255:
                break
        return result

    try:
        while len(out) < want:
            token = stored[at]
            at += 1
            literals = length(token >> 4)
            out += stored[at : at + literals]
            at += literals
            if at <= len(stored):
                ends.append((at, len(out)))
            distance = stored[at] | stored[at + 1] << 8
            at += 2
            copied = length(token & 15) + 4
            if distance > len(out) or (not distance and not zero_distance):
                break
            for _ in range(min(copied, want - len(out))):
                out.append(out[-distance] if distance else 0)
    except IndexError:
        pass
    return bytes(out), ends


@cache
def _zstd_library() -> ctypes.CDLL:
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_findFrameCompressedSize.restype = ctypes.c_size_t
    return library


def _system_zstd(stored: bytes, room: int, unit: int) -> bytes | None:
    """What the system's library makes of the frame that fewer than *unit* bytes follow."""
    library = _zstd_library()
    length = library.ZSTD_findFrameCompressedSize(stored, ctypes.c_size_t(len(stored)))
    if not len(stored) - unit < length <= len(stored):  # an error is a number near the largest
        return None
    out = ctypes.create_string_buffer(room)
    got = library.ZSTD_decompress(out, ctypes.c_size_t(room), stored, ctypes.c_size_t(length))
    return out.raw[:got] if got <= room else None


@cache
def _deflate_library() -> ctypes.CDLL:
    library = ctypes.CDLL("libdeflate.so.0")
    library.libdeflate_alloc_decompressor.restype = ctypes.c_void_p
    return library


def _system_deflate(stored: bytes, room: int, *, zlib: bool) -> bytes | None:
    """What libdeflate makes of the stream at the start of *stored*."""
    library = _deflate_library()
    name = "libdeflate_zlib_decompress_ex" if zlib else "libdeflate_deflate_decompress_ex"
    decompressor = ctypes.c_void_p(library.libdeflate_alloc_decompressor())
    out = ctypes.create_string_buffer(room)
    used, got = ctypes.c_size_t(), ctypes.c_size_t()
    failed = getattr(library, name)(
        decompressor,
        stored,
        ctypes.c_size_t(len(stored)),
        out,
        ctypes.c_size_t(room),
        ctypes.byref(used),
        ctypes.byref(got),
    )
    library.libdeflate_free_decompressor(decompressor)
    return None if failed else out.raw[: got.value]
