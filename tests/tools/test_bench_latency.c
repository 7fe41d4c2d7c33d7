#include "tools/bench_latency.h"

#include <stdlib.h>

#include "tests/check_main.h"

static struct sc_bench_latency *latency;

static void setup(void)
{
    latency = calloc(1, sizeof *latency);
    ck_assert_ptr_nonnull(latency);
}

static void teardown(void)
{
    free(latency);
}

START_TEST(percentiles_are_right_to_one_percent)
{
    for (uint64_t ns = 1; ns <= 1000000; ns++) {
        sc_bench_latency_record(latency, ns);
    }
    static const double percents[] = {1, 10, 50, 90, 99, 99.9};
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        double expected = percents[i] * 10000;
        double got = (double)sc_bench_latency_percentile(latency, percents[i]);
        ck_assert_double_ge(got, expected);
        ck_assert_double_le(got, expected * 1.01);
    }
    ck_assert_uint_eq(sc_bench_latency_percentile(latency, 100), 1000000);
    ck_assert_uint_eq(latency->max_ns, 1000000);
    ck_assert_uint_eq(latency->count, 1000000);
}
END_TEST

START_TEST(every_value_has_its_bucket)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int off = -1; off <= 1; off++) {
            uint64_t ns = (UINT64_C(1) << bit) + (uint64_t)off;
            *latency = (struct sc_bench_latency){0};
            sc_bench_latency_record(latency, ns);
            ck_assert_uint_eq(sc_bench_latency_percentile(latency, 50), ns);
        }
    }
    sc_bench_latency_record(latency, UINT64_MAX);
    ck_assert_uint_eq(sc_bench_latency_percentile(latency, 100), UINT64_MAX);
}
END_TEST

START_TEST(nothing_recorded_is_zero)
{
    ck_assert_uint_eq(sc_bench_latency_percentile(latency, 99), 0);
}
END_TEST

START_TEST(merging_adds)
{
    struct sc_bench_latency *other = calloc(1, sizeof *other);
    ck_assert_ptr_nonnull(other);
    for (uint64_t i = 0; i < 100; i++) {
        sc_bench_latency_record(latency, 100);
        sc_bench_latency_record(other, 200);
    }
    sc_bench_latency_merge(latency, other);
    ck_assert_uint_eq(latency->count, 200);
    ck_assert_uint_eq(latency->total_ns, 30000);
    ck_assert_uint_eq(sc_bench_latency_percentile(latency, 50), 100);
    ck_assert_uint_eq(sc_bench_latency_percentile(latency, 51), 200);
    free(other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bench_latency");
    TCase *tcase = tcase_create("bench_latency");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, percentiles_are_right_to_one_percent);
    tcase_add_test(tcase, every_value_has_its_bucket);
    tcase_add_test(tcase, nothing_recorded_is_zero);
    tcase_add_test(tcase, merging_adds);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
