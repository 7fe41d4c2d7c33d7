/*
 * Load through libshardcask: one handle, shared by threads that call and wait, or used
 * asynchronously. This measures what a program in C gets.
 */
#ifndef SC_TOOLS_BENCH_HANDLE_H
#define SC_TOOLS_BENCH_HANDLE_H

#include "tools/bench.h"

/* One thread of many that share a handle: calls until sc_bench_more says no. */
void sc_bench_handle_call(struct shardcask *db, struct sc_bench_run *run,
                          struct sc_bench_tally *tally, uint64_t seed);

/* Keeps `width` operations outstanding until sc_bench_more says no, and waits for the last. */
void sc_bench_handle_submit(struct shardcask *db, struct sc_bench_run *run,
                            struct sc_bench_tally *tally);

/* Puts every key once, in large batches. Stops at the first error, which is in `tally`. */
void sc_bench_handle_fill(struct shardcask *db, struct sc_bench_run *run,
                          struct sc_bench_tally *tally);

#endif
