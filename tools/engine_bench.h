/*
 * What shardcask-engine-bench measures, and with which settings: shared by its parts.
 *
 *   engine_bench_main    command line; the order of runs
 *   engine_bench_run     one engine, one number of keys, in a process of its own
 *   engine_bench_report  table and JSON
 *   contender*           the engines
 *
 * Keys are 16 pseudo-random bytes, so that any order of numbers is a random order of keys; values
 * are incompressible. Everything is in memory but what synced puts wait for.
 */
#ifndef SC_TOOLS_ENGINE_BENCH_H
#define SC_TOOLS_ENGINE_BENCH_H

#include "tools/contender.h"

#define SC_ENGINE_BENCH_KEY_SIZE 16u
#define SC_ENGINE_BENCH_GROUP 64u /* writes of a commit; writers that wait for one */
#define SC_ENGINE_BENCH_VALUE_MAX (1u << 20)
#define SC_ENGINE_BENCH_COUNTS_MAX 8u
#define SC_ENGINE_BENCH_ROUNDS_MAX 99u

/* What is better, and so whether engines are compared by it. */
enum sc_engine_bench_better { SC_ENGINE_BENCH_MORE, SC_ENGINE_BENCH_LESS, SC_ENGINE_BENCH_NEITHER };

/* What is measured: id, name in JSON, in words, digits behind the point, what is better. NAN: was
 * not. */
#define SC_ENGINE_BENCH_MEASURES(X)                                                          \
    X(PUT_NEW, "put_new_per_s", "put, new key, commits of 64", 0, MORE)                      \
    X(PUT_AGAIN, "put_again_per_s", "put, same key again, commits of 64", 0, MORE)           \
    X(PUT_SINGLY, "put_singly_per_s", "put, same key again, each committed", 0, MORE)        \
    X(GET, "get_per_s", "get", 0, MORE)                                                      \
    X(GET_64, "get_64_per_s", "get, 64 asked for at once", 0, MORE)                          \
    X(GET_ABSENT, "get_absent_per_s", "get, absent", 0, MORE)                                \
    X(DELETE, "delete_per_s", "delete, commits of 64", 0, MORE)                              \
    X(DELETE_SINGLY, "delete_singly_per_s", "delete, each committed", 0, MORE)               \
    X(SYNCED_1, "put_synced_1_per_s", "put, synced, 1 writer waiting", 0, MORE)              \
    X(SYNCED_64, "put_synced_64_per_s", "put, synced, 64 writers waiting", 0, MORE)          \
    X(OPEN, "open_keys_per_s", "open, keys", 0, NEITHER)                                     \
    X(OPEN_DATA, "open_without_hints_keys_per_s", "open without hints, keys", 0, NEITHER)    \
    X(PUT_P50, "put_new_p50_us", "us a new put: p50", 2, NEITHER)                            \
    X(PUT_P99, "put_new_p99_us", "p99", 1, NEITHER)                                          \
    X(PUT_P999, "put_new_p999_us", "p99.9", 1, NEITHER)                                      \
    X(PUT_MAX, "put_new_max_us", "worst", 0, NEITHER)                                        \
    X(SETTLE, "settle_s", "seconds to settle after loading", 2, NEITHER)                     \
    X(INDEX, "index_bytes_beside_key", "index in memory, bytes a key beside it", 2, NEITHER) \
    X(MEMORY, "memory_bytes_beside_key", "process, bytes a key beside it", 2, NEITHER)       \
    X(DISK, "disk_bytes_per_key", "disk after loading, bytes a key", 1, NEITHER)

enum sc_engine_bench_measure {
#define SC_ENGINE_BENCH_ENUM(id, name, words, digits, better) SC_ENGINE_BENCH_##id,
    SC_ENGINE_BENCH_MEASURES(SC_ENGINE_BENCH_ENUM)
#undef SC_ENGINE_BENCH_ENUM
        SC_ENGINE_BENCH_MEASURE_COUNT
};

/* Why the worst put took so long, as far as the system tells. */
#define SC_ENGINE_BENCH_CAUSE_SIZE 160u

struct sc_engine_bench_result {
    double values[SC_ENGINE_BENCH_MEASURE_COUNT];
    char cause[SC_ENGINE_BENCH_CAUSE_SIZE];
};

struct sc_engine_bench_settings {
    uint64_t counts[SC_ENGINE_BENCH_COUNTS_MAX]; /* of keys */
    size_t count_count;
    uint64_t value_size;
    uint64_t operations; /* of each kind at most, but for new keys */
    unsigned rounds;
    const char *dir; /* where the directories of the stores are made */
    const struct sc_contender *contenders[SC_CONTENDER_MAX];
    size_t contender_count;
    bool processor_time; /* instead of the clock's */
    bool json;
};

/* Runs one engine with so many keys in a process of its own and a new directory, which is removed.
 * False, with a message: it failed. */
bool sc_engine_bench_run(const struct sc_engine_bench_settings *settings,
                         const struct sc_contender *contender, uint64_t keys,
                         struct sc_engine_bench_result *result);

struct sc_engine_bench_round {
    struct sc_engine_bench_result results[SC_CONTENDER_MAX]; /* of the settings' contenders */
};

/* Prints the medians of all rounds for one number of keys. */
void sc_engine_bench_report(const struct sc_engine_bench_settings *settings, size_t count_index,
                            const struct sc_engine_bench_round *rounds);

#endif
