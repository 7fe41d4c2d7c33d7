/*
 * Cluster: the map of the fleet in memory. Which shards there are, at which addresses, and which of
 * them owns each slot. Its epoch counts the changes of ownership.
 *
 * Invariant: every slot is owned by exactly one shard of the list; ids are never used again.
 */
#ifndef SC_COORDINATOR_CLUSTER_H
#define SC_COORDINATOR_CLUSTER_H

#include "common/buf.h"
#include "common/limits.h"
#include "common/slot.h"
#include "common/status.h"

#define SC_CLUSTER_SHARDS_MAX 1024u

struct sc_cluster_shard {
    uint32_t id; /* from 1 */
    char url[SC_URL_MAX + 1];
    bool adopted; /* its directory is known to carry this id: an empty one there is a mistake */
};

/* Readable. All zero: no cluster yet. */
struct sc_cluster {
    uint8_t id[16]; /* random, made at the first start */
    uint64_t term; /* counts the starts of coordinators */
    uint64_t epoch; /* from 1 */
    uint32_t next_shard_id;
    struct sc_cluster_shard *shards;
    size_t shard_count;
    uint32_t owner[SC_SLOT_COUNT]; /* a shard's id */
};

void sc_cluster_fini(struct sc_cluster *cluster);

/* Makes a new cluster: shards 1 to `count` at these addresses, the slots spread evenly in
 * stretches. SC_BADREQUEST: no shard, too many, or one listed twice. SC_IO: no random bytes for the
 * id. */
enum sc_status sc_cluster_create(struct sc_cluster *cluster, const char *const *urls, size_t count,
                                 char *why);

/* The shard with this id or address; NULL if there is none. */
struct sc_cluster_shard *sc_cluster_shard(struct sc_cluster *cluster, uint32_t id);
const struct sc_cluster_shard *sc_cluster_shard_at(const struct sc_cluster *cluster,
                                                   const char *url);

/* The last slot of the stretch with one owner that `slot` lies in. */
uint32_t sc_cluster_stretch_end(const struct sc_cluster *cluster, uint32_t slot);

/* Appends the stretches as a msgpack array of [first, last, shard id], with the owner's address as
 * a fourth member if `urls`. */
void sc_cluster_put_ranges(const struct sc_cluster *cluster, bool urls, struct sc_buf *out);

/* The whole map as one msgpack value, and back. Reading checks the invariants; SC_CORRUPT. */
void sc_cluster_encode(const struct sc_cluster *cluster, struct sc_buf *out);
enum sc_status sc_cluster_decode(struct sc_cluster *cluster, struct sc_slice encoded, char *why);

#endif
