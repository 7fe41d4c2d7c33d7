#include "coordinator/coordinator.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/msg.h"
#include "common/sp.h"
#include "common/version.h"
#include "coordinator/archivist.h"
#include "coordinator/fanout.h"
#include "coordinator/fleet.h"
#include "coordinator/joining.h"
#include "coordinator/moment.h"
#include "coordinator/rebalancer.h"
#include "coordinator/roster.h"
#include "coordinator/router.h"
#include "coordinator/scanner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LISTENERS_MAX 16
#define SWEEPS_MAX 1000u /* that wait */
#define DRAIN_MS 2000u
/* A shard's reply to many requests in one message: it begins no value once it has 4 MiB, and no
 * value has more than 60 MiB. Clients are held to the limit of --max-message. */
#define SHARD_REPLY_MAX ((size_t)64 << 20)
#define MESSAGE_SLACK (1u << 16) /* room for what is put around a client's request */

struct sc_coordinator {
    /* constant after open */
    struct sc_coordinator_options options;
    struct sc_msg_limits limits;
    struct sc_sp_hub *hub;
    struct sc_archivist *archivist;
    uint64_t started_ms;

    /* guarded by the hub's lock */
    struct sc_fleet fleet;
    struct sc_sp_listener *listeners[LISTENERS_MAX];
    size_t listener_count;
    struct sweep *sweeps; /* that wait, oldest first */
    struct sweep **sweeps_end;
    size_t sweep_count;
    bool stopping;
};

/* ---- What is answered here ---- */

static void reply_status(const struct sc_sp_origin *origin, enum sc_status status, const char *why)
{
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_msg_reply_status(out, status, why);
    sc_sp_reply_end(origin);
}

static void reply_ping(const struct sc_coordinator *coordinator, const struct sc_sp_origin *origin)
{
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_mp_put_array(out, 3);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_cstr(out, "shardcask");
    sc_mp_put_map(out, 4);
    sc_mp_put_cstr(out, "version");
    sc_mp_put_cstr(out, SC_VERSION);
    sc_mp_put_cstr(out, "role");
    sc_mp_put_cstr(out, "coordinator");
    sc_mp_put_member(out, "epoch", coordinator->fleet.cluster.epoch);
    sc_mp_put_member(out, "shards", coordinator->fleet.cluster.shard_count);
    sc_sp_reply_end(origin);
}

static void reply_map(struct sc_coordinator *coordinator, const struct sc_sp_origin *origin)
{
    struct sc_fleet *fleet = &coordinator->fleet;
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_map(out, 5);
    sc_mp_put_cstr(out, "cluster");
    sc_msg_put_cluster(out, fleet->cluster.id);
    sc_mp_put_member(out, "epoch", fleet->cluster.epoch);
    sc_mp_put_member(out, "slots", SC_SLOT_COUNT);
    sc_mp_put_cstr(out, "shards");
    sc_mp_put_array(out, (uint32_t)fleet->backend_count);
    for (size_t i = 0; i < fleet->backend_count; i++) {
        bool up = sc_backend_up(fleet->backends[i]);
        sc_mp_put_map(out, up ? 4 : 5);
        sc_mp_put_member(out, "id", fleet->cluster.shards[i].id);
        sc_mp_put_cstr(out, "url");
        sc_mp_put_cstr(out, fleet->cluster.shards[i].url);
        sc_mp_put_cstr(out, "state");
        sc_mp_put_cstr(out, sc_fleet_state(fleet, i));
        sc_mp_put_member(out, "weight", fleet->cluster.shards[i].weight);
        if (!up) {
            sc_mp_put_cstr(out, "why");
            sc_mp_put_cstr(out, sc_backend_why(fleet->backends[i]));
        }
    }
    sc_mp_put_cstr(out, "ranges");
    sc_cluster_put_ranges(&fleet->cluster, false, out);
    sc_sp_reply_end(origin);
}

static void own_text(struct sc_buf *out, uint32_t *pairs, const char *name, const char *value)
{
    sc_mp_put_cstr(out, name);
    sc_mp_put_cstr(out, value);
    (*pairs)++;
}

static void own_number(struct sc_buf *out, uint32_t *pairs, const char *name, uint64_t value)
{
    sc_mp_put_cstr(out, name);
    sc_mp_put_uint(out, value);
    (*pairs)++;
}

