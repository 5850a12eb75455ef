# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False
"""The map of a CHD v5: which stored bytes hold which hunk.

A compressed map is one bit stream: the types of all hunks, then the fields of all hunks, each of
which depends on those before. It is decoded once when the file is opened, which checks it. What is
kept are checkpoints, 32 bytes for 256 hunks; reads decode a slice from the file again. Expanded, the
map of a DVD9 in 2 KiB hunks would take 50 MB (MAME, ``chd.cpp``, ``decompress_v5_map``).

The checkpoints of all maps have a bounded size: the least recently used ones are dropped, and
another pass over the map restores them when they are needed.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memset

from zsofs.native.codecs cimport *
from zsofs.native.fetch cimport *

from os import close, strerror

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
    SLICE_BYTES = FIELD_BYTES + 8  # as much is looked at behind the last bit
    # Bytes of all maps in memory: those of 125 DVD5 in 4 KiB hunks, or 32 DVD9 in 2 KiB hunks.
    MOST_LOADED = 16 << 20
    WINDOW = 64 << 10              # bytes of a map in memory while it is loaded

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
    uint64_t offset
    uint64_t last_parent
    uint64_t last_self
    uint32_t repeats
    uint8_t type


cdef inline int _next_type(Chd *chd, State *state, zsofs_bits *bits) noexcept nogil:
    """The type of the next hunk; negative if there is none."""
    cdef int symbol, more
    if state.repeats:
        state.repeats -= 1
        return state.type
    symbol = zsofs_huffman_take(&chd.types, bits)
    if symbol == TYPE_REPEAT:
        more = zsofs_huffman_take(&chd.types, bits)
        if more < 0:
            return -1
        state.repeats = 2 + more
    elif symbol == TYPE_REPEAT_LONG:
        more = zsofs_huffman_take(&chd.types, bits)
        symbol = zsofs_huffman_take(&chd.types, bits)
        if more < 0 or symbol < 0:
            return -1
        state.repeats = 18 + (more << 4) + symbol
    elif symbol < 0 or symbol > TYPE_NEXT_PARENT:
        return -1
    else:
        state.type = <uint8_t> symbol
    return state.type


cdef inline void _next_entry(Chd *chd, State *state, zsofs_bits *bits, uint64_t number,
                             uint8_t type, MapEntry *entry) noexcept nogil:
    """The entry of hunk *number*, which has this type."""
    entry.length = 0
    entry.crc = 0
    entry.offset = state.offset
    entry.type = type
    if type <= TYPE_PLAIN:
        entry.length = (<uint32_t> chd.hunk_size if type == TYPE_PLAIN
                        else <uint32_t> zsofs_bits_take(bits, chd.length_bits))
        entry.crc = <uint16_t> zsofs_bits_take(bits, 16)
        state.offset += entry.length
        return
    if type == TYPE_SELF or type == TYPE_SAME_SELF or type == TYPE_NEXT_SELF:
        if type == TYPE_SELF:
            state.last_self = zsofs_bits_take(bits, chd.self_bits)
        elif type == TYPE_NEXT_SELF:
            state.last_self += 1
        entry.offset = state.last_self
        entry.type = TYPE_SELF
        return
    if type == TYPE_PARENT:
        state.last_parent = zsofs_bits_take(bits, chd.parent_bits)
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


cdef struct Window:
    # A part of the bit stream, in a buffer of WINDOW bytes.
    zsofs_bits bits
    uint64_t begin       # where it begins in the stream, in bytes
    uint8_t *buffer


cdef int _move(Chd *chd, int fd, Window *window, uint64_t bit, Failure *failure) noexcept nogil:
    """Let a window begin at a bit of the stream."""
    cdef int64_t got
    cdef uint64_t size
    window.begin = min(bit // 8, chd.map_size)
    size = min(chd.map_size - window.begin, <uint64_t> WINDOW)
    got = fetch(fd, window.buffer, size, chd.map_offset + window.begin, HOW_WAIT, failure)
    if got < 0:
        return MAP_READ
    if <uint64_t> got < size:
        return MAP_CUT
    window.bits.data = window.buffer
    window.bits.size = size
    window.bits.at = bit - 8 * window.begin
    return MAP_GOOD


cdef inline uint64_t _place(Window *window) noexcept nogil:
    """The position in the stream, in bits."""
    return 8 * window.begin + window.bits.at


cdef inline int _advance(Chd *chd, int fd, Window *window, Failure *failure) noexcept nogil:
    """See that a window has the bits of a whole slice, unless the stream ends before."""
    if zsofs_bits_overrun(&window.bits):
        return MAP_ENDS
    if (window.bits.size - window.bits.at // 8 >= SLICE_BYTES
            or window.begin + window.bits.size == chd.map_size):
        return MAP_GOOD
    return _move(chd, fd, window, _place(window), failure)


cdef int _load(Chd *chd, int fd, Checkpoint **made, uint64_t *counts, uint64_t *end,
               Failure *failure) noexcept nogil:
    """Decode a compressed map, and make its checkpoints.

    The types are decoded twice, so that they need no memory: the size of a map is only bounded by
    that of the file, and a sparse one costs nothing.
    """
    cdef Window types, fields
    cdef int result = MAP_MEMORY
    made[0] = <Checkpoint *> calloc(_slices(chd) + 1, sizeof(Checkpoint))
    types.buffer = <uint8_t *> malloc(2 * WINDOW)
    if made[0] is not NULL and types.buffer is not NULL:
        fields.buffer = types.buffer + WINDOW
        result = _decode(chd, fd, &types, &fields, made[0], counts, end, failure)
    free(types.buffer)
    if result != MAP_GOOD:
        free(made[0])
        made[0] = NULL
    return result


cdef inline uint64_t _slices(Chd *chd) noexcept nogil:
    return (chd.hunk_count + CHD_SLICE - 1) // CHD_SLICE


cdef int _decode(Chd *chd, int fd, Window *types, Window *fields, Checkpoint *checkpoints,
                 uint64_t *counts, uint64_t *end, Failure *failure) noexcept nogil:
    cdef zsofs_huffman code
    cdef uint64_t first
    cdef int result = _move(chd, fd, types, 0, failure)
    if result != MAP_GOOD:
        return result
    if not zsofs_huffman_of_map(&code, &types.bits):
        return MAP_NO_CODE
    if not chd.has_code:
        chd.types = code
        chd.has_code = True
    elif memcmp(&code, &chd.types, sizeof(code)) != 0:
        return MAP_CRC
    first = _place(types)
    result = _decode_types(chd, fd, types, checkpoints, failure)
    if result != MAP_GOOD:
        return result
    result = _move(chd, fd, fields, _place(types), failure)
    if result != MAP_GOOD:
        return result
    result = _move(chd, fd, types, first, failure)
    if result != MAP_GOOD:
        return result
    return _decode_fields(chd, fd, types, fields, checkpoints, counts, end, failure)


cdef int _decode_types(Chd *chd, int fd, Window *types, Checkpoint *checkpoints,
                       Failure *failure) noexcept nogil:
    """Note where the types of each slice begin."""
    cdef State state
    cdef Checkpoint *at = checkpoints
    cdef uint64_t number
    cdef int result
    memset(&state, 0, sizeof(State))
    for number in range(chd.hunk_count):
        if number % CHD_SLICE == 0:
            result = _advance(chd, fd, types, failure)
            if result != MAP_GOOD:
                return result
            at.type_bit = <uint32_t> _place(types)
            at.repeats = <uint16_t> state.repeats
            at.type = state.type
            at += 1
        if _next_type(chd, &state, &types.bits) < 0:
            return MAP_NO_TYPE
    if zsofs_bits_overrun(&types.bits):
        return MAP_ENDS
    at.type_bit = <uint32_t> _place(types)
    return MAP_GOOD


cdef int _decode_fields(Chd *chd, int fd, Window *types, Window *fields, Checkpoint *checkpoints,
                        uint64_t *counts, uint64_t *end, Failure *failure) noexcept nogil:
    """Note what the fields of each slice begin with, and compare the checksum of all entries."""
    cdef State state
    cdef MapEntry entry
    cdef uint8_t[MAP_ENTRY * CHD_SLICE] expanded
    cdef uint16_t found = 0xFFFF
    cdef Checkpoint *at = checkpoints
    cdef uint64_t number
    cdef int type, result, filled = 0
    memset(&state, 0, sizeof(State))
    state.offset = chd.first_offset
    for number in range(chd.hunk_count):
        if number % CHD_SLICE == 0:
            found = zsofs_crc16(expanded, filled, found)
            filled = 0
            result = _advance(chd, fd, types, failure)
            if result == MAP_GOOD:
                result = _advance(chd, fd, fields, failure)
            if result != MAP_GOOD:
                return result
            _keep(at, &state, _place(fields))
            at += 1
        type = _next_type(chd, &state, &types.bits)
        if type < 0:
            return MAP_NO_TYPE
        _next_entry(chd, &state, &fields.bits, number, <uint8_t> type, &entry)
        _expanded(&entry, expanded + filled)
        filled += MAP_ENTRY
        counts[entry.type] += 1
    found = zsofs_crc16(expanded, filled, found)
    _keep(at, &state, _place(fields))
    if zsofs_bits_overrun(&fields.bits):
        return MAP_ENDS
    end[0] = state.offset
    return MAP_GOOD if found == chd.map_crc else MAP_CRC


cdef inline void _keep(Checkpoint *at, State *state, uint64_t field_bit) noexcept nogil:
    at.field_bit = <uint32_t> field_bit
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
    cdef zsofs_bits types, fields
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
    result = _fetch_bits(chd, &types, fd, stored, begin.type_bit, end.type_bit, how, failure)
    if result < 0:
        return result
    result = _fetch_bits(chd, &fields, fd, stored + TYPE_BYTES, begin.field_bit,
                         end.field_bit, how, failure)
    if result < 0:
        return result
    state.offset = begin.offset
    state.last_parent = begin.last_parent
    state.last_self = begin.last_self
    state.repeats = begin.repeats
    state.type = begin.type
    for at in range(count):
        type = _next_type(chd, &state, &types)
        if type < 0:  # nor did it then
            failure.reason = FAILED_CHANGED
            return -3
        entries[at].type = <uint8_t> type
    for at in range(count):
        _next_entry(chd, &state, &fields, number * CHD_SLICE + at, entries[at].type,
                    &entries[at])
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


cdef extern from *:
    """
    #include <pthread.h>
    static pthread_mutex_t zsofs_maps_lock = PTHREAD_MUTEX_INITIALIZER;
    #define zsofs_lock_maps() pthread_mutex_lock(&zsofs_maps_lock)
    #define zsofs_unlock_maps() pthread_mutex_unlock(&zsofs_maps_lock)
    """
    void zsofs_lock_maps() nogil
    void zsofs_unlock_maps() nogil

# The maps that are loaded, from the one that was used last on, and the bytes of their checkpoints.
cdef Chd *_newest = NULL
cdef Chd *_oldest = NULL
cdef uint64_t _loaded = 0


cdef inline uint64_t _memory(Chd *chd) noexcept nogil:
    return (_slices(chd) + 1) * sizeof(Checkpoint) if chd.compressed else 0


cdef void _unlink(Chd *chd) noexcept nogil:
    """Take a map out of the list. The lock is held."""
    global _newest, _oldest
    if chd.newer is not NULL:
        chd.newer.older = chd.older
    else:
        _newest = chd.older
    if chd.older is not NULL:
        chd.older.newer = chd.newer
    else:
        _oldest = chd.newer
    chd.newer = chd.older = NULL


cdef void _link(Chd *chd) noexcept nogil:
    """Put a map at the front of the list. The lock is held."""
    global _newest, _oldest
    chd.older = _newest
    if _newest is not NULL:
        _newest.newer = chd
    else:
        _oldest = chd
    _newest = chd


cdef void _drop(Chd *chd) noexcept nogil:
    """Free the checkpoints of a map. The lock is held."""
    global _loaded
    if chd.checkpoints is not NULL:
        _unlink(chd)
        _loaded -= _memory(chd)
        free(chd.checkpoints)
        chd.checkpoints = NULL


cdef void _drop_down_to(uint64_t most) noexcept nogil:
    """Drop maps that no read uses, the oldest first, down to *most* bytes. The lock is held."""
    cdef Chd *at = _oldest
    cdef Chd *newer
    while at is not NULL and _loaded > most:
        newer = at.newer
        if at.users == 0:
            _drop(at)
        at = newer


cdef void _adopt(Chd *chd, Checkpoint *made) noexcept nogil:
    """Keep what was loaded, unless another thread was faster. The lock is held."""
    global _loaded
    if chd.checkpoints is not NULL:
        free(made)
        return
    chd.checkpoints = made
    _loaded += _memory(chd)
    _link(chd)
    chd.users += 1
    _drop_down_to(MOST_LOADED)
    chd.users -= 1


cdef int64_t _take(Chd *chd, int fd, int how, Failure *failure) noexcept nogil:
    """Have the checkpoints of a map until :func:`_let_go`; returns as :func:`fetch` does."""
    cdef Checkpoint *made = NULL
    cdef uint64_t[7] counts
    cdef uint64_t end
    cdef int result
    zsofs_lock_maps()
    if chd.checkpoints is NULL:
        zsofs_unlock_maps()
        if how != HOW_WAIT:
            return -1
        memset(counts, 0, sizeof(counts))
        result = _load(chd, fd, &made, counts, &end, failure)
        if result != MAP_GOOD:
            if result == MAP_MEMORY:
                failure.reason = FAILED_MEMORY
            elif result != MAP_READ:  # it was good when the file was opened
                failure.reason = FAILED_CHANGED
            return -3
        zsofs_lock_maps()
        _adopt(chd, made)
    chd.users += 1
    if chd is not _newest:
        _unlink(chd)
        _link(chd)
    zsofs_unlock_maps()
    return 0


cdef void _let_go(Chd *chd) noexcept nogil:
    zsofs_lock_maps()
    chd.users -= 1
    zsofs_unlock_maps()


def drop_idle_maps():
    """Free the memory of all maps that no read uses now; the next read of one loads it again."""
    with nogil:
        zsofs_lock_maps()
        _drop_down_to(0)
        zsofs_unlock_maps()


def loaded_bytes():
    """Bytes of the maps in memory."""
    return _loaded


cdef int64_t locate_hunks(Image *image, Space *space, int fd, uint64_t first, uint64_t count,
                          int how, Failure *failure) noexcept nogil:
    """Fill space.blocks as :func:`zsofs.native.fetch.locate` does."""
    cdef Chd *chd = <Chd *> image.chd
    cdef int64_t result
    space.blocks = <Stored *> grown(<uint8_t *> space.blocks, &space.blocks_size,
                                    count * sizeof(Stored))
    if space.blocks is NULL:
        failure.reason = FAILED_MEMORY
        return -3
    if not chd.compressed:
        return _locate_plain(image, space, fd, first, count, how, failure)
    result = _take(chd, fd, how, failure)
    if result < 0:
        return result
    result = _locate(image, space, fd, first, count, how, failure)
    _let_go(chd)
    return result


cdef int64_t _locate(Image *image, Space *space, int fd, uint64_t first, uint64_t count, int how,
                     Failure *failure) noexcept nogil:
    """The same for a compressed map that is loaded."""
    cdef Chd *chd = <Chd *> image.chd
    cdef uint64_t done = 0
    cdef uint64_t slice, skip, upto
    cdef int64_t result
    cdef MapEntry *entries
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
    cdef uint64_t known_hunk = 0
    cdef bint is_known = False
    cdef uint64_t at, hunk
    cdef int64_t result
    cdef int links
    for at in range(count):
        if space.blocks[at].method != CODEC_SELF:
            continue
        if not is_known or space.blocks[at].offset != known_hunk:
            known = space.blocks[at]
            known_hunk = known.offset
            is_known = True
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
        cdef Checkpoint *made = NULL
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
        chd.first_offset = first_offset
        chd.map_crc = <uint16_t> map_crc
        chd.compressed = compressed
        if not compressed:
            return
        with nogil:
            result = _load(chd, fd, &made, chd.counts, &end, &failure)
        if result == MAP_MEMORY:
            raise MemoryError("no memory for the map of a CHD")
        if result == MAP_READ:
            raise OSError(failure.error, strerror(failure.error))
        if result != MAP_GOOD:
            raise DamagedError(_PROBLEMS[result])
        self.data_end = end
        with nogil:
            zsofs_lock_maps()
            _adopt(chd, made)
            zsofs_unlock_maps()

    def __cinit__(self):
        self.chd.parent_fd = -1

    def __dealloc__(self):
        zsofs_lock_maps()
        _drop(&self.chd)
        zsofs_unlock_maps()
        self.close_parent()

    cdef adopt(self, reader, Image *image, int fd):
        """Read what this file lacks from its parent: *image*, of which *reader* keeps the numbers."""
        if self.chd.parent is not NULL:
            raise ValueError("a CHD has one parent")
        self.chd.parent_fd = fd
        self.chd.parent = image
        self.parent_reader = reader

    cdef close_parent(self):
        if self.chd.parent_fd >= 0:
            close(self.chd.parent_fd)
            self.chd.parent_fd = -1

    @property
    def counts(self):
        """Number of hunks by type: the four codecs, stored plain, like another hunk, parent's.

        All 0 for an uncompressed map.
        """
        return tuple(self.chd.counts)

    @property
    def memory(self):
        """Bytes that the map takes while it is in memory."""
        return _memory(&self.chd)


zsofs_crc16_prepare()
