/*
 * Planner: which slots should move where. Pure functions of who owns what.
 *
 * A quota is how many slots a shard should own: its share by weight, rounded down or up, so that
 * all quotas together are all slots. Who owns more than a share rounded down is rounded up first:
 * so an even layout stays as it is, and a shard that joins one gets its share rounded down, from
 * all others evenly. A shard that leaves has quota 0.
 *
 * Quotas are made when shards come or go; the moves follow from them and from who owns what, at any
 * time: a shard above its quota gives what is too much, one below it takes, so no slot moves twice
 * and none moves that need not.
 */
#ifndef SC_COORDINATOR_PLANNER_H
#define SC_COORDINATOR_PLANNER_H

#include "common/slot.h"
#include "common/status.h"

struct sc_planner_shard {
    uint32_t id;
    uint32_t weight; /* at least 1 */
    bool leaving;
    uint32_t slots; /* set by the functions below: how many it owns */
    uint32_t quota; /* set by sc_planner_quotas */
};

/* Sets slots and quota of all shards, which are in the order of their ids and own every slot
 * between them. At least one of them must not be leaving. */
void sc_planner_quotas(struct sc_planner_shard *shards, size_t count,
                       const uint32_t owner[SC_SLOT_COUNT]);

/* Who should own each slot: stores into `after`, sets the shards' slots, and returns how many slots
 * differ from `owner`. A shard gives its shortest stretches of neighbouring slots first, then the
 * end of a longer one, so that stretches stay few. */
uint32_t sc_planner_moves(struct sc_planner_shard *shards, size_t count,
                          const uint32_t owner[SC_SLOT_COUNT], uint32_t after[SC_SLOT_COUNT]);

#endif
