/*
 * Fanout: operations that concern every shard: count, clear, sync, stats and the like. Each asks
 * all shards at once and answers the client when the last has replied.
 *
 * count and clear are refused as unavailable when any shard is down, clear before it removes
 * anything. sync, compact and scrub are carried out where they can be and then say which shard is
 * down. stats, config and damage answer for the others.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_FANOUT_H
#define SC_COORDINATOR_FANOUT_H

#include "common/msg.h"
#include "coordinator/fleet.h"

/* op: count, clear, sync, compact, scrub or damage. Answers `origin`, now or later. */
void sc_fanout_start(struct sc_fleet *fleet, enum sc_op op, const struct sc_sp_origin *origin);

/* stats. `own` holds the coordinator's own figures: `own_pairs` encoded pairs of a msgpack map, to
 * which the totals and the shards are added; it is taken over. */
void sc_fanout_stats(struct sc_fleet *fleet, struct sc_buf *own, uint32_t own_pairs,
                     const struct sc_sp_origin *origin);

/* config: tells every shard that is up what `change` gives and collects the settings of each; own
 * as for sc_fanout_stats. */
void sc_fanout_config(struct sc_fleet *fleet, const struct sc_config *change, struct sc_buf *own,
                      uint32_t own_pairs, const struct sc_sp_origin *origin);

#endif
