#include "coordinator/strays.h"

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "coordinator/errand.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/queue.h>

#define AGAIN_MS 200u

/* Stays in the list as long as the shard is up: what it said when it was introduced is looked at
 * whenever it gets a map. */
struct stray {
    LIST_ENTRY(stray) all;
    struct sc_strays *strays;
    struct sc_errands *errands;
    uint32_t shard_id;
    uint64_t move;
    enum sc_op op; /* x.drop at a target, x.release at a source */
    bool asking, done;
    uint64_t next_ms;
};

struct sc_strays {
    struct sc_fleet *fleet;
    LIST_HEAD(, stray) all;
};

static void on_answer(void *arg, struct sc_errand_answer *answer)
{
    struct stray *stray = arg;
    if (answer == NULL) {
        return; /* one of two that were answered */
    }
    stray->asking = false;
    stray->done = answer->verdict == SC_ERRAND_GOOD;
    if (!stray->done && !stray->strays->fleet->closing) {
        sc_log_warn("shard %" PRIu32 " does not let go of move %" PRIu64 " yet: %s",
                    stray->shard_id, stray->move, answer->why);
    }
}

static void tell(struct stray *stray)
{
    const struct sc_strays *strays = stray->strays;
    struct sc_backend *backend = sc_fleet_backend(strays->fleet, stray->shard_id);
    struct sc_buf request = {0};
    if (stray->asking || stray->done || sc_clock_mono_ms() < stray->next_ms ||
        sc_backend_epoch(backend) != strays->fleet->cluster.epoch) {
        return;
    }
    sc_failpoint("stray_before_told");
    stray->next_ms = sc_clock_mono_ms() + AGAIN_MS;
    if (stray->op == SC_OP_X_DROP) {
        sc_msg_put_drop(&request, stray->move);
    } else {
        sc_msg_put_release(&request, stray->move);
    }
    stray->asking = sc_errands_ask(stray->errands, backend, stray->op, &request);
}

static bool is_listed(const struct sc_strays *strays, uint32_t shard_id, uint64_t move,
                      enum sc_op op)
{
    const struct stray *stray;
    LIST_FOREACH(stray, &strays->all, all)
    {
        if (stray->shard_id == shard_id && stray->move == move && stray->op == op) {
            return true;
        }
    }
    return false;
}

static void add(struct sc_strays *strays, uint32_t shard_id, uint64_t move, enum sc_op op)
{
    if (move == 0 || sc_cluster_batch(&strays->fleet->cluster, move) != NULL ||
        is_listed(strays, shard_id, move, op)) {
        return;
    }
    struct stray *stray = sc_calloc(1, sizeof *stray);
    stray->errands = sc_errands_alloc(on_answer, stray);
    stray->strays = strays;
    stray->shard_id = shard_id;
    stray->move = move;
    stray->op = op;
    LIST_INSERT_HEAD(&strays->all, stray, all);
    tell(stray);
}

static void remove_stray(struct stray *stray)
{
    LIST_REMOVE(stray, all);
    sc_errands_free(stray->errands);
    free(stray);
}

/* A shard that is not up any more says again what it has when it comes back. */
static void remove_all_of(struct sc_strays *strays, uint32_t shard_id)
{
    struct stray *next;
    for (struct stray *stray = LIST_FIRST(&strays->all); stray != NULL; stray = next) {
        next = LIST_NEXT(stray, all);
        if (stray->shard_id == shard_id) {
            remove_stray(stray);
        }
    }
}

void sc_strays_on_change(struct sc_strays *strays, struct sc_backend *backend)
{
    uint32_t shard_id = sc_backend_shard_id(backend);
    if (!sc_backend_up(backend)) {
        remove_all_of(strays, shard_id);
    } else if (sc_backend_epoch(backend) == strays->fleet->cluster.epoch) {
        add(strays, shard_id, sc_backend_hello(backend)->importing, SC_OP_X_DROP);
        add(strays, shard_id, sc_backend_hello(backend)->exporting, SC_OP_X_RELEASE);
    }
}

void sc_strays_tick(struct sc_strays *strays)
{
    struct stray *next;
    for (struct stray *stray = LIST_FIRST(&strays->all); stray != NULL; stray = next) {
        next = LIST_NEXT(stray, all);
        if (sc_fleet_backend(strays->fleet, stray->shard_id) == NULL) {
            remove_stray(stray);
        } else {
            tell(stray);
        }
    }
}

bool sc_strays_any(const struct sc_strays *strays, uint32_t shard_id)
{
    const struct stray *stray;
    LIST_FOREACH(stray, &strays->all, all)
    {
        if (stray->shard_id == shard_id && !stray->done) {
            return true;
        }
    }
    return false;
}

struct sc_strays *sc_strays_alloc(struct sc_fleet *fleet)
{
    struct sc_strays *strays = sc_calloc(1, sizeof *strays);
    strays->fleet = fleet;
    LIST_INIT(&strays->all);
    return strays;
}

void sc_strays_free(struct sc_strays *strays)
{
    if (strays != NULL) {
        struct stray *next;
        for (struct stray *stray = LIST_FIRST(&strays->all); stray != NULL; stray = next) {
            next = LIST_NEXT(stray, all);
            remove_stray(stray);
        }
        free(strays);
    }
}
