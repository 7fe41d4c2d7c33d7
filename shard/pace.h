/*
 * Pace: keeps a thread of background work to a rate of bytes per second that may change at any
 * time, and has it sleep in a way that ends soon when the thread is to stop.
 *
 * Belongs to that thread, but for the two atomics, which anybody may set.
 */
#ifndef SC_SHARD_PACE_H
#define SC_SHARD_PACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* All zero: no limit. */
struct sc_pace {
    atomic_bool stopping; /* set it to end all waiting */
    atomic_uint_least64_t rate; /* bytes per second; 0: no limit */
    uint64_t due_ns; /* what was done until now may have taken until then */
};

/* So many bytes were worked on: waits until the rate allows that. */
void sc_pace_keep(struct sc_pace *pace, uint64_t bytes);

/* Sleeps until a monotonic time, or a signal. */
void sc_pace_sleep(struct sc_pace *pace, uint64_t until_ns);

#endif
