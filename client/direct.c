#include "client/direct.h"

#include "client/handle.h"
#include "common/clock.h"

#include <stdlib.h>

#define NOBODY UINT16_MAX
#define ASK_TIMEOUT_MS 5000u

/* How long shards are waited for when a handle is opened: there is the coordinator, after all. */
#define SETTLE_MS 500u

/* The coordinator is asked for its map this often at most. */
#define ASK_PAUSE_MS 100u

static struct sc_member *member_at(const struct sc_direct *direct, size_t index)
{
    return atomic_load_explicit(&direct->members[index], memory_order_acquire);
}

struct sc_peer *sc_direct_route(struct sc_direct *direct, struct sc_slice key)
{
    uint16_t owner =
        atomic_load_explicit(&direct->owner[sc_slot_of_key(key)], memory_order_acquire);
    if (owner == NOBODY) {
        return NULL;
    }
    struct sc_member *member = member_at(direct, owner);
    return sc_peer_usable(&member->peer) ? &member->peer : NULL;
}

/* ---- Taking over a map ---- */

/* The member with this id, a new one if need be. There is no end of ids over the years: when the
 * table is full, shards that are not in it are left to the coordinator. */
static uint16_t find_member(struct sc_direct *direct, uint32_t id)
{
    uint32_t count = atomic_load(&direct->member_count);
    for (uint32_t i = 0; i < count; i++) {
        if (member_at(direct, i)->id == id) {
            return (uint16_t)i;
        }
    }
    if (count == SC_CLUSTERMAP_SHARDS_MAX) {
        return NOBODY;
    }
    struct sc_member *member = sc_calloc(1, sizeof *member);
    sc_member_init(member, direct, id);
    member->peer.number = count + 1;
    atomic_store_explicit(&direct->members[count], member, memory_order_release);
    atomic_store(&direct->member_count, count + 1);
    return (uint16_t)count;
}

/* Which members own a slot, as a bit each. */
static void mark_owners(const struct sc_direct *direct, bool *owns)
{
    for (size_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        uint16_t owner = atomic_load_explicit(&direct->owner[slot], memory_order_relaxed);
        if (owner != NOBODY) {
            owns[owner] = true;
        }
    }
}

/* Another cluster at the coordinator's address: whoever has been found by the old map belongs to
 * the old one. */
static void drop_members(struct sc_direct *direct)
{
    uint32_t count = atomic_load(&direct->member_count);
    for (uint32_t i = 0; i < count; i++) {
        sc_member_want(member_at(direct, i), "", false);
    }
}

static void use_map(struct sc_direct *direct, const struct sc_clustermap *map)
{
    uint16_t *indexes = sc_calloc(map->shard_count, sizeof *indexes);
    if (strcmp(direct->cluster, map->cluster) != 0) {
        drop_members(direct);
        memcpy(direct->cluster, map->cluster, sizeof direct->cluster);
    }
    for (size_t i = 0; i < map->shard_count; i++) {
        indexes[i] = find_member(direct, map->shards[i].id);
    }
    for (size_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        atomic_store_explicit(&direct->owner[slot], indexes[map->owner[slot]],
                              memory_order_release);
    }
    bool owns[SC_CLUSTERMAP_SHARDS_MAX] = {false};
    mark_owners(direct, owns);
    uint32_t count = atomic_load(&direct->member_count);
    for (uint32_t i = 0; i < count; i++) {
        struct sc_member *member = member_at(direct, i);
        if (!owns[i]) {
            sc_member_want(member, member->url, false);
        }
    }
    for (size_t i = 0; i < map->shard_count; i++) {
        if (indexes[i] != NOBODY && owns[indexes[i]]) {
            sc_member_want(member_at(direct, indexes[i]), map->shards[i].url, true);
        }
    }
    free(indexes);
    atomic_store(&direct->epoch, map->epoch);
    direct->handle->coordinator.patient = false; /* there is another way now */
}

/* ---- Asking for it ---- */

/* A map without the cluster's id, of an older version, is of no use: its shards could not be told
 * from those of other clusters. */
