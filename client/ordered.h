/*
 * Ordered: how a direct client sends what was submitted, so that operations on one key take effect
 * in the order they were submitted in, whatever happens to their shard.
 *
 *   submit --> intake --as many as fit into a message--> round --by key--> ORDERED lanes
 *                                                          ^                    |
 *                                                          +--- refused ones ---+
 *
 * There is one round at a time: the next begins when every operation of the last has ended, those
 * that a shard refused after another attempt. All that goes to one shard in a round is one message,
 * so two operations on one key never overtake each other. Operations that end in a round are called
 * back at once.
 *
 * Guarded by the hub's lock, but sc_ordered_submit.
 */
#ifndef SC_CLIENT_ORDERED_H
#define SC_CLIENT_ORDERED_H

#include "client/course.h"
#include "client/intake.h"
#include "client/redo.h"

struct sc_ordered {
    struct shardcask *handle; /* constant */
    struct sc_intake intake;
    struct sc_course course; /* of the round */
    size_t under_way; /* operations of the attempt at hand that have not ended */
    struct sc_redo redo;
    struct sc_job **held; /* candidates for the next attempt, in order ... */
    size_t held_count;
    size_t held_capacity;
    uint64_t resume_ms; /* ... which is made then; 0: there is an attempt, or none to be made */
    bool stirred; /* to be looked at before the lock is let go */
};

void sc_ordered_init(struct sc_ordered *ordered, struct shardcask *handle);

/* Everything has ended. */
void sc_ordered_fini(struct sc_ordered *ordered);

/* Hands over a job of one operation; its deadline and `async` are set. Any thread, lock not held.
 */
void sc_ordered_submit(struct sc_ordered *ordered, struct sc_job *job);

/* Begins a round if there is none, and something to do. */
void sc_ordered_pump(struct sc_ordered *ordered);

/* Ends what is not at a server. */
void sc_ordered_abandon(struct sc_ordered *ordered, const char *why);

void sc_ordered_tick(struct sc_ordered *ordered, uint64_t now_ms);

#endif
