#include "coordinator/fleet.h"

#include "common/log.h"
#include "coordinator/joining.h"
#include "coordinator/maplog.h"
#include "coordinator/rebalancer.h"
#include "coordinator/strays.h"
#include "coordinator/turns.h"
#include "coordinator/wish.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- Changes of the map ---- */

static void on_adopted(void *arg, struct sc_backend *backend)
{
    struct sc_change change = {.kind = SC_CHANGE_ADOPTED, .shard_id = sc_backend_shard_id(backend)};
    sc_fleet_record(arg, &change, NULL, NULL);
}

static bool may_grant(void *arg, const struct sc_backend *backend)
{
    const struct sc_fleet *fleet = arg;
    return fleet->rebalancer == NULL || sc_rebalancer_may_grant(fleet->rebalancer, backend);
}

static void on_change(void *arg, struct sc_backend *backend)
{
    const struct sc_fleet *fleet = arg;
    if (fleet->rebalancer != NULL && !fleet->closing) {
        sc_strays_on_change(fleet->strays, backend);
        sc_rebalancer_on_change(fleet->rebalancer, backend);
    }
}

/* A read whose slot has been handed over since it was sent. */
static void on_bounce(void *arg, struct sc_backend *from, const struct sc_target *target,
                      struct sc_slice request)
{
    struct sc_fleet *fleet = arg;
    struct sc_backend *owner = fleet->of_slot[target->slot];
    if (owner == NULL || owner == from) {
        sc_target_answer_status(target, SC_UNAVAILABLE,
                                "the shard has not been told yet that this slot is its own");
        return;
    }
    struct sc_lanes *lanes = sc_backend_lanes(owner);
    struct sc_buf *out = sc_lanes_submit_begin(lanes, SC_LANE_READS, target);
    if (out != NULL) {
        sc_buf_append_slice(out, request);
        sc_lanes_submit_end(lanes, SC_LANE_READS, target);
    }
}

static size_t index_of(const struct sc_fleet *fleet, uint32_t shard_id)
{
    size_t at = 0;
    while (at < fleet->backend_count && sc_backend_shard_id(fleet->backends[at]) != shard_id) {
        at++;
    }
    return at;
}

static void map_slots(struct sc_fleet *fleet)
{
    uint32_t last = 0;
    for (uint32_t first = 0; first < SC_SLOT_COUNT; first = last + 1) {
        struct sc_backend *backend = sc_fleet_backend(fleet, fleet->cluster.owner[first]);
        last = sc_cluster_stretch_end(&fleet->cluster, first);
        for (uint32_t slot = first; slot <= last; slot++) {
            fleet->of_slot[slot] = backend;
        }
    }
}

static enum sc_status open_backend(struct sc_fleet *fleet, const struct sc_cluster_shard *shard,
                                   char *why)
{
    struct sc_backend *backend = NULL;
    enum sc_status status = sc_backend_open(&fleet->shared, shard->id, shard->url, &backend, why);
    if (status != SC_OK) {
        return status;
    }
    size_t count = fleet->backend_count + 1;
    fleet->backends = sc_realloc(fleet->backends, count * sizeof(struct sc_backend *));
    fleet->backends[fleet->backend_count++] = backend;
    sc_turns_add(fleet->turns);
    return SC_OK;
}

static void close_backend(struct sc_fleet *fleet, size_t index)
{
    struct sc_backend *backend = fleet->backends[index];
    memmove(&fleet->backends[index], &fleet->backends[index + 1],
            (fleet->backend_count - index - 1) * sizeof(struct sc_backend *));
    fleet->backend_count--;
    sc_backend_close(backend);
    sc_turns_remove(fleet->turns, index);
}

