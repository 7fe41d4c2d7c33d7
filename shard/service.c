#include "shard/service.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/msg.h"
#include "common/version.h"
#include "shard/committer.h"
#include "shard/copier.h"
#include "shard/handover.h"
#include "shard/membership.h"
#include "shard/outbox.h"
#include "shard/report.h"
#include "shard/snapshots.h"
#include "shard/task.h"
#include "shard/tuning.h"
#include "shard/upkeep.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define LISTENERS_MAX 16
#define SCRATCH_KEEP (1u << 20)
#define DRAIN_MS 2000u

struct sc_service {
    /* constant after open */
    struct sc_bitcask *store;
    struct sc_service_options options;
    struct sc_msg_limits limits;
    struct sc_sp_hub *hub;
    struct sc_committer *committer;
    struct sc_upkeep *upkeep;
    struct sc_snapshots *snapshots;
    struct sc_scrubber *scrubber;
    struct sc_handover *handover;
    struct sc_copier *copier;

    /* guarded by the hub's lock */
    struct sc_sp_listener *listeners[LISTENERS_MAX];
    size_t listener_count;
    struct sc_membership membership;
    struct sc_tuning tuning;
    struct sc_tasks tasks;
    struct sc_outbox outbox;
    struct sc_buf scratch; /* the reply under construction */
    bool stopping;
};

static void on_committed(void *arg)
{
    struct sc_service *service = arg;
    sc_outbox_committed(&service->outbox);
    if (service->handover != NULL) {
        sc_handover_committed(service->handover);
    }
}

/* ---- Operations on the whole shard ---- */

static sc_bitcask_position execute_count(struct sc_service *service, struct sc_buf *reply)
{
    sc_bitcask_position position = 0;
    sc_msg_reply_uint(reply,
                      sc_bitcask_count(service->store, service->membership.owned, &position));
    return position;
}

static sc_bitcask_position execute_clear(struct sc_service *service, struct sc_buf *reply)
{
    sc_bitcask_position position = 0;
    uint64_t removed = 0;
    char why[SC_WHY_SIZE];
    enum sc_status status =
        sc_bitcask_clear(service->store, service->membership.owned, &removed, &position, why);
    if (status == SC_OK) {
        sc_msg_reply_uint(reply, removed);
    } else {
        sc_msg_reply_status(reply, status, why);
    }
    return position;
}

static void report(struct sc_service *service, struct sc_buf *reply)
{
    struct sc_sp_listener_counts sum = {0};
    for (size_t i = 0; i < service->listener_count; i++) {
        sc_sp_listener_add_counts(service->listeners[i], &sum);
    }
    sc_report_stats(service->store, &service->membership, &sum, service->upkeep, service->snapshots,
                    service->scrubber, reply);
}

/* A snapshot belongs to one map: else what is on its way between two shards would be in both, or in
 * neither. */
static sc_bitcask_position execute_snapshot(struct sc_service *service,
                                            const struct sc_msg_request *request,
                                            struct sc_buf *reply)
{
    const struct sc_membership *membership = &service->membership;
    sc_bitcask_position position = 0;
    uint64_t keys = 0;
    char why[SC_WHY_SIZE];
    enum sc_status status = SC_BUSY;
    if (request->copy.epoch != membership->epoch) {
        sc_fail(why, status, "slots are being handed over: try again");
    } else {
        status = sc_snapshots_open(service->snapshots, request->copy.id, membership->owned, &keys,
                                   &position, why);
    }
    if (status == SC_OK) {
        sc_msg_reply_uint(reply, keys);
    } else {
        sc_msg_reply_status(reply, status, why);
    }
    return position;
}

static bool needs_grant(enum sc_op op)
{
    return op == SC_OP_COUNT || op == SC_OP_CLEAR || op == SC_OP_X_SNAPSHOT || op == SC_OP_X_BACKUP;
}

/* Everything but what is a task; appends the reply, and stores what it waits for: see
 * sc_outbox_send. */
