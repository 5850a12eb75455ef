# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The codecs: decode one stored block to plain bytes, without the GIL.

The source is hostile input: a block that does not decode to exactly its length is an error.
"""

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

cdef extern from "pthread.h":
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_lock(pthread_mutex_t *mutex) nogil
    int pthread_mutex_unlock(pthread_mutex_t *mutex) nogil

cdef extern from *:
    """
    #include <pthread.h>
    static pthread_mutex_t zsofs_spaces_lock = PTHREAD_MUTEX_INITIALIZER;
    """
    pthread_mutex_t zsofs_spaces_lock

cdef extern from *:
    """
    #ifdef __GLIBC__
    #include <malloc.h>
    #else
    #define malloc_trim(keep)
    #endif

    /* With glibc, give large pieces of memory back to the system when they are freed. By default
       it keeps pieces of up to 32 MiB for the next one, in each thread, once one was freed. And it
       reserves 64 MiB of address space for each thread, of which a limit (ulimit -v) has few. */
    static void zsofs_release_at_once(void)
    {
    #ifdef __GLIBC__
        mallopt(M_MMAP_THRESHOLD, 4 << 20);
        mallopt(M_TRIM_THRESHOLD, 8 << 20);
        mallopt(M_ARENA_MAX, 2);
    #endif
    }
    """
    void malloc_trim(size_t keep) nogil
    void zsofs_release_at_once() nogil

cdef extern from "lz4.h":
    int LZ4_decompress_safe(const char *src, char *dst, int size, int capacity) nogil

cdef extern from "zstd.h":
    ctypedef struct ZSTD_DCtx:
        pass
    ZSTD_DCtx *ZSTD_createDCtx() nogil
    size_t ZSTD_freeDCtx(ZSTD_DCtx *context) nogil
    size_t ZSTD_findFrameCompressedSize(const void *src, size_t size) nogil
    size_t ZSTD_decompressDCtx(ZSTD_DCtx *context, void *dst, size_t capacity,
                               const void *src, size_t size) nogil
    unsigned ZSTD_isError(size_t code) nogil

cdef extern from "libdeflate.h":
    cdef struct libdeflate_decompressor:
        pass
    cdef enum libdeflate_result:
        LIBDEFLATE_SUCCESS
        LIBDEFLATE_INSUFFICIENT_SPACE
    uint32_t libdeflate_adler32(uint32_t adler, const void *data, size_t size) nogil
    libdeflate_decompressor *libdeflate_alloc_decompressor() nogil
    void libdeflate_free_decompressor(libdeflate_decompressor *d) nogil
    libdeflate_result libdeflate_deflate_decompress_ex(
        libdeflate_decompressor *d, const void *src, size_t size, void *dst, size_t capacity,
        size_t *used, size_t *produced) nogil
    libdeflate_result libdeflate_zlib_decompress_ex(
        libdeflate_decompressor *d, const void *src, size_t size, void *dst, size_t capacity,
        size_t *used, size_t *produced) nogil


cdef enum:
    # In the frame header descriptor (RFC 8878, 3.1.1.1.1), the byte after the magic number.
    ZSTD_CHECKSUM_FLAG = 4

# A workspace that a rare large block has grown beyond this is returned to the system.
cdef enum:
    KEEP_AT_MOST = 4 << 20

# Workspaces are reused, because fresh pages cost more than decoding (20 to 30 microseconds per
# 128 KiB). There are as many as concurrent calls so far.
cdef Space *idle_spaces = NULL


cdef Space *take_space() noexcept nogil:
    """Return a workspace for exclusive use until it is released; NULL without memory."""
    global idle_spaces
    cdef Space *space
    pthread_mutex_lock(&zsofs_spaces_lock)
    space = idle_spaces
    if space is not NULL:
        idle_spaces = space.next
    pthread_mutex_unlock(&zsofs_spaces_lock)
    return space if space is not NULL else <Space *> calloc(1, sizeof(Space))


cdef void give_back(Space *space) noexcept nogil:
    global idle_spaces
    if (space.data_size + space.scratch_size + space.hunk_size + space.from_parent_size
            > KEEP_AT_MOST):
        _free_space(space)
        return
    pthread_mutex_lock(&zsofs_spaces_lock)
    space.next = idle_spaces
    idle_spaces = space
    pthread_mutex_unlock(&zsofs_spaces_lock)


cdef void _free_space(Space *space) noexcept nogil:
    free(space.data)
    free(space.scratch)
    free(space.hunk)
    free(space.from_parent)
    free(space.index)
    free(space.blocks)
    if space.zstd is not NULL:
        ZSTD_freeDCtx(<ZSTD_DCtx *> space.zstd)
    if space.deflate is not NULL:
        libdeflate_free_decompressor(<libdeflate_decompressor *> space.deflate)
    free(space.lzma)
    free(space)


def trim() -> None:
    """Return the memory of all idle workspaces, and memory freed before, to the system."""
    global idle_spaces
    cdef Space *space
    cdef Space *rest
    pthread_mutex_lock(&zsofs_spaces_lock)
    rest = idle_spaces
    idle_spaces = NULL
    pthread_mutex_unlock(&zsofs_spaces_lock)
    while rest is not NULL:
        space = rest
        rest = space.next
        _free_space(space)
    malloc_trim(0)


def release_at_once() -> None:
    """Return blocks of memory of 4 MiB and more to the system when freed, from now on."""
    zsofs_release_at_once()


cdef uint8_t *grown(uint8_t *memory, size_t *size, size_t wanted) noexcept nogil:
    """Return *memory* with room for *wanted* bytes, without its contents; NULL without memory."""
    if memory is not NULL and size[0] >= wanted:
        return memory
    free(memory)
    size[0] = 0
    memory = <uint8_t *> malloc(wanted)
    if memory is not NULL:
        size[0] = wanted
    return memory


cdef bint decode(Image *image, Space *space, uint64_t number, Stored *block,
                 const uint8_t *stored, uint64_t have, uint8_t *out,
                 Failure *failure) noexcept nogil:
    """Decode one block, of which *have* bytes were fetched, to exactly its wanted length."""
    cdef uint64_t want = min(image.block_size, image.size - number * image.block_size)
    cdef bint good
    failure.block = number
    failure.offset = <int64_t> block.offset
    failure.codec = block.method
    if (block.method == CODEC_PLAIN and block.last and have == want - 1
            and image.codec == CODEC_LZ4 and image.rule == RULE_FLAGGED):
        # The same lost byte as in _lacks_final_byte, in an uncompressed block.
        memcpy(out, stored, have)
        out[have] = 0
        image.final_byte_missing = True
        return True
    if have < block.length:
        return fail(failure, FAILED_CUT, block.length, have)
    if block.method == CODEC_PLAIN:
        memcpy(out, stored, want)
        return True
    space.lacks_memory = False
    if block.method == CODEC_LZ4:
        good = _decode_lz4(image, space, stored, block, out, want, failure)
    elif block.method == CODEC_ZSTD:
        good = _decode_zstd(image, space, stored, block, out, want, failure)
    else:
        good = _decode_deflate(image, space, stored, block, out, want, failure)
    if space.lacks_memory and not good:  # it is unknown whether the block is damaged
        return fail(failure, FAILED_MEMORY, 0, 0)
    return good


cdef bint _decode_lz4(Image *image, Space *space, const uint8_t *stored, Stored *block,
                      uint8_t *out, uint64_t want, Failure *failure) noexcept nogil:
    # The strict decoder rejects a stream that is followed by padding, and a last block that goes
    # beyond the end of the image. LZ4_decompress_safe_partial accepts both, at half the speed
    # (1.5 against 3.0 GB/s on 2 KiB blocks, liblz4 1.9.4), but it reads padding as one more
    # match and then leaves stale buffer content in place (observed: stale bytes returned
    # as decoded ones). So only the strict decoder is used, with the exact end of the stream. There
    # is only one end with which it returns *want* bytes, so guessing is safe: the usual padding
    # is assumed, and only if that fails the end is searched for (which takes
    # 0.25 microseconds for 2 KiB, nearly as long as decoding them). Both require that padding is
    # shorter than a unit: more stray bytes mean that the index points to another, shorter block.
    cdef int size = <int> block.length
    cdef int got = -1
    cdef int end = size
    cdef int padding = min(size, (1 << image.shift)) - 1
    cdef uint8_t filler = stored[size - 1]
    if filler == 0 or filler == c'X':
        while padding and stored[end - 1] == filler:
            end -= 1
            padding -= 1
    if not block.last:
        got = LZ4_decompress_safe(<const char *> stored, <char *> out, end, <int> want)
    if got != <int> want:
        if end != size:
            got = -1  # that guess was ours: what came of it is not for the message
        end = _lz4_end(stored, size, want)
        if end and _has_stray(image, block, size - end):
            return fail(failure, FAILED_STRAY, _unit(image), <uint64_t> (size - end))
        if end:
            got = LZ4_decompress_safe(<const char *> stored, <char *> out, end, <int> want)
    if got == <int> want:
        return True
    if block.last and (_lacks_final_byte(image, stored, size, out, want)
                       or _goes_on(image, space, stored, size, out, want)):
        return True
    if got >= 0:
        return fail(failure, FAILED_LENGTH, want, <uint64_t> got)
    return fail(failure, FAILED_CODEC, 0, block.length)


cdef bint _lacks_final_byte(Image *image, const uint8_t *stored, int size, uint8_t *out,
                            uint64_t want) noexcept nogil:
    """ziso_compressor 0.7.0 can lose the final byte of an image; 0 is returned for it."""
    cdef int end = _lz4_end(stored, size, want - 1) if want > 1 else 0
    cdef int at
    if not end:
        return False
    for at in range(end, size):
        if stored[at]:
            return False
    if LZ4_decompress_safe(<const char *> stored, <char *> out, end,
                           <int> want) != <int> want - 1:
        return False
    out[want - 1] = 0
    image.final_byte_missing = True
    return True


cdef bint _goes_on(Image *image, Space *space, const uint8_t *stored, int size, uint8_t *out,
                   uint64_t want) noexcept nogil:
    """Decode a last block that is stored beyond the end of the image, usually completely."""
    cdef int end = _lz4_end(stored, size, image.block_size)
    if want == image.block_size or not _grow_scratch(image, space):
        return False
    if LZ4_decompress_safe(<const char *> stored, <char *> space.scratch, end if end else size,
                           <int> image.block_size) <= <int> want:
        return False
    memcpy(out, space.scratch, want)
    return True


cdef bint _decode_zstd(Image *image, Space *space, const uint8_t *stored, Stored *block,
                       uint8_t *out, uint64_t want, Failure *failure) noexcept nogil:
    # ZSTD_decompress fails on a frame that is followed by padding, so the length of the frame
    # is determined first; what follows can only be padding.
    cdef size_t frame = ZSTD_findFrameCompressedSize(stored, block.length)
    cdef size_t got
    if ZSTD_isError(frame) or frame > block.length:
        return fail(failure, FAILED_CODEC, 0, block.length)
    if _has_stray(image, block, block.length - frame):
        return fail(failure, FAILED_STRAY, _unit(image), block.length - frame)
    # Without this flag the frame is 4 bytes shorter than stored, which from shift 3 on could be
    # padding: a single wrong bit would remove the checksum.
    if image.rule == RULE_FRAMED and not stored[4] & ZSTD_CHECKSUM_FLAG:
        return fail(failure, FAILED_NO_CHECKSUM, 0, 0)
    if space.zstd is NULL:
        space.zstd = ZSTD_createDCtx()
        if space.zstd is NULL:
            return fail(failure, FAILED_MEMORY, 0, 0)
    got = ZSTD_decompressDCtx(<ZSTD_DCtx *> space.zstd, out, want, stored, frame)
    if (ZSTD_isError(got) and want < image.block_size and image.rule != RULE_FRAMED
            and _grow_scratch(image, space)):
        got = ZSTD_decompressDCtx(<ZSTD_DCtx *> space.zstd, space.scratch, image.block_size, stored,
                                  frame)
        if not ZSTD_isError(got) and got > want:
            memcpy(out, space.scratch, want)
            return True
    if ZSTD_isError(got):
        return fail(failure, FAILED_CODEC, 0, block.length)
    return got == want or fail(failure, FAILED_LENGTH, want, got)


cdef bint _decode_deflate(Image *image, Space *space, const uint8_t *stored, Stored *block,
                          uint8_t *out, uint64_t want, Failure *failure) noexcept nogil:
    # ciso.py leaves the Adler-32 of the zlib format after each stream, and writers pad to a unit;
    # libdeflate stops at the end of the stream.
    cdef size_t used, got
    cdef libdeflate_result result
    if space.deflate is NULL:
        space.deflate = libdeflate_alloc_decompressor()
        if space.deflate is NULL:
            return fail(failure, FAILED_MEMORY, 0, 0)
    result = _inflate(image, space, stored, block, out, want, &used, &got)
    if (result == LIBDEFLATE_INSUFFICIENT_SPACE and want < image.block_size
            and _grow_scratch(image, space)):
        result = _inflate(image, space, stored, block, space.scratch, image.block_size, &used,
                               &got)
        if result == LIBDEFLATE_SUCCESS and got > want:
            if _has_stray(image, block, block.length - used):
                return fail(failure, FAILED_STRAY, _unit(image), block.length - used)
            memcpy(out, space.scratch, want)
            return True
    if result != LIBDEFLATE_SUCCESS:
        return fail(failure, FAILED_CODEC, 0, block.length)
    if got != want:
        return fail(failure, FAILED_LENGTH, want, got)
    if not _has_stray(image, block, block.length - used):
        return True
    if (block.method == CODEC_DEFLATE and block.length - used >= 4
            and not _has_stray(image, block, block.length - used - 4)
            and _ends_with_adler32(stored + used, out, want)):
        return True
    return fail(failure, FAILED_STRAY, _unit(image), block.length - used)


cdef bint _ends_with_adler32(const uint8_t *end, const uint8_t *out, uint64_t want) noexcept nogil:
    cdef uint32_t said = (<uint32_t> end[0] << 24 | <uint32_t> end[1] << 16
                          | <uint32_t> end[2] << 8 | <uint32_t> end[3])
    return libdeflate_adler32(1, out, want) == said


cdef inline uint64_t _unit(Image *image) noexcept nogil:
    """Return the unit of an index entry in bytes."""
    return <uint64_t> 1 << image.shift


cdef inline bint _has_stray(Image *image, Stored *block, uint64_t stray) noexcept nogil:
    """Return whether a block is followed by more bytes than padding: less than a unit. Only the
    last block of containers with an unreliable last index entry may be followed by more;
    its end is then that of the file."""
    if block.last and (image.rule == RULE_FLAGGED or image.rule == RULE_CISO2):
        return False
    return stray >= _unit(image)


cdef libdeflate_result _inflate(Image *image, Space *space, const uint8_t *stored, Stored *block,
                                uint8_t *out, uint64_t room, size_t *used,
                                size_t *got) noexcept nogil:
    cdef libdeflate_decompressor *inflater = <libdeflate_decompressor *> space.deflate
    got[0] = 0
    if block.method == CODEC_ZLIB:
        return libdeflate_zlib_decompress_ex(inflater, stored, block.length, out, room, used, got)
    return libdeflate_deflate_decompress_ex(inflater, stored, block.length, out, room, used, got)


cdef bint _grow_scratch(Image *image, Space *space) noexcept nogil:
    """Return room for a whole block: some writers store the last one past the end of the image."""
    space.scratch = grown(space.scratch, &space.scratch_size, image.block_size)
    space.lacks_memory = space.scratch is NULL
    return not space.lacks_memory


cdef int _lz4_end(const uint8_t *stored, int size, uint64_t want) noexcept nogil:
    """Return the length of the LZ4 stream at *stored* that decodes to exactly *want* bytes; 0 if
    none is within *size* bytes. It walks the sequences (token, literals, offset, match) without copying."""
    cdef int at = 0
    cdef uint64_t made = 0
    cdef uint64_t length
    cdef uint32_t offset
    cdef uint8_t token
    while at < size:
        token = stored[at]
        at += 1
        length = token >> 4
        if length == 15:
            at = _lz4_length(stored, size, at, &length)
        if length > <uint64_t> (size - at) or length > want - made:
            return 0
        at += <int> length
        made += length
        if made == want:
            return at
        if size - at < 2:
            return 0
        offset = stored[at] | <uint32_t> stored[at + 1] << 8
        at += 2
        length = token & 15
        if length == 15:
            at = _lz4_length(stored, size, at, &length)
        if offset == 0 or offset > made or length + 4 > want - made:
            return 0
        made += length + 4
    return 0


cdef int _lz4_length(const uint8_t *stored, int size, int at, uint64_t *length) noexcept nogil:
    """Add the extension bytes of a length to *length*; return where they end."""
    cdef uint8_t more = 255
    while more == 255 and at < size:
        more = stored[at]
        length[0] += more
        at += 1
    return at


cdef bint fail(Failure *failure, int reason, uint64_t a, uint64_t b) noexcept nogil:
    failure.reason = reason
    failure.a = a
    failure.b = b
    return False


