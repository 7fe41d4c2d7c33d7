#include "tests/client/fake_fleet.h"

#include <check.h>
#include <stdio.h>
#include <time.h>

#include "common/clock.h"

static const uint8_t cluster_id[16] = "a fake cluster!";

/* ---- What members answer themselves ---- */

static void put_ranges(const struct fake_map *map, struct sc_buf *out)
{
    size_t array = sc_mp_open_array(out);
    uint32_t count = 0;
    for (uint32_t slot = 0; map->epoch != 0 && slot < SC_SLOT_COUNT; slot++) {
        sc_mp_put_array(out, 3);
        sc_mp_put_uint(out, slot);
        sc_mp_put_uint(out, slot);
        sc_mp_put_uint(out, map->owner[slot]);
        count++;
    }
    sc_mp_close_array(out, array, count);
}

static void put_shards(struct fake_fleet *fleet, struct sc_buf *out)
{
    sc_mp_put_array(out, FAKE_SHARDS);
    for (uint32_t i = 1; i <= FAKE_SHARDS; i++) {
        sc_mp_put_map(out, 3);
        sc_mp_put_cstr(out, "id");
        sc_mp_put_uint(out, i);
        sc_mp_put_cstr(out, "url");
        (void)pthread_mutex_lock(&fleet->store.lock);
        sc_mp_put_cstr(out, fleet->urls[i]);
        (void)pthread_mutex_unlock(&fleet->store.lock);
        sc_mp_put_cstr(out, "state");
        sc_mp_put_cstr(out, "up");
    }
}

static void answer_map(struct fake_member *member, struct sc_buf *out)
{
    member->maps++;
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_map(out, 5);
    sc_mp_put_cstr(out, "epoch");
    sc_mp_put_uint(out, member->map.epoch);
    sc_mp_put_cstr(out, "ranges"); /* before the shards that they name */
    put_ranges(&member->map, out);
    sc_mp_put_cstr(out, "cluster");
    sc_msg_put_cluster(out, member->cluster);
    sc_mp_put_cstr(out, "slots");
    sc_mp_put_uint(out, SC_SLOT_COUNT);
    sc_mp_put_cstr(out, "shards");
    put_shards(member->fleet, out);
}

static void answer_hello(const struct fake_member *member, struct sc_buf *out)
{
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_map(out, 4);
    sc_mp_put_cstr(out, "clock_ms");
    sc_mp_put_uint(out, sc_clock_mono_ms());
    sc_mp_put_cstr(out, "cluster");
    sc_mp_put_bin(out, sc_slice(member->cluster, sizeof member->cluster));
    sc_mp_put_cstr(out, "shard");
    sc_mp_put_uint(out, member->number);
    sc_mp_put_cstr(out, "of a later version");
    sc_mp_put_nil(out);
}

/* Whether the present message is one of those to be refused. */
static bool refuses(struct fake_member *member)
{
    if (member->refusing == member->server.messages) {
        return !member->refuses_first;
    }
    if (member->refusals == 0) {
        return false;
    }
    member->refusals -= member->refusals != SIZE_MAX;
    member->refusing = member->server.messages;
    return true;
}

/* Refuses what is not the shard's own; false: it is to be carried out. */
static bool answer_single(struct fake_member *member, const struct sc_msg_request *request,
                          struct sc_buf *out)
{
    if (member->number == 0) {
        return false;
    }
    uint32_t slot = sc_slot_of_key(request->key);
    bool writes = (sc_op_kind(request->op) & SC_OP_WRITE) != 0;
    uint32_t owner = member->map.owner[slot];
    if (owner != member->number) {
        member->moved++;
        (void)pthread_mutex_lock(&member->fleet->store.lock);
        sc_msg_reply_moved(out, "it is another shard's", member->map.epoch,
                           sc_slice_str(member->fleet->urls[owner]));
        (void)pthread_mutex_unlock(&member->fleet->store.lock);
        return true;
    }
    if (member->refused[slot] != 0 && (writes || member->refuses_reads) && refuses(member)) {
        sc_msg_reply_status(out, member->refusal, "the slot is being handed over");
        return true;
    }
    return false;
}

