/*
 * Moment: a snapshot of the whole store: one on every shard, all opened at once under one map. Each
 * is the state of its shard at one moment; there is no order between the moments of two shards.
 *
 * The coordinator keeps nothing of it: the id names the snapshot to the shards, also after the
 * coordinator was restarted, or after slots have moved away from the shard that has it.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_MOMENT_H
#define SC_COORDINATOR_MOMENT_H

#include "coordinator/fleet.h"

/* snapshot: answers with its id and what each shard has, or, when a shard cannot (it is down, has
 * another map, has too many open), with that, and closes what was opened. */
void sc_moment_open(struct sc_fleet *fleet, const struct sc_sp_origin *origin);

/* snapshot.close: tells every shard that can be reached. */
void sc_moment_close(struct sc_fleet *fleet, uint64_t id, const struct sc_sp_origin *origin);

#endif
