/* Directories of Basho's Bitcask made by hand: what the samples do not have. */
#include "common/bytes.h"
#include "tests/tools/import_fixture.h"
#include "tools/crc.h"

static char dir[PATH_MAX];
static struct sc_crc crc;

/* A data file and its hint file in the making. */
struct pair {
    struct sc_buf data;
    struct sc_buf hints;
};

static void setup(void)
{
    make_dir(dir);
    sc_crc_init(&crc, SC_CRC_32);
}

static void teardown(void)
{
    static const char *const names[] = {"1.bitcask.data",    "1.bitcask.hint",  "2.bitcask.data",
                                        "2.bitcask.hint",    "10.bitcask.data", "10.bitcask.hint",
                                        "bitcask.write.lock"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[PATH_MAX + 64];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path); /* most are not there */
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

static void put_hint(struct sc_buf *hints, const char *key, size_t size, uint64_t offset)
{
    uint8_t head[18] = {0};
    sc_be32_put(head, 1000);
    sc_be16_put(head + 4, (uint16_t)strlen(key));
    sc_be32_put(head + 6, (uint32_t)size);
    sc_be64_put(head + 10, offset);
    sc_buf_append(hints, head, sizeof head);
    sc_buf_append_slice(hints, sc_slice_str(key));
}

/* Appends an entry (a tombstone when there is no value) with its hint; returns its offset. */
static size_t put(struct pair *pair, const char *key, const char *value)
{
    uint8_t head[14] = {0};
    size_t at = pair->data.size;
    bool deleted = value == NULL;
    value = deleted ? "bitcask_tombstone2\0\0\0\1" : value;
    size_t value_size = deleted ? 22 : strlen(value);
    sc_be32_put(head + 4, 1000);
    sc_be16_put(head + 8, (uint16_t)strlen(key));
    sc_be32_put(head + 10, (uint32_t)value_size);
    sc_buf_append(&pair->data, head, sizeof head);
    sc_buf_append_slice(&pair->data, sc_slice_str(key));
    sc_buf_append(&pair->data, value, value_size);
    uint8_t *entry = pair->data.data + at;
    sc_be32_put(entry, sc_crc_32(&crc, entry + 4, pair->data.size - at - 4));
    put_hint(&pair->hints, key, pair->data.size - at, at | (deleted ? UINT64_C(1) << 63 : 0));
    return at;
}

/* Writes both files (the hints only if asked for) and empties them. */
static void store(struct pair *pair, const char *number, bool hints)
{
    char name[64];
    snprintf(name, sizeof name, "%s.bitcask.data", number);
    write_file(dir, name, sc_buf_slice(&pair->data));
    if (hints) {
        uint8_t trailer[18] = {0};
        sc_be32_put(trailer + 6, sc_crc_32(&crc, pair->hints.data, pair->hints.size));
        sc_be64_put(trailer + 10, INT64_MAX);
        sc_buf_append(&pair->hints, trailer, sizeof trailer);
        snprintf(name, sizeof name, "%s.bitcask.hint", number);
        write_file(dir, name, sc_buf_slice(&pair->hints));
    }
    sc_buf_fini(&pair->data);
    sc_buf_fini(&pair->hints);
}

static struct outcome check(size_t imported, size_t left_out)
{
    struct outcome outcome = import_path(&sc_import_basho, dir);
    ck_assert_msg(!outcome.failed, "%s", outcome.why);
    ck_assert_uint_eq(outcome.imported, imported);
    ck_assert_uint_eq(outcome.count - outcome.imported, left_out);
    return outcome;
}

#define HAS(outcome, key, text) ck_assert_msg(found_text(outcome, key, text, true), "%s", key)

START_TEST(the_last_entry_wins_in_the_order_of_numbers)
{
    struct pair pair = {0};
    put(&pair, "k", "one");
    put(&pair, "gone", "one");
    put(&pair, "back", NULL);
    put(&pair, "back", "one");
    store(&pair, "2", true);
    put(&pair, "k", "two");
    put(&pair, "gone", NULL);
    put(&pair, "empty", "");
    store(&pair, "10", false);
    struct outcome outcome = check(3, 0);
    HAS(&outcome, "k", "two");
    HAS(&outcome, "back", "one");
    HAS(&outcome, "empty", "");
    outcome_fini(&outcome);
}
END_TEST

/* k is put twice, the second time damaged; what is behind stays, and the older value does not come
 * back. */
START_TEST(an_older_value_never_takes_the_place_of_a_damaged_one)
{
    for (int hints = 0; hints < 2; hints++) {
        struct pair pair = {0};
        put(&pair, "k", "older");
        size_t at = put(&pair, "k", "newer");
        put(&pair, "behind", "here");
        pair.data.data[at + 16] ^= 1;
        store(&pair, "1", hints == 1);
        struct outcome outcome = check(1, 1);
        HAS(&outcome, "behind", "here");
        ck_assert_uint_eq(outcome.kinds[SC_IMPORT_DAMAGED], 1);
        ck_assert_uint_eq(outcome.last_offset, at);
        ck_assert_str_eq(outcome.last_file, "1.bitcask.data");
        outcome_fini(&outcome);
    }
}
END_TEST

START_TEST(damage_that_a_later_record_replaces_is_noted)
{
    struct pair pair = {0};
    size_t at = put(&pair, "k", "older");
    put(&pair, "k", "newer");
    pair.data.data[at + 16] ^= 1;
    store(&pair, "1", false);
    struct outcome outcome = check(1, 0);
    HAS(&outcome, "k", "newer");
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_HARMLESS], 1);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(a_damaged_length_loses_one_entry_only)
{
    for (int hints = 0; hints < 2; hints++) {
        for (size_t byte = 8; byte < 14; byte++) { /* both sizes */
            struct pair pair = {0};
            put(&pair, "before", "1");
            size_t at = put(&pair, "damaged", "2");
            put(&pair, "behind", "3");
            put(&pair, "last", "4");
            pair.data.data[at + byte] ^= 0x20;
            store(&pair, "1", hints == 1);
            struct outcome outcome = check(3, 1);
            HAS(&outcome, "before", "1");
            HAS(&outcome, "behind", "3");
            HAS(&outcome, "last", "4");
            ck_assert_uint_eq(outcome.kinds[hints == 1 ? SC_IMPORT_DAMAGED : SC_IMPORT_STRETCH], 1);
            outcome_fini(&outcome);
        }
    }
}
END_TEST

