#include "coordinator/cluster.h"

#include "common/mp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void sc_cluster_fini(struct sc_cluster *cluster)
{
    free(cluster->shards);
    *cluster = (struct sc_cluster){0};
}

static enum sc_status check_urls(const char *const *urls, size_t count, char *why)
{
    if (count == 0) {
        return sc_fail(why, SC_BADREQUEST,
                       "the first start needs the shards' addresses: give --shard URL for each");
    }
    if (count > SC_CLUSTER_SHARDS_MAX) {
        return sc_fail(why, SC_BADREQUEST, "%zu shards are given, %u are the limit", count,
                       SC_CLUSTER_SHARDS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(urls[i], urls[j]) == 0) {
                return sc_fail(why, SC_BADREQUEST, "shard %s is listed twice: give each once",
                               urls[i]);
            }
        }
    }
    return SC_OK;
}

enum sc_status sc_cluster_create(struct sc_cluster *cluster, const char *const *urls, size_t count,
                                 char *why)
{
    enum sc_status status = check_urls(urls, count, why);
    if (status != SC_OK) {
        return status;
    }
    *cluster = (struct sc_cluster){.epoch = 1, .next_shard_id = (uint32_t)count + 1};
    if (getrandom(cluster->id, sizeof cluster->id, 0) != (ssize_t)sizeof cluster->id) {
        return sc_fail(why, SC_IO, "the system gives no random bytes: %s", strerror(errno));
    }
    cluster->shards = sc_calloc(count, sizeof *cluster->shards);
    cluster->shard_count = count;
    for (size_t i = 0; i < count; i++) {
        cluster->shards[i].id = (uint32_t)i + 1;
        (void)snprintf(cluster->shards[i].url, sizeof cluster->shards[i].url, "%s", urls[i]);
    }
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        cluster->owner[slot] = (uint32_t)((uint64_t)slot * count / SC_SLOT_COUNT) + 1;
    }
    return SC_OK;
}

struct sc_cluster_shard *sc_cluster_shard(struct sc_cluster *cluster, uint32_t id)
{
    for (size_t i = 0; i < cluster->shard_count; i++) {
        if (cluster->shards[i].id == id) {
            return &cluster->shards[i];
        }
    }
    return NULL;
}

const struct sc_cluster_shard *sc_cluster_shard_at(const struct sc_cluster *cluster,
                                                   const char *url)
{
    for (size_t i = 0; i < cluster->shard_count; i++) {
        if (strcmp(cluster->shards[i].url, url) == 0) {
            return &cluster->shards[i];
        }
    }
    return NULL;
}

uint32_t sc_cluster_stretch_end(const struct sc_cluster *cluster, uint32_t slot)
{
    uint32_t last = slot;
    while (last + 1 < SC_SLOT_COUNT && cluster->owner[last + 1] == cluster->owner[slot]) {
        last++;
    }
    return last;
}

static const char *url_of(const struct sc_cluster *cluster, uint32_t id)
{
    for (size_t i = 0; i < cluster->shard_count; i++) {
        if (cluster->shards[i].id == id) {
            return cluster->shards[i].url;
        }
    }
    return "";
}

void sc_cluster_put_ranges(const struct sc_cluster *cluster, bool urls, struct sc_buf *out)
{
    size_t offset = sc_mp_open_array(out);
    uint32_t count = 0;
    uint32_t last = 0;
    for (uint32_t first = 0; first < SC_SLOT_COUNT; first = last + 1) {
        last = sc_cluster_stretch_end(cluster, first);
        sc_mp_put_array(out, urls ? 4 : 3);
        sc_mp_put_uint(out, first);
        sc_mp_put_uint(out, last);
        sc_mp_put_uint(out, cluster->owner[first]);
        if (urls) {
            sc_mp_put_cstr(out, url_of(cluster, cluster->owner[first]));
        }
        count++;
    }
    sc_mp_close_array(out, offset, count);
}

