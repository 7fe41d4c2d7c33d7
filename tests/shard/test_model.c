/*
 * The store against a model, step by step at random: operations, group commits and merges with
 * operations in between, clean closes, kills and power failures; records that are not in memory and
 * are fetched while other operations go on. The seed is printed when a run
 * fails; SEED and STEPS in the environment choose another.
 */
#include "common/bytes.h"
#include "common/mp.h"
#include "shard/manifest.h"
#include "shard/record.h"
#include "tests/check_main.h"
#include "tests/shard/cold.h"
#include "tests/shard/merging.h"

#include <fcntl.h>
#include <inttypes.h>

#define KEYS 40
#define VALUE_MAX 6000
#define HISTORY 64

/* A value is told by its size and seed; size 0: absent. */
struct state {
    uint32_t size;
    uint32_t seed;
    uint64_t version;
    sc_bitcask_position position; /* of the write that made it so */
};

/* A key with the states since the last sync, the oldest first. */
struct model_key {
    char name[24];
    struct state states[HISTORY];
    size_t count;
};

static struct fixture f;
static struct model_key model[KEYS];
static uint64_t random_state;
static uint64_t last_version;
static struct sc_bitcask_commit *under_way;
static bool under_way_sync;
static uint64_t seed;
static unsigned step;

#define CHECK_STEP(condition) \
    ck_assert_msg(condition, "seed %" PRIu64 ", step %u: %s (%s)", seed, step, #condition, f.why)

static uint32_t any(uint32_t limit)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((random_state >> 33) % limit);
}

static struct state *now_of(struct model_key *key)
{
    return &key->states[key->count - 1];
}

static struct sc_slice name_of(const struct model_key *key)
{
    return sc_slice_str(key->name);
}

static uint64_t hash_of(const struct model_key *key)
{
    return sc_slot_hash(name_of(key));
}

/* The bytes of a value: a msgpack bin, so that any is well-formed. */
static struct sc_slice value_of(uint32_t size, uint32_t value_seed)
{
    static uint8_t bytes[VALUE_MAX];
    uint32_t x = value_seed;
    for (uint32_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(x >> 24);
    }
    return sc_slice(bytes, size);
}

static void push(struct model_key *key, struct state state)
{
    if (key->count == HISTORY) {
        /* Forgetting what may still be undone would be wrong: make it durable. */
        CHECK_STEP(sc_bitcask_commit(f.store, true) == SC_OK);
        for (int i = 0; i < KEYS; i++) {
            model[i].states[0] = *now_of(&model[i]);
            model[i].count = 1;
        }
    }
    key->states[key->count++] = state;
}

/* ---- Commits ---- */

static void forget_history(void)
{
    /* Everything up to the committed position is on the disk now. */
    sc_bitcask_position committed = sc_bitcask_committed(f.store);
    for (int i = 0; i < KEYS; i++) {
        size_t keep = model[i].count - 1;
        while (keep > 0 && model[i].states[keep].position > committed) {
            keep--;
        }
        memmove(model[i].states, model[i].states + keep,
                (model[i].count - keep) * sizeof *model[i].states);
        model[i].count -= keep;
    }
}

static void finish_commit(void)
{
    if (under_way != NULL) {
        sc_bitcask_commit_run(under_way);
        CHECK_STEP(sc_bitcask_commit_end(f.store, under_way) == SC_OK);
        under_way = NULL;
        if (under_way_sync) {
            forget_history();
        }
    }
}

static void step_commit(void)
{
    if (under_way != NULL) {
        finish_commit();
        return;
    }
    bool sync = any(3) == 0;
    under_way = sc_bitcask_commit_begin(f.store, sync);
    under_way_sync = sync;
    if (any(2) == 0) {
        finish_commit();
    }
}

/* ---- Records that are not in memory ---- */

static struct sc_fetch fetch;
static struct model_key *fetching_for; /* NULL: nothing is being fetched */
static bool alone; /* nothing happens beside a fetch */
static bool merging; /* no commit may begin */

static void step_beside(void);

