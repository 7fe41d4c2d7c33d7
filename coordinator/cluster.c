#include "coordinator/cluster.h"

#include "common/mp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define MEMBERS 9 /* of an encoded map */
#define MEMBERS_0_1 6
#define SHARD_MEMBERS 5
#define SHARD_MEMBERS_0_1 3

void sc_cluster_fini(struct sc_cluster *cluster)
{
    free(cluster->shards);
    free(cluster->batches);
    *cluster = (struct sc_cluster){0};
}

void sc_cluster_copy(const struct sc_cluster *cluster, struct sc_cluster *copy)
{
    size_t shards = cluster->shard_count * sizeof *cluster->shards;
    size_t batches = cluster->batch_count * sizeof *cluster->batches;
    *copy = *cluster;
    copy->shards = NULL;
    if (shards > 0) {
        copy->shards = sc_alloc(shards);
        memcpy(copy->shards, cluster->shards, shards);
    }
    copy->batches = NULL;
    if (batches > 0) {
        copy->batches = sc_alloc(batches);
        memcpy(copy->batches, cluster->batches, batches);
    }
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

static void count_slots(struct sc_cluster *cluster)
{
    for (size_t i = 0; i < cluster->shard_count; i++) {
        cluster->shards[i].slots = 0;
    }
    uint32_t last = 0;
    for (uint32_t first = 0; first < SC_SLOT_COUNT; first = last + 1) {
        last = sc_cluster_stretch_end(cluster, first);
        sc_cluster_shard(cluster, cluster->owner[first])->slots += last - first + 1;
    }
}

enum sc_status sc_cluster_create(struct sc_cluster *cluster, const char *const *urls, size_t count,
                                 char *why)
{
    enum sc_status status = check_urls(urls, count, why);
    if (status != SC_OK) {
        return status;
    }
    *cluster = (struct sc_cluster){
        .epoch = 1,
        .next_shard_id = (uint32_t)count + 1,
        .next_move = 1,
        .steering = {.bytes_per_second = SC_CLUSTER_RATE_DEFAULT},
    };
    if (getrandom(cluster->id, sizeof cluster->id, 0) != (ssize_t)sizeof cluster->id) {
        return sc_fail(why, SC_IO, "the system gives no random bytes: %s", strerror(errno));
    }
    cluster->shards = sc_calloc(count, sizeof *cluster->shards);
    cluster->shard_count = count;
    for (size_t i = 0; i < count; i++) {
        struct sc_cluster_shard *shard = &cluster->shards[i];
        shard->id = (uint32_t)i + 1;
        shard->weight = SC_WEIGHT_DEFAULT;
        (void)snprintf(shard->url, sizeof shard->url, "%s", urls[i]);
    }
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        cluster->owner[slot] = (uint32_t)((uint64_t)slot * count / SC_SLOT_COUNT) + 1;
    }
    count_slots(cluster);
    return SC_OK;
}

/* ---- Looking up ---- */

