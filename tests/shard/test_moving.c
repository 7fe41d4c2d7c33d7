/* Slots move between two stores, step by step. Moves at random, with crashes: test_move_model.c. */
#include "tests/shard/move_driver.h"

#include "common/clock.h"
#include "shard/bitcask_impl.h"
#include "shard/frame.h"
#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/shard/merging.h"

#include <errno.h>
#include <inttypes.h>

#define KEYS 200

static struct fixture a, b;
static struct move_driver d;
static uint8_t all[SC_SLOT_COUNT / 8];
static uint8_t none[SC_SLOT_COUNT / 8];
static uint8_t odd[SC_SLOT_COUNT / 8]; /* every second slot */
static uint8_t even[SC_SLOT_COUNT / 8];
static const uint8_t cluster[16] = "a cluster";

static void open_end(unsigned end)
{
    fixture_open(d.ends[end].f);
    move_opened(&d, end);
}

static void close_end(unsigned end)
{
    move_closing(&d, end);
    fixture_close(d.ends[end].f);
}

static void kill_end(unsigned end)
{
    move_closing(&d, end);
    fixture_kill(d.ends[end].f);
}

#define OK(call)                                                                              \
    do {                                                                                      \
        enum sc_status ok_status = (call);                                                    \
        ck_assert_msg(ok_status == SC_OK, "%s: %d %s; %s %s", #call, ok_status, d.why, a.why, \
                      b.why);                                                                 \
    } while (0)

static void setup(void)
{
    memset(all, 0xff, sizeof all);
    memset(odd, 0xaa, sizeof odd);
    memset(even, 0x55, sizeof even);
    fixture_init(&a);
    fixture_init(&b);
    move_init(&d, &a, &b);
    open_end(0);
    open_end(1);
    OK(sc_bitcask_adopt(a.store, cluster, 1, a.why));
    OK(sc_bitcask_adopt(b.store, cluster, 2, b.why));
    OK(move_grant(&d, 0, 1, 1, all));
    OK(move_grant(&d, 1, 1, 1, none));
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    sc_clock_shift(0);
    move_fini(&d);
    fixture_fini(&a);
    fixture_fini(&b);
}

/* ---- Keys ---- */

static const char *key_of(unsigned i)
{
    static char key[32];
    (void)snprintf(key, sizeof key, "key-%u", i);
    return key;
}

static bool is_odd(const char *key)
{
    return sc_slot_of_key(sc_slice_str(key)) % 2 == 1;
}

static const char *value_of(unsigned i, const char *generation)
{
    static char value[400];
    int size = snprintf(value, sizeof value, "%s of %u ", generation, i);
    memset(value + size, 'v', i % 200);
    value[size + (int)(i % 200)] = '\0';
    return value;
}

static void put_all(struct fixture *f, const char *generation)
{
    for (unsigned i = 0; i < KEYS; i++) {
        (void)put(f, key_of(i), value_of(i, generation));
    }
}

/* The store has the keys of these slots, and no others. */
static void expect_keys(struct fixture *f, const uint8_t *slots, const char *generation)
{
    for (unsigned i = 0; i < KEYS; i++) {
        bool here = sc_bitcask_bit(slots, sc_slot_of_key(sc_slice_str(key_of(i))));
        expect(f, key_of(i), here ? value_of(i, generation) : NULL);
    }
    sc_keydir_check(f->store->keydir);
}

/* Moves every second slot from one end to the other. */
static void move_odd(unsigned from, uint64_t move, uint64_t epoch)
{
    OK(move_begin(&d, move, from, odd));
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, from, 1, epoch, from == 0 ? even : none));
    OK(move_grant(&d, 1 - from, 1, epoch, from == 0 ? odd : all));
}

static uint64_t version_of(struct fixture *f, const char *key)
{
    struct sc_bitcask_meta meta = {0};
    struct sc_slice k = sc_slice_str(key);
    OK(sc_bitcask_meta(f->store, k, sc_slot_hash(k), &meta, &f->position, f->why));
    return meta.version;
}

/* ---- A move ---- */

START_TEST(slots_move_with_all_that_is_in_them)
{
    put_all(&a, "first");
    uint64_t version = version_of(&a, key_of(3));
    move_odd(0, 1, 2);
    expect_keys(&a, even, "first");
    expect_keys(&b, odd, "first");
    ck_assert_uint_eq(version_of(is_odd(key_of(3)) ? &b : &a, key_of(3)), version);
    for (unsigned end = 0; end < 2; end++) {
        end == 0 ? close_end(end) : kill_end(end);
        open_end(end);
        ck_assert_uint_eq(d.ends[end].f->event_count, 0);
    }
    expect_keys(&a, even, "first");
    expect_keys(&b, odd, "first");
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        ck_assert(sc_bitcask_owns(a.store, slot) == (slot % 2 == 0));
        ck_assert(sc_bitcask_owns(b.store, slot) == (slot % 2 == 1));
    }
    ck_assert(!sc_bitcask_merges_held(a.store) && !sc_bitcask_merges_held(b.store));
}
END_TEST

