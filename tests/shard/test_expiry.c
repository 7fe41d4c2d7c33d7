/* Expiry: gone at once, gone for good, whatever the clock does; and the limit on memory. */
#include "tests/shard/merging.h"

#include "common/clock.h"
#include "tests/check_main.h"

#define HOUR_MS (UINT64_C(3600) * 1000)
#define DAY_US (INT64_C(86400) * 1000000)

static struct fixture f;
static struct merging m;

static void setup(void)
{
    fixture_init(&f);
    f.options.file_size_max = 4096;
    merging_init(&m, &f);
    merging_open(&m);
}

static void teardown(void)
{
    sc_clock_shift(0);
    sc_merge_free(m.merge);
    fixture_fini(&f);
}

static enum sc_status put_ttl(const char *key, const char *value, uint64_t ttl_ms)
{
    struct sc_slice k = sc_slice_str(key);
    const struct sc_bitcask_write options = {.ttl_ms = ttl_ms > 0 ? &ttl_ms : NULL};
    uint64_t version;
    enum sc_status status = sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice_str(value),
                                           &options, &version, &f.position, f.why);
    commit(&f);
    return status;
}

static uint64_t ttl_of(const char *key)
{
    struct sc_slice k = sc_slice_str(key);
    struct sc_bitcask_meta meta;
    ck_assert_int_eq(sc_bitcask_meta(f.store, k, sc_slot_hash(k), &meta, &f.position, f.why),
                     SC_OK);
    ck_assert(meta.has_ttl);
    return meta.ttl_ms;
}

static uint64_t count(void)
{
    return sc_bitcask_count(f.store, NULL, &f.position);
}

/* ---- The clock ---- */

START_TEST(expired_key_is_absent_at_once)
{
    ck_assert_int_eq(put_ttl("key", "value", HOUR_MS), SC_OK);
    expect(&f, "key", "value");
    sc_clock_shift(DAY_US);
    expect(&f, "key", NULL);
    ck_assert(!del(&f, "key"));
    ck_assert_uint_eq(count(), 0);
}
END_TEST

START_TEST(expired_key_stays_away_when_the_clock_is_set_back)
{
    ck_assert_int_eq(put_ttl("key", "value", HOUR_MS), SC_OK);
    sc_clock_shift(DAY_US);
    expect(&f, "key", NULL);
    sc_clock_shift(0);
    expect(&f, "key", NULL);
}
END_TEST

START_TEST(swept_key_stays_away_when_the_clock_is_set_back_and_the_store_reopened)
{
    for (int turn = 0; turn < 2; turn++) {
        ck_assert_int_eq(put_ttl("key", "value", HOUR_MS), SC_OK);
        sc_clock_shift((turn + 1) * DAY_US);
        ck_assert_uint_eq(sc_bitcask_sweep(f.store, SC_SLOT_COUNT), 1);
        sc_clock_shift(0);
        if (turn == 0) {
            merging_kill(&m);
            merging_open(&m);
        } else {
            merging_reopen(&m);
        }
        expect(&f, "key", NULL);
        ck_assert_uint_eq(count(), 0);
    }
}
END_TEST

START_TEST(swept_key_that_was_merged_stays_away_without_the_horizon_too)
{
    ck_assert_int_eq(put_ttl("key", "old", 0), SC_OK);
    for (int i = 0; i < 20; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "cold-%d", i);
        (void)put(&f, key, "these keep their file from being worth a merge, the more the better");
    }
    for (int i = 0; i < 100; i++) {
        (void)put(&f, "filler", "so that another file begins, some length is needed here");
    }
    ck_assert_int_eq(put_ttl("key", "mortal", HOUR_MS), SC_OK);
    for (int i = 0; i < 100; i++) {
        (void)put(&f, "filler", "so that another file begins, some length is needed here");
    }
    sc_clock_shift(DAY_US);
    ck_assert_uint_eq(sc_bitcask_sweep(f.store, SC_SLOT_COUNT), 1);
    sc_clock_shift(0);
    m.options.dead_percent = 60;
    sc_merge_configure(m.merge, &m.options);
    merge_all(&m);
    ck_assert_uint_ge(merge_figures(&m).merges, 1);
    char path[512];
    (void)snprintf(path, sizeof path, "%s/HORIZON", f.dir);
    ck_assert_int_eq(unlink(path), 0);
    merging_reopen(&m);
    expect(&f, "key", NULL);
    compact(&m);
    merging_reopen(&m);
    expect(&f, "key", NULL);
}
END_TEST

START_TEST(time_to_live_runs_on_when_the_clock_was_ahead)
{
    sc_clock_shift(DAY_US);
    (void)put(&f, "other", "written while the clock was a day ahead");
    sc_clock_shift(0);
    ck_assert_int_eq(put_ttl("key", "value", HOUR_MS), SC_OK);
    uint64_t left = ttl_of("key");
    ck_assert_uint_le(left, HOUR_MS);
    ck_assert_uint_gt(left, HOUR_MS - 60000);
    uint64_t until = sc_clock_mono_ms() + 30;
    while (sc_clock_mono_ms() < until) {
        ck_assert_uint_le(ttl_of("key"), left);
    }
    ck_assert_uint_le(ttl_of("key"), left - 28);
    /* A store that is opened while the system clock is behind goes on from its newest version: what
     * has passed since that write may count again. */
    merging_reopen(&m);
    ck_assert_uint_le(ttl_of("key"), HOUR_MS);
    ck_assert_uint_gt(ttl_of("key"), HOUR_MS - 60000);
}
END_TEST

