# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Hunks of CDs to frames, FLAC to samples, and parts of frames to the bytes of a view.

The source is hostile input: what does not give exactly the wanted length is an error. Sectors and
subcode are decoded by functions of the caller's.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t

from zsofs.native.cd_codecs cimport Decoder

cdef extern from "cd_frames.h":
    """
    #include "cd_frames.h"
    """
    void cd_make_tables() nogil
    bint flac_decode(const uint8_t *source, size_t size, uint8_t *out, size_t out_size,
                     bint big_endian, size_t *used) nogil
    int cd_decode_plain_flac(const uint8_t *source, size_t size, uint8_t *out,
                             size_t out_size) nogil
    int c_decode "cd_decode"(const uint8_t *source, size_t size, uint8_t *out, size_t out_size,
                             Decoder base, Decoder subcode, void *context, uint8_t *scratch,
                             uint8_t *flagged) nogil
    int c_decode_flac "cd_decode_flac"(const uint8_t *source, size_t size, uint8_t *out,
                                       size_t out_size, Decoder subcode, void *context,
                                       uint8_t *scratch) nogil
    void cd_rebuild(uint8_t *frames, size_t first, size_t count, const uint8_t *flagged) nogil
    void cd_gather(const uint8_t *units, size_t unit, size_t skip, size_t width, bint swapped,
                   size_t head, uint8_t *out, size_t length) nogil

cd_make_tables()


cdef bint decode_flac_frames(const uint8_t *source, size_t size, uint8_t *out, size_t out_size,
                             bint big_endian, size_t *used) noexcept nogil:
    """Decode FLAC frames of 16-bit stereo until *out* is full; *used* is where they end."""
    return flac_decode(source, size, out, out_size, big_endian, used)


cdef int decode_flac(const uint8_t *source, size_t size, uint8_t *out,
                     size_t out_size) noexcept nogil:
    """Decode a hunk of the codec `flac`."""
    return cd_decode_plain_flac(source, size, out, out_size)


cdef int decode_cd(const uint8_t *source, size_t size, uint8_t *out, size_t out_size, Decoder base,
                   Decoder subcode, void *context, uint8_t *scratch,
                   uint8_t *flagged) noexcept nogil:
    """Decode a hunk of `cdlz`, `cdzl` or `cdzs`; rebuild sync and parity if *flagged* is NULL."""
    return c_decode(source, size, out, out_size, base, subcode, context, scratch, flagged)


cdef int decode_cd_flac(const uint8_t *source, size_t size, uint8_t *out, size_t out_size,
                        Decoder subcode, void *context, uint8_t *scratch) noexcept nogil:
    """Decode a hunk of `cdfl`."""
    return c_decode_flac(source, size, out, out_size, subcode, context, scratch)


cdef void rebuild_frames(uint8_t *frames, size_t first, size_t count,
                         const uint8_t *flagged) noexcept nogil:
    """Write the sync and the parity of those frames of a hunk that *flagged* has a bit for."""
    cd_rebuild(frames, first, count, flagged)


cdef void gather_frames(const uint8_t *units, size_t unit, size_t skip, size_t width, bint swapped,
                        size_t head, uint8_t *out, size_t length) noexcept nogil:
    """Copy *width* bytes at *skip* of each unit, as one stream, from its byte *head* on."""
    cd_gather(units, unit, skip, width, swapped, head, out, length)


def gather(units, *, size_t unit, size_t skip, size_t width, bint swapped, size_t head, out):
    """Fill *out* with a part of each unit, as one stream.

    Args:
        units: whole units, as many as the range touches; the last may lack what follows the part.
        unit: bytes of a unit.
        skip: where the part begins in a unit.
        width: bytes of the part.
        swapped: swap the two bytes of each sample; *width* is even then.
        head: where the range begins in the stream.
        out: as long as the range.
    """
    cdef Py_buffer source, target
    PyObject_GetBuffer(units, &source, PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(out, &target, PyBUF_WRITABLE)
        try:
            _check_range(<size_t> source.len, unit, skip, width, swapped, head, <size_t> target.len)
            with nogil:
                cd_gather(<const uint8_t *> source.buf, unit, skip, width, swapped, head,
                          <uint8_t *> target.buf, <size_t> target.len)
        finally:
            PyBuffer_Release(&target)
    finally:
        PyBuffer_Release(&source)


cdef int _check_range(size_t have, size_t unit, size_t skip, size_t width, bint swapped,
                      size_t head, size_t length) except -1:
    """Raise ValueError if a range of :func:`gather` does not lie in *have* bytes of units."""
    cdef size_t count
    if not length:
        return 0
    if not width or head >= width or skip > unit or width > unit - skip or (swapped and width % 2):
        raise ValueError("the part does not lie in a unit")
    count = (head + length - 1) // width
    if have < skip + width or (have - skip - width) // unit < count:
        raise ValueError("the range does not lie in the units")
    return 0
