#include "coordinator/turns.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/msg.h"

#define POLL_MS 250u

/* What is known of one shard. */
struct turn {
    struct sc_backend_call call; /* must be first */
    bool asking; /* a call is on its way */
    bool wanted, running; /* as it last said */
    bool has; /* it may merge */
};

struct sc_turns {
    uint64_t next_ms;
    size_t first; /* who is considered first, so that everybody's turn comes */
    struct turn turns[SC_CLUSTER_SHARDS_MAX];
};

static void on_reply(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct turn *turn = (struct turn *)call;
    struct sc_msg_reply reply;
    bool wanted = false;
    bool running = false;
    turn->asking = false;
    if (status != SC_OK || !sc_msg_parse_reply(body, &reply) || reply.status != SC_OK ||
        !sc_mp_bool(&reply.result, &wanted) || !sc_mp_bool(&reply.result, &running)) {
        wanted = running = false;
    }
    turn->wanted = wanted;
    turn->running = running;
}

struct sc_turns *sc_turns_alloc(void)
{
    struct sc_turns *turns = sc_calloc(1, sizeof *turns);
    for (size_t i = 0; i < SC_CLUSTER_SHARDS_MAX; i++) {
        turns->turns[i].call.done = on_reply;
    }
    return turns;
}

void sc_turns_free(struct sc_turns *turns)
{
    free(turns);
}

static void ask(struct sc_backend *backend, struct turn *turn)
{
    struct sc_buf request = {0};
    sc_msg_put_op(&request, SC_OP_X_MERGE, 1);
    sc_mp_put_bool(&request, turn->has);
    turn->asking = true;
    sc_backend_call(backend, &turn->call, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

/* Ends the turns of those who are done, and gives them to those who merge already (the coordinator
 * may have been restarted, or the shard): who has none pauses. Returns how many turns are taken. */
static uint64_t settle(struct sc_turns *turns, struct sc_backend *const *backends, size_t count,
                       uint64_t at_once)
{
    uint64_t taken = 0;
    for (size_t i = 0; i < count; i++) {
        struct turn *turn = &turns->turns[i];
        turn->has = turn->has && turn->wanted && sc_backend_up(backends[i]) && taken < at_once;
        taken += turn->has ? 1 : 0;
    }
    for (size_t i = 0; i < count && taken < at_once; i++) {
        struct turn *turn = &turns->turns[i];
        if (turn->running && !turn->has && sc_backend_up(backends[i])) {
            turn->has = true;
            taken++;
        }
    }
    return taken;
}

void sc_turns_tick(struct sc_turns *turns, struct sc_backend *const *backends, size_t count,
                   uint64_t at_once)
{
    uint64_t now = sc_clock_mono_ms();
    if (now < turns->next_ms || count == 0) {
        return;
    }
    turns->next_ms = now + POLL_MS;
    uint64_t taken = settle(turns, backends, count, at_once);
    for (size_t i = 0; i < count && taken < at_once; i++) {
        size_t at = (turns->first + i) % count;
        struct turn *turn = &turns->turns[at];
        if (turn->wanted && !turn->has && sc_backend_up(backends[at])) {
            turn->has = true;
            taken++;
            turns->first = at + 1;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (sc_backend_up(backends[i]) && !turns->turns[i].asking) {
            ask(backends[i], &turns->turns[i]);
        }
    }
}
