/* RDB files made by hand: what the samples do not have. */
#include "common/bytes.h"
#include "tests/tools/import_fixture.h"
#include "tools/crc.h"

static char dir[PATH_MAX];

static void setup(void)
{
    make_dir(dir);
}

static void teardown(void)
{
    remove_file(dir, "dump.rdb");
    ck_assert_int_eq(rmdir(dir), 0);
}

#define ADD(file, literal) sc_buf_append(file, literal, sizeof(literal) - 1)

/* Appends a plain string of up to 63 bytes. */
static void put_string(struct sc_buf *file, const char *text)
{
    sc_buf_append(file, &(uint8_t){(uint8_t)strlen(text)}, 1);
    sc_buf_append_slice(file, sc_slice_str(text));
}

static void put_pair(struct sc_buf *file, const char *key, const char *value)
{
    ADD(file, "\0");
    put_string(file, key);
    put_string(file, value);
}

static void put_expiry(struct sc_buf *file, int64_t expire_ms)
{
    uint8_t number[8];
    sc_le64_put(number, (uint64_t)expire_ms);
    ADD(file, "\xfc");
    sc_buf_append(file, number, sizeof number);
}

static struct sc_buf begin(const char *magic)
{
    struct sc_buf file = {0};
    sc_buf_append_slice(&file, sc_slice_str(magic));
    return file;
}

/* Ends the file with its checksum, writes and imports it, and empties the buffer. */
static struct outcome finish(struct sc_buf *file, struct sc_import_options options)
{
    struct sc_crc crc;
    uint8_t sum[8];
    char path[PATH_MAX + 64];
    ADD(file, "\xff");
    sc_crc_init(&crc, SC_CRC_64_JONES);
    sc_le64_put(sum, sc_crc_update(&crc, 0, file->data, file->size));
    sc_buf_append(file, sum, sizeof sum);
    write_file(dir, "dump.rdb", sc_buf_slice(file));
    sc_buf_fini(file);
    snprintf(path, sizeof path, "%s/dump.rdb", dir);
    ck_assert_ptr_eq(sc_import_detect(path), &sc_import_rdb);
    return import_with(&sc_import_rdb, path, options);
}

static struct outcome check(struct sc_buf *file, size_t imported, size_t left_out)
{
    struct outcome outcome = finish(file, (struct sc_import_options){.db = -1});
    ck_assert_msg(!outcome.failed, "%s", outcome.why);
    ck_assert_uint_eq(outcome.imported, imported);
    ck_assert_uint_eq(outcome.count - outcome.imported, left_out);
    return outcome;
}

#define HAS(outcome, key, text) ck_assert_msg(found_text(outcome, key, text, true), "%s", key)

START_TEST(strings_come_in_every_form)
{
    struct sc_buf file = begin("REDIS0011");
    ADD(&file, "\0\x01"
               "a\x40\x03"
               "abc"); /* 14 bits */
    ADD(&file, "\0\x01"
               "b\x80\0\0\0\x03"
               "abc"); /* 32 bits */
    ADD(&file, "\0\x01"
               "c\x81\0\0\0\0\0\0\0\x03"
               "abc"); /* 64 bits */
    ADD(&file, "\0\x01"
               "d\xc0\x80"); /* an integer of 8 bits... */
    ADD(&file, "\0\x01"
               "e\xc1\xff\x7f");
    ADD(&file, "\0\x01"
               "f\xc2\0\0\0\x80");
    ADD(&file, "\0\x01"
               "g\xc3\x04\x05\x00"
               "a\x40\x00"); /* compressed: aaaaa */
    ADD(&file, "\0\xc0\x07\x00"); /* the key is an integer, the value empty */
    struct outcome outcome = check(&file, 8, 0);
    HAS(&outcome, "a", "abc");
    HAS(&outcome, "b", "abc");
    HAS(&outcome, "c", "abc");
    HAS(&outcome, "d", "-128");
    HAS(&outcome, "e", "32767");
    HAS(&outcome, "f", "-2147483648");
    HAS(&outcome, "g", "aaaaa");
    HAS(&outcome, "7", "");
    outcome_fini(&outcome);
}
END_TEST

