/* The list of a backup, which a restore reads. */
#include "common/buf.h"
#include "tests/fuzz/fuzz.h"
#include "tools/backup_list.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#define HEAD "{\"backup\":"

static void wrong(void *arg, const char *path, const char *why)
{
    (void)arg;
    must(path[0] != '\0' && why[0] != '\0');
}

static bool passed(void *arg, uint64_t bytes)
{
    (void)arg;
    (void)bytes;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sc_backup_list_watcher watcher = {wrong, passed, NULL};
    struct sc_buf text = {0};
    struct sc_backup_list list = {0};
    char why[SC_WHY_SIZE] = "";
    char tail[40];
    (void)snprintf(tail, sizeof tail, ",\"xxh3\":\"%016llx\"}\n",
                   (unsigned long long)XXH3_64bits(data, size));
    sc_buf_append(&text, HEAD, sizeof HEAD - 1);
    sc_buf_append(&text, data, size);
    sc_buf_append(&text, tail, strlen(tail));
    fuzz_write("backup.json", text.data, text.size);
    sc_buf_fini(&text);
    enum sc_status status = sc_backup_list_read(fuzz_dir(), &list, why);
    must(status == SC_OK || (status == SC_CORRUPT && why[0] != '\0'));
    if (status == SC_OK) {
        for (size_t i = 0; i < list.shard_count; i++) {
            for (size_t f = 0; f < list.shards[i].file_count; f++) {
                must(strchr(list.shards[i].files[f].name, '/') == NULL);
            }
        }
        status = sc_backup_list_verify(&list, &watcher);
        must(status == SC_OK || status == SC_CORRUPT);
    }
    sc_backup_list_fini(&list);
    return 0;
}