START_TEST(what_is_written_meanwhile_moves_too)
{
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, odd));
    OK(move_step(&d));
    for (unsigned i = 0; i < KEYS; i += 3) {
        (void)put(&a, key_of(i), value_of(i, "second"));
    }
    for (unsigned i = 0; i < KEYS; i += 5) {
        (void)del(&a, key_of(i));
    }
    OK(move_step(&d));
    (void)put(&a, "new", "one");
    OK(move_to_end(&d));
    (void)put(&a, key_of(1), "last");
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, even));
    OK(move_grant(&d, 1, 1, 2, odd));
    for (unsigned i = 0; i < KEYS; i++) {
        struct fixture *owner = is_odd(key_of(i)) ? &b : &a;
        struct fixture *other = is_odd(key_of(i)) ? &a : &b;
        expect(owner, key_of(i),
               i == 1       ? "last"
               : i % 5 == 0 ? NULL
               : i % 3 == 0 ? value_of(i, "second")
                            : value_of(i, "first"));
        expect(other, key_of(i), NULL);
    }
    expect(is_odd("new") ? &b : &a, "new", "one");
}
END_TEST

START_TEST(the_source_serves_until_it_is_sealed_and_reads_until_the_grant)
{
    bool existed;
    int64_t result;
    uint64_t version;
    const struct sc_bitcask_write options = {0};
    put_all(&a, "first");
    unsigned i = 0;
    while (!is_odd(key_of(i))) {
        i++;
    }
    struct sc_slice key = sc_slice_str(key_of(i));
    uint64_t hash = sc_slot_hash(key);
    OK(move_begin(&d, 1, 0, odd));
    ck_assert_int_eq(sc_exporter_seal(d.ends[0].exporter, &d.seal, d.why), SC_BUSY);
    (void)put(&a, key_of(i), value_of(i, "second"));
    OK(move_to_end(&d));
    OK(sc_exporter_seal(d.ends[0].exporter, &d.seal, d.why));
    ck_assert_int_eq(
        sc_bitcask_put(a.store, key, hash, key, &options, &version, &a.position, a.why), SC_BUSY);
    ck_assert_int_eq(sc_bitcask_del(a.store, key, hash, &options, &existed, &a.position, a.why),
                     SC_BUSY);
    ck_assert_int_eq(sc_bitcask_touch(a.store, key, hash, NULL, &version, &a.position, a.why),
                     SC_BUSY);
    ck_assert_int_eq(sc_bitcask_incr(a.store, key, hash, 1, &result, &a.position, a.why), SC_BUSY);
    ck_assert_int_eq(sc_bitcask_clear(a.store, all, &version, &a.position, a.why), SC_BUSY);
    expect(&a, key_of(i), value_of(i, "second"));
    for (unsigned other = 0; other < KEYS; other++) {
        if (!is_odd(key_of(other))) {
            (void)put(&a, key_of(other), value_of(other, "third"));
        }
    }
    /* Begun again it is not sealed any more, and goes on where it was. */
    struct sc_exporter_seal before = d.seal;
    OK(move_begin(&d, 1, 0, odd));
    (void)put(&a, key_of(i), value_of(i, "fourth"));
    OK(move_finish(&d));
    ck_assert_uint_eq(d.seal.count, before.count);
    ck_assert_uint_ne(d.seal.digest, before.digest);
    ck_assert_uint_gt(d.seal.version, before.version);
    expect(&a, key_of(i), value_of(i, "fourth"));
    OK(move_grant(&d, 0, 1, 2, even));
    expect(&a, key_of(i), NULL);
    OK(move_grant(&d, 1, 1, 2, odd));
    expect(&b, key_of(i), value_of(i, "fourth"));
}
END_TEST

START_TEST(versions_go_on_from_where_they_were)
{
    sc_clock_shift(INT64_C(3600) * 1000000); /* of the source: an hour ahead */
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, all));
    OK(move_to_end(&d));
    for (unsigned i = 0; i < KEYS; i++) {
        (void)del(&a, key_of(i));
    }
    uint64_t last = a.store->clock.last;
    OK(move_finish(&d));
    sc_clock_shift(0);
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 1, 1, 2, all));
    /* Nothing is left that would tell, but the manifest. */
    close_end(1);
    open_end(1);
    for (unsigned i = 0; i < KEYS; i++) {
        uint64_t version = put(&b, key_of(i), "again");
        ck_assert_uint_gt(version, last);
        last = version;
    }
}
END_TEST

START_TEST(keys_that_expire_meanwhile_stay_gone)
{
    const uint64_t ttl_ms = 5000;
    uint64_t version;
    const struct sc_bitcask_write options = {.ttl_ms = &ttl_ms};
    put_all(&a, "first");
    for (unsigned i = 0; i < KEYS; i += 2) {
        struct sc_slice key = sc_slice_str(key_of(i));
        OK(sc_bitcask_put(a.store, key, sc_slot_hash(key), sc_slice_str("short"), &options,
                          &version, &a.position, a.why));
    }
    commit(&a);
    OK(move_begin(&d, 1, 0, all));
    OK(move_step(&d));
    sc_clock_shift(INT64_C(10) * 1000000);
    (void)sc_bitcask_sweep(a.store, SC_SLOT_COUNT);
    (void)sc_bitcask_sweep(b.store, SC_SLOT_COUNT);
    ck_assert_uint_eq(sc_bitcask_count(a.store, all, &a.position), KEYS / 2);
    (void)put(&a, key_of(2), "new");
    OK(move_to_end(&d));
    OK(move_finish(&d));
    ck_assert_uint_eq(d.seal.count, KEYS);
    /* The target's clock is behind: what was gone at the source stays gone. */
    sc_clock_shift(0);
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 1, 1, 2, all));
    for (unsigned i = 0; i < KEYS; i++) {
        expect(&b, key_of(i), i == 2 ? "new" : i % 2 == 0 ? NULL : value_of(i, "first"));
    }
    ck_assert_uint_eq(sc_bitcask_count(b.store, all, &b.position), KEYS / 2 + 1);
    sc_keydir_check(b.store->keydir);
}
END_TEST

