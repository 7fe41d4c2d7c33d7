#include "common/clock.h"
#include "tests/check_main.h"

#define HOUR_US (UINT64_C(3600) * 1000000)

START_TEST(ticks_only_grow)
{
    struct sc_clock clock = {0};
    uint64_t last = 0;
    for (int i = 0; i < 10000; i++) {
        uint64_t tick = sc_clock_tick(&clock);
        ck_assert_uint_gt(tick, last);
        last = tick;
    }
}
END_TEST

START_TEST(ticks_are_the_time_while_it_goes_forward)
{
    struct sc_clock clock = {0};
    uint64_t before = sc_clock_wall_us();
    uint64_t tick = sc_clock_tick(&clock);
    ck_assert_uint_ge(tick, before);
    ck_assert_uint_le(tick, sc_clock_wall_us() + 1);
}
END_TEST

START_TEST(a_clock_stepped_back_counts_on)
{
    uint64_t future = sc_clock_wall_us() + HOUR_US; /* as if the time had been later before */
    struct sc_clock clock = {future};
    ck_assert_uint_eq(sc_clock_tick(&clock), future + 1);
    ck_assert_uint_eq(sc_clock_tick(&clock), future + 2);
}
END_TEST

START_TEST(ticks_pass_what_was_observed)
{
    struct sc_clock clock = {0};
    uint64_t future = sc_clock_wall_us() + HOUR_US;
    sc_clock_observe(&clock, future);
    sc_clock_observe(&clock, 5); /* older: no step back */
    ck_assert_uint_eq(sc_clock_tick(&clock), future + 1);
}
END_TEST

START_TEST(the_time_for_expiries_is_never_behind_the_last_version)
{
    uint64_t future = sc_clock_wall_us() + HOUR_US;
    struct sc_clock clock = {future};
    ck_assert_uint_eq(sc_clock_now_ms(&clock), future / 1000);
    clock.last = 0;
    ck_assert_uint_ge(sc_clock_now_ms(&clock) * 1000 + 999, future - HOUR_US);
}
END_TEST

START_TEST(the_monotonic_clock_only_goes_forward)
{
    uint64_t last = sc_clock_mono_ns();
    for (int i = 0; i < 10000; i++) {
        uint64_t now = sc_clock_mono_ns();
        ck_assert_uint_ge(now, last);
        last = now;
    }
    ck_assert_uint_ge(sc_clock_mono_ms(), last / 1000000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clock");
    TCase *tcase = tcase_create("clock");
    tcase_add_test(tcase, ticks_only_grow);
    tcase_add_test(tcase, ticks_are_the_time_while_it_goes_forward);
    tcase_add_test(tcase, a_clock_stepped_back_counts_on);
    tcase_add_test(tcase, ticks_pass_what_was_observed);
    tcase_add_test(tcase, the_time_for_expiries_is_never_behind_the_last_version);
    tcase_add_test(tcase, the_monotonic_clock_only_goes_forward);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