void sc_cluster_encode(const struct sc_cluster *cluster, struct sc_buf *out)
{
    sc_mp_put_array(out, 6);
    sc_mp_put_bin(out, sc_slice(cluster->id, sizeof cluster->id));
    sc_mp_put_uint(out, cluster->term);
    sc_mp_put_uint(out, cluster->epoch);
    sc_mp_put_uint(out, cluster->next_shard_id);
    sc_mp_put_array(out, (uint32_t)cluster->shard_count);
    for (size_t i = 0; i < cluster->shard_count; i++) {
        const struct sc_cluster_shard *shard = &cluster->shards[i];
        sc_mp_put_array(out, 3);
        sc_mp_put_uint(out, shard->id);
        sc_mp_put_cstr(out, shard->url);
        sc_mp_put_bool(out, shard->adopted);
    }
    sc_cluster_put_ranges(cluster, false, out);
}

static bool decode_shards(struct sc_cluster *cluster, struct sc_mp *mp)
{
    uint32_t count = 0;
    if (!sc_mp_array(mp, &count) || count == 0 || count > SC_CLUSTER_SHARDS_MAX) {
        return false;
    }
    cluster->shards = sc_calloc(count, sizeof *cluster->shards);
    cluster->shard_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct sc_cluster_shard *shard = &cluster->shards[i];
        uint32_t members = 0;
        uint64_t id = 0;
        struct sc_slice url = {0};
        if (!sc_mp_array(mp, &members) || members != 3 || !sc_mp_uint(mp, &id) ||
            !sc_mp_str(mp, &url) || !sc_mp_bool(mp, &shard->adopted) || id == 0 ||
            id >= cluster->next_shard_id || url.size > SC_URL_MAX) {
            return false;
        }
        shard->id = (uint32_t)id;
        memcpy(shard->url, url.data, url.size);
    }
    return true;
}

static bool decode_range(struct sc_cluster *cluster, struct sc_mp *mp, uint32_t *next)
{
    uint32_t members = 0;
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t id = 0;
    if (!sc_mp_array(mp, &members) || members != 3 || !sc_mp_uint(mp, &first) ||
        !sc_mp_uint(mp, &last) || !sc_mp_uint(mp, &id) || first != *next || last < first ||
        last >= SC_SLOT_COUNT || id > UINT32_MAX ||
        sc_cluster_shard(cluster, (uint32_t)id) == NULL) {
        return false;
    }
    for (uint64_t slot = first; slot <= last; slot++) {
        cluster->owner[slot] = (uint32_t)id;
    }
    *next = (uint32_t)last + 1;
    return true;
}

static bool decode(struct sc_cluster *cluster, struct sc_mp *mp)
{
    uint32_t members = 0;
    uint32_t ranges = 0;
    uint32_t next = 0;
    uint64_t next_id = 0;
    struct sc_slice id = {0};
    if (!sc_mp_array(mp, &members) || members != 6 || !sc_mp_bytes(mp, &id) ||
        id.size != sizeof cluster->id || !sc_mp_uint(mp, &cluster->term) ||
        !sc_mp_uint(mp, &cluster->epoch) || !sc_mp_uint(mp, &next_id) || next_id > UINT32_MAX) {
        return false;
    }
    memcpy(cluster->id, id.data, id.size);
    cluster->next_shard_id = (uint32_t)next_id;
    if (!decode_shards(cluster, mp) || !sc_mp_array(mp, &ranges)) {
        return false;
    }
    while (ranges-- > 0) {
        if (!decode_range(cluster, mp, &next)) {
            return false;
        }
    }
    return next == SC_SLOT_COUNT && sc_mp_done(mp);
}

enum sc_status sc_cluster_decode(struct sc_cluster *cluster, struct sc_slice encoded, char *why)
{
    struct sc_mp mp = sc_mp(encoded);
    *cluster = (struct sc_cluster){0};
    if (!decode(cluster, &mp)) {
        sc_cluster_fini(cluster);
        return sc_fail(why, SC_CORRUPT, "the cluster map is not well-formed");
    }
    return SC_OK;
}
