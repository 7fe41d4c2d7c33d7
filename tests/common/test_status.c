#include "common/status.h"

#include <string.h>

#include "tests/check_main.h"

/* The numbers are part of the wire protocol: this list is a second copy on purpose. */
START_TEST(numbers_never_change)
{
    static const struct {
        int status, number;
        const char *text;
    } list[] = {
        {SC_OK, 0, "ok"},
        {SC_NOTFOUND, 1, "not found"},
        {SC_BADREQUEST, 2, "bad request"},
        {SC_TOOLARGE, 3, "too large"},
        {SC_MISMATCH, 4, "version mismatch"},
        {SC_WRONGTYPE, 5, "wrong type"},
        {SC_MOVED, 6, "moved"},
        {SC_UNAVAILABLE, 7, "shard unavailable"},
        {SC_UNKNOWN, 8, "timed out, outcome unknown"},
        {SC_BUSY, 9, "busy"},
        {SC_IO, 10, "storage error"},
        {SC_CORRUPT, 11, "corrupt"},
        {SC_DENIED, 12, "not permitted"},
        {SC_INTERNAL, 13, "internal error"},
    };
    for (int i = 0; i < (int)(sizeof list / sizeof *list); i++) {
        ck_assert_int_eq(list[i].status, list[i].number);
        ck_assert_int_eq(list[i].number, i);
        ck_assert_str_eq(sc_status_str(i), list[i].text);
    }
}
END_TEST

START_TEST(other_numbers_have_words_too)
{
    ck_assert_str_eq(sc_status_str(14), "unknown status");
    ck_assert_str_eq(sc_status_str(-1), "unknown status");
}
END_TEST

START_TEST(failing_gives_the_status_and_the_sentence)
{
    char why[SC_WHY_SIZE];
    ck_assert_int_eq(sc_fail(why, SC_IO, "cannot open %s: %d", "x", 5), SC_IO);
    ck_assert_str_eq(why, "cannot open x: 5");
    ck_assert_int_eq(sc_fail(NULL, SC_CORRUPT, "nobody reads this"), SC_CORRUPT);
}
END_TEST

START_TEST(a_long_sentence_is_cut)
{
    char why[SC_WHY_SIZE + 1];
    memset(why, '!', sizeof why);
    ck_assert_int_eq(sc_fail(why, SC_IO, "%0500d", 1), SC_IO);
    ck_assert_uint_eq(strlen(why), SC_WHY_SIZE - 1);
    ck_assert_int_eq(why[SC_WHY_SIZE], '!');
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("status");
    TCase *tcase = tcase_create("status");
    tcase_add_test(tcase, numbers_never_change);
    tcase_add_test(tcase, other_numbers_have_words_too);
    tcase_add_test(tcase, failing_gives_the_status_and_the_sentence);
    tcase_add_test(tcase, a_long_sentence_is_cut);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
