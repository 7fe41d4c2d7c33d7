#include "coordinator/moment.h"

#include "common/msg.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

struct moment;

/* What was asked of one shard, and what came of it. */
struct part {
    struct sc_backend_call call; /* must be first */
    struct moment *moment;
    uint32_t shard_id;
    enum sc_status status;
    char why[SC_WHY_SIZE];
    uint64_t keys;
};

struct moment {
    struct sc_fleet *fleet;
    struct sc_sp_origin origin;
    uint64_t id;
    uint64_t epoch; /* of the map when it was begun */
    uint32_t missing;
    size_t count;
    struct part parts[];
};

static void answer(const struct sc_sp_origin *origin, enum sc_status status, const char *why)
{
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_msg_reply_status(out, status, why);
    sc_sp_reply_end(origin);
}

/* ---- Closing ---- */

static void on_forgotten(struct sc_backend_call *call, enum sc_status status, struct sc_slice reply)
{
    (void)status;
    (void)reply;
    free(call);
}

/* Who does not hear of it closes it when nobody reads. */
static void tell_all(struct sc_fleet *fleet, uint64_t id)
{
    struct sc_buf request = {0};
    sc_msg_put_x_forget(&request, id);
    for (size_t i = 0; i < fleet->backend_count; i++) {
        if (sc_backend_up(fleet->backends[i])) {
            struct sc_backend_call *call = sc_calloc(1, sizeof *call);
            call->done = on_forgotten;
            sc_backend_call(fleet->backends[i], call, sc_buf_slice(&request));
        }
    }
    sc_buf_fini(&request);
}

void sc_moment_close(struct sc_fleet *fleet, uint64_t id, const struct sc_sp_origin *origin)
{
    tell_all(fleet, id);
    answer(origin, SC_OK, NULL);
}

/* ---- Opening ---- */

static const struct part *find_failed(const struct moment *moment)
{
    for (size_t i = 0; i < moment->count; i++) {
        if (moment->parts[i].status != SC_OK) {
            return &moment->parts[i];
        }
    }
    return NULL;
}

static void answer_open(const struct moment *moment)
{
    struct sc_buf *out = sc_sp_reply_begin(&moment->origin);
    sc_mp_put_array(out, 3);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_uint(out, moment->id);
    sc_mp_put_array(out, (uint32_t)moment->count);
    for (size_t i = 0; i < moment->count; i++) {
        sc_mp_put_array(out, 2);
        sc_mp_put_uint(out, moment->parts[i].shard_id);
        sc_mp_put_uint(out, moment->parts[i].keys);
    }
    sc_sp_reply_end(&moment->origin);
}

static void part_done(struct moment *moment)
{
    assert(moment->missing > 0);
    if (--moment->missing > 0) {
        return;
    }
    const struct part *failed = find_failed(moment);
    /* What was handed over meanwhile may be in two of the parts, or in none. */
    bool changed = moment->epoch != moment->fleet->cluster.epoch;
    if (failed != NULL) {
        answer(&moment->origin, failed->status, failed->why);
    } else if (changed) {
        answer(&moment->origin, SC_BUSY, "slots were handed over meanwhile: try again");
    } else {
        answer_open(moment);
    }
    if (failed != NULL || changed) {
        tell_all(moment->fleet, moment->id);
    }
    free(moment);
}

static void on_opened(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct part *part = (struct part *)call;
    struct sc_msg_reply reply;
    if (status != SC_OK) {
        part->status = SC_UNAVAILABLE;
        sc_why(part->why, "shard %" PRIu32 " gave no answer", part->shard_id);
    } else if (!sc_msg_parse_reply(body, &reply) ||
               (reply.status == SC_OK && !sc_mp_uint(&reply.result, &part->keys))) {
        part->status = SC_INTERNAL;
        sc_why(part->why, "shard %" PRIu32 " sent a reply that makes no sense", part->shard_id);
    } else if (reply.status != SC_OK) {
        size_t length = reply.why.size < 250 ? reply.why.size : 250;
        /* A shard that has just been restarted waits for its slots. */
        part->status = reply.status == SC_MOVED ? SC_UNAVAILABLE : (enum sc_status)reply.status;
        sc_why(part->why, "shard %" PRIu32 ": %.*s", part->shard_id, (int)length,
               length > 0 ? (const char *)reply.why.data : "");
    }
    part_done(part->moment);
}

void sc_moment_open(struct sc_fleet *fleet, const struct sc_sp_origin *origin)
{
    struct sc_backend *down = sc_fleet_first_down(fleet);
    if (down != NULL) {
        answer(origin, SC_UNAVAILABLE, sc_backend_why(down));
        return;
    }
    size_t most = fleet->backend_count;
    struct moment *moment = sc_calloc(1, sizeof *moment + most * sizeof moment->parts[0]);
    moment->fleet = fleet;
    moment->origin = *origin;
    moment->id = sc_fleet_copy_id(fleet);
    moment->epoch = fleet->cluster.epoch;
    moment->missing = 1; /* held until all have been asked */
    struct sc_buf request = {0};
    sc_msg_put_x_snapshot(&request, moment->id, moment->epoch);
    for (size_t i = 0; i < most; i++) {
        if (fleet->cluster.shards[i].slots == 0) {
            continue; /* it joins, or leaves */
        }
        struct part *part = &moment->parts[moment->count++];
        part->call.done = on_opened;
        part->moment = moment;
        part->shard_id = fleet->cluster.shards[i].id;
        moment->missing++;
        sc_backend_call(fleet->backends[i], &part->call, sc_buf_slice(&request));
    }
    sc_buf_fini(&request);
    part_done(moment);
}