static void start_stats(struct sc_coordinator *coordinator, const struct sc_sp_origin *origin)
{
    struct sc_buf own = {0};
    uint32_t pairs = 0;
    struct sc_sp_listener_counts sum = {0};
    uint64_t shard_messages = 0;
    uint64_t operations = 0;
    uint64_t waiting = 0;
    for (size_t i = 0; i < coordinator->listener_count; i++) {
        sc_sp_listener_add_counts(coordinator->listeners[i], &sum);
    }
    for (size_t i = 0; i < coordinator->fleet.backend_count; i++) {
        const struct sc_lanes *lanes = sc_backend_lanes(coordinator->fleet.backends[i]);
        shard_messages += lanes->messages;
        operations += lanes->operations;
        waiting += sc_lanes_waiting(lanes);
    }
    own_text(&own, &pairs, "version", SC_VERSION);
    own_text(&own, &pairs, "role", "coordinator");
    own_number(&own, &pairs, "uptime_ms", sc_clock_mono_ms() - coordinator->started_ms);
    own_number(&own, &pairs, "epoch", coordinator->fleet.cluster.epoch);
    own_number(&own, &pairs, "connections", sum.connections);
    own_number(&own, &pairs, "connections_accepted", sum.accepted);
    own_number(&own, &pairs, "connections_refused", sum.refused);
    own_number(&own, &pairs, "messages", sum.requests);
    own_number(&own, &pairs, "bytes_in", sum.bytes_in);
    own_number(&own, &pairs, "bytes_out", sum.bytes_out);
    own_number(&own, &pairs, "shard_messages", shard_messages);
    own_number(&own, &pairs, "shard_operations", operations);
    own_number(&own, &pairs, "shard_waiting", waiting);
    sc_fanout_stats(&coordinator->fleet, &own, pairs, origin);
}

/* Changes what is given, here and on every shard; answers with what is in force everywhere. */
static void start_config(struct sc_coordinator *coordinator, const struct sc_msg_request *request,
                         const struct sc_sp_origin *origin)
{
    struct sc_fleet *fleet = &coordinator->fleet;
    struct sc_buf own = {0};
    sc_config_apply(&fleet->config, &request->config);
    sc_mp_put_cstr(&own, sc_config_name(SC_CONFIG_merges_at_once));
    sc_mp_put_uint(&own, fleet->config.values[SC_CONFIG_merges_at_once]);
    sc_fanout_config(fleet, &request->config, &own, 1, origin);
}

/* ---- Sweeps ---- */

/* count and clear, which must find every slot at just one shard: while slots are being handed over
 * they wait. */
struct sweep {
    struct sweep *next;
    enum sc_op op;
    struct sc_sp_origin origin;
};

static void sweep(struct sc_coordinator *coordinator, enum sc_op op,
                  const struct sc_sp_origin *origin)
{
    struct sc_fleet *fleet = &coordinator->fleet;
    if (coordinator->sweep_count == 0 && !sc_rebalancer_is_cutting_over(fleet->rebalancer)) {
        sc_fanout_start(fleet, op, origin);
    } else if (coordinator->sweep_count == SWEEPS_MAX) {
        reply_status(origin, SC_BUSY, "slots are being handed over: try again");
    } else {
        struct sweep *waiting = sc_calloc(1, sizeof *waiting);
        *waiting = (struct sweep){NULL, op, *origin};
        *coordinator->sweeps_end = waiting;
        coordinator->sweeps_end = &waiting->next;
        coordinator->sweep_count++;
    }
}

/* Goes on with those that waited, or, when the fleet is being closed, refuses them. */
static void resume_sweeps(struct sc_coordinator *coordinator)
{
    struct sc_fleet *fleet = &coordinator->fleet;
    while (coordinator->sweeps != NULL &&
           (coordinator->stopping || !sc_rebalancer_is_cutting_over(fleet->rebalancer))) {
        struct sweep *first = coordinator->sweeps;
        coordinator->sweeps = first->next;
        coordinator->sweep_count--;
        if (coordinator->stopping) {
            reply_status(&first->origin, SC_UNAVAILABLE, "the coordinator is shutting down");
        } else {
            sc_fanout_start(fleet, first->op, &first->origin);
        }
        free(first);
    }
    if (coordinator->sweeps == NULL) {
        coordinator->sweeps_end = &coordinator->sweeps;
    }
}

