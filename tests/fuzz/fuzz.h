/*
 * What the fuzz targets share. A target is a file fuzz_NAME.c with the one function that libFuzzer
 * calls for each input; it may be given any bytes, and ends the process when something that must
 * hold does not. With clang and -DSHARDCASK_FUZZ=ON each is a fuzzer (tools/fuzz runs them); in
 * every build each is also a test that replays files (replay.c).
 *
 * Most formats have checksums, which a fuzzer cannot guess. So a target makes them right, where its
 * input has the form for it, unless fuzz_is_raw says that this input shall be read as it is.
 */
#ifndef SC_TESTS_FUZZ_H
#define SC_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define must(condition)     \
    do {                    \
        if (!(condition)) { \
            abort();        \
        }                   \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether an input is to be left as it is. */
bool fuzz_is_raw(const uint8_t *data, size_t size);

/* A directory of this process, in memory where there is such a filesystem; it is removed in the
 * end. Only errors are logged from the first call on. */
const char *fuzz_dir(void);

/* The path of a name in it; valid until the next call but three. */
const char *fuzz_path(const char *name);

/* Writes a file in it. */
void fuzz_write(const char *name, const void *data, size_t size);

/* Removes what is in it, and in directories in it. */
void fuzz_empty(void);

#endif
