/* Decoding of FLAC frames (RFC 9639) as CHD stores them: 16-bit stereo, without a stream header.

   An own decoder instead of libFLAC: CHD has neither the stream header nor the metadata that
   libFLAC wants, so each hunk would need a made-up one and a decoder object fed by callbacks. And
   it is one library less to install.

   The input is hostile. The reader of bits never reads behind the end of the input and gives zeros
   there; all arithmetic that the input can overflow is unsigned. The checksums of the frame header
   and of the whole frame are checked. */

#ifndef ZSOFS_FLAC_H
#define ZSOFS_FLAC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    /* Samples of a frame that are accepted: the most that the streamable subset allows at 44.1 kHz
       (RFC 9639, 7). CHD uses 2352 at most. It bounds the stack: 37 KB. */
    FLAC_MAX_BLOCK = 4608,
    FLAC_MAX_ORDER = 32
};

static uint16_t flac_crc_tables[8][256];
static uint8_t flac_crc8_table[256];

/* Compute the tables; once, before anything else here is called. */
static void flac_make_tables(void)
{
    for (unsigned value = 0; value < 256; value++) {
        uint16_t crc = (uint16_t)(value << 8);
        uint8_t crc8 = (uint8_t)value;
        for (int bit = 0; bit < 8; bit++) {
            crc = (uint16_t)((crc << 1) ^ (crc & 0x8000 ? 0x8005 : 0));
            crc8 = (uint8_t)((crc8 << 1) ^ (crc8 & 0x80 ? 0x07 : 0));
        }
        flac_crc_tables[0][value] = crc;
        flac_crc8_table[value] = crc8;
    }
    for (int table = 1; table < 8; table++)
        for (unsigned value = 0; value < 256; value++) {
            uint16_t before = flac_crc_tables[table - 1][value];
            flac_crc_tables[table][value] =
                (uint16_t)((before << 8) ^ flac_crc_tables[0][before >> 8]);
        }
}

static uint16_t flac_crc16(const uint8_t *data, size_t size)
{
    uint16_t crc = 0;
    for (; size >= 8; data += 8, size -= 8)
        crc = flac_crc_tables[7][data[0] ^ (crc >> 8)] ^ flac_crc_tables[6][data[1] ^ (crc & 0xff)]
            ^ flac_crc_tables[5][data[2]] ^ flac_crc_tables[4][data[3]]
            ^ flac_crc_tables[3][data[4]] ^ flac_crc_tables[2][data[5]]
            ^ flac_crc_tables[1][data[6]] ^ flac_crc_tables[0][data[7]];
    for (; size; data++, size--)
        crc = (uint16_t)((crc << 8) ^ flac_crc_tables[0][(crc >> 8) ^ data[0]]);
    return crc;
}

/* ---- Bits ---------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *at;   /* the first byte that is not counted in `count` */
    const uint8_t *end;
    uint64_t cache;      /* the next bits, from the top */
    unsigned count;      /* how many of them are counted */
    int is_short;        /* more was asked for than there is */
} flac_bits;

