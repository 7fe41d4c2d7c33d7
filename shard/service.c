#include "shard/service.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/msg.h"
#include "common/version.h"
#include "shard/committer.h"
#include "shard/membership.h"
#include "shard/ops.h"
#include "shard/report.h"
#include "shard/tuning.h"
#include "shard/upkeep.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define LISTENERS_MAX 16
#define JOIN_REPLY_SOFT_MAX (4u << 20) /* an x.join reply stops growing here */
#define SCAN_PAGE_BYTES (1u << 20)
#define SCAN_VISITS_MAX 20000u
#define SCRATCH_KEEP (1u << 20)
#define ITEM_ERROR_MAX 128u /* bytes kept free in a reply for each item that is still to come */
#define DRAIN_MS 2000u

/* A reply that waits for a commit. */
struct waiting {
    struct waiting *next;
    struct sc_sp_origin origin;
    sc_bitcask_position position;
    uint64_t sync; /* of the committer; 0: none */
    size_t size;
    uint8_t body[];
};

struct sc_service {
    /* constant after open */
    struct sc_bitcask *store;
    struct sc_service_options options;
    struct sc_msg_limits limits;
    struct sc_sp_hub *hub;
    struct sc_committer *committer;
    struct sc_upkeep *upkeep;

    /* guarded by the hub's lock */
    struct sc_sp_listener *listeners[LISTENERS_MAX];
    size_t listener_count;
    struct sc_membership membership;
    struct sc_tuning tuning;
    struct waiting *waiting; /* oldest first */
    struct waiting **waiting_end;
    struct sc_buf scratch; /* the reply under construction */
    bool stopping;
};

/* ---- Replies that wait ---- */

static bool is_due(const struct sc_service *service, const struct waiting *waiting)
{
    return waiting->position <= sc_bitcask_committed(service->store) &&
           waiting->sync <= sc_committer_synced(service->committer);
}

static void reply_failed(const struct sc_service *service, const struct sc_sp_origin *origin)
{
    const char *failure = sc_bitcask_failed(service->store);
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_msg_reply_status(out, SC_IO, failure != NULL ? failure : "the store has failed");
    sc_sp_reply_end(origin);
}

/* Sends what has become due, and the failure to what never will. */
static void on_committed(void *arg)
{
    struct sc_service *service = arg;
    struct waiting **link = &service->waiting;
    bool failed = sc_bitcask_failed(service->store) != NULL;
    while (*link != NULL) {
        struct waiting *waiting = *link;
        if (failed && (waiting->sync > 0 || !is_due(service, waiting))) {
            reply_failed(service, &waiting->origin);
        } else if (is_due(service, waiting)) {
            sc_sp_reply(&waiting->origin, sc_slice(waiting->body, waiting->size));
        } else {
            link = &waiting->next;
            continue;
        }
        *link = waiting->next;
        free(waiting);
    }
    service->waiting_end = link;
}

/* Sends the reply in `scratch`, now or when `position` is committed and `sync` done. */
static void answer(struct sc_service *service, const struct sc_sp_origin *origin,
                   sc_bitcask_position position, uint64_t sync)
{
    struct sc_buf *scratch = &service->scratch;
    if (position <= sc_bitcask_committed(service->store) && sync == 0) {
        sc_sp_reply(origin, sc_buf_slice(scratch));
    } else if (sc_bitcask_failed(service->store) != NULL) {
        reply_failed(service, origin);
    } else {
        struct waiting *waiting = sc_alloc(sizeof *waiting + scratch->size);
        waiting->next = NULL;
        waiting->origin = *origin;
        waiting->position = position;
        waiting->sync = sync;
        waiting->size = scratch->size;
        memcpy(waiting->body, scratch->data, scratch->size);
        sc_sp_charge(&waiting->origin, scratch->size);
        *service->waiting_end = waiting;
        service->waiting_end = &waiting->next;
    }
    sc_buf_reset(scratch, SCRATCH_KEEP);
}

/* ---- Operations on keys ---- */

static sc_bitcask_position later(sc_bitcask_position a, sc_bitcask_position b)
{
    return a > b ? a : b;
}

