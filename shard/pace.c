#include "shard/pace.h"

#include "common/clock.h"

#include <errno.h>
#include <time.h>

#define BURST_NS UINT64_C(20000000)
#define LOOK_NS UINT64_C(50000000) /* between two looks whether to go on */

void sc_pace_sleep(struct sc_pace *pace, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    while (!atomic_load(&pace->stopping) &&
           clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}

void sc_pace_keep(struct sc_pace *pace, uint64_t bytes)
{
    uint64_t rate = atomic_load(&pace->rate);
    uint64_t now = sc_clock_mono_ns();
    if (rate == 0) {
        pace->due_ns = 0;
        return;
    }
    /* Time not used is lost, but for a little. */
    uint64_t earliest = now > BURST_NS ? now - BURST_NS : 0;
    pace->due_ns = pace->due_ns > earliest ? pace->due_ns : earliest;
    pace->due_ns += (uint64_t)((double)bytes * 1e9 / (double)rate);
    while (now < pace->due_ns && !atomic_load(&pace->stopping)) {
        if (atomic_load(&pace->rate) != rate) {
            pace->due_ns = now; /* the new one counts from now on */
            return;
        }
        uint64_t left = pace->due_ns - now;
        sc_pace_sleep(pace, now + (left < LOOK_NS ? left : LOOK_NS));
        now = sc_clock_mono_ns();
    }
}
