/* The next data file made ahead, and space given back behind full ones. */
#include "shard/ahead.h"

#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <errno.h>
#include <sys/stat.h>

#define FILE_SIZE 4096u
#define VALUE \
    "a value that makes records of a hundred bytes or so, so that files are full before long"

static struct fixture f;
static struct sc_ahead *ahead;
static int written;

static void start(void)
{
    ck_assert_int_eq(sc_ahead_start(f.store, &ahead, f.why), SC_OK);
}

static void stop(void)
{
    sc_ahead_stop(ahead);
    ahead = NULL;
}

static void setup(void)
{
    fixture_init(&f);
    f.options.file_size_max = FILE_SIZE;
    fixture_open(&f);
    start();
    written = 0;
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    stop();
    fixture_fini(&f);
}

static void key_of(int number, char key[16])
{
    (void)snprintf(key, 16, "key-%06d", number);
}

static uint64_t file_bytes(void)
{
    struct sc_bitcask_stats stats;
    sc_bitcask_stats(f.store, &stats);
    return stats.file_bytes;
}

/* Puts new keys until so many bytes are in the files. */
static void fill(uint64_t bytes)
{
    while (file_bytes() < bytes) {
        char key[16];
        key_of(written++, key);
        put(&f, key, VALUE);
    }
}

static void help(void)
{
    sc_ahead_poll(ahead);
    sc_ahead_wait(ahead);
}

static void expect_all(void)
{
    for (int i = 0; i < written; i++) {
        char key[16];
        key_of(i, key);
        expect(&f, key, VALUE);
    }
}

/* Closes as a killed process does, and opens again. */
static void kill_and_open(void)
{
    stop();
    fixture_kill(&f);
    fixture_open(&f);
    start();
    ck_assert_uint_eq(f.event_count, 0);
}

START_TEST(no_write_makes_a_file_when_it_was_made_ahead)
{
    fill(FILE_SIZE * 3 / 4);
    ck_assert_uint_eq(data_files(f.dir), 1);
    help();
    ck_assert_uint_eq(data_files(f.dir), 2);
    (void)sc_io_fault(SC_IO_OPEN | SC_IO_SYNC | SC_IO_RENAME | SC_IO_TRUNCATE, 1, EIO, false);
    fill(FILE_SIZE * 5 / 4);
    (void)sc_io_fault(0, 0, 0, false);
    ck_assert_uint_eq(data_files(f.dir), 2);
    kill_and_open();
    expect_all();
}
END_TEST

START_TEST(the_first_file_is_made_ahead_once_the_store_is_a_clusters)
{
    static const uint8_t cluster[16] = "a cluster";
    help();
    ck_assert_uint_eq(data_files(f.dir), 0);
    ck_assert_int_eq(sc_bitcask_adopt(f.store, cluster, 1, f.why), SC_OK);
    help();
    ck_assert_uint_eq(data_files(f.dir), 1);
    (void)sc_io_fault(SC_IO_OPEN, 1, EIO, false);
    fill(FILE_SIZE / 4);
    (void)sc_io_fault(0, 0, 0, false);
    expect_all();
}
END_TEST

START_TEST(file_that_was_not_used_yet_is_the_next_one_after_a_kill)
{
    for (int round = 0; round < 3; round++) {
        fill(file_bytes() + FILE_SIZE * 3 / 4);
        help();
        size_t files = data_files(f.dir);
        kill_and_open();
        expect_all();
        ck_assert_uint_eq(data_files(f.dir), files);
    }
}
END_TEST

START_TEST(file_that_was_not_used_yet_is_no_loss_after_a_power_failure)
{
    quiet();
    fill(FILE_SIZE / 4);
    ck_assert_int_eq(sc_bitcask_commit(f.store, true), SC_OK);
    int safe = written;
    fill(FILE_SIZE * 3 / 4);
    help();
    char path[512];
    data_path(f.dir, 0, path);
    stop();
    fixture_kill(&f);
    forget_boot(f.dir, 0);
    ck_assert_int_eq(truncate(path, (off_t)synced_mark(f.dir).offset), 0);
    fixture_open(&f);
    start();
    ck_assert_uint_eq(f.event_count, 0);
    written = safe;
    expect_all();
    fill(FILE_SIZE * 3);
    kill_and_open();
    expect_all();
}
END_TEST

