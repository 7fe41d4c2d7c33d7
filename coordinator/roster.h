/*
 * Roster: shards that are to leave. One is recorded as leaving if the others have room for what it
 * has; the rebalancer gives that to them, and takes the shard off the map when it owns nothing any
 * more. (Who is to join: joining.h.)
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_ROSTER_H
#define SC_COORDINATOR_ROSTER_H

#include "coordinator/fleet.h"

/* shard.remove. Answers `origin`, now or later. */
void sc_roster_remove(struct sc_fleet *fleet, uint64_t shard_id, const struct sc_sp_origin *origin);

#endif
