/*
 * Many connections with one message outstanding on each, driven by few threads with epoll on raw
 * sockets: the cheapest load there is, so that what is measured is the store and not the generator.
 * Speaks the protocol's framing (common/sp.h) for tcp and ipc itself.
 */
#ifndef SC_TOOLS_BENCH_WIRE_H
#define SC_TOOLS_BENCH_WIRE_H

#include "tools/bench.h"

/* The connections `first` to `first + count - 1` of a run, driven by one thread. */
struct sc_bench_wire;

/* Connects and shakes hands. SC_BADREQUEST: an address that this cannot speak to; SC_UNAVAILABLE:
 * nobody answers there. `tally` is the worker's and outlives it. */
enum sc_status sc_bench_wire_open(struct sc_bench_run *run, struct sc_bench_tally *tally,
                                  uint64_t first, uint64_t count, struct sc_bench_wire **wire,
                                  char *why);

/* Sends and receives until sc_bench_more says no and all replies are there. A connection that
 * breaks counts as an error and is not opened again; with the last one the run ends. */
void sc_bench_wire_drive(struct sc_bench_wire *wire);

void sc_bench_wire_close(struct sc_bench_wire *wire);

#endif
