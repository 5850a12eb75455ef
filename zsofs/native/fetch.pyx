# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Location and reading of stored blocks in a source file.

The index is hostile input: every bound is checked in 64 bits before it is used.
"""

from libc.errno cimport EAGAIN, EINTR, ENOSYS, EOPNOTSUPP, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zsofs.native.codecs cimport *

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

    #include <sys/syscall.h>
    #include <sys/vfs.h>
    #ifndef SYS_cachestat
    #define SYS_cachestat 451
    #endif

    /* Whether all of these bytes are in memory (cachestat, Linux 6.5); 0 also if it cannot be
       told. */
    static int zsofs_in_memory(int fd, uint64_t offset, uint64_t size)
    {
        struct { uint64_t offset, size; } range = { offset, size };
        struct { uint64_t cached, dirty, writeback, evicted, recently_evicted; } found;
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        if (size == 0)
            return 1;
        if (syscall(SYS_cachestat, fd, &range, &found, 0) != 0)
            return 0;
        return found.cached >= (offset + size - 1) / page - offset / page + 1;
    }

    /* Whether the file lies on a file system that reads bytes in memory without asking a disk for
       anything. Only those that have no disk: elsewhere cachestat also counts pages that a disk
       is still filling, and to read those is to wait for it. */
    static int zsofs_serves_from_memory(int fd)
    {
        struct statfs found;
        if (fstatfs(fd, &found) != 0)
            return 0;
        switch ((uint32_t)found.f_type) {
        case 0x01021994: /* tmpfs */
        case 0x858458f6: /* ramfs */
            return 1;
        }
        return 0;
    }

    static ssize_t zsofs_pread(int fd, void *buf, size_t size, int64_t offset, int flags)
    {
        struct iovec piece = { buf, size };
        return preadv2(fd, &piece, 1, (off_t)offset, flags);
    }

    static int64_t zsofs_nanoseconds(struct timespec at)
    {
        return (int64_t)((uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec);
    }

    /* 1: same size and modification time as when it was opened; 0: not; -1: fstat failed */
    static int zsofs_unchanged(int fd, uint64_t size, int64_t mtime_ns, struct zsofs_seen *seen)
    {
        struct stat now;
        seen->filled = 0;
        if (fstat(fd, &now) != 0)
            return -1;
        seen->filled = 1;
        seen->ctime_ns = zsofs_nanoseconds(now.st_ctim);
        seen->mode = now.st_mode;
        seen->uid = now.st_uid;
        seen->gid = now.st_gid;
        seen->nlink = now.st_nlink;
        return (uint64_t)now.st_size == size && zsofs_nanoseconds(now.st_mtim) == mtime_ns;
    }
    """
    const int RWF_NOWAIT
    bint zsofs_in_memory(int fd, uint64_t offset, uint64_t size) nogil
    bint zsofs_serves_from_memory(int fd) nogil
    ssize_t zsofs_pread(int fd, void *buf, size_t size, int64_t offset, int flags) nogil
    int zsofs_unchanged(int fd, uint64_t size, int64_t mtime_ns, zsofs_seen *seen) nogil


cdef int64_t fetch(int fd, uint8_t *out, uint64_t size, uint64_t offset, int how,
                   Failure *failure) noexcept nogil:
    """Return the bytes read (fewer than *size* only at the end of the file), WOULD_WAIT, NO_NOWAIT,
    or -3 with *failure* filled."""
    cdef uint64_t done = 0
    cdef ssize_t got
    cdef bint nowait = how == HOW_ASK
    if how == HOW_LOOK and not zsofs_in_memory(fd, offset, size):
        return -1
    while done < size:
        got = zsofs_pread(fd, out + done, size - done, <int64_t> (offset + done),
                          RWF_NOWAIT if nowait else 0)
        if got > 0:
            done += <uint64_t> got
        elif got == 0:
            # With RWF_NOWAIT a file system may also return fewer bytes instead of EAGAIN.
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


