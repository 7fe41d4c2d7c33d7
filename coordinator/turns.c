#include "coordinator/turns.h"

#include <assert.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/msg.h"

#define POLL_MS 250u
#define TURN_MS 2000u /* others wait no longer; a shard that is written to always has work */

/* What is known of one shard. */
struct turn {
    struct sc_backend_call call; /* must be first */
    bool asking; /* a call is on its way */
    bool wanted, running, urgent; /* as it last said */
    bool has; /* it may merge */
    uint64_t since_ms; /* when it got its turn */
    bool passed_on; /* its turn went to another one before it was done */
    bool barred; /* it must not, for now */
};

struct sc_turns {
    uint64_t next_ms;
    size_t first; /* who is considered first, so that everybody's turn comes */
    struct turn **turns;
    size_t count;
};

static void on_reply(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct turn *turn = (struct turn *)call;
    struct sc_msg_reply reply;
    bool wanted = false;
    bool running = false;
    bool urgent = false;
    turn->asking = false;
    if (status != SC_OK || !sc_msg_parse_reply(body, &reply) || reply.status != SC_OK ||
        !sc_mp_bool(&reply.result, &wanted) || !sc_mp_bool(&reply.result, &running) ||
        !sc_mp_bool(&reply.result, &urgent)) {
        wanted = running = urgent = false;
    }
    turn->wanted = wanted;
    turn->running = running;
    turn->urgent = urgent;
}

struct sc_turns *sc_turns_alloc(void)
{
    return sc_calloc(1, sizeof(struct sc_turns));
}

void sc_turns_free(struct sc_turns *turns)
{
    if (turns == NULL) {
        return;
    }
    for (size_t i = 0; i < turns->count; i++) {
        free(turns->turns[i]);
    }
    free(turns->turns);
    free(turns);
}

void sc_turns_add(struct sc_turns *turns)
{
    struct turn *turn = sc_calloc(1, sizeof *turn);
    turn->call.done = on_reply;
    turns->turns = sc_realloc(turns->turns, (turns->count + 1) * sizeof(struct turn *));
    turns->turns[turns->count++] = turn;
}

void sc_turns_remove(struct sc_turns *turns, size_t index)
{
    assert(index < turns->count && !turns->turns[index]->asking);
    free(turns->turns[index]);
    memmove(&turns->turns[index], &turns->turns[index + 1],
            (turns->count - index - 1) * sizeof(struct turn *));
    turns->count--;
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

static void give(struct turn *turn, uint64_t now_ms)
{
    turn->has = true;
    turn->passed_on = false;
    turn->since_ms = now_ms;
}

static bool waits(const struct turn *turn)
{
    return turn->wanted && !turn->has && !turn->barred;
}

static bool anybody_waits(const struct sc_turns *turns)
{
    for (size_t i = 0; i < turns->count; i++) {
        if (waits(turns->turns[i])) {
            return true;
        }
    }
    return false;
}

/* Ends the turns of those who are done or have had their time, and gives them to those who merge
 * already (the coordinator may have been restarted, or the shard): who has none pauses. Returns how
 * many turns are taken. */
static uint64_t settle(struct sc_turns *turns, const struct sc_cluster *cluster,
                       struct sc_backend *const *backends, uint64_t at_once, uint64_t now_ms)
{
    uint64_t taken = 0;
    bool others = anybody_waits(turns);
    for (size_t i = 0; i < turns->count; i++) {
        struct turn *turn = turns->turns[i];
        turn->barred = !sc_backend_up(backends[i]) ||
                       sc_cluster_in_batch(cluster, sc_backend_shard_id(backends[i]));
        turn->passed_on =
            turn->has ? others && now_ms - turn->since_ms >= TURN_MS : turn->passed_on;
        turn->has = turn->has && turn->wanted && !turn->barred && !turn->passed_on &&
                    (taken < at_once || turn->urgent);
        taken += turn->has ? 1 : 0;
    }
    for (size_t i = 0; i < turns->count && taken < at_once; i++) {
        struct turn *turn = turns->turns[i];
        if (turn->running && !turn->has && !turn->barred && !turn->passed_on) {
            give(turn, now_ms);
            taken++;
        }
    }
    return taken;
}

void sc_turns_tick(struct sc_turns *turns, const struct sc_cluster *cluster,
                   struct sc_backend *const *backends, uint64_t at_once)
{
    uint64_t now = sc_clock_mono_ms();
    if (now < turns->next_ms || turns->count == 0) {
        return;
    }
    turns->next_ms = now + POLL_MS;
    uint64_t taken = settle(turns, cluster, backends, at_once, now);
    for (size_t i = 0; i < turns->count; i++) {
        size_t at = (turns->first + i) % turns->count;
        struct turn *turn = turns->turns[at];
        if (waits(turn) && (taken < at_once || turn->urgent)) {
            give(turn, now);
            taken++;
            turns->first = at + 1;
        }
    }
    for (size_t i = 0; i < turns->count; i++) {
        if (sc_backend_up(backends[i]) && !turns->turns[i]->asking) {
            ask(backends[i], turns->turns[i]);
        }
    }
}
