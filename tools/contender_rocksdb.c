#include "tools/contender.h"

#include <rocksdb/c.h>
#include <stdlib.h>

#define BUFFER_BYTES ((size_t)256 << 20)
#define CACHE_BYTES ((size_t)2 << 30)
#define HASH_INDEX 1 /* of the keys within a data block */
#define THREADS 2

struct store {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *reading;
    rocksdb_writeoptions_t *writing;
    rocksdb_writebatch_t *batch;
};

static void check(char *error)
{
    sc_contender_check(error == NULL, &sc_contender_rocksdb, error);
}

static void *open_store(const char *dir, const struct sc_contender_plan *plan)
{
    struct store *store = sc_calloc(1, sizeof *store);
    char *error = NULL;
    (void)plan;
    store->cache = rocksdb_cache_create_lru(CACHE_BYTES);
    store->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(store->table, store->cache);
    rocksdb_block_based_options_set_filter_policy(store->table,
                                                  rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_data_block_index_type(store->table, HASH_INDEX);
    store->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(store->options, 1);
    rocksdb_options_set_block_based_table_factory(store->options, store->table);
    rocksdb_options_set_compression(store->options, rocksdb_no_compression);
    rocksdb_options_increase_parallelism(store->options, THREADS);
    rocksdb_options_set_write_buffer_size(store->options, BUFFER_BYTES);
    rocksdb_options_set_max_write_buffer_number(store->options, 4);
    rocksdb_options_set_allow_mmap_reads(store->options, 1);
    store->reading = rocksdb_readoptions_create();
    store->writing = rocksdb_writeoptions_create();
    store->batch = rocksdb_writebatch_create();
    store->db = rocksdb_open(store->options, dir, &error);
    check(error);
    return store;
}

static void put(void *arg, struct sc_slice key, struct sc_slice value)
{
    struct store *store = arg;
    rocksdb_writebatch_put(store->batch, key.data, key.size, value.data, value.size);
}

static void del(void *arg, struct sc_slice key)
{
    struct store *store = arg;
    rocksdb_writebatch_delete(store->batch, key.data, key.size);
}

static void commit(void *arg, bool sync)
{
    struct store *store = arg;
    char *error = NULL;
    rocksdb_writeoptions_set_sync(store->writing, sync);
    rocksdb_write(store->db, store->writing, store->batch, &error);
    check(error);
    rocksdb_writebatch_clear(store->batch);
}

static bool get(void *arg, struct sc_slice key, struct sc_buf *value)
{
    struct store *store = arg;
    char *error = NULL;
    size_t size;
    rocksdb_pinnableslice_t *found =
        rocksdb_get_pinned(store->db, store->reading, key.data, key.size, &error);
    check(error);
    if (found == NULL) {
        return false;
    }
    const char *data = rocksdb_pinnableslice_value(found, &size);
    sc_buf_append(value, data, size);
    rocksdb_pinnableslice_destroy(found);
    return true;
}

static void settle(void *arg)
{
    struct store *store = arg;
    rocksdb_compact_range(store->db, NULL, 0, NULL, 0);
}

static void close_store(void *arg)
{
    struct store *store = arg;
    rocksdb_close(store->db);
    rocksdb_writebatch_destroy(store->batch);
    rocksdb_writeoptions_destroy(store->writing);
    rocksdb_readoptions_destroy(store->reading);
    rocksdb_options_destroy(store->options);
    rocksdb_block_based_options_destroy(store->table);
    rocksdb_cache_destroy(store->cache);
    free(store);
}

const struct sc_contender sc_contender_rocksdb = {
    .name = "rocksdb",
    .title = "RocksDB",
    .settings = "write batches; 4 write buffers of 256 MiB, 2 background threads, block cache "
                "2 GiB, mmap reads, hash index in blocks, bloom filter of 10 bits, no compression; "
                "compacted before it is read",
    .open = open_store,
    .put = put,
    .del = del,
    .commit = commit,
    .get = get,
    .settle = settle,
    .close = close_store,
};