/* A change is durable: the map follows. */
static void apply(void *arg, const struct sc_change *change)
{
    struct sc_fleet *fleet = arg;
    size_t index = index_of(fleet, change->shard_id);
    char why[SC_WHY_SIZE];
    bool applied = sc_change_apply(change, &fleet->cluster);
    assert(applied); /* the log has the same map */
    if (fleet->closing) {
        return;
    }
    switch (change->kind) {
    case SC_CHANGE_ADOPTED:
        sc_backend_adopted(fleet->backends[index]);
        break;
    case SC_CHANGE_SHARD_ADDED:
        if (open_backend(fleet, sc_cluster_shard(&fleet->cluster, change->shard_id), why) !=
            SC_OK) {
            sc_log_error("%s", why);
            abort(); /* the address was good enough to be asked who is there */
        }
        break;
    case SC_CHANGE_SHARD_REMOVED:
        close_backend(fleet, index);
        break;
    case SC_CHANGE_MOVED:
        map_slots(fleet);
        break;
    case SC_CHANGE_ENDED:
        /* Both ends know; the others are told where to send clients that ask them. */
        for (size_t i = 0; i < fleet->backend_count; i++) {
            sc_backend_grant(fleet->backends[i]);
        }
        break;
    default:
        break;
    }
    if (fleet->rebalancer != NULL) {
        sc_rebalancer_on_map(fleet->rebalancer, change);
    }
}

void sc_fleet_record(struct sc_fleet *fleet, const struct sc_change *change,
                     sc_steward_done_fn *done, void *arg)
{
    sc_steward_put(fleet->steward, change, done, arg);
}

/* ---- Opening and closing ---- */

/* Reads the map, or makes it at the first start; raises the term. */
static enum sc_status open_map(struct sc_fleet *fleet, const struct sc_fleet_options *options,
                               char *why)
{
    enum sc_status status = sc_maplog_open(options->dir, &fleet->cluster, &fleet->log, why);
    if (status != SC_OK) {
        return status;
    }
    if (fleet->cluster.shard_count == 0) {
        status = sc_cluster_create(&fleet->cluster, options->shard_urls, options->shard_count, why);
        if (status == SC_OK) {
            status = sc_maplog_put_map(fleet->log, &fleet->cluster, why);
        }
    } else {
        for (size_t i = 0; i < options->shard_count; i++) {
            const char *url = options->shard_urls[i];
            sc_log_warn("--shard %s is ignored: the map in %s %s", url, options->dir,
                        sc_cluster_shard_at(&fleet->cluster, url) != NULL ? "has it already"
                                                                          : "decides");
        }
    }
    if (status == SC_OK) {
        struct sc_change change = {.kind = SC_CHANGE_TERM, .term = fleet->cluster.term + 1};
        status = sc_maplog_append(fleet->log, &change, why);
        (void)sc_change_apply(&change, &fleet->cluster);
    }
    return status;
}

static enum sc_status open_backends(struct sc_fleet *fleet, char *why)
{
    enum sc_status status = SC_OK;
    sc_sp_hub_lock(fleet->hub);
    for (size_t i = 0; i < fleet->cluster.shard_count && status == SC_OK; i++) {
        status = open_backend(fleet, &fleet->cluster.shards[i], why);
    }
    map_slots(fleet);
    if (status == SC_OK) {
        fleet->joining = sc_joining_alloc(fleet);
        fleet->strays = sc_strays_alloc(fleet);
        fleet->rebalancer = sc_rebalancer_alloc(fleet);
    }
    sc_sp_hub_unlock(fleet->hub);
    return status;
}

enum sc_status sc_fleet_open(struct sc_fleet *fleet, struct sc_sp_hub *hub,
                             const struct sc_fleet_options *options, char *why)
{
    fleet->hub = hub;
    fleet->message_max = options->message_max;
    fleet->config = sc_config_defaults();
    fleet->config.values[SC_CONFIG_merges_at_once] = options->merges_at_once;
    fleet->turns = sc_turns_alloc();
    enum sc_status status = open_map(fleet, options, why);
    if (status == SC_OK) {
        status = sc_steward_start(hub, fleet->log, apply, fleet, &fleet->steward, why);
    }
    if (status == SC_OK) {
        fleet->shared = (struct sc_backend_shared){.hub = hub,
                                                   .cluster = &fleet->cluster,
                                                   .timeout_ms = options->timeout_ms,
                                                   .message_max = options->message_max,
                                                   .config = &fleet->config,
                                                   .on_adopted = on_adopted,
                                                   .may_grant = may_grant,
                                                   .on_change = on_change,
                                                   .on_bounce = on_bounce,
                                                   .arg = fleet};
        status = open_backends(fleet, why);
    }
    if (status != SC_OK) {
        sc_fleet_close(fleet);
    }
    return status;
}

