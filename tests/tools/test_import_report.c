#include "tests/tools/import_fixture.h"
#include <errno.h>

#include "tools/import_report.h"

static char dir[PATH_MAX];
static char path[PATH_MAX + 64];

static void setup(void)
{
    make_dir(dir);
    snprintf(path, sizeof path, "%s/report", dir);
}

static void teardown(void)
{
    (void)unlink(path); /* not every test writes one */
    ck_assert_int_eq(rmdir(dir), 0);
}

static const struct sc_import_record lost = {
    .key = {"key", 3}, .number = 17, .file = "1.bitcask.data", .kind = SC_IMPORT_DAMAGED};
static const struct sc_import_record expired = {.kind = SC_IMPORT_EXPIRED};
static const struct sc_import_record harmless = {
    .key = {"\xff", 1}, .number = 5, .kind = SC_IMPORT_HARMLESS};

START_TEST(each_that_is_left_out_is_a_line)
{
    struct sc_import_report report;
    sc_import_report_init(&report, &sc_import_basho, "import", "/some/where", path);
    sc_import_report_leave_out(&report, &lost, 0, "why");
    sc_import_report_leave_out(&report, &lost, 3, "the store's words");
    sc_import_report_note(&report, &expired, "not listed");
    sc_import_report_note(&report, &harmless, "noted");
    ck_assert_int_eq(sc_import_report_close(&report), 0);
    struct sc_buf text = read_file(path);
    sc_buf_append(&text, "", 1);
    ck_assert_str_eq((char *)text.data,
                     "{\"file\":\"1.bitcask.data\",\"offset\":17,\"key\":\"key\","
                     "\"kind\":\"damaged record\",\"error\":\"why\"}\n"
                     "{\"file\":\"1.bitcask.data\",\"offset\":17,\"key\":\"key\","
                     "\"kind\":\"damaged record\",\"error\":\"the store's words\",\"status\":3}\n"
                     "{\"offset\":5,\"key\":{\"$bin\":\"/w==\"},\"kind\":\"damage without loss\","
                     "\"error\":\"noted\",\"noted\":true}\n");
    ck_assert_uint_eq(report.left_out, 2);
    ck_assert_uint_eq(report.listed, 3);
    sc_buf_fini(&text);
    sc_import_report_fini(&report);
}
END_TEST

START_TEST(counts_are_by_kind)
{
    struct sc_import_report report;
    struct sc_buf counts = {0};
    sc_import_report_init(&report, &sc_import_rdb, "import", "dump.rdb", path);
    sc_import_report_leave_out(&report, &lost, 0, "why");
    sc_import_report_leave_out(&report, &lost, 0, "why");
    sc_import_report_note(&report, &expired, "not listed");
    sc_import_report_put(&report, &counts);
    static const char expected[] = "\xa7reasons\x81\xae"
                                   "damaged record\x02\xa5notes\x81\xab"
                                   "expired key\x01";
    ck_assert(sc_slice_equal(sc_buf_slice(&counts), sc_slice(expected, sizeof expected - 1)));
    sc_buf_fini(&counts);
    sc_import_report_fini(&report);
}
END_TEST

START_TEST(without_a_path_it_is_named_after_the_source)
{
    static const char *const names[][2] = {
        {"/var/lib/redis/dump.rdb", "dump.rdb.import-report.jsonl"},
        {"riak/0//", "0.import-report.jsonl"},
        {"data", "data.import-report.jsonl"},
        {"-", "shardcask.import-report.jsonl"},
        {"/", "shardcask.import-report.jsonl"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct sc_import_report report;
        sc_import_report_init(&report, &sc_import_rdb, "import", names[i][0], NULL);
        ck_assert_str_eq(report.path, names[i][1]);
        sc_import_report_note(&report, &expired, "nothing to be listed");
        ck_assert_int_eq(sc_import_report_close(&report), 0);
        ck_assert_int_ne(access(report.path, F_OK), 0); /* so there is no file */
        sc_import_report_fini(&report);
    }
}
END_TEST

START_TEST(a_report_that_cannot_be_written_is_told)
{
    struct sc_import_report report;
    sc_import_report_init(&report, &sc_import_rdb, "import", "dump.rdb", "/nonexistent/report");
    ck_assert_int_eq(report.error, ENOENT);
    sc_import_report_leave_out(&report, &lost, 0, "why");
    ck_assert_uint_eq(report.left_out, 1);
    ck_assert_int_eq(sc_import_report_close(&report), ENOENT);
    sc_import_report_fini(&report);

    sc_import_report_init(&report, &sc_import_rdb, "import", "dump.rdb", "/dev/full");
    sc_import_report_leave_out(&report, &lost, 0, "why");
    ck_assert_int_eq(sc_import_report_close(&report), ENOSPC);
    sc_import_report_fini(&report);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import_report");
    TCase *tcase = tcase_create("import_report");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, each_that_is_left_out_is_a_line);
    tcase_add_test(tcase, counts_are_by_kind);
    tcase_add_test(tcase, without_a_path_it_is_named_after_the_source);
    tcase_add_test(tcase, a_report_that_cannot_be_written_is_told);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
