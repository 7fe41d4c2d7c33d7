#include "shard/ahead.h"
#include "shard/bitcask.h"
#include "tools/contender.h"

#include <stdlib.h>

#define VALUE_MAX (UINT32_C(1) << 20)

struct own {
    struct sc_bitcask *store;
    struct sc_ahead *ahead;
};

static const uint8_t cluster[16] = "engine-bench";

static void check(enum sc_status status, const char *why)
{
    sc_contender_check(status == SC_OK, &sc_contender_shardcask, why);
}

static void *open_store(const char *dir, const struct sc_contender_plan *plan)
{
    struct own *own = sc_calloc(1, sizeof *own);
    char why[SC_WHY_SIZE];
    const struct sc_bitcask_options options = {
        .file_size_max = SC_BITCASK_FILE_SIZE_DEFAULT,
        .value_max = VALUE_MAX,
        .sync_ms = plan->sync ? SC_BITCASK_SYNC_ALWAYS : SC_BITCASK_SYNC_NEVER,
    };
    check(sc_bitcask_open(dir, &options, NULL, NULL, &own->store, why), why);
    check(sc_bitcask_adopt(own->store, cluster, 1, why), why); /* as in a fleet */
    check(sc_ahead_start(own->store, &own->ahead, why), why);
    sc_ahead_poll(own->ahead);
    sc_ahead_wait(own->ahead); /* a daemon has time enough before the first request comes */
    return own;
}

/* As a shard does for the items of a message. */
static void ahead(void *arg, const struct sc_slice *keys, size_t count, bool values)
{
    struct sc_bitcask *store = ((struct own *)arg)->store;
    enum { PART = 16 };
    uint64_t hashes[PART];
    for (size_t i = 0; i < count; i++) {
        hashes[i % PART] = sc_slot_hash(keys[i]);
        if (i % PART == PART - 1 || i + 1 == count) {
            sc_bitcask_prefetch(store, hashes, i % PART + 1, values);
        }
    }
}

static void put(void *arg, struct sc_slice key, struct sc_slice value)
{
    struct sc_bitcask *store = ((struct own *)arg)->store;
    static const struct sc_bitcask_write options = {0};
    char why[SC_WHY_SIZE];
    uint64_t version;
    sc_bitcask_position position;
    check(sc_bitcask_put(store, key, sc_slot_hash(key), value, &options, &version, &position, why),
          why);
}

static void del(void *arg, struct sc_slice key)
{
    struct sc_bitcask *store = ((struct own *)arg)->store;
    static const struct sc_bitcask_write options = {0};
    char why[SC_WHY_SIZE];
    sc_bitcask_position position;
    bool existed;
    check(sc_bitcask_del(store, key, sc_slot_hash(key), &options, &existed, &position, why), why);
}

static void commit(void *arg, bool sync)
{
    struct own *own = arg;
    (void)sync; /* demanded by each write of a store that is opened so */
    check(sc_bitcask_commit(own->store, false), "committing");
    sc_ahead_poll(own->ahead);
}

static bool get(void *arg, struct sc_slice key, struct sc_buf *value)
{
    struct sc_bitcask *store = ((struct own *)arg)->store;
    char why[SC_WHY_SIZE];
    sc_bitcask_position position;
    enum sc_status status = sc_bitcask_get(store, key, sc_slot_hash(key), value, &position, why);
    check(status == SC_NOTFOUND ? SC_OK : status, why);
    return status == SC_OK;
}

static void settle(void *arg)
{
    struct sc_bitcask *store = ((struct own *)arg)->store;
    uint64_t number;
    while (sc_bitcask_hint_pending(store, &number)) {
        enum sc_status status = sc_bitcask_hint_build(store, number);
        sc_bitcask_hint_built(store, number, status);
        check(status, "building a hint");
    }
}

static void figures(void *arg, struct sc_contender_figures *figures)
{
    struct sc_bitcask *store = ((struct own *)arg)->store;
    struct sc_bitcask_stats stats;
    sc_bitcask_stats(store, &stats);
    *figures = (struct sc_contender_figures){stats.files, stats.keydir_bytes};
}

static void close_store(void *arg)
{
    struct own *own = arg;
    sc_ahead_stop(own->ahead);
    check(sc_bitcask_close(own->store), "closing the store");
    free(own);
}

const struct sc_contender sc_contender_shardcask = {
    .name = "shardcask",
    .title = "Shardcask",
    .settings = "files of 256 MiB, made ahead by a thread; checksums verified by every read",
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
