# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The kernel: turns a run of stored blocks into plain bytes, in one call and without the GIL.

It knows index rules and codecs and nothing of names, caches or FUSE. A call reads the slice of
the index that it needs, reads the stored bytes, decodes them into the caller's buffer and checks
that the file is still the one that was opened. The source is hostile input: every bound is checked
in 64 bits before it is used, and a block that does not give exactly the wanted length is an error.
"""

from libc.errno cimport EAGAIN, EINTR, ENOSYS, EOPNOTSUPP, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer

from os import strerror

from zsofs.errors import BlockError, SourceChangedError

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/stat.h>
    #include <sys/uio.h>
    #ifndef RWF_NOWAIT
    #define RWF_NOWAIT 0x00000008
    #endif

    static ssize_t zsofs_pread(int fd, void *buf, size_t size, int64_t offset, int flags)
    {
        struct iovec piece = { buf, size };
        return preadv2(fd, &piece, 1, (off_t)offset, flags);
    }

    /* 1: same size and modification time as when it was opened; 0: not; -1: fstat failed */
    static int zsofs_unchanged(int fd, uint64_t size, int64_t mtime_ns)
    {
        struct stat now;
        if (fstat(fd, &now) != 0)
            return -1;
        return (uint64_t)now.st_size == size
            && (int64_t)now.st_mtim.tv_sec * 1000000000 + now.st_mtim.tv_nsec == mtime_ns;
    }
    """
    const int RWF_NOWAIT
    ssize_t zsofs_pread(int fd, void *buf, size_t size, int64_t offset, int flags) nogil
    int zsofs_unchanged(int fd, uint64_t size, int64_t mtime_ns) nogil

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
    libdeflate_decompressor *libdeflate_alloc_decompressor() nogil
    void libdeflate_free_decompressor(libdeflate_decompressor *d) nogil
    libdeflate_result libdeflate_deflate_decompress_ex(
        libdeflate_decompressor *d, const void *src, size_t size, void *dst, size_t capacity,
        size_t *used, size_t *produced) nogil
    libdeflate_result libdeflate_zlib_decompress_ex(
        libdeflate_decompressor *d, const void *src, size_t size, void *dst, size_t capacity,
        size_t *used, size_t *produced) nogil


# The numbers of zsofs.formats.geometry.Rule and .Codec; a test holds them together.
cdef enum:
    RULE_FLAGGED = 0     # bit 31 of an index entry: the block is stored plain
    RULE_CISO2 = 1       # stored length >= block size: plain; else bit 31: LZ4; else deflate
    RULE_DAX = 2         # a table of offsets and a table of lengths, no flags
    RULE_FRAMED = 3      # bit 31 never set, no byte between the blocks: ZSOZ

cdef enum:
    CODEC_LZ4 = 0
    CODEC_ZSTD = 1
    CODEC_ZLIB = 2
    CODEC_DEFLATE = 3
    CODEC_PLAIN = 4      # how one block is stored; never the codec of an image

cdef enum:
    FAILED_READ = 1
    FAILED_MEMORY = 2
    FAILED_CHANGED = 3
    FAILED_BACKWARDS = 4
    FAILED_IN_INDEX = 5
    FAILED_PAST_END = 6
    FAILED_TOO_LONG = 7
    FAILED_EMPTY = 8
    FAILED_FLAG = 9
    FAILED_CODEC = 10
    FAILED_LENGTH = 11
    FAILED_STRAY = 12
    FAILED_INDEX_CUT = 13
    FAILED_CUT = 14

