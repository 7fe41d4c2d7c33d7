/* Directories of pybitcask made by hand: what the samples do not have. */
#include "tests/tools/import_fixture.h"

static char dir[PATH_MAX];

static void setup(void)
{
    make_dir(dir);
}

static void teardown(void)
{
    static const char *const names[] = {"data_1.db",  "data_2.db", "data_9.db",
                                        "data_10.db", "data_x.db", "data_1.db.bak"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[PATH_MAX + 32];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path); /* most are not there */
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

static void put_varint(struct sc_buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        sc_buf_append(out, &(uint8_t){(uint8_t)(value | 0x80)}, 1);
    }
    sc_buf_append(out, &(uint8_t){(uint8_t)value}, 1);
}

static void put_field(struct sc_buf *out, char tag, const char *text)
{
    if (*text != '\0') {
        sc_buf_append(out, &tag, 1);
        put_varint(out, strlen(text));
        sc_buf_append_slice(out, sc_slice_str(text));
    }
}

/* Appends a protobuf record; a tombstone when there is no value. */
static void put_proto(struct sc_buf *out, const char *key, const char *value, uint64_t time_ms)
{
    struct sc_buf message = {0};
    put_field(&message, 0x0a, key);
    put_field(&message, 0x12, value != NULL ? value : "");
    sc_buf_append(&message, "\x18", 1);
    put_varint(&message, time_ms);
    if (value == NULL) {
        sc_buf_append(&message, "\x20\x01", 2);
    }
    size_t size = message.size;
    sc_buf_append(out,
                  (uint8_t[]){(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                              (uint8_t)size},
                  4);
    sc_buf_append_slice(out, sc_buf_slice(&message));
    sc_buf_fini(&message);
}

static void put_json(struct sc_buf *out, const char *key, const char *value, uint64_t time_ms)
{
    char text[1024];
    int size = snprintf(
        text, sizeof text, "{\"key\": \"%s\", \"value\": %s, \"timestamp\": %" PRIu64 "%s}\n", key,
        value != NULL ? value : "null", time_ms, value != NULL ? "" : ", \"deleted\": true");
    sc_buf_append(out, text, (size_t)size);
}

/* Writes a file of these bytes behind its format byte, and empties them. */
static void store(const char *name, struct sc_buf *bytes)
{
    struct sc_buf file = {0};
    sc_buf_append(&file, "\x01", 1);
    sc_buf_append_slice(&file, sc_buf_slice(bytes));
    write_file(dir, name, sc_buf_slice(&file));
    sc_buf_fini(&file);
    sc_buf_fini(bytes);
}

/* Imports the directory: so many keys come out, so many are left out. */
static struct outcome check(size_t imported, size_t left_out)
{
    struct outcome outcome = import_path(&sc_import_pybitcask, dir);
    ck_assert_msg(!outcome.failed, "%s", outcome.why);
    ck_assert_msg(outcome.imported == imported, "imported %zu, left out %zu: %s", outcome.imported,
                  outcome.count - outcome.imported, outcome.why);
    ck_assert_uint_eq(outcome.count - outcome.imported, left_out);
    return outcome;
}

#define HAS(outcome, key, text) ck_assert_msg(found_text(outcome, key, text, false), "%s", key)

START_TEST(the_later_time_wins_wherever_it_stands)
{
    struct sc_buf bytes = {0};
    put_proto(&bytes, "k", "\"new\"", 2000);
    put_proto(&bytes, "k", "\"old\"", 1000);
    put_proto(&bytes, "other", "\"new\"", 2000);
    store("data_1.db", &bytes);
    put_proto(&bytes, "other", "\"old\"", 1999);
    store("data_2.db", &bytes);
    struct outcome outcome = check(2, 0);
    HAS(&outcome, "k", "new");
    HAS(&outcome, "other", "new");
    outcome_fini(&outcome);
}
END_TEST

START_TEST(of_equal_times_the_later_place_wins)
{
    struct sc_buf bytes = {0};
    put_proto(&bytes, "k", "\"first\"", 1000);
    put_proto(&bytes, "k", "\"second\"", 1000);
    put_json(&bytes, "gone", "1", 1000);
    put_json(&bytes, "gone", NULL, 1000);
    put_json(&bytes, "back", NULL, 1000);
    put_json(&bytes, "back", "\"again\"", 1000);
    store("data_1.db", &bytes);
    struct outcome outcome = check(2, 0);
    HAS(&outcome, "k", "second");
    HAS(&outcome, "back", "again");
    outcome_fini(&outcome);
}
END_TEST

START_TEST(file_numbers_are_numbers_not_text)
{
    struct sc_buf bytes = {0};
    put_proto(&bytes, "k", "\"nine\"", 1000);
    store("data_9.db", &bytes);
    put_proto(&bytes, "k", "\"ten\"", 1000);
    store("data_10.db", &bytes);
    put_proto(&bytes, "k", "\"no data file\"", 9000);
    store("data_x.db", &bytes);
    put_proto(&bytes, "k", "\"no data file\"", 9000);
    store("data_1.db.bak", &bytes);
    struct outcome outcome = check(1, 0);
    HAS(&outcome, "k", "ten");
    outcome_fini(&outcome);
}
END_TEST

START_TEST(an_older_tombstone_deletes_nothing)
{
    struct sc_buf bytes = {0};
    put_proto(&bytes, "k", "\"kept\"", 2000);
    put_proto(&bytes, "k", NULL, 1000);
    put_json(&bytes, "k", NULL, 1999);
    store("data_1.db", &bytes);
    struct outcome outcome = check(1, 0);
    HAS(&outcome, "k", "kept");
    outcome_fini(&outcome);
}
END_TEST

START_TEST(null_is_a_value)
{
    struct sc_buf bytes = {0};
    put_json(&bytes, "json", "null", 1000);
    put_proto(&bytes, "proto", "null", 1000);
    store("data_1.db", &bytes);
    struct outcome outcome = check(2, 0);
    outcome_fini(&outcome);
}
END_TEST

/* Cuts the record that was put last by `less` bytes, puts another behind it, and checks that this
 * one and the key's value before are what is imported. */
static void check_torn(bool json, size_t less, const char *torn_value)
{
    struct sc_buf bytes = {0};
    void (*put)(struct sc_buf *, const char *, const char *, uint64_t) =
        json ? put_json : put_proto;
    put(&bytes, "torn", "\"before\"", 1000);
    size_t whole = bytes.size;
    put(&bytes, "torn", torn_value, 2000);
    ck_assert_uint_gt(bytes.size - whole, less);
    bytes.size -= less;
    put(&bytes, "behind", "\"here\"", 3000);
    store("data_1.db", &bytes);
    struct outcome outcome = check(2, 1);
    HAS(&outcome, "torn", "before");
    HAS(&outcome, "behind", "here");
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_STRETCH], 1);
    ck_assert_uint_eq(outcome.last_offset, whole + 1);
    outcome_fini(&outcome);
}

