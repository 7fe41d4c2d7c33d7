#include "tools/contender.h"

#include <lmdb.h>
#include <stdlib.h>

/* A tree filled in random order is two thirds full, and pages are copied before they are written.
 */
#define MAP_PER_RECORD 4u
#define MAP_MORE ((size_t)1 << 30)
#define ENTRY_BYTES 24u /* beside key and value */

struct store {
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *writing; /* NULL: nothing was written since the last commit */
    MDB_txn *reading; /* NULL: nothing was read since then */
};

static void check(int error)
{
    sc_contender_check(error == 0, &sc_contender_lmdb, mdb_strerror(error));
}

static void *open_store(const char *dir, const struct sc_contender_plan *plan)
{
    struct store *store = sc_calloc(1, sizeof *store);
    MDB_txn *txn;
    uint64_t size = plan->keys * (plan->record_size + ENTRY_BYTES) * MAP_PER_RECORD;
    unsigned flags = MDB_NORDAHEAD | MDB_NOMEMINIT | MDB_NOTLS;
    check(mdb_env_create(&store->env));
    check(mdb_env_set_mapsize(store->env, (size_t)size + MAP_MORE));
    check(mdb_env_open(store->env, dir,
                       flags | (plan->sync ? 0u : (unsigned)(MDB_WRITEMAP | MDB_NOSYNC)), 0600));
    check(mdb_txn_begin(store->env, NULL, 0, &txn));
    check(mdb_dbi_open(txn, NULL, 0, &store->dbi));
    check(mdb_txn_commit(txn));
    return store;
}

static MDB_val val(struct sc_slice slice)
{
    /* The interface has no const; keys and values given to it are not changed. */
    union {
        const void *given;
        void *wanted;
    } data = {slice.data};
    return (MDB_val){slice.size, data.wanted};
}

static void end_reading(struct store *store)
{
    if (store->reading != NULL) {
        mdb_txn_abort(store->reading);
        store->reading = NULL;
    }
}

static void begin_writing(struct store *store)
{
    if (store->writing == NULL) {
        end_reading(store);
        check(mdb_txn_begin(store->env, NULL, 0, &store->writing));
    }
}

static void put(void *arg, struct sc_slice key, struct sc_slice value)
{
    struct store *store = arg;
    MDB_val k = val(key);
    MDB_val v = val(value);
    begin_writing(store);
    check(mdb_put(store->writing, store->dbi, &k, &v, 0));
}

static void del(void *arg, struct sc_slice key)
{
    struct store *store = arg;
    MDB_val k = val(key);
    begin_writing(store);
    check(mdb_del(store->writing, store->dbi, &k, NULL));
}

static void commit(void *arg, bool sync)
{
    struct store *store = arg;
    (void)sync; /* as the store was opened */
    if (store->writing != NULL) {
        check(mdb_txn_commit(store->writing));
        store->writing = NULL;
    }
}

static bool get(void *arg, struct sc_slice key, struct sc_buf *value)
{
    struct store *store = arg;
    MDB_val k = val(key);
    MDB_val v;
    if (store->reading == NULL) {
        check(mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->reading));
    }
    int error = mdb_get(store->reading, store->dbi, &k, &v);
    check(error == MDB_NOTFOUND ? 0 : error);
    if (error == 0) {
        sc_buf_append(value, v.mv_data, v.mv_size);
    }
    return error == 0;
}

static void settle(void *arg)
{
    (void)arg; /* has nothing to do */
}

static void close_store(void *arg)
{
    struct store *store = arg;
    end_reading(store);
    commit(store, false);
    mdb_env_close(store->env);
    free(store);
}

const struct sc_contender sc_contender_lmdb = {
    .name = "lmdb",
    .title = "LMDB",
    .settings = "a transaction for each commit and one for all gets; writable map and no sync "
                "unless synced, no readahead",
    .open = open_store,
    .put = put,
    .del = del,
    .commit = commit,
    .get = get,
    .settle = settle,
    .close = close_store,
};