static sc_bitcask_position execute_other(struct sc_service *service, struct sc_msg_request *request,
                                         struct sc_buf *reply, uint64_t *sync)
{
    uint32_t refused = 0;
    if (needs_grant(request->op) && (!service->membership.granted ||
                                     !sc_membership_serves_all(&service->membership, &refused))) {
        sc_membership_refuse(&service->membership, refused, reply);
        return 0;
    }
    switch (request->op) {
    case SC_OP_PING:
        sc_report_ping(&service->membership, reply);
        return 0;
    case SC_OP_COUNT:
        return execute_count(service, reply);
    case SC_OP_CLEAR:
        return execute_clear(service, reply);
    case SC_OP_STATS:
        report(service, reply);
        return 0;
    case SC_OP_MAP:
        sc_membership_map(&service->membership, reply);
        return 0;
    case SC_OP_SYNC:
        sc_msg_reply_status(reply, SC_OK, NULL);
        *sync = sc_committer_want_sync(service->committer);
        return sc_bitcask_appended(service->store);
    case SC_OP_CONFIG:
        sc_tuning_config(&service->tuning, &request->config, reply);
        return 0;
    case SC_OP_COMPACT:
        sc_upkeep_compact(service->upkeep);
        sc_msg_reply_status(reply, SC_OK, NULL);
        return 0;
    case SC_OP_X_SNAPSHOT:
        return execute_snapshot(service, request, reply);
    case SC_OP_X_FORGET:
        sc_snapshots_forget(service->snapshots, request->copy.id);
        sc_msg_reply_status(reply, SC_OK, NULL);
        return 0;
    case SC_OP_SCRUB:
        sc_scrubber_ask(service->scrubber);
        sc_msg_reply_status(reply, SC_OK, NULL);
        return 0;
    case SC_OP_DAMAGE:
        sc_report_damage(service->store, reply);
        return 0;
    case SC_OP_X_BACKUP:
        sc_copier_begin(service->copier, service->membership.epoch, &request->copy, reply);
        return 0;
    case SC_OP_X_PROGRESS:
        sc_copier_progress(service->copier, &request->copy, reply);
        return 0;
    case SC_OP_X_MERGE:
        sc_tuning_turn(&service->tuning, request->allow, reply);
        return 0;
    case SC_OP_X_HELLO:
        sc_membership_hello(&service->membership, reply);
        return 0;
    case SC_OP_X_ADOPT:
        sc_membership_adopt(&service->membership, request, reply);
        return 0;
    case SC_OP_X_SLOTS:
        sc_membership_slots(&service->membership, reply);
        return 0;
    default:
        sc_msg_reply_status(reply, SC_DENIED,
                            "a shard does not do this: ask the coordinator of the fleet");
        return 0;
    }
}

/* What the coordinator has given up is not begun: we must have been stopped for a while. */
static enum sc_status check_deadline(struct sc_slice *body, uint64_t *deadline_ms, char *why)
{
    *deadline_ms = UINT64_MAX;
    if (sc_msg_take_by(body, deadline_ms) && sc_clock_mono_ms() > *deadline_ms) {
        return sc_fail(why, SC_UNAVAILABLE, "the request reached the shard too late");
    }
    return SC_OK;
}

static void on_request(void *arg, const struct sc_sp_origin *origin, struct sc_slice body)
{
    struct sc_service *service = arg;
    struct sc_buf *reply = &service->scratch;
    struct sc_msg_request request;
    char why[SC_WHY_SIZE];
    sc_bitcask_position position = 0;
    uint64_t sync = 0;
    uint64_t deadline_ms;
    enum sc_status status = check_deadline(&body, &deadline_ms, why);
    if (status == SC_OK) {
        status = sc_msg_parse_request(body, &service->limits, &request, why);
    }
    if (status == SC_OK && service->stopping) {
        status = sc_fail(why, SC_UNAVAILABLE, "the shard is shutting down");
    }
    if (status != SC_OK) {
        sc_msg_reply_status(reply, status, why);
    } else if (sc_tasks_takes(request.op)) {
        sc_tasks_run(&service->tasks, &request, origin, body, deadline_ms);
        return;
    } else if (sc_handover_takes(request.op)) {
        sc_handover_run(service->handover, &request, origin, deadline_ms);
        return;
    } else if (request.op == SC_OP_X_PAGE) {
        sc_snapshots_page(service->snapshots, request.copy.id, request.copy.cursor, origin);
        return;
    } else {
        position = execute_other(service, &request, reply, &sync);
    }
    sc_outbox_send(&service->outbox, origin, sc_buf_slice(reply), 0, position, sync);
    sc_buf_reset(reply, SCRATCH_KEEP);
}

static void on_drained(void *arg)
{
    struct sc_service *service = arg;
    if (service->committer != NULL) {
        sc_committer_want(service->committer);
    }
}

static void on_tick(void *arg)
{
    struct sc_service *service = arg;
    if (service->committer != NULL) {
        sc_committer_tick(service->committer);
    }
    if (service->upkeep != NULL) {
        sc_upkeep_tick(service->upkeep);
    }
    if (service->scrubber != NULL) {
        sc_scrubber_tick(service->scrubber);
    }
    if (service->snapshots != NULL) {
        sc_snapshots_tick(service->snapshots);
    }
    if (service->handover != NULL) {
        sc_handover_tick(service->handover);
    }
    if (service->copier != NULL) {
        sc_copier_tick(service->copier);
    }
}

/* ---- Opening and closing ---- */