/* Ahead of an operation that may need a record: whether it is lent a fetch. */
static void lend(struct model_key *key)
{
    if (fetching_for == NULL && any(2) == 0) {
        fetching_for = key;
        sc_bitcask_lend(f.store, &fetch);
    }
}

/* Behind it. True: it has to be done again, with what it wanted. */
static bool wants(struct model_key *key, enum sc_status status)
{
    if (fetching_for != key || fetching_for == NULL) {
        return false;
    }
    sc_bitcask_lend(f.store, NULL);
    if (status == SC_BUSY) {
        CHECK_STEP(sc_fetch_wants(&fetch));
        step_beside();
        cold_read(&fetch);
        step_beside();
        sc_bitcask_lend(f.store, &fetch);
        return true;
    }
    CHECK_STEP(!sc_fetch_wants(&fetch));
    sc_fetch_fini(&fetch);
    fetching_for = NULL;
    return false;
}

/* ---- Operations ---- */

static void check_new_version(uint64_t version)
{
    CHECK_STEP(version > last_version);
    last_version = version;
}

static void wrote(struct model_key *key, uint32_t size, uint32_t value_seed, uint64_t version)
{
    if (size > 0) {
        check_new_version(version);
    }
    CHECK_STEP(f.position == sc_bitcask_appended(f.store));
    push(key, (struct state){size, value_seed, version, f.position});
}

static void step_put(struct model_key *key)
{
    uint32_t size = any(20) == 0 ? 1 + any(VALUE_MAX - 1) : 1 + any(200);
    uint32_t value_seed = any(UINT32_MAX);
    uint64_t if_version = any(3) == 0 ? now_of(key)->version + 1 : now_of(key)->version;
    bool sync = any(10) == 0;
    struct sc_bitcask_write options = {
        .if_version = any(3) == 0 ? &if_version : NULL,
        .sync = sync ? &sync : NULL,
    };
    uint64_t version;
    enum sc_status status;
    lend(key);
    do {
        status = sc_bitcask_put(f.store, name_of(key), hash_of(key), value_of(size, value_seed),
                                &options, &version, &f.position, f.why);
    } while (wants(key, status));
    if (options.if_version != NULL && if_version != now_of(key)->version) {
        CHECK_STEP(status == SC_MISMATCH);
        return;
    }
    CHECK_STEP(status == SC_OK);
    wrote(key, size, value_seed, version);
}

static void step_del(struct model_key *key)
{
    bool existed;
    const struct sc_bitcask_write options = {0};
    CHECK_STEP(sc_bitcask_del(f.store, name_of(key), hash_of(key), &options, &existed, &f.position,
                              f.why) == SC_OK);
    CHECK_STEP(existed == (now_of(key)->size > 0));
    if (existed) {
        wrote(key, 0, 0, 0);
    }
}

static void step_touch(struct model_key *key)
{
    uint64_t ttl_ms = 3600000;
    uint64_t version;
    bool expires = any(2) == 0;
    enum sc_status status;
    lend(key);
    do {
        status = sc_bitcask_touch(f.store, name_of(key), hash_of(key), expires ? &ttl_ms : NULL,
                                  &version, &f.position, f.why);
    } while (wants(key, status));
    CHECK_STEP(status == (now_of(key)->size > 0 ? SC_OK : SC_NOTFOUND));
    if (status == SC_OK) {
        wrote(key, now_of(key)->size, now_of(key)->seed, version);
    }
}

static void check_key(struct model_key *key)
{
    struct sc_buf value = {0};
    enum sc_status status;
    lend(key);
    do {
        status = sc_bitcask_get(f.store, name_of(key), hash_of(key), &value, &f.position, f.why);
    } while (wants(key, status));
    const struct state *state = now_of(key);
    CHECK_STEP(status == (state->size > 0 ? SC_OK : SC_NOTFOUND));
    CHECK_STEP(sc_slice_equal(sc_buf_slice(&value), value_of(state->size, state->seed)));
    /* An answer waits for the write that it tells of. */
    CHECK_STEP(f.position > sc_bitcask_committed(f.store) ||
               state->position <= sc_bitcask_committed(f.store));
    sc_buf_fini(&value);
    struct sc_bitcask_meta meta;
    lend(key);
    do {
        status = sc_bitcask_meta(f.store, name_of(key), hash_of(key), &meta, &f.position, f.why);
    } while (wants(key, status));
    state = now_of(key);
    CHECK_STEP(status == (state->size > 0 ? SC_OK : SC_NOTFOUND));
    CHECK_STEP(status != SC_OK || (meta.version == state->version && meta.size == state->size));
    CHECK_STEP(sc_bitcask_exists(f.store, name_of(key), hash_of(key), &f.position) == status);
}

