#include "tools/bench_handle.h"

#include "common/clock.h"
#include "tools/bench_load.h"

#include <stdlib.h>

static void count_message(struct sc_bench_run *run, struct sc_bench_tally *tally,
                          const struct sc_bench_load *load, uint64_t begun_ns)
{
    atomic_fetch_add_explicit(&tally->done, load->count, memory_order_relaxed);
    if (atomic_load_explicit(&run->measuring, memory_order_relaxed)) {
        sc_bench_latency_record(&tally->latency, sc_clock_mono_ns() - begun_ns);
        sc_bench_load_results(load, tally);
    }
}

/* ---- Calls that wait ---- */

/* A single operation goes the way that most programs use. */
static void call_one(struct shardcask *db, struct shardcask_op *op)
{
    switch (op->kind) {
    case SHARDCASK_OP_PUT:
        op->status = shardcask_put(db, op->key, op->key_size, op->value, op->value_size,
                                   &op->options, &op->version);
        break;
    case SHARDCASK_OP_INCR:
        op->status = shardcask_incr(db, op->key, op->key_size, op->delta, &op->number);
        break;
    default:
        op->status = shardcask_get(db, op->key, op->key_size, &op->result);
        break;
    }
    if (op->status != SHARDCASK_OK) {
        free(op->why);
        op->why = strdup(shardcask_error());
    }
}

void sc_bench_handle_call(struct shardcask *db, struct sc_bench_run *run,
                          struct sc_bench_tally *tally, uint64_t seed)
{
    struct sc_bench_load load;
    sc_bench_load_init(&load, run, seed);
    while (sc_bench_more(run)) {
        sc_bench_load_next(&load);
        uint64_t begun_ns = sc_clock_mono_ns();
        if (load.count == 1) {
            call_one(db, &load.ops[0]);
        } else {
            (void)shardcask_batch(db, load.ops, load.count); /* each has its own status */
        }
        count_message(run, tally, &load, begun_ns);
    }
    sc_bench_load_fini(&load);
}

void sc_bench_handle_fill(struct shardcask *db, struct sc_bench_run *run,
                          struct sc_bench_tally *tally)
{
    struct sc_bench_load load;
    sc_bench_load_init(&load, run, 0);
    uint64_t keys = run->options->keys;
    for (uint64_t first = 0; first < keys && tally->errors == 0; first += load.count) {
        sc_bench_load_fill(&load, first);
        (void)shardcask_mput(db, load.ops, load.count);
        count_message(run, tally, &load, sc_clock_mono_ns());
    }
    sc_bench_load_fini(&load);
}

/* ---- Asynchronous ---- */

struct chain {
    struct shardcask *db;
    struct sc_bench_run *run;
    struct sc_bench_tally *tally; /* all callbacks come on one thread */
    struct sc_bench_load load;
    uint64_t begun_ns;
    int refused; /* why the library did not take the last operation */
};

static void called_back(struct shardcask_op *op);
static void batch_called_back(struct shardcask_op *ops, size_t count, void *arg);

/* Starts the next operation of a chain, or the next batch, if there is to be one. */
static void go_on(struct chain *chain)
{
    if (!sc_bench_more(chain->run)) {
        return;
    }
    sc_bench_load_next(&chain->load);
    struct sc_bench_load *load = &chain->load;
    load->ops[0].arg = chain;
    chain->begun_ns = sc_clock_mono_ns();
    chain->refused = load->count == 1 ? shardcask_submit(chain->db, load->ops, called_back)
                                      : shardcask_submit_batch(chain->db, load->ops, load->count,
                                                               batch_called_back, chain);
}

static void batch_called_back(struct shardcask_op *ops, size_t count, void *arg)
{
    struct chain *chain = arg;
    (void)ops;
    (void)count;
    count_message(chain->run, chain->tally, &chain->load, chain->begun_ns);
    go_on(chain);
}

static void called_back(struct shardcask_op *op)
{
    batch_called_back(op, 1, op->arg);
}

void sc_bench_handle_submit(struct shardcask *db, struct sc_bench_run *run,
                            struct sc_bench_tally *tally)
{
    size_t width = (size_t)run->options->width;
    struct chain *chains = sc_calloc(width, sizeof *chains);
    for (size_t i = 0; i < width; i++) {
        chains[i] = (struct chain){.db = db, .run = run, .tally = tally};
        sc_bench_load_init(&chains[i].load, run, i);
    }
    for (size_t i = 0; i < width; i++) {
        go_on(&chains[i]);
    }
    while (!atomic_load(&run->stop)) {
        shardcask_drain(db);
    }
    /* The first waits for callbacks that may still submit, the second for what they did submit. */
    shardcask_drain(db);
    shardcask_drain(db);
    for (size_t i = 0; i < width; i++) {
        if (chains[i].refused != SHARDCASK_OK) {
            sc_bench_error(tally, chains[i].refused, NULL);
        }
        sc_bench_load_fini(&chains[i].load);
    }
    free(chains);
}