START_TEST(records_behind_a_torn_one_are_found)
{
    for (size_t less = 1; less < 25; less++) {
        check_torn(false, less, "\"a value that is lost\"");
    }
    for (size_t less = 2; less < 25; less++) { /* 1 is the newline alone */
        check_torn(true, less, "\"a value that is lost\"");
    }
}
END_TEST

START_TEST(only_the_newline_missing_leaves_the_record_whole)
{
    struct sc_buf bytes = {0};
    put_json(&bytes, "one", "\"1\"", 1000);
    bytes.size--;
    put_json(&bytes, "two", "\"2\"", 1000);
    bytes.size--;
    put_proto(&bytes, "three", "\"3\"", 1000);
    put_json(&bytes, "four", "\"4\"", 1000);
    bytes.size--;
    store("data_1.db", &bytes);
    struct outcome outcome = check(4, 0);
    HAS(&outcome, "one", "1");
    HAS(&outcome, "four", "4");
    outcome_fini(&outcome);
}
END_TEST

START_TEST(a_value_that_looks_like_a_record_is_none)
{
    static const char nested[] = "{\"key\": \"inner\", \"value\": 1, \"timestamp\": 5000, "
                                 "\"deleted\": true}";
    struct sc_buf bytes = {0};
    put_json(&bytes, "whole", nested, 1000);
    put_proto(&bytes, "proto", nested, 1000);
    store("data_1.db", &bytes);
    struct outcome outcome = check(2, 0);
    outcome_fini(&outcome);
    /* Torn directly behind it: `, "timestamp": 2000}` and the newline are missing. */
    check_torn(true, 21, nested);
    /* In protobuf the time alone follows: a tag and two bytes. */
    check_torn(false, 3, nested);
}
END_TEST

