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
    struct sc_clock clock = {.last = future};
    ck_assert_uint_eq(sc_clock_tick(&clock), future + 1);
    ck_assert_uint_gt(sc_clock_tick(&clock), future + 1);
}
END_TEST

/* Else a key that is to live for a second would live until the clock has caught up. */
START_TEST(a_clock_stepped_back_does_not_stand_still)
{
    struct sc_clock clock = {0};
    uint64_t before_ms = sc_clock_now_ms(&clock);
    sc_clock_shift(-(int64_t)HOUR_US);
    uint64_t start = sc_clock_mono_ms();
    uint64_t since_ms = sc_clock_now_ms(&clock);
    ck_assert_uint_ge(since_ms, before_ms);
    while (sc_clock_mono_ms() < start + 20) {
        ck_assert_uint_ge(sc_clock_tick(&clock) / 1000, since_ms);
    }
    ck_assert_uint_ge(sc_clock_now_ms(&clock), since_ms + 18);
    sc_clock_shift(0);
    uint64_t after_ms = sc_clock_now_ms(&clock);
    ck_assert_uint_ge(after_ms, since_ms + 18);
    ck_assert_uint_lt(after_ms, before_ms + HOUR_US / 2000);
}
END_TEST

START_TEST(a_clock_stepped_ahead_and_back_stays_ahead)
{
    struct sc_clock clock = {0};
    sc_clock_shift((int64_t)HOUR_US);
    uint64_t tick = sc_clock_tick(&clock);
    ck_assert_uint_gt(tick, sc_clock_wall_us() - HOUR_US / 2);
    sc_clock_shift(0);
    ck_assert_uint_gt(sc_clock_tick(&clock), tick);
    ck_assert_uint_ge(sc_clock_now_ms(&clock), tick / 1000);
    ck_assert_uint_lt(sc_clock_now_ms(&clock), tick / 1000 + 60000);
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
    struct sc_clock clock = {.last = future};
    ck_assert_uint_eq(sc_clock_now_ms(&clock), future / 1000);
    clock = (struct sc_clock){0};
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

START_TEST(counted_on_ticks_are_between_those_that_look_at_the_time)
{
    struct sc_clock clock = {0};
    uint64_t last = sc_clock_tick(&clock);
    for (int i = 0; i < 1000; i++) {
        uint64_t tick = i % 10 == 0 ? sc_clock_tick(&clock) : sc_clock_next(&clock);
        ck_assert_uint_gt(tick, last);
        last = tick;
    }
    ck_assert_uint_le(last, sc_clock_wall_us() + 1000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clock");
    TCase *tcase = tcase_create("clock");
    tcase_add_test(tcase, ticks_only_grow);
    tcase_add_test(tcase, ticks_are_the_time_while_it_goes_forward);
    tcase_add_test(tcase, a_clock_stepped_back_counts_on);
    tcase_add_test(tcase, a_clock_stepped_back_does_not_stand_still);
    tcase_add_test(tcase, a_clock_stepped_ahead_and_back_stays_ahead);
    tcase_add_test(tcase, ticks_pass_what_was_observed);
    tcase_add_test(tcase, the_time_for_expiries_is_never_behind_the_last_version);
    tcase_add_test(tcase, the_monotonic_clock_only_goes_forward);
    tcase_add_test(tcase, counted_on_ticks_are_between_those_that_look_at_the_time);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
