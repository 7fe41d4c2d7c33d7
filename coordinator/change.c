#include "coordinator/change.h"

#include <stdio.h>

/* ---- Payloads ---- */

static void put_numbers(struct sc_buf *out, uint64_t a, uint64_t b)
{
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, a);
    sc_mp_put_uint(out, b);
}

void sc_change_encode(const struct sc_change *change, struct sc_buf *out)
{
    switch (change->kind) {
    case SC_CHANGE_TERM:
        sc_mp_put_uint(out, change->term);
        break;
    case SC_CHANGE_ADOPTED:
    case SC_CHANGE_SHARD_REMOVED:
        sc_mp_put_uint(out, change->shard_id);
        break;
    case SC_CHANGE_SHARD_ADDED:
        sc_mp_put_array(out, 3);
        sc_mp_put_uint(out, change->shard_id);
        sc_mp_put_cstr(out, change->url);
        sc_mp_put_uint(out, change->weight);
        break;
    case SC_CHANGE_SHARD_STATE:
        put_numbers(out, change->shard_id, change->state);
        break;
    case SC_CHANGE_SHARD_WEIGHT:
        put_numbers(out, change->shard_id, change->weight);
        break;
    case SC_CHANGE_BATCH:
        sc_mp_put_array(out, 4);
        sc_mp_put_uint(out, change->move);
        sc_mp_put_uint(out, change->from);
        sc_mp_put_uint(out, change->to);
        sc_slotset_put(&change->slots, out);
        break;
    case SC_CHANGE_MOVED:
        put_numbers(out, change->move, change->epoch);
        break;
    case SC_CHANGE_ENDED:
        sc_mp_put_uint(out, change->move);
        break;
    case SC_CHANGE_STEERING:
        sc_mp_put_array(out, 3);
        sc_mp_put_bool(out, change->steering.balancing);
        sc_mp_put_bool(out, change->steering.paused);
        sc_mp_put_uint(out, change->steering.bytes_per_second);
        break;
    }
}

static bool read_id(struct sc_mp *mp, uint32_t *id)
{
    uint64_t number = 0;
    if (!sc_mp_uint(mp, &number) || number > UINT32_MAX) {
        return false;
    }
    *id = (uint32_t)number;
    return true;
}

static bool read_members(struct sc_mp *mp, uint32_t expected)
{
    uint32_t members = 0;
    return sc_mp_array(mp, &members) && members == expected;
}

static bool read_added(struct sc_mp *mp, struct sc_change *change)
{
    struct sc_slice url = {0};
    if (!read_members(mp, 3) || !read_id(mp, &change->shard_id) || !sc_mp_str(mp, &url) ||
        !read_id(mp, &change->weight) || url.size > SC_URL_MAX) {
        return false;
    }
    memcpy(change->url, url.data, url.size);
    change->url[url.size] = '\0';
    return true;
}

static bool read_state(struct sc_mp *mp, struct sc_change *change)
{
    uint64_t state = 0;
    if (!read_members(mp, 2) || !read_id(mp, &change->shard_id) || !sc_mp_uint(mp, &state) ||
        state > SC_CLUSTER_LEAVING) {
        return false;
    }
    change->state = (enum sc_cluster_state)state;
    return true;
}

static bool read_batch(struct sc_mp *mp, struct sc_change *change)
{
    memset(&change->slots, 0, sizeof change->slots);
    return read_members(mp, 4) && sc_mp_uint(mp, &change->move) && read_id(mp, &change->from) &&
           read_id(mp, &change->to) && sc_slotset_read(&change->slots, mp);
}

static bool read_steering(struct sc_mp *mp, struct sc_cluster_steering *steering)
{
    return read_members(mp, 3) && sc_mp_bool(mp, &steering->balancing) &&
           sc_mp_bool(mp, &steering->paused) && sc_mp_uint(mp, &steering->bytes_per_second);
}

