/*
 * Many operations at once from one thread: start them, do something else, be called back.
 *
 *     ./async COUNT
 *
 * Counts COUNT events into ten counters and prints the counters. Operations are carried out in the
 * order they were submitted in; what waits travels together, so this is about as fast as it gets.
 */
#include <shardcask.h>

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTERS 10

/* An operation and the bytes it points to belong to the library until the callback. */
struct event {
    struct shardcask_op op;
    char key[24];
};

static atomic_ulong failures;

/* Called on a thread of the library: be quick, and do not wait for other operations here. */
static void counted(struct shardcask_op *op)
{
    struct event *event = op->arg;
    if (op->status != SHARDCASK_OK) {
        atomic_fetch_add(&failures, 1);
        fprintf(stderr, "async: %s: %s\n", event->key,
                op->why != NULL ? op->why : shardcask_status_text(op->status));
    }
    shardcask_op_clear(op);
    free(event);
}

static int count_event(struct shardcask *db, uint64_t number)
{
    struct event *event = calloc(1, sizeof *event);
    if (event == NULL) {
        abort();
    }
    snprintf(event->key, sizeof event->key, "counter:%" PRIu64, number % COUNTERS);
    event->op.kind = SHARDCASK_OP_INCR;
    event->op.key = event->key;
    event->op.key_size = strlen(event->key);
    event->op.delta = 1;
    event->op.arg = event;
    /* Waits by itself when too much is under way. */
    int status = shardcask_submit(db, &event->op, counted);
    if (status != SHARDCASK_OK) {
        free(event);
    }
    return status;
}

static int print_counters(struct shardcask *db)
{
    for (int i = 0; i < COUNTERS; i++) {
        char key[24];
        int64_t number;
        int size = snprintf(key, sizeof key, "counter:%d", i);
        if (shardcask_incr(db, key, (size_t)size, 0, &number) != SHARDCASK_OK) {
            fprintf(stderr, "async: %s\n", shardcask_error());
            return 1;
        }
        printf("%s %" PRId64 "\n", key, number);
    }
    return 0;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    uint64_t count = argc == 2 ? strtoull(argv[1], &end, 10) : 0;
    if (end == NULL || *argv[1] < '0' || *argv[1] > '9' || *end != '\0') {
        fprintf(stderr, "usage: async COUNT\n");
        return 2;
    }
    struct shardcask *db;
    char why[SHARDCASK_WHY_SIZE];
    if (shardcask_open(NULL, NULL, &db, why) != SHARDCASK_OK) {
        fprintf(stderr, "async: %s\n", why);
        return 1;
    }
    int status = SHARDCASK_OK;
    for (uint64_t i = 0; i < count && status == SHARDCASK_OK; i++) {
        status = count_event(db, i);
    }
    if (status != SHARDCASK_OK) {
        fprintf(stderr, "async: %s\n", shardcask_error());
    }
    shardcask_drain(db); /* all callbacks have been called */
    int result = status != SHARDCASK_OK || failures > 0 ? 1 : print_counters(db);
    shardcask_close(db);
    return result;
}
