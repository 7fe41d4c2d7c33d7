/*
 * A fleet inside the test's process: a fake coordinator and fake shards (fake_server.h) that share
 * one store. Each has a map of its own, so that they may disagree, as they do while slots move.
 *
 * A shard answers for the slots that its own map says are its own, and 6 for the others. The test
 * may have it refuse some with another status.
 */
#ifndef SC_TESTS_FAKE_FLEET_H
#define SC_TESTS_FAKE_FLEET_H

#include "client/shardcask.h"
#include "common/slot.h"
#include "tests/client/fake_server.h"

enum { FAKE_SHARDS = 3 };

struct fake_map {
    uint64_t epoch; /* 0: none has been granted */
    uint8_t owner[SC_SLOT_COUNT]; /* the number of a shard */
};

/* What the test sets is guarded by the server's hub's lock: fake_lock(&member->server). */
struct fake_member {
    struct fake_server server;
    struct fake_fleet *fleet;
    uint32_t number; /* 0: the coordinator; else the shard's, and its id */
    struct fake_map map;
    uint8_t cluster[16]; /* what it says it belongs to */
    int refusal; /* not 0: the status for the slots below ... */
    bool refuses_reads; /* ... for reads too */
    uint8_t refused[SC_SLOT_COUNT]; /* not 0: this slot is refused ... */
    size_t refusals; /* ... in so many messages at most; SIZE_MAX: always */
    bool refuses_first; /* only the first operation of a message, which no real shard does */
    size_t refusing; /* the message in which it has refused last */
    size_t moved; /* how often it has answered 6 */
    size_t maps; /* how often it was asked for its map */
};

struct fake_fleet {
    struct fake_store store;
    struct fake_member members[1 + FAKE_SHARDS]; /* the coordinator, then the shards */
    char urls[1 + FAKE_SHARDS]
             [SC_URL_MAX + 1]; /* as the map tells them; guarded by the store's lock */
};

/* Slots are dealt out in turn: slot s belongs to shard 1 + s modulo FAKE_SHARDS, at epoch 1. */
void fake_fleet_start(struct fake_fleet *fleet);
void fake_fleet_end(struct fake_fleet *fleet);

/* Opens a handle; `options` may be NULL: the defaults, and direct. */
struct shardcask *fake_fleet_open(struct fake_fleet *fleet,
                                  const struct shardcask_options *options);

/* Gives a member, which may be stopped, another map: the present one with `slot` owned by `owner`,
 * at `epoch`. */
void fake_fleet_tell(struct fake_fleet *fleet, uint32_t member, uint32_t slot, uint32_t owner,
                     uint64_t epoch);

/* The same for the shards, then the coordinator. */
void fake_fleet_move(struct fake_fleet *fleet, uint32_t slot, uint32_t owner, uint64_t epoch);

/* Has a shard refuse a slot in so many messages. */
void fake_fleet_refuse(struct fake_fleet *fleet, uint32_t member, uint32_t slot, int status,
                       bool reads, size_t times);

/* A key of a slot that shard `number` owns at the beginning; `index` tells several apart. `key` has
 * room for 16 bytes. Returns the slot. */
uint32_t fake_fleet_key(uint32_t number, unsigned index, char *key);

size_t fake_fleet_operations(struct fake_fleet *fleet, uint32_t member);
uint64_t fake_fleet_connections(struct fake_fleet *fleet, uint32_t member);

/* Waits until so many connections of a member are there. */
void fake_fleet_await_connections(struct fake_fleet *fleet, uint32_t member, uint64_t count);

#endif
