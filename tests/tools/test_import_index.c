#include "tests/check_main.h"
#include "tests/random.h"
#include "tools/import_index.h"

#include <stdio.h>

#define KEYS 5000

static struct sc_slice key_of(size_t number, char *text)
{
    return sc_slice(text, (size_t)snprintf(text, 32, "key-%zu", number));
}

START_TEST(each_key_has_one_entry)
{
    struct sc_import_index index = {0};
    char text[32];
    bool is_new = false;
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < KEYS; i++) {
            struct sc_import_entry *entry = sc_import_index_entry(&index, key_of(i, text), &is_new);
            must(is_new == (round == 0));
            must(is_new ? entry->offset == 0 : entry->offset == round - 1 + 10 * i);
            entry->offset = round + 10 * i;
        }
    }
    ck_assert_uint_eq(index.count, KEYS);
    sc_import_index_fini(&index);
}
END_TEST

START_TEST(the_empty_key_is_a_key)
{
    struct sc_import_index index = {0};
    bool is_new = false;
    (void)sc_import_index_entry(&index, sc_slice(NULL, 0), &is_new);
    ck_assert(is_new);
    (void)sc_import_index_entry(&index, sc_slice("", 0), &is_new);
    ck_assert(!is_new);
    (void)sc_import_index_entry(&index, sc_slice("\0", 1), &is_new);
    ck_assert(is_new);
    ck_assert_uint_eq(sc_import_index_key(&index, &index.entries[0]).size, 0);
    sc_import_index_fini(&index);
}
END_TEST

START_TEST(sorting_orders_by_file_and_offset)
{
    struct test_random random = test_random_start("sorting_orders_by_file_and_offset");
    struct sc_import_index index = {0};
    char text[32];
    bool is_new = false;
    for (size_t i = 0; i < KEYS; i++) {
        struct sc_import_entry *entry = sc_import_index_entry(&index, key_of(i, text), &is_new);
        entry->file = (uint32_t)test_random_below(&random, 7);
        entry->offset = test_random_next(&random);
        entry->order = (int64_t)i;
    }
    sc_import_index_sort(&index);
    for (size_t i = 0; i < KEYS; i++) {
        const struct sc_import_entry *entry = &index.entries[i];
        must(
            sc_slice_equal(sc_import_index_key(&index, entry), key_of((size_t)entry->order, text)));
        must(i == 0 || entry[-1].file < entry->file ||
             (entry[-1].file == entry->file && entry[-1].offset <= entry->offset));
    }
    sc_import_index_fini(&index);
    sc_import_index_sort(&index);
    sc_import_index_fini(&index);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import_index");
    TCase *tcase = tcase_create("import_index");
    tcase_add_test(tcase, each_key_has_one_entry);
    tcase_add_test(tcase, the_empty_key_is_a_key);
    tcase_add_test(tcase, sorting_orders_by_file_and_offset);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
