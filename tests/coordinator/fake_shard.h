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
    bool tells_clock;
    uint64_t importing, exporting; /* 0: nothing */

    /* how it answers; set them with the hub's lock held */
    bool hold; /* keep the next x.join or x.peek unanswered ... */
    bool hold_second; /* ... and the one after it, too */
    bool hold_join; /* keep the next x.join unanswered */
    bool nonsense; /* answer x.join and x.peek with what is no reply */
    const char *cold; /* a key that is not in memory: x.peek sends back what is on it */
    bool moved; /* answer every request with "moved" */
    uint32_t again_after; /* carry out so many requests of a message, send back the rest if there
                             was a read; 0: all */
    uint32_t value_size; /* answer get with so many bytes; 0: with the key */
    int refuse; /* answer a message as a whole with this status; 0: do not */

    /* Hooks for tests that play more. takes: true if it has answered or dropped the request. judge:
     * the status of a request on a key; the value of a get is `last_put`. NULL: none. */
    bool (*takes)(struct fake_shard *shard, const struct sc_msg_request *request,
                  const struct sc_sp_origin *origin, struct sc_slice body);
    int (*judge)(struct fake_shard *shard, const struct sc_msg_request *item);

    /* what came */
    uint64_t joins; /* x.join and x.peek */
    uint64_t items; /* in them, that were not sent back */
    uint64_t waited; /* of these, in x.join */
    uint64_t grants;
    bool disordered; /* a put with an integer smaller than one before has been carried out */
    uint64_t last_put; /* the integer of the last */
    uint64_t epoch, term; /* of the last grant */
    struct sc_sp_origin held;
    struct sc_buf held_body;
    bool has_held;
    struct sc_sp_origin second; /* with hold_second */
    struct sc_buf second_body;
    bool has_second;
};

/* Starts to listen. Answers get with the key as value, put with version 1, anything else with ok.
 */
void fake_shard_open(struct fake_shard *shard, const char *url);
void fake_shard_close(struct fake_shard *shard);

/* Answers what was kept. */
void fake_shard_answer_held(struct fake_shard *shard);

void fake_shard_lock(struct fake_shard *shard);
void fake_shard_unlock(struct fake_shard *shard);

#endif