START_TEST(file_that_cannot_be_made_ahead_is_made_when_it_is_needed)
{
    static const unsigned calls[] = {SC_IO_OPEN, SC_IO_ALLOCATE, SC_IO_WRITE, SC_IO_RENAME};
    quiet();
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        fill(file_bytes() + FILE_SIZE * 3 / 4);
        size_t files = data_files(f.dir);
        (void)sc_io_fault(calls[i], 1, ENOSPC, false);
        help();
        (void)sc_io_fault(0, 0, 0, false);
        ck_assert_uint_le(data_files(f.dir), files + 1); /* it may be known to be discarded */
        fill(file_bytes() + FILE_SIZE);
        kill_and_open();
        expect_all();
    }
}
END_TEST

START_TEST(writes_may_overtake_whoever_makes_a_file)
{
    fill(FILE_SIZE * 3 / 4);
    struct sc_bitcask_help *late = sc_bitcask_help_begin(f.store);
    ck_assert_ptr_nonnull(late);
    fill(FILE_SIZE * 3);
    sc_bitcask_help_run(late);
    fill(FILE_SIZE * 5);
    sc_bitcask_help_end(f.store, late);
    fill(FILE_SIZE * 7);
    help();
    expect_all();
    kill_and_open();
    expect_all();
}
END_TEST

static uint64_t space_of(size_t index)
{
    char path[512];
    struct stat stat_;
    data_path(f.dir, index, path);
    ck_assert_int_eq(stat(path, &stat_), 0);
    return (uint64_t)stat_.st_blocks * 512;
}

START_TEST(space_behind_a_full_file_is_given_back_once_all_of_it_is_written)
{
    char key[16] = "not written yet";
    uint64_t version;
    const struct sc_bitcask_write options = {0};
    const struct sc_slice k = sc_slice_str(key);
    while (data_files(f.dir) <= 1) { /* the last of it is not committed */
        ck_assert_int_eq(sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice_str(VALUE), &options,
                                        &version, &f.position, f.why),
                         SC_OK);
    }
    help();
    ck_assert_uint_gt(space_of(0), 4 * FILE_SIZE);
    commit(&f);
    help();
    ck_assert_uint_le(space_of(0), FILE_SIZE);
    kill_and_open();
    expect(&f, key, VALUE);
}
END_TEST

START_TEST(closing_gives_back_what_was_left)
{
    fill(FILE_SIZE * 3);
    stop();
    fixture_close(&f);
    for (size_t i = 0; i < data_files(f.dir); i++) {
        ck_assert_uint_le(space_of(i), FILE_SIZE);
    }
    fixture_open(&f);
    start();
    expect_all();
}
END_TEST

START_TEST(help_goes_on_beside_writes)
{
    for (int i = 1; i <= 60; i++) {
        fill((uint64_t)i * FILE_SIZE);
        sc_ahead_poll(ahead);
    }
    expect_all();
    kill_and_open();
    expect_all();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ahead");
    TCase *t = tcase_create("ahead");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, no_write_makes_a_file_when_it_was_made_ahead);
    tcase_add_test(t, the_first_file_is_made_ahead_once_the_store_is_a_clusters);
    tcase_add_test(t, file_that_was_not_used_yet_is_the_next_one_after_a_kill);
    tcase_add_test(t, file_that_was_not_used_yet_is_no_loss_after_a_power_failure);
    tcase_add_test(t, file_that_cannot_be_made_ahead_is_made_when_it_is_needed);
    tcase_add_test(t, writes_may_overtake_whoever_makes_a_file);
    tcase_add_test(t, space_behind_a_full_file_is_given_back_once_all_of_it_is_written);
    tcase_add_test(t, closing_gives_back_what_was_left);
    tcase_add_test(t, help_goes_on_beside_writes);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
