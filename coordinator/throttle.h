/*
 * Throttle: holds what all moves together copy to a rate. Bytes are counted when they have been
 * copied; what was copied too much is owed, and made up for before anything is begun again.
 *
 * Plain data; the rate is the caller's, and may be another one at every call.
 */
#ifndef SC_COORDINATOR_THROTTLE_H
#define SC_COORDINATOR_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

struct sc_throttle {
    int64_t tokens; /* bytes that may be copied now; below 0: what was copied too much */
    uint64_t refilled_ms;
};

void sc_throttle_init(struct sc_throttle *throttle);

/* Whether a frame may be copied now. Rates are bytes a second, 0: no limit. */
bool sc_throttle_may_copy(struct sc_throttle *throttle, uint64_t rate);
void sc_throttle_copied(struct sc_throttle *throttle, uint64_t rate, uint64_t bytes);

#endif