/* One single-key request, alone or in a batch. */
static sc_bitcask_position execute(struct sc_service *service, const struct sc_msg_request *request,
                                   struct sc_buf *reply)
{
    uint32_t slot = sc_slot_of_key(request->key);
    if (!sc_membership_serves(&service->membership, slot)) {
        sc_membership_refuse(&service->membership, slot, reply);
        return 0;
    }
    struct sc_bitcask_identity identity;
    sc_bitcask_identity(service->store, &identity);
    return sc_ops_execute(service->store, request, identity.shard_id, reply);
}

/* mget, mput, mdel and batch. Room for an error is kept for every item to come, so that only a
 * value that was read can be too much: no write is carried out whose reply would not fit. */
static sc_bitcask_position execute_batch(struct sc_service *service, struct sc_msg_request *request,
                                         struct sc_buf *reply)
{
    sc_bitcask_position position = 0;
    char why[SC_WHY_SIZE];
    sc_mp_put_array(reply, 2);
    sc_mp_put_uint(reply, SC_OK);
    sc_mp_put_array(reply, request->item_count);
    for (uint32_t i = 0; i < request->item_count; i++) {
        struct sc_msg_request item;
        size_t start = reply->size;
        enum sc_status status = sc_msg_next_item(request, &service->limits, &item, why);
        if (status != SC_OK) {
            sc_msg_reply_status(reply, status, why);
        } else {
            position = later(position, execute(service, &item, reply));
        }
        uint64_t reserved = (uint64_t)(request->item_count - 1 - i) * ITEM_ERROR_MAX;
        if (status == SC_OK && item.op == SC_OP_GET &&
            reply->size + reserved > service->options.message_max) {
            reply->size = start;
            sc_msg_reply_status(reply, SC_TOOLARGE, "the reply has no room left for this value");
        }
    }
    return position;
}

/* x.join: as a batch, but what comes after the reply has become large is sent back unbegun. */
static sc_bitcask_position execute_join(struct sc_service *service, struct sc_msg_request *request,
                                        struct sc_buf *reply)
{
    static const uint8_t again[] = {0x91, SC_MSG_AGAIN};
    sc_bitcask_position position = 0;
    char why[SC_WHY_SIZE];
    sc_mp_put_array(reply, 2);
    sc_mp_put_uint(reply, SC_OK);
    sc_mp_put_array(reply, request->item_count);
    for (uint32_t i = 0; i < request->item_count; i++) {
        if (reply->size > JOIN_REPLY_SOFT_MAX) {
            sc_buf_append(reply, again, sizeof again);
            continue;
        }
        struct sc_msg_request item;
        enum sc_status status = sc_msg_next_item(request, &service->limits, &item, why);
        if (status != SC_OK) {
            sc_msg_reply_status(reply, status, why);
        } else {
            position = later(position, execute(service, &item, reply));
        }
    }
    return position;
}

/* ---- Scans ---- */

struct page {
    struct sc_buf *reply;
    bool values;
    uint32_t keys;
};

static void put_scanned(void *arg, struct sc_slice key, struct sc_slice value)
{
    struct page *page = arg;
    if (page->values && value.data != NULL) {
        sc_mp_put_array(page->reply, 2);
        sc_mp_put_bin(page->reply, key);
        sc_buf_append_slice(page->reply, value);
    } else {
        sc_mp_put_bin(page->reply, key);
    }
    page->keys++;
}

static sc_bitcask_position execute_scan(struct sc_service *service,
                                        const struct sc_msg_request *request, struct sc_buf *reply)
{
    struct sc_bitcask_scan scan = {
        .cursor = request->scan.cursor,
        .first_slot = 0,
        .last_slot = request->scan.last_slot,
        .owned = service->membership.owned,
        .prefix = request->scan.prefix,
        .limit = request->scan.limit,
        .values = request->scan.values,
        .bytes_max = SCAN_PAGE_BYTES,
        .visits_max = SCAN_VISITS_MAX,
    };
    struct sc_buf items = {0};
    struct sc_buf next = {0};
    struct page page = {.reply = &items, .values = scan.values};
    sc_bitcask_position position = 0;
    char why[SC_WHY_SIZE] = "";
    size_t count_at = sc_mp_open_array(&items);
    enum sc_status status =
        sc_bitcask_scan(service->store, &scan, put_scanned, &page, &next, &position, why);
    if (status != SC_OK && page.keys == 0) {
        sc_msg_reply_status(reply, status, why);
    } else {
        sc_mp_close_array(&items, count_at, page.keys);
        sc_msg_reply_page(reply, status, sc_slice_str(why), sc_buf_slice(&next));
        sc_buf_append_slice(reply, sc_buf_slice(&items));
    }
    sc_buf_fini(&items);
    sc_buf_fini(&next);
    return position;
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
    sc_report_stats(service->store, &service->membership, &sum, service->upkeep, reply);
}

