"""Finding and fetching stored blocks; the numbers returned are explained in native/fetch.pyx."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from zsofs.native.codecs cimport Failure, Image, Space, Stored

cdef extern from *:
    """
    #include <stdint.h>
    /* What fstat says of a file beside its size and modification time. */
    struct zsofs_seen { int filled; int64_t ctime_ns; uint64_t mode, uid, gid, nlink; };
    """
    struct zsofs_seen:
        bint filled
        int64_t ctime_ns
        uint64_t mode
        uint64_t uid
        uint64_t gid
        uint64_t nlink

# How to fetch: wait for the disk, ask the kernel not to, or look first whether all is in memory.
cdef enum:
    HOW_WAIT = 0
    HOW_ASK = 1
    HOW_LOOK = 2

cdef int64_t fetch(int fd, uint8_t *out, uint64_t size, uint64_t offset, int how,
                   Failure *failure) noexcept nogil
cdef int64_t locate(Image *image, Space *space, int fd, uint64_t first, uint64_t count, int how,
                    Failure *failure) noexcept nogil
cdef bint locate_block(Image *image, Stored *block, const uint8_t *entry, const uint8_t *dax_size,
                       uint64_t number, Failure *failure) noexcept nogil
cdef int64_t check_unchanged(int fd, uint64_t size, int64_t mtime_ns, int64_t result,
                             Failure *failure, zsofs_seen *seen) noexcept nogil
