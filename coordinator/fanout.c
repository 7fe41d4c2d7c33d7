#include "coordinator/fanout.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct fanout;

/* What was asked of one shard, and what came of it. */
struct part {
    struct sc_backend_call call; /* must be first */
    struct fanout *fanout;
    uint32_t shard_id;
    char url[SC_URL_MAX + 1];
    enum sc_status status;
    char why[SC_WHY_SIZE];
    uint64_t number; /* count, clear */
    struct sc_buf figures; /* stats: the shard's map, encoded */
    bool empty; /* it has no slots: what it cannot do is not missing */
};

struct fanout {
    struct sc_fleet *fleet;
    struct sc_sp_origin origin;
    enum sc_op op;
    uint32_t missing;
    struct sc_buf own; /* stats: the coordinator's own pairs */
    uint32_t own_pairs;
    size_t count;
    struct part parts[];
};

static bool gives_figures(enum sc_op op)
{
    return op == SC_OP_STATS || op == SC_OP_CONFIG || op == SC_OP_DAMAGE;
}

static bool gives_number(enum sc_op op)
{
    return op == SC_OP_COUNT || op == SC_OP_CLEAR;
}

static void fanout_free(struct fanout *fanout)
{
    fanout->fleet->sweeping -= gives_number(fanout->op) ? 1 : 0;
    for (size_t i = 0; i < fanout->count; i++) {
        sc_buf_fini(&fanout->parts[i].figures);
    }
    sc_buf_fini(&fanout->own);
    free(fanout);
}

/* ---- The replies of the shards ---- */

static void part_fail(struct part *part, enum sc_status status, const char *why)
{
    part->status = status;
    sc_why(part->why, "%s", why);
}

static void part_lost(struct part *part, enum sc_status status)
{
    char why[SC_WHY_SIZE];
    bool unknown = status == SC_UNKNOWN && part->fanout->op == SC_OP_CLEAR;
    sc_why(why, "shard %" PRIu32 " at %.200s gave no answer%s", part->shard_id, part->url,
           unknown ? ": its keys may or may not have been removed" : "");
    part_fail(part, unknown ? SC_UNKNOWN : SC_UNAVAILABLE, why);
}

static void part_take(struct part *part, struct sc_slice body)
{
    struct sc_msg_reply reply;
    struct sc_slice raw = {0};
    bool good = sc_msg_parse_reply(body, &reply);
    if (good && reply.status != SC_OK) {
        char why[SC_WHY_SIZE];
        size_t length = reply.why.size < 200 ? reply.why.size : 200;
        sc_why(why, "shard %" PRIu32 ": %.*s", part->shard_id, (int)length,
               length > 0 ? (const char *)reply.why.data : "");
        /* A shard that has just been restarted waits for its slots. */
        part_fail(part, reply.status == SC_MOVED ? SC_UNAVAILABLE : (enum sc_status)reply.status,
                  why);
        return;
    }
    if (good && gives_figures(part->fanout->op)) {
        good = sc_mp_peek(&reply.result) == SC_MP_MAP && sc_mp_skip(&reply.result, &raw);
        sc_buf_append_slice(&part->figures, raw);
    } else if (good && gives_number(part->fanout->op)) {
        good = sc_mp_uint(&reply.result, &part->number);
    }
    if (!good) {
        part_fail(part, SC_INTERNAL, "a shard sent a reply that makes no sense");
    }
}

/* ---- The answer to the client ---- */

static void answer_stats(struct fanout *fanout, struct sc_buf *out);

static void answer_numbers(const struct fanout *fanout, struct sc_buf *out)
{
    uint64_t sum = 0;
    const struct part *failed = NULL;
    for (size_t i = 0; i < fanout->count; i++) {
        const struct part *part = &fanout->parts[i];
        sum += part->number;
        /* Of several failures the one that leaves things open is told. */
        if (part->status != SC_OK && (failed == NULL || failed->status == SC_UNAVAILABLE)) {
            failed = part;
        }
    }
    if (failed != NULL && fanout->op == SC_OP_CLEAR && failed->status == SC_UNAVAILABLE &&
        sum > 0) {
        char why[SC_WHY_SIZE];
        sc_why(why, "other shards were cleared, but %.280s", failed->why);
        sc_msg_reply_status(out, SC_UNKNOWN, why);
    } else if (failed != NULL) {
        sc_msg_reply_status(out, failed->status, failed->why);
    } else if (!gives_number(fanout->op)) {
        sc_msg_reply_status(out, SC_OK, NULL);
    } else {
        sc_msg_reply_uint(out, sum);
    }
}

