/* A shard's directory with one data file, the input: it is opened, read from end to end, written
 * to, and opened again; nothing that could be read before is lost by that. */
#include "common/bytes.h"
#include "common/slot.h"
#include "shard/bitcask.h"
#include "shard/manifest.h"
#include "shard/record.h"
#include "shard/segment.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <xxhash.h>

static void hear(void *arg, const struct sc_bitcask_event *event)
{
    (void)arg;
    must(event->text[0] != '\0');
}

static const struct sc_bitcask_options options = {
    .file_size_max = UINT64_C(1) << 20,
    .value_max = UINT64_C(1) << 20,
    .sync_ms = SC_BITCASK_SYNC_NEVER,
};

/* Makes the checksums of the head and of records right, as long as sizes make sense. */
static void mend(uint8_t *data, size_t size, uint64_t salt)
{
    struct sc_record_extent extent;
    if (size < SC_SEGMENT_HEADER_SIZE) {
        return;
    }
    sc_le64_put(data + 32, 1);
    sc_le64_put(data + 56, XXH3_64bits(data, 56));
    for (size_t at = SC_SEGMENT_HEADER_SIZE; size - at >= SC_RECORD_HEADER_SIZE;) {
        uint8_t *record = data + at;
        if (!sc_record_extent(record, &extent) || extent.size > size - at) {
            return;
        }
        size_t head = SC_RECORD_HEADER_SIZE + extent.key_size;
        if ((record[4] & 7) != 7) { /* some values stay damaged */
            sc_le32_put(record + 4, (uint32_t)XXH3_64bits(record + head, extent.value_size));
        }
        sc_le32_put(record, (uint32_t)XXH3_64bits_withSeed(record + 4, head - 4, salt ^ at));
        at += (size_t)extent.size;
    }
}

struct found {
    uint64_t keys;
    uint64_t sum; /* of keys and values, in any order */
};

static void see(void *arg, struct sc_slice key, struct sc_slice value)
{
    struct found *found = arg;
    found->keys++;
    found->sum += XXH3_64bits_withSeed(value.data, value.size, sc_slot_hash(key));
}

static void read_page(struct sc_bitcask *store, struct sc_buf *cursor, struct found *found)
{
    struct sc_buf next = {0};
    sc_bitcask_position position;
    char why[SC_WHY_SIZE];
    const struct sc_bitcask_scan scan = {
        .cursor = sc_buf_slice(cursor),
        .last_slot = SC_SLOT_COUNT - 1,
        .limit = 10,
        .values = true,
        .bytes_max = 65536,
        .visits_max = 1000,
    };
    enum sc_status status = sc_bitcask_scan(store, &scan, see, found, &next, &position, why);
    must(status == SC_OK || status == SC_CORRUPT);
    cursor->size = 0;
    sc_buf_append_slice(cursor, sc_buf_slice(&next));
    sc_buf_fini(&next);
}

static struct found read_all(struct sc_bitcask *store)
{
    struct found found = {0};
    struct sc_buf cursor = {0};
    sc_bitcask_position position;
    do {
        read_page(store, &cursor, &found);
    } while (cursor.size > 0);
    must(found.keys == sc_bitcask_count(store, NULL, &position));
    sc_buf_fini(&cursor);
    return found;
}

static void put(struct sc_bitcask *store)
{
    static const struct sc_bitcask_write write = {0};
    struct sc_slice key = sc_slice_str("a key of the fuzzer");
    uint64_t version;
    sc_bitcask_position position;
    char why[SC_WHY_SIZE];
    enum sc_status status = sc_bitcask_put(store, key, sc_slot_hash(key), sc_slice("\x01", 1),
                                           &write, &version, &position, why);
    must(status == SC_OK || status == SC_IO); /* versions may have come to their end */
    must(status != SC_OK || sc_bitcask_commit(store, true) == SC_OK);
}

static void make_manifest(uint64_t salt)
{
    struct sc_files files;
    struct sc_manifest *manifest;
    char why[SC_WHY_SIZE];
    must(sc_files_open(&files, fuzz_dir(), false, why) == SC_OK);
    must(sc_manifest_create(&files, &manifest, why) == SC_OK);
    must(sc_manifest_add_file(manifest, 1, salt, why) == SC_OK);
    sc_manifest_free(manifest);
    sc_files_close(&files);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sc_bitcask *store;
    char why[SC_WHY_SIZE] = "";
    uint64_t salt = size >= SC_SEGMENT_HEADER_SIZE ? sc_le64_get(data + 40) : 0;
    uint8_t *copy = sc_alloc(size + 1);
    memcpy(copy, data, size);
    if (!fuzz_is_raw(data, size)) {
        mend(copy, size, salt);
    }
    fuzz_empty();
    make_manifest(salt);
    fuzz_write("0000000001.data", copy, size);
    free(copy);
    enum sc_status status = sc_bitcask_open(fuzz_dir(), &options, hear, NULL, &store, why);
    must(status == SC_OK || (status == SC_CORRUPT && why[0] != '\0'));
    if (status != SC_OK) {
        return 0;
    }
    struct found first = read_all(store);
    must(sc_bitcask_close(store) == SC_OK);
    must(sc_bitcask_open(fuzz_dir(), &options, hear, NULL, &store, why) == SC_OK);
    struct found second = read_all(store);
    must(first.keys == second.keys && first.sum == second.sum);
    put(store);
    must(sc_bitcask_close(store) == SC_OK);
    return 0;
}
