/* The cursor's own rules. What msgpack is: test_mp_msgpackc.c. */
#include "common/limits.h"
#include "tests/common/msg_fixture.h"

static struct sc_buf out;

static void setup(void)
{
    out = (struct sc_buf){0};
}

static void teardown(void)
{
    sc_buf_fini(&out);
    fixture_fini();
}

#define CURSOR(literal) sc_mp(fixture_copy(literal, sizeof(literal) - 1))

START_TEST(an_empty_input_is_read_to_its_end)
{
    struct sc_mp mp = sc_mp(sc_slice(NULL, 0));
    ck_assert(!sc_mp_failed(&mp));
    ck_assert(sc_mp_done(&mp));
    ck_assert_int_eq(sc_mp_peek(&mp), SC_MP_NONE);
    ck_assert(!sc_mp_skip(&mp, NULL));
    ck_assert(sc_mp_failed(&mp));
    ck_assert(!sc_mp_valid(sc_slice(NULL, 0)));
}
END_TEST

START_TEST(a_failed_cursor_stays_failed)
{
    struct sc_mp mp = CURSOR("\x01\x02");
    struct sc_slice slice = {NULL, 0};
    bool truth;
    uint64_t number = 7;
    int64_t whole;
    double real;
    uint32_t count;
    int8_t type;
    ck_assert(!sc_mp_str(&mp, &slice));
    ck_assert(sc_mp_failed(&mp) && !sc_mp_done(&mp));
    ck_assert_int_eq(sc_mp_peek(&mp), SC_MP_NONE);
    ck_assert(!sc_mp_nil(&mp) && !sc_mp_bool(&mp, &truth) && !sc_mp_uint(&mp, &number));
    ck_assert(!sc_mp_int(&mp, &whole) && !sc_mp_float(&mp, &real) && !sc_mp_str(&mp, &slice));
    ck_assert(!sc_mp_bytes(&mp, &slice) && !sc_mp_array(&mp, &count) && !sc_mp_map(&mp, &count));
    ck_assert(!sc_mp_ext(&mp, &type, &slice) && !sc_mp_skip(&mp, &slice));
    ck_assert(!sc_mp_value(&mp, &slice));
    ck_assert_uint_eq(number, 7);
    ck_assert(sc_mp_failed(&mp));
}
END_TEST

START_TEST(a_value_is_read_and_the_next_follows)
{
    struct sc_mp mp = CURSOR("\x2a\xc3\xa2hi\x92\x01\x02\xc0");
    uint64_t number;
    bool truth;
    struct sc_slice slice;
    ck_assert(sc_mp_uint(&mp, &number) && number == 42);
    ck_assert(sc_mp_bool(&mp, &truth) && truth);
    ck_assert(sc_mp_str(&mp, &slice));
    assert_slice(slice, "hi");
    ck_assert(sc_mp_skip(&mp, &slice));
    assert_slice(slice, "\x92\x01\x02");
    ck_assert(sc_mp_nil(&mp));
    ck_assert(sc_mp_done(&mp));
}
END_TEST

START_TEST(bytes_are_str_or_bin_but_str_is_str)
{
    struct sc_slice slice;
    struct sc_mp mp = CURSOR("\xc4\x01k");
    struct sc_mp again = mp;
    ck_assert(sc_mp_bytes(&mp, &slice));
    assert_slice(slice, "k");
    ck_assert(!sc_mp_str(&again, &slice));
}
END_TEST

START_TEST(a_cut_number_is_invalid_at_a_glance)
{
    static const struct sc_slice cut[] = {BYTES("\xcc"), BYTES("\xcd\x01"),
                                          BYTES("\xd3\0\0\0\0\0\0\0"), BYTES("\xc1")};
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        struct sc_mp mp = sc_mp(fixture_copy(cut[i].data, cut[i].size));
        ck_assert_int_eq(sc_mp_peek(&mp), SC_MP_INVALID);
        ck_assert(!sc_mp_valid(sc_slice(message, cut[i].size)));
    }
}
END_TEST

