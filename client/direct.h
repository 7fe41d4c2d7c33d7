/*
 * Direct: a handle that knows the cluster map and sends operations on keys to the shards
 * themselves.
 *
 *   key -> slot -> owner by the map -> the owner's lanes, if it can be reached from here
 *                                      else the coordinator's, who knows the way
 *
 * The map comes from the coordinator when the connection to it comes up, and whenever a shard was
 * lost or refused a slot that is its own by our map. A shard that refuses a slot at a newer epoch
 * than ours (SC_MOVED) is asked for its map itself: so slots are followed without the coordinator.
 * The coordinator's map always counts, a shard's only when it is newer.
 *
 * A shard's word is not the last one: what it refuses with MOVED, UNAVAILABLE or BUSY was certainly
 * not applied and goes on to the coordinator, who waits where a slot is being handed over, or says
 * for good that it is unavailable. While there is no coordinator it is tried again by the map, with
 * pauses, until it runs out of time (client/course.h).
 */
#ifndef SC_CLIENT_DIRECT_H
#define SC_CLIENT_DIRECT_H

#include "client/member.h"

struct sc_direct {
    struct shardcask *handle; /* constant */

    /* Written under the hub's lock, read by any thread. A member stays until the handle is closed.
     */
    _Atomic uint16_t owner[SC_SLOT_COUNT]; /* an index into `members` */
    _Atomic(struct sc_member *) members[SC_CLUSTERMAP_SHARDS_MAX];
    _Atomic uint64_t epoch; /* sc_direct_epoch */
    _Atomic uint32_t member_count;

    /* Lock held. */
    char cluster[SC_MSG_CLUSTER_SIZE + 1]; /* of the map */
    struct sc_errand ask; /* the coordinator for its map */
    uint64_t asked_ms; /* when it has answered first, or has not in time; 0: neither yet */
    bool ask_again; /* something has happened since */
    uint64_t ask_ms; /* when to ask it again at the earliest */
    struct sc_errand ask_shard; /* a shard that knows of a newer epoch */
};

struct sc_direct *sc_direct_open(struct shardcask *handle);

/* Closes all connections. Lock held. */
void sc_direct_close(struct sc_direct *direct);

/* Everything has ended. NULL is allowed. */
void sc_direct_free(struct sc_direct *direct);

/* The shard that a key's operations go to; NULL when that cannot be reached, or is not known. Any
 * thread. */
struct sc_peer *sc_direct_route(struct sc_direct *direct, struct sc_slice key);

/* The epoch of the map; 0: there is none yet. Any thread. */
static inline uint64_t sc_direct_epoch(const struct sc_direct *direct)
{
    return atomic_load_explicit(&direct->epoch, memory_order_relaxed);
}

/* ---- Lock held ---- */

/* The connection to the coordinator has come up. */
void sc_direct_coordinator_up(struct sc_direct *direct);

/* The connection to a shard has gone. */
void sc_direct_lost(struct sc_direct *direct);

/* A shard has refused a slot at this epoch. */
void sc_direct_moved(struct sc_direct *direct, struct sc_peer *shard, uint64_t epoch);

/* True when there is a map and every shard in it has been tried for a while, or there will be no
 * map. */
bool sc_direct_settled(const struct sc_direct *direct);

void sc_direct_tick(struct sc_direct *direct, uint64_t now_ms);

#endif