void sc_fleet_close(struct sc_fleet *fleet)
{
    struct sc_rebalancer *rebalancer = fleet->rebalancer;
    if (fleet->hub != NULL) {
        sc_sp_hub_lock(fleet->hub);
        fleet->closing = true;
        sc_scanner_stop(fleet);
        memset(fleet->of_slot, 0, sizeof fleet->of_slot);
        while (fleet->backend_count > 0) {
            sc_backend_close(fleet->backends[--fleet->backend_count]);
        }
        sc_joining_stop(fleet->joining);
        fleet->rebalancer = NULL;
        sc_sp_hub_unlock(fleet->hub);
    }
    sc_steward_stop(fleet->steward); /* after the backends, which call it */
    sc_wish_forget_all(fleet);
    sc_rebalancer_free(rebalancer);
    sc_strays_free(fleet->strays);
    sc_joining_free(fleet->joining);
    sc_turns_free(fleet->turns);
    free(fleet->backends);
    fleet->joining = NULL;
    fleet->strays = NULL;
    sc_maplog_close(fleet->log);
    sc_cluster_fini(&fleet->cluster);
    fleet->steward = NULL;
    fleet->turns = NULL;
    fleet->backends = NULL;
    fleet->log = NULL;
}

void sc_fleet_flush(struct sc_fleet *fleet)
{
    if (fleet->rebalancer != NULL && fleet->backend_count > 0) {
        sc_rebalancer_poke(fleet->rebalancer);
    }
    for (size_t i = 0; i < fleet->backend_count; i++) {
        sc_lanes_flush(sc_backend_lanes(fleet->backends[i]));
    }
    sc_scanner_flush(fleet);
}

void sc_fleet_tick(struct sc_fleet *fleet)
{
    if (fleet->backend_count == 0) {
        return; /* not open yet, or no longer */
    }
    for (size_t i = 0; i < fleet->backend_count; i++) {
        sc_backend_tick(fleet->backends[i]);
    }
    sc_turns_tick(fleet->turns, &fleet->cluster, fleet->backends,
                  fleet->config.values[SC_CONFIG_merges_at_once]);
    if (fleet->rebalancer != NULL) {
        sc_joining_tick(fleet->joining);
        sc_strays_tick(fleet->strays);
        sc_rebalancer_tick(fleet->rebalancer);
    }
}

void sc_fleet_timer(struct sc_fleet *fleet)
{
    if (fleet->rebalancer != NULL && fleet->backend_count > 0) {
        sc_rebalancer_poke(fleet->rebalancer);
    }
}

struct sc_backend *sc_fleet_backend(const struct sc_fleet *fleet, uint32_t shard_id)
{
    size_t index = index_of(fleet, shard_id);
    return index < fleet->backend_count ? fleet->backends[index] : NULL;
}

const char *sc_fleet_state(const struct sc_fleet *fleet, size_t index)
{
    static const char *const names[] = {
        [SC_CLUSTER_UP] = "up", [SC_CLUSTER_JOINING] = "joining", [SC_CLUSTER_LEAVING] = "leaving"};
    return sc_backend_up(fleet->backends[index]) ? names[fleet->cluster.shards[index].state]
                                                 : "down";
}

struct sc_backend *sc_fleet_first_down(const struct sc_fleet *fleet)
{
    for (size_t i = 0; i < fleet->backend_count; i++) {
        if (fleet->cluster.shards[i].slots > 0 && !sc_backend_up(fleet->backends[i])) {
            return fleet->backends[i];
        }
    }
    return NULL;
}

uint64_t sc_fleet_copy_id(struct sc_fleet *fleet)
{
    /* No two coordinators have the same term. */
    return fleet->cluster.term << 32 | ++fleet->copies;
}

uint64_t sc_fleet_outstanding(const struct sc_fleet *fleet)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < fleet->backend_count; i++) {
        sum += sc_backend_lanes(fleet->backends[i])->outstanding;
    }
    return sum;
}