/* The last one answers the client. */
static void one_done(struct fanout *fanout)
{
    assert(fanout->missing > 0);
    if (--fanout->missing > 0) {
        return;
    }
    struct sc_buf *out = sc_sp_reply_begin(&fanout->origin);
    if (gives_figures(fanout->op)) {
        answer_stats(fanout, out);
    } else {
        answer_numbers(fanout, out);
    }
    sc_sp_reply_end(&fanout->origin);
    fanout_free(fanout);
}

static void part_done(struct part *part)
{
    if (part->empty) {
        part->status = SC_OK;
    }
    one_done(part->fanout);
}

static void on_part(struct sc_backend_call *call, enum sc_status status, struct sc_slice reply)
{
    struct part *part = (struct part *)call;
    if (status == SC_OK) {
        part_take(part, reply);
    } else {
        part_lost(part, status);
    }
    part_done(part);
}

/* ---- Stats ---- */

/* Adds up the figures that make sense as a sum over all shards. */
static const char *const total_names[] = {
    "keys",       "keydir_bytes", "files",         "file_bytes",
    "live_bytes", "dead_bytes",   "tombstones",    "puts",
    "gets",       "dels",         "hits",          "misses",
    "commits",    "syncs",        "bytes_written", "damaged_records",
    "cold_reads", "expired",      "damage",        "disk_bytes",
    "stalled_us"};
#define TOTALS (sizeof total_names / sizeof *total_names)

static void add_totals(struct sc_slice figures, uint64_t totals[TOTALS])
{
    struct sc_mp mp = sc_mp(figures);
    uint32_t pairs = 0;
    if (!sc_mp_map(&mp, &pairs)) {
        return;
    }
    for (uint32_t i = 0; i < pairs && !sc_mp_failed(&mp); i++) {
        struct sc_slice name = {0};
        uint64_t number = 0;
        if (!sc_mp_str(&mp, &name)) {
            return;
        }
        if (sc_mp_peek(&mp) != SC_MP_UINT) {
            (void)sc_mp_skip(&mp, NULL);
            continue;
        }
        (void)sc_mp_uint(&mp, &number);
        for (size_t t = 0; t < TOTALS; t++) {
            if (sc_slice_equal(name, sc_slice_str(total_names[t]))) {
                totals[t] += number;
            }
        }
    }
}

/* One shard's entry: its id, address and state, and its own figures where it gave any. */
static void put_shard(const struct part *part, struct sc_buf *out)
{
    struct sc_mp figures = sc_mp(sc_buf_slice(&part->figures));
    uint32_t pairs = 0;
    bool up = part->status == SC_OK;
    if (up && !sc_mp_map(&figures, &pairs)) {
        pairs = 0;
    }
    sc_mp_put_map(out, pairs + (up ? 2 : 4));
    sc_mp_put_cstr(out, "url");
    sc_mp_put_cstr(out, part->url);
    sc_mp_put_cstr(out, "state");
    sc_mp_put_cstr(out, up ? "up" : "down");
    if (!up) {
        sc_mp_put_member(out, "id", part->shard_id);
        sc_mp_put_cstr(out, "why");
        sc_mp_put_cstr(out, part->why);
    } else if (pairs > 0) {
        sc_buf_append(out, figures.at, (size_t)(figures.end - figures.at));
    }
}

