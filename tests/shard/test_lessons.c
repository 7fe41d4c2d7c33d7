/* What other Bitcask stores got wrong: each test fails on the flawed design. */
#include "common/bytes.h"
#include "common/clock.h"
#include "shard/io.h"
#include "shard/record.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <errno.h>
#include <sys/stat.h>

static struct fixture f;

static void setup(void)
{
    quiet();
    fixture_init(&f);
    f.options.sync_ms = SC_BITCASK_SYNC_ALWAYS;
    fixture_open(&f);
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    fixture_fini(&f);
}

/* pybitcask appends behind a torn record, and every later write is lost at the next start. */
START_TEST(writes_after_a_torn_record_survive_the_next_start)
{
    char path[512];
    put(&f, "a", "one");
    fixture_close(&f);
    data_path(f.dir, 0, path);
    struct sc_buf bytes = file_read(path);
    for (size_t torn = 1; torn < 40; torn++) {
        bytes.size = 64 + 40;
        sc_buf_append(&bytes, bytes.data + 64, torn);
        file_write(path, bytes.data, bytes.size);
        fixture_open(&f);
        put(&f, "b", "two");
        fixture_reopen(&f);
        expect(&f, "a", "one");
        expect(&f, "b", "two");
        fixture_close(&f);
    }
    sc_buf_fini(&bytes);
}
END_TEST

/* pybitcask sorts file names as text: data_10 comes before data_9. */
START_TEST(tenth_file_comes_after_the_ninth)
{
    char value[3900];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    f.options.file_size_max = 4096;
    fixture_reopen(&f);
    for (int i = 0; i < 12; i++) {
        put(&f, "filler", value);
        put(&f, "deleted", "x");
        if (i == 9) {
            ck_assert(del(&f, "deleted"));
        }
        char number[16];
        (void)snprintf(number, sizeof number, "%d", i);
        put(&f, "key", number);
    }
    ck_assert(del(&f, "deleted"));
    ck_assert_uint_ge(data_files(f.dir), 12);
    for (int round = 0; round < 3; round++) {
        fixture_reopen(&f);
        expect(&f, "key", "11");
        expect(&f, "deleted", NULL);
    }
}
END_TEST

/* Versions in milliseconds: two puts in one of them, and the old value wins after a restart. */
START_TEST(last_of_many_puts_in_one_microsecond_wins)
{
    const struct sc_bitcask_write options = {0};
    struct sc_slice key = sc_slice_str("key");
    uint64_t last = 0;
    char value[16] = "";
    for (int i = 0; i < 20000; i++) {
        uint64_t version;
        (void)snprintf(value, sizeof value, "%d", i);
        ck_assert_int_eq(sc_bitcask_put(f.store, key, sc_slot_hash(key), sc_slice_str(value),
                                        &options, &version, &f.position, f.why),
                         SC_OK);
        ck_assert_uint_gt(version, last);
        last = version;
    }
    commit(&f);
    fixture_reopen(&f);
    expect(&f, "key", value);
    ck_assert_uint_gt(put(&f, "key", "next"), last);
}
END_TEST

/* Appends a record by hand, as a process with another clock would have written it. */
static void append_by_hand(const char *key, const char *value, uint64_t version)
{
    char path[512];
    data_path(f.dir, 0, path);
    struct sc_buf bytes = file_read(path);
    uint64_t salt = sc_le64_get(bytes.data + 40);
    struct sc_record record = {
        .version = version,
        .kind = SC_RECORD_PUT,
        .key = sc_slice_str(key),
        .value = sc_slice_str(value),
    };
    size_t size = (size_t)sc_record_size(record.key.size, record.value.size);
    sc_record_encode(sc_buf_reserve(&bytes, size), &record, salt ^ bytes.size);
    bytes.size += size;
    file_write(path, bytes.data, bytes.size);
    sc_buf_fini(&bytes);
}

START_TEST(later_write_wins_when_the_clock_has_stepped_back)
{
    put(&f, "key", "one");
    fixture_close(&f);
    uint64_t tomorrow = sc_clock_wall_us() + UINT64_C(86400000000);
    append_by_hand("key", "two, by a clock that was a day ahead", tomorrow);
    fixture_open(&f);
    expect(&f, "key", "two, by a clock that was a day ahead");
    ck_assert_uint_gt(put(&f, "key", "three"), tomorrow);
    fixture_reopen(&f);
    expect(&f, "key", "three");
    ck_assert(del(&f, "key"));
    fixture_reopen(&f);
    expect(&f, "key", NULL);
}
END_TEST