struct sc_cluster_shard *sc_cluster_shard(const struct sc_cluster *cluster, uint32_t id)
{
    size_t low = 0;
    size_t high = cluster->shard_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cluster->shards[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < cluster->shard_count && cluster->shards[low].id == id ? &cluster->shards[low]
                                                                       : NULL;
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

struct sc_cluster_batch *sc_cluster_batch(const struct sc_cluster *cluster, uint64_t move)
{
    for (size_t i = 0; i < cluster->batch_count; i++) {
        if (cluster->batches[i].move == move) {
            return &cluster->batches[i];
        }
    }
    return NULL;
}

bool sc_cluster_in_batch(const struct sc_cluster *cluster, uint32_t shard_id)
{
    for (size_t i = 0; i < cluster->batch_count; i++) {
        if (cluster->batches[i].from == shard_id || cluster->batches[i].to == shard_id) {
            return true;
        }
    }
    return false;
}

bool sc_cluster_owns(const struct sc_cluster *cluster, uint32_t shard_id,
                     const struct sc_slotset *slots)
{
    uint32_t others = 0;
    SC_SLOTSET_EACH_RANGE (range, slots) {
        for (uint32_t slot = range.first; slot <= range.last; slot++) {
            others |= cluster->owner[slot] ^ shard_id;
        }
    }
    return others == 0;
}

uint32_t sc_cluster_stretch_end(const struct sc_cluster *cluster, uint32_t slot)
{
    uint32_t last = slot;
    while (last + 1 < SC_SLOT_COUNT && cluster->owner[last + 1] == cluster->owner[slot]) {
        last++;
    }
    return last;
}

/* ---- Encoding ---- */

void sc_cluster_put_ranges(const struct sc_cluster *cluster, bool urls, struct sc_buf *out)
{
    size_t offset = sc_mp_open_array(out);
    uint32_t count = 0;
    uint32_t last = 0;
    for (uint32_t first = 0; first < SC_SLOT_COUNT; first = last + 1) {
        const struct sc_cluster_shard *owner = sc_cluster_shard(cluster, cluster->owner[first]);
        last = sc_cluster_stretch_end(cluster, first);
        sc_mp_put_array(out, urls ? 4 : 3);
        sc_mp_put_uint(out, first);
        sc_mp_put_uint(out, last);
        sc_mp_put_uint(out, cluster->owner[first]);
        if (urls) {
            sc_mp_put_cstr(out, owner != NULL ? owner->url : "");
        }
        count++;
    }
    sc_mp_close_array(out, offset, count);
}

static void put_batch(const struct sc_cluster_batch *batch, struct sc_buf *out)
{
    sc_mp_put_array(out, 5);
    sc_mp_put_uint(out, batch->move);
    sc_mp_put_uint(out, batch->from);
    sc_mp_put_uint(out, batch->to);
    sc_mp_put_uint(out, batch->epoch);
    sc_slotset_put(&batch->slots, out);
}

void sc_cluster_encode(const struct sc_cluster *cluster, struct sc_buf *out)
{
    sc_mp_put_array(out, MEMBERS);
    sc_mp_put_bin(out, sc_slice(cluster->id, sizeof cluster->id));
    sc_mp_put_uint(out, cluster->term);
    sc_mp_put_uint(out, cluster->epoch);
    sc_mp_put_uint(out, cluster->next_shard_id);
    sc_mp_put_array(out, (uint32_t)cluster->shard_count);
    for (size_t i = 0; i < cluster->shard_count; i++) {
        const struct sc_cluster_shard *shard = &cluster->shards[i];
        sc_mp_put_array(out, SHARD_MEMBERS);
        sc_mp_put_uint(out, shard->id);
        sc_mp_put_cstr(out, shard->url);
        sc_mp_put_bool(out, shard->adopted);
        sc_mp_put_uint(out, shard->state);
        sc_mp_put_uint(out, shard->weight);
    }
    sc_cluster_put_ranges(cluster, false, out);
    sc_mp_put_uint(out, cluster->next_move);
    sc_mp_put_array(out, (uint32_t)cluster->batch_count);
    for (size_t i = 0; i < cluster->batch_count; i++) {
        put_batch(&cluster->batches[i], out);
    }
    sc_mp_put_array(out, 3);
    sc_mp_put_bool(out, cluster->steering.balancing);
    sc_mp_put_bool(out, cluster->steering.paused);
    sc_mp_put_uint(out, cluster->steering.bytes_per_second);
}

/* ---- Decoding ---- */

static bool decode_shard(struct sc_cluster_shard *shard, struct sc_mp *mp)
{
    uint32_t members = 0;
    uint64_t id = 0;
    uint64_t state = SC_CLUSTER_UP;
    uint64_t weight = SC_WEIGHT_DEFAULT;
    struct sc_slice url = {0};
    if (!sc_mp_array(mp, &members) || (members != SHARD_MEMBERS && members != SHARD_MEMBERS_0_1) ||
        !sc_mp_uint(mp, &id) || !sc_mp_str(mp, &url) || !sc_mp_bool(mp, &shard->adopted)) {
        return false;
    }
    if (members == SHARD_MEMBERS && (!sc_mp_uint(mp, &state) || !sc_mp_uint(mp, &weight))) {
        return false;
    }
    if (id == 0 || id > UINT32_MAX || url.size > SC_URL_MAX || state > SC_CLUSTER_LEAVING ||
        weight == 0 || weight > SC_WEIGHT_MAX) {
        return false;
    }
    shard->id = (uint32_t)id;
    shard->state = (enum sc_cluster_state)state;
    shard->weight = (uint32_t)weight;
    memcpy(shard->url, url.data, url.size);
    return true;
}

static bool decode_shards(struct sc_cluster *cluster, struct sc_mp *mp)
{
    uint32_t count = 0;
    uint32_t last_id = 0;
    if (!sc_mp_array(mp, &count) || count == 0 || count > SC_CLUSTER_SHARDS_MAX) {
        return false;
    }
    cluster->shards = sc_calloc(count, sizeof *cluster->shards);
    cluster->shard_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct sc_cluster_shard *shard = &cluster->shards[i];
        if (!decode_shard(shard, mp) || shard->id <= last_id ||
            shard->id >= cluster->next_shard_id) {
            return false;
        }
        last_id = shard->id;
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

static bool decode_ranges(struct sc_cluster *cluster, struct sc_mp *mp)
{
    uint32_t ranges = 0;
    uint32_t next = 0;
    if (!sc_mp_array(mp, &ranges)) {
        return false;
    }
    while (ranges-- > 0) {
        if (!decode_range(cluster, mp, &next)) {
            return false;
        }
    }
    return next == SC_SLOT_COUNT;
}

static bool decode_batch(const struct sc_cluster *cluster, struct sc_cluster_batch *batch,
                         struct sc_mp *mp)
{
    uint32_t members = 0;
    uint64_t from = 0;
    uint64_t to = 0;
    if (!sc_mp_array(mp, &members) || members != 5 || !sc_mp_uint(mp, &batch->move) ||
        !sc_mp_uint(mp, &from) || !sc_mp_uint(mp, &to) || !sc_mp_uint(mp, &batch->epoch) ||
        !sc_slotset_read(&batch->slots, mp) || from > UINT32_MAX || to > UINT32_MAX) {
        return false;
    }
    batch->from = (uint32_t)from;
    batch->to = (uint32_t)to;
    return sc_cluster_owns(cluster, batch->epoch != 0 ? batch->to : batch->from, &batch->slots) &&
           batch->epoch <= cluster->epoch && sc_cluster_shard(cluster, batch->from) != NULL &&
           sc_cluster_shard(cluster, batch->to) != NULL && batch->from != batch->to;
}

static bool decode_batches(struct sc_cluster *cluster, struct sc_mp *mp)
{
    uint32_t count = 0;
    uint64_t last_move = 0;
    if (!sc_mp_uint(mp, &cluster->next_move) || !sc_mp_array(mp, &count) ||
        count > cluster->shard_count / 2) {
        return false;
    }
    cluster->batches = count > 0 ? sc_calloc(count, sizeof *cluster->batches) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct sc_cluster_batch *batch = &cluster->batches[i];
        if (!decode_batch(cluster, batch, mp) || batch->move <= last_move ||
            batch->move >= cluster->next_move || sc_cluster_in_batch(cluster, batch->from) ||
            sc_cluster_in_batch(cluster, batch->to)) {
            return false;
        }
        last_move = batch->move;
        cluster->batch_count++;
    }
    return true;
}

static bool decode_steering(struct sc_cluster_steering *steering, struct sc_mp *mp)
{
    uint32_t members = 0;
    return sc_mp_array(mp, &members) && members == 3 && sc_mp_bool(mp, &steering->balancing) &&
           sc_mp_bool(mp, &steering->paused) && sc_mp_uint(mp, &steering->bytes_per_second);
}

static bool decode(struct sc_cluster *cluster, struct sc_mp *mp)
{
    uint32_t members = 0;
    uint64_t next_id = 0;
    struct sc_slice id = {0};
    if (!sc_mp_array(mp, &members) || (members != MEMBERS && members != MEMBERS_0_1) ||
        !sc_mp_bytes(mp, &id) || id.size != sizeof cluster->id || !sc_mp_uint(mp, &cluster->term) ||
        !sc_mp_uint(mp, &cluster->epoch) || !sc_mp_uint(mp, &next_id) || next_id > UINT32_MAX) {
        return false;
    }
    memcpy(cluster->id, id.data, id.size);
    cluster->next_shard_id = (uint32_t)next_id;
    cluster->next_move = 1;
    cluster->steering.bytes_per_second = SC_CLUSTER_RATE_DEFAULT;
    if (!decode_shards(cluster, mp) || !decode_ranges(cluster, mp)) {
        return false;
    }
    if (members == MEMBERS &&
        (!decode_batches(cluster, mp) || !decode_steering(&cluster->steering, mp))) {
        return false;
    }
    count_slots(cluster);
    return sc_mp_done(mp);
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
