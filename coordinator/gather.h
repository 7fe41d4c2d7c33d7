/*
 * Gather: collects the replies to the items of one multi-key request, in any order, and answers the
 * client when the last has come: [0, [reply...]] in the order of the items.
 *
 * The reply keeps to the message limit: room for an error is kept for every item, and a value that
 * no longer fits is replaced by status 3. So memory is bounded too.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_GATHER_H
#define SC_COORDINATOR_GATHER_H

#include "common/sp.h"

struct sc_gather;

/* For `count` items, count >= 1; frees itself when all have been put. Copies the origin. */
struct sc_gather *sc_gather_alloc(const struct sc_sp_origin *origin, uint32_t count,
                                  size_t reply_max);

/* Who is to get the reply. */
const struct sc_sp_origin *sc_gather_origin(const struct sc_gather *gather);

/* One of its items is in a shard's lane for cold reads (coordinator/lanes.h). */
void sc_gather_set_cold(struct sc_gather *gather);
bool sc_gather_has_cold(const struct sc_gather *gather);

/* The reply to item `index`, encoded. Each index exactly once. May answer the client and free the
 * gather. */
void sc_gather_put(struct sc_gather *gather, uint32_t index, struct sc_slice reply);
void sc_gather_put_status(struct sc_gather *gather, uint32_t index, enum sc_status status,
                          const char *why);

#endif