START_TEST(older_record_in_a_later_place_does_not_win)
{
    uint64_t version = put(&f, "key", "newer");
    ck_assert(del(&f, "gone") == false);
    put(&f, "gone", "x");
    ck_assert(del(&f, "gone"));
    fixture_close(&f);
    append_by_hand("key", "older, copied by a merge", version - 1);
    append_by_hand("gone", "older than its tombstone", version + 1);
    fixture_open(&f);
    expect(&f, "key", "newer");
    expect(&f, "gone", NULL);
}
END_TEST

/* One flipped bit in a length: every key after it is gone. */
START_TEST(flipped_length_costs_one_record)
{
    char path[512];
    put(&f, "a", "one");
    put(&f, "b", "two");
    put(&f, "c", "three");
    fixture_close(&f);
    data_path(f.dir, 0, path);
    struct stat before;
    ck_assert_int_eq(stat(path, &before), 0);
    for (uint64_t at = 24; at < 30; at++) {
        file_flip(path, 64 + 40 + at, 0x04);
        fixture_open(&f);
        ck_assert_uint_eq(fixture_events(&f, SC_EVENT_DAMAGE), 1);
        expect(&f, "a", "one");
        expect(&f, "b", NULL);
        expect(&f, "c", "three");
        fixture_close(&f);
        file_flip(path, 64 + 40 + at, 0x04);
    }
    fixture_open(&f);
    expect(&f, "b", "two");
}
END_TEST

/* A flipped byte of a value is served as data. */
START_TEST(flipped_value_is_an_error_and_not_an_older_value)
{
    char path[512];
    const char *value;
    put(&f, "a", "older");
    put(&f, "a", "newer");
    fixture_close(&f);
    data_path(f.dir, 0, path);
    file_flip(path, 64 + 40 + 32 + 1 + 2, 0x01);
    fixture_open(&f);
    ck_assert_int_eq(get(&f, "a", &value), SC_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f.why, "0000000001.data"));
    ck_assert_ptr_nonnull(strstr(f.why, "104"));
    /* The key is not stuck: it can be written and deleted. */
    ck_assert(del(&f, "a"));
    expect(&f, "a", NULL);
    put(&f, "a", "new");
    expect(&f, "a", "new");
}
END_TEST

/* Damage that happens while the store is open is found by the read. */
START_TEST(damage_under_an_open_store_is_found)
{
    char path[512];
    const char *value;
    put(&f, "a", "one");
    put(&f, "b", "two");
    data_path(f.dir, 0, path);
    file_flip(path, 64 + 8, 0x01); /* a bit of the version */
    ck_assert_int_eq(get(&f, "a", &value), SC_CORRUPT);
    expect(&f, "b", "two");
    ck_assert_int_eq(truncate(path, 64 + 40 + 35), 0);
    ck_assert_int_eq(get(&f, "b", &value), SC_CORRUPT);
    struct sc_bitcask_stats stats;
    sc_bitcask_stats(f.store, &stats);
    ck_assert_uint_eq(stats.damaged_records, 2);
}
END_TEST

/* Keys whose value is null are dropped; an empty value counts as deleted; a value that looks like a
 * tombstone reads as deleted. */
START_TEST(no_value_means_deleted)
{
    put(&f, "nil", "\xc0");
    put(&f, "empty str", "\xa0");
    put(&f, "nothing at all", "");
    put(&f, "tombstone", "bitcask_tombstone");
    put(&f, "tombstone 2", "__TOMBSTONE__");
    for (int round = 0; round < 2; round++) {
        expect(&f, "nil", "\xc0");
        expect(&f, "empty str", "\xa0");
        expect(&f, "nothing at all", "");
        expect(&f, "tombstone", "bitcask_tombstone");
        expect(&f, "tombstone 2", "__TOMBSTONE__");
        fixture_reopen(&f);
    }
}
END_TEST

