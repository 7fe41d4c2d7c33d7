#include "client/clustermap.h"

#include <stdlib.h>

#define NOBODY UINT16_MAX

static bool is_named(struct sc_slice name, const char *text)
{
    return sc_slice_equal(name, sc_slice_str(text));
}

/* {"id", "url", ...}; an address that is too long is left empty, which is none. */
static bool read_shard(struct sc_mp *mp, struct sc_clustermap_shard *shard)
{
    uint32_t pairs = 0;
    uint64_t id = 0;
    struct sc_slice url = {0};
    if (!sc_mp_map(mp, &pairs)) {
        return false;
    }
    for (; pairs > 0; pairs--) {
        struct sc_slice name;
        if (!sc_mp_str(mp, &name)) {
            return false;
        }
        if (is_named(name, "id")) {
            (void)sc_mp_uint(mp, &id);
        } else if (is_named(name, "url")) {
            (void)sc_mp_str(mp, &url);
        } else {
            (void)sc_mp_skip(mp, NULL);
        }
    }
    if (sc_mp_failed(mp) || id == 0 || id > UINT32_MAX) {
        return false;
    }
    shard->id = (uint32_t)id;
    if (url.size > 0 && url.size <= SC_URL_MAX && memchr(url.data, '\0', url.size) == NULL) {
        memcpy(shard->url, url.data, url.size);
    }
    return true;
}

static bool read_shards(struct sc_mp *mp, struct sc_clustermap *map)
{
    uint32_t count = 0;
    if (map->shards != NULL || !sc_mp_array(mp, &count) || count == 0 ||
        count > SC_CLUSTERMAP_SHARDS_MAX) {
        return false;
    }
    map->shards = sc_calloc(count, sizeof *map->shards);
    map->shard_count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (!read_shard(mp, &map->shards[i])) {
            return false;
        }
    }
    return true;
}

static uint16_t find_shard(const struct sc_clustermap *map, uint64_t id)
{
    for (size_t i = 0; i < map->shard_count; i++) {
        if (map->shards[i].id == id) {
            return (uint16_t)i;
        }
    }
    return NOBODY;
}

/* [[first, last, shard id], ...]. */
static bool read_ranges(struct sc_mp mp, struct sc_clustermap *map)
{
    uint32_t count = 0;
    if (!sc_mp_array(&mp, &count)) {
        return false;
    }
    for (; count > 0; count--) {
        uint32_t members = 0;
        uint64_t first = 0;
        uint64_t last = 0;
        uint64_t id = 0;
        if (!sc_mp_array(&mp, &members) || members != 3 || !sc_mp_uint(&mp, &first) ||
            !sc_mp_uint(&mp, &last) || !sc_mp_uint(&mp, &id)) {
            return false;
        }
        uint16_t owner = find_shard(map, id);
        if (first > last || last >= SC_SLOT_COUNT || owner == NOBODY) {
            return false;
        }
        for (uint64_t slot = first; slot <= last; slot++) {
            if (map->owner[slot] != NOBODY) {
                return false;
            }
            map->owner[slot] = owner;
        }
    }
    return true;
}

/* The ranges name shards, which may come behind them. */
static bool read_members(struct sc_mp *mp, struct sc_clustermap *map, struct sc_slice *ranges)
{
    uint32_t pairs = 0;
    uint64_t slots = 0;
    struct sc_slice cluster = {0};
    if (!sc_mp_map(mp, &pairs)) {
        return false;
    }
    for (; pairs > 0; pairs--) {
        struct sc_slice name;
        if (!sc_mp_str(mp, &name)) {
            return false;
        }
        if (is_named(name, "epoch")) {
            (void)sc_mp_uint(mp, &map->epoch);
        } else if (is_named(name, "slots")) {
            (void)sc_mp_uint(mp, &slots);
        } else if (is_named(name, "cluster")) {
            (void)sc_mp_str(mp, &cluster);
        } else if (is_named(name, "shards")) {
            if (!read_shards(mp, map)) {
                return false;
            }
        } else if (is_named(name, "ranges")) {
            (void)sc_mp_skip(mp, ranges);
        } else {
            (void)sc_mp_skip(mp, NULL);
        }
    }
    if (cluster.size == SC_MSG_CLUSTER_SIZE) {
        memcpy(map->cluster, cluster.data, cluster.size);
    }
    return !sc_mp_failed(mp) && slots == SC_SLOT_COUNT && map->shards != NULL;
}

static bool is_whole(const struct sc_clustermap *map)
{
    for (size_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (map->owner[slot] == NOBODY) {
            return false;
        }
    }
    return true;
}

bool sc_clustermap_read(struct sc_mp mp, struct sc_clustermap *map)
{
    struct sc_slice ranges = {0};
    *map = (struct sc_clustermap){0};
    for (size_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        map->owner[slot] = NOBODY;
    }
    if (!read_members(&mp, map, &ranges) || !read_ranges(sc_mp(ranges), map) || !is_whole(map)) {
        sc_clustermap_fini(map);
        return false;
    }
    return true;
}

void sc_clustermap_fini(struct sc_clustermap *map)
{
    free(map->shards);
    *map = (struct sc_clustermap){0};
}
