# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The map of a CHD v5: which stored bytes hold which hunk.

A compressed map is one bit stream: the types of all hunks, then the fields of all hunks, each of
which depends on those before. It is decoded once when the file is opened, which checks it. What is
kept are checkpoints, 40 bytes for 256 hunks; reads decode a slice from the file again. Expanded, the
map of a DVD9 in 2 KiB hunks would take 50 MB (MAME, ``chd.cpp``, ``decompress_v5_map``).
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from zsofs.native.codecs cimport *
from zsofs.native.fetch cimport *

from os import close, dup, strerror

from zsofs.errors import DamagedError

cdef extern from "huffman.h":
    uint64_t zsofs_bits_take(zsofs_bits *bits, unsigned count) nogil
    bint zsofs_bits_overrun(const zsofs_bits *bits) nogil
    int zsofs_huffman_take(const zsofs_huffman *code, zsofs_bits *bits) nogil
    bint zsofs_huffman_of_map(zsofs_huffman *code, zsofs_bits *bits) nogil

cdef extern from "crc16.h":
    void zsofs_crc16_prepare()
    uint16_t zsofs_crc16(const uint8_t *data, size_t size, uint16_t crc) nogil

cdef enum:
    # Types of map entries; 0 to 3 are the codecs that the header names.
    TYPE_PLAIN = 4
    TYPE_SELF = 5
    TYPE_PARENT = 6
    # Types that only compressed maps have.
    TYPE_REPEAT = 7
    TYPE_REPEAT_LONG = 8
    TYPE_SAME_SELF = 9
    TYPE_NEXT_SELF = 10
    TYPE_PARENT_HERE = 11
    TYPE_SAME_PARENT = 12
    TYPE_NEXT_PARENT = 13

cdef enum:
    HEADER_SIZE = 124    # no hunk begins before its end
    MAP_ENTRY = 12       # bytes of an expanded map entry
    MOST_LINKS = 32      # hunks that refer to each other; chdman writes one link
    # Bytes of the longest slice: types of 3 codes of 8 bits, fields of 48 bits.
    TYPE_BYTES = 3 * CHD_SLICE + 2
    FIELD_BYTES = 6 * CHD_SLICE + 2

cdef enum:
    MAP_GOOD = 0
    MAP_NO_CODE = 1
    MAP_NO_TYPE = 2
    MAP_ENDS = 3
    MAP_CRC = 4
    MAP_CUT = 5
    MAP_READ = 6
    MAP_MEMORY = 7

cdef struct MapEntry:
    uint64_t offset      # in the file; of SELF a hunk, of PARENT a unit
    uint32_t length
    uint16_t crc
    uint8_t type

cdef struct State:
    # The decoder of a compressed map.
    zsofs_bits types
    zsofs_bits fields
    uint64_t offset
    uint64_t last_parent
    uint64_t last_self
    uint32_t repeats
    uint8_t type


cdef inline int _next_type(Chd *chd, State *state) noexcept nogil:
    """The type of the next hunk; negative if there is none."""
    cdef int symbol, more
    if state.repeats:
        state.repeats -= 1
        return state.type
    symbol = zsofs_huffman_take(&chd.types, &state.types)
    if symbol == TYPE_REPEAT:
        more = zsofs_huffman_take(&chd.types, &state.types)
        if more < 0:
            return -1
        state.repeats = 2 + more
    elif symbol == TYPE_REPEAT_LONG:
        more = zsofs_huffman_take(&chd.types, &state.types)
        symbol = zsofs_huffman_take(&chd.types, &state.types)
        if more < 0 or symbol < 0:
            return -1
        state.repeats = 18 + (more << 4) + symbol
    elif symbol < 0 or symbol > TYPE_NEXT_PARENT:
        return -1
    else:
        state.type = <uint8_t> symbol
    return state.type


