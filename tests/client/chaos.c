#include "tests/client/chaos.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Of the chains, the last ones are of batches. */
enum {
    CALLERS = 6,
    BATCHERS = 3,
    CHAINS = 8,
    BATCH_CHAINS = 3,
    WORKERS = CALLERS + BATCHERS + CHAINS + BATCH_CHAINS,
    BATCH = 40
};

struct worker {
    pthread_t thread;
    char key[16];
    struct shardcask_op ops[BATCH]; /* of a chain: the first, or all */
    int64_t applied;
    int64_t unknown;
    int64_t wrong; /* statuses that nothing here explains */
    bool ended; /* of a chain */
};

static struct shardcask *db;
static struct worker workers[WORKERS];
static atomic_bool stop;

static void count(struct worker *worker, int status)
{
    switch (status) {
    case SHARDCASK_OK:
        worker->applied++;
        break;
    case SHARDCASK_UNKNOWN:
        worker->unknown++;
        break;
    case SHARDCASK_UNAVAILABLE:
    case SHARDCASK_BUSY:
        break;
    default:
        worker->wrong++;
    }
}

static void *call(void *arg)
{
    struct worker *worker = arg;
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    while (!atomic_load(&stop)) {
        count(worker, shardcask_incr(db, worker->key, strlen(worker->key), 1, NULL));
        int status = shardcask_get(db, worker->key, strlen(worker->key), &value);
        int64_t number = 0;
        if (status == SHARDCASK_OK) {
            (void)shardcask_value_get_int(&value, &number);
            worker->wrong += number < worker->applied;
            worker->wrong += number > worker->applied + worker->unknown;
        }
    }
    shardcask_value_free(&value);
    return NULL;
}

static void *batch(void *arg)
{
    struct worker *worker = arg;
    struct shardcask_op ops[BATCH];
    while (!atomic_load(&stop)) {
        for (size_t i = 0; i < BATCH; i++) {
            ops[i] =
                (struct shardcask_op){.kind = i % 4 == 0 ? SHARDCASK_OP_GET : SHARDCASK_OP_INCR,
                                      .key = worker->key,
                                      .key_size = strlen(worker->key),
                                      .delta = 1};
        }
        (void)shardcask_batch(db, ops, BATCH);
        for (size_t i = 0; i < BATCH; i++) {
            if (ops[i].kind == SHARDCASK_OP_INCR) {
                count(worker, ops[i].status);
            }
            shardcask_op_clear(&ops[i]);
        }
    }
    return NULL;
}

static void go_on(struct shardcask_op *op)
{
    struct worker *worker = op->arg;
    count(worker, op->status);
    if (atomic_load(&stop) || shardcask_submit(db, op, go_on) != SHARDCASK_OK) {
        worker->ended = true;
    }
}

static void go_on_with_batch(struct shardcask_op *ops, size_t size, void *arg)
{
    struct worker *worker = arg;
    for (size_t i = 0; i < size; i++) {
        count(worker, ops[i].status);
    }
    if (atomic_load(&stop) ||
        shardcask_submit_batch(db, ops, size, go_on_with_batch, worker) != SHARDCASK_OK) {
        worker->ended = true;
    }
}

static void start_chain(struct worker *worker)
{
    for (size_t i = 0; i < BATCH; i++) {
        worker->ops[i] = (struct shardcask_op){.kind = SHARDCASK_OP_INCR,
                                               .key = worker->key,
                                               .key_size = strlen(worker->key),
                                               .delta = 1,
                                               .arg = worker};
    }
    if (worker < &workers[WORKERS - BATCH_CHAINS]) {
        ck_assert_int_eq(shardcask_submit(db, worker->ops, go_on), SHARDCASK_OK);
    } else {
        ck_assert_int_eq(shardcask_submit_batch(db, worker->ops, BATCH, go_on_with_batch, worker),
                         SHARDCASK_OK);
    }
}

void chaos_start(struct shardcask *handle)
{
    db = handle;
    for (size_t i = 0; i < WORKERS; i++) {
        struct worker *worker = &workers[i];
        (void)snprintf(worker->key, sizeof worker->key, "w%02zu", i);
        if (i < CALLERS + BATCHERS) {
            ck_assert_int_eq(
                pthread_create(&worker->thread, NULL, i < CALLERS ? call : batch, worker), 0);
        } else {
            start_chain(worker);
        }
    }
}

static void stop_workers(void)
{
    atomic_store(&stop, true);
    for (size_t i = 0; i < CALLERS + BATCHERS; i++) {
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
    }
    shardcask_drain(db);
    shardcask_drain(db);
}

void chaos_end(void)
{
    stop_workers();
    for (size_t i = 0; i < WORKERS; i++) {
        const struct worker *worker = &workers[i];
        int64_t total = 0;
        int status;
        do {
            status = shardcask_incr(db, worker->key, strlen(worker->key), 0, &total);
        } while (status == SHARDCASK_UNKNOWN || status == SHARDCASK_UNAVAILABLE);
        ck_assert_int_eq(status, SHARDCASK_OK);
        ck_assert_int_eq(worker->wrong, 0);
        ck_assert_int_ge(total, worker->applied);
        ck_assert_int_le(total, worker->applied + worker->unknown);
        ck_assert(i < CALLERS + BATCHERS || worker->ended);
    }
}