/* ---- Backups ---- */

static void reply_backup(struct sc_coordinator *coordinator, const struct sc_msg_request *request,
                         const struct sc_sp_origin *origin)
{
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_archivist_backup(coordinator->archivist, request, out);
    sc_sp_reply_end(origin);
}

/* ---- Requests ---- */

static void dispatch_other(struct sc_coordinator *coordinator, const struct sc_msg_request *request,
                           const struct sc_sp_origin *origin)
{
    switch (request->op) {
    case SC_OP_PING:
        reply_ping(coordinator, origin);
        break;
    case SC_OP_MAP:
        reply_map(coordinator, origin);
        break;
    case SC_OP_STATS:
        start_stats(coordinator, origin);
        break;
    case SC_OP_SCAN:
        sc_scanner_start(&coordinator->fleet, request, origin);
        break;
    case SC_OP_COUNT:
    case SC_OP_CLEAR:
        sweep(coordinator, request->op, origin);
        break;
    case SC_OP_SYNC:
    case SC_OP_COMPACT:
    case SC_OP_SCRUB:
    case SC_OP_DAMAGE:
        sc_fanout_start(&coordinator->fleet, request->op, origin);
        break;
    case SC_OP_CONFIG:
        start_config(coordinator, request, origin);
        break;
    case SC_OP_BACKUP:
        reply_backup(coordinator, request, origin);
        break;
    case SC_OP_SNAPSHOT:
        sc_moment_open(&coordinator->fleet, origin);
        break;
    case SC_OP_SNAPSHOT_READ:
        sc_scanner_read(&coordinator->fleet, &request->copy, origin);
        break;
    case SC_OP_SNAPSHOT_CLOSE:
        sc_moment_close(&coordinator->fleet, request->copy.id, origin);
        break;
    case SC_OP_SHARD_ADD:
        sc_joining_add(coordinator->fleet.joining, request, origin);
        break;
    case SC_OP_SHARD_REMOVE:
    case SC_OP_SHARD_WEIGHT:
        sc_roster_change(&coordinator->fleet, request, origin);
        break;
    case SC_OP_REBALANCE:
        sc_rebalancer_steer(coordinator->fleet.rebalancer, request, origin);
        break;
    default:
        reply_status(origin, SC_DENIED, "this version does not carry out this operation");
        break;
    }
}

static void on_request(void *arg, const struct sc_sp_origin *origin, struct sc_slice body)
{
    struct sc_coordinator *coordinator = arg;
    struct sc_msg_request request;
    char why[SC_WHY_SIZE];
    enum sc_status status = sc_msg_parse_request(body, &coordinator->limits, &request, why);
    if (status != SC_OK) {
        reply_status(origin, status, why);
        return;
    }
    unsigned kind = sc_op_kind(request.op);
    if (coordinator->stopping) {
        reply_status(origin, SC_UNAVAILABLE, "the coordinator is shutting down");
    } else if ((kind & SC_OP_INTERNAL) != 0) {
        reply_status(origin, SC_DENIED, "operations named x.* are for the fleet's own processes");
    } else if ((kind & SC_OP_SINGLE) != 0) {
        sc_router_single(&coordinator->fleet, &request, origin);
    } else if ((kind & SC_OP_MULTI) != 0) {
        sc_router_multi(&coordinator->fleet, &request, &coordinator->limits, origin);
    } else {
        dispatch_other(coordinator, &request, origin);
    }
}

static void on_drained(void *arg)
{
    struct sc_coordinator *coordinator = arg;
    resume_sweeps(coordinator);
    sc_fleet_flush(&coordinator->fleet);
}

static void on_tick(void *arg)
{
    struct sc_coordinator *coordinator = arg;
    resume_sweeps(coordinator);
    sc_fleet_tick(&coordinator->fleet);
}

static void on_timer(void *arg)
{
    struct sc_coordinator *coordinator = arg;
    sc_fleet_timer(&coordinator->fleet);
    sc_fleet_flush(&coordinator->fleet);
}

/* ---- Opening and closing ---- */

