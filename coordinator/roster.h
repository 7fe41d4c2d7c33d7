/*
 * Roster: shards that are to leave, or to have another weight. Either is recorded if the others
 * have room for what would move; the rebalancer does the rest, and takes a shard off the map when
 * it is leaving and owns nothing any more. (Who is to join: joining.h.)
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_ROSTER_H
#define SC_COORDINATOR_ROSTER_H

#include "common/msg.h"
#include "coordinator/fleet.h"

/* shard.remove and shard.weight. Answers `origin`, now or later. */
void sc_roster_change(struct sc_fleet *fleet, const struct sc_msg_request *request,
                      const struct sc_sp_origin *origin);

#endif
