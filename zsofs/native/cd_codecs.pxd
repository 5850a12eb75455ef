"""Hunks of CDs and of FLAC to bytes, and views of frames; cd_frames.h describes the arguments."""

from libc.stdint cimport uint8_t

# 0, or the caller's own positive number of a failure; the numbers here are negative.
ctypedef int (*Decoder)(void *context, const uint8_t *source, size_t size, uint8_t *out,
                        size_t out_size) noexcept nogil

cdef enum:
    CD_GOOD = 0
    CD_IS_CUT = -1
    CD_IS_NO_FRAMES = -2
    CD_BAD_FLAC = -3

cdef bint decode_flac_frames(const uint8_t *source, size_t size, uint8_t *out, size_t out_size,
                             bint big_endian, size_t *used) noexcept nogil
cdef int decode_flac(const uint8_t *source, size_t size, uint8_t *out,
                     size_t out_size) noexcept nogil
cdef int decode_cd(const uint8_t *source, size_t size, uint8_t *out, size_t out_size, Decoder base,
                   Decoder subcode, void *context, uint8_t *scratch,
                   uint8_t *flagged) noexcept nogil
cdef int decode_cd_flac(const uint8_t *source, size_t size, uint8_t *out, size_t out_size,
                        Decoder subcode, void *context, uint8_t *scratch) noexcept nogil
cdef void rebuild_frames(uint8_t *frames, size_t first, size_t count,
                         const uint8_t *flagged) noexcept nogil
cdef void gather_frames(const uint8_t *units, size_t unit, size_t skip, size_t width, bint swapped,
                        size_t head, uint8_t *out, size_t length) noexcept nogil