START_TEST(nothing_expires_while_it_is_sealed)
{
    const uint64_t ttl_ms = 5000;
    uint64_t version;
    const struct sc_bitcask_write options = {.ttl_ms = &ttl_ms};
    struct sc_slice key = sc_slice_str("short");
    OK(sc_bitcask_put(a.store, key, sc_slot_hash(key), sc_slice_str("value"), &options, &version,
                      &a.position, a.why));
    OK(move_begin(&d, 1, 0, all));
    OK(move_to_end(&d));
    OK(sc_exporter_seal(d.ends[0].exporter, &d.seal, d.why));
    sc_clock_shift(INT64_C(10) * 1000000);
    /* The target may be behind: it must not have what the source said was gone. */
    expect(&a, "short", "value");
    (void)sc_bitcask_sweep(a.store, SC_SLOT_COUNT);
    ck_assert_uint_eq(sc_bitcask_count(a.store, all, &a.position), 1);
    OK(move_abort(&d));
    expect(&a, "short", NULL);
    ck_assert_uint_eq(sc_bitcask_count(a.store, all, &a.position), 0);
}
END_TEST

START_TEST(a_clear_moves_cut_to_the_slots)
{
    uint64_t removed;
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, odd));
    OK(move_to_end(&d));
    OK(sc_bitcask_clear(a.store, all, &removed, &a.position, a.why));
    ck_assert_uint_eq(removed, KEYS);
    commit(&a);
    (void)put(&a, key_of(7), value_of(7, "second"));
    OK(move_finish(&d));
    ck_assert_uint_eq(d.seal.count, is_odd(key_of(7)) ? 1 : 0);
    OK(move_grant(&d, 0, 1, 2, even));
    OK(move_grant(&d, 1, 1, 2, odd));
    close_end(1);
    open_end(1);
    for (unsigned i = 0; i < KEYS; i++) {
        expect(&b, key_of(i), i == 7 && is_odd(key_of(7)) ? value_of(7, "second") : NULL);
        expect(&a, key_of(i), i == 7 && !is_odd(key_of(7)) ? value_of(7, "second") : NULL);
    }
}
END_TEST

/* ---- There and back ---- */

START_TEST(nothing_comes_back_when_a_slot_comes_back)
{
    put_all(&a, "first");
    move_odd(0, 1, 2);
    for (unsigned i = 0; i < KEYS; i++) {
        if (is_odd(key_of(i)) && i % 3 == 0) {
            (void)del(&b, key_of(i));
        }
    }
    move_odd(1, 2, 3);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            expect(&a, key_of(i), is_odd(key_of(i)) && i % 3 == 0 ? NULL : value_of(i, "first"));
            expect(&b, key_of(i), NULL);
        }
        close_end(0);
        open_end(0);
    }
}
END_TEST

/* Merges write files with larger numbers than that of the active one: a fence must lie behind them
 * all the same. */
START_TEST(nothing_comes_back_out_of_merged_files)
{
    struct merging m[2];
    a.options.file_size_max = b.options.file_size_max = 4096;
    close_end(0);
    close_end(1);
    open_end(0);
    open_end(1);
    merging_init(&m[0], &a);
    merging_init(&m[1], &b);
    for (int i = 0; i < 2; i++) {
        m[i].merge = sc_merge_alloc(d.ends[i].f->store);
        sc_merge_configure(m[i].merge, &m[i].options);
    }
    put_all(&a, "zeroth");
    put_all(&a, "first");
    compact(&m[0]);
    put_all(&a, "second");
    compact(&m[0]);
    for (uint64_t round = 0; round < 3; round++) {
        move_odd(0, 2 * round + 1, 2 * round + 2);
        compact(&m[0]);
        compact(&m[1]);
        for (unsigned i = 0; i < KEYS; i++) {
            if (is_odd(key_of(i)) && i % 3 == round) {
                (void)del(&b, key_of(i));
            }
        }
        compact(&m[1]);
        move_odd(1, 2 * round + 2, 2 * round + 3);
        for (unsigned i = 0; i < KEYS; i++) {
            expect(&a, key_of(i),
                   is_odd(key_of(i)) && i % 3 <= round ? NULL : value_of(i, "second"));
        }
        compact(&m[0]);
        for (int i = 0; i < 2; i++) {
            sc_merge_free(m[i].merge);
            round == 1 ? kill_end((unsigned)i) : close_end((unsigned)i);
            open_end((unsigned)i);
            m[i].merge = sc_merge_alloc(d.ends[i].f->store);
            sc_merge_configure(m[i].merge, &m[i].options);
        }
        for (unsigned i = 0; i < KEYS; i++) {
            expect(&a, key_of(i),
                   is_odd(key_of(i)) && i % 3 <= round ? NULL : value_of(i, "second"));
            expect(&b, key_of(i), NULL);
        }
    }
    sc_merge_free(m[0].merge);
    sc_merge_free(m[1].merge);
}
END_TEST