cdef inline void _next_entry(Chd *chd, State *state, uint64_t number, uint8_t type,
                             MapEntry *entry) noexcept nogil:
    """The entry of hunk *number*, which has this type."""
    entry.length = 0
    entry.crc = 0
    entry.offset = state.offset
    entry.type = type
    if type <= TYPE_PLAIN:
        entry.length = (<uint32_t> chd.hunk_size if type == TYPE_PLAIN
                        else <uint32_t> zsofs_bits_take(&state.fields, chd.length_bits))
        entry.crc = <uint16_t> zsofs_bits_take(&state.fields, 16)
        state.offset += entry.length
        return
    if type == TYPE_SELF or type == TYPE_SAME_SELF or type == TYPE_NEXT_SELF:
        if type == TYPE_SELF:
            state.last_self = zsofs_bits_take(&state.fields, chd.self_bits)
        elif type == TYPE_NEXT_SELF:
            state.last_self += 1
        entry.offset = state.last_self
        entry.type = TYPE_SELF
        return
    if type == TYPE_PARENT:
        state.last_parent = zsofs_bits_take(&state.fields, chd.parent_bits)
    elif type == TYPE_PARENT_HERE:
        state.last_parent = number * chd.hunk_size // chd.unit_size
    elif type == TYPE_NEXT_PARENT:
        state.last_parent += chd.hunk_size // chd.unit_size
    entry.offset = state.last_parent
    entry.type = TYPE_PARENT


cdef inline void _expanded(MapEntry *entry, uint8_t *out) noexcept nogil:
    """The 12 bytes of an entry over which the map has its checksum."""
    out[0] = entry.type
    out[1] = <uint8_t> (entry.length >> 16)
    out[2] = <uint8_t> (entry.length >> 8)
    out[3] = <uint8_t> entry.length
    out[4] = <uint8_t> (entry.offset >> 40)
    out[5] = <uint8_t> (entry.offset >> 32)
    out[6] = <uint8_t> (entry.offset >> 24)
    out[7] = <uint8_t> (entry.offset >> 16)
    out[8] = <uint8_t> (entry.offset >> 8)
    out[9] = <uint8_t> entry.offset
    out[10] = <uint8_t> (entry.crc >> 8)
    out[11] = <uint8_t> entry.crc


cdef int _load(Chd *chd, int fd, uint64_t first_offset, uint16_t crc, uint64_t *end,
               Failure *failure) noexcept nogil:
    """Decode a compressed map, and make its checkpoints."""
    cdef uint8_t *stored = <uint8_t *> malloc(chd.map_size)
    cdef uint8_t *types = <uint8_t *> malloc(chd.hunk_count)
    cdef uint64_t slices = (chd.hunk_count + CHD_SLICE - 1) // CHD_SLICE
    cdef int64_t got
    cdef int result = MAP_MEMORY
    chd.checkpoints = <Checkpoint *> calloc(slices + 1, sizeof(Checkpoint))
    if stored is not NULL and types is not NULL and chd.checkpoints is not NULL:
        got = fetch(fd, stored, chd.map_size, chd.map_offset, HOW_WAIT, failure)
        if got < 0:
            result = MAP_READ
        elif <uint64_t> got < chd.map_size:
            result = MAP_CUT
        else:
            result = _decode(chd, stored, types, first_offset, crc, end)
    free(stored)
    free(types)
    return result


