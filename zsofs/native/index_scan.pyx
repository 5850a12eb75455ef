# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False
"""Scan of a complete index without the blocks: statistics and errors."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from zsofs.native.block_reader cimport BlockReader, error_of
from zsofs.native.codecs cimport *
from zsofs.native.fetch cimport *

cdef enum:
    # Entries read at a time: 256 KiB.
    SLICE = 65536
    SAMPLES = 64


cdef class Scan:
    """Statistics of the index of an image.

    Attributes:
        bad: number of blocks with an invalid entry.
        first_bad: the error of the first bad block; None if there is none.
        plain: number of uncompressed blocks.
        lz4: number of LZ4 blocks.
        longest: stored size of the longest compressed block except the last.
        shortest: stored size of the shortest compressed block except the last; 0 if none.
        shortest_count: number of blocks of that size.
        samples: numbers of some of these, spread over the image.
    """

    cdef readonly uint64_t bad
    cdef readonly object first_bad
    cdef readonly uint64_t plain
    cdef readonly uint64_t lz4
    cdef readonly uint64_t longest
    cdef readonly uint64_t shortest
    cdef readonly uint64_t shortest_count
    cdef uint64_t[SAMPLES] _samples
    cdef uint64_t _stride
    cdef int _sample_count
    cdef Failure _first

    @property
    def samples(self):
        return [self._samples[at] for at in range(self._sample_count)]


def scan(BlockReader reader not None, int fd):
    """Read every entry of the index of the file open as *fd*, which is read by position.

    Raises:
        zsofs.errors.SourceChangedError: the file is no longer the one that was opened.
        OSError: the index could not be read.
    """
    cdef Image *image = &reader.image
    cdef Scan found = Scan()
    cdef uint8_t *memory = <uint8_t *> malloc(6 * (SLICE + 1))
    cdef Failure failure
    cdef zsofs_seen seen
    cdef int64_t result = 0
    cdef uint64_t first = 0
    memset(&failure, 0, sizeof(Failure))
    found._stride = 1
    if memory is NULL:
        raise MemoryError("no memory to read an index")
    with nogil:
        while first < image.block_count and result >= 0:
            result = _scan_slice(image, fd, first, min(SLICE, image.block_count - first), memory,
                                 found, &failure)
            first += SLICE
        free(memory)
        result = check_unchanged(fd, image.source_size, image.source_mtime_ns, result, &failure,
                                 &seen)
    if result < 0:
        raise error_of(&failure)
    if found.bad:
        found.first_bad = error_of(&found._first)
    return found


cdef int64_t _scan_slice(Image *image, int fd, uint64_t first, uint64_t count, uint8_t *memory,
                         Scan found, Failure *failure) noexcept nogil:
    cdef bint is_dax = image.rule == RULE_DAX
    cdef uint64_t needed = 4 * (count if is_dax else count + 1)
    cdef uint8_t *sizes = NULL
    cdef uint64_t number
    cdef int64_t result
    cdef Stored block
    result = fetch(fd, memory, needed, image.index_offset + 4 * first, HOW_WAIT, failure)
    if is_dax and result == <int64_t> needed:
        sizes = memory + needed
        needed = 2 * count
        result = fetch(fd, sizes, needed, image.index_offset + 4 * image.block_count + 2 * first,
                       HOW_WAIT, failure)
    if result < 0:
        return result
    if <uint64_t> result < needed:  # the file was longer when it was opened
        failure.reason = FAILED_CHANGED
        return -3
    for number in range(count):
        failure.codec = 0
        if (locate_block(image, &block, memory + 4 * number,
                         NULL if sizes is NULL else sizes + 2 * number, first + number, failure)
                and _is_within(image, &block, failure)):
            _count(found, &block, first + number)
            continue
        if not found.bad:
            found._first = failure[0]
        found.bad += 1
    return 0


cdef bint _is_within(Image *image, Stored *block, Failure *failure) noexcept nogil:
    """Return whether all stored bytes of a block are within the file."""
    cdef uint64_t have = image.source_size - block.offset
    if (block.last and block.method == CODEC_PLAIN and have == block.length - 1
            and image.codec == CODEC_LZ4):
        return True  # the byte that one writer loses, see _codecs
    if have < block.length:
        return fail(failure, FAILED_CUT, block.length, have)
    return True


cdef void _count(Scan found, Stored *block, uint64_t number) noexcept nogil:
    cdef int at
    if block.method == CODEC_PLAIN:
        found.plain += 1
        return
    if block.method == CODEC_LZ4:
        found.lz4 += 1
    if block.last:
        return
    found.longest = max(found.longest, block.length)
    if found.shortest == 0 or block.length < found.shortest:
        found.shortest = block.length
        found.shortest_count = 0
        found._sample_count = 0
        found._stride = 1
    if block.length != found.shortest:
        return
    if found.shortest_count % found._stride == 0:
        if found._sample_count == SAMPLES:  # keep every second one
            for at in range(SAMPLES // 2):
                found._samples[at] = found._samples[2 * at]
            found._sample_count = SAMPLES // 2
            found._stride *= 2
        if found.shortest_count % found._stride == 0:
            found._samples[found._sample_count] = number
            found._sample_count += 1
    found.shortest_count += 1