static void step_clear(void)
{
    uint8_t owned[SC_SLOT_COUNT / 8];
    for (size_t i = 0; i < sizeof owned; i++) {
        owned[i] = (uint8_t)any(256);
    }
    bool all = any(2) == 0;
    uint64_t removed;
    uint64_t expected = 0;
    CHECK_STEP(sc_bitcask_clear(f.store, all ? NULL : owned, &removed, &f.position, f.why) ==
               SC_OK);
    for (int i = 0; i < KEYS; i++) {
        uint32_t slot = sc_slot_of_hash(hash_of(&model[i]));
        bool gone = all || (owned[slot / 8] >> slot % 8 & 1) != 0;
        if (gone && now_of(&model[i])->size > 0) {
            expected++;
            push(&model[i], (struct state){.position = f.position});
        }
    }
    CHECK_STEP(removed == expected);
}

/* ---- The store as a whole ---- */

struct seen {
    unsigned keys;
    uint64_t last_hash;
    bool found[KEYS];
    bool values;
};

static void see(void *arg, struct sc_slice key, struct sc_slice value)
{
    struct seen *seen = arg;
    uint64_t hash = sc_slot_hash(key);
    CHECK_STEP(seen->keys == 0 || hash > seen->last_hash);
    seen->last_hash = hash;
    seen->keys++;
    for (int i = 0; i < KEYS; i++) {
        if (sc_slice_equal(key, name_of(&model[i]))) {
            const struct state *state = now_of(&model[i]);
            CHECK_STEP(state->size > 0 && !seen->found[i]);
            seen->found[i] = true;
            CHECK_STEP(!seen->values || sc_slice_equal(value, value_of(state->size, state->seed)));
            return;
        }
    }
    CHECK_STEP(false);
}

static void check_page(const struct sc_bitcask_scan *scan, struct seen *seen, struct sc_buf *cursor)
{
    const struct seen before = *seen;
    sc_bitcask_lend(f.store, any(2) == 0 ? &fetch : NULL);
    while (sc_bitcask_scan(f.store, scan, see, seen, cursor, &f.position, f.why) != SC_OK) {
        CHECK_STEP(sc_fetch_wants(&fetch));
        cold_read(&fetch);
        *seen = before;
    }
    sc_bitcask_lend(f.store, NULL);
    sc_fetch_fini(&fetch);
}

static void check_scan(void)
{
    struct seen seen = {.values = any(2) == 0};
    struct sc_buf cursor = {0};
    do {
        struct sc_bitcask_scan scan = {
            .cursor = sc_buf_slice(&cursor),
            .last_slot = SC_SLOT_COUNT - 1,
            .limit = 1 + any(10),
            .values = seen.values,
            .bytes_max = 1 + any(1000),
            .visits_max = 1 + any(20),
        };
        check_page(&scan, &seen, &cursor);
    } while (cursor.size > 0);
    sc_buf_fini(&cursor);
    unsigned expected = 0;
    for (int i = 0; i < KEYS; i++) {
        expected += now_of(&model[i])->size > 0 ? 1 : 0;
    }
    CHECK_STEP(seen.keys == expected);
    CHECK_STEP(sc_bitcask_count(f.store, NULL, &f.position) == expected);
}

static void check_all(void)
{
    uint64_t live = 0;
    alone = true;
    for (int i = 0; i < KEYS; i++) {
        check_key(&model[i]);
        const struct state *state = now_of(&model[i]);
        live += state->size > 0 ? sc_record_size(strlen(model[i].name), state->size) : 0;
    }
    struct sc_bitcask_stats stats;
    sc_bitcask_stats(f.store, &stats);
    CHECK_STEP(stats.live_bytes == live);
    CHECK_STEP(stats.damaged_records == 0);
    check_scan();
    alone = false;
}