/* A put that has expired is turned into a tombstone by a merge: not if it lies before a fence,
 * where it hides nothing, since its copy would lie behind and hide what has come back. */
START_TEST(merges_copy_nothing_that_is_fenced)
{
    const uint64_t ttl_ms = 5000;
    uint64_t version;
    const struct sc_bitcask_write options = {.ttl_ms = &ttl_ms};
    struct merging m;
    struct sc_bitcask_stats stats;
    for (unsigned i = 0; i < KEYS; i++) {
        struct sc_slice key = sc_slice_str(key_of(i));
        OK(sc_bitcask_put(a.store, key, sc_slot_hash(key), sc_slice_str("short"), &options,
                          &version, &a.position, a.why));
    }
    commit(&a);
    (void)del(&a, key_of(0));
    OK(move_begin(&d, 1, 0, all));
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, none));
    merging_init(&m, &a);
    m.merge = sc_merge_alloc(a.store);
    sc_merge_configure(m.merge, &m.options);
    compact(&m);
    sc_bitcask_stats(a.store, &stats);
    ck_assert_uint_eq(stats.tombstones, 0);
    ck_assert_uint_lt(stats.file_bytes, 4096);
    sc_merge_free(m.merge);
}
END_TEST

/* The end of the log was lost with the fence: what is written then must not be taken for dead. */
START_TEST(nothing_is_written_before_a_fence)
{
    char path[512];
    put_all(&a, "first");
    put_all(&b, "of no slot"); /* so that the fence lies far behind the beginning of the file */
    move_odd(0, 1, 2);
    close_end(1);
    data_path(b.dir, 0, path);
    ck_assert_int_eq(truncate(path, 5000), 0);
    for (size_t i = 1; i < data_files(b.dir); i++) {
        data_path(b.dir, i, path);
        ck_assert_int_eq(truncate(path, SC_SEGMENT_HEADER_SIZE), 0);
    }
    for (int number = 1; number < 10; number++) {
        (void)snprintf(path, sizeof path, "%s/%010d.hint", b.dir, number);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof path, "%s/DURABLE", b.dir);
    ck_assert_int_eq(unlink(path), 0);
    quiet();
    open_end(1);
    for (unsigned i = 0; i < KEYS; i++) {
        if (is_odd(key_of(i))) {
            (void)put(&b, key_of(i), value_of(i, "second"));
        }
    }
    close_end(1);
    open_end(1);
    for (unsigned i = 0; i < KEYS; i++) {
        if (is_odd(key_of(i))) {
            expect(&b, key_of(i), value_of(i, "second"));
        }
    }
}
END_TEST

/* ---- Going on ---- */

START_TEST(a_copy_goes_on_after_a_restart_of_either_side)
{
    for (unsigned i = 0; i < 40 * KEYS; i++) {
        (void)put(&a, key_of(i), value_of(i, "first"));
    }
    OK(move_begin(&d, 1, 0, all));
    unsigned steps = 0;
    while (d.page.gap == SC_EXPORTER_GAP_UNKNOWN || steps == 0) {
        OK(move_step(&d));
        if (++steps % 3 == 0) {
            close_end(0);
            open_end(0);
            ck_assert(sc_bitcask_merges_held(a.store));
            ck_assert(!sc_exporter_has(d.ends[0].exporter, 1));
            struct sc_buf cursor = {0};
            struct sc_buf mark = {0};
            uint64_t keys;
            uint64_t bytes;
            sc_buf_append_slice(&cursor, sc_buf_slice(&d.cursor));
            OK(sc_exporter_begin(d.ends[0].exporter, 1, all, sc_buf_slice(&d.mark), &mark, &keys,
                                 &bytes, d.why));
            ck_assert(sc_slice_equal(sc_buf_slice(&mark), sc_buf_slice(&d.mark)));
            ck_assert_uint_eq(keys, 40 * KEYS);
            sc_buf_fini(&cursor);
            sc_buf_fini(&mark);
        }
        if (steps % 4 == 0) {
            kill_end(1);
            open_end(1);
            ck_assert(sc_bitcask_merges_held(b.store));
            OK(move_begin(&d, 1, 0, all)); /* from the cursor that is durable: none yet */
            ck_assert_uint_eq(d.cursor.size, 0);
            break;
        }
    }
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 1, 1, 2, all));
    for (unsigned i = 0; i < 40 * KEYS; i++) {
        expect(&b, key_of(i), value_of(i, "first"));
    }
}
END_TEST

START_TEST(the_cursor_is_durable_every_64_MiB)
{
    struct sc_buf large = {0};
    const struct sc_bitcask_write options = {0};
    uint64_t version;
    memset(sc_buf_reserve(&large, 1 << 20), 'x', 1 << 20);
    large.size = 1 << 20;
    for (unsigned i = 0; i < 80; i++) {
        struct sc_slice key = sc_slice_str(key_of(i));
        OK(sc_bitcask_put(a.store, key, sc_slot_hash(key), sc_buf_slice(&large), &options, &version,
                          &a.position, a.why));
        commit(&a);
    }
    OK(move_begin(&d, 1, 0, all));
    while (d.page.gap == SC_EXPORTER_GAP_UNKNOWN || d.page.cursor.size == 0) {
        OK(move_step(&d));
        ck_assert_uint_le(d.page.frame.size, (1 << 20) + 4096);
    }
    kill_end(1);
    open_end(1);
    OK(move_begin(&d, 1, 0, all));
    ck_assert_uint_gt(d.cursor.size, 0);
    unsigned again = 0;
    while (move_step(&d) == SC_OK && d.page.frame.size > 0) {
        again++;
    }
    ck_assert_uint_lt(again, 20);
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 1, 1, 2, all));
    ck_assert_uint_eq(sc_bitcask_count(b.store, all, &b.position), 80);
    sc_buf_fini(&large);
}
END_TEST

