/*
 * Draft: what would have to move, by the map as it is, or as it would be after one more change. A
 * pure function of both: nothing is begun, nothing remembered.
 */
#ifndef SC_COORDINATOR_DRAFT_H
#define SC_COORDINATOR_DRAFT_H

#include "coordinator/change.h"

/* What one shard gives another. */
struct sc_draft_pair {
    uint32_t from, to;
    uint32_t slots;
};

struct sc_draft {
    uint32_t after[SC_SLOT_COUNT]; /* who should own each slot */
    uint32_t moves; /* slots that change their owner */
    struct sc_draft_pair *pairs; /* in the order of `from`, then `to` */
    size_t pair_count;
};

/* The plan for the map as it is, without pairs: who should own each slot; how many slots would
 * change. */
uint32_t sc_draft_plan(const struct sc_cluster *cluster, uint32_t after[SC_SLOT_COUNT]);

/* `change` may be NULL. False when it does not fit the map; the draft is empty then. */
bool sc_draft_make(struct sc_draft *draft, const struct sc_cluster *cluster,
                   const struct sc_change *change);
void sc_draft_fini(struct sc_draft *draft);

/* The index of the pair with these shards, which is there. */
size_t sc_draft_find(const struct sc_draft *draft, uint32_t from, uint32_t to);

#endif
