/* The main program of a fuzz target without libFuzzer: hands it the files that are named, and those
 * in directories that are named, each as it is and in some damaged forms. */
#include "tests/fuzz/fuzz.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"

#define CUTS 8
#define FLIPS 24
#define SIZE_MAX_DAMAGED ((size_t)64 << 10) /* of larger files only the beginning is damaged */

static unsigned files;

/* On a copy of exactly its size, where a sanitizer sees each byte too many. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = sc_alloc(size > 0 ? size : 1);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    must(LLVMFuzzerTestOneInput(copy, size) == 0);
    free(copy);
}

static void damage(uint8_t *data, size_t size)
{
    uint32_t random = (uint32_t)size; /* always the same: a replay finds what it found before */
    for (int i = 1; i < CUTS; i++) {
        run(data, size * (size_t)i / CUTS);
    }
    for (int i = 0; i < FLIPS && size > 0; i++) {
        random = random * 1664525u + 1013904223u;
        size_t at = (random >> 4) % (i % 2 == 0 || size < 256 ? size : 256);
        uint8_t mask = (uint8_t)(1u << (random & 7));
        data[at] ^= mask;
        run(data, size);
        data[at] ^= mask;
    }
}

static int replay(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    struct sc_buf content = {0};
    (void)info;
    (void)place;
    if (kind != FTW_F) {
        return 0;
    }
    FILE *file = fopen(path, "r");
    must(file != NULL);
    size_t got;
    do {
        got = fread(sc_buf_reserve(&content, 65536), 1, 65536, file);
        content.size += got;
    } while (got > 0);
    (void)fclose(file);
    run(content.data, content.size);
    damage(content.data, content.size < SIZE_MAX_DAMAGED ? content.size : SIZE_MAX_DAMAGED);
    sc_buf_fini(&content);
    files++;
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (nftw(argv[i], replay, 8, FTW_PHYS) != 0) {
            perror(argv[i]);
            return 1;
        }
    }
    printf("%u files were replayed\n", files);
    return files > 0 ? 0 : 1;
}