START_TEST(without_a_durable_cursor_it_begins_with_nothing)
{
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, odd));
    OK(move_to_end(&d));
    commit(&b); /* all has arrived, and is on disk */
    kill_end(1);
    open_end(1);
    for (unsigned i = 0; i < KEYS; i += 2) {
        (void)del(&a, key_of(i)); /* before the mark with which the source begins again */
    }
    OK(move_begin(&d, 1, 0, odd));
    ck_assert_uint_eq(d.cursor.size, 0);
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, even));
    OK(move_grant(&d, 1, 1, 2, odd));
    for (unsigned i = 0; i < KEYS; i++) {
        expect(is_odd(key_of(i)) ? &b : &a, key_of(i), i % 2 == 0 ? NULL : value_of(i, "first"));
    }
}
END_TEST

START_TEST(what_is_ready_is_not_begun_anew)
{
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, odd));
    OK(move_to_end(&d));
    OK(move_finish(&d));
    for (unsigned round = 0; round < 2; round++) {
        struct sc_buf cursor = {0};
        struct sc_buf mark = {0};
        OK(sc_importer_begin(d.ends[1].importer, 1, odd, 0, 0, &cursor, &mark, d.why));
        ck_assert(sc_slice_equal(sc_buf_slice(&cursor), sc_buf_slice(&d.cursor)));
        ck_assert(sc_slice_equal(sc_buf_slice(&mark), sc_buf_slice(&d.mark)));
        sc_buf_fini(&cursor);
        sc_buf_fini(&mark);
        kill_end(1);
        open_end(1);
    }
    OK(move_grant(&d, 0, 1, 2, even));
    OK(move_grant(&d, 1, 1, 2, odd));
    expect_keys(&b, odd, "first");
}
END_TEST

START_TEST(nothing_at_all_can_be_ready_too)
{
    struct sc_buf nothing = {0};
    OK(sc_importer_begin(d.ends[1].importer, 1, odd, 0, 0, &nothing, &nothing, d.why));
    OK(sc_importer_finish(d.ends[1].importer, 0, 0, 1, d.why));
    OK(sc_importer_begin(d.ends[1].importer, 1, odd, 0, 0, &nothing, &nothing, d.why));
    ck_assert_uint_eq(nothing.size, 0);
    OK(move_grant(&d, 1, 1, 2, odd));
}
END_TEST

START_TEST(another_mark_makes_it_start_over)
{
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, all));
    OK(move_to_end(&d));
    OK(sc_manifest_import_progress(b.store->manifest, sc_buf_slice(&d.cursor),
                                   sc_buf_slice(&d.mark), d.why));
    OK(sc_exporter_end(d.ends[0].exporter, 1, d.why));
    ck_assert(!sc_bitcask_merges_held(a.store)); /* so the log may change now */
    OK(move_begin(&d, 1, 0, all));
    ck_assert_uint_eq(d.cursor.size, 0);
    (void)del(&a, key_of(5));
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 1, 1, 2, all));
    for (unsigned i = 0; i < KEYS; i++) {
        expect(&b, key_of(i), i == 5 ? NULL : value_of(i, "first"));
    }
}
END_TEST

START_TEST(frames_that_come_twice_or_again_do_no_harm)
{
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, all));
    OK(move_step(&d));
    struct sc_buf early = {0};
    sc_buf_append_slice(&early, sc_buf_slice(&d.page.frame));
    ck_assert_uint_gt(early.size, 0);
    for (unsigned i = 0; i < KEYS; i++) {
        if (i % 2 == 0) {
            (void)put(&a, key_of(i), value_of(i, "second"));
        } else {
            (void)del(&a, key_of(i));
        }
    }
    OK(move_to_end(&d));
    OK(sc_importer_write(d.ends[1].importer, sc_buf_slice(&d.cursor), sc_buf_slice(&d.mark),
                         sc_buf_slice(&early), d.why));
    OK(move_finish(&d));
    OK(move_finish(&d)); /* the answer was lost */
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 1, 1, 2, all));
    OK(move_grant(&d, 1, 1, 2, all));
    OK(move_abort(&d)); /* too late: it says nothing any more */
    for (unsigned i = 0; i < KEYS; i++) {
        expect(&b, key_of(i), i % 2 == 0 ? value_of(i, "second") : NULL);
    }
    sc_buf_fini(&early);
}
END_TEST

