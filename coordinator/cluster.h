/*
 * Cluster: the map of the fleet in memory. Which shards there are, at which addresses, which of
 * them owns each slot, and which slots are on their way from one to another. Its epoch counts the
 * changes of ownership.
 *
 * A shard is joining from the time it was added until it has its share, then up, and leaving from
 * the time it was to be removed until it owns nothing and is taken off the list.
 *
 * Slots move in batches. A batch is under way from the time it is recorded until it has ended;
 * whether it has moved, that is whether its slots are the target's, is one step in between.
 *
 * Invariants: every slot is owned by exactly one shard of the list; shards are in the order of
 * their ids, which are never used again, nor are the ids of batches; a shard takes part in at most
 * one batch at a time, and the slots of a batch are the source's until it has moved, the target's
 * afterwards.
 *
 * Once a fleet is open the map changes only by what has been recorded: see change.h.
 */
#ifndef SC_COORDINATOR_CLUSTER_H
#define SC_COORDINATOR_CLUSTER_H

#include "common/buf.h"
#include "common/limits.h"
#include "common/slot.h"
#include "common/status.h"
#include "coordinator/slotset.h"

#define SC_CLUSTER_SHARDS_MAX 1024u
#define SC_CLUSTER_RATE_DEFAULT (UINT64_C(8) << 20) /* bytes a second */

/* Values are on disk. */
enum sc_cluster_state { SC_CLUSTER_UP = 0, SC_CLUSTER_JOINING = 1, SC_CLUSTER_LEAVING = 2 };

struct sc_cluster_shard {
    uint32_t id; /* from 1 */
    char url[SC_URL_MAX + 1];
    bool adopted; /* its directory is known to carry this id: an empty one there is a mistake */
    enum sc_cluster_state state;
    uint32_t weight; /* 1 to SC_WEIGHT_MAX: its share is in proportion */
    uint32_t slots; /* that it owns */
};

/* Slots on their way. */
struct sc_cluster_batch {
    uint64_t move; /* its id, from 1 */
    uint32_t from, to;
    uint64_t epoch; /* since which the slots are the target's; 0: they are the source's */
    struct sc_slotset slots;
};

/* What the operator wants of the moves. */
struct sc_cluster_steering {
    bool balancing; /* slots are moved until every shard has its share */
    bool paused;
    uint64_t bytes_per_second; /* of all moves together; 0: no limit */
};

/* Readable. All zero: no cluster yet. */
struct sc_cluster {
    uint8_t id[16]; /* random, made at the first start */
    uint64_t term; /* counts the starts of coordinators */
    uint64_t epoch; /* from 1 */
    uint32_t next_shard_id;
    uint64_t next_move;
    struct sc_cluster_shard *shards;
    size_t shard_count;
    struct sc_cluster_batch *batches; /* in the order of their ids */
    size_t batch_count;
    struct sc_cluster_steering steering;
    uint32_t owner[SC_SLOT_COUNT]; /* a shard's id */
};

void sc_cluster_fini(struct sc_cluster *cluster);

/* Makes `copy`, which is empty, another one with the same content. */
void sc_cluster_copy(const struct sc_cluster *cluster, struct sc_cluster *copy);

/* Makes a new cluster: shards 1 to `count` at these addresses, the slots spread evenly in
 * stretches. SC_BADREQUEST: no shard, too many, or one listed twice. SC_IO: no random bytes for the
 * id. */
enum sc_status sc_cluster_create(struct sc_cluster *cluster, const char *const *urls, size_t count,
                                 char *why);

/* The shard with this id or address, or the batch with this id; NULL if there is none. */
struct sc_cluster_shard *sc_cluster_shard(const struct sc_cluster *cluster, uint32_t id);
const struct sc_cluster_shard *sc_cluster_shard_at(const struct sc_cluster *cluster,
                                                   const char *url);
struct sc_cluster_batch *sc_cluster_batch(const struct sc_cluster *cluster, uint64_t move);

/* Whether the shard takes part in a batch that is under way. */
bool sc_cluster_in_batch(const struct sc_cluster *cluster, uint32_t shard_id);

/* Whether the shard owns all these slots. */
bool sc_cluster_owns(const struct sc_cluster *cluster, uint32_t shard_id,
                     const struct sc_slotset *slots);

/* The last slot of the stretch with one owner that `slot` lies in. */
uint32_t sc_cluster_stretch_end(const struct sc_cluster *cluster, uint32_t slot);

/* Appends the stretches as a msgpack array of [first, last, shard id], with the owner's address as
 * a fourth member if `urls`. */
void sc_cluster_put_ranges(const struct sc_cluster *cluster, bool urls, struct sc_buf *out);

/* The whole map as one msgpack value, and back. Reading checks the invariants; SC_CORRUPT. Maps of
 * version 0.1, which knew neither states nor batches, are read too. */
void sc_cluster_encode(const struct sc_cluster *cluster, struct sc_buf *out);
enum sc_status sc_cluster_decode(struct sc_cluster *cluster, struct sc_slice encoded, char *why);

#endif
