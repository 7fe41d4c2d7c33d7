#include "common/clock.h"

#include <stdatomic.h>
#include <time.h>

static uint64_t read_ns(clockid_t id)
{
    struct timespec now;
    (void)clock_gettime(id, &now); /* cannot fail: both clocks exist on every Linux */
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* What a test has asked for; 0 in production. */
static atomic_int_least64_t shift_us;

void sc_clock_shift(int64_t us)
{
    atomic_store(&shift_us, us);
}

uint64_t sc_clock_wall_us(void)
{
    int64_t shift = atomic_load_explicit(&shift_us, memory_order_relaxed);
    return read_ns(CLOCK_REALTIME) / 1000 + (uint64_t)shift;
}

uint64_t sc_clock_mono_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t sc_clock_mono_ms(void)
{
    return sc_clock_mono_ns() / 1000000;
}

/* The time, which never goes back nor stands still. */
static uint64_t time_us(struct sc_clock *clock)
{
    uint64_t now = sc_clock_wall_us();
    if (now >= clock->time_us && now >= clock->last) {
        clock->time_us = now;
        clock->behind_ns = 0;
        return now;
    }
    uint64_t mono_ns = sc_clock_mono_ns();
    if (clock->behind_ns != 0) {
        uint64_t passed_us = (mono_ns - clock->behind_ns) / 1000;
        clock->time_us += passed_us;
        clock->behind_ns += passed_us * 1000;
    } else {
        clock->behind_ns = mono_ns;
    }
    if (clock->time_us < clock->last) {
        clock->time_us = clock->last;
    }
    return clock->time_us;
}

uint64_t sc_clock_tick(struct sc_clock *clock)
{
    uint64_t now = time_us(clock);
    clock->last = now > clock->last ? now : clock->last + 1;
    return clock->last;
}

void sc_clock_observe(struct sc_clock *clock, uint64_t version)
{
    if (version > clock->last) {
        clock->last = version;
    }
}

uint64_t sc_clock_now_ms(struct sc_clock *clock)
{
    return time_us(clock) / 1000;
}
