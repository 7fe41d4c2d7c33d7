/*
 * Strays: moves that a shard still takes part in though they have come to nothing, since it was
 * away when they were given up. As long as it thinks so it does not merge, and takes part in no
 * other one.
 *
 * A shard says when it is introduced what it takes part in. What the map does not know (any more)
 * it is told to let go of, again and again until it has.
 *
 * Only a shard that has the present map is told: what did move to it is its own by then, and out of
 * reach of what is told here.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_STRAYS_H
#define SC_COORDINATOR_STRAYS_H

#include "coordinator/fleet.h"

struct sc_strays;

struct sc_strays *sc_strays_alloc(struct sc_fleet *fleet);
void sc_strays_free(struct sc_strays *strays); /* NULL is allowed */

/* The backend has got a map, or has gone down. */
void sc_strays_on_change(struct sc_strays *strays, struct sc_backend *backend);

/* From the hub's tick. */
void sc_strays_tick(struct sc_strays *strays);

/* Whether the shard has still something to let go of. */
bool sc_strays_any(const struct sc_strays *strays, uint32_t shard_id);

#endif
