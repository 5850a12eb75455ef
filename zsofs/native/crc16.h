/* CRC-16 CCITT (polynomial 1021, most significant bit first): by carry-less multiplication where the
   processor has it, else 16 bytes at a time by 16 tables, which takes a third of the time of a zstd
   hunk. */

#ifndef ZSOFS_CRC16_H
#define ZSOFS_CRC16_H

#include <stddef.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static uint16_t zsofs_crc16_tables[16][256];
static int zsofs_crc16_multiplies;
static uint64_t zsofs_crc16_fold_512[2], zsofs_crc16_fold_128[2];

/* x to the power of *bits* modulo the polynomial. */
static uint64_t zsofs_crc16_power(unsigned bits)
{
    uint32_t power = 1;
    while (bits--)
        power = power & 0x8000 ? (power << 1 ^ 0x11021) : power << 1;
    return power;
}

/* To be called once before zsofs_crc16. */
static void zsofs_crc16_prepare(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint16_t crc = (uint16_t)(byte << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
        zsofs_crc16_tables[0][byte] = crc;
    }
    for (unsigned table = 1; table < 16; table++)
        for (unsigned byte = 0; byte < 256; byte++) {
            uint16_t crc = zsofs_crc16_tables[table - 1][byte];
            zsofs_crc16_tables[table][byte] =
                (uint16_t)(crc << 8 ^ zsofs_crc16_tables[0][crc >> 8]);
        }
#if defined(__x86_64__)
    zsofs_crc16_fold_512[0] = zsofs_crc16_power(512);
    zsofs_crc16_fold_512[1] = zsofs_crc16_power(512 + 64);
    zsofs_crc16_fold_128[0] = zsofs_crc16_power(128);
    zsofs_crc16_fold_128[1] = zsofs_crc16_power(128 + 64);
    zsofs_crc16_multiplies =
        __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("ssse3");
#endif
}

static inline uint16_t zsofs_crc16_by_tables(const uint8_t *data, size_t size, uint16_t crc)
{
    while (size >= 16) {
        uint16_t sum = zsofs_crc16_tables[15][data[0] ^ crc >> 8]
            ^ zsofs_crc16_tables[14][data[1] ^ (crc & 255)];
        sum ^= zsofs_crc16_tables[13][data[2]] ^ zsofs_crc16_tables[12][data[3]]
            ^ zsofs_crc16_tables[11][data[4]] ^ zsofs_crc16_tables[10][data[5]]
            ^ zsofs_crc16_tables[9][data[6]] ^ zsofs_crc16_tables[8][data[7]]
            ^ zsofs_crc16_tables[7][data[8]] ^ zsofs_crc16_tables[6][data[9]]
            ^ zsofs_crc16_tables[5][data[10]] ^ zsofs_crc16_tables[4][data[11]]
            ^ zsofs_crc16_tables[3][data[12]] ^ zsofs_crc16_tables[2][data[13]]
            ^ zsofs_crc16_tables[1][data[14]] ^ zsofs_crc16_tables[0][data[15]];
        crc = sum;
        data += 16;
        size -= 16;
    }
    while (size--)
        crc = (uint16_t)(crc << 8 ^ zsofs_crc16_tables[0][(crc >> 8) ^ *data++]);
    return crc;
}

#if defined(__x86_64__)

/* *value* times x to the power that *by* stands for, plus *more*, modulo the polynomial, unreduced. */
__attribute__((target("pclmul,ssse3"))) static inline __m128i zsofs_crc16_folded(
    __m128i value, __m128i by, __m128i more)
{
    return _mm_xor_si128(more, _mm_xor_si128(_mm_clmulepi64_si128(value, by, 0x00),
                                             _mm_clmulepi64_si128(value, by, 0x11)));
}

/* Fold 64 bytes at a time into 16 with the same remainder (Gopal et al., "Fast CRC Computation for
   Generic Polynomials Using PCLMULQDQ Instruction", 2009); the tables do the rest. */
__attribute__((target("pclmul,ssse3"))) static inline uint16_t zsofs_crc16_by_multiplying(
    const uint8_t *data, size_t size, uint16_t crc)
{
    const __m128i reverse = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m128i by_512 = _mm_loadu_si128((const __m128i *)zsofs_crc16_fold_512);
    const __m128i by_128 = _mm_loadu_si128((const __m128i *)zsofs_crc16_fold_128);
    __m128i lane[4];
    uint8_t rest[16];
    for (int at = 0; at < 4; at++)
        lane[at] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)data + at), reverse);
    lane[0] = _mm_xor_si128(lane[0], _mm_set_epi64x((long long)((uint64_t)crc << 48), 0));
    for (data += 64, size -= 64; size >= 64; data += 64, size -= 64)
        for (int at = 0; at < 4; at++)
            lane[at] = zsofs_crc16_folded(
                lane[at], by_512,
                _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)data + at), reverse));
    for (int at = 1; at < 4; at++)
        lane[at] = zsofs_crc16_folded(lane[at - 1], by_128, lane[at]);
    _mm_storeu_si128((__m128i *)rest, _mm_shuffle_epi8(lane[3], reverse));
    crc = zsofs_crc16_by_tables(rest, sizeof(rest), 0);
    return zsofs_crc16_by_tables(data, size, crc);
}

#endif

static inline uint16_t zsofs_crc16(const uint8_t *data, size_t size, uint16_t crc)
{
#if defined(__x86_64__)
    if (zsofs_crc16_multiplies && size >= 128)
        return zsofs_crc16_by_multiplying(data, size, crc);
#endif
    return zsofs_crc16_by_tables(data, size, crc);
}

#endif
