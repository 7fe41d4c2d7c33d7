/*
 * A shard inside the test's process: it introduces itself as told, keeps its keys in nothing but
 * what the test scripts, and lets the test answer the messages that come. Guarded by the hub's
 * lock.
 */
#ifndef SC_TESTS_FAKE_SHARD_H
#define SC_TESTS_FAKE_SHARD_H

#include "common/msg.h"
#include "common/sp.h"

struct fake_shard {
    char url[128];
    struct sc_sp_hub *hub;
    struct sc_sp_listener *listener;

    /* what it says of itself */
    bool adopted;
    uint8_t cluster[16];
    uint64_t shard_id;
    uint64_t keys;

    /* how it answers; set them with the hub's lock held */
    bool hold; /* keep the next x.join or x.peek unanswered */
    bool hold_join; /* keep the next x.join unanswered */
    bool nonsense; /* answer x.join and x.peek with what is no reply */
    const char *cold; /* a key that is not in memory: x.peek sends back what is on it */
    bool moved; /* answer every request with "moved" */
    uint32_t again_after; /* carry out so many requests of a message, send back the rest; 0: all */
    int refuse; /* answer a message as a whole with this status; 0: do not */

    /* what came */
    uint64_t joins; /* x.join and x.peek */
    uint64_t items; /* in them, that were not sent back */
    uint64_t waited; /* of these, in x.join */
    uint64_t grants;
    uint64_t epoch, term; /* of the last grant */
    struct sc_sp_origin held;
    bool has_held;
};

/* Starts to listen. Answers get with the key as value, put with version 1, anything else with ok.
 */
void fake_shard_open(struct fake_shard *shard, const char *url);
void fake_shard_close(struct fake_shard *shard);

void fake_shard_lock(struct fake_shard *shard);
void fake_shard_unlock(struct fake_shard *shard);

#endif
