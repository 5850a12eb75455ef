# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False
"""Reads and decodes a run of stored blocks in one call, without the GIL.

It uses threads, but no names, caches or FUSE. A call reads the slice of the index that it
needs, reads the stored bytes, decodes them into the caller's buffer, and checks that the file
is still the one that was opened.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject

from zsofs.native.chd_codecs cimport decode_hunk, hunk_ns, show_hunk
from zsofs.native.chd_map cimport Chd, ChdMap, locate_hunks
from zsofs.native.codecs cimport *
from zsofs.native.fetch cimport *

from os import sched_getaffinity, strerror

from zsofs.errors import BlockError, SourceChangedError, SourceTouchedError

cdef extern from "thread_pool.h":
    struct zsofs_job:
        void (*run)(zsofs_job *) noexcept nogil
        zsofs_job *next
    ctypedef struct zsofs_pool:
        pass
    enum:
        ZSOFS_AWAKE_NS
    int64_t zsofs_now() nogil
    int64_t zsofs_awake_ns
    zsofs_pool *zsofs_pool_new(int most, int eventfd) nogil
    int zsofs_pool_start(zsofs_pool *pool, zsofs_job *job, bint near) nogil
    bint zsofs_pool_wait(zsofs_pool *pool, zsofs_job *job, int64_t nanoseconds) nogil
    void zsofs_pool_wait_or_cancel(zsofs_pool *pool, zsofs_job *job) nogil
    void zsofs_pool_let_go(zsofs_pool *pool) nogil
    zsofs_job *zsofs_pool_finished(zsofs_pool *pool) nogil

cdef extern from *:
    """
    #define zsofs_take_number(at) __atomic_fetch_add(at, 1, __ATOMIC_RELAXED)
    """
    int zsofs_take_number(int *at) nogil


_REASONS = {
    FAILED_BACKWARDS: "its index entry points to {a}, but the next one points back to {b}",
    FAILED_IN_INDEX: "its index entry points to {b}, before the data begins at {a}",
    FAILED_PAST_END: "its index entry points to {b}, past the end of the file at {a}",
    FAILED_TOO_LONG: "its stored length is {b}; the maximum is {a}",
    FAILED_EMPTY: "its stored length is 0",
    FAILED_FLAG: (
        "bit 31 of its index entry or of the next one is set, which is invalid in this container"
    ),
    FAILED_CODEC: "its {b} stored bytes are not valid {codec} data",
    FAILED_LENGTH: "it decodes to {b} bytes instead of {a}",
    FAILED_STRAY: "{b} stray bytes follow its data; fewer than {a} are allowed",
    FAILED_NO_CHECKSUM: "its frame has no checksum, but all frames of this container have one",
    FAILED_INDEX_CUT: "the file ends inside the index",
    FAILED_CUT: "the file ends after {b} of its {a} stored bytes",
    FAILED_OVERLAP: "it is stored uncompressed in {a} bytes, but the next block begins after {b}",
    FAILED_NO_CODEC: "it is stored with codec {b}, which the header does not name",
    FAILED_LINKS: "it refers to another hunk, and that one on, more than {a} times",
    FAILED_LINK_ENDS: "it refers to hunk {b} of {a}",
    FAILED_NO_PARENT: "it is stored in the parent, and this CHD has none",
    FAILED_PARENT_ENDS: "it is stored at {b} of the parent, which has {a} bytes",
    FAILED_CRC: "its CRC-16 is {b}, the map gives {a}",
    FAILED_PARENTS_WORK: "more than {a} bytes of its parents would be decoded for it",
}
_CODEC_NAMES = {
    CODEC_LZ4: "LZ4",
    CODEC_ZSTD: "Zstandard",
    CODEC_ZLIB: "zlib",
    CODEC_DEFLATE: "deflate",
    CODEC_LZMA: "LZMA",
    CODEC_HUFFMAN: "Huffman",
    CODEC_FLAC: "FLAC",
    CODEC_CD_LZMA: "cdlz",
    CODEC_CD_DEFLATE: "cdzl",
    CODEC_CD_ZSTD: "cdzs",
    CODEC_CD_FLAC: "cdfl",
}

WAIT = HOW_WAIT
"""Read mode: wait for the disk if necessary."""

ASK = HOW_ASK
"""Read mode: do not wait for the disk (RWF_NOWAIT)."""

LOOK = HOW_LOOK
"""Read mode: first check whether all bytes are cached, for file systems without RWF_NOWAIT."""

WOULD_WAIT = -1
"""Result of a read with ASK or LOOK whose bytes are not all cached: use a thread."""

NO_NOWAIT = -2
"""Result of a read with ASK from a file system without RWF_NOWAIT: do not use ASK again."""

# One pread reads at most this much stored data unless a single block is longer. 1 MiB is the
# longest request of the kernel, so a request costs one pread if the blocks are contiguous.
cdef enum:
    GATHER = 1 << 20
    # Blocks with a gap up to this are read by one pread: alignment padding is at
    # most 64 KiB (index shift 16) and in practice under 64 bytes.
    MAX_GAP = 4096


# A hunk may lie across two of the parent, and each of these across two of its own: 2^32 with 32
# parents. A normal one needs at most two hunks of each parent, of up to 16 MiB, mostly of 4 KiB.
cdef enum:
    PARENTS_WORK = 128 << 20
    HUNK_WORK = 4096     # to find a hunk, in bytes of decoding


# Decoding is distributed to other cores if it takes long enough to pay for waking a thread. With
# one helper, 128 KiB of zstd 2 KiB blocks take 97 instead of 147 microseconds, of zstd 32 KiB
# blocks 52 instead of 66, of deflate 153 instead of 252; LZ4 (38) is not distributed.
cdef enum:
    # Nanoseconds of work of one part, and the minimum for splitting.
    PART_NS = 25_000
    SHARE_FROM_NS = 60_000
    MOST_HELPERS = 3

cdef zsofs_pool *_helpers = NULL
cdef int _helper_count = min(MOST_HELPERS, len(sched_getaffinity(0)) - 1)


cdef struct Run:
    # One read, from arguments to result; a pool sees only the job in it.
    zsofs_job job
    Image *image         # NULL: a plain file
    int fd
    int how
    uint64_t first       # block; of a plain file the offset
    uint64_t count       # blocks; of a plain file the bytes
    uint64_t source_size
    int64_t source_mtime_ns
    int64_t source_ctime_ns
    bint checks_ctime
    zsofs_seen seen      # what the file was after it was read
    uint8_t *out
    int64_t result       # from 0 on: done; else WOULD_WAIT, NO_NOWAIT, or -3 with the failure
    Failure failure
    int64_t started_at   # nanoseconds of the monotonic clock
    int64_t begun_at
    int64_t ended_at
    int64_t source_ns    # of that time, waiting for the source
    PyObject *owner


cdef void _run(zsofs_job *job) noexcept nogil:
    cdef Run *run = <Run *> job
    cdef Space *space
    run.begun_at = zsofs_now()
    if run.image is NULL:
        run.result = fetch(run.fd, run.out, run.count, <uint64_t> run.first, run.how,
                           &run.failure)
        if run.result >= 0 and <uint64_t> run.result < run.count:
            run.failure.reason = FAILED_CHANGED
            run.result = -3
        run.source_ns = zsofs_now() - run.begun_at
    else:
        space = take_space()
        if space is NULL:
            run.failure.reason = FAILED_MEMORY
            run.result = -3
        else:
            run.result = _run_blocks(run, space)
            give_back(space)
    if run.result >= 0 or (run.result == -3 and run.image is not NULL):
        run.result = check_unchanged(run.fd, run.source_size, run.source_mtime_ns, run.result,
                                      &run.failure, &run.seen)
    run.ended_at = zsofs_now()


cdef int64_t _run_blocks(Run *run, Space *space) noexcept nogil:
    cdef Image *image = run.image
    cdef int64_t result
    cdef int64_t before = run.begun_at
    cdef uint64_t done = 0
    cdef uint64_t upto, begin, end
    if image.chd is NULL:
        result = locate(image, space, run.fd, run.first, run.count, run.how, &run.failure)
    else:
        result = locate_hunks(image, space, run.fd, run.first, run.count, run.how, &run.failure)
    if result < 0:
        return result
    while done < run.count:
        if space.blocks[done].method == CODEC_PARENT:
            run.failure.parents_work = 0
            result = _read_parent(image, space.blocks[done].offset, run.first + done, run.how,
                                  run.out + done * image.block_size, &run.failure)
            run.source_ns += zsofs_now() - before
            if result < 0:
                return result
            done += 1
            before = zsofs_now()
            continue
        # Gather as many blocks as lie in order and near each other, and fetch them at once.
        begin = space.blocks[done].offset
        end = begin + space.blocks[done].length
        upto = done + 1
        while (upto < run.count and space.blocks[upto].method != CODEC_PARENT
               and space.blocks[upto].offset >= begin
               and space.blocks[upto].offset <= end + MAX_GAP
               and space.blocks[upto].offset + space.blocks[upto].length - begin <= GATHER):
            end = max(end, space.blocks[upto].offset + space.blocks[upto].length)
            upto += 1
        space.data = grown(space.data, &space.data_size, end - begin)
        if space.data is NULL:
            run.failure.reason = FAILED_MEMORY
            return -3
        result = fetch(run.fd, space.data, end - begin, begin, run.how, &run.failure)
        run.source_ns += zsofs_now() - before
        if result < 0:
            return result
        if not _decode_blocks(image, space, run.first, done, upto, begin, <uint64_t> result,
                              run.out, &run.failure):
            return -3
        done = upto
        before = zsofs_now()
    return 0


cdef int64_t _read_parent(Image *image, uint64_t offset, uint64_t number, int how, uint8_t *out,
                          Failure *failure) noexcept nogil:
    """Take hunk *number* from *offset* of the parent; returns as :func:`fetch` does.

    It may lie in two hunks of the parent, and these in its own parent: the depth is that of the
    chain, which is bounded when it is opened.
    """
    cdef Chd *chd = <Chd *> image.chd
    cdef Image *parent = chd.parent
    cdef Space *space
    cdef zsofs_seen seen
    cdef uint64_t end = offset + chd.hunk_size
    cdef uint64_t first = offset // parent.block_size
    cdef uint64_t count = (end - 1) // parent.block_size - first + 1
    cdef uint64_t size = count * parent.block_size
    cdef uint8_t *hunks
    cdef int64_t result
    failure.block = number
    failure.offset = -1
    if end > parent.size:
        fail(failure, FAILED_PARENT_ENDS, parent.size, offset)
        return -3
    failure.parents_work += size + count * HUNK_WORK
    if failure.parents_work > PARENTS_WORK:
        fail(failure, FAILED_PARENTS_WORK, PARENTS_WORK, 0)
        return -3
    space = take_space()
    if space is NULL:
        fail(failure, FAILED_MEMORY, 0, 0)
        return -3
    space.from_parent = hunks = grown(space.from_parent, &space.from_parent_size, size)
    if hunks is NULL:
        fail(failure, FAILED_MEMORY, 0, 0)
        result = -3
    else:
        result = _read_hunks(parent, space, chd.parent_fd, first, count, how, hunks, failure)
        result = check_unchanged(chd.parent_fd, parent.source_size, parent.source_mtime_ns, result,
                                 failure, &seen)
        if result >= 0:
            show_hunk(image, hunks + (offset - first * parent.block_size), number, out)
    give_back(space)
    if result == -3:
        failure.block = number
        failure.in_parent = failure.reason != FAILED_PARENTS_WORK
    return result


cdef int64_t _read_hunks(Image *image, Space *space, int fd, uint64_t first, uint64_t count,
                         int how, uint8_t *out, Failure *failure) noexcept nogil:
    """Decode hunks of a parent, one after the other."""
    cdef uint64_t done
    cdef int64_t result = locate_hunks(image, space, fd, first, count, how, failure)
    if result < 0:
        return result
    for done in range(count):
        if space.blocks[done].method == CODEC_PARENT:
            result = _read_parent(image, space.blocks[done].offset, first + done, how,
                                  out + done * image.block_size, failure)
            if result < 0:
                return result
            continue
        space.data = grown(space.data, &space.data_size, max(space.blocks[done].length, 1))
        if space.data is NULL:
            fail(failure, FAILED_MEMORY, 0, 0)
            return -3
        result = fetch(fd, space.data, space.blocks[done].length, space.blocks[done].offset, how,
                       failure)
        if result < 0:
            return result
        if not decode_hunk(image, space, first + done, &space.blocks[done], space.data,
                           <uint64_t> result, out + done * image.block_size, failure):
            return -3
    return 0


cdef struct Share:
    # Blocks that several threads decode in parts: an idle thread takes the next part.
    zsofs_job job
    Share *whole
    Image *image
    const uint8_t *data
    uint64_t data_at     # where the fetched bytes begin in the source
    uint64_t fetched
    Stored *blocks
    uint64_t first
    uint64_t done
    uint64_t upto
    uint64_t part        # blocks
    uint8_t *out
    int next
    bint good
    Failure failure


cdef bint _decode_blocks(Image *image, Space *space, uint64_t first, uint64_t done, uint64_t upto,
                         uint64_t begin, uint64_t fetched, uint8_t *out,
                         Failure *failure) noexcept nogil:
    """Decode fetched blocks *done* to *upto* - 1 of a run that starts with block *first*."""
    cdef Share[1 + MOST_HELPERS] shares
    cdef Share *own = &shares[0]
    cdef double block_ns = (image.block_size * _byte_ns(image) if image.chd is NULL
                            else hunk_ns(space.blocks, done, upto,
                                         (<Chd *> image.chd).hunk_size))
    cdef uint64_t parts
    cdef int helpers = 0
    cdef int number
    own.image = image
    own.data = space.data
    own.data_at = begin
    own.fetched = fetched
    own.blocks = space.blocks
    own.first = first
    own.done = done
    own.upto = upto
    own.part = upto - done
    own.out = out
    own.whole = own
    own.next = 0
    own.good = True
    if block_ns * (upto - done) >= SHARE_FROM_NS and _helpers is not NULL and upto - done > 1:
        own.part = max(1, <uint64_t> (PART_NS / block_ns))
        parts = (upto - done + own.part - 1) // own.part
        while helpers < _helper_count and <uint64_t> helpers + 1 < parts:
            helpers += 1
            shares[helpers].whole = own
            shares[helpers].good = True
            shares[helpers].job.run = _help
            if zsofs_pool_start(_helpers, &shares[helpers].job, False) != 0:
                helpers -= 1
                break
    _decode_parts(own, own, space)
    for number in range(1, helpers + 1):
        zsofs_pool_wait_or_cancel(_helpers, &shares[number].job)
    for number in range(1, helpers + 1):
        if not shares[number].good and (own.good or shares[number].failure.block
                                        < own.failure.block):
            own.good = False
            own.failure = shares[number].failure
    if not own.good:
        failure[0] = own.failure
    return own.good


cdef double _byte_ns(Image *image) noexcept nogil:
    """Approximate decoding time per byte on one core (measured, blocks of 2 and of 32 KiB)."""
    if image.rule == RULE_CISO2 or image.codec == CODEC_ZLIB or image.codec == CODEC_DEFLATE:
        return 2.2
    if image.codec == CODEC_ZSTD:
        return 1.2 if image.block_size < 8192 else 0.6
    return 0.2


cdef void _help(zsofs_job *job) noexcept nogil:
    cdef Share *own = <Share *> job
    cdef Space *space = take_space()
    if space is NULL:
        return
    _decode_parts(own.whole, own, space)
    give_back(space)


cdef void _decode_parts(Share *whole, Share *own, Space *space) noexcept nogil:
    """Decode parts of *whole* until none is left; *own* receives the result."""
    cdef uint64_t at, end, skip, have
    cdef uint8_t *block_out
    memset(&own.failure, 0, sizeof(Failure))
    while own.good:
        at = whole.done + <uint64_t> zsofs_take_number(&whole.next) * whole.part
        end = min(at + whole.part, whole.upto)
        while at < end:
            skip = whole.blocks[at].offset - whole.data_at
            have = whole.fetched - skip if whole.fetched > skip else 0
            block_out = whole.out + at * whole.image.block_size
            if not (decode(whole.image, space, whole.first + at, &whole.blocks[at],
                           whole.data + skip, have, block_out, &own.failure)
                    if whole.image.chd is NULL else
                    decode_hunk(whole.image, space, whole.first + at, &whole.blocks[at],
                                whole.data + skip, have, block_out, &own.failure)):
                own.good = False
                break
            at += 1
        if end >= whole.upto:
            break


cdef object error_of(Failure *failure):
    """Return the exception for a failure."""
    if failure.reason == FAILED_READ:
        return OSError(failure.error, strerror(failure.error))
    if failure.reason == FAILED_MEMORY:
        return MemoryError("no memory to decode a block")
    if failure.reason == FAILED_CHANGED:
        return SourceChangedError("the file was modified or truncated after it was opened")
    codec = _CODEC_NAMES.get(failure.codec, "plain")
    reason = _REASONS[failure.reason].format(a=failure.a, b=failure.b, codec=codec)
    if failure.in_parent:
        reason = f"it is stored in the parent, which is damaged there: {reason}"
        return BlockError(failure.block, -1, reason)
    return BlockError(failure.block, failure.offset, reason)


cdef int raise_failure(Run *run) except -1:
    """Raise the exception for a failed read, if it failed."""
    cdef zsofs_seen *seen = &run.seen
    error = error_of(&run.failure) if run.result == -3 else None
    if (run.checks_ctime and seen.filled and seen.ctime_ns != run.source_ctime_ns
            and not isinstance(error, SourceChangedError)):
        rights = seen.mode, seen.uid, seen.gid, seen.nlink
        raise SourceTouchedError(seen.ctime_ns, rights, error)
    if error is not None:
        raise error
    return 0


cdef class BlockReader:
    """Decodes the blocks of one image.

    Created from the values of a :class:`zsofs.formats.geometry.Geometry`, which documents them,
    and the size and modification time of the source file when it was opened.
    """

    def __init__(self, *, int rule, int codec, int shift, uint64_t size, uint64_t block_size,
                 uint64_t index_offset, uint64_t data_start, uint64_t data_end,
                 uint64_t source_size, int64_t source_mtime_ns):
        if not 0 < block_size <= 16 << 20 or size > <uint64_t> 64 << 30 or not 0 <= shift <= 16:
            raise ValueError("geometry out of bounds")
        self.image.rule = rule
        self.image.codec = codec
        self.image.shift = shift
        self.image.size = size
        self.image.block_size = block_size
        self.image.block_count = (size + block_size - 1) // block_size
        self.image.index_offset = index_offset
        self.image.data_start = data_start
        self.image.data_end = data_end
        self.image.source_size = source_size
        self.image.source_mtime_ns = source_mtime_ns
        self.image.final_byte_missing = False
        self.expect_ctime(None)

    def use_map(self, ChdMap chd_map not None):
        """Find the blocks by the map of a CHD; once, before the first read."""
        _check_shown(&self.image, &chd_map.chd)
        self.chd_map = chd_map
        self.image.chd = &chd_map.chd

    def adopt(self, BlockReader parent not None, int fd):
        """Read what this CHD lacks from its parent, open as *fd*, which :meth:`close` closes."""
        if self.chd_map is None or parent.chd_map is None or parent.chd_map.chd.take:
            raise ValueError("not two CHDs, the parent with whole hunks")
        self.chd_map.adopt(parent, &parent.image, fd)

    @property
    def parents(self):
        """How many parents of a CHD are open for it, each with a descriptor."""
        cdef BlockReader parent = None if self.chd_map is None else self.chd_map.parent_reader
        return 0 if parent is None else 1 + parent.parents

    def close(self):
        """Close the parents of a CHD, if any; may wait for a disk. Nothing can be read afterwards."""
        cdef BlockReader parent
        if self.chd_map is not None and self.chd_map.parent_reader is not None:
            parent = self.chd_map.parent_reader
            parent.close()
            self.chd_map.close_parent()

    def expect_ctime(self, ctime_ns):
        """Compare the change time with this one in future reads; None: no comparison."""
        self.image.checks_ctime = ctime_ns is not None
        self.image.source_ctime_ns = ctime_ns or 0

    @property
    def final_byte_missing(self):
        """Whether a block was returned whose last byte was not stored."""
        return self.image.final_byte_missing

    def read(self, int fd, uint64_t first, uint64_t count, out, int how=HOW_WAIT):
        """Decode blocks *first* to *first* + *count* - 1 of the file open as *fd* into *out*.

        Args:
            fd: descriptor of the source file; read by position only.
            first: number of the first block.
            count: number of blocks; the run must be within the image.
            out: writable buffer of at least the run's plain length, in bytes.
            how: WAIT, ASK or LOOK; with the latter two a read fails rather than wait for a disk.

        Returns:
            The plain length, or WOULD_WAIT or NO_NOWAIT (then the content of *out* is undefined).

        Raises:
            BlockError: the first block with an invalid index entry, otherwise the first that does
                not decode.
            SourceChangedError: the file is no longer the one that was opened.
            SourceTouchedError: its change time differs; *out* is filled nevertheless.
            OSError: the source could not be read.
        """
        cdef Py_buffer view
        cdef Run run
        cdef uint64_t size
        PyObject_GetBuffer(out, &view, PyBUF_WRITABLE)
        try:
            size = _prepare(self, &run, fd, first, count, &view, how)
            with nogil:
                _run(&run.job)
        finally:
            PyBuffer_Release(&view)
        raise_failure(&run)
        return run.result if run.result < 0 else size

    def job(self, int fd, uint64_t first, uint64_t count, out):
        """Return the same read as a job for a pool, which waits for the disk; see :meth:`read`."""
        cdef Job job = Job.__new__(Job)
        job.take(self, out)
        _prepare(self, &job.run, fd, first, count, &job.view, HOW_WAIT)
        return job


cdef _check_shown(Image *image, Chd *chd):
    """See that the blocks of an image are what its map shows of its hunks."""
    shown = chd.hunk_size // chd.unit_size * chd.take if chd.take else chd.hunk_size
    if image.block_size != shown or image.block_count > chd.hunk_count:
        raise ValueError("the image is larger than the hunks of its CHD")


cdef uint64_t _prepare(BlockReader reader, Run *run, int fd, uint64_t first, uint64_t count,
                       Py_buffer *view, int how) except? 0:
    """Check the bounds and initialize *run*; return the plain length."""
    cdef Image *image = &reader.image
    cdef uint64_t size
    if count == 0 or first >= image.block_count or count > image.block_count - first:
        raise ValueError(f"{count} blocks from {first} are not all inside the image")
    size = min(image.size, (first + count) * image.block_size) - first * image.block_size
    if <uint64_t> view.len < size:
        raise ValueError(f"a buffer of {view.len} bytes cannot take {size}")
    _fill_in(run, image, fd, first, count, view, image.source_size, image.source_mtime_ns, how)
    run.checks_ctime = image.checks_ctime
    run.source_ctime_ns = image.source_ctime_ns
    return size


cdef void _fill_in(Run *run, Image *image, int fd, uint64_t first, uint64_t count, Py_buffer *view,
                   uint64_t source_size, int64_t source_mtime_ns, int how) noexcept:
    memset(run, 0, sizeof(Run))
    run.job.run = _run
    run.image = image
    run.fd = fd
    run.how = how
    run.first = first
    run.count = count
    run.out = <uint8_t *> view.buf
    run.source_size = source_size
    run.source_mtime_ns = source_mtime_ns


cdef void _check_ctime(Run *run, ctime_ns) except *:
    run.checks_ctime = ctime_ns is not None
    run.source_ctime_ns = ctime_ns or 0


def read_plain(int fd, uint64_t offset, out, uint64_t source_size, int64_t source_mtime_ns,
               int how=HOW_WAIT, source_ctime_ns=None):
    """Fill *out* with the bytes at *offset* of a plain file.

    Args:
        fd: descriptor of the file; read by position only.
        offset: in bytes; *offset* + len(*out*) must be within the file.
        out: writable buffer.
        source_size: size of the file when it was opened, in bytes.
        source_mtime_ns: its modification time then, in nanoseconds.
        how: WAIT, ASK or LOOK; with the latter two a read fails rather than wait for a disk.
        source_ctime_ns: its change time then; None: no comparison.

    Returns:
        len(*out*), or WOULD_WAIT or NO_NOWAIT.

    Raises:
        SourceChangedError: the file is no longer the one that was opened.
        SourceTouchedError: its change time differs; *out* is filled nevertheless.
        OSError: the file could not be read.
    """
    cdef Py_buffer view
    cdef Run run
    PyObject_GetBuffer(out, &view, PyBUF_WRITABLE)
    _fill_in(&run, NULL, fd, offset, <uint64_t> view.len, &view, source_size, source_mtime_ns, how)
    try:
        _check_ctime(&run, source_ctime_ns)
        with nogil:
            _run(&run.job)
    finally:
        PyBuffer_Release(&view)
    raise_failure(&run)
    return run.result


def plain_job(int fd, uint64_t offset, out, uint64_t source_size, int64_t source_mtime_ns,
              source_ctime_ns=None):
    """Return the same read as a job for a pool; arguments as in :func:`read_plain`."""
    cdef Job job = Job.__new__(Job)
    job.take(None, out)
    _fill_in(&job.run, NULL, fd, offset, <uint64_t> job.view.len, &job.view, source_size,
             source_mtime_ns, HOW_WAIT)
    _check_ctime(&job.run, source_ctime_ns)
    return job


@cython.freelist(8)
@cython.no_gc_clear  # clearing would drop the buffer's owner without giving the buffer back
cdef class Job:
    """One read for a pool.

    While it is in progress, which may be forever on a dead disk, a pool holds a reference, so that
    no memory that its thread accesses is freed, even if the job was abandoned.
    """

    cdef Run run
    cdef Py_buffer view
    cdef object reader
    cdef bint holds_view
    cdef bint done
    cdef public object context  # of whoever made the job; freed with it

    cdef take(self, reader, out):
        self.reader = reader
        PyObject_GetBuffer(out, &self.view, PyBUF_WRITABLE)
        self.holds_view = True

    def __init__(self):
        raise TypeError("jobs are made by BlockReader.job and plain_job")

    def __dealloc__(self):
        if self.holds_view:
            PyBuffer_Release(&self.view)

    def result(self):
        """Return if the buffer is filled; raise like :meth:`BlockReader.read` otherwise."""
        if not self.done:
            raise RuntimeError("the job is not done")
        if self.holds_view:
            PyBuffer_Release(&self.view)
            self.holds_view = False
        raise_failure(&self.run)

    @property
    def queue_ns(self):
        """Nanoseconds from its submission until a thread started it."""
        return self.run.begun_at - self.run.started_at

    @property
    def source_ns(self):
        """Nanoseconds of waiting for the source."""
        return self.run.source_ns

    @property
    def decode_ns(self):
        """Nanoseconds of decoding."""
        return self.run.ended_at - self.run.begun_at - self.run.source_ns


cdef class ThreadPool:
    """Threads that run jobs, at most *threads* at a time, started on demand.

    Args:
        threads: maximum number of threads.
        eventfd: written to when an abandoned job is done.
    """

    cdef zsofs_pool *pool

    def __init__(self, int threads, int eventfd):
        self.pool = zsofs_pool_new(threads, eventfd)
        if self.pool is NULL:
            raise MemoryError("no memory for threads")

    def run(self, Job job, int64_t spin_ns):
        """Submit *job* and wait for it up to *spin_ns*; 0: not at all.

        While the caller waits, the thread may use the caller's processor only: see thread_pool.h.

        Returns:
            Whether it is done. If not, :meth:`finished` returns it once the eventfd is readable.

        Raises:
            OSError: no thread is available.
        """
        cdef int failed
        cdef bint done
        if job.run.started_at:
            raise ValueError("a job is done once")
        job.run.owner = <PyObject *> job
        job.run.started_at = zsofs_now()
        Py_INCREF(job)  # until its thread has finished with it
        with nogil:
            failed = zsofs_pool_start(self.pool, &job.run.job, spin_ns > 0)
            done = not failed and zsofs_pool_wait(self.pool, &job.run.job, spin_ns)
        if done or failed:
            job.done = done
            Py_DECREF(job)
        if failed:
            raise OSError(failed, strerror(failed))
        return done

    def let_go(self):
        """Let its idle threads exit; others are started when they are needed."""
        zsofs_pool_let_go(self.pool)

    def finished(self):
        """Return the jobs finished since the last call."""
        cdef zsofs_job *at = zsofs_pool_finished(self.pool)
        cdef Job job
        done = []
        while at is not NULL:
            job = <Job> (<Run *> at).owner
            at = at.next
            job.done = True
            Py_DECREF(job)
            done.append(job)
        return done


def start_helpers():
    """Use other cores from now on, if there are any; call it once, in the process that serves."""
    global _helpers, zsofs_awake_ns
    if _helper_count > 0:
        zsofs_awake_ns = ZSOFS_AWAKE_NS
    if _helpers is NULL and _helper_count > 0:
        _helpers = zsofs_pool_new(_helper_count, -1)


def let_helpers_go():
    """Let helpers that are idle exit; others are started when they are needed."""
    if _helpers is not NULL:
        zsofs_pool_let_go(_helpers)
