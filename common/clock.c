#include "common/clock.h"

#include <time.h>

static uint64_t read_ns(clockid_t id)
{
    struct timespec now;
    (void)clock_gettime(id, &now); /* cannot fail: both clocks exist on every Linux */
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t sc_clock_wall_us(void)
{
    return read_ns(CLOCK_REALTIME) / 1000;
}

uint64_t sc_clock_mono_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t sc_clock_mono_ms(void)
{
    return sc_clock_mono_ns() / 1000000;
}

uint64_t sc_clock_tick(struct sc_clock *clock)
{
    uint64_t now = sc_clock_wall_us();
    clock->last = now > clock->last ? now : clock->last + 1;
    return clock->last;
}

void sc_clock_observe(struct sc_clock *clock, uint64_t version)
{
    if (version > clock->last) {
        clock->last = version;
    }
}

uint64_t sc_clock_now_ms(const struct sc_clock *clock)
{
    uint64_t now = sc_clock_wall_us();
    return (now > clock->last ? now : clock->last) / 1000;
}