START_TEST(an_aborted_move_leaves_nothing_behind)
{
    put_all(&a, "first");
    for (uint64_t round = 1; round < 4; round++) {
        OK(move_begin(&d, round, 0, odd));
        OK(move_to_end(&d));
        if (round > 1) {
            OK(move_finish(&d));
        }
        if (round > 2) {
            close_end(1);
            open_end(1);
        }
        OK(move_abort(&d));
        expect_keys(&a, all, "first");
        expect_keys(&b, none, "first");
        ck_assert(!sc_bitcask_merges_held(a.store) && !sc_bitcask_merges_held(b.store));
        (void)put(&a, key_of(1), value_of(1, "first"));
        ck_assert_int_eq(move_grant(&d, 1, 1, 1 + round, odd), SC_DENIED);
    }
    close_end(1);
    open_end(1);
    expect_keys(&b, none, "first");
    move_odd(0, 9, 9);
    expect_keys(&b, odd, "first");
}
END_TEST

/* ---- What is refused ---- */

START_TEST(a_frame_that_is_damaged_anywhere_is_refused)
{
    put_all(&a, "first");
    uint64_t removed;
    OK(move_begin(&d, 1, 0, odd));
    OK(sc_bitcask_clear(a.store, all, &removed, &a.position, a.why));
    (void)put(&a, key_of(2), "two");
    commit(&a);
    OK(sc_exporter_read(d.ends[0].exporter, sc_buf_slice(&d.cursor), &d.page, d.why));
    struct sc_buf frame = {0};
    struct sc_record record = {5,    0, SC_RECORD_PUT, sc_slice_str("a key"), sc_slice_str("value"),
                               false};
    for (char c = 'a'; !is_odd(record.key.data); c++) {
        static char key[8];
        (void)snprintf(key, sizeof key, "key %c", c);
        record.key = sc_slice_str(key);
    }
    sc_frame_put(&frame, &record);
    record.kind = SC_RECORD_TOMBSTONE;
    record.value.size = 0;
    record.version = 6;
    sc_frame_put(&frame, &record);
    for (size_t i = 0; i < frame.size; i++) {
        bool padding = i >= 32 + 10 && i < 48;
        frame.data[i] ^= 0x10;
        enum sc_status status =
            sc_importer_write(d.ends[1].importer, sc_buf_slice(&d.cursor), sc_buf_slice(&d.mark),
                              sc_buf_slice(&frame), d.why);
        ck_assert_msg(status == SC_CORRUPT || (padding && status == SC_OK) ||
                          (i >= 48 + 32 + 5 && status == SC_OK),
                      "byte %zu: %d", i, status);
        frame.data[i] ^= 0x10;
    }
    for (size_t size = 1; size < frame.size; size++) {
        if (size != 48) {
            ck_assert_int_eq(sc_importer_write(d.ends[1].importer, sc_buf_slice(&d.cursor),
                                               sc_buf_slice(&d.mark), sc_slice(frame.data, size),
                                               d.why),
                             SC_CORRUPT);
        }
    }
    sc_buf_fini(&frame);
}
END_TEST

START_TEST(records_of_other_slots_are_refused)
{
    struct sc_buf frame = {0};
    uint8_t clear[4];
    OK(move_begin(&d, 1, 0, odd));
    for (unsigned i = 0; i < KEYS; i++) {
        struct sc_record record = {
            5, 0, SC_RECORD_PUT, sc_slice_str(key_of(i)), sc_slice_str("value"), false};
        frame.size = 0;
        sc_frame_put(&frame, &record);
        ck_assert_int_eq(sc_importer_write(d.ends[1].importer, sc_buf_slice(&d.cursor),
                                           sc_buf_slice(&d.mark), sc_buf_slice(&frame), d.why),
                         is_odd(key_of(i)) ? SC_OK : SC_CORRUPT);
    }
    frame.size = 0;
    sc_record_clear_key(clear, 1, 3);
    struct sc_record record = {6, 0, SC_RECORD_CLEAR, sc_slice(clear, 4), sc_slice(NULL, 0), false};
    sc_frame_put(&frame, &record);
    ck_assert_int_eq(sc_importer_write(d.ends[1].importer, sc_buf_slice(&d.cursor),
                                       sc_buf_slice(&d.mark), sc_buf_slice(&frame), d.why),
                     SC_CORRUPT);
    sc_buf_fini(&frame);
}
END_TEST

START_TEST(what_is_not_all_there_is_refused)
{
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, odd));
    OK(move_to_end(&d));
    OK(sc_exporter_seal(d.ends[0].exporter, &d.seal, d.why));
    struct sc_importer *importer = d.ends[1].importer;
    ck_assert_int_eq(
        sc_importer_finish(importer, d.seal.count + 1, d.seal.digest, d.seal.version, d.why),
        SC_CORRUPT);
    ck_assert_int_eq(
        sc_importer_finish(importer, d.seal.count, d.seal.digest ^ 1, d.seal.version, d.why),
        SC_CORRUPT);
    ck_assert_int_eq(move_grant(&d, 1, 1, 2, odd), SC_DENIED);
    OK(move_finish(&d));
    /* Written to after all, it is not ready any more. */
    struct sc_buf frame = {0};
    struct sc_record record = {d.seal.version + 1,    0,    SC_RECORD_PUT, sc_slice_str("late"),
                               sc_slice_str("value"), false};
    unsigned n = 0;
    while (!is_odd(record.key.data)) {
        static char key[16];
        (void)snprintf(key, sizeof key, "late-%u", n++);
        record.key = sc_slice_str(key);
    }
    sc_frame_put(&frame, &record);
    OK(sc_importer_write(importer, sc_buf_slice(&d.cursor), sc_buf_slice(&d.mark),
                         sc_buf_slice(&frame), d.why));
    ck_assert_int_eq(move_grant(&d, 1, 1, 2, odd), SC_DENIED);
    close_end(1);
    open_end(1);
    ck_assert_int_eq(move_grant(&d, 1, 1, 2, odd), SC_DENIED);
    sc_buf_fini(&frame);
}
END_TEST