cdef int _decode(Chd *chd, const uint8_t *stored, uint8_t *types, uint64_t first_offset,
                 uint16_t crc, uint64_t *end) noexcept nogil:
    cdef State state
    cdef MapEntry entry
    cdef uint8_t[MAP_ENTRY * CHD_SLICE] expanded
    cdef uint16_t found = 0xFFFF
    cdef Checkpoint *at
    cdef uint64_t number
    cdef int type, filled = 0
    memset(&state, 0, sizeof(State))
    state.types.data = stored
    state.types.size = chd.map_size
    if not zsofs_huffman_of_map(&chd.types, &state.types):
        return MAP_NO_CODE
    for number in range(chd.hunk_count):
        if number % CHD_SLICE == 0:
            at = &chd.checkpoints[number // CHD_SLICE]
            at.type_bit = <uint32_t> state.types.at
            at.repeats = <uint16_t> state.repeats
            at.type = state.type
            if zsofs_bits_overrun(&state.types):
                return MAP_ENDS
        type = _next_type(chd, &state)
        if type < 0:
            return MAP_NO_TYPE
        types[number] = <uint8_t> type
    if zsofs_bits_overrun(&state.types):
        return MAP_ENDS
    at = &chd.checkpoints[(chd.hunk_count + CHD_SLICE - 1) // CHD_SLICE]
    at.type_bit = <uint32_t> state.types.at
    state.fields = state.types
    state.offset = first_offset
    for number in range(chd.hunk_count):
        if number % CHD_SLICE == 0:
            found = zsofs_crc16(expanded, filled, found)
            filled = 0
            _keep(&chd.checkpoints[number // CHD_SLICE], &state)
            if zsofs_bits_overrun(&state.fields):
                return MAP_ENDS
        _next_entry(chd, &state, number, types[number], &entry)
        _expanded(&entry, expanded + filled)
        filled += MAP_ENTRY
        chd.counts[entry.type] += 1
    found = zsofs_crc16(expanded, filled, found)
    _keep(at, &state)
    if zsofs_bits_overrun(&state.fields):
        return MAP_ENDS
    end[0] = state.offset
    return MAP_GOOD if found == crc else MAP_CRC


cdef inline void _keep(Checkpoint *at, State *state) noexcept nogil:
    at.field_bit = <uint32_t> state.fields.at
    at.offset = state.offset
    at.last_self = <uint32_t> state.last_self
    at.last_parent = state.last_parent


cdef int64_t _fetch_bits(Chd *chd, zsofs_bits *bits, int fd, uint8_t *out, uint64_t begin,
                         uint64_t end, int how, Failure *failure) noexcept nogil:
    """Read the bits from *begin* to *end* of the map."""
    cdef uint64_t first = begin // 8
    cdef uint64_t size = (end + 7) // 8 - first
    cdef int64_t got = fetch(fd, out, size, chd.map_offset + first, how, failure)
    if got < 0:
        return got
    if <uint64_t> got < size:  # it was there when the file was opened
        failure.reason = FAILED_CHANGED
        return -3
    bits.data = out
    bits.size = size
    bits.at = begin - 8 * first
    return 0


cdef int64_t _slice(Chd *chd, Space *space, int fd, uint64_t number, uint64_t upto,
                    int how, Failure *failure) noexcept nogil:
    """Decode the entries of slice *number* up to the hunk *upto* into space.index."""
    cdef Checkpoint *begin = &chd.checkpoints[number]
    cdef Checkpoint *end = begin + 1
    cdef State state
    cdef MapEntry *entries
    cdef uint8_t *stored
    cdef uint64_t count = min(upto - number * CHD_SLICE, <uint64_t> CHD_SLICE)
    cdef uint64_t at
    cdef int64_t result
    cdef int type
    space.index = grown(space.index, &space.index_size,
                        CHD_SLICE * sizeof(MapEntry) + TYPE_BYTES + FIELD_BYTES)
    if space.index is NULL:
        failure.reason = FAILED_MEMORY
        return -3
    entries = <MapEntry *> space.index
    stored = space.index + CHD_SLICE * sizeof(MapEntry)
    result = _fetch_bits(chd, &state.types, fd, stored, begin.type_bit, end.type_bit, how, failure)
    if result < 0:
        return result
    result = _fetch_bits(chd, &state.fields, fd, stored + TYPE_BYTES, begin.field_bit,
                         end.field_bit, how, failure)
    if result < 0:
        return result
    state.offset = begin.offset
    state.last_parent = begin.last_parent
    state.last_self = begin.last_self
    state.repeats = begin.repeats
    state.type = begin.type
    for at in range(count):
        type = _next_type(chd, &state)
        if type < 0:  # nor did it then
            failure.reason = FAILED_CHANGED
            return -3
        entries[at].type = <uint8_t> type
    for at in range(count):
        _next_entry(chd, &state, number * CHD_SLICE + at, entries[at].type, &entries[at])
    return 0


cdef bint _stored(Image *image, MapEntry *entry, uint64_t number, Stored *block,
                  Failure *failure) noexcept nogil:
    """What an entry says, checked against the file's bounds."""
    cdef Chd *chd = <Chd *> image.chd
    block.last = number == chd.hunk_count - 1
    block.crc = entry.crc
    block.offset = entry.offset
    block.length = entry.length
    failure.block = number
    failure.offset = <int64_t> entry.offset
    failure.codec = CODEC_PLAIN
    if entry.type == TYPE_SELF:
        block.method = CODEC_SELF
        return True
    if entry.type == TYPE_PARENT:
        block.method = CODEC_PARENT
        block.offset = entry.offset * chd.unit_size
        failure.offset = -1
        if chd.parent is NULL:
            return fail(failure, FAILED_NO_PARENT, 0, 0)
        if entry.offset > (chd.parent.size - 1) // chd.unit_size:
            return fail(failure, FAILED_PARENT_ENDS, chd.parent.size, block.offset)
        return True
    block.method = CODEC_PLAIN if entry.type == TYPE_PLAIN else chd.methods[entry.type]
    failure.codec = block.method
    if entry.offset < HEADER_SIZE:
        return fail(failure, FAILED_IN_INDEX, HEADER_SIZE, entry.offset)
    if entry.offset >= image.source_size:
        return fail(failure, FAILED_PAST_END, image.source_size, entry.offset)
    if block.method == CODEC_NONE:
        return fail(failure, FAILED_NO_CODEC, 0, entry.type)
    if entry.length == 0:
        return fail(failure, FAILED_EMPTY, 0, 0)
    if entry.length > chd.hunk_size:
        return fail(failure, FAILED_TOO_LONG, chd.hunk_size, entry.length)
    return True


cdef int64_t locate_hunks(Image *image, Space *space, int fd, uint64_t first, uint64_t count,
                          int how, Failure *failure) noexcept nogil:
    """Fill space.blocks as :func:`zsofs.native.fetch.locate` does."""
    cdef Chd *chd = <Chd *> image.chd
    cdef uint64_t done = 0
    cdef uint64_t slice, skip, upto
    cdef int64_t result
    cdef MapEntry *entries
    space.blocks = <Stored *> grown(<uint8_t *> space.blocks, &space.blocks_size,
                                    count * sizeof(Stored))
    if space.blocks is NULL:
        failure.reason = FAILED_MEMORY
        return -3
    if not chd.compressed:
        return _locate_plain(image, space, fd, first, count, how, failure)
    while done < count:
        slice = (first + done) // CHD_SLICE
        skip = (first + done) % CHD_SLICE
        upto = min(first + count, (slice + 1) * CHD_SLICE)
        result = _slice(chd, space, fd, slice, upto, how, failure)
        if result < 0:
            return result
        entries = <MapEntry *> space.index
        while first + done < upto:
            if not _stored(image, &entries[skip], first + done, &space.blocks[done], failure):
                return -3
            skip += 1
            done += 1
    return _follow(image, space, fd, first, count, how, failure)


cdef int64_t _follow(Image *image, Space *space, int fd, uint64_t first, uint64_t count, int how,
                     Failure *failure) noexcept nogil:
    """Replace references to other hunks by what they lead to."""
    cdef Chd *chd = <Chd *> image.chd
    cdef Stored known
    cdef uint64_t known_hunk = chd.hunk_count  # none
    cdef uint64_t at, hunk
    cdef int64_t result
    cdef int links
    for at in range(count):
        if space.blocks[at].method != CODEC_SELF:
            continue
        if space.blocks[at].offset != known_hunk:
            known = space.blocks[at]
            known_hunk = known.offset
            hunk = known_hunk
            links = 0
            while known.method == CODEC_SELF:
                hunk = known.offset
                links += 1
                if hunk >= chd.hunk_count or links > MOST_LINKS:
                    failure.block = first + at
                    failure.offset = -1
                    fail(failure, FAILED_LINKS if hunk < chd.hunk_count else FAILED_LINK_ENDS,
                         chd.hunk_count if hunk >= chd.hunk_count else MOST_LINKS, hunk)
                    return -3
                result = _slice(chd, space, fd, hunk // CHD_SLICE, hunk + 1, how, failure)
                if result < 0:
                    return result
                if not _stored(image, &(<MapEntry *> space.index)[hunk % CHD_SLICE], hunk, &known,
                               failure):
                    failure.block = first + at
                    return -3
        space.blocks[at] = known
        space.blocks[at].last = first + at == chd.hunk_count - 1
    return 0


cdef int64_t _locate_plain(Image *image, Space *space, int fd, uint64_t first, uint64_t count,
                           int how, Failure *failure) noexcept nogil:
    """The same for an uncompressed map: numbers of blocks of a hunk's size, 0 for none."""
    cdef Chd *chd = <Chd *> image.chd
    cdef Stored *block
    cdef const uint8_t *entry
    cdef uint64_t at, number
    cdef int64_t result
    space.index = grown(space.index, &space.index_size, 4 * count)
    if space.index is NULL:
        failure.reason = FAILED_MEMORY
        return -3
    result = fetch(fd, space.index, 4 * count, chd.map_offset + 4 * first, how, failure)
    if result < 0:
        return result
    if <uint64_t> result < 4 * count:
        failure.reason = FAILED_INDEX_CUT
        failure.block = first
        failure.offset = -1
        return -3
    for at in range(count):
        entry = space.index + 4 * at
        block = &space.blocks[at]
        number = (<uint64_t> entry[0] << 24 | <uint64_t> entry[1] << 16
                  | <uint64_t> entry[2] << 8 | entry[3])
        block.last = first + at == chd.hunk_count - 1
        block.crc = NO_CRC
        block.length = 0
        # Holes do not keep those before and behind them from being read at once.
        block.offset = space.blocks[at - 1].offset + space.blocks[at - 1].length if at else 0
        failure.block = first + at
        if number:
            block.method = CODEC_PLAIN
            block.offset = number * chd.hunk_size
            block.length = chd.hunk_size
            failure.offset = <int64_t> block.offset
            failure.codec = CODEC_PLAIN
            if block.offset >= image.source_size:
                fail(failure, FAILED_PAST_END, image.source_size, block.offset)
                return -3
        elif chd.parent is NULL:
            block.method = CODEC_HOLE
        else:
            block.method = CODEC_PARENT
            block.offset = (first + at) * chd.hunk_size
            if block.offset >= chd.parent.size:
                failure.offset = -1
                fail(failure, FAILED_PARENT_ENDS, chd.parent.size, block.offset)
                return -3
    return 0


_PROBLEMS = {
    MAP_NO_CODE: "the Huffman code of its map is invalid",
    MAP_NO_TYPE: "its map has an invalid type",
    MAP_ENDS: "its map ends before the last hunk",
    MAP_CRC: "its map is damaged: the CRC-16 does not match",
    MAP_CUT: "the file is truncated: it ends inside the map",
}


cdef class ChdMap:
    """The map of one CHD file, checked as a whole when it is made.

    Args:
        fd: descriptor of the file, read by position.
        hunk_count: number of hunks.
        hunk_size: bytes of each hunk.
        unit_size: bytes of each unit.
        skip: bytes of each unit in front of those that are shown.
        take: bytes of each unit that are shown; 0: whole hunks.
        methods: the four codecs, as of native/codecs.pxd.
        map_offset: where the bit stream begins, or the block numbers of an uncompressed map.
        map_size: bytes of that.
        first_offset: where the first stored hunk begins.
        map_crc: CRC-16 of the expanded map.
        bits: of a length, a reference to another hunk, and one to the parent.
        compressed: whether the map is compressed.

    Raises:
        DamagedError: the map is damaged.
        OSError: it could not be read.
    """

    def __init__(self, *, int fd, uint64_t hunk_count, uint64_t hunk_size, uint64_t unit_size,
                 uint64_t skip, uint64_t take, methods, uint64_t map_offset, uint64_t map_size,
                 uint64_t first_offset, int map_crc, bits, bint compressed):
        cdef Chd *chd = &self.chd
        cdef Failure failure
        cdef uint64_t end = 0
        cdef int result
        if not (0 < hunk_size <= 16 << 20 and 0 < unit_size <= hunk_size
                and 0 < hunk_count < <uint64_t> 1 << 32 and map_size < 1 << 29
                and skip + take <= unit_size and len(methods) == 4 and not chd.hunk_size
                and 0 <= bits[0] <= 24 and 0 <= bits[1] <= 32 and 0 <= bits[2] <= 48):
            raise ValueError("layout out of bounds")
        chd.hunk_count = hunk_count
        chd.hunk_size = hunk_size
        chd.unit_size = unit_size
        chd.skip = skip
        chd.take = take
        chd.methods = methods
        chd.map_offset = map_offset
        chd.map_size = map_size
        chd.length_bits, chd.self_bits, chd.parent_bits = bits
        chd.compressed = compressed
        if not compressed:
            return
        with nogil:
            result = _load(chd, fd, first_offset, <uint16_t> map_crc, &end, &failure)
        if result == MAP_MEMORY:
            raise MemoryError("no memory for the map of a CHD")
        if result == MAP_READ:
            raise OSError(failure.error, strerror(failure.error))
        if result != MAP_GOOD:
            raise DamagedError(_PROBLEMS[result])
        self.data_end = end

    def __cinit__(self):
        self.chd.parent_fd = -1

    def __dealloc__(self):
        free(self.chd.checkpoints)
        if self.chd.parent_fd >= 0:
            close(self.chd.parent_fd)

    cdef adopt(self, reader, Image *image, int fd):
        """Read what this file lacks from its parent: *image*, of which *reader* keeps the numbers."""
        if self.chd.parent is not NULL:
            raise ValueError("a CHD has one parent")
        self.chd.parent_fd = dup(fd)
        self.chd.parent = image
        self.parent_reader = reader

    @property
    def counts(self):
        """Number of hunks by type: the four codecs, stored plain, like another hunk, parent's.

        All 0 for an uncompressed map.
        """
        return tuple(self.chd.counts)

    @property
    def memory(self):
        """Bytes that the map takes."""
        if not self.chd.compressed:
            return 0
        return ((self.chd.hunk_count + CHD_SLICE - 1) // CHD_SLICE + 1) * sizeof(Checkpoint)


zsofs_crc16_prepare()
