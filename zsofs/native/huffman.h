/* Canonical Huffman codes as CHD has them: longer codes have smaller values (MAME, huffman.cpp).
   The bits come most significant first. Bits behind the end of the data read as 0; who decodes
   compares the position with the end. */

#ifndef ZSOFS_HUFFMAN_H
#define ZSOFS_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ZSOFS_HUFFMAN_MOST = 16, ZSOFS_HUFFMAN_FAST = 10 };

struct zsofs_bits {
    const uint8_t *data;
    size_t size; /* bytes */
    uint64_t at; /* bits */
};

/* The next 57 or more bits, from the most significant one on. */
static inline uint64_t zsofs_bits_peek(const struct zsofs_bits *bits)
{
    size_t byte = (size_t)(bits->at >> 3);
    uint64_t word = 0;
    if (byte + 8 <= bits->size) {
        /* Compilers make this one load, and one exchange of bytes where the host needs it. */
        const uint8_t *from = bits->data + byte;
        word = (uint64_t)from[0] << 56 | (uint64_t)from[1] << 48 | (uint64_t)from[2] << 40
            | (uint64_t)from[3] << 32 | (uint64_t)from[4] << 24 | (uint64_t)from[5] << 16
            | (uint64_t)from[6] << 8 | from[7];
    } else {
        for (size_t at = byte; at < byte + 8; at++)
            word = word << 8 | (at < bits->size ? bits->data[at] : 0);
    }
    return word << (bits->at & 7);
}

/* The next *count* bits, 0 to 48. */
static inline uint64_t zsofs_bits_take(struct zsofs_bits *bits, unsigned count)
{
    uint64_t word = count ? zsofs_bits_peek(bits) >> (64 - count) : 0;
    bits->at += count;
    return word;
}

static inline int zsofs_bits_overrun(const struct zsofs_bits *bits)
{
    return bits->at > (uint64_t)bits->size * 8;
}

struct zsofs_huffman {
    uint16_t fast[1 << ZSOFS_HUFFMAN_FAST]; /* symbol << 5 | length; 0: a longer code, or none */
    uint32_t begin[ZSOFS_HUFFMAN_MOST + 2]; /* first code of each length */
    uint32_t count[ZSOFS_HUFFMAN_MOST + 2];
    uint16_t first[ZSOFS_HUFFMAN_MOST + 2]; /* index of its symbol */
    uint16_t symbols[256];
};

/* Make a decoder of the lengths of *count* symbols' codes (0: no code); 0 if they are no code. */
static inline int zsofs_huffman_build(struct zsofs_huffman *code, const uint8_t *lengths, unsigned count,
                               unsigned most)
{
    uint32_t start = 0, filled = 0;
    uint16_t next[ZSOFS_HUFFMAN_MOST + 2];
    memset(code, 0, sizeof(*code));
    for (unsigned at = 0; at < count; at++) {
        if (lengths[at] > most)
            return 0;
        if (lengths[at])
            code->count[lengths[at]]++;
    }
    for (unsigned length = most; length > 0; length--) {
        uint32_t end = start + code->count[length];
        if (end > (uint32_t)1 << length || (length != 1 && end & 1))
            return 0;
        code->begin[length] = start;
        code->first[length] = (uint16_t)filled;
        next[length] = (uint16_t)filled;
        filled += code->count[length];
        start = end >> 1;
    }
    for (unsigned at = 0; at < count; at++) {
        unsigned length = lengths[at];
        if (!length)
            continue;
        uint32_t value = code->begin[length] + next[length] - code->first[length];
        code->symbols[next[length]++] = (uint16_t)at;
        if (length <= ZSOFS_HUFFMAN_FAST) {
            unsigned shift = ZSOFS_HUFFMAN_FAST - length;
            for (uint32_t slot = value << shift; slot < (value + 1) << shift; slot++)
                code->fast[slot] = (uint16_t)(at << 5 | length);
        }
    }
    return 1;
}

/* The next symbol; -1 if the bits are no code. */
static inline int zsofs_huffman_take(const struct zsofs_huffman *code, struct zsofs_bits *bits)
{
    uint64_t word = zsofs_bits_peek(bits);
    unsigned found = code->fast[word >> (64 - ZSOFS_HUFFMAN_FAST)];
    if (found) {
        bits->at += found & 31;
        return (int)(found >> 5);
    }
    for (unsigned length = ZSOFS_HUFFMAN_FAST + 1; length <= ZSOFS_HUFFMAN_MOST; length++) {
        uint32_t value = (uint32_t)(word >> (64 - length));
        if (value >= code->begin[length] && value - code->begin[length] < code->count[length]) {
            bits->at += length;
            return code->symbols[code->first[length] + value - code->begin[length]];
        }
    }
    return -1;
}

/* The 16 lengths of the code of a map's types, run-length coded (MAME, import_tree_rle). */
static inline int zsofs_huffman_of_map(struct zsofs_huffman *code, struct zsofs_bits *bits)
{
    uint8_t lengths[16];
    unsigned at = 0;
    while (at < 16) {
        unsigned length = (unsigned)zsofs_bits_take(bits, 4);
        unsigned repeats = 1;
        if (length == 1) {
            length = (unsigned)zsofs_bits_take(bits, 4);
            if (length != 1)
                repeats = (unsigned)zsofs_bits_take(bits, 4) + 3;
        }
        if (at + repeats > 16)
            return 0;
        while (repeats--)
            lengths[at++] = (uint8_t)length;
    }
    return !zsofs_bits_overrun(bits) && zsofs_huffman_build(code, lengths, 16, 8);
}

/* Decode what CHD's `huff` stores: the lengths of 256 codes, themselves Huffman-coded (MAME,
   import_tree_huffman), then one code for each byte. 1 if *size* bytes were made, all of *stored*
   was used and no more. */
static inline int zsofs_huffman_decode(const uint8_t *stored, size_t stored_size, uint8_t *out,
                                size_t size)
{
    struct zsofs_bits bits = { stored, stored_size, 0 };
    struct zsofs_huffman code;
    uint8_t small[24] = { 0 }, lengths[256];
    unsigned start, count = 0, at = 0, last = 0;
    small[0] = (uint8_t)zsofs_bits_take(&bits, 3);
    start = (unsigned)zsofs_bits_take(&bits, 3) + 1;
    for (unsigned index = start; index < 24 && count != 7; index++) {
        count = (unsigned)zsofs_bits_take(&bits, 3);
        small[index] = count == 7 ? 0 : (uint8_t)count;
    }
    if (!zsofs_huffman_build(&code, small, 24, 6))
        return 0;
    while (at < 256) {
        int value = zsofs_huffman_take(&code, &bits);
        unsigned repeats = 1;
        if (value < 0 || zsofs_bits_overrun(&bits))
            return 0;
        if (value) {
            last = (unsigned)value - 1;
        } else {
            repeats = (unsigned)zsofs_bits_take(&bits, 3) + 2;
            if (repeats == 9)
                repeats += (unsigned)zsofs_bits_take(&bits, 8);
        }
        while (repeats-- && at < 256)
            lengths[at++] = (uint8_t)last;
    }
    if (!zsofs_huffman_build(&code, lengths, 256, 16))
        return 0;
    for (size_t done = 0; done < size; done++) {
        int value = zsofs_huffman_take(&code, &bits);
        if (value < 0)
            return 0;
        out[done] = (uint8_t)value;
    }
    return !zsofs_bits_overrun(&bits) && (bits.at + 7) / 8 == stored_size;
}

#endif
