#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "tests/check_main.h"
#include "tools/import.h"

static char path[64];
static char why[SC_WHY_SIZE];
static struct sc_import_record record;
static const struct sc_import_options options = {.db = -1};

static struct sc_import_reader *open_text(const char *text, size_t size)
{
    snprintf(path, sizeof path, "/tmp/sc-import-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, size), (ssize_t)size);
    close(fd);
    struct sc_import_reader *reader = sc_import_jsonl.open(path, &options, why);
    ck_assert_ptr_nonnull(reader);
    ck_assert_int_eq(unlink(path), 0);
    return reader;
}

static enum sc_import_result next(struct sc_import_reader *reader)
{
    return sc_import_jsonl.next(reader, &record, why);
}

static void check_record(struct sc_import_reader *reader, const char *key, const char *value,
                         size_t size, uint64_t ttl_ms, uint64_t line)
{
    ck_assert_msg(next(reader) == SC_IMPORT_RECORD, "%s", why);
    ck_assert(sc_slice_equal(record.key, sc_slice_str(key)));
    ck_assert(sc_slice_equal(record.value, sc_slice(value, size)));
    ck_assert_uint_eq(record.ttl_ms, ttl_ms);
    ck_assert_uint_eq(record.number, line);
}

static struct sc_import_reader *open_line(const char *text)
{
    return open_text(text, strlen(text));
}

START_TEST(records_come_in_order)
{
    struct sc_import_reader *reader = open_line("{\"key\":\"a\",\"value\":1}\n"
                                                "\n   \r\n"
                                                "{\"ttl_ms\":5000,\"value\":[],\"key\":\"b\"}\r\n"
                                                "{\"key\":{\"$bin\":\"Yw==\"},\"value\":null,"
                                                "\"ttl_ms\":null}");
    check_record(reader, "a", "\x01", 1, 0, 1);
    check_record(reader, "b", "\x90", 1, 5000, 4);
    check_record(reader, "c", "\xc0", 1, 0, 5);
    ck_assert_int_eq(next(reader), SC_IMPORT_END);
    ck_assert_int_eq(next(reader), SC_IMPORT_END);
    uint64_t at = 0;
    uint64_t size = 0;
    sc_import_jsonl.position(reader, &at, &size);
    ck_assert_uint_gt(size, 0);
    ck_assert_uint_eq(at, size);
    sc_import_jsonl.close(reader);
}
END_TEST

START_TEST(a_time_of_expiry_stays_what_it_is)
{
    uint64_t now_ms = sc_clock_wall_us() / 1000;
    char text[300];
    snprintf(text, sizeof text,
             "{\"key\":\"past\",\"value\":1,\"expires_ms\":%" PRIu64 "}\n"
             "{\"key\":\"far\",\"value\":1,\"expires_ms\":%" PRIu64 "}\n"
             "{\"key\":\"later\",\"value\":1,\"expires_ms\":%" PRIu64 "}\n"
             "{\"key\":\"never\",\"value\":1,\"expires_ms\":null}\n",
             now_ms - 1, now_ms + SC_TTL_MS_MAX + 600000, now_ms + 600000);
    struct sc_import_reader *reader = open_line(text);
    ck_assert_int_eq(next(reader), SC_IMPORT_NOTE);
    ck_assert_int_eq(record.kind, SC_IMPORT_EXPIRED);
    ck_assert_int_eq(next(reader), SC_IMPORT_LEFT_OUT);
    check_record(reader, "later", "\x01", 1, 0, 3);
    ck_assert_uint_eq(record.expires_ms, now_ms + 600000);
    check_record(reader, "never", "\x01", 1, 0, 4);
    ck_assert_uint_eq(record.expires_ms, 0);
    sc_import_jsonl.close(reader);
}
END_TEST

START_TEST(bad_lines_are_told_and_passed)
{
    static const char *const bad[] = {
        "nonsense",
        "5",
        "[]",
        "{}",
        "{\"key\":\"a\"}",
        "{\"value\":1}",
        "{\"key\":5,\"value\":1}",
        "{\"key\":\"\",\"value\":1}",
        "{\"key\":\"a\",\"value\":1,\"ttl_ms\":0}",
        "{\"key\":\"a\",\"value\":1,\"ttl_ms\":3155760000001}",
        "{\"key\":\"a\",\"value\":1,\"ttl_ms\":1.5}",
        "{\"key\":\"a\",\"value\":1,\"ttl_ms\":\"5\"}",
        "{\"key\":\"a\",\"value\":1,\"expires_ms\":0}",
        "{\"key\":\"a\",\"value\":1,\"expires_ms\":18446744073709551615}",
        "{\"key\":\"a\",\"value\":1,\"expires_ms\":3155760000000,\"ttl_ms\":1}",
        "{\"key\":\"a\",\"value\":1,\"extra\":1}",
        "{\"key\":\"a\",\"value\":1} {\"key\":\"b\",\"value\":1}",
        "{\"key\":\"a\",\"value\":1",
        "{\"$map\":[[1,2]]}",
        "{\"key\":\"a\",\"value\":\"\xff\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[256];
        snprintf(text, sizeof text, "%s\n{\"key\":\"next\",\"value\":1}\n", bad[i]);
        struct sc_import_reader *reader = open_line(text);
        why[0] = '\0';
        ck_assert_msg(next(reader) == SC_IMPORT_LEFT_OUT, "%s", bad[i]);
        ck_assert_str_ne(why, "");
        ck_assert_uint_eq(record.number, 1);
        check_record(reader, "next", "\x01", 1, 0, 2);
        ck_assert_int_eq(next(reader), SC_IMPORT_END);
        sc_import_jsonl.close(reader);
    }
}
END_TEST

START_TEST(a_nul_in_a_line_is_no_end)
{
    static const char text[] = "{\"key\":\"a\0b\",\"value\":1}\n{\"key\":\"c\",\"value\":1}\n";
    struct sc_import_reader *reader = open_text(text, sizeof text - 1);
    ck_assert_int_eq(next(reader), SC_IMPORT_LEFT_OUT);
    check_record(reader, "c", "\x01", 1, 0, 2);
    sc_import_jsonl.close(reader);
}
END_TEST

START_TEST(long_lines_span_many_reads)
{
    size_t size = 3000000;
    char *text = malloc(size + 64);
    int head = sprintf(text, "{\"key\":\"long\",\"value\":\"");
    memset(text + head, 'x', size);
    int tail = sprintf(text + head + size, "\"}\n{\"key\":\"c\",\"value\":1}\n");
    struct sc_import_reader *reader = open_text(text, (size_t)head + size + (size_t)tail);
    ck_assert_int_eq(next(reader), SC_IMPORT_RECORD);
    ck_assert_uint_eq(record.value.size, size + 5);
    check_record(reader, "c", "\x01", 1, 0, 2);
    ck_assert_int_eq(next(reader), SC_IMPORT_END);
    sc_import_jsonl.close(reader);
    free(text);
}
END_TEST

START_TEST(an_empty_file_has_no_records)
{
    struct sc_import_reader *reader = open_line("");
    ck_assert_int_eq(next(reader), SC_IMPORT_END);
    sc_import_jsonl.close(reader);
}
END_TEST

START_TEST(what_cannot_be_opened_is_told)
{
    ck_assert_ptr_null(sc_import_jsonl.open("/nonexistent/file", &options, why));
    ck_assert_ptr_nonnull(strstr(why, "/nonexistent/file"));
    ck_assert_ptr_null(sc_import_jsonl.open("/tmp", &options, why));
    ck_assert_ptr_nonnull(strstr(why, "directory"));
}
END_TEST

START_TEST(formats_go_by_their_names)
{
    ck_assert_ptr_eq(sc_import_format("jsonl"), &sc_import_jsonl);
    ck_assert_ptr_null(sc_import_format("nonsense"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import_jsonl");
    TCase *tcase = tcase_create("import_jsonl");
    tcase_add_test(tcase, records_come_in_order);
    tcase_add_test(tcase, a_time_of_expiry_stays_what_it_is);
    tcase_add_test(tcase, bad_lines_are_told_and_passed);
    tcase_add_test(tcase, a_nul_in_a_line_is_no_end);
    tcase_add_test(tcase, long_lines_span_many_reads);
    tcase_add_test(tcase, an_empty_file_has_no_records);
    tcase_add_test(tcase, what_cannot_be_opened_is_told);
    tcase_add_test(tcase, formats_go_by_their_names);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
