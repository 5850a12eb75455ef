# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Where the blocks of an image lie in its file, without reading the blocks."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from zsofs.native.block_reader cimport BlockReader, error_of
from zsofs.native.chd_map cimport locate_hunks
from zsofs.native.codecs cimport *
from zsofs.native.fetch cimport *

cdef enum:
    # Blocks with a gap up to this are one range, as a read fetches them at once.
    MAX_GAP = 4096
    MOST_BLOCKS = 1 << 16


def stored_ranges(BlockReader reader not None, int fd, uint64_t first, uint64_t count):
    """Return where blocks *first* to *first* + *count* - 1 of the file open as *fd* are stored.

    It reads their index entries, so it may wait for a disk. What a CHD has in its parent, or
    nowhere, is left out.

    Returns:
        Ranges of the file, as (offset, length) in bytes, in the order of the blocks.

    Raises:
        BlockError: one of the entries is invalid.
        OSError: the index could not be read.
    """
    cdef Image *image = &reader.image
    cdef Space *space
    cdef Failure failure
    cdef int64_t result
    cdef uint64_t at, begin = 0, end = 0
    if count == 0 or count > MOST_BLOCKS or first >= image.block_count:
        raise ValueError(f"{count} blocks from {first} are not all inside the image")
    count = min(count, image.block_count - first)
    memset(&failure, 0, sizeof(Failure))
    found = []
    space = take_space()
    if space is NULL:
        raise MemoryError("no memory to read an index")
    try:
        with nogil:
            if image.chd is NULL:
                result = locate(image, space, fd, first, count, HOW_WAIT, &failure)
            else:
                result = locate_hunks(image, space, fd, first, count, HOW_WAIT, &failure)
        if result < 0:
            raise error_of(&failure)
        for at in range(count):
            if (space.blocks[at].method == CODEC_PARENT or space.blocks[at].method == CODEC_HOLE
                    or space.blocks[at].offset >= image.source_size):
                continue
            if end and begin <= space.blocks[at].offset <= end + MAX_GAP:
                end = max(end, space.blocks[at].offset + space.blocks[at].length)
                continue
            if end:
                found.append((begin, end - begin))
            begin = space.blocks[at].offset
            end = begin + space.blocks[at].length
        if end:
            found.append((begin, end - begin))
    finally:
        give_back(space)
    return found