START_TEST(the_key_in_a_damaged_entry_comes_from_its_hint)
{
    struct pair pair = {0};
    put(&pair, "key1", "older");
    size_t at = put(&pair, "key1", "newer");
    pair.data.data[at + 14 + 3] ^= 3; /* now it says key2 */
    put(&pair, "behind", "here");
    store(&pair, "2", true);
    put(&pair, "key2", "here");
    store(&pair, "1", true);
    struct outcome outcome = check(2, 1);
    HAS(&outcome, "key2", "here");
    HAS(&outcome, "behind", "here");
    outcome_fini(&outcome);
}
END_TEST

START_TEST(hints_with_a_wrong_checksum_are_not_trusted)
{
    struct pair pair = {0};
    size_t at = put(&pair, "k", "value");
    put(&pair, "behind", "here");
    pair.data.data[at + 16] ^= 1;
    pair.hints.data[6] ^= 1; /* the size */
    struct sc_buf hints = {0};
    sc_buf_append_slice(&hints, sc_buf_slice(&pair.hints));
    store(&pair, "1", true);
    sc_buf_append(&hints, (uint8_t[18]){0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0x7f, 255, 255, 255, 255},
                  18);
    write_file(dir, "1.bitcask.hint", sc_buf_slice(&hints));
    sc_buf_fini(&hints);
    struct outcome outcome = check(1, 1);
    HAS(&outcome, "behind", "here");
    outcome_fini(&outcome);
}
END_TEST