_REASONS = {
    FAILED_BACKWARDS: "its index entry points to {a}, the next one back to {b}",
    FAILED_IN_INDEX: "its index entry points to {b}, before the data begins at {a}",
    FAILED_PAST_END: "its index entry points to {b}, past the end of the file at {a}",
    FAILED_TOO_LONG: "its stored length is {b}, at most {a} is possible",
    FAILED_EMPTY: "its stored length is 0",
    FAILED_FLAG: "its index entry or the next has bit 31 set, which this container never does",
    FAILED_CODEC: "its {b} stored bytes are not valid {codec} data",
    FAILED_LENGTH: "it decodes to {b} bytes instead of {a}",
    FAILED_STRAY: "{b} stray bytes follow its frame, fewer than {a} are possible",
    FAILED_INDEX_CUT: "the file ends inside the index",
    FAILED_CUT: "the file ends after {b} of its {a} stored bytes",
}
_CODEC_NAMES = ("LZ4", "Zstandard", "zlib", "deflate")

WOULD_WAIT = -1
"""Returned by a ``nowait`` read whose bytes are not all in memory: ask again from a thread."""

NO_NOWAIT = -2
"""The same, from a file system that cannot answer without waiting: do not ask it so again."""

# One pread gathers at most this much stored data unless a single block is longer. 1 MiB is the
# longest request the kernel sends, so a request costs one pread where the blocks lie in order.
cdef enum:
    GATHER = 1 << 20
    # A work space that a rare large block has grown past this is given back to the system.
    KEEP_AT_MOST = 4 << 20
    # Blocks that lie this near to each other are fetched by one pread: alignment padding is at
    # most 64 KiB (index shift 16) and in practice under 64 bytes.
    MAX_GAP = 4096


cdef struct Failure:
    int reason
    int error            # errno where reason is FAILED_READ
    int codec
    uint64_t block
    int64_t offset
    uint64_t a
    uint64_t b

cdef struct Stored:
    uint64_t offset
    uint64_t length      # stored bytes to fetch
    int method
    bint last


cdef class _WorkSpace:
    """What one call needs besides the caller's buffer; reused, because fresh pages cost more
    than decoding does (20 to 30 microseconds for each 128 KiB)."""

    cdef uint8_t *data
    cdef size_t data_size
    cdef uint8_t *scratch
    cdef size_t scratch_size
    cdef uint8_t *index
    cdef size_t index_size
    cdef Stored *blocks
    cdef size_t blocks_size
    cdef ZSTD_DCtx *zstd
    cdef libdeflate_decompressor *deflate

    def __dealloc__(self):
        free(self.data)
        free(self.scratch)
        free(self.index)
        free(self.blocks)
        if self.zstd is not NULL:
            ZSTD_freeDCtx(self.zstd)
        if self.deflate is not NULL:
            libdeflate_free_decompressor(self.deflate)


cdef list _idle_work_spaces = []

cdef _WorkSpace _take_work_space():
    return <_WorkSpace> _idle_work_spaces.pop() if _idle_work_spaces else _WorkSpace()

cdef _give_back(_WorkSpace space):
    if space.data_size + space.scratch_size <= KEEP_AT_MOST:
        _idle_work_spaces.append(space)

cdef uint8_t *_grown(uint8_t *memory, size_t *size, size_t wanted) noexcept nogil:
    """*memory* with room for *wanted* bytes, its old contents lost; NULL where there is none."""
    if memory is not NULL and size[0] >= wanted:
        return memory
    free(memory)
    size[0] = 0
    memory = <uint8_t *> malloc(wanted)
    if memory is not NULL:
        size[0] = wanted
    return memory


cdef int64_t _read(int fd, uint8_t *out, uint64_t size, uint64_t offset, bint nowait,
                   Failure *failure) noexcept nogil:
    """Bytes read (fewer than *size* only at the end of the file), WOULD_WAIT, NO_NOWAIT,
    or -3 with *failure* filled."""
    cdef uint64_t done = 0
    cdef ssize_t got
    while done < size:
        got = zsofs_pread(fd, out + done, size - done, <int64_t> (offset + done),
                          RWF_NOWAIT if nowait else 0)
        if got > 0:
            done += <uint64_t> got
        elif got == 0:
            # With RWF_NOWAIT this may also be a file system's way to say «not now».
            return -1 if nowait else <int64_t> done
        elif errno == EINTR:
            continue
        elif nowait and errno == EAGAIN:
            return -1
        elif nowait and (errno == EOPNOTSUPP or errno == ENOSYS):
            return -2
        else:
            failure.reason = FAILED_READ
            failure.error = errno
            return -3
    return <int64_t> done


