"""Where the hunks of a CHD v5 lie: its map, kept as checkpoints and decoded a slice at a time."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from zsofs.native.codecs cimport Failure, Image, Space

cdef extern from "huffman.h":
    struct zsofs_bits:
        const uint8_t *data
        size_t size
        uint64_t at
    struct zsofs_huffman:
        pass

cdef enum:
    # Map entries between two checkpoints. A slice of so many is decoded in about 2 microseconds.
    CHD_SLICE = 256

cdef struct Checkpoint:
    # The state of the decoder of a compressed map in front of the first hunk of a slice.
    uint64_t offset        # where the next stored hunk begins in the file
    uint64_t last_parent   # unit of the parent
    uint32_t type_bit      # position of the next type
    uint32_t field_bit     # position of the next fields
    uint32_t last_self     # hunk
    uint16_t repeats       # how often the last type is still repeated
    uint8_t type           # the last type

cdef struct Chd:
    # The numbers of a zsofs.formats.chd_layout.ChdLayout, explained there, and its map.
    uint64_t hunk_count
    uint64_t hunk_size
    uint64_t unit_size
    uint64_t skip          # bytes in front of the shown ones in each unit
    uint64_t take          # bytes shown of each unit; 0: whole hunks
    int[4] methods
    uint64_t map_offset    # of the bit stream, or of the block numbers of an uncompressed map
    uint64_t map_size
    bint compressed
    int length_bits
    int self_bits
    int parent_bits
    uint64_t first_offset  # where the first stored hunk begins
    uint16_t map_crc       # of the expanded map
    zsofs_huffman types    # the code of the types, once it is known
    bint has_code
    # What follows is protected by a lock of chd_map.pyx, as a list of all maps that are loaded.
    Checkpoint *checkpoints  # NULL: not loaded
    int users              # reads that use them
    Chd *newer
    Chd *older
    Image *parent          # NULL: it has none
    int parent_fd
    uint64_t[7] counts     # of hunks: by the four codecs, stored plain, self and parent

cdef class ChdMap:
    cdef Chd chd
    cdef readonly uint64_t data_end
    cdef object parent_reader
    cdef adopt(self, reader, Image *image, int fd)
    cdef close_parent(self)

cdef int64_t locate_hunks(Image *image, Space *space, int fd, uint64_t first, uint64_t count,
                          int how, Failure *failure) noexcept nogil
