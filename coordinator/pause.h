/*
 * Pause: the requests that may write to the slots of a batch wait, while it is attempted to hand
 * the slots over. How long they may, and did.
 *
 * An attempt that takes longer than SC_PAUSE_MS is given up. After some that were, each may take
 * twice as long as the ones before, up to SC_PAUSE_MOST_MS: a disk may be too slow, and a move has
 * to end some day.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_PAUSE_H
#define SC_COORDINATOR_PAUSE_H

#include "coordinator/lanes.h"

#define SC_PAUSE_MS 50u /* the longest that requests wait for one attempt at first */
#define SC_PAUSE_MOST_MS 800u /* the longest that an attempt may take */

/* What is waited for in it. */
enum sc_pause_lap {
    SC_PAUSE_QUIET, /* requests on their way are answered */
    SC_PAUSE_SEALED,
    SC_PAUSE_COPIED,
    SC_PAUSE_READY,
    SC_PAUSE_RECORDED,
    SC_PAUSE_GRANTED,
    SC_PAUSE_LAPS
};

/* Readable. All zero at first. */
struct sc_pause {
    uint64_t since_ns; /* 0: no requests wait */
    uint64_t lap_ns; /* when the last lap ended */
    uint32_t laps_us[SC_PAUSE_LAPS]; /* of this attempt, or the last one */
    uint64_t over_ms; /* when the attempt is to be given up */
    uint64_t attempts; /* that were begun */
    uint64_t given_up; /* of these */
    uint64_t last_us; /* how long requests waited the last time; 0: never yet */
};

/* From now on requests for `slots` wait in the lanes of the source. */
void sc_pause_begin(struct sc_pause *pause, struct sc_lanes *source,
                    const struct sc_slotset *slots);

/* The same without an attempt: the source has to get ready. */
void sc_pause_wait(struct sc_pause *pause, struct sc_lanes *source, const struct sc_slotset *slots);

bool sc_pause_is_over(const struct sc_pause *pause);

/* What was waited for has come. */
void sc_pause_lap(struct sc_pause *pause, enum sc_pause_lap lap);

/* The attempt was given up: the next one may get more time. */
void sc_pause_give_up(struct sc_pause *pause);

/* Requests go on at the source, if they wait there. */
void sc_pause_end(struct sc_pause *pause, struct sc_lanes *source);

/* The slots are the target's, whose lanes hold what has waited, and it serves them. */
void sc_pause_end_at_target(struct sc_pause *pause, struct sc_lanes *target);

/* What waits at the source is refused. */
void sc_pause_fail(struct sc_pause *pause, struct sc_lanes *source, const char *why);

#endif
