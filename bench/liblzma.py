"""How fast one core decodes an LZMA CHD with liblzma, which other readers of CHDs use."""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

from bench.decoding import one_core, opened
from bench.system import BenchError, Unavailable
from zsofs.native.stored_ranges import stored_ranges

_LZMA1 = 0x4000000000000001
_NO_MORE = (1 << 64) - 1
_RUN = 0


class _Options(ctypes.Structure):
    """Of LZMA1: ``lzma_options_lzma``, of which a decoder reads the first six fields."""

    _fields_ = (
        ("dict_size", ctypes.c_uint32),
        ("preset_dict", ctypes.c_void_p),
        ("preset_dict_size", ctypes.c_uint32),
        ("lc", ctypes.c_uint32),
        ("lp", ctypes.c_uint32),
        ("pb", ctypes.c_uint32),
        ("others", ctypes.c_uint64 * 12),
    )


class _Filter(ctypes.Structure):
    """``lzma_filter``."""

    _fields_ = (("id", ctypes.c_uint64), ("options", ctypes.POINTER(_Options)))


class _Stream(ctypes.Structure):
    """``lzma_stream``."""

    _fields_ = (
        ("next_in", ctypes.c_void_p),
        ("avail_in", ctypes.c_size_t),
        ("total_in", ctypes.c_uint64),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_size_t),
        ("total_out", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 12),
    )


def decode_all(container: Path) -> float:
    """Decode all hunks into one buffer, in one thread on one core.

    One decoder serves all, so that its memory is allocated once. The time of the loop itself, with
    calls that do nothing, is taken off: a program in C would not have it.

    Returns:
        The seconds.
    """
    try:
        library = ctypes.CDLL("liblzma.so.5")
    except OSError as error:
        raise Unavailable(f"liblzma is not installed: {error}") from error
    data, hunks, size = _hunks_of(container)
    packed = [(offset, length) for offset, length in hunks if length < size]
    out = ctypes.create_string_buffer(size)
    options = _Options(dict_size=max(size, 4096), lc=3, lp=0, pb=2)
    filters = (_Filter * 2)(_Filter(_LZMA1, ctypes.pointer(options)), _Filter(_NO_MORE, None))
    stream = _Stream()
    where, place, begin = ctypes.byref(stream), ctypes.addressof(out), ctypes.addressof(data)

    def decode(renew: Callable[..., int], code: Callable[..., int]) -> tuple[float, int]:
        missing = 0
        started = time.perf_counter()
        for offset, length in packed:
            stream.next_in, stream.avail_in = begin + offset, length
            stream.next_out, stream.avail_out = place, size
            if renew(where, filters):
                raise BenchError("liblzma refused its filters")
            code(where, _RUN)
            missing += stream.avail_out
        return time.perf_counter() - started, missing

    with one_core():
        seconds, missing = decode(library.lzma_raw_decoder, library.lzma_code)
        if missing:
            raise BenchError(f"liblzma could not decode all hunks of {container.name}")
        seconds -= decode(library.lzma_check_is_supported, library.lzma_version_number)[0]
        started = time.perf_counter()
        for offset, length in hunks:
            if length == size:
                ctypes.memmove(place, begin + offset, size)
        seconds += time.perf_counter() - started
    library.lzma_end(where)
    return seconds


def _hunks_of(container: Path) -> tuple[ctypes.Array[ctypes.c_char], list[tuple[int, int]], int]:
    """Return the file in memory, where its hunks are in it, and the size of a hunk."""
    with opened(container) as (source, geometry, reader):
        hunks = [
            place
            for number in range(geometry.block_count)
            for place in stored_ranges(reader, source.fd, number, 1)
        ]
    data = ctypes.create_string_buffer(container.stat().st_size)
    with container.open("rb") as file:
        file.readinto(memoryview(data).cast("B"))
    return data, hunks, geometry.block_size
