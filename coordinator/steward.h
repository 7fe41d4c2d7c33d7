/*
 * Steward: the thread that writes the map log. It takes the ids of shards that were adopted,
 * appends them to the log, and reports each when it is durable.
 */
#ifndef SC_COORDINATOR_STEWARD_H
#define SC_COORDINATOR_STEWARD_H

#include "common/sp.h"
#include "coordinator/maplog.h"

struct sc_steward;

/* on_done(arg, shard_id) is called with the hub's lock held. Borrows hub and log until stop. Lock
 * not held. */
enum sc_status sc_steward_start(struct sc_sp_hub *hub, struct sc_maplog *log,
                                void (*on_done)(void *arg, uint32_t shard_id), void *arg,
                                struct sc_steward **out, char *why);

/* Lock not held. NULL is allowed. */
void sc_steward_stop(struct sc_steward *steward);

/* Asks for an entry. A shard that is in the queue already is not queued twice. Lock held. */
void sc_steward_put_adopted(struct sc_steward *steward, uint32_t shard_id);

#endif
