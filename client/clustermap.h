/*
 * The cluster map as a client sees it: the reply to "map" of a coordinator or of a shard
 * (docs/PROTOCOL.md, Slots), taken apart.
 */
#ifndef SC_CLIENT_CLUSTERMAP_H
#define SC_CLIENT_CLUSTERMAP_H

#include "common/limits.h"
#include "common/msg.h"
#include "common/slot.h"

#define SC_CLUSTERMAP_SHARDS_MAX 4096u

struct sc_clustermap_shard {
    uint32_t id;
    char url[SC_URL_MAX + 1]; /* as the coordinator dials it: perhaps of no use from here */
};

/* Readable. */
struct sc_clustermap {
    uint64_t epoch;
    char cluster[SC_MSG_CLUSTER_SIZE + 1]; /* its id; "": not told */
    struct sc_clustermap_shard *shards;
    size_t shard_count;
    uint16_t owner[SC_SLOT_COUNT]; /* an index into `shards` */
};

/* Reads the map at the cursor. False when it makes no sense, or leaves a slot without an owner (a
 * shard that was not granted anything yet has such a map): `map` is then all zero. */
bool sc_clustermap_read(struct sc_mp mp, struct sc_clustermap *map);

void sc_clustermap_fini(struct sc_clustermap *map);

#endif
