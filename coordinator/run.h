/*
 * Run: a queue of encoded requests, oldest first, with who asked for each. What waits in a lane is
 * one, what is in flight in a message is one; requests move between them without being encoded
 * anew.
 */
#ifndef SC_COORDINATOR_RUN_H
#define SC_COORDINATOR_RUN_H

#include "common/buf.h"
#include "coordinator/target.h"

struct sc_run_item {
    struct sc_target target;
    size_t size; /* of its encoding */
};

/* All zero is an empty run. `bytes` holds the encodings one behind the other. What was taken away
 * in front stays allocated until it is half of the whole, so that taking is cheap. */
struct sc_run {
    struct sc_buf bytes;
    size_t bytes_head; /* taken away */
    struct sc_run_item *items;
    size_t head; /* taken away */
    size_t end;
    size_t capacity;
};

void sc_run_fini(struct sc_run *run);

/* Empties the run; keeps a moderate amount of memory. */
void sc_run_reset(struct sc_run *run);

static inline size_t sc_run_count(const struct sc_run *run)
{
    return run->end - run->head;
}

static inline struct sc_run_item *sc_run_item(const struct sc_run *run, size_t index)
{
    return &run->items[run->head + index];
}

/* The encodings of all requests, back to back. Valid until the run changes. */
struct sc_slice sc_run_bytes(const struct sc_run *run);

/* Adds a request at the end: append its encoding to the buffer that is returned, then call end. */
struct sc_buf *sc_run_push_begin(struct sc_run *run, const struct sc_target *target);
void sc_run_push_end(struct sc_run *run);

/* Takes the oldest request away. */
void sc_run_pop(struct sc_run *run);

/* Moves the oldest `count` requests of `from` behind those of `to`. */
void sc_run_move(struct sc_run *from, size_t count, struct sc_run *to);

/* Moves the requests that test(arg, ...) is true of behind those of `to`, and keeps the order of
 * all. Returns how many were moved. */
size_t sc_run_sift(struct sc_run *run,
                   bool (*test)(const void *arg, const struct sc_target *target), const void *arg,
                   struct sc_run *to);

void sc_run_swap(struct sc_run *a, struct sc_run *b);

#endif
