"""The hunks of a CHD to plain bytes."""

from libc.stdint cimport uint8_t, uint64_t

from zsofs.native.codecs cimport Failure, Image, Space, Stored

cdef bint decode_hunk(Image *image, Space *space, uint64_t number, Stored *block,
                      const uint8_t *stored, uint64_t have, uint8_t *out,
                      Failure *failure) noexcept nogil
cdef bint show_hunk(Image *image, const uint8_t *hunk, uint64_t number, uint8_t *out) noexcept nogil
cdef double hunk_ns(Stored *blocks, uint64_t done, uint64_t upto, uint64_t hunk_size) noexcept nogil