START_TEST(format_bytes_may_stand_anywhere)
{
    struct sc_buf bytes = {0};
    sc_buf_append(&bytes, "\x01\x02", 2);
    put_proto(&bytes, "one", "\"1\"", 1000);
    sc_buf_append(&bytes, "\x02", 1);
    put_json(&bytes, "two", "\"2\"", 1000);
    sc_buf_append(&bytes, "\x01", 1);
    put_proto(&bytes, "three", "\"3\"", 1000);
    sc_buf_append(&bytes, "\x02", 1);
    store("data_1.db", &bytes);
    write_file(dir, "data_2.db", sc_slice("", 0));
    write_file(dir, "data_9.db", sc_slice("\x02", 1));
    struct outcome outcome = check(3, 0);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(a_damaged_length_loses_one_record_only)
{
    struct sc_buf bytes = {0};
    put_proto(&bytes, "before", "\"1\"", 1000);
    size_t at = bytes.size;
    put_proto(&bytes, "damaged", "\"2\"", 1000);
    put_proto(&bytes, "behind", "\"3\"", 1000);
    bytes.data[at + 1] ^= 0x40; /* 4 MiB more */
    store("data_1.db", &bytes);
    struct outcome outcome = check(2, 1);
    HAS(&outcome, "before", "1");
    HAS(&outcome, "behind", "3");
    outcome_fini(&outcome);
}
END_TEST

START_TEST(a_value_that_is_no_json_is_left_out_and_no_older_one_comes_back)
{
    struct sc_buf bytes = {0};
    put_proto(&bytes, "k", "\"older\"", 1000);
    put_proto(&bytes, "k", "{\"broken\": ", 2000);
    put_json(&bytes, "j", "\"older\"", 1000);
    put_json(&bytes, "j", "[1, ]", 2000);
    store("data_1.db", &bytes);
    struct outcome outcome = check(0, 2);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_NO_JSON], 2);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(an_object_named_like_our_escapes_stays_an_object)
{
    struct sc_buf bytes = {0};
    put_proto(&bytes, "k", "{\"$bin\": \"eA==\"}", 1000);
    store("data_1.db", &bytes);
    struct outcome outcome = check(1, 0);
    ck_assert(found_value(&outcome, "k") == sc_slot_hash(sc_slice_str("\x81\xa4$bin\xa4"
                                                                      "eA==")));
    outcome_fini(&outcome);
}
END_TEST

START_TEST(a_record_of_16_mib_is_read_though_it_begins_like_a_format_byte)
{
    struct sc_buf bytes = {0};
    size_t size = ((size_t)16 << 20) + 100;
    char *value = sc_alloc(size + 3);
    memset(value, 'x', size + 2);
    value[0] = value[size + 1] = '"';
    value[size + 2] = '\0';
    put_proto(&bytes, "large", value, 1000);
    put_proto(&bytes, "small", "\"1\"", 1000);
    ck_assert_uint_eq(bytes.data[0], 1);
    store("data_1.db", &bytes);
    struct outcome outcome = check(2, 0);
    ck_assert(found_value(&outcome, "large") != 0);
    free(value);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(beginnings_inside_each_other_take_no_longer_than_their_size)
{
    static const char beginning[] = "{\"key\": \"\", \"value\": ";
    struct sc_buf bytes = {0};
    for (int i = 0; i < 200000; i++) { /* 4 MiB: each tried to its end would be 400 GiB */
        sc_buf_append(&bytes, beginning, sizeof beginning - 1);
    }
    sc_buf_append(&bytes, "\n", 1);
    put_json(&bytes, "behind", "\"here\"", 1000);
    store("data_1.db", &bytes);
    struct outcome outcome = check(1, 1);
    HAS(&outcome, "behind", "here");
    outcome_fini(&outcome);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import_pybitcask");
    TCase *tcase = tcase_create("import_pybitcask");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_later_time_wins_wherever_it_stands);
    tcase_add_test(tcase, of_equal_times_the_later_place_wins);
    tcase_add_test(tcase, file_numbers_are_numbers_not_text);
    tcase_add_test(tcase, an_older_tombstone_deletes_nothing);
    tcase_add_test(tcase, null_is_a_value);
    tcase_add_test(tcase, records_behind_a_torn_one_are_found);
    tcase_add_test(tcase, only_the_newline_missing_leaves_the_record_whole);
    tcase_add_test(tcase, a_value_that_looks_like_a_record_is_none);
    tcase_add_test(tcase, format_bytes_may_stand_anywhere);
    tcase_add_test(tcase, a_damaged_length_loses_one_record_only);
    tcase_add_test(tcase, a_value_that_is_no_json_is_left_out_and_no_older_one_comes_back);
    tcase_add_test(tcase, an_object_named_like_our_escapes_stays_an_object);
    tcase_add_test(tcase, a_record_of_16_mib_is_read_though_it_begins_like_a_format_byte);
    tcase_add_test(tcase, beginnings_inside_each_other_take_no_longer_than_their_size);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
