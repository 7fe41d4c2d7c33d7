/* MANIFEST of a shard, either format. What can be read can be written, and says the same then. */
#include "common/bytes.h"
#include "shard/manifest.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <xxhash.h>

#define HEAD 24u

/* As shard/manifest.h says, of a first copy that reaches to the end. */
static void mend(uint8_t *bytes, size_t size)
{
    if (size < HEAD) {
        return;
    }
    uint32_t format = bytes[8] == 1 ? 1 : 2;
    uint64_t body = size - HEAD;
    memcpy(bytes, "SCASKMAN", 8);
    sc_le32_put(bytes + 8, format);
    sc_le32_put(bytes + 12, (uint32_t)body);
    uint64_t seed = format == 1 ? body : body + ((uint64_t)format << 32);
    sc_le64_put(bytes + 16, XXH3_64bits_withSeed(bytes + HEAD, (size_t)body, seed));
}

static void check(struct sc_manifest *manifest, const struct sc_files *files)
{
    struct sc_manifest *again;
    bool damaged;
    unsigned copies = 1;
    char why[SC_WHY_SIZE];
    must(sc_manifest_rewrite(manifest, why) == SC_OK);
    must(sc_manifest_load(files, &again, &damaged, why) == SC_OK && !damaged);
    must(sc_manifest_check(again, &copies, why) == SC_OK && copies == 0);
    must(sc_manifest_files(again) == sc_manifest_files(manifest));
    for (size_t i = 0; i < sc_manifest_files(manifest); i++) {
        struct sc_manifest_file a = sc_manifest_file(manifest, i);
        struct sc_manifest_file b = sc_manifest_file(again, i);
        must(a.number == b.number && a.salt == b.salt);
    }
    for (uint32_t s = 0; s < SC_SLOT_COUNT; s += 37) {
        struct sc_manifest_slot a;
        struct sc_manifest_slot b;
        sc_manifest_slot(manifest, s, &a);
        sc_manifest_slot(again, s, &b);
        must(a.state == b.state && a.epoch == b.epoch && a.fence.file == b.fence.file &&
             a.fence.offset == b.fence.offset);
    }
    sc_manifest_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sc_files files;
    struct sc_manifest *manifest;
    bool damaged;
    char why[SC_WHY_SIZE] = "";
    if (files.path == NULL) {
        must(sc_files_open(&files, fuzz_dir(), false, why) == SC_OK);
    }
    uint8_t *copy = sc_alloc(size + 1);
    memcpy(copy, data, size);
    if (!fuzz_is_raw(data, size)) {
        mend(copy, size);
    }
    fuzz_write("MANIFEST", copy, size);
    free(copy);
    enum sc_status status = sc_manifest_load(&files, &manifest, &damaged, why);
    must(status == SC_OK || (status == SC_CORRUPT && why[0] != '\0'));
    if (status == SC_OK) {
        check(manifest, &files);
        sc_manifest_free(manifest);
    }
    return 0;
}
