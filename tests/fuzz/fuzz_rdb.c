/* RDB files of Redis and Valkey. */
#include "common/bytes.h"
#include "tests/fuzz/fuzz_import.h"
#include "tools/crc.h"
#include "tools/rdb.h"

#include <string.h>

/* Where the opcode of the end was found, its checksum is made right. */
static void mend(uint8_t *data, size_t size)
{
    struct sc_rdb rdb;
    struct sc_rdb_item item;
    char why[SC_WHY_SIZE];
    struct sc_crc crc;
    if (!sc_rdb_open(&rdb, sc_slice(data, size))) {
        return;
    }
    do {
        if (!sc_rdb_next(&rdb, &item, why)) {
            return;
        }
    } while (item.kind != SC_RDB_END);
    if ((size_t)(rdb.end - rdb.at) >= 8) {
        sc_crc_init(&crc, SC_CRC_64_JONES);
        size_t covered = (size_t)(rdb.at - rdb.start);
        sc_le64_put(data + covered, sc_crc_update(&crc, 0, data, covered));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = sc_alloc(size + 1);
    memcpy(copy, data, size);
    if (!fuzz_is_raw(data, size)) {
        mend(copy, size);
    }
    fuzz_write("dump.rdb", copy, size);
    free(copy);
    const char *path = fuzz_path("dump.rdb");
    fuzz_read(&sc_import_rdb, path, &(struct sc_import_options){.db = -1}, NULL);
    fuzz_read(&sc_import_rdb, path, &(struct sc_import_options){.db = 0, .salvage = true}, NULL);
    (void)sc_import_detect(path);
    return 0;
}
