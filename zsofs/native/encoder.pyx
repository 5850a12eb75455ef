# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False
"""The encoders: encode a run of plain blocks in one call, without the GIL.

They access neither files nor headers. An encoder belongs to one thread at a time.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from zsofs.native.codecs cimport CODEC_DEFLATE, CODEC_LZ4, CODEC_ZSTD

cdef extern from "lz4.h":
    int LZ4_compressBound(int size) nogil
    int LZ4_compress_default(const char *src, char *dst, int size, int capacity) nogil

cdef extern from "lz4hc.h":
    ctypedef struct LZ4_streamHC_t:
        pass
    LZ4_streamHC_t *LZ4_createStreamHC() nogil
    int LZ4_freeStreamHC(LZ4_streamHC_t *stream) nogil
    void LZ4_resetStreamHC_fast(LZ4_streamHC_t *stream, int level) nogil
    int LZ4_compress_HC_continue(LZ4_streamHC_t *stream, const char *src, char *dst, int size,
                                 int capacity) nogil

cdef extern from "zstd.h":
    ctypedef struct ZSTD_CCtx:
        pass
    ctypedef enum ZSTD_cParameter:
        ZSTD_c_compressionLevel
        ZSTD_c_checksumFlag
    ZSTD_CCtx *ZSTD_createCCtx() nogil
    size_t ZSTD_freeCCtx(ZSTD_CCtx *context) nogil
    size_t ZSTD_sizeof_CCtx(const ZSTD_CCtx *context) nogil
    size_t ZSTD_CCtx_setParameter(ZSTD_CCtx *context, ZSTD_cParameter which, int value) nogil
    size_t ZSTD_compress2(ZSTD_CCtx *context, void *dst, size_t capacity, const void *src,
                          size_t size) nogil
    size_t ZSTD_compressBound(size_t size) nogil
    unsigned ZSTD_isError(size_t code) nogil

cdef extern from "libdeflate.h":
    struct libdeflate_compressor:
        pass
    libdeflate_compressor *libdeflate_alloc_compressor(int level) nogil
    void libdeflate_free_compressor(libdeflate_compressor *compressor) nogil
    size_t libdeflate_deflate_compress(libdeflate_compressor *compressor, const void *src,
                                       size_t size, void *dst, size_t capacity) nogil
    uint32_t libdeflate_crc32(uint32_t crc, const void *data, size_t size) nogil

cdef enum:
    PLAIN = 0x80000000
    FILLER = 0x58        # 'X', as ziso.py pads with
    FIRST_HC_LEVEL = 3   # below it liblz4 has one encoder, the quick one
    DEFLATE_MEMORY = 2 << 20   # what libdeflate allocates at most levels; at 10 to 12 it is 9 MB
    DEFLATE_OPTIMAL_MEMORY = 10 << 20
    FIRST_OPTIMAL_LEVEL = 10


cdef class Encoder:
    """Encodes blocks with one codec.

    LZ4 and raw deflate blocks are compressed, or uncompressed if that is not longer; the last one
    is padded with zeros to a full block. Zstandard blocks are always frames with a checksum.

    Args:
        codec: a zsofs.formats.geometry.Codec: LZ4, ZSTD or DEFLATE.
        level: compression level; for LZ4, 1 and 2 are the fast encoder, 3 to 12 the HC encoder.
        block_size: plain bytes per block.
        shift: stored blocks are padded to multiples of 2^shift bytes.

    Attributes:
        filler: padding byte after the last block encoded. The padding of an LZ4 block always
            differs from its last byte, because some readers find the end by removing equal bytes.
            That of a deflate block is zeros, as maxcso writes it.
    """

    cdef int codec
    cdef int level
    cdef int shift
    cdef size_t block_size
    cdef size_t bound
    cdef ZSTD_CCtx *zstd
    cdef LZ4_streamHC_t *lz4
    cdef libdeflate_compressor *deflate
    cdef uint8_t *packed     # what a block became, before it is decided how it is stored
    cdef uint8_t *filled     # a short block, filled up
    cdef uint8_t *zeros      # how a full block of zeros is stored
    cdef uint32_t zeros_units
    cdef uint8_t zeros_filler
    cdef readonly uint8_t filler

    def __init__(self, int codec, int level, size_t block_size, int shift):
        cdef uint8_t *plain
        if codec not in (CODEC_LZ4, CODEC_ZSTD, CODEC_DEFLATE):
            raise ValueError(f"no encoder for codec {codec}")
        if not 0 < block_size <= 16 << 20 or not 0 <= shift <= 11 or block_size % (1 << shift):
            raise ValueError("block size or shift out of bounds")
        self.codec = codec
        self.level = level
        self.shift = shift
        self.block_size = block_size
        self.bound = self._padded(ZSTD_compressBound(block_size) if codec == CODEC_ZSTD
                                  else block_size)
        if codec == CODEC_ZSTD:
            self.zstd = ZSTD_createCCtx()
            if self.zstd is NULL:
                raise MemoryError("no memory for an encoder")
            ZSTD_CCtx_setParameter(self.zstd, ZSTD_c_compressionLevel, level)
            ZSTD_CCtx_setParameter(self.zstd, ZSTD_c_checksumFlag, 1)
        else:
            if codec == CODEC_LZ4:
                self.lz4 = LZ4_createStreamHC()
            else:
                self.deflate = libdeflate_alloc_compressor(level)
            self.packed = <uint8_t *> malloc(LZ4_compressBound(<int> block_size))
            self.filled = <uint8_t *> malloc(block_size)
            if ((self.lz4 is NULL and self.deflate is NULL) or self.packed is NULL
                    or self.filled is NULL):
                raise MemoryError("no memory for an encoder")
        self.zeros = <uint8_t *> malloc(self.bound)
        plain = <uint8_t *> calloc(1, block_size)
        if self.zeros is NULL or plain is NULL:
            free(plain)
            raise MemoryError("no memory for an encoder")
        self.zeros_units = self._encode_block(plain, block_size, self.zeros)
        self.zeros_filler = self.filler
        free(plain)
        if not self.zeros_units:
            raise MemoryError("no memory for an encoder")

    def __dealloc__(self):
        if self.zstd is not NULL:
            ZSTD_freeCCtx(self.zstd)
        if self.lz4 is not NULL:
            LZ4_freeStreamHC(self.lz4)
        if self.deflate is not NULL:
            libdeflate_free_compressor(self.deflate)
        free(self.packed)
        free(self.filled)
        free(self.zeros)

    @property
    def memory(self):
        """Approximate memory use in bytes."""
        cdef size_t own = 2 * self.bound + 2 * self.block_size
        if self.zstd is not NULL:
            return own + ZSTD_sizeof_CCtx(self.zstd)
        if self.deflate is NULL:
            return own + (256 << 10)
        return own + (DEFLATE_MEMORY if self.level < FIRST_OPTIMAL_LEVEL
                      else DEFLATE_OPTIMAL_MEMORY)

    def room(self, size_t size):
        """Return the maximum stored size of *size* plain bytes."""
        return (size + self.block_size - 1) // self.block_size * self.bound

    def encode(self, data, out, lengths):
        """Encode whole blocks; the last one may be short.

        Args:
            data: the plain bytes.
            out: writable buffer for the stored blocks, of :meth:`room` bytes.
            lengths: writable buffer with a u32 per block: its stored length in units of 2^shift
                bytes, with bit 31 if it is uncompressed.

        Returns:
            The stored bytes, padding included.

        Raises:
            MemoryError: no memory is available.
        """
        cdef Py_buffer source, target, numbers
        cdef size_t done
        PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
        PyObject_GetBuffer(out, &target, PyBUF_WRITABLE)
        PyObject_GetBuffer(lengths, &numbers, PyBUF_WRITABLE)
        try:
            if (<size_t> target.len < self.room(source.len) or <size_t> numbers.len
                    < 4 * ((source.len + self.block_size - 1) // self.block_size)):
                raise ValueError("a buffer is too small")
            with nogil:
                done = self._encode(<const uint8_t *> source.buf, source.len,
                                    <uint8_t *> target.buf, <uint32_t *> numbers.buf)
        finally:
            PyBuffer_Release(&source)
            PyBuffer_Release(&target)
            PyBuffer_Release(&numbers)
        if not done and source.len:
            raise MemoryError("no memory to encode a block")
        return done

    cdef size_t _encode(self, const uint8_t *data, size_t size, uint8_t *out,
                        uint32_t *lengths) noexcept nogil:
        cdef size_t at = 0
        cdef size_t done = 0
        cdef size_t number = 0
        cdef size_t have
        cdef uint32_t units
        while at < size:
            have = min(self.block_size, size - at)
            if have == self.block_size and _is_zero(data + at, have):
                # 0.3 microseconds for 32 KiB, where zstd at level 9 takes 9.
                units = self.zeros_units
                memcpy(out + done, self.zeros, <size_t> (units & ~PLAIN) << self.shift)
                self.filler = self.zeros_filler
            else:
                units = self._encode_block(data + at, have, out + done)
                if not units:
                    return 0
            lengths[number] = units
            done += <size_t> (units & ~PLAIN) << self.shift
            number += 1
            at += have
        return done

    cdef uint32_t _encode_block(self, const uint8_t *data, size_t have,
                                uint8_t *out) noexcept nogil:
        """Encode a block of *have* plain bytes; return its length and flag, 0 without memory."""
        cdef size_t length
        cdef uint32_t flag = 0
        self.filler = 0
        if self.codec == CODEC_ZSTD:
            length = ZSTD_compress2(self.zstd, out, self.bound, data, have)
            if ZSTD_isError(length):
                return 0
        else:
            if have < self.block_size:
                memcpy(self.filled, data, have)
                memset(self.filled + have, 0, self.block_size - have)
                data = self.filled
            length = self._pack_lz4(data) if self.codec == CODEC_LZ4 else self._pack_deflate(data)
            if not length or self._padded(length) >= self.block_size:
                length = self.block_size
                flag = PLAIN
            memcpy(out, data if flag else self.packed, length)
            if self.codec == CODEC_LZ4 and not flag and out[length - 1] != FILLER:
                self.filler = FILLER
        memset(out + length, self.filler, self._padded(length) - length)
        return <uint32_t> (self._padded(length) >> self.shift) | flag

    cdef size_t _pack_lz4(self, const uint8_t *data) noexcept nogil:
        # With room for the worst case liblz4 never stops in the middle, after which it would
        # have to clear 256 KiB of tables for the next block.
        cdef int size = <int> self.block_size
        cdef int room = LZ4_compressBound(size)
        if self.level < FIRST_HC_LEVEL:
            return LZ4_compress_default(<const char *> data, <char *> self.packed, size, room)
        LZ4_resetStreamHC_fast(self.lz4, self.level)
        return LZ4_compress_HC_continue(self.lz4, <const char *> data, <char *> self.packed, size,
                                        room)

    cdef size_t _pack_deflate(self, const uint8_t *data) noexcept nogil:
        """Return the packed length of a block; 0 if it is not shorter than the plain one."""
        return libdeflate_deflate_compress(self.deflate, data, self.block_size, self.packed,
                                           self.block_size - 1)

    cdef size_t _padded(self, size_t length) noexcept nogil:
        return (length + (<size_t> 1 << self.shift) - 1) >> self.shift << self.shift


cdef bint _is_zero(const uint8_t *data, size_t size) noexcept nogil:
    return data[0] == 0 and memcmp(data, data + 1, size - 1) == 0


def index_entries(lengths, size_t count, uint64_t position):
    """Return the index entries of consecutive blocks.

    Args:
        lengths: buffer of u32, as :meth:`Encoder.encode` fills it.
        count: number of entries.
        position: start of the first block, in units.

    Returns:
        The entries as stored, little endian, and the end of the last block, in units.
    """
    cdef Py_buffer numbers
    cdef bytes entries = PyBytes_FromStringAndSize(NULL, 4 * count)
    cdef uint8_t *at = <uint8_t *> PyBytes_AS_STRING(entries)
    cdef uint32_t length, entry
    cdef size_t number
    PyObject_GetBuffer(lengths, &numbers, PyBUF_SIMPLE)
    if <size_t> numbers.len < 4 * count:
        PyBuffer_Release(&numbers)
        raise ValueError("fewer lengths than blocks")
    for number in range(count):
        length = (<uint32_t *> numbers.buf)[number]
        entry = <uint32_t> (position & 0x7FFFFFFF) | (length & PLAIN)
        at[0] = entry & 0xFF
        at[1] = entry >> 8 & 0xFF
        at[2] = entry >> 16 & 0xFF
        at[3] = entry >> 24
        at += 4
        position += length & 0x7FFFFFFF
    PyBuffer_Release(&numbers)
    return entries, position


def crc32(data, uint32_t value=0):
    """Return the CRC-32 of *data*, continued from *value*, like zlib.crc32 but much faster."""
    cdef Py_buffer view
    cdef uint32_t result
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    with nogil:
        result = libdeflate_crc32(value, view.buf, view.len)
    PyBuffer_Release(&view)
    return result
