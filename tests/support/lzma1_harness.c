/* Decodes the cases of a file with zsofs/native/lzma1.h; built with sanitizers, and each case has
   memory of exactly its size, so that each byte read or written beyond it is found.

   Case: stored length and size (32 bits each, this machine's order), stored bytes. Answer, on
   standard output: a byte, 1 for good, and then, if it is good, the decoded bytes. */

#include <stdio.h>
#include <stdlib.h>

#include "lzma1.h"

int main(int count, char **arguments)
{
    FILE *cases = count == 2 ? fopen(arguments[1], "rb") : NULL;
    struct zsofs_lzma1 *chances = malloc(sizeof(*chances));
    uint32_t lengths[2];
    if (cases == NULL || chances == NULL)
        return 1;
    while (fread(lengths, sizeof(lengths), 1, cases) == 1) {
        uint8_t *stored = malloc(lengths[0] ? lengths[0] : 1), *out = malloc(lengths[1]);
        if (fread(stored, 1, lengths[0], cases) != lengths[0])
            return 1;
        int good = zsofs_lzma1_decode(chances, stored, lengths[0], out, lengths[1]);
        putchar(good);
        if (good)
            fwrite(out, 1, lengths[1], stdout);
        free(stored);
        free(out);
    }
    free(chances);
    fclose(cases);
    return 0;
}