static void open_again(void)
{
    sc_io_pretend_cold(any(4));
    f.options.file_size_max = 4096u << any(4);
    f.options.zeros_ahead = any(2) == 0 ? 0 : 1u << any(18);
    f.options.sync_ms = any(2) == 0 ? SC_BITCASK_SYNC_ALWAYS : SC_BITCASK_SYNC_NEVER;
    fixture_open(&f);
    /* What is there now is durable: opening has synced it. */
    for (int i = 0; i < KEYS; i++) {
        model[i].states[0] = *now_of(&model[i]);
        model[i].states[0].position = 0;
        model[i].count = 1;
    }
}

static void step_reopen(void)
{
    finish_commit();
    fixture_close(&f);
    open_again();
    CHECK_STEP(f.event_count == 0);
    check_all();
}

/* What was not committed is gone, everything else is there. */
static void undo_uncommitted(void)
{
    sc_bitcask_position committed = sc_bitcask_committed(f.store);
    for (int i = 0; i < KEYS; i++) {
        while (model[i].count > 1 && now_of(&model[i])->position > committed) {
            model[i].count--;
        }
    }
}

static void step_kill(void)
{
    finish_commit();
    undo_uncommitted();
    fixture_kill(&f);
    open_again();
    CHECK_STEP(f.event_count == 0);
    check_all();
}

/* ---- Power failures ---- */

/* Takes away or garbles what was written but not synced in one file. */
static void lose(const char *path, uint64_t synced)
{
    struct sc_buf bytes = file_read(path);
    if (bytes.size > synced) {
        size_t unsynced = bytes.size - synced;
        for (uint32_t i = any(4); i > 0; i--) {
            size_t from = any((uint32_t)unsynced);
            size_t size = 1 + any(64);
            size = size < unsynced - from ? size : unsynced - from;
            memset(bytes.data + synced + from, any(2) == 0 ? 0 : 0xa5, size);
        }
        bytes.size -= any(2) == 0 ? any((uint32_t)unsynced + 1) : 0;
        file_write(path, bytes.data, bytes.size);
    }
    sc_buf_fini(&bytes);
}

static void lose_unsynced(const char *dir)
{
    char path[512];
    struct sc_durable_mark mark = synced_mark(dir);
    if (mark.file > 0) {
        forget_boot(dir, 0);
    }
    struct sc_files files;
    struct sc_manifest *manifest;
    bool damaged;
    CHECK_STEP(sc_files_open(&files, dir, true, f.why) == SC_OK);
    CHECK_STEP(sc_manifest_load(&files, &manifest, &damaged, f.why) == SC_OK);
    for (size_t i = 0; i < data_files(dir); i++) {
        struct sc_manifest_file listed;
        data_path(dir, i, path);
        uint64_t number = strtoull(strrchr(path, '/') + 1, NULL, 10);
        /* What a merge has written is settled: synced before it was listed. */
        if (number >= mark.file && sc_manifest_find_file(manifest, number, &listed) &&
            listed.settled_size == 0) {
            lose(path, number == mark.file && mark.offset > 64 ? mark.offset : 64);
        }
    }
    sc_manifest_free(manifest);
    sc_files_close(&files);
}

/* Each key has one of its states since the last sync; the model takes what it finds. */
static void settle_for_what_is_there(void)
{
    for (int i = 0; i < KEYS; i++) {
        struct model_key *key = &model[i];
        struct sc_buf value = {0};
        enum sc_status status =
            sc_bitcask_get(f.store, name_of(key), hash_of(key), &value, &f.position, f.why);
        CHECK_STEP(status == SC_OK || status == SC_NOTFOUND);
        size_t at = key->count;
        while (at > 0 &&
               !sc_slice_equal(sc_buf_slice(&value),
                               value_of(key->states[at - 1].size, key->states[at - 1].seed))) {
            at--;
        }
        CHECK_STEP(at > 0);
        sc_buf_fini(&value);
        struct state state = key->states[at - 1];
        struct sc_bitcask_meta meta = {0};
        (void)sc_bitcask_meta(f.store, name_of(key), hash_of(key), &meta, &f.position, f.why);
        state.version = meta.version; /* a touch leaves the value as it was */
        state.position = 0;
        key->states[0] = state;
        key->count = 1;
    }
}