static bool needs_grant(enum sc_op op)
{
    return op == SC_OP_SCAN || op == SC_OP_X_SCAN || op == SC_OP_COUNT || op == SC_OP_CLEAR;
}

/* Everything but single-key operations and batches; appends the reply. `sync` as for answer. */
static sc_bitcask_position execute_other(struct sc_service *service, struct sc_msg_request *request,
                                         struct sc_buf *reply, uint64_t *sync)
{
    if (needs_grant(request->op) && !service->membership.granted) {
        sc_membership_refuse(&service->membership, 0, reply);
        return 0;
    }
    switch (request->op) {
    case SC_OP_PING:
        sc_report_ping(&service->membership, reply);
        return 0;
    case SC_OP_SCAN:
    case SC_OP_X_SCAN:
        return execute_scan(service, request, reply);
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
    case SC_OP_X_GRANT:
        sc_membership_grant(&service->membership, request, reply);
        return 0;
    default:
        sc_msg_reply_status(reply, SC_DENIED,
                            "a shard does not do this: ask the coordinator of the fleet");
        return 0;
    }
}

/* What the coordinator has given up is not begun: we must have been stopped for a while. */
static enum sc_status check_deadline(struct sc_slice *body, char *why)
{
    uint64_t deadline_ms;
    if (sc_msg_take_by(body, &deadline_ms) && sc_clock_mono_ms() > deadline_ms) {
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
    enum sc_status status = check_deadline(&body, why);
    if (status == SC_OK) {
        status = sc_msg_parse_request(body, &service->limits, &request, why);
    }
    if (status != SC_OK) {
        sc_msg_reply_status(reply, status, why);
    } else if (service->stopping) {
        sc_msg_reply_status(reply, SC_UNAVAILABLE, "the shard is shutting down");
    } else if ((sc_op_kind(request.op) & SC_OP_SINGLE) != 0) {
        position = execute(service, &request, reply);
    } else if (request.op == SC_OP_X_JOIN) {
        position = execute_join(service, &request, reply);
    } else if ((sc_op_kind(request.op) & SC_OP_MULTI) != 0) {
        position = execute_batch(service, &request, reply);
    } else {
        position = execute_other(service, &request, reply, &sync);
    }
    answer(service, origin, position, sync);
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
    if (service->upkeep != NULL) {
        sc_upkeep_tick(service->upkeep);
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
    service->waiting_end = &service->waiting;
    sc_membership_init(&service->membership, store);
    sc_tuning_init(&service->tuning, &options->upkeep);
    struct sc_sp_hub_options hub = {.message_max = options->message_max,
                                    .on_drained = on_drained,
                                    .on_tick = on_tick,
                                    .arg = service,
                                    .descriptor = options->descriptor};
    enum sc_status status = sc_sp_hub_open(&hub, &service->hub, why);
    struct sc_committer *committer = NULL;
    struct sc_upkeep *upkeep = NULL;
    if (status == SC_OK) {
        status = sc_committer_start(service->hub, store, options->sync_ms, on_committed, service,
                                    &committer, why);
    }
    if (status == SC_OK) {
        status = sc_upkeep_start(service->hub, store, committer, &options->upkeep, &upkeep, why);
    }
    if (service->hub != NULL) {
        sc_sp_hub_lock(service->hub);
        service->committer = committer;
        service->upkeep = upkeep;
        sc_tuning_attach(&service->tuning, upkeep);
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

/* Waits until every reply that waits for a commit has been sent. */
static void drain(struct sc_service *service)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    sc_sp_hub_lock(service->hub);
    service->stopping = true;
    while (service->waiting != NULL) {
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
    service->committer = NULL;
    service->upkeep = NULL;
    sc_tuning_attach(&service->tuning, NULL);
    sc_sp_hub_unlock(service->hub);
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
