/* The functions of zsofs/native/cd_frames.h as a library for tests, and, built with sanitizers, as a
   program that decodes cases from a file: the decoders get copies of exactly their input's and
   output's size, so that each byte read or written beyond them is found. */

#include <stdio.h>
#include <stdlib.h>

#include "cd_frames.h"

void harness_start(void)
{
    cd_make_tables();
}

int harness_flac(const uint8_t *source, size_t size, uint8_t *out, size_t out_size, int big_endian,
                 size_t *used)
{
    return flac_decode(source, size, out, out_size, big_endian, used);
}

int harness_plain_flac(const uint8_t *source, size_t size, uint8_t *out, size_t out_size)
{
    return cd_decode_plain_flac(source, size, out, out_size);
}

int harness_cd(const uint8_t *source, size_t size, uint8_t *out, size_t out_size, cd_decoder base,
               cd_decoder subcode, uint8_t *scratch, uint8_t *flagged)
{
    return cd_decode(source, size, out, out_size, base, subcode, NULL, scratch, flagged);
}

int harness_cd_flac(const uint8_t *source, size_t size, uint8_t *out, size_t out_size,
                    cd_decoder subcode, uint8_t *scratch)
{
    return cd_decode_flac(source, size, out, out_size, subcode, NULL, scratch);
}

void harness_rebuild(uint8_t *frames, size_t first, size_t count, const uint8_t *flagged)
{
    cd_rebuild(frames, first, count, flagged);
}

void harness_parity(uint8_t *sectors, size_t count)
{
    for (size_t number = 0; number < count; number++)
        cd_rebuild_parity(sectors + number * CD_SECTOR);
}

/* What a case's sectors and subcode are packed with: as they are, at least so many bytes. */
static int stored(void *context, const uint8_t *source, size_t size, uint8_t *out, size_t out_size)
{
    (void)context;
    if (size < out_size)
        return 1;
    memcpy(out, source, out_size);
    return 0;
}

/* Decode one case: a byte for the kind, 3 bytes of output size, the payload; 0 if it is refused. */
static int decode_case(const uint8_t *data, size_t size)
{
    size_t out_size = (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
    size_t frames = out_size / CD_FRAME, used;
    uint8_t *source = malloc(size - 4);
    uint8_t *out = malloc(out_size);
    uint8_t *scratch = malloc(frames * CD_SUBCODE);
    uint8_t *flagged = malloc((frames + 7) / 8);
    int good = 0;
    memcpy(source, data + 4, size - 4);
    size -= 4;
    switch (data[0]) {
    case 0:
    case 1:
        good = flac_decode(source, size, out, out_size, data[0], &used);
        break;
    case 2:
        good = !cd_decode_plain_flac(source, size, out, out_size);
        break;
    case 3:
        good = !cd_decode(source, size, out, out_size, stored, stored, NULL, scratch, NULL);
        break;
    case 4:
        good = !cd_decode(source, size, out, out_size, stored, stored, NULL, scratch, flagged);
        if (good)
            cd_rebuild(out, 0, frames, flagged);
        break;
    case 5:
        good = !cd_decode_flac(source, size, out, out_size, stored, NULL, scratch);
        break;
    default:
        break;
    }
    free(source);
    free(out);
    free(scratch);
    free(flagged);
    return good;
}

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Change one case at random: bits, bytes, its length, a piece of it. Checksums are mended at times,
   since hardly a change would come past them. */
static size_t mutate(uint8_t *data, size_t size, size_t room, uint64_t *state)
{
    for (int changes = 1 + (int)(next(state) % 4); changes; changes--) {
        size_t at = 4 + next(state) % (size - 4);
        switch (next(state) % 6) {
        case 0: data[at] ^= (uint8_t)(1 << next(state) % 8); break;
        case 1: data[at] = (uint8_t)next(state); break;
        case 2: data[size < 44 ? at : 4 + at % 40] = (uint8_t)next(state); break;
        case 3: data[at] = next(state) % 2 ? 255 : 0; break;
        case 4: size = 5 + next(state) % (size - 4); break;
        default: {
            size_t length = next(state) % 64, to = 4 + next(state) % (size - 4);
            if (at + length < room && to + length < room)
                memmove(data + to, data + at, length);
        }
        }
    }
    if (next(state) % 2 && size > 12) /* the checksum of the first frame's header */
        for (size_t start = 4; start < 6; start++)
            for (size_t length = 5; length < 16 && start + length < size; length++)
                if (data[start] == 0xff) {
                    unsigned block, channels;
                    uint8_t crc = 0;
                    for (size_t i = 0; i < length; i++)
                        crc = flac_crc8_table[crc ^ data[start + i]];
                    uint8_t before = data[start + length];
                    data[start + length] = crc;
                    if (flac_header(data + start, size - start, &block, &channels) == length + 1)
                        return size;
                    data[start + length] = before;
                }
    return size;
}

int main(int count, char **arguments)
{
    enum { ROOM = 1 << 20 };
    static uint8_t cases[ROOM], one[ROOM];
    if (count != 4)
        return 2;
    FILE *file = fopen(arguments[1], "rb");
    long mutants = atol(arguments[2]);
    uint64_t state = strtoull(arguments[3], NULL, 10);
    if (!file)
        return 2;
    size_t have = fread(cases, 1, ROOM, file), accepted = 0, refused = 0;
    fclose(file);
    cd_make_tables();
    for (size_t at = 0; at + 4 <= have;) {
        size_t size = (size_t)cases[at] << 24 | (size_t)cases[at + 1] << 16
                      | (size_t)cases[at + 2] << 8 | cases[at + 3];
        if (!decode_case(cases + at + 4, size)) {
            fprintf(stderr, "the case at %zu is refused as it is\n", at);
            return 1;
        }
        for (long mutant = 0; mutant < mutants; mutant++) {
            memcpy(one, cases + at + 4, size);
            if (decode_case(one, mutate(one, size, size, &state)))
                accepted++;
            else
                refused++;
        }
        at += 4 + size;
    }
    printf("%zu accepted, %zu refused\n", accepted, refused);
    return 0;
}