static void step_power_failure(void)
{
    finish_commit();
    undo_uncommitted();
    fixture_kill(&f);
    lose_unsynced(f.dir);
    f.options.file_size_max = 4096u << any(4);
    fixture_open(&f);
    settle_for_what_is_there();
    /* Reported once: the next opening finds nothing wrong, and the same keys. */
    fixture_close(&f);
    open_again();
    CHECK_STEP(f.event_count == 0);
    check_all();
}

static void step_hint(void)
{
    uint64_t number;
    if (sc_bitcask_hint_pending(f.store, &number)) {
        sc_bitcask_hint_built(f.store, number, sc_bitcask_hint_build(f.store, number));
    }
}

/* ---- Merges ---- */

/* Operations in the middle of a merge. */
static void beside_merge(void *unused)
{
    (void)unused;
    if (any(10) == 0) {
        struct model_key *key = &model[any(KEYS)];
        if (any(3) == 0) {
            step_del(key);
        } else {
            step_put(key);
        }
        check_key(&model[any(KEYS)]);
    }
}

static void step_merge(void)
{
    struct merging m;
    finish_commit();
    merging_init(&m, &f);
    m.beside = beside_merge;
    m.stop_after = any(3) == 0 ? any(20) : 0;
    m.merge = sc_merge_alloc(f.store);
    sc_merge_configure(m.merge, &m.options);
    if (any(2) == 0) {
        sc_merge_ask(m.merge);
    }
    merging = true;
    enum sc_status status = merge_once(&m);
    merging = false;
    CHECK_STEP(status == SC_OK || status == SC_NOTFOUND || status == SC_UNAVAILABLE);
    sc_merge_free(m.merge);
}

/* Beside a fetch: anything to another key, or a commit. */
static void step_beside(void)
{
    struct model_key *key = &model[any(KEYS)];
    if (alone || any(2) == 0) {
        return;
    }
    if (key == fetching_for || any(3) == 0) {
        if (!merging) {
            step_commit();
        }
    } else if (any(3) == 0) {
        step_del(key);
    } else {
        step_put(key);
    }
}

static void take_step(void)
{
    struct model_key *key = &model[any(KEYS)];
    uint32_t what = any(1000);
    if (what < 400) {
        step_put(key);
    } else if (what < 500) {
        step_del(key);
    } else if (what < 550) {
        step_touch(key);
    } else if (what < 700) {
        check_key(key);
    } else if (what < 950) {
        step_commit();
    } else if (what < 960) {
        step_hint();
    } else if (what < 963) {
        step_clear();
    } else if (what < 968) {
        step_merge();
    } else if (what < 972) {
        check_all();
    } else if (what < 980) {
        step_reopen();
    } else if (what < 990) {
        step_kill();
    } else {
        step_power_failure();
    }
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

START_TEST(random_steps_agree_with_the_model)
{
    seed = setting("SEED", (uint64_t)_i + 1);
    random_state = seed * UINT64_C(0x9e3779b97f4a7c15);
    last_version = 0;
    under_way = NULL;
    quiet();
    fixture_init(&f);
    for (int i = 0; i < KEYS; i++) {
        model[i] = (struct model_key){.count = 1};
        (void)snprintf(model[i].name, sizeof model[i].name, "key-%0*d", 1 + i % 17, i);
    }
    open_again();
    unsigned steps = (unsigned)setting("STEPS", 3000);
    for (step = 0; step < steps; step++) {
        take_step();
    }
    finish_commit();
    check_all();
    fixture_fini(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model");
    TCase *tcase = tcase_create("model");
    tcase_add_loop_test(tcase, random_steps_agree_with_the_model, 0, 9 / STRIDE);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