static void answer_stats(struct fanout *fanout, struct sc_buf *out)
{
    uint64_t totals[TOTALS] = {0};
    for (size_t i = 0; i < fanout->count; i++) {
        if (fanout->parts[i].status == SC_OK) {
            add_totals(sc_buf_slice(&fanout->parts[i].figures), totals);
        }
    }
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, SC_OK);
    size_t sums = fanout->op == SC_OP_STATS ? TOTALS : 0;
    sc_mp_put_map(out, fanout->own_pairs + (uint32_t)sums + 1);
    sc_buf_append_slice(out, sc_buf_slice(&fanout->own));
    for (size_t t = 0; t < sums; t++) {
        sc_mp_put_cstr(out, total_names[t]);
        sc_mp_put_uint(out, totals[t]);
    }
    sc_mp_put_cstr(out, "shards");
    sc_mp_put_array(out, (uint32_t)fanout->count);
    for (size_t i = 0; i < fanout->count; i++) {
        put_shard(&fanout->parts[i], out);
    }
}

/* ---- Starting ---- */

static void ask_all(struct sc_fleet *fleet, struct fanout *fanout, const struct sc_config *change)
{
    struct sc_buf request = {0};
    sc_msg_put_op(&request, fanout->op, change != NULL ? 1 : 0);
    if (change != NULL) {
        sc_config_put(change, false, &request);
    }
    fanout->missing++; /* held until all have been asked: calls may end at once */
    for (size_t i = 0; i < fanout->count; i++) {
        struct part *part = &fanout->parts[i];
        struct sc_backend *backend = fleet->backends[i];
        part->empty = fleet->cluster.shards[i].slots == 0 && !gives_figures(fanout->op);
        if (sc_backend_up(backend)) {
            sc_backend_call(backend, &part->call, sc_buf_slice(&request));
        } else {
            part_fail(part, SC_UNAVAILABLE, sc_backend_why(backend));
            part_done(part);
        }
    }
    sc_buf_fini(&request);
    one_done(fanout);
}

static struct fanout *fanout_alloc(struct sc_fleet *fleet, enum sc_op op,
                                   const struct sc_sp_origin *origin)
{
    size_t count = fleet->backend_count;
    struct fanout *fanout = sc_calloc(1, sizeof *fanout + count * sizeof fanout->parts[0]);
    fanout->fleet = fleet;
    fleet->sweeping += gives_number(op) ? 1 : 0;
    fanout->origin = *origin;
    fanout->op = op;
    fanout->count = count;
    fanout->missing = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const struct sc_cluster_shard *shard = &fleet->cluster.shards[i];
        struct part *part = &fanout->parts[i];
        part->call.done = on_part;
        part->fanout = fanout;
        part->shard_id = shard->id;
        memcpy(part->url, shard->url, sizeof part->url);
    }
    return fanout;
}

void sc_fanout_start(struct sc_fleet *fleet, enum sc_op op, const struct sc_sp_origin *origin)
{
    struct sc_backend *down = sc_fleet_first_down(fleet);
    if (down != NULL && gives_number(op)) {
        struct sc_buf *out = sc_sp_reply_begin(origin);
        sc_msg_reply_status(out, SC_UNAVAILABLE, sc_backend_why(down));
        sc_sp_reply_end(origin);
        return;
    }
    ask_all(fleet, fanout_alloc(fleet, op, origin), NULL);
}

void sc_fanout_stats(struct sc_fleet *fleet, struct sc_buf *own, uint32_t own_pairs,
                     const struct sc_sp_origin *origin)
{
    struct fanout *fanout = fanout_alloc(fleet, SC_OP_STATS, origin);
    fanout->own = *own;
    *own = (struct sc_buf){0};
    fanout->own_pairs = own_pairs;
    ask_all(fleet, fanout, NULL);
}

void sc_fanout_config(struct sc_fleet *fleet, const struct sc_config *change, struct sc_buf *own,
                      uint32_t own_pairs, const struct sc_sp_origin *origin)
{
    struct fanout *fanout = fanout_alloc(fleet, SC_OP_CONFIG, origin);
    fanout->own = *own;
    *own = (struct sc_buf){0};
    fanout->own_pairs = own_pairs;
    ask_all(fleet, fanout, change->given != 0 ? change : NULL);
}
