#include "coordinator/pause.h"

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/backend.h"

#include <inttypes.h>

#define PATIENT_AFTER 8u /* attempts that were given up */

static void note_end(struct sc_pause *pause, const char *what)
{
    pause->last_us = (sc_clock_mono_ns() - pause->since_ns) / 1000;
    pause->since_ns = 0;
    sc_log_info("%s: writes to these slots waited %" PRIu64 " us", what, pause->last_us);
}

void sc_pause_wait(struct sc_pause *pause, struct sc_lanes *source, const struct sc_slotset *slots)
{
    pause->since_ns = sc_clock_mono_ns();
    sc_lanes_hold(source, slots, false);
}

void sc_pause_begin(struct sc_pause *pause, struct sc_lanes *source, const struct sc_slotset *slots)
{
    uint64_t doublings = pause->given_up / PATIENT_AFTER;
    uint64_t most_ms = SC_PAUSE_MS;
    for (; doublings > 0 && most_ms < SC_PAUSE_MOST_MS; doublings--) {
        most_ms *= 2;
    }
    pause->attempts++;
    memset(pause->laps_us, 0, sizeof pause->laps_us);
    pause->over_ms = sc_clock_mono_ms() + most_ms;
    sc_pause_wait(pause, source, slots);
    pause->lap_ns = pause->since_ns;
    sc_sp_hub_set_timer(sc_backend_hub(source->backend), pause->over_ms);
}

bool sc_pause_is_over(const struct sc_pause *pause)
{
    return sc_clock_mono_ms() >= pause->over_ms;
}

void sc_pause_lap(struct sc_pause *pause, enum sc_pause_lap lap)
{
    uint64_t now_ns = sc_clock_mono_ns();
    pause->laps_us[lap] = (uint32_t)((now_ns - pause->lap_ns) / 1000);
    pause->lap_ns = now_ns;
}

void sc_pause_give_up(struct sc_pause *pause)
{
    pause->given_up++;
}

void sc_pause_end(struct sc_pause *pause, struct sc_lanes *source)
{
    if (pause->since_ns != 0) {
        note_end(pause, "slots could not be handed over in time");
        sc_lanes_release(source);
        sc_lanes_flush(source);
    }
}

void sc_pause_end_at_target(struct sc_pause *pause, struct sc_lanes *target)
{
    if (pause->since_ns != 0) {
        note_end(pause, "slots were handed over");
    }
    sc_lanes_release(target);
    sc_lanes_flush(target);
}

void sc_pause_fail(struct sc_pause *pause, struct sc_lanes *source, const char *why)
{
    pause->since_ns = 0;
    sc_lanes_fail(source, why);
}
