/* CRC-16 CCITT (polynomial 1021, most significant bit first), 16 bytes at a time by 16 tables. */

#ifndef ZSOFS_CRC16_H
#define ZSOFS_CRC16_H

#include <stddef.h>
#include <stdint.h>

static uint16_t zsofs_crc16_tables[16][256];

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
}

static inline uint16_t zsofs_crc16(const uint8_t *data, size_t size, uint16_t crc)
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

#endif
