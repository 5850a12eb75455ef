# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False
"""The ranges that were read through a handle, in their order: a read costs some nanoseconds.

Stored ranges are decoded here, too: on the event loop, those of one disc would take 8 ms in Python.
"""

import time

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort

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


cdef int64_t _value(const unsigned char *data, Py_ssize_t length, Py_ssize_t *at) noexcept:
    """Return the integer at *at*, seven bits a byte, the lowest first; -1 if there is none."""
    cdef int64_t value = 0
    cdef int shift = 0
    while at[0] < length and shift <= 35:
        value |= <int64_t> (data[at[0]] & 127) << shift
        at[0] += 1
        if data[at[0] - 1] < 128:
            return value
        shift += 7
    return -1


cdef int _by_place(const void *one, const void *other) noexcept nogil:
    cdef uint64_t first = (<const uint64_t *> one)[0]
    cdef uint64_t second = (<const uint64_t *> other)[0]
    return (first > second) - (first < second)


def decoded(bytes stored not None, int64_t longest, int64_t most):
    """Return what a boot trace has stored (zsofs.preload.boot_trace).

    Args:
        stored: the stored bytes.
        longest: pages of a range at most.
        most: pages of a disc at most, less than 2**32.

    Returns:
        The number of starts, and the ranges as (begin, end, counts) in the order of the reads; None
        if the bytes are invalid, or ranges overlap.
    """
    cdef const unsigned char *data = stored
    cdef Py_ssize_t length = len(stored)
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t count = 0
    cdef int64_t starts, step, pages, begin
    cdef int64_t last = 0
    cdef uint64_t *places
    starts = _value(data, length, &at)
    if starts < 0:
        return None
    ranges = []
    places = <uint64_t *> malloc((length // 3 + 1) * sizeof(uint64_t))
    if places is NULL:
        raise MemoryError
    try:
        while at < length:
            step = _value(data, length, &at)
            pages = _value(data, length, &at)
            if step < 0 or at >= length:
                return None
            begin = last - (step >> 1) if step & 1 else last + (step >> 1)
            last = begin + pages
            if begin < 0 or not 1 <= pages <= longest or last > most:
                return None
            places[count] = <uint64_t> begin << 32 | <uint64_t> last
            count += 1
            ranges.append((begin, last, data[at]))
            at += 1
        qsort(places, count, sizeof(uint64_t), _by_place)
        for number in range(1, count):
            if places[number] >> 32 < (places[number - 1] & 0xFFFFFFFF):
                return None
    finally:
        free(places)
    return starts, ranges
