/* Operations of the store, through its public header. */
#include "tests/check_main.h"
#include "tests/shard/store.h"

static struct fixture f;

static void setup(void)
{
    fixture_init(&f);
    fixture_open(&f);
}

static void teardown(void)
{
    fixture_fini(&f);
}

START_TEST(what_was_put_is_got)
{
    uint64_t first = put(&f, "a", "one");
    uint64_t second = put(&f, "b", "two");
    ck_assert_uint_lt(first, second);
    expect(&f, "a", "one");
    expect(&f, "b", "two");
    expect(&f, "c", NULL);
}
END_TEST

START_TEST(what_was_put_is_there_after_reopening)
{
    put(&f, "a", "one");
    put(&f, "a", "two");
    put(&f, "b", "three");
    put(&f, "gone", "four");
    ck_assert(del(&f, "gone"));
    fixture_reopen(&f);
    ck_assert_uint_eq(f.event_count, 0);
    expect(&f, "a", "two");
    expect(&f, "b", "three");
    expect(&f, "gone", NULL);
}
END_TEST

START_TEST(what_was_committed_survives_a_kill)
{
    put(&f, "a", "one");
    put(&f, "b", "two");
    ck_assert(del(&f, "a"));
    fixture_kill(&f);
    fixture_open(&f);
    ck_assert_uint_eq(f.event_count, 0);
    expect(&f, "a", NULL);
    expect(&f, "b", "two");
}
END_TEST

START_TEST(files_are_rotated_and_all_are_read_again)
{
    f.options.file_size_max = 4096;
    fixture_reopen(&f);
    char key[32];
    char value[64];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "key-%d", i % 300);
        (void)snprintf(value, sizeof value, "value-%d", i);
        put(&f, key, value);
    }
    ck_assert_uint_gt(data_files(f.dir), 10);
    for (int round = 0; round < 2; round++) {
        for (int i = 700; i < 1000; i++) {
            (void)snprintf(key, sizeof key, "key-%d", i % 300);
            (void)snprintf(value, sizeof value, "value-%d", i);
            expect(&f, key, value);
        }
        fixture_reopen(&f);
        ck_assert_uint_eq(f.event_count, 0);
    }
}
END_TEST

START_TEST(second_opener_is_told_that_it_is_busy)
{
    struct sc_bitcask *second;
    char why[SC_WHY_SIZE];
    ck_assert_int_eq(sc_bitcask_open(f.dir, &f.options, NULL, NULL, &second, why), SC_BUSY);
    ck_assert_ptr_nonnull(strstr(why, f.dir));
}
END_TEST

START_TEST(torn_tail_is_cut_before_anything_is_appended)
{
    char path[512];
    put(&f, "a", "one");
    put(&f, "b", "two");
    fixture_close(&f);
    data_path(f.dir, 0, path);
    struct sc_buf whole = file_read(path);
    /* What a write that was under way leaves behind: a part of a record. */
    sc_buf_append(&whole, whole.data + 64, 20);
    file_write(path, whole.data, whole.size);
    sc_buf_fini(&whole);
    fixture_open(&f);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_TORN_TAIL), 1);
    put(&f, "c", "three");
    fixture_reopen(&f);
    ck_assert_uint_eq(f.event_count, 0);
    expect(&f, "a", "one");
    expect(&f, "b", "two");
    expect(&f, "c", "three");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("bitcask");
    TCase *basics = tcase_create("basics");
    tcase_add_checked_fixture(basics, setup, teardown);
    tcase_add_test(basics, what_was_put_is_got);
    tcase_add_test(basics, what_was_put_is_there_after_reopening);
    tcase_add_test(basics, what_was_committed_survives_a_kill);
    tcase_add_test(basics, files_are_rotated_and_all_are_read_again);
    tcase_add_test(basics, second_opener_is_told_that_it_is_busy);
    tcase_add_test(basics, torn_tail_is_cut_before_anything_is_appended);
    suite_add_tcase(s, basics);
    return s;
}

int main(void)
{
    return sc_check_main(suite());
}
