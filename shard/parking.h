/*
 * Parking: operations that wait for the disk, each with what is being fetched for it.
 *
 * Operations on one key take effect in the order in which they came: while one is parked, the
 * others on that key (by its hash) are parked behind it, whether they need the disk or not.
 * Operations on other keys go on.
 *
 *   enter --> [ first of its key: fetching ] --fetched--> resume --done--> the next of its key
 *                          ^                                |
 *                          '------ wants something else ----'
 *
 * An operation wants something else when its record was moved by a merge while it was fetched;
 * after SC_PARKING_ROUNDS_MAX fetches it has to wait for the disk itself, so each comes to an end.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_SHARD_PARKING_H
#define SC_SHARD_PARKING_H

#include "shard/fetcher.h"

#include <sys/queue.h>

#define SC_PARKING_MAX 65536u /* operations at a time */
#define SC_PARKING_ROUNDS_MAX 4u
#define SC_PARKING_BUCKETS 1024u

/* An operation; begins a block of the heap. Set by whoever parks it: hash or is_keyless, resume,
 * and what job.fetch wants, if it has been found out. */
struct sc_parked {
    struct sc_fetcher_job job; /* must be first */
    uint64_t hash; /* of its key */
    bool is_keyless; /* waits for nobody, and nobody for it */
    unsigned rounds; /* fetches */
    /* Carries out the operation with what was fetched, and gives up all that the block refers to
     * but the fetch; or returns false: the fetch has wants. May park other operations. */
    bool (*resume)(struct sc_parked *parked);
    TAILQ_ENTRY(sc_parked) others; /* with hashes like this one */
};

TAILQ_HEAD(sc_parking_bucket, sc_parked);

/* Readable: count. */
struct sc_parking {
    struct sc_fetcher *fetcher; /* owned; NULL: nothing can be parked */
    size_t count;
    struct sc_parking_bucket buckets[SC_PARKING_BUCKETS];
};

/* Starts the threads that fetch. Lock not held. */
enum sc_status sc_parking_start(struct sc_parking *parking, struct sc_sp_hub *hub, char *why);

/* Waits for what is parked, and ends the threads. Lock not held. */
void sc_parking_stop(struct sc_parking *parking);

/* Whether an operation on a key with this hash is parked: others on it must be parked too. */
bool sc_parking_holds(const struct sc_parking *parking, uint64_t hash);

static inline bool sc_parking_is_full(const struct sc_parking *parking)
{
    return parking->count >= SC_PARKING_MAX;
}

/* Parks an operation; takes the block. */
void sc_parking_enter(struct sc_parking *parking, struct sc_parked *parked);

#endif
