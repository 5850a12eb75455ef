# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""System calls for writing files that Python lacks."""

from libc.errno cimport EINTR, EIO, errno
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

from os import fsencode, strerror

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <fcntl.h>
    #include <sys/syscall.h>
    #include <unistd.h>

    static int zsofs_start_writeback(int fd, int64_t offset, int64_t size)
    {
        return sync_file_range(fd, offset, size, SYNC_FILE_RANGE_WRITE);
    }

    /* The C library has it since glibc 2.28 only. */
    static int zsofs_rename(int from_fd, const char *from, int to_fd, const char *to,
                            unsigned flags)
    {
        return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    }
    """
    int zsofs_start_writeback(int fd, int64_t offset, int64_t size) nogil
    int zsofs_rename(int old_fd, const char *old, int new_fd, const char *new,
                     unsigned flags) nogil
    ssize_t pwrite(int fd, const void *data, size_t size, int64_t offset) nogil

cdef enum:
    # Granularity of the search for holes: the block size of nearly every file system.
    PIECE = 4096
    # From <linux/fs.h> and <fcntl.h>.
    NOREPLACE = 1
    EXCHANGE = 2
    AT_FDCWD = -100


def start_writeback(int fd, int64_t offset, int64_t size):
    """Start writeback of these bytes, so that a later fsync is short.

    It is a hint: lack of support by the file system is ignored.
    """
    with nogil:
        zsofs_start_writeback(fd, offset, size)


def rename_new(old, new, src_dir_fd=None, dst_dir_fd=None):
    """Rename a file to an unused name, with renameat2(2) and RENAME_NOREPLACE.

    Args:
        old: old path.
        new: new path.
        src_dir_fd: the directory that *old* is relative to; None for the current one.
        dst_dir_fd: the same for *new*.

    Raises:
        FileExistsError: the name is taken.
        OSError: it failed; EINVAL and ENOSYS: not supported by the file system or kernel.
    """
    _rename(old, new, src_dir_fd, dst_dir_fd, NOREPLACE)


def rename_exchange(old, new):
    """Exchange two files, with renameat2(2) and RENAME_EXCHANGE; raise like the above."""
    _rename(old, new, None, None, EXCHANGE)


cdef _rename(old, new, src_dir_fd, dst_dir_fd, unsigned flags):
    cdef bytes from_path = fsencode(old)
    cdef bytes to_path = fsencode(new)
    cdef const char *source = from_path
    cdef const char *target = to_path
    cdef int from_fd = AT_FDCWD if src_dir_fd is None else src_dir_fd
    cdef int to_fd = AT_FDCWD if dst_dir_fd is None else dst_dir_fd
    cdef int failed = 0
    with nogil:
        if zsofs_rename(from_fd, source, to_fd, target, flags) != 0:
            failed = errno
    if failed:
        raise OSError(failed, strerror(failed), new)


def write_sparse(int fd, data, int64_t offset):
    """Write *data* at *offset* of a new file, with holes for zeros.

    Args:
        fd: descriptor of a file without data there.
        data: the bytes.
        offset: offset in the file; holes are found best from a multiple of 4096 on.

    Raises:
        OSError: it failed.
    """
    cdef Py_buffer view
    cdef int failed
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    with nogil:
        failed = _write_sparse(fd, <const uint8_t *> view.buf, view.len, offset)
    PyBuffer_Release(&view)
    if failed:
        raise OSError(failed, strerror(failed))


cdef int _write_sparse(int fd, const uint8_t *data, size_t size, int64_t offset) noexcept nogil:
    cdef size_t at = 0
    cdef size_t end
    cdef ssize_t done
    while at < size:
        if _is_zero(data + at, min(PIECE, size - at)):
            at += PIECE
            continue
        end = at + PIECE
        while end < size and not _is_zero(data + end, min(PIECE, size - end)):
            end += PIECE
        end = min(end, size)
        while at < end:
            done = pwrite(fd, data + at, end - at, offset + <int64_t> at)
            if done == 0:
                return EIO  # a retry would be futile
            if done < 0 and errno != EINTR:
                return errno
            if done > 0:
                at += <size_t> done
    return 0


cdef bint _is_zero(const uint8_t *data, size_t size) noexcept nogil:
    return data[0] == 0 and memcmp(data, data + 1, size - 1) == 0
