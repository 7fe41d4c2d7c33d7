#include "client/shardcask.h"
#include "tests/check_main.h"

#include <string.h>

START_TEST(strings_bytes_and_integers_come_back)
{
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    const void *data = NULL;
    size_t size = 0;
    int64_t number = 0;
    ck_assert_int_eq(shardcask_value_set_str(&value, "text"), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_value_get_bytes(&value, &data, &size), SHARDCASK_OK);
    ck_assert_uint_eq(size, 4);
    ck_assert_mem_eq(data, "text", 4);
    /* From its own bytes. */
    ck_assert_int_eq(shardcask_value_set_bytes(&value, data, size), SHARDCASK_OK);
    ck_assert_uint_eq(value.size, 6);
    ck_assert_mem_eq(value.data, "\xc4\x04text", 6);
    ck_assert_int_eq(shardcask_value_get_int(&value, &number), SHARDCASK_WRONGTYPE);
    ck_assert_str_ne(shardcask_error(), "");
    ck_assert_int_eq(shardcask_value_set_int(&value, INT64_MIN), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_value_get_int(&value, &number), SHARDCASK_OK);
    ck_assert(number == INT64_MIN);
    ck_assert_int_eq(shardcask_value_get_bytes(&value, &data, &size), SHARDCASK_WRONGTYPE);
    ck_assert_int_eq(shardcask_value_set_bytes(&value, NULL, 0), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_value_get_bytes(&value, &data, &size), SHARDCASK_OK);
    ck_assert_uint_eq(size, 0);
    shardcask_value_free(&value);
    ck_assert_ptr_null(value.data);
    shardcask_value_free(&value);
}
END_TEST

START_TEST(json_goes_in_and_out)
{
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    char *json = NULL;
    size_t size = 0;
    const char *text = "{\"a\":[1,2.5,null],\"b\":{\"$bin\":\"AA==\"}}";
    ck_assert_int_eq(shardcask_value_set_json(&value, text, strlen(text)), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_value_get_json(&value, &json, &size), SHARDCASK_OK);
    ck_assert_str_eq(json, text);
    ck_assert_uint_eq(size, strlen(text));
    shardcask_free(json);
    shardcask_value_free(&value);
}
END_TEST

START_TEST(what_fails_leaves_the_value_alone)
{
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    struct shardcask_value cut = {(void *)"\x92\x01", 2, 0};
    char *json = NULL;
    int64_t number = 5;
    ck_assert_int_eq(shardcask_value_set_int(&value, 7), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_value_set_json(&value, "[1", 2), SHARDCASK_BADREQUEST);
    ck_assert_ptr_nonnull(strstr(shardcask_error(), "not JSON"));
    ck_assert_int_eq(shardcask_value_set_bytes(&value, "", (size_t)UINT32_MAX + 1),
                     SHARDCASK_TOOLARGE);
    ck_assert_int_eq(shardcask_value_get_int(&value, &number), SHARDCASK_OK);
    ck_assert_int_eq(number, 7);
    ck_assert_int_eq(shardcask_value_get_json(&cut, &json, NULL), SHARDCASK_BADREQUEST);
    ck_assert_ptr_null(json);
    ck_assert_int_eq(shardcask_value_get_int(&cut, &number), SHARDCASK_WRONGTYPE);
    shardcask_value_free(&value);
}
END_TEST

START_TEST(statuses_and_the_version_have_words)
{
    ck_assert_str_eq(shardcask_status_text(SHARDCASK_NOTFOUND), "not found");
    ck_assert_str_eq(shardcask_status_text(-5), "unknown status");
    ck_assert_uint_gt(strlen(shardcask_version()), 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("value");
    TCase *tcase = tcase_create("value");
    tcase_add_test(tcase, strings_bytes_and_integers_come_back);
    tcase_add_test(tcase, json_goes_in_and_out);
    tcase_add_test(tcase, what_fails_leaves_the_value_alone);
    tcase_add_test(tcase, statuses_and_the_version_have_words);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