cdef int64_t locate(Image *image, Space *space, int fd, uint64_t first, uint64_t count,
                     int how, Failure *failure) noexcept nogil:
    """Read the index slice and fill space.blocks; return 0, or a negative result of _read."""
    cdef uint64_t entries = count if image.rule == RULE_DAX else count + 1
    cdef uint64_t needed = 4 * entries
    cdef uint64_t number
    cdef int64_t result
    cdef uint8_t *sizes
    space.index = grown(space.index, &space.index_size, 6 * entries)
    space.blocks = <Stored *> grown(<uint8_t *> space.blocks, &space.blocks_size,
                                     count * sizeof(Stored))
    if space.index is NULL or space.blocks is NULL:
        failure.reason = FAILED_MEMORY
        return -3
    result = fetch(fd, space.index, needed, image.index_offset + 4 * first, how, failure)
    if result >= 0 and image.rule == RULE_DAX and <uint64_t> result == needed:
        sizes = space.index + needed
        needed = 2 * count
        result = fetch(fd, sizes, needed, image.index_offset + 4 * image.block_count + 2 * first,
                       how, failure)
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
        if not locate_block(image, &space.blocks[number], space.index + 4 * number,
                                 NULL if sizes is NULL else sizes + 2 * number,
                                 first + number, failure):
            return -3
    return 0


cdef bint locate_block(Image *image, Stored *block, const uint8_t *entry, const uint8_t *dax_size,
                       uint64_t number, Failure *failure) noexcept nogil:
    """Decode one index entry and check it against the bounds of the file."""
    cdef uint64_t want = min(image.block_size, image.size - number * image.block_size)
    cdef uint64_t most = 2 * image.block_size + (<uint64_t> 1 << image.shift)
    cdef uint64_t offset, end, delta
    cdef bint flag = False
    block.last = number == image.block_count - 1
    block.method = image.codec
    if image.rule == RULE_DAX:
        offset = _u32(entry)
        delta = <uint64_t> dax_size[0] | <uint64_t> dax_size[1] << 8
        end = offset + delta
    else:
        flag = _u32(entry) >> 31
        offset = <uint64_t> (_u32(entry) & 0x7FFFFFFF) << image.shift
        end = <uint64_t> (_u32(entry + 4) & 0x7FFFFFFF) << image.shift
        delta = end - offset
    failure.block = number
    failure.offset = <int64_t> offset
    if end < offset:
        return fail(failure, FAILED_BACKWARDS, offset, end)
    if offset < image.data_start:
        return fail(failure, FAILED_IN_INDEX, image.data_start, offset)
    if offset >= image.source_size:
        return fail(failure, FAILED_PAST_END, image.source_size, offset)
    if image.rule == RULE_FLAGGED and flag:
        block.method = CODEC_PLAIN
    elif image.rule == RULE_CISO2:
        block.method = (CODEC_PLAIN if delta >= image.block_size
                        else CODEC_LZ4 if flag else CODEC_DEFLATE)
    elif image.rule == RULE_FRAMED and (flag or _u32(entry + 4) >> 31):
        return fail(failure, FAILED_FLAG, 0, 0)
    block.offset = offset
    if block.method == CODEC_PLAIN:
        # The next entry is not the end: padding adds to the distance, and some writers round the
        # last entry down. But a compressed block whose flag was flipped has less room, and a block
        # with a wrong entry often more than padding, which is shorter than a unit.
        if delta < want and not block.last:
            return fail(failure, FAILED_OVERLAP, want, delta)
        if delta >= want + (<uint64_t> 1 << image.shift) and not block.last:
            return fail(failure, FAILED_TOO_LONG, want + (<uint64_t> 1 << image.shift) - 1, delta)
        block.length = want
        return True
    if block.last and image.rule != RULE_DAX:
        # The last entry may be rounded down by up to 2^shift - 1 bytes, so it does not
        # limit the last block; the end of the data does.
        delta = min(most, image.data_end - offset) if image.data_end > offset else 0
    if delta == 0:
        return fail(failure, FAILED_EMPTY, 0, 0)
    if delta > most:
        return fail(failure, FAILED_TOO_LONG, most, delta)
    block.length = delta
    return True


cdef int64_t check_unchanged(int fd, uint64_t size, int64_t mtime_ns, int64_t result,
                              Failure *failure, zsofs_seen *seen) noexcept nogil:
    """*result*, or -3 if the file is no longer the one that was opened: asked after the preads and
    before the reply, so that old and new never mix, and after a failure, because then it is why.
    A new change time alone is no failure here: *seen* has it, for the caller to judge."""
    cdef int answer = zsofs_unchanged(fd, size, mtime_ns, seen)
    if answer == 1:
        return result
    if answer == 0:
        failure.reason = FAILED_CHANGED
    elif result >= 0:
        failure.reason = FAILED_READ
        failure.error = errno
    return -3


def serves_from_memory(int fd):
    """Return whether reads of this file may use LOOK. May wait for a disk; for worker threads."""
    cdef bint answer
    with nogil:  # fstatfs is a request to the server of a FUSE or network file system
        answer = zsofs_serves_from_memory(fd)
    return answer