START_TEST(only_what_is_here_can_leave)
{
    ck_assert_int_eq(move_begin(&d, 1, 1, odd), SC_DENIED); /* from b to a, which has them */
    struct sc_buf mark = {0};
    uint64_t number;
    ck_assert_int_eq(sc_exporter_begin(d.ends[1].exporter, 1, odd, sc_slice(NULL, 0), &mark,
                                       &number, &number, d.why),
                     SC_DENIED);
    ck_assert(!sc_bitcask_merges_held(b.store));
    sc_buf_fini(&mark);
}
END_TEST

START_TEST(a_damaged_record_of_a_live_key_ends_the_copy)
{
    char path[512];
    put_all(&a, "first");
    (void)put(&a, key_of(9), value_of(9, "second"));
    close_end(0);
    data_path(a.dir, 0, path);
    struct sc_buf bytes = file_read(path);
    const char *needle = "first of 9 ";
    uint8_t *found = memmem(bytes.data, bytes.size, needle, strlen(needle));
    ck_assert_ptr_nonnull(found);
    found[1] ^= 1; /* of a record that nobody needs any more */
    file_write(path, bytes.data, bytes.size);
    quiet();
    open_end(0);
    OK(move_begin(&d, 1, 0, all));
    OK(move_to_end(&d));
    OK(move_abort(&d));
    close_end(0);
    needle = "second of 9 ";
    found = memmem(bytes.data, bytes.size, needle, strlen(needle));
    ck_assert_ptr_nonnull(found);
    found[1] ^= 1; /* of one that somebody does */
    file_write(path, bytes.data, bytes.size);
    sc_buf_fini(&bytes);
    open_end(0);
    OK(move_begin(&d, 2, 0, all));
    ck_assert_int_eq(move_to_end(&d), SC_CORRUPT);
    ck_assert_ptr_nonnull(strstr(d.why, "key-9"));
    ck_assert_ptr_nonnull(strstr(d.why, "0000000001.data"));
    OK(move_abort(&d));
    expect(&a, key_of(8), value_of(8, "first"));
}
END_TEST

/* Stops the target in the middle of a move, damages a record that has arrived, and goes on: what is
 * damaged is not taken over. `of`: which byte, from where the value begins. */
static void damage_what_arrived(uint64_t move, int of)
{
    char path[512];
    sc_importer_save_after(d.ends[1].importer, 1);
    OK(move_begin(&d, move, 0, all));
    OK(move_to_end(&d));
    (void)put(&a, "more", "of it");
    OK(move_to_end(&d)); /* a cursor behind all before is durable */
    close_end(1);
    data_path(b.dir, data_files(b.dir) - 1, path);
    struct sc_buf bytes = file_read(path);
    const char *needle = "first of 9 ";
    uint8_t *found = memmem(bytes.data, bytes.size, needle, strlen(needle));
    for (uint8_t *next = found; next != NULL;) { /* the last copy of it */
        found = next;
        size_t before = (size_t)(next + 1 - bytes.data);
        next = memmem(next + 1, bytes.size - before, needle, strlen(needle));
    }
    ck_assert_ptr_nonnull(found);
    found[of] ^= 1;
    file_write(path, bytes.data, bytes.size);
    sc_buf_fini(&bytes);
    for (int number = 1; number < 20; number++) {
        (void)snprintf(path, sizeof path, "%s/%010d.hint", b.dir, number);
        (void)unlink(path);
    }
    open_end(1);
    OK(move_begin(&d, move, 0, all));
    ck_assert_uint_gt(d.cursor.size, 0);
    ck_assert_int_eq(move_finish(&d), SC_CORRUPT);
    OK(move_abort(&d));
    expect_keys(&a, all, "first");
}

START_TEST(what_is_damaged_at_the_target_is_not_taken_over)
{
    quiet();
    put_all(&a, "first");
    damage_what_arrived(1, 3);
    ck_assert_ptr_nonnull(strstr(d.why, "damaged"));
    damage_what_arrived(2, -8); /* in its key, or before it */
    OK(move_begin(&d, 3, 0, all));
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 1, 1, 2, all));
    expect_keys(&b, all, "first");
}
END_TEST

START_TEST(cursors_of_others_are_refused)
{
    static const char *const cursors[] = {"\x03",
                                          "\x02",
                                          "\x01short",
                                          "\x01"
                                          "12345678"
                                          "not its hash",
                                          "\x02\x01\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0",
                                          "\x02\x01\0\0\0\0\0\0\0\x03\x10\0\0\0\0\0\0"};
    static const size_t sizes[] = {1, 1, 6, 21, 17, 17};
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, all));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ck_assert_int_eq(
            sc_exporter_read(d.ends[0].exporter, sc_slice(cursors[i], sizes[i]), &d.page, d.why),
            SC_MISMATCH);
    }
}
END_TEST

