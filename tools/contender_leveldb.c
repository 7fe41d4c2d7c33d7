#include "tools/contender.h"

#include <leveldb/c.h>
#include <stdlib.h>

#define BUFFER_BYTES ((size_t)64 << 20)
#define FILE_BYTES ((size_t)32 << 20)
#define CACHE_BYTES ((size_t)2 << 30)
#define OPEN_FILES 4096

struct store {
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_readoptions_t *reading;
    leveldb_writeoptions_t *writing;
    leveldb_writebatch_t *batch;
};

static void check(char *error)
{
    sc_contender_check(error == NULL, &sc_contender_leveldb, error);
}

static void *open_store(const char *dir, const struct sc_contender_plan *plan)
{
    struct store *store = sc_calloc(1, sizeof *store);
    char *error = NULL;
    (void)plan;
    store->cache = leveldb_cache_create_lru(CACHE_BYTES);
    store->filter = leveldb_filterpolicy_create_bloom(10);
    store->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(store->options, 1);
    leveldb_options_set_compression(store->options, leveldb_no_compression);
    leveldb_options_set_write_buffer_size(store->options, BUFFER_BYTES);
    leveldb_options_set_max_file_size(store->options, FILE_BYTES);
    leveldb_options_set_max_open_files(store->options, OPEN_FILES);
    leveldb_options_set_cache(store->options, store->cache);
    leveldb_options_set_filter_policy(store->options, store->filter);
    store->reading = leveldb_readoptions_create();
    store->writing = leveldb_writeoptions_create();
    store->batch = leveldb_writebatch_create();
    store->db = leveldb_open(store->options, dir, &error);
    check(error);
    return store;
}

static void put(void *arg, struct sc_slice key, struct sc_slice value)
{
    struct store *store = arg;
    leveldb_writebatch_put(store->batch, key.data, key.size, value.data, value.size);
}

static void del(void *arg, struct sc_slice key)
{
    struct store *store = arg;
    leveldb_writebatch_delete(store->batch, key.data, key.size);
}

static void commit(void *arg, bool sync)
{
    struct store *store = arg;
    char *error = NULL;
    leveldb_writeoptions_set_sync(store->writing, sync);
    leveldb_write(store->db, store->writing, store->batch, &error);
    check(error);
    leveldb_writebatch_clear(store->batch);
}

static bool get(void *arg, struct sc_slice key, struct sc_buf *value)
{
    struct store *store = arg;
    char *error = NULL;
    size_t size;
    char *found = leveldb_get(store->db, store->reading, key.data, key.size, &size, &error);
    check(error);
    if (found == NULL) {
        return false;
    }
    sc_buf_append(value, found, size);
    leveldb_free(found);
    return true;
}

static void settle(void *arg)
{
    struct store *store = arg;
    leveldb_compact_range(store->db, NULL, 0, NULL, 0);
}

static void close_store(void *arg)
{
    struct store *store = arg;
    leveldb_close(store->db);
    leveldb_writebatch_destroy(store->batch);
    leveldb_writeoptions_destroy(store->writing);
    leveldb_readoptions_destroy(store->reading);
    leveldb_options_destroy(store->options);
    leveldb_filterpolicy_destroy(store->filter);
    leveldb_cache_destroy(store->cache);
    free(store);
}

const struct sc_contender sc_contender_leveldb = {
    .name = "leveldb",
    .title = "LevelDB",
    .settings = "write batches; write buffer 64 MiB, files of 32 MiB, block cache 2 GiB, bloom "
                "filter of 10 bits, no compression; compacted before it is read",
    .open = open_store,
    .put = put,
    .del = del,
    .commit = commit,
    .get = get,
    .settle = settle,
    .close = close_store,
};
