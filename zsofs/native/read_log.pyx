# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The ranges that were read through a handle, in their order: a read costs some nanoseconds."""

import time

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc

cdef enum:
    PAGE_ = 4096
    MOST = 4096          # ranges, 32 KiB of memory
    LONGEST = 256        # pages of a range: longer reads are several, so that their order is kept
    STREAMS = 4          # ranges that a read may continue: those of several files in turn

PAGE = PAGE_
"""Bytes of the unit of all ranges: a page of the kernel's cache."""

MOST_RANGES = MOST
"""How many ranges a log has at most."""


cdef class ReadLog:
    """Ranges of a disc in the order in which they were first asked for. For one thread.

    Args:
        most: bytes after which nothing more is recorded.

    Attributes:
        bytes: of all reads so far; those after the end are not counted.
        full: whether nothing more is recorded.
        begun: when it was made, by the monotonic clock, in seconds.
    """

    cdef readonly int64_t bytes
    cdef readonly bint full
    cdef public double begun
    cdef int64_t _most
    cdef uint32_t *_begin
    cdef uint32_t *_end
    cdef int _count

    def __cinit__(self, int64_t most):
        self._most = most
        self.begun = time.monotonic()
        self._begin = <uint32_t *> malloc(2 * MOST * sizeof(uint32_t))
        if self._begin is NULL:
            raise MemoryError("no memory to record reads")
        self._end = self._begin + MOST

    def __dealloc__(self):
        free(self._begin)

    def note(self, int64_t offset, int64_t size):
        """Record a read of *size* bytes at *offset*."""
        cdef uint32_t begin, end
        cdef int at, oldest
        if self.full or size <= 0 or offset < 0:
            return
        if offset + size > <int64_t> 0xFFFFFFFF * PAGE_:
            return
        begin = <uint32_t> (offset // PAGE_)
        end = <uint32_t> ((offset + size + PAGE_ - 1) // PAGE_)
        self.bytes += size
        oldest = max(self._count - STREAMS, 0)
        at = self._count - 1
        while at >= oldest:
            if (self._begin[at] <= begin <= self._end[at]
                    and max(end, self._end[at]) - self._begin[at] <= LONGEST):
                self._end[at] = max(end, self._end[at])
                break
            at -= 1
        else:
            self._begin[self._count] = begin
            self._end[self._count] = end
            self._count += 1
        self.full = self._count == MOST or self.bytes >= self._most

    @property
    def count(self):
        """Number of ranges."""
        return self._count

    def ranges(self):
        """Return what was recorded, as (begin, end) in pages."""
        return [(self._begin[at], self._end[at]) for at in range(self._count)]
