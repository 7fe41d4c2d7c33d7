#include "tools/cli_text.h"

#include <stdlib.h>

#include "common/limits.h"
#include "common/mp.h"
#include "common/status.h"
#include "tests/check_main.h"

static char why[SC_WHY_SIZE];

static void check_key(const char *word, const void *bytes, size_t size)
{
    struct sc_buf key = {0};
    ck_assert_msg(sc_cli_text_key(word, &key, why), "%s: %s", word, why);
    ck_assert(sc_slice_equal(sc_buf_slice(&key), sc_slice(bytes, size)));
    sc_buf_fini(&key);
}

static void check_bad_key(const char *word)
{
    struct sc_buf key = {0};
    why[0] = '\0';
    ck_assert_msg(!sc_cli_text_key(word, &key, why), "%s", word);
    ck_assert_str_ne(why, "");
    sc_buf_fini(&key);
}

static void check_value(const char *text, bool raw, const void *bytes, size_t size)
{
    struct sc_buf value = {0};
    ck_assert_msg(sc_cli_text_value(sc_slice_str(text), raw, &value, why), "%s: %s", text, why);
    ck_assert_msg(sc_slice_equal(sc_buf_slice(&value), sc_slice(bytes, size)), "%s", text);
    sc_buf_fini(&value);
}

START_TEST(a_key_is_the_bytes_given)
{
    check_key("user:1", "user:1", 6);
    check_key("\"quoted\"", "\"quoted\"", 8);
    check_key("5", "5", 1);
    check_key("{\"a\":1}", "{\"a\":1}", 7);
    check_key("{", "{", 1);
    check_key("\xff\xfe", "\xff\xfe", 2);
    check_key("\xc3\xa4", "\xc3\xa4", 2);
}
END_TEST

START_TEST(a_wrapped_key_is_unwrapped)
{
    check_key("{\"$bin\":\"AAEC\"}", "\0\1\2", 3);
    check_key("{ \"$bin\" : \"/w==\" }", "\xff", 1);
    check_key("{\"$str\":\"/w==\"}", "\xff", 1);
}
END_TEST

START_TEST(a_key_that_only_looks_wrapped_is_refused)
{
    check_bad_key("{\"$bin\":5}");
    check_bad_key("{\"$bin\":\"***\"}");
    check_bad_key("{\"$bin\":\"AAEC\"");
    check_bad_key("{\"$bin\":\"AAEC\",\"more\":1}");
    check_bad_key("{\"$ext\":[1,\"AAEC\"]}");
}
END_TEST

START_TEST(keys_have_1_to_65535_bytes)
{
    check_bad_key("");
    check_bad_key("{\"$bin\":\"\"}");
    char *word = malloc(SC_KEY_MAX + 2);
    memset(word, 'k', SC_KEY_MAX + 1);
    word[SC_KEY_MAX + 1] = '\0';
    check_bad_key(word);
    word[SC_KEY_MAX] = '\0';
    check_key(word, word, SC_KEY_MAX);
    free(word);
}
END_TEST

START_TEST(a_value_is_json_when_it_parses)
{
    check_value("5", false, "\x05", 1);
    check_value(" null ", false, "\xc0", 1);
    check_value("\"5\"", false,
                "\xa1"
                "5",
                2);
    check_value("[true,false]", false, "\x92\xc3\xc2", 3);
    check_value("{\"$bin\":\"AAEC\"}", false, "\xc4\x03\0\1\2", 5);
}
END_TEST

START_TEST(any_other_value_is_a_string)
{
    check_value("hello", false, "\xa5hello", 6);
    check_value("", false, "\xa0", 1);
    check_value("{no json}", false, "\xa9{no json}", 10);
    check_value("1 2", false,
                "\xa3"
                "1 2",
                4);
    check_value("\xff", false, "\xa1\xff", 2);
}
END_TEST

START_TEST(a_value_that_only_looks_wrapped_is_refused)
{
    struct sc_buf value = {0};
    ck_assert(!sc_cli_text_value(sc_slice_str("{\"$bin\":5}"), false, &value, why));
    ck_assert(!sc_cli_text_value(sc_slice_str("{\"$float\":\"big\"}"), false, &value, why));
    sc_buf_fini(&value);
}
END_TEST

START_TEST(a_raw_value_is_bytes)
{
    check_value("5", true,
                "\xc4\x01"
                "5",
                3);
    check_value("{\"$bin\":5}", true, "\xc4\x0a{\"$bin\":5}", 12);
    check_value("", true, "\xc4\x00", 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_text");
    TCase *tcase = tcase_create("cli_text");
    tcase_add_test(tcase, a_key_is_the_bytes_given);
    tcase_add_test(tcase, a_wrapped_key_is_unwrapped);
    tcase_add_test(tcase, a_key_that_only_looks_wrapped_is_refused);
    tcase_add_test(tcase, keys_have_1_to_65535_bytes);
    tcase_add_test(tcase, a_value_is_json_when_it_parses);
    tcase_add_test(tcase, any_other_value_is_a_string);
    tcase_add_test(tcase, a_value_that_only_looks_wrapped_is_refused);
    tcase_add_test(tcase, a_raw_value_is_bytes);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
