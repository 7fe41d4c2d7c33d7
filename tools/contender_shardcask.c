#include "shard/bitcask.h"
#include "tools/contender.h"

#define VALUE_MAX (UINT32_C(1) << 20)

static void check(enum sc_status status, const char *why)
{
    sc_contender_check(status == SC_OK, &sc_contender_shardcask, why);
}

static void *open_store(const char *dir, const struct sc_contender_plan *plan)
{
    struct sc_bitcask *store = NULL;
    char why[SC_WHY_SIZE];
    const struct sc_bitcask_options options = {
        .file_size_max = SC_BITCASK_FILE_SIZE_DEFAULT,
        .value_max = VALUE_MAX,
        .sync_ms = plan->sync ? SC_BITCASK_SYNC_ALWAYS : SC_BITCASK_SYNC_NEVER,
    };
    check(sc_bitcask_open(dir, &options, NULL, NULL, &store, why), why);
    return store;
}

/* As a shard does for the items of a message. */
static void ahead(void *store, const struct sc_slice *keys, size_t count, bool values)
{
    enum { PART = 16 };
    uint64_t hashes[PART];
    for (size_t i = 0; i < count; i++) {
        hashes[i % PART] = sc_slot_hash(keys[i]);
        if (i % PART == PART - 1 || i + 1 == count) {
            sc_bitcask_prefetch(store, hashes, i % PART + 1, values);
        }
    }
}

static void put(void *store, struct sc_slice key, struct sc_slice value)
{
    static const struct sc_bitcask_write options = {0};
    char why[SC_WHY_SIZE];
    uint64_t version;
    sc_bitcask_position position;
    check(sc_bitcask_put(store, key, sc_slot_hash(key), value, &options, &version, &position, why),
          why);
}

static void del(void *store, struct sc_slice key)
{
    static const struct sc_bitcask_write options = {0};
    char why[SC_WHY_SIZE];
    sc_bitcask_position position;
    bool existed;
    check(sc_bitcask_del(store, key, sc_slot_hash(key), &options, &existed, &position, why), why);
}

static void commit(void *store, bool sync)
{
    (void)sync; /* demanded by each write of a store that is opened so */
    check(sc_bitcask_commit(store, false), "committing");
}

static bool get(void *store, struct sc_slice key, struct sc_buf *value)
{
    char why[SC_WHY_SIZE];
    sc_bitcask_position position;
    enum sc_status status = sc_bitcask_get(store, key, sc_slot_hash(key), value, &position, why);
    check(status == SC_NOTFOUND ? SC_OK : status, why);
    return status == SC_OK;
}

static void settle(void *store)
{
    uint64_t number;
    while (sc_bitcask_hint_pending(store, &number)) {
        enum sc_status status = sc_bitcask_hint_build(store, number);
        sc_bitcask_hint_built(store, number, status);
        check(status, "building a hint");
    }
}

static void figures(void *store, struct sc_contender_figures *figures)
{
    struct sc_bitcask_stats stats;
    sc_bitcask_stats(store, &stats);
    *figures = (struct sc_contender_figures){stats.files, stats.keydir_bytes};
}

static void close_store(void *store)
{
    check(sc_bitcask_close(store), "closing the store");
}

const struct sc_contender sc_contender_shardcask = {
    .name = "shardcask",
    .title = "Shardcask",
    .settings = "files of 256 MiB; checksums verified by every read",
    .open = open_store,
    .ahead = ahead,
    .put = put,
    .del = del,
    .commit = commit,
    .get = get,
    .settle = settle,
    .figures = figures,
    .close = close_store,
};
