#include "tools/cli_words.h"

#include <stdio.h>
#include <string.h>

#include "tests/check_main.h"

/* Splits a line and compares the words, joined by |. */
static void check_words(const char *line, const char *expected)
{
    struct sc_cli_words words;
    char joined[256] = "";
    ck_assert_ptr_null(sc_cli_words_split(&words, line));
    for (size_t i = 0; i < words.count; i++) {
        size_t used = strlen(joined);
        snprintf(joined + used, sizeof joined - used, "%s%s", i > 0 ? "|" : "", words.words[i]);
    }
    ck_assert_str_eq(joined, expected);
    sc_cli_words_fini(&words);
}

static void check_wrong(const char *line)
{
    struct sc_cli_words words;
    ck_assert_ptr_nonnull(sc_cli_words_split(&words, line));
    ck_assert_uint_eq(words.count, 0);
}

START_TEST(blanks_separate)
{
    check_words("put key value\n", "put|key|value");
    check_words("  \tput \t key\r\n", "put|key");
    check_words("", "");
    check_words("   \n", "");
}
END_TEST

START_TEST(quotes_keep_blanks_and_join)
{
    check_words("put 'a b' \"c d\"", "put|a b|c d");
    check_words("a'b c'd\"e f\"g", "ab cde fg");
    check_words("put k '{\"a\": 1}'", "put|k|{\"a\": 1}");
    check_words("put k \"{\\\"a\\\": 1}\"", "put|k|{\"a\": 1}");
    check_words("get ''", "get|");
    check_words("'\\n' \"\\n\" \"\\\\\"", "\\n|\\n|\\");
}
END_TEST

START_TEST(a_backslash_makes_plain)
{
    check_words("a\\ b \\'c \\\\ \\#", "a b|'c|\\|#");
}
END_TEST

START_TEST(a_hash_begins_a_comment)
{
    check_words("count # how many", "count");
    check_words("# nothing", "");
    check_words("get a#b '#c'", "get|a#b|#c");
}
END_TEST

START_TEST(what_is_not_closed_is_wrong)
{
    check_wrong("put 'a b");
    check_wrong("put \"a b");
    check_wrong("put a\\");
    check_wrong("a b c \"d\\\"");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_words");
    TCase *tcase = tcase_create("cli_words");
    tcase_add_test(tcase, blanks_separate);
    tcase_add_test(tcase, quotes_keep_blanks_and_join);
    tcase_add_test(tcase, a_backslash_makes_plain);
    tcase_add_test(tcase, a_hash_begins_a_comment);
    tcase_add_test(tcase, what_is_not_closed_is_wrong);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
