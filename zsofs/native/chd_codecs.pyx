# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The codecs of CHD v5: one stored hunk to plain bytes, without the GIL.

A hunk is right if its codec gives exactly its length from exactly the stored bytes, and its CRC-16
is the one in the map (MAME, ``chd.cpp`` and ``chdcodec.cpp``).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from zsofs.native.cd_codecs cimport decode_cd, decode_cd_flac, decode_flac
from zsofs.native.chd_map cimport Chd
from zsofs.native.codecs cimport *

cdef extern from "crc16.h":
    void zsofs_crc16_prepare()
    uint16_t zsofs_crc16(const uint8_t *data, size_t size, uint16_t crc) nogil

cdef extern from "huffman.h":
    bint zsofs_huffman_decode(const uint8_t *stored, size_t stored_size, uint8_t *out,
                              size_t size) nogil

cdef extern from "zstd.h":
    ctypedef struct ZSTD_DCtx:
        pass
    ZSTD_DCtx *ZSTD_createDCtx() nogil
    size_t ZSTD_decompressDCtx(ZSTD_DCtx *context, void *dst, size_t capacity,
                               const void *src, size_t size) nogil

cdef extern from "libdeflate.h":
    cdef struct libdeflate_decompressor:
        pass
    cdef enum libdeflate_result:
        LIBDEFLATE_SUCCESS
    libdeflate_decompressor *libdeflate_alloc_decompressor() nogil
    libdeflate_result libdeflate_deflate_decompress_ex(
        libdeflate_decompressor *d, const void *src, size_t size, void *dst, size_t capacity,
        size_t *used, size_t *produced) nogil

cdef extern from "lzma1.h":
    cdef struct zsofs_lzma1:
        pass
    bint zsofs_lzma1_decode(zsofs_lzma1 *chances, const uint8_t *stored, size_t stored_size,
                            uint8_t *out, size_t size) nogil


cdef bint decode_hunk(Image *image, Space *space, uint64_t number, Stored *block,
                      const uint8_t *stored, uint64_t have, uint8_t *out,
                      Failure *failure) noexcept nogil:
    """Decode one hunk, of which *have* bytes were fetched, to its shown bytes."""
    cdef Chd *chd = <Chd *> image.chd
    cdef uint64_t want = min(image.block_size, image.size - number * image.block_size)
    cdef uint8_t *hunk = out
    cdef uint16_t crc
    failure.block = number
    failure.offset = <int64_t> block.offset
    failure.codec = block.method
    if have < block.length:
        return fail(failure, FAILED_CUT, block.length, have)
    if chd.take or want < chd.hunk_size:
        space.hunk = grown(space.hunk, &space.hunk_size, chd.hunk_size)
        if space.hunk is NULL:
            return fail(failure, FAILED_MEMORY, 0, 0)
        hunk = space.hunk
    if not _decode(chd, space, block, stored, hunk, failure):
        return False
    if block.crc != NO_CRC:
        crc = zsofs_crc16(hunk, chd.hunk_size, 0xFFFF)
        if crc != block.crc:
            return fail(failure, FAILED_CRC, block.crc, crc)
    return hunk is out or show_hunk(image, hunk, number, out)


cdef bint show_hunk(Image *image, const uint8_t *hunk, uint64_t number,
                    uint8_t *out) noexcept nogil:
    """Copy what is shown of a whole hunk."""
    cdef Chd *chd = <Chd *> image.chd
    cdef uint64_t want = min(image.block_size, image.size - number * image.block_size)
    cdef uint64_t done = 0
    if not chd.take:
        memcpy(out, hunk, want)
        return True
    hunk += chd.skip
    while done < want:
        memcpy(out + done, hunk, min(chd.take, want - done))
        done += chd.take
        hunk += chd.unit_size
    return True


