#include "coordinator/throttle.h"

#include "common/clock.h"

#define BURST_MS 100u /* how much of the rate may be used at once */

void sc_throttle_init(struct sc_throttle *throttle)
{
    *throttle = (struct sc_throttle){.refilled_ms = sc_clock_mono_ms()};
}

static void refill(struct sc_throttle *throttle, uint64_t rate)
{
    uint64_t now_ms = sc_clock_mono_ms();
    uint64_t elapsed_ms = now_ms - throttle->refilled_ms;
    elapsed_ms = elapsed_ms < BURST_MS ? elapsed_ms : BURST_MS;
    uint64_t share = rate / 1000 < INT32_MAX ? rate / 1000 : INT32_MAX; /* of a millisecond */
    share += share == 0 ? 1 : 0;
    int64_t most = (int64_t)(share * BURST_MS);
    throttle->tokens += (int64_t)(share * elapsed_ms);
    throttle->tokens = throttle->tokens < most ? throttle->tokens : most;
    throttle->refilled_ms = now_ms;
}

bool sc_throttle_may_copy(struct sc_throttle *throttle, uint64_t rate)
{
    if (rate == 0) {
        return true;
    }
    refill(throttle, rate);
    return throttle->tokens > 0;
}

void sc_throttle_copied(struct sc_throttle *throttle, uint64_t rate, uint64_t bytes)
{
    if (rate > 0) {
        throttle->tokens -= (int64_t)bytes;
    }
}
