/*
 * Strays: a shard that has come back may still take part in a move that has ended meanwhile. As
 * long as it thinks so it does not merge, so it is told to let go.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_STRAYS_H
#define SC_COORDINATOR_STRAYS_H

#include "coordinator/backend.h"

/* The shard is up, and has the present map: what did move to it is its own by now, and out of reach
 * of what it is told. */
void sc_strays_look(const struct sc_cluster *cluster, struct sc_backend *backend);

#endif
