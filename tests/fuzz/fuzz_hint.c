/* Hint files of a shard. */
#include "common/bytes.h"
#include "shard/hint.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <xxhash.h>

#define HEADER 88u
#define BLOCK_HEAD 16u
#define DATA_SIZE (UINT64_C(1) << 20)

/* As shard/hint.h says. */
static void mend(uint8_t *hint, size_t size, uint64_t salt)
{
    if (size < HEADER) {
        return;
    }
    memcpy(hint, "SCASKHNT", 8);
    sc_le64_put(hint + 8, 1);
    sc_le64_put(hint + 16, 1);
    sc_le64_put(hint + 72, size);
    sc_le64_put(hint + 80, XXH3_64bits(hint, 80));
    for (size_t at = HEADER; size - at >= BLOCK_HEAD;) {
        size_t entries = sc_le32_get(hint + at);
        if (entries > size - at - BLOCK_HEAD) {
            return;
        }
        sc_le64_put(hint + at + 8,
                    XXH3_64bits_withSeed(hint + at + BLOCK_HEAD, entries, salt ^ at));
        at += BLOCK_HEAD + entries;
    }
}

static void visit(void *arg, const struct sc_hint_entry *entry)
{
    uint64_t *entries = arg;
    must(entry->record.key.size >= 1 && entry->record.key.size <= 65535);
    must(entry->offset < DATA_SIZE && entry->size < SC_RECORD_SIZE_MAX);
    /* Every byte is there. */
    *entries += 1 + XXH3_64bits(entry->record.key.data, entry->record.key.size) % 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sc_files files;
    char why[SC_WHY_SIZE];
    if (files.path == NULL) {
        must(sc_files_open(&files, fuzz_dir(), false, why) == SC_OK);
    }
    uint8_t *copy = sc_alloc(size + 1);
    uint64_t salt = size >= HEADER ? sc_le64_get(data + 24) : 0;
    memcpy(copy, data, size);
    if (!fuzz_is_raw(data, size)) {
        mend(copy, size, salt);
    }
    fuzz_write("0000000001.hint", copy, size);
    free(copy);
    uint64_t entries = 0;
    uint64_t covered = 0;
    enum sc_status status =
        sc_hint_load(&files, 1, salt, DATA_SIZE, visit, &entries, &covered, why);
    must(status == SC_OK || status == SC_CORRUPT);
    must(status != SC_OK || covered <= DATA_SIZE);
    (void)sc_hint_tells(&files, 1, salt, DATA_SIZE, 64, 4096);
    return 0;
}