cdef inline uint32_t _u32(const uint8_t *at) noexcept nogil:
    return (<uint32_t> at[0] | <uint32_t> at[1] << 8 | <uint32_t> at[2] << 16
            | <uint32_t> at[3] << 24)


cdef class BlockReader:
    """Decodes the blocks of one image.

    Built from the plain numbers of a :class:`zsofs.formats.geometry.Geometry`, which is where
    they are explained, and the size and modification time the source file had when it was opened.
    """

    cdef int rule
    cdef int codec
    cdef int shift
    cdef uint64_t size
    cdef uint64_t block_size
    cdef uint64_t block_count
    cdef uint64_t index_offset
    cdef uint64_t data_start
    cdef uint64_t data_end
    cdef uint64_t source_size
    cdef int64_t source_mtime_ns
    cdef readonly bint final_byte_missing

    def __init__(self, *, int rule, int codec, int shift, uint64_t size, uint64_t block_size,
                 uint64_t index_offset, uint64_t data_start, uint64_t data_end,
                 uint64_t source_size, int64_t source_mtime_ns):
        if not 0 < block_size <= 16 << 20 or size > <uint64_t> 64 << 30 or not 0 <= shift <= 16:
            raise ValueError("geometry out of bounds")
        self.rule = rule
        self.codec = codec
        self.shift = shift
        self.size = size
        self.block_size = block_size
        self.block_count = (size + block_size - 1) // block_size
        self.index_offset = index_offset
        self.data_start = data_start
        self.data_end = data_end
        self.source_size = source_size
        self.source_mtime_ns = source_mtime_ns
        self.final_byte_missing = False

    def read(self, int fd, uint64_t first, uint64_t count, out, bint nowait=False):
        """Decode blocks *first* to *first* + *count* - 1 of the file open as *fd* into *out*.

        Args:
            fd: descriptor of the source file; read by position only.
            first: number of the first block.
            count: how many blocks; the run must lie inside the image.
            out: writable buffer of at least the run's plain length, in bytes.
            nowait: give up rather than wait for a disk.

        Returns:
            The plain length, or WOULD_WAIT or NO_NOWAIT (then *out* holds no promise).

        Raises:
            BlockError: the first block that is not what it should be.
            SourceChangedError: the file is no longer the one that was opened.
            OSError: the source could not be read.
        """
        cdef Py_buffer view
        cdef Failure failure
        cdef int64_t result
        cdef uint64_t begin, end
        cdef _WorkSpace space
        if count == 0 or first >= self.block_count or count > self.block_count - first:
            raise ValueError(f"blocks {first} to {first + count} are not all inside the image")
        begin = first * self.block_size
        end = min(self.size, (first + count) * self.block_size)
        PyObject_GetBuffer(out, &view, PyBUF_WRITABLE)
        try:
            if <uint64_t> view.len < end - begin:
                raise ValueError(f"a buffer of {view.len} bytes cannot take {end - begin}")
            space = _take_work_space()
            memset(&failure, 0, sizeof(failure))
            with nogil:
                result = self._run(space, fd, first, count, <uint8_t *> view.buf, nowait, &failure)
                if result >= 0 or result == -3:
                    result = _check_unchanged(fd, self.source_size, self.source_mtime_ns,
                                              result, &failure)
            _give_back(space)
        finally:
            PyBuffer_Release(&view)
        if result == -3:
            _raise(&failure)
        return result if result < 0 else end - begin

    cdef int64_t _run(self, _WorkSpace space, int fd, uint64_t first, uint64_t count, uint8_t *out,
                      bint nowait, Failure *failure) noexcept nogil:
        cdef int64_t result
        cdef uint64_t done = 0
        cdef uint64_t upto, begin, end
        result = self._locate(space, fd, first, count, nowait, failure)
        if result < 0:
            return result
        while done < count:
            # Gather as many blocks as lie in order and near each other, and fetch them at once.
            begin = space.blocks[done].offset
            end = begin + space.blocks[done].length
            upto = done + 1
            while (upto < count and space.blocks[upto].offset >= begin
                   and space.blocks[upto].offset <= end + MAX_GAP
                   and space.blocks[upto].offset + space.blocks[upto].length - begin <= GATHER):
                end = max(end, space.blocks[upto].offset + space.blocks[upto].length)
                upto += 1
            space.data = _grown(space.data, &space.data_size, end - begin)
            if space.data is NULL:
                failure.reason = FAILED_MEMORY
                return -3
            result = _read(fd, space.data, end - begin, begin, nowait, failure)
            if result < 0:
                return result
            while done < upto:
                if not self._decode(space, first + done, &space.blocks[done],
                                    begin, <uint64_t> result,
                                    out + done * self.block_size, failure):
                    return -3
                done += 1
        return 0

    cdef int64_t _locate(self, _WorkSpace space, int fd, uint64_t first, uint64_t count,
                         bint nowait, Failure *failure) noexcept nogil:
        """Read the index slice and fill space.blocks; 0, or negative as _read gives it."""
        cdef uint64_t entries = count if self.rule == RULE_DAX else count + 1
        cdef uint64_t needed = 4 * entries
        cdef uint64_t number
        cdef int64_t result
        cdef uint8_t *sizes
        space.index = _grown(space.index, &space.index_size, 6 * entries)
        space.blocks = <Stored *> _grown(<uint8_t *> space.blocks, &space.blocks_size,
                                         count * sizeof(Stored))
        if space.index is NULL or space.blocks is NULL:
            failure.reason = FAILED_MEMORY
            return -3
        result = _read(fd, space.index, needed, self.index_offset + 4 * first, nowait, failure)
        if result >= 0 and self.rule == RULE_DAX and <uint64_t> result == needed:
            sizes = space.index + needed
            needed = 2 * count
            result = _read(fd, sizes, needed, self.index_offset + 4 * self.block_count + 2 * first,
                           nowait, failure)
        else:
            sizes = NULL
        if result < 0:
            return result
        if <uint64_t> result < needed:
            failure.reason = FAILED_INDEX_CUT
            failure.block = first
            failure.offset = -1
            return -3
        for number in range(count):
            if not self._locate_block(&space.blocks[number], space.index + 4 * number,
                                      NULL if sizes is NULL else sizes + 2 * number,
                                      first + number, failure):
                return -3
        return 0

    cdef bint _locate_block(self, Stored *block, const uint8_t *entry, const uint8_t *dax_size,
                            uint64_t number, Failure *failure) noexcept nogil:
        """What one index entry says, checked against the file's bounds."""
        cdef uint64_t want = min(self.block_size, self.size - number * self.block_size)
        cdef uint64_t most = 2 * self.block_size + (<uint64_t> 1 << self.shift)
        cdef uint64_t offset, end, delta
        cdef bint flag = False
        block.last = number == self.block_count - 1
        block.method = self.codec
        if self.rule == RULE_DAX:
            offset = _u32(entry)
            delta = <uint64_t> dax_size[0] | <uint64_t> dax_size[1] << 8
            end = offset + delta
        else:
            flag = _u32(entry) >> 31
            offset = <uint64_t> (_u32(entry) & 0x7FFFFFFF) << self.shift
            end = <uint64_t> (_u32(entry + 4) & 0x7FFFFFFF) << self.shift
            delta = end - offset
        failure.block = number
        failure.offset = <int64_t> offset
        if end < offset:
            return _fail(failure, FAILED_BACKWARDS, offset, end)
        if offset < self.data_start:
            return _fail(failure, FAILED_IN_INDEX, self.data_start, offset)
        if offset >= self.source_size:
            return _fail(failure, FAILED_PAST_END, self.source_size, offset)
        if self.rule == RULE_FLAGGED and flag:
            block.method = CODEC_PLAIN
        elif self.rule == RULE_CISO2:
            block.method = (CODEC_PLAIN if delta >= self.block_size
                            else CODEC_LZ4 if flag else CODEC_DEFLATE)
        elif self.rule == RULE_FRAMED and (flag or _u32(entry + 4) >> 31):
            return _fail(failure, FAILED_FLAG, 0, 0)
        block.offset = offset
        if block.method == CODEC_PLAIN:
            # The next entry does not count: padding makes the distance longer, and some writers
            # round the last entry down.
            block.length = want
            return True
        if block.last and self.rule != RULE_DAX:
            # The last entry may be rounded down by up to 2^shift - 1 bytes, so it does not
            # bound the last block; the end of the data does.
            delta = min(most, self.data_end - offset) if self.data_end > offset else 0
        if delta == 0:
            return _fail(failure, FAILED_EMPTY, 0, 0)
        if delta > most:
            return _fail(failure, FAILED_TOO_LONG, most, delta)
        block.length = delta
        return True

    cdef bint _decode(self, _WorkSpace space, uint64_t number, Stored *block, uint64_t begin,
                      uint64_t fetched, uint8_t *out, Failure *failure) noexcept nogil:
        """Decode one fetched block to exactly its wanted length."""
        cdef uint64_t want = min(self.block_size, self.size - number * self.block_size)
        cdef uint64_t skip = block.offset - begin
        cdef uint64_t have = fetched - skip if fetched > skip else 0
        cdef const uint8_t *stored = space.data + skip
        failure.block = number
        failure.offset = <int64_t> block.offset
        failure.codec = block.method
        if (block.method == CODEC_PLAIN and block.last and have == want - 1
                and self.codec == CODEC_LZ4 and self.rule == RULE_FLAGGED):
            # The same lost byte as in _lacks_final_byte, from a block stored plain.
            memcpy(out, stored, have)
            out[have] = 0
            self.final_byte_missing = True
            return True
        if have < block.length:
            return _fail(failure, FAILED_CUT, block.length, have)
        if block.method == CODEC_PLAIN:
            memcpy(out, stored, want)
            return True
        if block.method == CODEC_LZ4:
            return self._decode_lz4(space, stored, block, out, want, failure)
        if block.method == CODEC_ZSTD:
            return self._decode_zstd(space, stored, block, out, want, failure)
        return self._decode_deflate(space, stored, block, out, want, failure)

    cdef bint _decode_lz4(self, _WorkSpace space, const uint8_t *stored, Stored *block,
                          uint8_t *out, uint64_t want, Failure *failure) noexcept nogil:
        # The strict decoder refuses a stream that padding follows, and a last block that is stored
        # longer than the image goes on. LZ4_decompress_safe_partial takes both, at half the speed
        # (1.5 against 3.0 GB/s on 2 KiB blocks, liblz4 1.9.4), but it reads padding as one more
        # match and then leaves in the buffer what was there before (tried: stale bytes that pass
        # as decoded ones). So where there can be padding the exact end of the stream is found
        # first, and the strict decoder gets just that.
        cdef int size = <int> block.length
        cdef int got = -1
        cdef int end = size
        if self.shift == 0 and not block.last:
            got = LZ4_decompress_safe(<const char *> stored, <char *> out, size, <int> want)
        if got != <int> want:
            end = _lz4_end(stored, size, want)
            if end:
                got = LZ4_decompress_safe(<const char *> stored, <char *> out, end, <int> want)
        if got == <int> want:
            return True
        if block.last and (self._lacks_final_byte(stored, size, out, want)
                           or self._goes_on(space, stored, size, out, want)):
            return True
        if got >= 0:
            return _fail(failure, FAILED_LENGTH, want, <uint64_t> got)
        return _fail(failure, FAILED_CODEC, 0, block.length)

    cdef bint _lacks_final_byte(self, const uint8_t *stored, int size, uint8_t *out,
                                uint64_t want) noexcept nogil:
        """ziso_compressor 0.7.0 can lose the final byte of an image; 0 is served for it."""
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
        self.final_byte_missing = True
        return True

    cdef bint _goes_on(self, _WorkSpace space, const uint8_t *stored, int size, uint8_t *out,
                       uint64_t want) noexcept nogil:
        """Decode a last block that is stored longer than the image goes on, mostly in full."""
        cdef int end = _lz4_end(stored, size, self.block_size)
        if want == self.block_size or not self._grow_scratch(space):
            return False
        if LZ4_decompress_safe(<const char *> stored, <char *> space.scratch, end if end else size,
                               <int> self.block_size) <= <int> want:
            return False
        memcpy(out, space.scratch, want)
        return True

    cdef bint _decode_zstd(self, _WorkSpace space, const uint8_t *stored, Stored *block,
                           uint8_t *out, uint64_t want, Failure *failure) noexcept nogil:
        # ZSTD_decompress fails on a frame that padding follows, so the frame's own length
        # comes first; what follows it can only be padding.
        cdef size_t frame = ZSTD_findFrameCompressedSize(stored, block.length)
        cdef uint64_t stray
        cdef size_t got
        if ZSTD_isError(frame) or frame > block.length:
            return _fail(failure, FAILED_CODEC, 0, block.length)
        stray = block.length - frame
        if self.rule == RULE_FRAMED:
            if stray >= <uint64_t> 1 << self.shift:
                return _fail(failure, FAILED_STRAY, <uint64_t> 1 << self.shift, stray)
        elif not block.last and stray >= <uint64_t> 1 << self.shift:
            return _fail(failure, FAILED_STRAY, <uint64_t> 1 << self.shift, stray)
        if space.zstd is NULL:
            space.zstd = ZSTD_createDCtx()
            if space.zstd is NULL:
                return _fail(failure, FAILED_MEMORY, 0, 0)
        got = ZSTD_decompressDCtx(space.zstd, out, want, stored, frame)
        if (ZSTD_isError(got) and want < self.block_size and self.rule != RULE_FRAMED
                and self._grow_scratch(space)):
            got = ZSTD_decompressDCtx(space.zstd, space.scratch, self.block_size, stored, frame)
            if not ZSTD_isError(got) and got > want:
                memcpy(out, space.scratch, want)
                return True
        if ZSTD_isError(got):
            return _fail(failure, FAILED_CODEC, 0, block.length)
        return got == want or _fail(failure, FAILED_LENGTH, want, got)

    cdef bint _decode_deflate(self, _WorkSpace space, const uint8_t *stored, Stored *block,
                              uint8_t *out, uint64_t want, Failure *failure) noexcept nogil:
        # An Adler-32 or padding may follow the stream; libdeflate stops at the stream's end.
        cdef size_t used, got
        cdef libdeflate_result result
        if space.deflate is NULL:
            space.deflate = libdeflate_alloc_decompressor()
            if space.deflate is NULL:
                return _fail(failure, FAILED_MEMORY, 0, 0)
        result = self._inflate(space, stored, block, out, want, &used, &got)
        if (result == LIBDEFLATE_INSUFFICIENT_SPACE and want < self.block_size
                and self._grow_scratch(space)):
            result = self._inflate(space, stored, block, space.scratch, self.block_size, &used,
                                   &got)
            if result == LIBDEFLATE_SUCCESS and got > want:
                memcpy(out, space.scratch, want)
                return True
        if result != LIBDEFLATE_SUCCESS:
            return _fail(failure, FAILED_CODEC, 0, block.length)
        return got == want or _fail(failure, FAILED_LENGTH, want, got)

    cdef libdeflate_result _inflate(self, _WorkSpace space, const uint8_t *stored, Stored *block,
                                    uint8_t *out, uint64_t room, size_t *used,
                                    size_t *got) noexcept nogil:
        got[0] = 0
        if block.method == CODEC_ZLIB:
            return libdeflate_zlib_decompress_ex(space.deflate, stored, block.length, out, room,
                                                 used, got)
        return libdeflate_deflate_decompress_ex(space.deflate, stored, block.length, out, room,
                                                used, got)

    cdef bint _grow_scratch(self, _WorkSpace space) noexcept nogil:
        """Room for a whole block: some writers store the last one longer than the image goes on."""
        space.scratch = _grown(space.scratch, &space.scratch_size, self.block_size)
        return space.scratch is not NULL


