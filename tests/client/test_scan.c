#include <stdio.h>

#include "client/shardcask.h"
#include "tests/check_main.h"
#include "tests/client/fake_server.h"

enum { KEYS = 250 };

static struct fake_server fake;
static struct shardcask *db;

static void setup(void)
{
    fake_start(&fake);
    ck_assert_int_eq(shardcask_open(fake.url, NULL, &db, NULL), SHARDCASK_OK);
    for (int i = 0; i < KEYS; i++) {
        char key[32];
        char text[16];
        (void)snprintf(key, sizeof key, "%s:%03d", i % 2 == 0 ? "even" : "odd", i);
        (void)snprintf(text, sizeof text, "%d", i);
        ck_assert_int_eq(shardcask_put_json(db, key, text, NULL, NULL), SHARDCASK_OK);
    }
}

static void teardown(void)
{
    shardcask_close(db);
    fake_end(&fake);
}

/* Scans to the end; returns how many keys came, checks that each value belongs to its key. */
static int scan_all(const struct shardcask_scan_options *options, const char *prefix)
{
    struct shardcask_scan *scan;
    const void *key;
    const void *value;
    size_t key_size;
    size_t value_size;
    int count = 0;
    int status;
    ck_assert_int_eq(shardcask_scan_open(db, options, &scan), SHARDCASK_OK);
    while ((status = shardcask_scan_next(scan, &key, &key_size, &value, &value_size)) ==
           SHARDCASK_OK) {
        ck_assert_uint_gt(key_size, strlen(prefix));
        ck_assert_mem_eq(key, prefix, strlen(prefix));
        if (options != NULL && options->values) {
            struct shardcask_value borrowed = {(void *)(uintptr_t)value, value_size, 0};
            int64_t number = 0;
            ck_assert_int_eq(shardcask_value_get_int(&borrowed, &number), SHARDCASK_OK);
            char digits[8] = "";
            memcpy(digits, (const char *)key + key_size - 3, 3);
            ck_assert_int_eq(number, atoi(digits));
        } else {
            ck_assert_uint_eq(value_size, 0);
        }
        count++;
    }
    ck_assert_int_eq(status, SHARDCASK_NOTFOUND);
    ck_assert_int_eq(shardcask_scan_next(scan, &key, &key_size, NULL, NULL), SHARDCASK_NOTFOUND);
    shardcask_scan_close(scan);
    return count;
}

START_TEST(every_key_comes_whatever_the_size_of_a_page)
{
    ck_assert_int_eq(scan_all(NULL, ""), KEYS);
    for (uint32_t page = 1; page < 2 * KEYS; page = page * 3 + 1) {
        struct shardcask_scan_options options = {.page = page};
        ck_assert_int_eq(scan_all(&options, ""), KEYS);
    }
}
END_TEST

START_TEST(prefix_and_values_are_asked_for)
{
    struct shardcask_scan_options options = {.page = 30, .values = true};
    ck_assert_int_eq(scan_all(&options, ""), KEYS);
    options.prefix = "even:";
    options.prefix_size = 5;
    ck_assert_int_eq(scan_all(&options, "even:"), KEYS / 2);
    options.prefix = "nothing";
    options.prefix_size = 7;
    ck_assert_int_eq(scan_all(&options, "nothing"), 0);
}
END_TEST

START_TEST(senseless_options_are_refused)
{
    struct shardcask_scan *scan;
    struct shardcask_scan_options options = {.page = SC_SCAN_LIMIT_MAX + 1};
    ck_assert_int_eq(shardcask_scan_open(db, &options, &scan), SHARDCASK_BADREQUEST);
    ck_assert_ptr_null(scan);
    options = (struct shardcask_scan_options){.prefix = "", .prefix_size = SC_KEY_MAX + 1};
    ck_assert_int_eq(shardcask_scan_open(db, &options, &scan), SHARDCASK_TOOLARGE);
    shardcask_scan_close(scan);
}
END_TEST

