/*
 * Router: sends requests for keys to the shards that own them.
 *
 *   one key:    parse -> slot of the key -> lane of its shard -> reply passed on as it is
 *   many keys:  each item is a single-key request of its own; a gather collects the replies
 *
 * Values are neither decoded nor copied more than once. All items of a request that contains a
 * write go through the lanes for writes, so that items on one key take effect in their order.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_ROUTER_H
#define SC_COORDINATOR_ROUTER_H

#include "common/msg.h"
#include "coordinator/fleet.h"

/* A single-key request. Answers `origin`, now or later. */
void sc_router_single(struct sc_fleet *fleet, const struct sc_msg_request *request,
                      const struct sc_sp_origin *origin);

/* A multi-key request; reads its items. Answers `origin`, now or later. */
void sc_router_multi(struct sc_fleet *fleet, struct sc_msg_request *request,
                     const struct sc_msg_limits *limits, const struct sc_sp_origin *origin);

#endif