static void take_reply(struct sc_direct *direct, const struct sc_msg_reply *reply,
                       uint64_t epoch_least)
{
    struct sc_clustermap map;
    if (reply != NULL && reply->status == SC_OK && sc_clustermap_read(reply->result, &map)) {
        if (map.cluster[0] != '\0' && map.epoch >= epoch_least) {
            use_map(direct, &map);
        }
        sc_clustermap_fini(&map);
    }
}

static void coordinator_answered(struct sc_errand *errand, const struct sc_msg_reply *reply)
{
    struct sc_direct *direct = errand->arg;
    take_reply(direct, reply, 1);
    uint64_t now_ms = sc_clock_mono_ms();
    direct->asked_ms = direct->asked_ms != 0 ? direct->asked_ms : now_ms;
    direct->ask_ms = now_ms + ASK_PAUSE_MS;
    sc_handle_check_opening(direct->handle);
}

static void shard_answered(struct sc_errand *errand, const struct sc_msg_reply *reply)
{
    struct sc_direct *direct = errand->arg;
    take_reply(direct, reply, sc_direct_epoch(direct) + 1);
}

/* Asks the coordinator, now or later. */
static void want_map(struct sc_direct *direct)
{
    struct sc_peer *coordinator = &direct->handle->coordinator;
    direct->ask_again = true;
    if (!direct->ask.under_way && sc_peer_up(coordinator) && sc_clock_mono_ms() >= direct->ask_ms) {
        direct->ask_again = false;
        sc_errand_send(&direct->ask, coordinator, SC_OP_MAP, ASK_TIMEOUT_MS);
    }
}

void sc_direct_coordinator_up(struct sc_direct *direct)
{
    direct->ask_ms = 0;
    want_map(direct);
}

void sc_direct_lost(struct sc_direct *direct)
{
    want_map(direct);
}

void sc_direct_moved(struct sc_direct *direct, struct sc_peer *shard, uint64_t epoch)
{
    if (epoch <= sc_direct_epoch(direct)) {
        want_map(direct);
    } else if (!direct->ask_shard.under_way && sc_peer_up(shard)) {
        sc_errand_send(&direct->ask_shard, shard, SC_OP_MAP, ASK_TIMEOUT_MS);
    }
}

static bool all_tried(const struct sc_direct *direct)
{
    uint32_t count = atomic_load(&direct->member_count);
    for (uint32_t i = 0; i < count; i++) {
        if (member_at(direct, i)->wanted && !member_at(direct, i)->tried) {
            return false;
        }
    }
    return true;
}

bool sc_direct_settled(const struct sc_direct *direct)
{
    return direct->asked_ms != 0 &&
           (all_tried(direct) || sc_clock_mono_ms() - direct->asked_ms >= SETTLE_MS);
}

void sc_direct_tick(struct sc_direct *direct, uint64_t now_ms)
{
    uint32_t count = atomic_load(&direct->member_count);
    for (uint32_t i = 0; i < count; i++) {
        sc_member_tick(member_at(direct, i), now_ms);
    }
    if (direct->ask_again) {
        want_map(direct);
    }
}

/* ---- Open and close ---- */

struct sc_direct *sc_direct_open(struct shardcask *handle)
{
    struct sc_direct *direct = sc_calloc(1, sizeof *direct);
    direct->handle = handle;
    direct->ask.done = coordinator_answered;
    direct->ask.arg = direct;
    direct->ask_shard.done = shard_answered;
    direct->ask_shard.arg = direct;
    for (size_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        atomic_init(&direct->owner[slot], NOBODY);
    }
    return direct;
}

void sc_direct_close(struct sc_direct *direct)
{
    uint32_t count = atomic_load(&direct->member_count);
    for (uint32_t i = 0; i < count; i++) {
        struct sc_member *member = member_at(direct, i);
        member->peer.closed = true;
        sc_peer_hang_up(&member->peer);
    }
}

void sc_direct_free(struct sc_direct *direct)
{
    if (direct == NULL) {
        return;
    }
    uint32_t count = atomic_load(&direct->member_count);
    for (uint32_t i = 0; i < count; i++) {
        sc_member_fini(member_at(direct, i));
        free(member_at(direct, i));
    }
    sc_errand_fini(&direct->ask);
    sc_errand_fini(&direct->ask_shard);
    free(direct);
}
