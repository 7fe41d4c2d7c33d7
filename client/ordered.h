/*
 * Ordered: how a direct client sends what was submitted, so that operations on one key take effect
 * in the order they were submitted in, whatever happens to their shard.
 *
 *   submit --> intake --as many as fit into a message--> round --by key--> ORDERED lanes
 *                 \                                       ^                    |
 *                  +--its slot is parked--> parked -------+<--refused ones-----+
 *
 * There is one round at a time: the next begins when every operation of the last has ended. All
 * that goes to one server in a round is one message, so two operations on one key never overtake
 * each other. What was refused is parked for a while and then sent again; operations on the same
 * slots are parked behind it, the others go on.
 *
 * Guarded by the hub's lock, but for what the intake says of itself.
 */
#ifndef SC_CLIENT_ORDERED_H
#define SC_CLIENT_ORDERED_H

#include "client/course.h"
#include "client/intake.h"
#include "client/redo.h"

struct sc_ordered_list {
    struct sc_job **jobs;
    size_t count;
    size_t capacity;
};

struct sc_ordered {
    struct shardcask *handle; /* constant */
    struct sc_intake intake; /* jobs of one operation; their deadlines and `async` are set */
    bool stirred; /* to be looked at before the lock is let go */

    /* The round. */
    size_t under_way; /* operations that have not ended */
    struct sc_redo redo;
    struct sc_ordered_list refused; /* candidates for being sent again, in order */

    struct sc_ordered_list parked; /* in order */
    uint8_t parked_slots[SC_SLOT_COUNT / 8]; /* their slots */
    struct sc_course course; /* of those that are parked */
    uint64_t resume_ms; /* when they are sent again */
};

void sc_ordered_init(struct sc_ordered *ordered, struct shardcask *handle);

/* Everything has ended. */
void sc_ordered_fini(struct sc_ordered *ordered);

/* Begins a round if there is none, and something to do. */
void sc_ordered_pump(struct sc_ordered *ordered);

/* Ends what is not at a server. */
void sc_ordered_abandon(struct sc_ordered *ordered, const char *why);

void sc_ordered_tick(struct sc_ordered *ordered, uint64_t now_ms);

#endif
