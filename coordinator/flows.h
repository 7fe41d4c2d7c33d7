/*
 * Flows: the batches on their way, from being planned to their end. A shard takes part in one at a
 * time.
 *
 *   after (who should own what) --> survey of the source --> BATCH recorded --> mover --> ended
 *                                        |  at most 256 slots, 1 GiB, a million keys
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_FLOWS_H
#define SC_COORDINATOR_FLOWS_H

#include "coordinator/mover.h"
#include "coordinator/survey.h"

struct sc_flows;

/* Who has slots moved. Constant. */
struct sc_flows_owner {
    /* Whether frames may be copied now, and how much was copied: see sc_mover_owner. */
    bool (*may_copy)(void *arg);
    void (*copied)(void *arg, uint64_t bytes, bool bulk);
    /* A batch has ended, or come to nothing: SC_UNAVAILABLE, it was told to give up; else `why`. */
    void (*ended)(void *arg, enum sc_status status, const char *why);
    void *arg;
};

/* Goes on with the batches that the map says are under way. Borrows all three. */
struct sc_flows *sc_flows_alloc(struct sc_fleet *fleet, struct sc_survey *survey,
                                const struct sc_flows_owner *owner);

/* After the backends were closed. NULL is allowed. */
void sc_flows_free(struct sc_flows *flows);

/* Begins batches for all pairs of shards that are up and take part in none. */
void sc_flows_begin(struct sc_flows *flows, const uint32_t after[SC_SLOT_COUNT]);

/* Whether there is any, and whether a shard takes part in one. */
bool sc_flows_any(const struct sc_flows *flows);
bool sc_flows_has(const struct sc_flows *flows, uint32_t shard_id);

/* Ends all, unless they are just being committed. */
void sc_flows_give_up(struct sc_flows *flows);

/* Ends those to shards that are leaving: one that has died would be waited for else. */
void sc_flows_give_up_useless(struct sc_flows *flows);

void sc_flows_pause(struct sc_flows *flows, bool paused);
void sc_flows_poke(struct sc_flows *flows);

/* For struct sc_backend_shared. */
void sc_flows_on_change(struct sc_flows *flows, struct sc_backend *backend);
bool sc_flows_may_grant(const struct sc_flows *flows, const struct sc_backend *backend);

/* Whether slots are just being handed over. */
bool sc_flows_are_cutting_over(const struct sc_flows *flows);

/* What the movers have copied of batches that have not moved yet. */
uint64_t sc_flows_bytes_done(const struct sc_flows *flows);

/* Appends an array with a map of figures for each. */
void sc_flows_put(const struct sc_flows *flows, struct sc_buf *out);

#endif