bool sc_change_decode(uint32_t kind, struct sc_slice payload, struct sc_change *change)
{
    struct sc_mp mp = sc_mp(payload);
    bool good = false;
    switch (kind) {
    case SC_CHANGE_TERM:
        good = sc_mp_uint(&mp, &change->term);
        break;
    case SC_CHANGE_ADOPTED:
    case SC_CHANGE_SHARD_REMOVED:
        good = read_id(&mp, &change->shard_id);
        break;
    case SC_CHANGE_SHARD_ADDED:
        good = read_added(&mp, change);
        break;
    case SC_CHANGE_SHARD_STATE:
        good = read_state(&mp, change);
        break;
    case SC_CHANGE_SHARD_WEIGHT:
        good = read_members(&mp, 2) && read_id(&mp, &change->shard_id) &&
               read_id(&mp, &change->weight);
        break;
    case SC_CHANGE_BATCH:
        good = read_batch(&mp, change);
        break;
    case SC_CHANGE_MOVED:
        good = read_members(&mp, 2) && sc_mp_uint(&mp, &change->move) &&
               sc_mp_uint(&mp, &change->epoch);
        break;
    case SC_CHANGE_ENDED:
        good = sc_mp_uint(&mp, &change->move);
        break;
    case SC_CHANGE_STEERING:
        good = read_steering(&mp, &change->steering);
        break;
    default:
        break;
    }
    change->kind = (enum sc_change_kind)kind;
    return good && sc_mp_done(&mp);
}

/* ---- Whether a change fits ---- */

static bool fits_added(const struct sc_change *change, const struct sc_cluster *cluster)
{
    return change->shard_id == cluster->next_shard_id && change->shard_id < UINT32_MAX &&
           cluster->shard_count < SC_CLUSTER_SHARDS_MAX && change->weight > 0 &&
           change->weight <= SC_WEIGHT_MAX && sc_cluster_shard_at(cluster, change->url) == NULL;
}

/* Somebody must stay, to whom slots can go. */
static bool fits_state(const struct sc_change *change, const struct sc_cluster *cluster)
{
    bool stays = change->state != SC_CLUSTER_LEAVING;
    for (size_t i = 0; i < cluster->shard_count; i++) {
        const struct sc_cluster_shard *shard = &cluster->shards[i];
        stays = stays || (shard->id != change->shard_id && shard->state != SC_CLUSTER_LEAVING);
    }
    return stays && sc_cluster_shard(cluster, change->shard_id) != NULL;
}

static bool fits_removed(const struct sc_change *change, const struct sc_cluster *cluster)
{
    const struct sc_cluster_shard *shard = sc_cluster_shard(cluster, change->shard_id);
    return shard != NULL && shard->slots == 0 && !sc_cluster_in_batch(cluster, shard->id);
}

static bool fits_weight(const struct sc_change *change, const struct sc_cluster *cluster)
{
    return sc_cluster_shard(cluster, change->shard_id) != NULL && change->weight > 0 &&
           change->weight <= SC_WEIGHT_MAX;
}

static bool fits_batch(const struct sc_change *change, const struct sc_cluster *cluster)
{
    if (change->move != cluster->next_move || change->from == change->to ||
        sc_cluster_shard(cluster, change->from) == NULL ||
        sc_cluster_shard(cluster, change->to) == NULL ||
        sc_cluster_in_batch(cluster, change->from) || sc_cluster_in_batch(cluster, change->to)) {
        return false;
    }
    return sc_slotset_next(&change->slots, 0) < SC_SLOT_COUNT &&
           sc_cluster_owns(cluster, change->from, &change->slots);
}

static bool fits_moved(const struct sc_change *change, const struct sc_cluster *cluster)
{
    const struct sc_cluster_batch *batch = sc_cluster_batch(cluster, change->move);
    return batch != NULL && batch->epoch == 0 && change->epoch == cluster->epoch + 1;
}

bool sc_change_fits(const struct sc_change *change, const struct sc_cluster *cluster)
{
    switch (change->kind) {
    case SC_CHANGE_TERM:
        return cluster->shard_count > 0 && change->term > cluster->term;
    case SC_CHANGE_ADOPTED:
        return sc_cluster_shard(cluster, change->shard_id) != NULL;
    case SC_CHANGE_SHARD_STATE:
        return fits_state(change, cluster);
    case SC_CHANGE_SHARD_ADDED:
        return fits_added(change, cluster);
    case SC_CHANGE_SHARD_REMOVED:
        return fits_removed(change, cluster);
    case SC_CHANGE_SHARD_WEIGHT:
        return fits_weight(change, cluster);
    case SC_CHANGE_BATCH:
        return fits_batch(change, cluster);
    case SC_CHANGE_MOVED:
        return fits_moved(change, cluster);
    case SC_CHANGE_ENDED:
        return sc_cluster_batch(cluster, change->move) != NULL;
    case SC_CHANGE_STEERING:
        return cluster->shard_count > 0;
    }
    return false;
}

