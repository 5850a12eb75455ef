"""What the two halves of the kernel share: an image's numbers, stored blocks, memory, failures."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


# The numbers of zsofs.formats.geometry.Rule and .Codec; a test holds them together.
cdef enum:
    RULE_FLAGGED = 0     # bit 31 of an index entry: the block is stored plain
    RULE_CISO2 = 1       # stored length >= block size: plain; else bit 31: LZ4; else deflate
    RULE_DAX = 2         # a table of offsets and a table of lengths, no flags
    RULE_FRAMED = 3      # bit 31 never set, no byte between the blocks: ZSOZ
    RULE_CHD = 4         # a map of its own, native/chd_map.pyx

cdef enum:
    CODEC_LZ4 = 0
    CODEC_ZSTD = 1
    CODEC_ZLIB = 2
    CODEC_DEFLATE = 3
    CODEC_PLAIN = 4      # how one block is stored, or all hunks of a CHD
    CODEC_LZMA = 5
    CODEC_HUFFMAN = 6
    CODEC_FLAC = 7
    CODEC_CD_LZMA = 8
    CODEC_CD_DEFLATE = 9
    CODEC_CD_ZSTD = 10
    CODEC_CD_FLAC = 11
    # How one hunk of a CHD is stored; never the codec of an image.
    CODEC_NONE = 12      # a codec that its header does not name
    CODEC_HOLE = 13      # not at all: zeros
    CODEC_SELF = 14      # as another hunk
    CODEC_PARENT = 15    # in the parent

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
    FAILED_OVERLAP = 15
    FAILED_NO_CHECKSUM = 16
    FAILED_NO_CODEC = 17
    FAILED_LINKS = 18
    FAILED_LINK_ENDS = 19
    FAILED_NO_PARENT = 20
    FAILED_PARENT_ENDS = 21
    FAILED_CRC = 22
    FAILED_PARENTS_WORK = 23

cdef enum:
    NO_CRC = -1

cdef struct Failure:
    int reason
    int error            # errno where reason is FAILED_READ
    int codec
    uint64_t block
    int64_t offset
    uint64_t a
    uint64_t b
    bint in_parent
    uint64_t parents_work  # bytes decoded of parents for one hunk

cdef struct Image:
    # The numbers of a zsofs.formats.geometry.Geometry, explained there, and what the source file
    # was when it was opened.
    int rule
    int codec
    int shift
    uint64_t size
    uint64_t block_size
    uint64_t block_count
    uint64_t index_offset
    uint64_t data_start
    uint64_t data_end
    uint64_t source_size
    int64_t source_mtime_ns
    int64_t source_ctime_ns
    bint checks_ctime    # whether a read also compares the change time
    bint final_byte_missing
    void *chd            # of a CHD its zsofs.native.chd_map.Chd, else NULL

cdef struct Stored:
    uint64_t offset
    uint64_t length      # stored bytes to fetch
    int method
    int crc              # CRC-16 of a hunk, or NO_CRC
    bint last

cdef struct Space:
    # What one call needs besides the caller's buffer.
    Space *next
    uint8_t *data
    size_t data_size
    uint8_t *scratch
    size_t scratch_size
    bint lacks_memory    # there was none for scratch
    uint8_t *index
    size_t index_size
    Stored *blocks
    size_t blocks_size
    void *zstd
    void *deflate
    void *lzma
    uint8_t *hunk
    size_t hunk_size
    uint8_t *from_parent  # decoded hunks of the parent; scratch is used while they are decoded
    size_t from_parent_size

cdef Space *take_space() noexcept nogil
cdef void give_back(Space *space) noexcept nogil
cdef uint8_t *grown(uint8_t *memory, size_t *size, size_t wanted) noexcept nogil
cdef bint decode(Image *image, Space *space, uint64_t number, Stored *block,
                 const uint8_t *stored, uint64_t have, uint8_t *out,
                 Failure *failure) noexcept nogil
cdef bint fail(Failure *failure, int reason, uint64_t a, uint64_t b) noexcept nogil