/* I/O errors come back as "not found", and the key is then removed from the index. */
START_TEST(failed_read_is_an_error_and_changes_nothing)
{
    const char *value;
    put(&f, "a", "one");
    (void)sc_io_fault(SC_IO_READ, 1, EIO, true);
    ck_assert_int_eq(get(&f, "a", &value), SC_IO);
    ck_assert_ptr_nonnull(strstr(f.why, "0000000001.data"));
    expect(&f, "a", "one");
    fixture_reopen(&f);
    expect(&f, "a", "one");
}
END_TEST

/* A process that uses the directory of another one. */
START_TEST(directory_in_use_is_refused)
{
    struct sc_bitcask *second;
    struct sc_bitcask_options options = f.options;
    char why[SC_WHY_SIZE];
    put(&f, "a", "one");
    ck_assert_int_eq(sc_bitcask_open(f.dir, &options, NULL, NULL, &second, why), SC_BUSY);
    options.read_only = true;
    ck_assert_int_eq(sc_bitcask_open(f.dir, &options, NULL, NULL, &second, why), SC_BUSY);
    fixture_close(&f);
    fixture_open(&f);
    expect(&f, "a", "one");
}
END_TEST

/* A crash while files are swapped: one that was not finished becomes part of the store. */
START_TEST(unfinished_file_is_not_part_of_the_store)
{
    char path[512];
    put(&f, "a", "one");
    put(&f, "b", "two");
    fixture_close(&f);
    data_path(f.dir, 0, path);
    struct sc_buf bytes = file_read(path);
    (void)snprintf(path, sizeof path, "%s/0000000002.data", f.dir);
    file_write(path, bytes.data, bytes.size - 50);
    sc_buf_fini(&bytes);
    fixture_open(&f);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_OTHER), 1);
    put(&f, "a", "three");
    fixture_reopen(&f);
    expect(&f, "a", "three");
    expect(&f, "b", "two");
}
END_TEST

/* A failed batch leaves a prefix applied without saying so. */
START_TEST(writes_of_a_failed_commit_are_all_reported)
{
    const struct sc_bitcask_write options = {0};
    sc_bitcask_position positions[20];
    for (int i = 0; i < 20; i++) {
        char key[16];
        uint64_t version;
        (void)snprintf(key, sizeof key, "key-%d", i);
        struct sc_slice k = sc_slice_str(key);
        ck_assert_int_eq(sc_bitcask_put(f.store, k, sc_slot_hash(k), k, &options, &version,
                                        &positions[i], f.why),
                         SC_OK);
    }
    (void)sc_io_fault(SC_IO_WRITE, 1, EIO, true);
    ck_assert_int_eq(sc_bitcask_commit(f.store, false), SC_IO);
    for (int i = 0; i < 20; i++) {
        ck_assert(sc_bitcask_lost(f.store, positions[i]));
    }
}
END_TEST

START_TEST(keys_are_any_bytes)
{
    static const char *const keys[] = {"a/b/c", "../x", "%00", " ", "\xff\xfe", "\n"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        put(&f, keys[i], keys[i]);
    }
    struct sc_slice zeros = sc_slice("\0\0\0", 3);
    uint64_t version;
    const struct sc_bitcask_write options = {0};
    ck_assert_int_eq(sc_bitcask_put(f.store, zeros, sc_slot_hash(zeros), zeros, &options, &version,
                                    &f.position, f.why),
                     SC_OK);
    fixture_reopen(&f);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        expect(&f, keys[i], keys[i]);
    }
    ck_assert_int_eq(sc_bitcask_exists(f.store, zeros, sc_slot_hash(zeros), &f.position), SC_OK);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        writes_after_a_torn_record_survive_the_next_start,
        tenth_file_comes_after_the_ninth,
        last_of_many_puts_in_one_microsecond_wins,
        later_write_wins_when_the_clock_has_stepped_back,
        older_record_in_a_later_place_does_not_win,
        flipped_length_costs_one_record,
        flipped_value_is_an_error_and_not_an_older_value,
        damage_under_an_open_store_is_found,
        no_value_means_deleted,
        failed_read_is_an_error_and_changes_nothing,
        directory_in_use_is_refused,
        unfinished_file_is_not_part_of_the_store,
        writes_of_a_failed_commit_are_all_reported,
        keys_are_any_bytes,
    };
    Suite *suite = suite_create("lessons");
    TCase *tcase = tcase_create("lessons");
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        tcase_add_test(tcase, tests[i]);
    }
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
