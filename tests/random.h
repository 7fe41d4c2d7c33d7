/* Random numbers for tests: the seed is printed, and SC_TEST_SEED=<number> repeats a run. */
#ifndef SC_TESTS_RANDOM_H
#define SC_TESTS_RANDOM_H

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"

/* ck_assert for inner loops: says nothing to Check, which costs a system call, unless it fails. */
#define must(condition)                                \
    do {                                               \
        if (!(condition)) {                            \
            ck_abort_msg("this must be: " #condition); \
        }                                              \
    } while (0)

struct test_random {
    uint64_t state;
};

/* splitmix64 (Steele, Lea, Flood 2014): any seed will do. */
static inline uint64_t test_random_next(struct test_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* A number from 0 to `limit` - 1. */
static inline uint64_t test_random_below(struct test_random *random, uint64_t limit)
{
    return test_random_next(random) % limit;
}

/* A new sequence, seeded by SC_TEST_SEED or else by the time; prints what repeats it. */
static inline struct test_random test_random_start(const char *name)
{
    const char *given = getenv("SC_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : sc_clock_wall_us();
    printf("%s: SC_TEST_SEED=%llu\n", name, (unsigned long long)seed);
    fflush(stdout);
    return (struct test_random){seed};
}

#endif
