/* Frames of CDs as CHD stores them: 2352 bytes of a sector and 96 of subcode, and the parity of
   data sectors (ECMA-130, annex A), which CHD leaves out where it can be computed again. */

#ifndef ZSOFS_CD_FRAMES_H
#define ZSOFS_CD_FRAMES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "flac.h"

enum {
    CD_SECTOR = 2352,
    CD_SUBCODE = 96,
    CD_FRAME = CD_SECTOR + CD_SUBCODE
};

/* Failures of the functions below; those of a caller's decoder are passed on as they are. */
enum {
    CD_GOOD = 0,
    CD_IS_CUT = -1,       /* the payload is shorter than its own header says */
    CD_IS_NO_FRAMES = -2, /* the hunk does not consist of whole frames */
    CD_BAD_FLAC = -3      /* the FLAC frames are damaged, or do not give the hunk's size */
};

/* Decode `size` bytes to exactly `out_size`; 0, or the caller's own number of a failure. */
typedef int (*cd_decoder)(void *context, const uint8_t *source, size_t size, uint8_t *out,
                          size_t out_size);

/* ---- Parity: two Reed-Solomon codes over GF(2^8), x^8+x^4+x^3+x^2+1 (ECMA-130, annex A) -------

   From the header (12) on, a sector is a matrix of 26 rows of 43 words, the last two of which are
   the P parity of the 43 columns. The Q parity behind it is that of the 26 diagonals of all rows.
   High and low bytes of the words are codes of their own: vectors of bytes take both at once.

   For each code, the sum of all bytes is 0, and so is the sum of bytes times descending powers of 2
   (the last byte times 1). So with s the sum of the data and t that of its products, the two bytes
   of parity are p = (s + t) / 3, and p + s. */

typedef uint8_t cd_vector __attribute__((vector_size(16)));
typedef int8_t cd_signed_vector __attribute__((vector_size(16)));

enum {
    CD_HEADER = 12,
    CD_MODE = 15,
    CD_P = 2076,
    CD_Q = 2248,
    CD_COLUMNS = 43,
    CD_ROWS = 26,
    CD_ROW = 2 * CD_COLUMNS,            /* in bytes, as all that follows */
    CD_DIAGONALS = 2 * CD_ROWS,
    CD_SKEW = 2 * (CD_ROWS - 1),        /* how far the last row is shifted against the first */
    CD_SUMS = CD_SKEW + CD_ROW + 8,     /* a whole number of vectors */
    CD_MARGIN = 64,                     /* zeros on both sides of a row */
    CD_PADDED = 64                      /* the diagonals in whole vectors */
};

/* What the sum in each place is to be multiplied by; see cd_rebuild_q. */
static uint8_t cd_weights[CD_SUMS];