/* Have 56 bits or more in the cache, or all that are left. */
static inline void flac_refill(flac_bits *bits)
{
    if (__builtin_expect(bits->end - bits->at >= 8, 1)) {
        uint64_t next;
        memcpy(&next, bits->at, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        next = __builtin_bswap64(next);
#endif
        bits->cache |= next >> bits->count;
        bits->at += (63 - bits->count) >> 3;
        bits->count |= 56;
        return;
    }
    while (bits->count <= 56 && bits->at < bits->end) {
        bits->cache |= (uint64_t)*bits->at++ << (56 - bits->count);
        bits->count += 8;
    }
}

/* Drop `number` bits, 0 to 63, which were looked at in the cache. */
static inline void flac_drop(flac_bits *bits, unsigned number)
{
    if (__builtin_expect(number > bits->count, 0)) {
        bits->is_short = 1;
        bits->cache = 0;
        bits->count = 0;
        return;
    }
    bits->cache <<= number;
    bits->count -= number;
}

/* Return the next `number` bits, 0 to 32. */
static inline uint32_t flac_take(flac_bits *bits, unsigned number)
{
    if (bits->count < number)
        flac_refill(bits);
    uint32_t value = (uint32_t)(bits->cache >> 32 >> (32 - number));
    flac_drop(bits, number);
    return value;
}

/* Return the next `number` bits, 1 to 32, as a signed number. */
static inline int32_t flac_take_signed(flac_bits *bits, unsigned number)
{
    uint32_t sign = (uint32_t)1 << (number - 1);
    return (int32_t)((flac_take(bits, number) ^ sign) - sign);
}

/* Return how many zeros there are before the next one, and drop all of them. */
static inline uint32_t flac_unary(flac_bits *bits)
{
    uint32_t zeros = 0;
    for (;;) {
        flac_refill(bits);
        unsigned here = bits->cache ? (unsigned)__builtin_clzll(bits->cache) : 64;
        if (__builtin_expect(here < bits->count, 1)) {
            flac_drop(bits, here);
            flac_drop(bits, 1);
            return zeros + here;
        }
        if (!bits->count) {
            bits->is_short = 1;
            return 0;
        }
        zeros += bits->count;
        bits->cache = bits->count < 64 ? bits->cache << bits->count : 0;
        bits->count = 0;
    }
}

/* ---- A subframe: the samples of one channel (RFC 9639, 9.2) ---------------------------------- */

/* Read the residual behind `order` warm-up samples (9.2.7); whether it is valid. */
static int flac_residual(flac_bits *bits, int32_t *out, unsigned block, unsigned order)
{
    unsigned method = flac_take(bits, 2);
    unsigned partition_bits = flac_take(bits, 4);
    unsigned parameter_bits = method ? 5 : 4;
    unsigned size = block >> partition_bits;
    if (method > 1 || size << partition_bits != block || size < order)
        return 0;
    int32_t *at = out + order;
    for (unsigned partition = 0; partition < 1u << partition_bits; partition++) {
        int32_t *end = out + (size_t)size * (partition + 1);
        unsigned parameter = flac_take(bits, parameter_bits);
        if (parameter == (1u << parameter_bits) - 1) {
            unsigned width = flac_take(bits, 5); /* stored as they are */
            for (; at < end; at++)
                *at = width ? flac_take_signed(bits, width) : 0;
        } else {
            for (; at < end; at++) {
                uint32_t value = flac_unary(bits) << parameter;
                value |= flac_take(bits, parameter);
                *at = (int32_t)((value >> 1) ^ -(value & 1));
            }
        }
        if (bits->is_short)
            return 0;
    }
    return 1;
}

/* Add the prediction of a fixed predictor to the residual (9.2.5). */
static void flac_fixed(int32_t *samples, unsigned block, unsigned order)
{
    uint32_t *at = (uint32_t *)samples;
    switch (order) {
    case 1:
        for (unsigned i = 1; i < block; i++)
            at[i] += at[i - 1];
        break;
    case 2:
        for (unsigned i = 2; i < block; i++)
            at[i] += 2 * at[i - 1] - at[i - 2];
        break;
    case 3:
        for (unsigned i = 3; i < block; i++)
            at[i] += 3 * (at[i - 1] - at[i - 2]) + at[i - 3];
        break;
    case 4:
        for (unsigned i = 4; i < block; i++)
            at[i] += 4 * (at[i - 1] + at[i - 3]) - 6 * at[i - 2] - at[i - 4];
        break;
    default:
        break;
    }
}

/* Add the prediction of a linear predictor to the residual (9.2.6), in 32 bits if `narrow`. */
static void flac_linear(int32_t *samples, unsigned block, const int32_t *factors, unsigned order,
                        unsigned shift, int narrow)
{
    if (narrow) {
        for (unsigned i = order; i < block; i++) {
            uint32_t sum = 0;
            for (unsigned j = 0; j < order; j++)
                sum += (uint32_t)factors[j] * (uint32_t)samples[i - 1 - j];
            samples[i] = (int32_t)((uint32_t)samples[i] + (uint32_t)((int32_t)sum >> shift));
        }
        return;
    }
    for (unsigned i = order; i < block; i++) {
        int64_t sum = 0; /* 32 products of 15 and 32 bits */
        for (unsigned j = 0; j < order; j++)
            sum += (int64_t)factors[j] * samples[i - 1 - j];
        samples[i] = (int32_t)((uint32_t)samples[i] + (uint32_t)(sum >> shift));
    }
}

/* Decode a linear predictor, its residual, and the samples of them (9.2.6). */
static int flac_predicted(flac_bits *bits, int32_t *out, unsigned block, unsigned order,
                          unsigned depth)
{
    int32_t factors[FLAC_MAX_ORDER];
    for (unsigned i = 0; i < order; i++)
        out[i] = flac_take_signed(bits, depth);
    unsigned precision = flac_take(bits, 4) + 1;
    int32_t shift = flac_take_signed(bits, 5);
    if (precision == 16 || shift < 0)
        return 0;
    for (unsigned i = 0; i < order; i++)
        factors[i] = flac_take_signed(bits, precision);
    if (!flac_residual(bits, out, block, order))
        return 0;
    unsigned order_bits = 32 - (unsigned)__builtin_clz(order); /* 2^order_bits > order */
    flac_linear(out, block, factors, order, (unsigned)shift, depth + precision + order_bits <= 32);
    return 1;
}

/* Decode the `block` samples of one channel, of `depth` bits each; whether they are valid. */
static int flac_subframe(flac_bits *bits, int32_t *out, unsigned block, unsigned depth)
{
    unsigned head = flac_take(bits, 8);
    unsigned type = head >> 1;
    unsigned wasted = 0;
    if (head & 1) {
        wasted = flac_unary(bits) + 1;
        if (wasted >= depth)
            return 0;
        depth -= wasted;
    }
    if (type == 0) { /* constant; the bit above the type must be zero: then type < 64 */
        int32_t value = flac_take_signed(bits, depth);
        for (unsigned i = 0; i < block; i++)
            out[i] = value;
    } else if (type == 1) { /* verbatim */
        for (unsigned i = 0; i < block; i++)
            out[i] = flac_take_signed(bits, depth);
    } else if (type >= 8 && type <= 12) {
        unsigned order = type - 8;
        if (order > block)
            return 0;
        for (unsigned i = 0; i < order; i++)
            out[i] = flac_take_signed(bits, depth);
        if (!flac_residual(bits, out, block, order))
            return 0;
        flac_fixed(out, block, order);
    } else if (type >= 32 && type < 64) {
        unsigned order = type - 31;
        if (order > block || !flac_predicted(bits, out, block, order, depth))
            return 0;
    } else {
        return 0;
    }
    if (wasted)
        for (unsigned i = 0; i < block; i++)
            out[i] = (int32_t)((uint32_t)out[i] << wasted);
    return !bits->is_short;
}

/* ---- A frame (RFC 9639, 9) ------------------------------------------------------------------ */

/* Channel assignments with two channels (9.1.3). */
enum { FLAC_LEFT_RIGHT = 1, FLAC_LEFT_SIDE = 8, FLAC_SIDE_RIGHT = 9, FLAC_MID_SIDE = 10 };

/* Read a frame header: its size in bytes, the samples of the frame, the channels; 0 if invalid. */
static size_t flac_header(const uint8_t *data, size_t size, unsigned *block, unsigned *channels)
{
    if (size < 6 || data[0] != 0xff || (data[1] & 0xfe) != 0xf8)
        return 0;
    unsigned block_code = data[2] >> 4;
    unsigned rate_code = data[2] & 15;
    unsigned depth_code = data[3] >> 1 & 7;
    *channels = data[3] >> 4;
    /* 0: as the stream header says, which for CHD is 16 bits. */
    if (rate_code == 15 || (depth_code != 4 && depth_code != 0) || data[3] & 1)
        return 0;
    if (*channels != FLAC_LEFT_RIGHT && (*channels < FLAC_LEFT_SIDE || *channels > FLAC_MID_SIDE))
        return 0;
    size_t at = 5; /* the frame's number is coded like UTF-8, in up to 7 bytes */
    if (data[4] & 0x80) {
        unsigned ones = (unsigned)__builtin_clz(~((uint32_t)data[4] << 24));
        if (ones < 2 || ones > 7)
            return 0;
        at += ones - 1;
    }
    unsigned block_bytes = block_code == 6 ? 1 : block_code == 7 ? 2 : 0;
    unsigned rate_bytes = rate_code == 12 ? 1 : rate_code == 13 || rate_code == 14 ? 2 : 0;
    if (size < at + block_bytes + rate_bytes + 1)
        return 0;
    if (block_code == 6)
        *block = data[at] + 1u;
    else if (block_code == 7)
        *block = (data[at] << 8 | data[at + 1]) + 1u;
    else if (block_code == 1)
        *block = 192;
    else if (block_code >= 8)
        *block = 256u << (block_code - 8);
    else if (block_code)
        *block = 576u << (block_code - 2);
    else
        return 0;
    at += block_bytes + rate_bytes;
    uint8_t crc = 0;
    for (size_t i = 0; i < at; i++)
        crc = flac_crc8_table[crc ^ data[i]];
    return crc == data[at] ? at + 1 : 0;
}

/* Write samples as 16-bit pairs, left first. */
static void flac_store(uint8_t *out, const int32_t *first, const int32_t *second, unsigned block,
                       unsigned channels, int big_endian)
{
    for (unsigned i = 0; i < block; i++) {
        uint32_t left = (uint32_t)first[i], right = (uint32_t)second[i];
        if (channels == FLAC_LEFT_SIDE) {
            right = left - right;
        } else if (channels == FLAC_SIDE_RIGHT) {
            left += right;
        } else if (channels == FLAC_MID_SIDE) {
            uint32_t side = right;
            uint32_t middle = left << 1 | (side & 1);
            left = (uint32_t)((int32_t)(middle + side) >> 1);
            right = (uint32_t)((int32_t)(middle - side) >> 1);
        }
        uint16_t pair[2] = {(uint16_t)left, (uint16_t)right};
        if (big_endian != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)) {
            pair[0] = __builtin_bswap16(pair[0]);
            pair[1] = __builtin_bswap16(pair[1]);
        }
        memcpy(out + 4 * (size_t)i, pair, 4);
    }
}

