/*
 * Change: one step in the life of the cluster map: what the map log records and the map in memory
 * then goes through, at the time and whenever the log is read again.
 *
 *   TERM           a coordinator has started
 *   ADOPTED        the shard's directory carries its id now
 *   SHARD_ADDED    a shard joins the list, owning nothing
 *   SHARD_STATE    it is up, joining or leaving from now on
 *   SHARD_REMOVED  it owns nothing any more and is taken off the list
 *   BATCH          slots set out from one shard to another, which may take until ...
 *   MOVED          ... they are the other's: the one step by which ownership changes
 *   ENDED          nothing is left to be done for a batch; without MOVED it has come to nothing
 *   STEERING       what the operator wants of the moves
 *   SHARD_WEIGHT   the share that it should have is another one from now on
 *
 * Payloads in the log are msgpack arrays, see docs/FORMAT.md.
 */
#ifndef SC_COORDINATOR_CHANGE_H
#define SC_COORDINATOR_CHANGE_H

#include "coordinator/cluster.h"

/* Values are on disk; 1 is the whole map. */
enum sc_change_kind {
    SC_CHANGE_TERM = 2,
    SC_CHANGE_ADOPTED = 3,
    SC_CHANGE_SHARD_ADDED = 4,
    SC_CHANGE_SHARD_STATE = 5,
    SC_CHANGE_SHARD_REMOVED = 6,
    SC_CHANGE_BATCH = 7,
    SC_CHANGE_MOVED = 8,
    SC_CHANGE_ENDED = 9,
    SC_CHANGE_STEERING = 10,
    SC_CHANGE_SHARD_WEIGHT = 11,
};

/* Parts of the steering. */
#define SC_CHANGE_BALANCING 1u
#define SC_CHANGE_PAUSED 2u
#define SC_CHANGE_RATE 4u

/* Which members mean something depends on the kind. */
struct sc_change {
    enum sc_change_kind kind;
    uint64_t term; /* TERM */
    uint32_t shard_id; /* ADOPTED, SHARD_* */
    uint32_t weight; /* SHARD_ADDED, SHARD_WEIGHT */
    char url[SC_URL_MAX + 1]; /* SHARD_ADDED */
    enum sc_cluster_state state; /* SHARD_STATE */
    uint64_t move; /* BATCH, MOVED, ENDED */
    uint32_t from, to; /* BATCH, as the next */
    struct sc_slotset slots;
    uint64_t epoch; /* MOVED: of the map from then on */
    struct sc_cluster_steering steering; /* STEERING */
    unsigned parts; /* STEERING: what of it is meant, the rest stays as it is; 0: all */
};

/* The payload, and back. Reading stores what the kind needs and checks that it is well-formed. */
void sc_change_encode(const struct sc_change *change, struct sc_buf *out);
bool sc_change_decode(uint32_t kind, struct sc_slice payload, struct sc_change *change);

/* Carries out the change, if it fits the map: else false, and nothing is changed. */
bool sc_change_apply(const struct sc_change *change, struct sc_cluster *cluster);

/* Whether it fits. */
bool sc_change_fits(const struct sc_change *change, const struct sc_cluster *cluster);

#endif
