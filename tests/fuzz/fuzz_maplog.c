/* The coordinator's log of the cluster map. What could be opened can be opened again. */
#include "common/bytes.h"
#include "coordinator/maplog.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <xxhash.h>

#define FILE_HEADER 16u
#define ENTRY_HEADER 16u

/* Makes the checksums of entries right, as long as sizes make sense. */
static void mend(uint8_t *log, size_t size)
{
    if (size < FILE_HEADER) {
        return;
    }
    memcpy(log, "SCMAPLOG", 8);
    sc_le32_put(log + 8, log[8] == 1 ? 1 : 2);
    for (size_t at = FILE_HEADER; size - at >= ENTRY_HEADER;) {
        size_t payload = sc_le32_get(log + at + 8);
        if (payload > size - at - ENTRY_HEADER) {
            return;
        }
        sc_le64_put(log + at, XXH3_64bits(log + at + 8, 8 + payload));
        at += ENTRY_HEADER + payload;
    }
}

static bool open_log(void)
{
    struct sc_cluster cluster = {0};
    struct sc_maplog *log;
    char why[SC_WHY_SIZE] = "";
    enum sc_status status = sc_maplog_open(fuzz_dir(), &cluster, &log, why);
    must(status == SC_OK || (status == SC_CORRUPT && why[0] != '\0'));
    if (status != SC_OK) {
        return false;
    }
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT && cluster.shard_count > 0; slot += 101) {
        must(sc_cluster_shard(&cluster, cluster.owner[slot]) != NULL);
    }
    sc_cluster_fini(&cluster);
    sc_maplog_close(log);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = sc_alloc(size + 1);
    memcpy(copy, data, size);
    if (!fuzz_is_raw(data, size)) {
        mend(copy, size);
    }
    fuzz_write("map.log", copy, size);
    free(copy);
    if (open_log()) {
        must(open_log());
    }
    return 0;
}