START_TEST(an_error_is_returned_and_the_scan_goes_on_after_it)
{
    static const char *const senseless[] = {"\x93\x00\xc0\x01", "\x93\x00\xc0\x91\xc0",
                                            "\x93\x00\xc4", "\x92\x00\xc0"};
    static const size_t sizes[] = {4, 5, 3, 3};
    struct shardcask_scan *scan;
    struct shardcask_scan_options options = {.page = 100};
    const void *key;
    size_t key_size;
    int count = 0;
    size_t fault = 0;
    ck_assert_int_eq(shardcask_scan_open(db, &options, &scan), SHARDCASK_OK);
    for (;;) {
        if (count == 100 && fault < 4) {
            fake_lock(&fake);
            fake.canned = sc_slice(senseless[fault], sizes[fault]);
            fake_unlock(&fake);
            ck_assert_int_eq(shardcask_scan_next(scan, &key, &key_size, NULL, NULL),
                             SHARDCASK_INTERNAL);
            fault++;
            continue;
        }
        fake_lock(&fake);
        fake.canned = sc_slice(NULL, 0);
        fake_unlock(&fake);
        int status = shardcask_scan_next(scan, &key, &key_size, NULL, NULL);
        if (status == SHARDCASK_NOTFOUND) {
            break;
        }
        ck_assert_int_eq(status, SHARDCASK_OK);
        count++;
    }
    ck_assert_int_eq(count, KEYS);
    shardcask_scan_close(scan);
}
END_TEST

START_TEST(a_restart_in_the_middle_of_a_scan_does_not_show)
{
    struct shardcask_scan *scan;
    struct shardcask_scan_options options = {.page = 10};
    const void *key;
    size_t key_size;
    int count = 0;
    int status;
    ck_assert_int_eq(shardcask_scan_open(db, &options, &scan), SHARDCASK_OK);
    while ((status = shardcask_scan_next(scan, &key, &key_size, NULL, NULL)) == SHARDCASK_OK) {
        count++;
        if (count % 60 == 0) {
            fake_stop(&fake);
            fake_restart(&fake);
        }
    }
    ck_assert_int_eq(status, SHARDCASK_NOTFOUND);
    ck_assert_int_eq(count, KEYS);
    shardcask_scan_close(scan);
}
END_TEST

/* Canned pages: two keys whose values cannot be read, then the end. */
START_TEST(values_that_cannot_be_read_are_told_key_by_key)
{
    static const uint8_t bad[] = "\x94\x0b\xa6"
                                 "damage"
                                 "\xc4\x08"
                                 "12345678"
                                 "\x92\xc4\x01"
                                 "a"
                                 "\xc4\x01"
                                 "b";
    static const uint8_t rest[] = "\x93\x00\xc0\x91\x92\xc4\x01"
                                  "c"
                                  "\x07";
    struct shardcask_scan *scan;
    struct shardcask_scan_options options = {.values = true};
    const void *key;
    const void *value;
    size_t key_size;
    size_t value_size;
    ck_assert_int_eq(shardcask_scan_open(db, &options, &scan), SHARDCASK_OK);
    fake_lock(&fake);
    fake.canned = sc_slice(bad, sizeof bad - 1);
    fake_unlock(&fake);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(shardcask_scan_next(scan, &key, &key_size, &value, &value_size),
                         SHARDCASK_CORRUPT);
        ck_assert_str_eq(shardcask_error(), "damage");
        ck_assert_uint_eq(key_size, 1);
        ck_assert_mem_eq(key, i == 0 ? "a" : "b", 1);
        ck_assert_ptr_null(value);
    }
    fake_lock(&fake);
    fake.canned = sc_slice(rest, sizeof rest - 1);
    fake_unlock(&fake);
    ck_assert_int_eq(shardcask_scan_next(scan, &key, &key_size, &value, &value_size), SHARDCASK_OK);
    ck_assert_mem_eq(key, "c", 1);
    ck_assert_uint_eq(value_size, 1);
    ck_assert_int_eq(shardcask_scan_next(scan, &key, &key_size, &value, &value_size),
                     SHARDCASK_NOTFOUND);
    shardcask_scan_close(scan);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scan");
    TCase *tcase = tcase_create("scan");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, every_key_comes_whatever_the_size_of_a_page);
    tcase_add_test(tcase, prefix_and_values_are_asked_for);
    tcase_add_test(tcase, senseless_options_are_refused);
    tcase_add_test(tcase, an_error_is_returned_and_the_scan_goes_on_after_it);
    tcase_add_test(tcase, values_that_cannot_be_read_are_told_key_by_key);
    tcase_add_test(tcase, a_restart_in_the_middle_of_a_scan_does_not_show);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