/* ---- Carrying it out ---- */

static void add_shard(const struct sc_change *change, struct sc_cluster *cluster)
{
    size_t count = cluster->shard_count + 1;
    cluster->shards = sc_realloc(cluster->shards, count * sizeof *cluster->shards);
    struct sc_cluster_shard *shard = &cluster->shards[cluster->shard_count++];
    *shard = (struct sc_cluster_shard){
        .id = change->shard_id, .state = SC_CLUSTER_JOINING, .weight = change->weight};
    (void)snprintf(shard->url, sizeof shard->url, "%s", change->url);
    cluster->next_shard_id = change->shard_id + 1;
}

static void remove_shard(const struct sc_change *change, struct sc_cluster *cluster)
{
    struct sc_cluster_shard *shard = sc_cluster_shard(cluster, change->shard_id);
    size_t behind = (size_t)(cluster->shards + cluster->shard_count - (shard + 1));
    memmove(shard, shard + 1, behind * sizeof *shard);
    cluster->shard_count--;
}

static void begin_batch(const struct sc_change *change, struct sc_cluster *cluster)
{
    size_t count = cluster->batch_count + 1;
    cluster->batches = sc_realloc(cluster->batches, count * sizeof *cluster->batches);
    cluster->batches[cluster->batch_count++] = (struct sc_cluster_batch){
        .move = change->move, .from = change->from, .to = change->to, .slots = change->slots};
    cluster->next_move = change->move + 1;
}

static void move_batch(const struct sc_change *change, struct sc_cluster *cluster)
{
    struct sc_cluster_batch *batch = sc_cluster_batch(cluster, change->move);
    uint32_t slots = 0;
    SC_SLOTSET_EACH_RANGE (range, &batch->slots) {
        for (uint32_t slot = range.first; slot <= range.last; slot++) {
            cluster->owner[slot] = batch->to;
        }
        slots += range.last - range.first + 1;
    }
    sc_cluster_shard(cluster, batch->from)->slots -= slots;
    sc_cluster_shard(cluster, batch->to)->slots += slots;
    batch->epoch = cluster->epoch = change->epoch;
}

static void end_batch(const struct sc_change *change, struct sc_cluster *cluster)
{
    struct sc_cluster_batch *batch = sc_cluster_batch(cluster, change->move);
    size_t behind = (size_t)(cluster->batches + cluster->batch_count - (batch + 1));
    memmove(batch, batch + 1, behind * sizeof *batch);
    cluster->batch_count--;
}

bool sc_change_apply(const struct sc_change *change, struct sc_cluster *cluster)
{
    if (!sc_change_fits(change, cluster)) {
        return false;
    }
    switch (change->kind) {
    case SC_CHANGE_TERM:
        cluster->term = change->term;
        break;
    case SC_CHANGE_ADOPTED:
        sc_cluster_shard(cluster, change->shard_id)->adopted = true;
        break;
    case SC_CHANGE_SHARD_ADDED:
        add_shard(change, cluster);
        break;
    case SC_CHANGE_SHARD_STATE:
        sc_cluster_shard(cluster, change->shard_id)->state = change->state;
        break;
    case SC_CHANGE_SHARD_REMOVED:
        remove_shard(change, cluster);
        break;
    case SC_CHANGE_SHARD_WEIGHT:
        sc_cluster_shard(cluster, change->shard_id)->weight = change->weight;
        break;
    case SC_CHANGE_BATCH:
        begin_batch(change, cluster);
        break;
    case SC_CHANGE_MOVED:
        move_batch(change, cluster);
        break;
    case SC_CHANGE_ENDED:
        end_batch(change, cluster);
        break;
    case SC_CHANGE_STEERING:
        cluster->steering = change->steering;
        break;
    }
    return true;
}