cdef int _lz4_end(const uint8_t *stored, int size, uint64_t want) noexcept nogil:
    """Length of the LZ4 stream at *stored* that decodes to exactly *want* bytes; 0 if there is none
    within *size* bytes. It walks the sequences (token, literals, offset, match) without copying."""
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
    """Add a length's further bytes to *length*; returns where they end."""
    cdef uint8_t more = 255
    while more == 255 and at < size:
        more = stored[at]
        length[0] += more
        at += 1
    return at


cdef bint _fail(Failure *failure, int reason, uint64_t a, uint64_t b) noexcept nogil:
    failure.reason = reason
    failure.a = a
    failure.b = b
    return False


cdef int64_t _check_unchanged(int fd, uint64_t size, int64_t mtime_ns, int64_t result,
                              Failure *failure) noexcept nogil:
    """*result*, or -3 if the file is no longer the one that was opened: asked after the preads and
    before the reply, so that old and new never mix, and after a failure, because then it is why."""
    cdef int answer = zsofs_unchanged(fd, size, mtime_ns)
    if answer == 1:
        return result
    if answer == 0:
        failure.reason = FAILED_CHANGED
    elif result >= 0:
        failure.reason = FAILED_READ
        failure.error = errno
    return -3


cdef _raise(Failure *failure):
    if failure.reason == FAILED_READ:
        raise OSError(failure.error, strerror(failure.error))
    if failure.reason == FAILED_MEMORY:
        raise MemoryError("no memory to decode a block")
    if failure.reason == FAILED_CHANGED:
        raise SourceChangedError("the file was written to or cut after it had been opened")
    codec = _CODEC_NAMES[failure.codec] if failure.codec < 4 else "plain"
    raise BlockError(failure.block, failure.offset,
                     _REASONS[failure.reason].format(a=failure.a, b=failure.b, codec=codec))