START_TEST(a_compressed_string_that_does_not_expand_is_left_out)
{
    struct sc_buf file = begin("REDIS0011");
    ADD(&file, "\0\x01"
               "g\xc3\x04\x06\x00"
               "a\x40\x00"); /* five bytes, not six */
    ADD(&file, "\0\xc3\x04\x06\x00"
               "a\x40\x00\x01v"); /* a key */
    put_pair(&file, "k", "v");
    struct outcome outcome = check(&file, 1, 2);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_DAMAGED], 2);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(an_impossible_size_is_refused_before_memory_is_taken)
{
    struct sc_buf file = begin("REDIS0011");
    ADD(&file, "\0\x01"
               "g\xc3\x04\x81\x10\0\0\0\0\0\0\0\x00"
               "a\x40\x00");
    struct outcome outcome = finish(&file, (struct sc_import_options){.db = -1});
    ck_assert(outcome.failed);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(expiries_are_kept_dropped_or_cut)
{
    int64_t now_ms = (int64_t)(sc_clock_wall_us() / 1000);
    uint8_t seconds[4];
    struct sc_buf file = begin("REDIS0011");
    put_expiry(&file, now_ms + 100000);
    ADD(&file, "\xf9\x05"); /* a frequency between the expiry and the key */
    put_pair(&file, "later", "v");
    put_pair(&file, "never", "v");
    put_expiry(&file, now_ms - 1);
    ADD(&file, "\xf8\x40\x05"); /* an idle time */
    put_pair(&file, "past", "v");
    sc_le32_put(seconds, (uint32_t)(now_ms / 1000 + 100));
    ADD(&file, "\xfd");
    sc_buf_append(&file, seconds, sizeof seconds);
    put_pair(&file, "seconds", "v");
    put_expiry(&file, INT64_MAX);
    put_pair(&file, "eternal", "v");
    put_expiry(&file, now_ms - 1);
    ADD(&file, "\x02\x01s\x01\x01m"); /* a set that has expired */
    struct outcome outcome = check(&file, 4, 0);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_EXPIRED], 2);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_LONG_TTL], 1);
    HAS(&outcome, "eternal", "v");
    for (size_t i = 0; i < outcome.count; i++) {
        uint64_t expire_ms = outcome.found[i].expire_ms;
        if (outcome.found[i].key == sc_slot_hash(sc_slice_str("never"))) {
            ck_assert_uint_eq(expire_ms, 0);
        } else if (outcome.found[i].key == sc_slot_hash(sc_slice_str("eternal"))) {
            ck_assert_uint_ge(expire_ms, (uint64_t)now_ms + SC_TTL_MS_MAX);
        } else if (outcome.found[i].key == sc_slot_hash(sc_slice_str("seconds"))) {
            ck_assert_uint_eq(expire_ms, ((uint64_t)now_ms / 1000 + 100) * 1000);
        } else {
            ck_assert_uint_eq(expire_ms, (uint64_t)now_ms + 100000);
        }
    }
    outcome_fini(&outcome);
}
END_TEST

/* One value of each type that is not a string, as its number, "k" and what follows. */
#define EMPTY_STREAM \
    "\x01\x10"       \
    "0123456789abcdef\x02lp\x01\x02\x03"