START_TEST(a_target_without_room_refuses)
{
    struct sc_buf nothing = {0};
    ck_assert_int_eq(sc_importer_begin(d.ends[1].importer, 1, odd, UINT64_C(1) << 60, 5, &nothing,
                                       &nothing, d.why),
                     SC_IO);
    ck_assert_ptr_nonnull(strstr(d.why, "free"));
    close_end(1);
    b.options.max_memory = 2 << 20;
    open_end(1);
    ck_assert_int_eq(
        sc_importer_begin(d.ends[1].importer, 1, odd, 5, 100000, &nothing, &nothing, d.why), SC_IO);
    ck_assert_ptr_nonnull(strstr(d.why, "--max-memory"));
    ck_assert(!sc_bitcask_merges_held(b.store));
    sc_buf_fini(&nothing);
}
END_TEST

/* ---- Failures ---- */

/* Every system call fails once, at either side: what is answered is an error or the truth, and the
 * source has everything. */
START_TEST(any_system_call_may_fail)
{
    unsigned failed = 0;
    uint64_t call = 1;
    bool done = false;
    quiet();
    put_all(&a, "first");
    for (; !done; call++) {
        uint64_t move = call;
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        enum sc_status status = move_begin(&d, move, 0, odd);
        if (status == SC_OK) {
            status = move_to_end(&d);
        }
        if (status == SC_OK) {
            (void)sc_bitcask_commit(a.store, false);
            status = move_finish(&d);
        }
        done = sc_io_fault(0, 0, 0, false) < call;
        failed += status != SC_OK;
        ck_assert(status == SC_OK || status == SC_IO);
        bool broken = sc_bitcask_failed(a.store) != NULL || sc_bitcask_failed(b.store) != NULL;
        if (broken || call % 3 == 0) {
            for (unsigned end = 0; end < 2; end++) {
                move_closing(&d, end);
                (void)sc_bitcask_close(d.ends[end].f->store);
                open_end(end);
            }
        }
        d.move = move;
        d.from = 0;
        OK(move_abort(&d));
        expect_keys(&a, all, "first");
        expect_keys(&b, none, "first");
    }
    ck_assert_uint_gt(failed, 10);
    move_odd(0, call + 1, 2);
    expect_keys(&b, odd, "first");
}
END_TEST

START_TEST(a_store_that_takes_no_writes_can_only_be_read)
{
    quiet();
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, odd));
    OK(move_to_end(&d));
    (void)put(&a, key_of(0), "unsynced");
    (void)sc_io_fault(SC_IO_SYNC, 1, EIO, true);
    ck_assert_int_eq(move_to_end(&d), SC_IO);
    (void)sc_io_fault(0, 0, 0, false);
    ck_assert_ptr_nonnull(sc_bitcask_failed(a.store));
    ck_assert_int_eq(sc_exporter_seal(d.ends[0].exporter, &d.seal, d.why), SC_IO);
    ck_assert(!a.store->moving.sealed);
    expect(&a, key_of(1), value_of(1, "first"));
    move_closing(&d, 0);
    (void)sc_bitcask_close(a.store);
    open_end(0);
    OK(move_begin(&d, 1, 0, odd));
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, even));
    OK(move_grant(&d, 1, 1, 2, odd));
    expect(is_odd(key_of(1)) ? &b : &a, key_of(1), value_of(1, "first"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("moving");
    TCase *t = tcase_create("moving");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, slots_move_with_all_that_is_in_them);
    tcase_add_test(t, what_is_written_meanwhile_moves_too);
    tcase_add_test(t, the_source_serves_until_it_is_sealed_and_reads_until_the_grant);
    tcase_add_test(t, versions_go_on_from_where_they_were);
    tcase_add_test(t, keys_that_expire_meanwhile_stay_gone);
    tcase_add_test(t, nothing_expires_while_it_is_sealed);
    tcase_add_test(t, a_clear_moves_cut_to_the_slots);
    tcase_add_test(t, nothing_comes_back_when_a_slot_comes_back);
    tcase_add_test(t, nothing_comes_back_out_of_merged_files);
    tcase_add_test(t, merges_copy_nothing_that_is_fenced);
    tcase_add_test(t, nothing_is_written_before_a_fence);
    tcase_add_test(t, a_copy_goes_on_after_a_restart_of_either_side);
    tcase_add_test(t, the_cursor_is_durable_every_64_MiB);
    tcase_add_test(t, without_a_durable_cursor_it_begins_with_nothing);
    tcase_add_test(t, what_is_ready_is_not_begun_anew);
    tcase_add_test(t, nothing_at_all_can_be_ready_too);
    tcase_add_test(t, another_mark_makes_it_start_over);
    tcase_add_test(t, frames_that_come_twice_or_again_do_no_harm);
    tcase_add_test(t, an_aborted_move_leaves_nothing_behind);
    tcase_add_test(t, a_frame_that_is_damaged_anywhere_is_refused);
    tcase_add_test(t, records_of_other_slots_are_refused);
    tcase_add_test(t, what_is_not_all_there_is_refused);
    tcase_add_test(t, only_what_is_here_can_leave);
    tcase_add_test(t, a_damaged_record_of_a_live_key_ends_the_copy);
    tcase_add_test(t, what_is_damaged_at_the_target_is_not_taken_over);
    tcase_add_test(t, cursors_of_others_are_refused);
    tcase_add_test(t, a_target_without_room_refuses);
    tcase_add_test(t, any_system_call_may_fail);
    tcase_add_test(t, a_store_that_takes_no_writes_can_only_be_read);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