def read_plain(int fd, uint64_t offset, out, uint64_t source_size, int64_t source_mtime_ns,
               bint nowait=False):
    """Fill *out* with the bytes at *offset* of a plain file.

    Args:
        fd: descriptor of the file; read by position only.
        offset: in bytes; *offset* + len(*out*) must lie inside the file.
        out: writable buffer.
        source_size: size of the file when it was opened, in bytes.
        source_mtime_ns: its modification time then, in nanoseconds.
        nowait: give up rather than wait for a disk.

    Returns:
        len(*out*), or WOULD_WAIT or NO_NOWAIT.

    Raises:
        SourceChangedError: the file is no longer the one that was opened.
        OSError: the file could not be read.
    """
    cdef Py_buffer view
    cdef Failure failure
    cdef int64_t result
    PyObject_GetBuffer(out, &view, PyBUF_WRITABLE)
    memset(&failure, 0, sizeof(failure))
    with nogil:
        result = _read(fd, <uint8_t *> view.buf, <uint64_t> view.len, offset, nowait, &failure)
        if result >= 0 and result < view.len:
            failure.reason = FAILED_CHANGED
            result = -3
        elif result >= 0:
            result = _check_unchanged(fd, source_size, source_mtime_ns, result, &failure)
    PyBuffer_Release(&view)
    if result == -3:
        _raise(&failure)
    return result