START_TEST(damaged_horizon_does_no_harm)
{
    ck_assert_int_eq(put_ttl("key", "value", HOUR_MS), SC_OK);
    ck_assert_int_eq(put_ttl("short", "value", 1), SC_OK);
    while (sc_bitcask_sweep(f.store, SC_SLOT_COUNT) == 0) {
    }
    merging_close(&m);
    char path[512];
    (void)snprintf(path, sizeof path, "%s/HORIZON", f.dir);
    struct sc_buf bytes = file_read(path);
    for (size_t i = 0; i < bytes.size; i++) {
        file_flip(path, i, 0x40);
        merging_open(&m);
        ck_assert_uint_gt(ttl_of("key"), HOUR_MS - 60000);
        merging_close(&m);
        file_write(path, bytes.data, i);
        merging_open(&m);
        expect(&f, "key", "value");
        merging_close(&m);
        file_write(path, bytes.data, bytes.size);
    }
    sc_buf_fini(&bytes);
    merging_open(&m);
}
END_TEST

START_TEST(many_expired_keys_are_swept_a_few_at_a_time)
{
    f.options.file_size_max = 16 << 20;
    merging_reopen(&m);
    for (int i = 0; i < 20000; i++) {
        char key[32];
        struct sc_slice k = {key, (size_t)snprintf(key, sizeof key, "key-%d", i)};
        const struct sc_bitcask_write options = {.ttl_ms = &(uint64_t){HOUR_MS}};
        uint64_t version;
        ck_assert_int_eq(sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice_str("v"), &options,
                                        &version, &f.position, f.why),
                         SC_OK);
    }
    sc_clock_shift(DAY_US);
    uint64_t swept = 0;
    for (int calls = 0; swept < 20000; calls++) {
        uint64_t now = sc_bitcask_sweep(f.store, SC_SLOT_COUNT);
        ck_assert_uint_le(now, 4200);
        ck_assert_int_lt(calls, 20);
        swept += now;
    }
    ck_assert_uint_eq(count(), 0);
    commit(&f);
}
END_TEST

/* ---- The limit on memory ---- */

START_TEST(new_keys_are_refused_at_the_limit_and_all_else_goes_on)
{
    f.options.file_size_max = 16 << 20;
    f.options.max_memory = UINT64_C(3) << 20;
    merging_reopen(&m);
    char key[32];
    int keys = 0;
    enum sc_status status = SC_OK;
    while (status == SC_OK) {
        (void)snprintf(key, sizeof key, "key-%d", keys);
        status = put_ttl(key, "value", 0);
        keys += status == SC_OK ? 1 : 0;
        ck_assert_int_lt(keys, 1000000);
    }
    ck_assert_int_gt(keys, 1000);
    ck_assert_int_eq(status, SC_BUSY);
    ck_assert_ptr_nonnull(strstr(f.why, "--max-memory"));
    struct sc_bitcask_stats stats;
    sc_bitcask_stats(f.store, &stats);
    ck_assert_uint_eq(stats.keys, (uint64_t)keys);
    expect(&f, key, NULL);
    (void)put(&f, "key-7", "overwritten");
    expect(&f, "key-7", "overwritten");
    int64_t sum;
    struct sc_slice counter = sc_slice_str("counter");
    ck_assert_int_eq(
        sc_bitcask_incr(f.store, counter, sc_slot_hash(counter), 1, &sum, &f.position, f.why),
        SC_BUSY);
    for (int i = 0; i < keys; i++) {
        (void)snprintf(key, sizeof key, "key-%d", i);
        ck_assert(del(&f, key));
    }
    ck_assert_int_eq(put_ttl("again", "value", 0), SC_OK);
}
END_TEST

START_TEST(store_above_the_limit_can_be_opened)
{
    for (int i = 0; i < 100; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "key-%d", i);
        (void)put(&f, key, "value");
    }
    f.options.max_memory = 1;
    merging_reopen(&m);
    expect(&f, "key-7", "value");
    (void)put(&f, "key-7", "overwritten");
    ck_assert_int_eq(put_ttl("new", "value", 0), SC_BUSY);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("expiry");
    TCase *t = tcase_create("clock");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, expired_key_is_absent_at_once);
    tcase_add_test(t, expired_key_stays_away_when_the_clock_is_set_back);
    tcase_add_test(t, swept_key_stays_away_when_the_clock_is_set_back_and_the_store_reopened);
    tcase_add_test(t, swept_key_that_was_merged_stays_away_without_the_horizon_too);
    tcase_add_test(t, time_to_live_runs_on_when_the_clock_was_ahead);
    tcase_add_test(t, damaged_horizon_does_no_harm);
    tcase_add_test(t, many_expired_keys_are_swept_a_few_at_a_time);
    suite_add_tcase(suite, t);
    t = tcase_create("memory");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, new_keys_are_refused_at_the_limit_and_all_else_goes_on);
    tcase_add_test(t, store_above_the_limit_can_be_opened);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