START_TEST(entries_that_were_cut_off_are_known_from_their_hints)
{
    struct pair pair = {0};
    put(&pair, "k", "older");
    put(&pair, "deleted", "older");
    size_t cut = put(&pair, "other", "newest") + 5;
    put(&pair, "k", "newer");
    put(&pair, "deleted", NULL);
    pair.data.size = cut;
    store(&pair, "1", true);
    struct outcome outcome = check(0, 2);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_DAMAGED], 2);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(a_damaged_tombstone_with_a_hint_still_deletes)
{
    struct pair pair = {0};
    put(&pair, "k", "value");
    size_t at = put(&pair, "k", NULL);
    put(&pair, "behind", "here");
    pair.data.data[at + 20] ^= 1;
    store(&pair, "1", true);
    struct outcome outcome = check(1, 0);
    HAS(&outcome, "behind", "here");
    outcome_fini(&outcome);
}
END_TEST

START_TEST(what_is_appended_behind_a_torn_entry_is_read)
{
    struct pair pair = {0};
    put(&pair, "k", "value");
    size_t at = put(&pair, "torn", "this is cut off");
    pair.data.size = at + 12;
    pair.hints.size = 0; /* not closed */
    put(&pair, "k", NULL);
    store(&pair, "1", false);
    struct outcome outcome = check(0, 1);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_STRETCH], 1);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(a_file_that_waits_to_be_removed_is_not_read)
{
    struct pair pair = {0};
    put(&pair, "deleted", "value");
    store(&pair, "1", true);
    put(&pair, "live", "value");
    store(&pair, "2", true);
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/1.bitcask.data", dir);
    ck_assert_int_eq(chmod(path, 0645), 0);
    struct outcome outcome = check(1, 0);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_MERGED], 1);
    HAS(&outcome, "live", "value");
    outcome_fini(&outcome);
}
END_TEST

START_TEST(a_lock_of_something_else_is_no_lock)
{
    struct pair pair = {0};
    char text[64];
    put(&pair, "k", "value");
    store(&pair, "1", true);
    snprintf(text, sizeof text, "%ld %s/1.bitcask.data\n", (long)getpid(), "/some/where");
    write_file(dir, "bitcask.write.lock", sc_slice_str(text));
    struct outcome outcome = check(1, 0);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_LOCKED], 0);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(an_empty_key_is_left_out)
{
    struct pair pair = {0};
    put(&pair, "", "value");
    put(&pair, "k", "value");
    store(&pair, "1", true);
    struct outcome outcome = check(1, 1);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_EMPTY_KEY], 1);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(a_long_stretch_of_garbage_is_passed_quickly)
{
    struct test_random random = test_random_start("a_long_stretch_of_garbage_is_passed_quickly");
    struct pair pair = {0};
    put(&pair, "before", "here");
    for (size_t i = 0; i < ((size_t)4 << 20); i += 8) {
        uint64_t bytes = test_random_next(&random);
        sc_buf_append(&pair.data, &bytes, sizeof bytes);
    }
    put(&pair, "behind", "here");
    store(&pair, "1", false);
    struct outcome outcome = check(2, 1);
    HAS(&outcome, "behind", "here");
    outcome_fini(&outcome);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import_basho");
    TCase *tcase = tcase_create("import_basho");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_last_entry_wins_in_the_order_of_numbers);
    tcase_add_test(tcase, an_older_value_never_takes_the_place_of_a_damaged_one);
    tcase_add_test(tcase, damage_that_a_later_record_replaces_is_noted);
    tcase_add_test(tcase, a_damaged_length_loses_one_entry_only);
    tcase_add_test(tcase, the_key_in_a_damaged_entry_comes_from_its_hint);
    tcase_add_test(tcase, hints_with_a_wrong_checksum_are_not_trusted);
    tcase_add_test(tcase, entries_that_were_cut_off_are_known_from_their_hints);
    tcase_add_test(tcase, a_damaged_tombstone_with_a_hint_still_deletes);
    tcase_add_test(tcase, what_is_appended_behind_a_torn_entry_is_read);
    tcase_add_test(tcase, a_file_that_waits_to_be_removed_is_not_read);
    tcase_add_test(tcase, a_lock_of_something_else_is_no_lock);
    tcase_add_test(tcase, an_empty_key_is_left_out);
    tcase_add_test(tcase, a_long_stretch_of_garbage_is_passed_quickly);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