static inline cd_vector cd_load(const uint8_t *at)
{
    cd_vector value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline void cd_save(uint8_t *at, cd_vector value)
{
    memcpy(at, &value, sizeof value);
}

/* Each byte times 2 in the field. */
static inline cd_vector cd_double(cd_vector value)
{
    cd_vector carry = (cd_vector)((cd_signed_vector)value < 0);
    return (value + value) ^ (carry & 0x1d);
}

/* Each byte times the byte of `factors` in the same place. */
static inline cd_vector cd_times(cd_vector value, cd_vector factors)
{
    cd_vector product = {0};
    for (int bit = 0; bit < 8; bit++) {
        cd_vector is_set = (cd_vector)((cd_signed_vector)factors < 0);
        product = cd_double(product) ^ (value & is_set);
        factors += factors;
    }
    return product;
}

/* The two bytes of parity of 16 codes, from the sums of their data and of the products. */
static inline void cd_parity(cd_vector sum, cd_vector products, uint8_t *first, uint8_t *second)
{
    cd_vector third = (cd_vector){0} + 0xf4; /* 3 * 0xf4 = 1 */
    cd_vector parity = cd_times(sum ^ products, third);
    cd_save(first, parity);
    cd_save(second, parity ^ sum);
}

/* Compute the P parity: 16 columns of bytes at a time. */
static inline void cd_rebuild_p(uint8_t *sector)
{
    for (int column = 0;; column += 16) {
        if (column > CD_ROW - 16) /* the last vector overlaps the one before */
            column = CD_ROW - 16;
        const uint8_t *data = sector + CD_HEADER + column;
        cd_vector sum = {0}, products = {0};
        for (int row = 0; row < CD_ROWS - 2; row++) {
            cd_vector value = cd_load(data + row * CD_ROW);
            sum ^= value;
            products = cd_double(products ^ value);
        }
        cd_parity(sum, cd_double(products), sector + CD_P + column,
                  sector + CD_P + CD_ROW + column);
        if (column == CD_ROW - 16)
            return;
    }
}

/* Compute the Q parity, from a matrix that has the P parity already.

   The word of row r and column c is in diagonal (r - c) mod 26 and counts 2^(44 - c) times. With
   each row shifted one word to the left against the one before, a diagonal lies in one
   place, or 26 or 52 places apart: place c - r + 25. So the rows are summed in these places, and
   the sums of products doubled from row to row; in place p they then lack the factor 2^(44 - p).
   Transposing the matrix took longer (0.93 against 0.58 microseconds a sector for P and Q). */
static inline void cd_rebuild_q(uint8_t *sector)
{
    uint8_t rows[CD_ROWS][CD_MARGIN + CD_ROW + CD_MARGIN] = {{0}};
    uint8_t sums[CD_SUMS + CD_PADDED] = {0}, products[CD_SUMS + CD_PADDED] = {0};
    uint8_t parity[2][CD_PADDED];
    for (int row = 0; row < CD_ROWS; row++)
        memcpy(rows[row] + CD_MARGIN, sector + CD_HEADER + row * CD_ROW, CD_ROW);
    for (int place = 0; place < CD_SUMS; place += 16) {
        cd_vector sum = {0}, product = {0};
        for (int row = 0; row < CD_ROWS; row++) {
            cd_vector value = cd_load(rows[row] + CD_MARGIN - CD_SKEW + 2 * row + place);
            sum ^= value;
            product = cd_double(product) ^ value;
        }
        cd_save(sums + place, sum);
        cd_save(products + place, cd_times(product, cd_load(cd_weights + place)));
    }
    for (int at = 0; at < CD_PADDED; at += 16)
        cd_parity(cd_load(sums + at) ^ cd_load(sums + at + CD_DIAGONALS)
                      ^ cd_load(sums + at + 2 * CD_DIAGONALS),
                  cd_load(products + at) ^ cd_load(products + at + CD_DIAGONALS)
                      ^ cd_load(products + at + 2 * CD_DIAGONALS),
                  parity[0] + at, parity[1] + at);
    for (int diagonal = 0; diagonal < CD_ROWS; diagonal++) { /* place p is diagonal 25 - p */
        int at = 2 * (CD_ROWS - 1 - diagonal);
        memcpy(sector + CD_Q + 2 * diagonal, parity[0] + at, 2);
        memcpy(sector + CD_Q + CD_DIAGONALS + 2 * diagonal, parity[1] + at, 2);
    }
}

/* Compute the P and Q parity of a sector, bytes 2076 to 2351, from the bytes before them.

   In mode 2 the address and the mode count as zeros (CD-ROM XA). */
static void cd_rebuild_parity(uint8_t *sector)
{
    uint8_t header[4];
    memcpy(header, sector + CD_HEADER, 4);
    if (sector[CD_MODE] == 2)
        memset(sector + CD_HEADER, 0, 4);
    cd_rebuild_p(sector);
    cd_rebuild_q(sector);
    memcpy(sector + CD_HEADER, header, 4);
}

/* Compute the tables; once, before anything else here is called. */
static void cd_make_tables(void)
{
    uint8_t power[255] = {1};
    for (int exponent = 1; exponent < 255; exponent++) {
        uint8_t before = power[exponent - 1];
        power[exponent] = (uint8_t)(before << 1 ^ (before & 0x80 ? 0x1d : 0));
    }
    for (int at = 0; at < CD_SKEW + CD_ROW; at++)
        cd_weights[at] = power[(44 - at / 2 + 255) % 255];
    flac_make_tables();
}

/* Write what CHD left out of flagged frames: sync and parity. Bit n of `flagged` is frame n. */
static void cd_rebuild(uint8_t *frames, size_t first, size_t count, const uint8_t *flagged)
{
    static const uint8_t sync[CD_HEADER] = {0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0};
    for (size_t number = first; number < first + count; number++)
        if (flagged[number / 8] >> number % 8 & 1) {
            uint8_t *sector = frames + number * CD_FRAME;
            memcpy(sector, sync, sizeof sync);
            cd_rebuild_parity(sector);
        }
}

/* ---- Hunks of CD codecs ---------------------------------------------------------------------- */

/* Make frames of the sectors, which lie at the end of `out`, and of the subcode. */
static void cd_interleave(uint8_t *out, size_t frames, const uint8_t *subcode)
{
    /* Frame n ends at or before the begin of sector n + 1, which is still to be moved. */
    for (size_t number = 0; number < frames; number++) {
        uint8_t *frame = out + number * CD_FRAME;
        memmove(frame, out + frames * CD_SUBCODE + number * CD_SECTOR, CD_SECTOR);
        memcpy(frame + CD_SECTOR, subcode + number * CD_SUBCODE, CD_SUBCODE);
    }
}

/* Decode a hunk of `cdlz`, `cdzl` or `cdzs`.

   out_size:   bytes of the hunk, a multiple of CD_FRAME.
   base:       decodes the sectors; subcode: decodes the subcode; context is handed to both.
   scratch:    out_size / CD_FRAME * CD_SUBCODE bytes.
   flagged:    where the bitmap of the frames goes that lack sync and parity, one bit each, for a
               later cd_rebuild; NULL to rebuild all of them now.
   Returns CD_GOOD or what failed. */
static int cd_decode(const uint8_t *source, size_t size, uint8_t *out, size_t out_size,
                     cd_decoder base, cd_decoder subcode, void *context, uint8_t *scratch,
                     uint8_t *flagged)
{
    size_t frames = out_size / CD_FRAME;
    size_t bitmap = (frames + 7) / 8;
    size_t head = bitmap + (out_size < 65536 ? 2 : 3);
    if (!frames || out_size % CD_FRAME)
        return CD_IS_NO_FRAMES;
    if (size < head)
        return CD_IS_CUT;
    size_t length = (size_t)source[bitmap] << 8 | source[bitmap + 1];
    if (out_size >= 65536)
        length = length << 8 | source[bitmap + 2];
    if (length > size - head)
        return CD_IS_CUT;
    int failure = base(context, source + head, length, out + frames * CD_SUBCODE,
                       frames * CD_SECTOR);
    if (!failure)
        failure = subcode(context, source + head + length, size - head - length, scratch,
                          frames * CD_SUBCODE);
    if (failure)
        return failure;
    cd_interleave(out, frames, scratch);
    if (flagged)
        memcpy(flagged, source, bitmap);
    else
        cd_rebuild(out, 0, frames, source);
    return CD_GOOD;
}

/* Decode a hunk of `cdfl`: big-endian samples, and the subcode behind them. No frame is flagged.
   Arguments as of cd_decode. */
static int cd_decode_flac(const uint8_t *source, size_t size, uint8_t *out, size_t out_size,
                          cd_decoder subcode, void *context, uint8_t *scratch)
{
    size_t frames = out_size / CD_FRAME;
    size_t used;
    if (!frames || out_size % CD_FRAME)
        return CD_IS_NO_FRAMES;
    if (!flac_decode(source, size, out + frames * CD_SUBCODE, frames * CD_SECTOR, 1, &used))
        return CD_BAD_FLAC;
    int failure = subcode(context, source + used, size - used, scratch, frames * CD_SUBCODE);
    if (failure)
        return failure;
    cd_interleave(out, frames, scratch);
    return CD_GOOD;
}

/* Decode a hunk of `flac`: a byte that gives the order of the bytes in a sample, then frames. */
static int cd_decode_plain_flac(const uint8_t *source, size_t size, uint8_t *out, size_t out_size)
{
    size_t used;
    if (!size || (source[0] != 'L' && source[0] != 'B'))
        return CD_BAD_FLAC;
    return flac_decode(source + 1, size - 1, out, out_size, source[0] == 'B', &used) ? CD_GOOD
                                                                                    : CD_BAD_FLAC;
}

/* ---- Views of frames ------------------------------------------------------------------------- */

/* Copy a part of each frame: `length` bytes of the stream that joins the parts, from `head` on.

   units:     frames of `unit` bytes each, as many as the range touches.
   skip:      where the part begins in a frame; `width`: its bytes.
   swapped:   swap the two bytes of each sample. */
static void cd_gather(const uint8_t *units, size_t unit, size_t skip, size_t width, int swapped,
                      size_t head, uint8_t *out, size_t length)
{
    while (length) {
        const uint8_t *part = units + skip;
        size_t take = width - head < length ? width - head : length;
        if (!swapped) {
            memcpy(out, part + head, take);
        } else {
            size_t done = 0;
            if (head % 2 && take)
                out[done++] = part[head - 1];
            for (; done + 8 <= take; done += 8) {
                const uint64_t low = 0x00ff00ff00ff00ffu;
                uint64_t samples;
                memcpy(&samples, part + head + done, 8);
                samples = (samples >> 8 & low) | (samples & low) << 8;
                memcpy(out + done, &samples, 8);
            }
            for (; done + 2 <= take; done += 2) {
                out[done] = part[head + done + 1];
                out[done + 1] = part[head + done];
            }
            if (done < take)
                out[done] = part[head + done + 1];
        }
        out += take;
        length -= take;
        head = 0;
        units += unit;
    }
}

#endif
