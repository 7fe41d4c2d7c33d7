/* What is in a slot moves with it, as it is when the move ends, and nothing comes back. Moves at
 * random, with crashes: test_move_model.c. */
#include "common/clock.h"
#include "shard/bitcask_impl.h"
#include "tests/check_main.h"
#include "tests/shard/merging.h"
#include "tests/shard/move_pair.h"

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

int main(void)
{
    Suite *suite = suite_create("moving keys");
    TCase *t = tcase_create("moving keys");
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
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