static const struct {
    const char *magic;
    const char *bytes;
    size_t size;
    enum sc_import_kind kind;
} others[] = {
#define OTHER(magic, bytes, kind)             \
    {                                         \
        magic, bytes, sizeof(bytes) - 1, kind \
    }
    OTHER("REDIS0001", "\x01\x01k\x02\x01x\xc0\x05", SC_IMPORT_REDIS_LIST),
    OTHER("REDIS0005", "\x02\x01k\x02\x01x\x01y", SC_IMPORT_REDIS_SET),
    OTHER("REDIS0006",
          "\x03\x01k\x04\x01x\x03"
          "1.5\x01y\xfd\x01z\xfe\x01w\xff",
          SC_IMPORT_REDIS_ZSET),
    OTHER("REDIS0006", "\x04\x01k\x01\x01x\x01y", SC_IMPORT_REDIS_HASH),
    OTHER("REDIS0010",
          "\x05\x01k\x01\x01x"
          "12345678",
          SC_IMPORT_REDIS_ZSET),
    OTHER("REDIS0010",
          "\x07\x01k\x81\1\2\3\4\5\6\7\x08\x01\x05\x02\x06\x03"
          "1234\x04"
          "12345678\x05\x02st\x00",
          SC_IMPORT_REDIS_MODULE),
    OTHER("REDIS0006", "\x09\x01k\x02zm", SC_IMPORT_REDIS_HASH),
    OTHER("REDIS0006", "\x0a\x01k\x02zl", SC_IMPORT_REDIS_LIST),
    OTHER("REDIS0006", "\x0b\x01k\x02is", SC_IMPORT_REDIS_SET),
    OTHER("REDIS0006", "\x0c\x01k\x02zl", SC_IMPORT_REDIS_ZSET),
    OTHER("REDIS0006", "\x0d\x01k\x02zl", SC_IMPORT_REDIS_HASH),
    OTHER("REDIS0009", "\x0e\x01k\x02\x02zl\x02zl", SC_IMPORT_REDIS_LIST),
    OTHER("REDIS0009",
          "\x0f\x01k" EMPTY_STREAM "\x01\x01g\x01\x02\x01"
          "0123456789abcdef12345678\x07\x01\x01"
          "c12345678\x01"
          "0123456789abcdef",
          SC_IMPORT_REDIS_STREAM),
    OTHER("REDIS0010", "\x10\x01k\x02lp", SC_IMPORT_REDIS_HASH),
    OTHER("REDIS0010", "\x11\x01k\x02lp", SC_IMPORT_REDIS_ZSET),
    OTHER("REDIS0010", "\x12\x01k\x02\x02\x02lp\x01\x02pl", SC_IMPORT_REDIS_LIST),
    OTHER("REDIS0010", "\x13\x01k" EMPTY_STREAM "\x01\x02\x03\x04\x05\x01\x01g\x01\x02\x03\x00\x00",
          SC_IMPORT_REDIS_STREAM),
    OTHER("REDIS0011", "\x14\x01k\x02lp", SC_IMPORT_REDIS_SET),
    OTHER("REDIS0011",
          "\x15\x01k" EMPTY_STREAM "\x01\x02\x03\x04\x05\x01\x01g\x01\x02\x03\x00\x01\x01"
          "c1234567812345678\x00",
          SC_IMPORT_REDIS_STREAM),
    OTHER("REDIS0012", "\x16\x01k\x01\x00\x01x\x01y", SC_IMPORT_REDIS_HASH),
    OTHER("VALKEY080",
          "\x16\x01k\x01\x01x\x01y"
          "12345678",
          SC_IMPORT_REDIS_HASH),
    OTHER("REDIS0012", "\x17\x01k\x02lp", SC_IMPORT_REDIS_HASH),
    OTHER("REDIS0012",
          "\x18\x01k"
          "12345678\x01\x05\x01x\x01y",
          SC_IMPORT_REDIS_HASH),
    OTHER("REDIS0012",
          "\x19\x01k"
          "12345678\x02lp",
          SC_IMPORT_REDIS_HASH),
    /* No keys: a function library, a module's data. */
    OTHER("REDIS0010",
          "\xf5\x04"
          "code",
          SC_IMPORT_REDIS_FUNCTION),
    OTHER("REDIS0010", "\xf7\x81\1\2\3\4\5\6\7\x08\x02\x01\x05\x02st\x00", SC_IMPORT_REDIS_MODULE),
#undef OTHER
};
#define OTHERS (sizeof others / sizeof *others)

/* Whatever it is, the next key is read. */
START_TEST(values_of_other_types_are_stepped_over)
{
    struct sc_buf file = begin(others[_i].magic);
    ADD(&file, "\xfa\x01x\x01y\xfe\x00\xfb\x05\x05\xf4\x01\x02\x03");
    put_pair(&file, "before", "v");
    sc_buf_append(&file, others[_i].bytes, others[_i].size);
    put_pair(&file, "behind", "v");
    bool has_sum = strcmp(others[_i].magic, "REDIS0005") >= 0;
    struct outcome outcome = check(&file, 2, has_sum ? 1 : 2);
    ck_assert_uint_eq(outcome.kinds[others[_i].kind], 1);
    /* Before version 5 the checksum is eight bytes too many. */
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_TRAILING], has_sum ? 0 : 1);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(an_unknown_type_is_named_and_nothing_is_imported)
{
    static const char *const unknown[] = {"\x06", "\x08", "\x1a", "\xf3", "\xf6"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        struct sc_buf file = begin("REDIS0011");
        put_pair(&file, "k", "v");
        sc_buf_append(&file, unknown[i], 1);
        put_string(&file, "key");
        put_string(&file, "value");
        struct outcome outcome = finish(&file, (struct sc_import_options){.db = -1});
        ck_assert(outcome.failed);
        ck_assert_uint_eq(outcome.imported, 0);
        ck_assert_msg(strstr(outcome.why, "unknown kind") != NULL, "%s", outcome.why);
        outcome_fini(&outcome);
    }
}
END_TEST

