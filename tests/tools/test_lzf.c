#include "tests/check_main.h"
#include "tests/random.h"
#include "tools/lzf.h"

static bool expands(const void *compressed, size_t size, const char *expected)
{
    struct sc_buf out = {0};
    sc_buf_append(&out, "before", 6);
    bool ok = sc_lzf_expand(sc_slice(compressed, size), strlen(expected), &out);
    must(ok || out.size == 6);
    must(memcmp(out.data, "before", 6) == 0);
    ok = ok && sc_slice_equal(sc_slice(out.data + 6, out.size - 6), sc_slice_str(expected));
    sc_buf_fini(&out);
    return ok;
}

#define EXPANDS(compressed, expected) expands(compressed, sizeof(compressed) - 1, expected)

START_TEST(literals_and_copies_are_expanded)
{
    ck_assert(EXPANDS("\x02"
                      "abc",
                      "abc"));
    /* three letters, then three from three before */
    ck_assert(EXPANDS("\x02"
                      "abc\x20\x02",
                      "abcabc"));
    /* a copy that reaches into itself; then a long one: 9 + 3 from one before */
    ck_assert(EXPANDS("\x00"
                      "a\x40\x00",
                      "aaaaa"));
    ck_assert(EXPANDS("\x00"
                      "a\xe0\x03\x00",
                      "aaaaaaaaaaaaa"));
    ck_assert(EXPANDS("", ""));
}
END_TEST

START_TEST(what_is_malformed_is_refused)
{
    ck_assert(!EXPANDS("\x05"
                       "abc",
                       "abcdef")); /* too few literals */
    ck_assert(!EXPANDS("\x02"
                       "abc",
                       "ab")); /* too small a room */
    ck_assert(!EXPANDS("\x02"
                       "abc",
                       "abcd")); /* too large a room */
    ck_assert(!EXPANDS("\x20\x00", "aaa")); /* a copy of nothing */
    ck_assert(!EXPANDS("\x00"
                       "a\x20\x01",
                       "aaaa")); /* from before the beginning */
    ck_assert(!EXPANDS("\x00"
                       "a\x20",
                       "aaaa")); /* cut off */
    ck_assert(!EXPANDS("\x00"
                       "a\xe0\x00",
                       "aaaa"));
    ck_assert(!EXPANDS("", "a"));
    ck_assert(!EXPANDS("\x00"
                       "a",
                       ""));
}
END_TEST

START_TEST(random_bytes_do_no_harm)
{
    struct test_random random = test_random_start("random_bytes_do_no_harm");
    for (int i = 0; i < 200000; i++) {
        size_t size = test_random_below(&random, 40);
        uint8_t *bytes = sc_alloc(size + 1);
        struct sc_buf out = {0};
        for (size_t at = 0; at < size; at++) {
            bytes[at] = (uint8_t)test_random_next(&random);
        }
        size_t room = test_random_below(&random, 300);
        if (sc_lzf_expand(sc_slice(bytes, size), room, &out)) {
            must(out.size == room && room <= sc_lzf_size_max(size));
        }
        sc_buf_fini(&out);
        free(bytes);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lzf");
    TCase *tcase = tcase_create("lzf");
    tcase_add_test(tcase, literals_and_copies_are_expanded);
    tcase_add_test(tcase, what_is_malformed_is_refused);
    tcase_add_test(tcase, random_bytes_do_no_harm);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
