#include "coordinator/throttle.h"
#include "tests/check_main.h"

#define LIMIT 1000000u

static struct sc_throttle throttle;

static void setup(void)
{
    sc_throttle_init(&throttle, 5000);
}

START_TEST(no_limit_is_no_limit)
{
    for (uint64_t now = 5000; now < 5010; now++) {
        ck_assert_uint_eq(sc_throttle_wait(&throttle, 0, now), 0);
        sc_throttle_copied(&throttle, 0, 1u << 30, true, now);
    }
}
END_TEST

START_TEST(what_was_copied_too_much_is_made_up_for)
{
    ck_assert_uint_eq(sc_throttle_wait(&throttle, LIMIT, 5000), 1);
    ck_assert_uint_eq(sc_throttle_wait(&throttle, LIMIT, 5001), 0);
    sc_throttle_copied(&throttle, LIMIT, 51000, true, 5001);
    for (uint64_t now = 5002; now <= 5051; now++) {
        ck_assert_uint_eq(sc_throttle_wait(&throttle, LIMIT, now), 5052 - now);
    }
    ck_assert_uint_eq(sc_throttle_wait(&throttle, LIMIT, 5052), 0);
}
END_TEST

/* Else the next batch would wait while ever more is written, and for longer each time. */
START_TEST(what_is_not_of_the_bulk_is_measured_but_not_owed)
{
    for (uint64_t now = 9000; now <= 12000; now += 10) {
        sc_throttle_copied(&throttle, LIMIT, LIMIT / 10, false, now);
    }
    ck_assert_uint_ge(sc_throttle_rate(&throttle, 12000), 9 * LIMIT);
    ck_assert_uint_eq(sc_throttle_wait(&throttle, LIMIT, 12000), 0);
}
END_TEST

START_TEST(little_is_saved_up)
{
    ck_assert_uint_eq(sc_throttle_wait(&throttle, LIMIT, 900000), 0);
    ck_assert_int_le(throttle.tokens, LIMIT / 50);
}
END_TEST

/* In each of `seconds` seconds so many bytes, in frames, every 10 ms. */
static uint64_t copy(uint64_t from, uint64_t limit, uint64_t seconds, uint64_t bytes)
{
    for (uint64_t now = from; now <= from + seconds * 1000; now += 10) {
        sc_throttle_copied(&throttle, limit, bytes / 100, true, now);
    }
    return from + seconds * 1000;
}

START_TEST(the_rate_is_that_of_the_last_second)
{
    ck_assert_uint_eq(sc_throttle_rate(&throttle, 5000), 0);
    uint64_t now = copy(9000, LIMIT, 3, 400000);
    ck_assert_uint_ge(sc_throttle_rate(&throttle, now), 390000);
    ck_assert_uint_le(sc_throttle_rate(&throttle, now), 410000);
    ck_assert_uint_eq(sc_throttle_rate(&throttle, now + 5000), 0);
}
END_TEST

START_TEST(the_limit_is_expected_until_less_is_measured)
{
    ck_assert_uint_eq(sc_throttle_expect(&throttle, 0), 0);
    ck_assert_uint_eq(sc_throttle_expect(&throttle, 50 * LIMIT), 50 * LIMIT);
    (void)copy(9000, 50 * LIMIT, 3, 20 * LIMIT);
    ck_assert_uint_ge(sc_throttle_expect(&throttle, 50 * LIMIT), 19 * LIMIT);
    ck_assert_uint_le(sc_throttle_expect(&throttle, 50 * LIMIT), 21 * LIMIT);
    ck_assert_uint_eq(sc_throttle_expect(&throttle, 60 * LIMIT), 60 * LIMIT);
    ck_assert_uint_eq(sc_throttle_expect(&throttle, 0), 0);
}
END_TEST

START_TEST(little_that_was_there_to_be_copied_tells_nothing)
{
    (void)copy(9000, 50 * LIMIT, 3, 1000);
    ck_assert_uint_eq(sc_throttle_expect(&throttle, 50 * LIMIT), 50 * LIMIT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("throttle");
    TCase *tcase = tcase_create("throttle");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, no_limit_is_no_limit);
    tcase_add_test(tcase, what_was_copied_too_much_is_made_up_for);
    tcase_add_test(tcase, what_is_not_of_the_bulk_is_measured_but_not_owed);
    tcase_add_test(tcase, little_is_saved_up);
    tcase_add_test(tcase, the_rate_is_that_of_the_last_second);
    tcase_add_test(tcase, the_limit_is_expected_until_less_is_measured);
    tcase_add_test(tcase, little_that_was_there_to_be_copied_tells_nothing);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
