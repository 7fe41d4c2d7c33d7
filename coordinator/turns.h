/*
 * Turns: which shards may merge. A merge costs its shard disk and CPU; so that they never stall
 * together, the coordinator asks every shard now and then whether it would like to merge, and lets
 * only so many at a time (the setting merges_at_once), one after the other.
 *
 * A shard keeps its turn until it has nothing left to merge, or others have waited for some
 * seconds; without one, a merge pauses. A shard with more dead data than live gets a turn whatever
 * the others do: that disks stay large enough goes before calm. A shard that slots move from or to
 * has no turn meanwhile: its log must stay as it is.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_TURNS_H
#define SC_COORDINATOR_TURNS_H

#include "coordinator/backend.h"

struct sc_turns;

struct sc_turns *sc_turns_alloc(void);

/* After the backends were closed. NULL is allowed. */
void sc_turns_free(struct sc_turns *turns);

/* A shard has come, behind the others, or the one at `index`, whose backend was closed, has gone.
 */
void sc_turns_add(struct sc_turns *turns);
void sc_turns_remove(struct sc_turns *turns, size_t index);

/* From the hub's tick. `backends` are those of the fleet, one for each shard that was added. */
void sc_turns_tick(struct sc_turns *turns, const struct sc_cluster *cluster,
                   struct sc_backend *const *backends, uint64_t at_once);

#endif
