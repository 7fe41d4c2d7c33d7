/*
 * Rebalancer: brings the layout of slots to what the planner says it should be, batch by batch,
 * while the fleet serves.
 *
 *   shard.add, shard.remove --> steering: balancing --> plan --> flows (flows.h)
 *        ^                                               ^         |
 *        |                                               |         v
 *   shards that have all they should, or nothing        batch ended
 *
 * The plan is made anew from who owns what whenever a batch ends, so it needs no memory: a crash, a
 * cancelled move or another shard that is added only change what is left to be moved. A shard takes
 * part in one batch at a time. After a batch that comes to nothing none is begun for a while,
 * longer and longer, up to RETRY_MAX_MS in rebalancer.c, with the reason told by `rebalance`;
 * whatever else changes meanwhile does not shorten that, but a batch that succeeds, a shard that
 * goes down, and what an operator asks for do.
 *
 * A shard is joining until the plan gives it nothing more, and leaves the map when it is leaving
 * and owns nothing. Cancelling ends the moves under way, unless they are just being committed, and
 * the pause, and makes shards that are joining or leaving ordinary ones, with what they have.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_REBALANCER_H
#define SC_COORDINATOR_REBALANCER_H

#include "common/msg.h"
#include "coordinator/fleet.h"

struct sc_rebalancer;

/* Goes on with the batches that the map says are under way. The backends are not connected yet. */
struct sc_rebalancer *sc_rebalancer_alloc(struct sc_fleet *fleet);

/* After the backends were closed. NULL is allowed. */
void sc_rebalancer_free(struct sc_rebalancer *rebalancer);

/* rebalance. Answers `origin`, now or later. */
void sc_rebalancer_steer(struct sc_rebalancer *rebalancer, const struct sc_msg_request *request,
                         const struct sc_sp_origin *origin);

/* Answers with the plan, by the map as it would be after `change` (NULL: as it is); see preview.h.
 */
void sc_rebalancer_preview(struct sc_rebalancer *rebalancer, const struct sc_change *change,
                           const struct sc_sp_origin *origin);

/* A change was applied to the map. */
void sc_rebalancer_on_map(struct sc_rebalancer *rebalancer, const struct sc_change *change);

/* From the hub's tick and timer, and when requests have been answered (on_drained). */
void sc_rebalancer_tick(struct sc_rebalancer *rebalancer);
void sc_rebalancer_poke(struct sc_rebalancer *rebalancer);

/* For struct sc_backend_shared. */
void sc_rebalancer_on_change(struct sc_rebalancer *rebalancer, struct sc_backend *backend);
bool sc_rebalancer_may_grant(const struct sc_rebalancer *rebalancer,
                             const struct sc_backend *backend);

/* Whether slots are just being handed over: what asks all shards at once had better wait. */
bool sc_rebalancer_is_cutting_over(const struct sc_rebalancer *rebalancer);

#endif