enum sc_status sc_coordinator_open(const struct sc_coordinator_options *options,
                                   struct sc_coordinator **out, char *why)
{
    struct sc_coordinator *coordinator = sc_calloc(1, sizeof *coordinator);
    coordinator->options = *options;
    coordinator->limits.value_max = options->value_max;
    coordinator->started_ms = sc_clock_mono_ms();
    coordinator->sweeps_end = &coordinator->sweeps;
    size_t message_max =
        options->message_max > SHARD_REPLY_MAX ? options->message_max : SHARD_REPLY_MAX;
    struct sc_sp_hub_options hub = {.message_max = message_max + MESSAGE_SLACK,
                                    .on_drained = on_drained,
                                    .on_tick = on_tick,
                                    .on_timer = on_timer,
                                    .arg = coordinator,
                                    .descriptor = options->descriptor};
    enum sc_status status = sc_sp_hub_open(&hub, &coordinator->hub, why);
    if (status == SC_OK) {
        struct sc_fleet_options fleet = {.dir = options->dir,
                                         .shard_urls = options->shard_urls,
                                         .shard_count = options->shard_count,
                                         .timeout_ms = options->timeout_ms,
                                         .message_max = options->message_max,
                                         .merges_at_once = options->merges_at_once};
        status = sc_fleet_open(&coordinator->fleet, coordinator->hub, &fleet, why);
    }
    if (status == SC_OK) {
        status = sc_archivist_start(&coordinator->fleet, &coordinator->archivist, why);
    }
    if (status != SC_OK) {
        sc_coordinator_close(coordinator);
        return status;
    }
    *out = coordinator;
    return SC_OK;
}

enum sc_status sc_coordinator_listen(struct sc_coordinator *coordinator, const char *url,
                                     const char **bound, char *why)
{
    if (coordinator->listener_count == LISTENERS_MAX) {
        return sc_fail(why, SC_BADREQUEST, "at most %d addresses can be listened on",
                       LISTENERS_MAX);
    }
    struct sc_sp_listener_options options = {
        .url = url,
        .on_request = on_request,
        .arg = coordinator,
        .connections_max = coordinator->options.connections_max,
        .idle_ms = coordinator->options.idle_ms,
        .message_max = coordinator->options.message_max,
    };
    struct sc_sp_listener *listener = NULL;
    enum sc_status status = sc_sp_listen(coordinator->hub, &options, &listener, why);
    if (status == SC_OK) {
        sc_sp_hub_lock(coordinator->hub);
        coordinator->listeners[coordinator->listener_count++] = listener;
        sc_sp_hub_unlock(coordinator->hub);
        *bound = sc_sp_listener_url(listener);
    }
    return status;
}

void sc_coordinator_log_shards(struct sc_coordinator *coordinator)
{
    sc_sp_hub_lock(coordinator->hub);
    for (size_t i = 0; i < coordinator->fleet.backend_count; i++) {
        if (!sc_backend_up(coordinator->fleet.backends[i])) {
            sc_log_info("waiting: %s", sc_backend_why(coordinator->fleet.backends[i]));
        }
    }
    sc_sp_hub_unlock(coordinator->hub);
}

/* Waits until the shards have answered what is under way; they, or their time-outs, end it. */
static void drain(struct sc_coordinator *coordinator)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    sc_sp_hub_lock(coordinator->hub);
    resume_sweeps(coordinator);
    while (sc_fleet_outstanding(&coordinator->fleet) > 0) {
        sc_sp_hub_unlock(coordinator->hub);
        (void)nanosleep(&pause, NULL);
        sc_sp_hub_lock(coordinator->hub);
    }
    sc_sp_hub_unlock(coordinator->hub);
}

void sc_coordinator_close(struct sc_coordinator *coordinator)
{
    if (coordinator == NULL) {
        return;
    }
    for (size_t i = 0; i < coordinator->listener_count; i++) {
        sc_sp_listener_stop(coordinator->listeners[i]);
    }
    if (coordinator->hub != NULL) {
        sc_sp_hub_lock(coordinator->hub);
        coordinator->stopping = true;
        sc_sp_hub_unlock(coordinator->hub);
        sc_archivist_stop(coordinator->archivist);
        drain(coordinator);
    }
    sc_fleet_close(&coordinator->fleet);
    sc_sp_hub_close(coordinator->hub, DRAIN_MS);
    free(coordinator);
}