/* Decode frames until `out` is full.

   size:       bytes of the input, which may go on behind the frames.
   out_size:   bytes of `out`, a multiple of 4.
   big_endian: the byte order of the samples in `out`.
   used:       where the frames end in the input.
   Returns whether the frames are valid and give exactly `out_size` bytes. */
static int flac_decode(const uint8_t *source, size_t size, uint8_t *out, size_t out_size,
                       int big_endian, size_t *used)
{
    int32_t samples[2][FLAC_MAX_BLOCK];
    size_t at = 0;
    if (out_size % 4)
        return 0;
    while (out_size) {
        unsigned block, channels;
        size_t header = flac_header(source + at, size - at, &block, &channels);
        if (!header || block > FLAC_MAX_BLOCK || block > out_size / 4)
            return 0;
        flac_bits bits = {source + at + header, source + size, 0, 0, 0};
        if (!flac_subframe(&bits, samples[0], block, 16 + (channels == FLAC_SIDE_RIGHT))
            || !flac_subframe(&bits, samples[1], block,
                              16 + (channels == FLAC_LEFT_SIDE || channels == FLAC_MID_SIDE)))
            return 0;
        /* What is left of the last byte is padding. */
        size_t end = (size_t)(bits.at - source) - bits.count / 8;
        if (size - end < 2
            || flac_crc16(source + at, end - at) != (source[end] << 8 | source[end + 1]))
            return 0;
        flac_store(out, samples[0], samples[1], block, channels, big_endian);
        at = end + 2;
        out += 4 * (size_t)block;
        out_size -= 4 * (size_t)block;
    }
    *used = at;
    return 1;
}

#endif
