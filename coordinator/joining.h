/*
 * Joining: a shard is added to the fleet. Its address is dialled and who is there is asked before
 * anything is recorded: only an empty directory that belongs to no cluster may join.
 *
 *   shard.add --> dial, x.hello --> SHARD_ADDED in the map log --> [0, id]
 *
 * One shard at a time; another request meanwhile is answered with 9.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_JOINING_H
#define SC_COORDINATOR_JOINING_H

#include "common/msg.h"
#include "coordinator/fleet.h"

struct sc_joining;

struct sc_joining *sc_joining_alloc(struct sc_fleet *fleet);

/* Closes the link. Lock held. NULL is allowed. */
void sc_joining_stop(struct sc_joining *joining);

/* When the log tells of nothing any more. NULL is allowed. */
void sc_joining_free(struct sc_joining *joining);

/* shard.add. Answers `origin`, now or later. */
void sc_joining_add(struct sc_joining *joining, const struct sc_msg_request *request,
                    const struct sc_sp_origin *origin);

/* From the hub's tick. */
void sc_joining_tick(struct sc_joining *joining);

#endif
