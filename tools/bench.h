/*
 * The load generator: what is measured, and what all its parts share.
 *
 *   bench_main.c     the command line, phases, the exit status
 *   bench.c          what a run's workers share
 *   bench_load.c     which operation comes next, and whether its result is right
 *   bench_wire.c     many connections with one request outstanding each, on raw sockets
 *   bench_handle.c   one libshardcask handle shared by threads, or used asynchronously
 *   bench_latency.c  histograms
 *   bench_report.c   tables, JSON, progress
 *
 * A run is one workload in one mode. Its workers count into a tally each, which nobody else reads
 * before they have ended; only `done` is watched meanwhile, for the progress on a terminal.
 */
#ifndef SC_TOOLS_BENCH_H
#define SC_TOOLS_BENCH_H

#include "client/clustermap.h"
#include "client/shardcask.h"
#include "common/status.h"
#include "tools/bench_latency.h"

#include <stdatomic.h>

#define SC_BENCH_KEY_SIZE_MAX 255u
#define SC_BENCH_BATCH_MAX 10000u

/* workload, name, what it does */
#define SC_BENCH_WORKLOADS(X)                       \
    X(PUT, "put", "puts")                           \
    X(GET, "get", "gets")                           \
    X(MIXED, "mixed", "gets and puts, see --ratio") \
    X(MPUT, "mput", "puts, several in one message") \
    X(MGET, "mget", "gets, several in one message") \
    X(INCR, "incr", "increments")

enum sc_bench_workload {
#define SC_BENCH_WORKLOAD_ENUM(name, text, what) SC_BENCH_##name,
    SC_BENCH_WORKLOADS(SC_BENCH_WORKLOAD_ENUM)
#undef SC_BENCH_WORKLOAD_ENUM
        SC_BENCH_WORKLOAD_COUNT
};

enum sc_bench_mode {
    SC_BENCH_CONNECTIONS, /* N connections, one message outstanding on each */
    SC_BENCH_THREADS, /* N threads share one handle, or have one each */
    SC_BENCH_ASYNC, /* N operations outstanding on one handle */
};

struct sc_bench_options {
    const char *url;
    enum sc_bench_mode mode;
    uint64_t width; /* the N of the mode */
    uint64_t drivers; /* threads that drive the connections */
    bool direct; /* to the shards, without the coordinator in between */
    bool own_handles; /* each thread has one */
    uint64_t batch; /* operations in a message */
    uint64_t keys;
    uint64_t key_size;
    uint64_t value_size;
    uint64_t gets, puts; /* the ratio of mixed */
    unsigned sync; /* 0, SHARDCASK_SYNC or SHARDCASK_NO_SYNC */
    uint64_t seconds;
    uint64_t requests; /* messages; 0: for so many seconds */
    uint64_t warm_up_ms;
    bool load; /* write all keys before they are read */
    bool json;
};

/* What a worker has seen. */
struct sc_bench_tally {
    _Atomic uint64_t done; /* operations, for progress */
    uint64_t operations; /* that succeeded, while it was measured */
    uint64_t missing; /* gets of absent keys */
    uint64_t errors;
    int status; /* of the first error, and its sentence */
    char why[SC_WHY_SIZE];
    struct sc_bench_latency latency; /* of messages */
};

struct sc_bench_run {
    const struct sc_bench_options *options;
    enum sc_bench_workload workload;
    const struct sc_clustermap *map; /* with connections to the shards; else NULL */
    struct sc_bench_tally *tallies; /* one for each worker */
    unsigned worker_count;
    atomic_bool measuring; /* what ends now counts */
    atomic_bool stop;
    _Atomic unsigned running; /* workers that have not ended */
    _Atomic uint64_t ended_ns; /* when the last of them did */
    _Atomic int64_t requests_left; /* with options->requests */
    /* Set at the end. */
    struct sc_bench_tally total;
    double elapsed_s;
};

/* The name of a workload on the command line. */
const char *sc_bench_workload_name(enum sc_bench_workload workload);

/* True when a worker is to start another message. */
bool sc_bench_more(struct sc_bench_run *run);

/* Counts an operation's error. */
void sc_bench_error(struct sc_bench_tally *tally, int status, const char *why);

#endif
