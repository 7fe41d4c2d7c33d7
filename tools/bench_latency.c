#include "tools/bench_latency.h"

/* Above 2^8 the seven bits behind the leading one choose among the 128 buckets of that power. */
static unsigned bucket_of(uint64_t ns)
{
    if (ns < 256) {
        return (unsigned)ns;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - 7;
    return 128 * shift + (unsigned)(ns >> shift);
}

/* The largest value of a bucket. */
static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < 256) {
        return bucket;
    }
    unsigned shift = bucket / 128 - 1;
    uint64_t first = (uint64_t)(bucket - 128 * shift) << shift;
    return first + ((UINT64_C(1) << shift) - 1);
}

void sc_bench_latency_record(struct sc_bench_latency *latency, uint64_t ns)
{
    latency->count++;
    latency->total_ns += ns;
    latency->max_ns = ns > latency->max_ns ? ns : latency->max_ns;
    latency->buckets[bucket_of(ns)]++;
}

void sc_bench_latency_merge(struct sc_bench_latency *latency, const struct sc_bench_latency *other)
{
    latency->count += other->count;
    latency->total_ns += other->total_ns;
    latency->max_ns = other->max_ns > latency->max_ns ? other->max_ns : latency->max_ns;
    for (unsigned i = 0; i < SC_BENCH_LATENCY_BUCKETS; i++) {
        latency->buckets[i] += other->buckets[i];
    }
}

uint64_t sc_bench_latency_percentile(const struct sc_bench_latency *latency, double percent)
{
    double wanted = (double)latency->count * percent / 100;
    uint64_t seen = 0;
    for (unsigned i = 0; i < SC_BENCH_LATENCY_BUCKETS && latency->count > 0; i++) {
        seen += latency->buckets[i];
        if ((double)seen >= wanted && seen > 0) {
            uint64_t end = bucket_end(i);
            return end < latency->max_ns ? end : latency->max_ns;
        }
    }
    return latency->max_ns;
}
