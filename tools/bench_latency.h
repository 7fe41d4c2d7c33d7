/*
 * A histogram of latencies: counts in buckets whose width grows with the value, so that every value
 * from a nanosecond to hours is known to within 1% in 58 KiB, and recording one costs an addition.
 * (The idea is Gil Tene's HdrHistogram.)
 */
#ifndef SC_TOOLS_BENCH_LATENCY_H
#define SC_TOOLS_BENCH_LATENCY_H

#include <stdint.h>

/* Values below 256 have a bucket each; from there on every power of two has 128. */
#define SC_BENCH_LATENCY_BUCKETS (128 * 58)

/* All zero is an empty one. */
struct sc_bench_latency {
    uint64_t count;
    uint64_t total_ns;
    uint64_t max_ns;
    uint64_t buckets[SC_BENCH_LATENCY_BUCKETS];
};

void sc_bench_latency_record(struct sc_bench_latency *latency, uint64_t ns);

/* Adds `other`. */
void sc_bench_latency_merge(struct sc_bench_latency *latency, const struct sc_bench_latency *other);

/* A value that `percent` of all values do not exceed (to within a bucket's width); 0 when there is
 * none. */
uint64_t sc_bench_latency_percentile(const struct sc_bench_latency *latency, double percent);

#endif
