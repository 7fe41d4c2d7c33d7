/*
 * Clocks. sc_clock is a hybrid logical clock: its ticks are microseconds since 1970 as long as the
 * system clock goes forward, and just count on when it stands still or steps back, so that every
 * tick is larger than all before. Versions of records are its ticks.
 *
 * (Kulkarni et al., "Logical Physical Clocks", 2014; here with one 64-bit number, since the
 * logical part never needs to be told apart from the physical one.)
 *
 * While the system clock is behind the last tick, because it was set back or because a version came
 * from a clock that is ahead, sc_clock goes on from the last tick at the pace of the monotonic
 * clock. So it never stands still: a key that is to live for ten seconds lives for ten seconds.
 *
 * A clock belongs to one thread at a time: its owner serialises the calls.
 */
#ifndef SC_COMMON_CLOCK_H
#define SC_COMMON_CLOCK_H

#include <stdint.h>

struct sc_clock {
    uint64_t last; /* the largest tick given out or observed */
    uint64_t time_us; /* the latest time that it showed */
    uint64_t behind_ns; /* the monotonic time of that, while the system clock is behind; else 0 */
};

/* A new tick, larger than every earlier one and than all that were observed. */
uint64_t sc_clock_tick(struct sc_clock *clock);

/* A new tick soon behind another one: counts on, without looking at the system clock. */
static inline uint64_t sc_clock_next(struct sc_clock *clock)
{
    return ++clock->last;
}

/* Moves the clock past `version`, which came from disk or from another process. */
void sc_clock_observe(struct sc_clock *clock, uint64_t version);

/* Milliseconds since 1970 for comparing expiries: the system clock, but never behind the last
 * version nor behind what it was before, so that a clock stepped back does not bring expired keys
 * back. */
uint64_t sc_clock_now_ms(struct sc_clock *clock);

/* Microseconds since 1970 by the system clock. */
uint64_t sc_clock_wall_us(void);

/* For tests: the system clock is taken to be so many microseconds ahead, or behind. */
void sc_clock_shift(int64_t us);

/* Milliseconds and nanoseconds that only go forward: for time-outs and measurements. */
uint64_t sc_clock_mono_ms(void);
uint64_t sc_clock_mono_ns(void);

#endif