static bool answers(struct fake_server *server, const struct sc_msg_request *request,
                    struct sc_buf *out)
{
    struct fake_member *member = server->arg;
    if (request->op == SC_OP_MAP) {
        answer_map(member, out);
        return true;
    }
    if (request->op == SC_OP_X_HELLO) {
        answer_hello(member, out);
        return true;
    }
    return (sc_op_kind(request->op) & SC_OP_SINGLE) != 0 && answer_single(member, request, out);
}

/* ---- The fleet ---- */

void fake_fleet_start(struct fake_fleet *fleet)
{
    *fleet = (struct fake_fleet){0};
    fake_store_init(&fleet->store);
    for (uint32_t i = 0; i <= FAKE_SHARDS; i++) {
        struct fake_member *member = &fleet->members[i];
        fake_start(&member->server);
        fake_lock(&member->server);
        member->fleet = fleet;
        member->number = i;
        member->map.epoch = 1;
        for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
            member->map.owner[slot] = (uint8_t)(1 + slot % FAKE_SHARDS);
        }
        memcpy(member->cluster, cluster_id, sizeof cluster_id);
        member->server.store = &fleet->store;
        member->server.answers = answers;
        member->server.arg = member;
        fake_unlock(&member->server);
        (void)snprintf(fleet->urls[i], sizeof fleet->urls[i], "%s", member->server.url);
    }
}

void fake_fleet_end(struct fake_fleet *fleet)
{
    for (uint32_t i = 0; i <= FAKE_SHARDS; i++) {
        fake_end(&fleet->members[i].server);
    }
    fake_store_fini(&fleet->store);
}

struct shardcask *fake_fleet_open(struct fake_fleet *fleet, const struct shardcask_options *options)
{
    struct shardcask_options own = {.direct = true};
    struct shardcask *db = NULL;
    char why[SHARDCASK_WHY_SIZE] = "";
    ck_assert_msg(shardcask_open(fleet->members[0].server.url, options != NULL ? options : &own,
                                 &db, why) == SHARDCASK_OK,
                  "%s", why);
    return db;
}

void fake_fleet_tell(struct fake_fleet *fleet, uint32_t member, uint32_t slot, uint32_t owner,
                     uint64_t epoch)
{
    struct fake_member *told = &fleet->members[member];
    bool runs = told->server.hub != NULL;
    if (runs) {
        fake_lock(&told->server);
    }
    told->map.owner[slot] = (uint8_t)owner;
    told->map.epoch = epoch;
    if (runs) {
        fake_unlock(&told->server);
    }
}

void fake_fleet_move(struct fake_fleet *fleet, uint32_t slot, uint32_t owner, uint64_t epoch)
{
    for (uint32_t i = 1; i <= FAKE_SHARDS; i++) {
        fake_fleet_tell(fleet, i, slot, owner, epoch);
    }
    fake_fleet_tell(fleet, 0, slot, owner, epoch);
}

void fake_fleet_refuse(struct fake_fleet *fleet, uint32_t member, uint32_t slot, int status,
                       bool reads, size_t times)
{
    struct fake_member *told = &fleet->members[member];
    fake_lock(&told->server);
    told->refusal = status;
    told->refuses_reads = reads;
    told->refused[slot] = 1;
    told->refusals = times;
    fake_unlock(&told->server);
}

uint32_t fake_fleet_key(uint32_t number, unsigned index, char *key)
{
    for (unsigned i = 0;; i++) {
        int size = snprintf(key, 16, "k%u-%u", index, i);
        uint32_t slot = sc_slot_of_key(sc_slice(key, (size_t)size));
        if (1 + slot % FAKE_SHARDS == number) {
            return slot;
        }
    }
}

size_t fake_fleet_operations(struct fake_fleet *fleet, uint32_t member)
{
    struct fake_server *server = &fleet->members[member].server;
    return fake_count(server, &server->operations);
}

uint64_t fake_fleet_connections(struct fake_fleet *fleet, uint32_t member)
{
    struct fake_server *server = &fleet->members[member].server;
    struct sc_sp_listener_counts counts = {0};
    fake_lock(server);
    sc_sp_listener_add_counts(server->listener, &counts);
    fake_unlock(server);
    return counts.connections;
}

void fake_fleet_await_connections(struct fake_fleet *fleet, uint32_t member, uint64_t count)
{
    for (int i = 0; i < 10000 && fake_fleet_connections(fleet, member) != count; i++) {
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    ck_assert_uint_eq(fake_fleet_connections(fleet, member), count);
}
