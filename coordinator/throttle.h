/*
 * Throttle: holds what all moves together copy to a limit, and measures what rate they reach. Bytes
 * are counted when they have been copied; what was copied too much is owed, and made up for before
 * anything is begun again. Only the bulk is held to the limit and owed: what is written meanwhile
 * has to be copied faster than it is written, or no move would ever end.
 *
 * Plain data. The limit, in bytes a second, 0 for none, is the caller's, and may be another one at
 * every call. Times are of the monotonic clock.
 */
#ifndef SC_COORDINATOR_THROTTLE_H
#define SC_COORDINATOR_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

struct sc_throttle {
    int64_t tokens; /* bytes that may be copied now; below 0: what was copied too much */
    uint64_t refilled_ms;
    uint64_t since_ms, sum; /* what has been copied since when */
    uint64_t last_ms; /* when anything was copied last */
    uint64_t rate; /* in the second or so before since_ms */
    uint64_t full_rate; /* the last rate of a second in which there was much to copy */
    uint64_t full_limit; /* under which limit that was */
};

void sc_throttle_init(struct sc_throttle *throttle, uint64_t now_ms);

/* In how many milliseconds the next frame may be copied if the limit stays; 0: now. */
uint64_t sc_throttle_wait(struct sc_throttle *throttle, uint64_t limit, uint64_t now_ms);
void sc_throttle_copied(struct sc_throttle *throttle, uint64_t limit, uint64_t bytes, bool bulk,
                        uint64_t now_ms);

/* Bytes a second that are being copied. */
uint64_t sc_throttle_rate(const struct sc_throttle *throttle, uint64_t now_ms);

/* What can be expected of a large move under this limit; 0: nothing is known. */
uint64_t sc_throttle_expect(const struct sc_throttle *throttle, uint64_t limit);

#endif
