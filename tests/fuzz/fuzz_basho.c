/* Directories of Basho's Bitcask: the input is a data file, and then, beside a data file that is
 * whole, a hint file. */
#include "common/bytes.h"
#include "tests/fuzz/fuzz_import.h"
#include "tools/basho.h"

#include <string.h>
#include <sys/stat.h>

static struct sc_crc crc;

/* Makes the checksums of entries right, from the first on as long as sizes make sense. */
static void mend_data(uint8_t *data, size_t size)
{
    size_t at = 0;
    while (size - at >= SC_BASHO_HEAD_SIZE) {
        uint64_t entry =
            SC_BASHO_HEAD_SIZE + (uint64_t)sc_be16_get(data + at + 8) + sc_be32_get(data + at + 10);
        if (entry > size - at) {
            return;
        }
        sc_be32_put(data + at, sc_crc_32(&crc, data + at + 4, (size_t)entry - 4));
        at += (size_t)entry;
    }
}

/* Puts a trailer at the end of a hint file. */
static void mend_hint(uint8_t *hint, size_t size)
{
    if (size >= 18) {
        uint8_t *trailer = hint + size - 18;
        memset(trailer, 0, 18);
        sc_be32_put(trailer + 6, sc_crc_32(&crc, hint, size - 18));
        memset(trailer + 10, 0xff, 8);
        trailer[10] = 0x7f;
    }
}

static size_t put_entry(uint8_t *to, const char *key, const char *value)
{
    size_t key_size = strlen(key);
    size_t value_size = strlen(value);
    memset(to, 0, SC_BASHO_HEAD_SIZE);
    sc_be32_put(to + 4, 1000);
    sc_be16_put(to + 8, (uint16_t)key_size);
    sc_be32_put(to + 10, (uint32_t)value_size);
    memcpy(to + SC_BASHO_HEAD_SIZE, key, key_size);
    memcpy(to + SC_BASHO_HEAD_SIZE + key_size, value, value_size);
    return SC_BASHO_HEAD_SIZE + key_size + value_size;
}

static void read_dir(void)
{
    fuzz_read(&sc_import_basho, fuzz_path("b"), &(struct sc_import_options){.db = -1}, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t whole[256];
    uint8_t *copy = sc_alloc(size + 1);
    if (crc.table[0][1] == 0) {
        sc_crc_init(&crc, SC_CRC_32);
    }
    fuzz_empty();
    must(mkdir(fuzz_path("b"), 0700) == 0);
    memcpy(copy, data, size);
    if (!fuzz_is_raw(data, size)) {
        mend_data(copy, size);
    }
    fuzz_write("b/1.bitcask.data", copy, size / 2);
    fuzz_write("b/2.bitcask.data", copy + size / 2, size - size / 2);
    read_dir();
    fuzz_write("b/1.bitcask.data", copy, size);
    read_dir();
    memcpy(copy, data, size);
    if (!fuzz_is_raw(data, size)) {
        mend_hint(copy, size);
    }
    size_t used = put_entry(whole, "key", "value");
    used += put_entry(whole + used, "other", "bitcask_tombstone");
    used += put_entry(whole + used, "key", "a newer value");
    mend_data(whole, used);
    whole[used / 2] ^= 1; /* so that hints are needed */
    fuzz_write("b/1.bitcask.data", whole, used);
    fuzz_write("b/1.bitcask.hint", copy, size);
    read_dir();
    free(copy);
    return 0;
}