enum sc_status sc_service_open(struct sc_bitcask *store, const struct sc_service_options *options,
                               struct sc_service **out, char *why)
{
    struct sc_service *service = sc_calloc(1, sizeof *service);
    service->store = store;
    service->options = *options;
    service->limits.value_max = options->value_max;
    sc_outbox_init(&service->outbox, store);
    sc_membership_init(&service->membership, store);
    sc_tuning_init(&service->tuning, &options->upkeep, options->scrub_bytes_per_second);
    service->tasks = (struct sc_tasks){.store = store,
                                       .membership = &service->membership,
                                       .limits = &service->limits,
                                       .outbox = &service->outbox,
                                       .message_max = options->message_max};
    struct sc_sp_hub_options hub = {.message_max = options->message_max,
                                    .on_drained = on_drained,
                                    .on_tick = on_tick,
                                    .arg = service,
                                    .descriptor = options->descriptor};
    enum sc_status status = sc_sp_hub_open(&hub, &service->hub, why);
    struct sc_committer *committer = NULL;
    struct sc_upkeep *upkeep = NULL;
    struct sc_snapshots *snapshots = NULL;
    struct sc_scrubber *scrubber = NULL;
    struct sc_handover *handover = NULL;
    struct sc_copier *copier = NULL;
    if (status == SC_OK) {
        status = sc_committer_start(service->hub, store, options->sync_ms, on_committed, service,
                                    &committer, why);
    }
    if (status == SC_OK) {
        status = sc_tasks_start(&service->tasks, service->hub, why);
    }
    if (status == SC_OK) {
        status = sc_upkeep_start(service->hub, store, committer, &options->upkeep, &upkeep, why);
    }
    if (status == SC_OK) {
        status = sc_snapshots_start(service->hub, store, &snapshots, why);
    }
    if (status == SC_OK) {
        status =
            sc_scrubber_start(service->hub, store, options->scrub_bytes_per_second, &scrubber, why);
    }
    if (status == SC_OK) {
        status =
            sc_handover_start(service->hub, store, committer, &service->membership, &handover, why);
    }
    if (status == SC_OK) {
        status = sc_copier_start(service->hub, store, &copier, why);
    }
    if (service->hub != NULL) {
        sc_sp_hub_lock(service->hub);
        service->committer = committer;
        service->outbox.committer = committer;
        service->upkeep = upkeep;
        service->snapshots = snapshots;
        service->scrubber = scrubber;
        service->handover = handover;
        service->copier = copier;
        sc_tuning_attach(&service->tuning, upkeep, snapshots, scrubber);
        sc_sp_hub_unlock(service->hub);
    }
    if (status != SC_OK) {
        sc_service_close(service);
        return status;
    }
    *out = service;
    return SC_OK;
}

enum sc_status sc_service_listen(struct sc_service *service, const char *url, const char **bound,
                                 char *why)
{
    if (service->listener_count == LISTENERS_MAX) {
        return sc_fail(why, SC_BADREQUEST, "at most %d addresses can be listened on",
                       LISTENERS_MAX);
    }
    struct sc_sp_listener_options options = {.url = url, .on_request = on_request, .arg = service};
    struct sc_sp_listener *listener = NULL;
    enum sc_status status = sc_sp_listen(service->hub, &options, &listener, why);
    if (status == SC_OK) {
        sc_sp_hub_lock(service->hub);
        service->listeners[service->listener_count++] = listener;
        sc_sp_hub_unlock(service->hub);
        *bound = sc_sp_listener_url(listener);
    }
    return status;
}

/* Comes to the end of what was begun, and waits until every reply that waits for a commit has been
 * sent. */
static void drain(struct sc_service *service)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    sc_sp_hub_lock(service->hub);
    service->stopping = true;
    sc_sp_hub_unlock(service->hub);
    sc_tasks_stop(&service->tasks);
    sc_sp_hub_lock(service->hub);
    while (!sc_outbox_is_empty(&service->outbox)) {
        sc_sp_hub_unlock(service->hub); /* asks for a commit of what waits */
        (void)nanosleep(&pause, NULL);
        sc_sp_hub_lock(service->hub);
    }
    sc_sp_hub_unlock(service->hub);
}

static void stop_threads(struct sc_service *service)
{
    if (service->hub == NULL) {
        return;
    }
    sc_sp_hub_lock(service->hub);
    struct sc_committer *committer = service->committer;
    struct sc_upkeep *upkeep = service->upkeep;
    struct sc_snapshots *snapshots = service->snapshots;
    struct sc_scrubber *scrubber = service->scrubber;
    struct sc_handover *handover = service->handover;
    struct sc_copier *copier = service->copier;
    service->committer = NULL;
    service->upkeep = NULL;
    service->snapshots = NULL;
    service->scrubber = NULL;
    service->handover = NULL;
    service->copier = NULL;
    sc_tuning_attach(&service->tuning, NULL, NULL, NULL);
    sc_sp_hub_unlock(service->hub);
    sc_handover_stop(handover);
    sc_copier_stop(copier);
    sc_snapshots_stop(snapshots);
    sc_scrubber_stop(scrubber);
    sc_upkeep_stop(upkeep);
    sc_committer_stop(committer);
}

void sc_service_close(struct sc_service *service)
{
    if (service == NULL) {
        return;
    }
    for (size_t i = 0; i < service->listener_count; i++) {
        sc_sp_listener_stop(service->listeners[i]);
    }
    if (service->committer != NULL) {
        drain(service);
    }
    stop_threads(service);
    sc_sp_hub_close(service->hub, DRAIN_MS);
    sc_membership_fini(&service->membership);
    sc_buf_fini(&service->scratch);
    free(service);
}
