#include "coordinator/joining.h"

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/introduction.h"
#include "coordinator/rebalancer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_MS                                                               \
    3000u /* an address that has not answered until then is taken for unreachable \
           */

struct sc_joining {
    struct sc_fleet *fleet; /* kept */
    bool busy;
    bool done; /* the link is closed on the next tick: it may be what we are called from */
    bool recording;
    struct sc_sp_origin origin;
    char url[SC_URL_MAX + 1];
    uint32_t weight;
    bool dry_run;
    uint32_t shard_id;
    struct sc_sp_link *link;
    uint64_t deadline_ms;
};

struct sc_joining *sc_joining_alloc(struct sc_fleet *fleet)
{
    struct sc_joining *joining = sc_calloc(1, sizeof *joining);
    joining->fleet = fleet;
    return joining;
}

void sc_joining_stop(struct sc_joining *joining)
{
    if (joining != NULL) {
        joining->done = true;
        sc_sp_link_close(joining->link);
        joining->link = NULL;
    }
}

void sc_joining_free(struct sc_joining *joining)
{
    free(joining);
}

static void answer(struct sc_joining *joining, enum sc_status status, const char *why)
{
    struct sc_buf *out = sc_sp_reply_begin(&joining->origin);
    if (status == SC_OK) {
        sc_msg_reply_uint(out, joining->shard_id);
    } else {
        sc_msg_reply_status(out, (int)status, why);
    }
    sc_sp_reply_end(&joining->origin);
    joining->done = true;
}

static void on_recorded(void *arg, enum sc_status status, const char *why)
{
    struct sc_joining *joining = arg;
    joining->recording = false;
    if (status == SC_OK) {
        sc_log_info("shard %" PRIu32 " at %s joins the fleet", joining->shard_id, joining->url);
    }
    answer(joining, status, why);
}

/* ---- Who is there ---- */

/* Records the change, or tells what would come of it. */
static void carry_out(struct sc_joining *joining)
{
    struct sc_change change = {.kind = SC_CHANGE_SHARD_ADDED,
                               .shard_id = joining->fleet->cluster.next_shard_id,
                               .weight = joining->weight};
    (void)snprintf(change.url, sizeof change.url, "%s", joining->url);
    joining->shard_id = change.shard_id;
    if (joining->dry_run) {
        sc_rebalancer_preview(joining->fleet->rebalancer, &change, &joining->origin);
        joining->done = true;
        return;
    }
    joining->recording = true;
    sc_fleet_record(joining->fleet, &change, on_recorded, joining);
}

static void on_hello(void *arg, void *tag, enum sc_status status, struct sc_slice body)
{
    struct sc_joining *joining = arg;
    struct sc_msg_reply reply;
    struct sc_introduction_hello hello;
    char why[SC_WHY_SIZE];
    (void)tag;
    if (joining->done || joining->recording) {
        return;
    }
    if (status != SC_OK) {
        sc_why(why, "%s gave no answer", joining->url);
        answer(joining, SC_UNAVAILABLE, why);
    } else if (!sc_msg_parse_reply(body, &reply) || reply.status != SC_OK ||
               !sc_introduction_read_hello(&reply, &hello)) {
        sc_why(why, "what answers at %s is no shardcask shard", joining->url);
        answer(joining, SC_BADREQUEST, why);
    } else if (hello.adopted) {
        sc_why(why,
               "the shard at %s belongs to a cluster already: start it with an empty directory",
               joining->url);
        answer(joining, SC_DENIED, why);
    } else {
        carry_out(joining);
    }
}

static void on_state(void *arg, enum sc_sp_link_state state, const char *why)
{
    struct sc_joining *joining = arg;
    (void)why;
    if (state == SC_SP_UP && !joining->done && !joining->recording) {
        struct sc_buf *out = sc_sp_send_begin(joining->link, joining, PATIENCE_MS);
        sc_introduction_put_hello(out);
        sc_sp_send_end(joining->link);
    }
}

void sc_joining_tick(struct sc_joining *joining)
{
    if (!joining->busy) {
        return;
    }
    if (!joining->done && !joining->recording && sc_clock_mono_ms() >= joining->deadline_ms) {
        char why[SC_WHY_SIZE];
        sc_why(why, "the shard cannot be reached: %.300s", sc_sp_link_why(joining->link));
        answer(joining, SC_UNAVAILABLE, why);
    }
    if (joining->done) {
        sc_sp_link_close(joining->link);
        joining->link = NULL;
        joining->busy = joining->done = false;
    }
}

/* ---- The request ---- */

static enum sc_status begin(struct sc_joining *joining, const struct sc_msg_request *request,
                            char *why)
{
    struct sc_fleet *fleet = joining->fleet;
    char url[SC_URL_MAX + 1];
    (void)snprintf(url, sizeof url, "%.*s", (int)request->url.size,
                   (const char *)request->url.data);
    const struct sc_cluster_shard *known = sc_cluster_shard_at(&fleet->cluster, url);
    if (known != NULL) {
        return sc_fail(why, SC_BADREQUEST, "%s is shard %" PRIu32 " already", url, known->id);
    }
    if (joining->done) {
        sc_joining_tick(joining);
    }
    if (joining->busy) {
        return sc_fail(why, SC_BUSY, "another shard is just being added: try again");
    }
    (void)snprintf(joining->url, sizeof joining->url, "%s", url);
    joining->weight = request->weight;
    joining->dry_run = request->dry_run;
    struct sc_sp_link_options options = {
        .url = joining->url, .on_state = on_state, .on_reply = on_hello, .arg = joining};
    joining->deadline_ms = sc_clock_mono_ms() + PATIENCE_MS;
    return sc_sp_dial_locked(fleet->hub, &options, &joining->link, why);
}

void sc_joining_add(struct sc_joining *joining, const struct sc_msg_request *request,
                    const struct sc_sp_origin *origin)
{
    char why[SC_WHY_SIZE];
    enum sc_status status = begin(joining, request, why);
    if (status == SC_OK) {
        joining->busy = true;
        joining->origin = *origin;
        return;
    }
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_msg_reply_status(out, (int)status, why);
    sc_sp_reply_end(origin);
}
