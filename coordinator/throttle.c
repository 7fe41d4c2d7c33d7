#include "coordinator/throttle.h"

#define BURST_MS 20u /* how much of the limit may be used at once: clients feel it */
#define WINDOW_MS UINT64_C(1000) /* what rates are measured over */
#define MUCH (UINT64_C(1) << 20) /* less in a window says nothing about what is possible */

void sc_throttle_init(struct sc_throttle *throttle, uint64_t now_ms)
{
    *throttle = (struct sc_throttle){.refilled_ms = now_ms};
}

/* How many bytes of the limit a millisecond brings. */
static int64_t share_of(uint64_t limit)
{
    uint64_t share = limit / 1000 < INT32_MAX ? limit / 1000 : INT32_MAX;
    return share == 0 ? 1 : (int64_t)share;
}

static void refill(struct sc_throttle *throttle, int64_t share, uint64_t now_ms)
{
    uint64_t elapsed_ms = now_ms - throttle->refilled_ms;
    elapsed_ms = elapsed_ms < BURST_MS ? elapsed_ms : BURST_MS;
    int64_t most = share * (int64_t)BURST_MS;
    throttle->tokens += share * (int64_t)elapsed_ms;
    throttle->tokens = throttle->tokens < most ? throttle->tokens : most;
    throttle->refilled_ms = now_ms;
}

uint64_t sc_throttle_wait(struct sc_throttle *throttle, uint64_t limit, uint64_t now_ms)
{
    if (limit == 0) {
        throttle->tokens = 0; /* nothing is owed when there is a limit again */
        return 0;
    }
    int64_t share = share_of(limit);
    refill(throttle, share, now_ms);
    return throttle->tokens > 0 ? 0 : (uint64_t)(-throttle->tokens / share) + 1;
}

/* ---- Measuring ---- */

static void measure(struct sc_throttle *throttle, uint64_t limit, uint64_t bytes, uint64_t now_ms)
{
    if (now_ms - throttle->last_ms > WINDOW_MS) { /* there was nothing to be copied */
        throttle->since_ms = now_ms;
        throttle->sum = 0;
        throttle->rate = 0;
    }
    throttle->last_ms = now_ms;
    throttle->sum += bytes;
    uint64_t elapsed_ms = now_ms - throttle->since_ms;
    if (elapsed_ms >= WINDOW_MS) {
        throttle->rate = throttle->sum * 1000 / elapsed_ms;
        if (throttle->sum >= MUCH) {
            throttle->full_rate = throttle->rate;
            throttle->full_limit = limit;
        }
        throttle->since_ms = now_ms;
        throttle->sum = 0;
    }
}

void sc_throttle_copied(struct sc_throttle *throttle, uint64_t limit, uint64_t bytes, bool bulk,
                        uint64_t now_ms)
{
    if (limit > 0 && bulk) {
        throttle->tokens -= (int64_t)bytes;
    }
    measure(throttle, limit, bytes, now_ms);
}

uint64_t sc_throttle_rate(const struct sc_throttle *throttle, uint64_t now_ms)
{
    return now_ms - throttle->last_ms <= 2 * WINDOW_MS ? throttle->rate : 0;
}

uint64_t sc_throttle_expect(const struct sc_throttle *throttle, uint64_t limit)
{
    bool measured = throttle->full_rate > 0 && throttle->full_limit == limit;
    if (limit == 0) {
        return measured ? throttle->full_rate : 0;
    }
    return measured && throttle->full_rate < limit ? throttle->full_rate : limit;
}
