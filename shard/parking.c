#include "shard/parking.h"

#include <assert.h>
#include <stdlib.h>

static struct sc_parking_bucket *bucket_of(struct sc_parking *parking, uint64_t hash)
{
    return &parking->buckets[hash % SC_PARKING_BUCKETS];
}

/* The first operation on a key from `parked` on. */
static struct sc_parked *of_key(struct sc_parked *parked, uint64_t hash)
{
    while (parked != NULL && parked->hash != hash) {
        parked = TAILQ_NEXT(parked, others);
    }
    return parked;
}

bool sc_parking_holds(const struct sc_parking *parking, uint64_t hash)
{
    return parking->count > 0 &&
           of_key(TAILQ_FIRST(&parking->buckets[hash % SC_PARKING_BUCKETS]), hash) != NULL;
}

static void leave(struct sc_parking *parking, struct sc_parked *parked)
{
    if (!parked->is_keyless) {
        TAILQ_REMOVE(bucket_of(parking, parked->hash), parked, others);
    }
    parking->count--;
    sc_fetch_fini(&parked->job.fetch);
    free(parked);
}

/* Carries out what waits for nothing any more, from `parked` on. */
static void run(struct sc_parking *parking, struct sc_parked *parked)
{
    while (parked != NULL) {
        if (!parked->resume(parked)) {
            sc_fetcher_submit(parking->fetcher, &parked->job);
            return;
        }
        struct sc_parked *next =
            parked->is_keyless ? NULL : of_key(TAILQ_NEXT(parked, others), parked->hash);
        leave(parking, parked);
        parked = next;
    }
}

static void on_fetched(void *arg, struct sc_fetcher_job *job)
{
    struct sc_parked *parked = (struct sc_parked *)job;
    parked->rounds++;
    run(arg, parked);
}

void sc_parking_enter(struct sc_parking *parking, struct sc_parked *parked)
{
    bool first = parked->is_keyless || !sc_parking_holds(parking, parked->hash);
    assert(first == sc_fetch_wants(&parked->job.fetch));
    parking->count++;
    if (!parked->is_keyless) {
        TAILQ_INSERT_TAIL(bucket_of(parking, parked->hash), parked, others);
    }
    if (first) {
        sc_fetcher_submit(parking->fetcher, &parked->job);
    }
}

enum sc_status sc_parking_start(struct sc_parking *parking, struct sc_sp_hub *hub, char *why)
{
    parking->count = 0;
    for (size_t i = 0; i < SC_PARKING_BUCKETS; i++) {
        TAILQ_INIT(&parking->buckets[i]);
    }
    return sc_fetcher_start(hub, on_fetched, parking, &parking->fetcher, why);
}

void sc_parking_stop(struct sc_parking *parking)
{
    sc_fetcher_stop(parking->fetcher);
    parking->fetcher = NULL;
    assert(parking->count == 0);
}
