/*
 * The load: which operations the next message has, and whether their results are right.
 */
#ifndef SC_TOOLS_BENCH_LOAD_H
#define SC_TOOLS_BENCH_LOAD_H

#include "common/buf.h"
#include "tools/bench.h"

/* One for each message that can be outstanding. Readable: ops, count. */
struct sc_bench_load {
    const struct sc_bench_run *run;
    const struct sc_clustermap *map; /* not NULL: only keys of one shard ... */
    uint16_t shard; /* ... which is this one in the map */
    uint64_t random;
    struct shardcask_op *ops; /* of the message: kind, key, value, options and delta */
    size_t count;
    char *keys;
    struct sc_buf value; /* every value is the same */
};

/* `seed` tells the loads of a run apart. */
void sc_bench_load_init(struct sc_bench_load *load, const struct sc_bench_run *run, uint64_t seed);
void sc_bench_load_fini(struct sc_bench_load *load);

/* From now on chooses keys of this shard only. The map has a shard for every slot. */
void sc_bench_load_keep_to(struct sc_bench_load *load, const struct sc_clustermap *map,
                           uint16_t shard);

/* Chooses the operations of the next message. */
void sc_bench_load_next(struct sc_bench_load *load);

/* The same with puts of the keys from `first` on, as many as fit below the last. */
void sc_bench_load_fill(struct sc_bench_load *load, uint64_t first);

/* Appends the message as the body of a request. */
void sc_bench_load_encode(const struct sc_bench_load *load, struct sc_buf *out);

/* Takes the body of its reply apart and counts. */
void sc_bench_load_reply(const struct sc_bench_load *load, struct sc_slice body,
                         struct sc_bench_tally *tally);

/* Counts operations that the library has carried out. */
void sc_bench_load_results(const struct sc_bench_load *load, struct sc_bench_tally *tally);

#endif