START_TEST(a_count_beyond_the_input_is_refused_at_once)
{
    static const struct sc_slice bombs[] = {
        BYTES("\xdd\xff\xff\xff\xff"),
        BYTES("\xdf\xff\xff\xff\xff"),
        BYTES("\xdd\x08\x00\x00\x00\xc0"),
        BYTES("\xdc\xff\xff\x01"),
        BYTES("\xdf\x80\x00\x00\x00\x01\x02"),
        BYTES("\x92\x01"),
        BYTES("\x82\x01\x02\x03"),
        BYTES("\x91\x91\x91"),
        BYTES("\xc6\xff\xff\xff\xff\x01"),
        BYTES("\xc9\xff\xff\xff\xff\x01\x01"),
    };
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        struct sc_slice input = fixture_copy(bombs[i].data, bombs[i].size);
        struct sc_mp skipped = sc_mp(input), valued = sc_mp(input);
        ck_assert(!sc_mp_skip(&skipped, NULL) && !sc_mp_value(&valued, NULL));
    }
    uint32_t count;
    struct sc_mp mp = CURSOR("\x93\x01\x02");
    ck_assert(!sc_mp_array(&mp, &count));
    mp = CURSOR("\x82\x01\x02\x03");
    ck_assert(!sc_mp_map(&mp, &count));
}
END_TEST

/* `depth` containers inside each other, arrays and maps in turn, around `inner`. */
static void nest(unsigned depth, struct sc_slice inner)
{
    out.size = 0;
    for (unsigned i = 0; i < depth; i++) {
        if (i % 2 == 0) {
            sc_mp_put_array(&out, 1);
        } else {
            sc_mp_put_map(&out, 1);
            sc_mp_put_nil(&out);
        }
    }
    sc_buf_append_slice(&out, inner);
}

START_TEST(nesting_ends_at_the_limit)
{
    nest(SC_NESTING_MAX, SLICE("\xc0"));
    ck_assert(sc_mp_valid(sc_buf_slice(&out)));
    nest(SC_NESTING_MAX - 1, SLICE("\x90"));
    ck_assert(sc_mp_valid(sc_buf_slice(&out)));
    nest(SC_NESTING_MAX, SLICE("\x90"));
    ck_assert(!sc_mp_valid(sc_buf_slice(&out)));
    nest(SC_NESTING_MAX + 1, SLICE("\xc0"));
    ck_assert(!sc_mp_valid(sc_buf_slice(&out)));
    /* What is deep does not stay so: many side by side are as deep as one. */
    struct sc_buf many = {0};
    sc_mp_put_array(&many, 3);
    for (int i = 0; i < 3; i++) {
        nest(SC_NESTING_MAX - 1, SLICE("\xc0"));
        sc_buf_append_slice(&many, sc_buf_slice(&out));
    }
    ck_assert(sc_mp_valid(sc_buf_slice(&many)));
    sc_buf_fini(&many);
}
END_TEST

START_TEST(skipping_knows_no_depth)
{
    nest(1000000, SLICE("\xc0"));
    struct sc_mp mp = sc_mp(sc_buf_slice(&out));
    struct sc_slice raw;
    ck_assert(sc_mp_skip(&mp, &raw));
    ck_assert(sc_mp_done(&mp));
    ck_assert_uint_eq(raw.size, out.size);
    mp = sc_mp(sc_slice(out.data, out.size - 1));
    ck_assert(!sc_mp_skip(&mp, NULL));
}
END_TEST

START_TEST(an_open_array_gets_its_count_when_closed)
{
    sc_mp_put_nil(&out);
    size_t offset = sc_mp_open_array(&out);
    ck_assert_uint_eq(offset, 1);
    sc_mp_put_uint(&out, 1);
    sc_mp_put_uint(&out, 2);
    sc_mp_close_array(&out, offset, 2);
    assert_slice(sc_buf_slice(&out), "\xc0\xdd\x00\x00\x00\x02\x01\x02");
}
END_TEST

START_TEST(one_value_and_no_more_is_valid)
{
    ck_assert(sc_mp_valid(SLICE("\x92\x01\xa1x")));
    ck_assert(!sc_mp_valid(SLICE("\x92\x01\xa1x\x00")));
    ck_assert(!sc_mp_valid(SLICE("\x92\x01\xa1")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mp");
    TCase *tcase = tcase_create("mp");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_empty_input_is_read_to_its_end);
    tcase_add_test(tcase, a_failed_cursor_stays_failed);
    tcase_add_test(tcase, a_value_is_read_and_the_next_follows);
    tcase_add_test(tcase, bytes_are_str_or_bin_but_str_is_str);
    tcase_add_test(tcase, a_cut_number_is_invalid_at_a_glance);
    tcase_add_test(tcase, a_count_beyond_the_input_is_refused_at_once);
    tcase_add_test(tcase, nesting_ends_at_the_limit);
    tcase_add_test(tcase, skipping_knows_no_depth);
    tcase_add_test(tcase, an_open_array_gets_its_count_when_closed);
    tcase_add_test(tcase, one_value_and_no_more_is_valid);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