cdef bint _decode(Chd *chd, Space *space, Stored *block, const uint8_t *stored, uint8_t *out,
                  Failure *failure) noexcept nogil:
    cdef size_t size = chd.hunk_size
    cdef size_t length = block.length
    cdef int method = block.method
    cdef int result
    if method == CODEC_PLAIN:
        memcpy(out, stored, size)
        return True
    if method == CODEC_HOLE:
        memset(out, 0, size)
        return True
    if method == CODEC_LZMA:
        result = _lzma(space, stored, length, out, size)
    elif method == CODEC_DEFLATE:
        result = _deflate(space, stored, length, out, size)
    elif method == CODEC_ZSTD:
        result = _zstd(space, stored, length, out, size)
    elif method == CODEC_HUFFMAN:
        result = 0 if zsofs_huffman_decode(stored, length, out, size) else FAILED_CODEC
    elif method == CODEC_FLAC:
        result = decode_flac(stored, length, out, size)
    else:
        result = _decode_frames(space, method, stored, length, out, size)
    if result == 0:
        return True
    return fail(failure, result if result > 0 else FAILED_CODEC, 0, length)


cdef int _decode_frames(Space *space, int method, const uint8_t *stored, size_t length,
                        uint8_t *out, size_t size) noexcept nogil:
    """The codecs of CDs. Sync and ECC are always rebuilt: the hunk's CRC-16 covers them."""
    space.scratch = grown(space.scratch, &space.scratch_size, size // 2448 * 96 + 1)
    if space.scratch is NULL:
        return FAILED_MEMORY
    if method == CODEC_CD_LZMA:
        return decode_cd(stored, length, out, size, _lzma, _deflate, space, space.scratch, NULL)
    if method == CODEC_CD_DEFLATE:
        return decode_cd(stored, length, out, size, _deflate, _deflate, space, space.scratch, NULL)
    if method == CODEC_CD_ZSTD:
        return decode_cd(stored, length, out, size, _zstd, _zstd, space, space.scratch, NULL)
    if method == CODEC_CD_FLAC:
        return decode_cd_flac(stored, length, out, size, _deflate, space, space.scratch)
    return FAILED_CODEC


cdef int _lzma(void *context, const uint8_t *stored, size_t length, uint8_t *out,
               size_t size) noexcept nogil:
    cdef Space *space = <Space *> context
    if space.lzma is NULL:
        space.lzma = malloc(sizeof(zsofs_lzma1))
        if space.lzma is NULL:
            return FAILED_MEMORY
    if not zsofs_lzma1_decode(<zsofs_lzma1 *> space.lzma, stored, length, out, size):
        return FAILED_CODEC
    return 0


cdef int _deflate(void *context, const uint8_t *stored, size_t length, uint8_t *out,
                  size_t size) noexcept nogil:
    cdef Space *space = <Space *> context
    cdef size_t used = 0
    cdef size_t got = 0
    if space.deflate is NULL:
        space.deflate = libdeflate_alloc_decompressor()
        if space.deflate is NULL:
            return FAILED_MEMORY
    if libdeflate_deflate_decompress_ex(<libdeflate_decompressor *> space.deflate, stored, length,
                                        out, size, &used, &got) != LIBDEFLATE_SUCCESS:
        return FAILED_CODEC
    return 0 if got == size and used == length else FAILED_CODEC


cdef int _zstd(void *context, const uint8_t *stored, size_t length, uint8_t *out,
               size_t size) noexcept nogil:
    cdef Space *space = <Space *> context
    if space.zstd is NULL:
        space.zstd = ZSTD_createDCtx()
        if space.zstd is NULL:
            return FAILED_MEMORY
    return 0 if ZSTD_decompressDCtx(<ZSTD_DCtx *> space.zstd, out, size, stored,
                                    length) == size else FAILED_CODEC


cdef double hunk_ns(Stored *blocks, uint64_t done, uint64_t upto, uint64_t hunk_size) noexcept nogil:
    """About how long one core takes for each of these hunks (measured, 2 to 4 KiB)."""
    cdef double total = 0
    cdef uint64_t at
    cdef int method
    for at in range(done, upto):
        method = blocks[at].method
        if method == CODEC_LZMA or method == CODEC_CD_LZMA:
            total += 20
        elif method == CODEC_DEFLATE or method == CODEC_CD_DEFLATE:
            total += 4
        elif method == CODEC_ZSTD or method == CODEC_CD_ZSTD:
            total += 1.8
        elif method == CODEC_PLAIN or method == CODEC_HOLE:
            total += 0.3
        else:
            total += 5
    return hunk_size * total / (upto - done) if upto > done else 0


zsofs_crc16_prepare()