START_TEST(salvage_takes_what_is_before_the_unknown)
{
    struct sc_buf file = begin("REDIS0011");
    put_pair(&file, "k", "v");
    ADD(&file, "\x1a\x03key");
    struct outcome outcome = finish(&file, (struct sc_import_options){.db = -1, .salvage = true});
    ck_assert(!outcome.failed);
    ck_assert_uint_eq(outcome.imported, 1);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_STRETCH], 1);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(keys_that_cannot_be_held_are_left_out)
{
    struct sc_buf file = begin("REDIS0011");
    static char key[SC_KEY_MAX + 1];
    memset(key, 'k', sizeof key);
    put_pair(&file, "", "the empty key");
    ADD(&file, "\0\x80\0\1\0\0"); /* 65,536 */
    sc_buf_append(&file, key, SC_KEY_MAX + 1);
    ADD(&file, "\x01v");
    ADD(&file, "\0\x80\0\0\xff\xff"); /* 65,535 */
    sc_buf_append(&file, key, SC_KEY_MAX);
    ADD(&file, "\x01v");
    struct outcome outcome = check(&file, 1, 2);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_EMPTY_KEY], 1);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_LONG_KEY], 1);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(one_database_of_any_number_needs_no_choice)
{
    struct sc_buf file = begin("REDIS0011");
    ADD(&file, "\xfe\x00\xfe\x07");
    put_pair(&file, "k", "seven");
    struct outcome outcome = check(&file, 1, 0);
    HAS(&outcome, "k", "seven");
    outcome_fini(&outcome);
}
END_TEST

START_TEST(data_behind_the_end_is_told)
{
    char path[PATH_MAX + 64];
    struct sc_buf file = begin("REDIS0011");
    put_pair(&file, "k", "v");
    ADD(&file, "\xff\0\0\0\0\0\0\0\0*1\r\n$8\r\nFLUSHALL\r\n");
    write_file(dir, "dump.rdb", sc_buf_slice(&file));
    sc_buf_fini(&file);
    snprintf(path, sizeof path, "%s/dump.rdb", dir);
    struct outcome outcome = import_path(&sc_import_rdb, path);
    ck_assert(!outcome.failed);
    ck_assert_uint_eq(outcome.imported, 1);
    ck_assert_uint_eq(outcome.kinds[SC_IMPORT_TRAILING], 1);
    outcome_fini(&outcome);
}
END_TEST

START_TEST(an_empty_file_has_nothing)
{
    struct sc_buf file = begin("REDIS0011");
    struct outcome outcome = check(&file, 0, 0);
    outcome_fini(&outcome);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import_rdb");
    TCase *tcase = tcase_create("import_rdb");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, strings_come_in_every_form);
    tcase_add_test(tcase, a_compressed_string_that_does_not_expand_is_left_out);
    tcase_add_test(tcase, an_impossible_size_is_refused_before_memory_is_taken);
    tcase_add_test(tcase, expiries_are_kept_dropped_or_cut);
    tcase_add_loop_test(tcase, values_of_other_types_are_stepped_over, 0, OTHERS);
    tcase_add_test(tcase, an_unknown_type_is_named_and_nothing_is_imported);
    tcase_add_test(tcase, salvage_takes_what_is_before_the_unknown);
    tcase_add_test(tcase, keys_that_cannot_be_held_are_left_out);
    tcase_add_test(tcase, one_database_of_any_number_needs_no_choice);
    tcase_add_test(tcase, data_behind_the_end_is_told);
    tcase_add_test(tcase, an_empty_file_has_nothing);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
