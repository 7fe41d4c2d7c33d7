#include "coordinator/fleet.h"

#include "common/log.h"
#include "coordinator/steward.h"
#include "coordinator/turns.h"

#include <inttypes.h>
#include <stdlib.h>

static void on_adopted(void *arg, struct sc_backend *backend)
{
    struct sc_fleet *fleet = arg;
    sc_steward_put_adopted(fleet->steward, sc_backend_shard_id(backend));
}

static void on_logged(void *arg, uint32_t shard_id)
{
    struct sc_fleet *fleet = arg;
    struct sc_cluster_shard *shard = sc_cluster_shard(&fleet->cluster, shard_id);
    if (shard != NULL) {
        shard->adopted = true;
    }
    for (size_t i = 0; i < fleet->backend_count; i++) {
        if (sc_backend_shard_id(fleet->backends[i]) == shard_id) {
            sc_backend_adopted(fleet->backends[i]);
        }
    }
}

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
        fleet->cluster.term++;
        status = sc_maplog_put_term(fleet->log, fleet->cluster.term, why);
    }
    return status;
}

static void map_slots(struct sc_fleet *fleet)
{
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        for (size_t i = 0; i < fleet->backend_count; i++) {
            if (sc_backend_shard_id(fleet->backends[i]) == fleet->cluster.owner[slot]) {
                fleet->of_slot[slot] = fleet->backends[i];
            }
        }
    }
}

static enum sc_status open_backends(struct sc_fleet *fleet, char *why)
{
    size_t count = fleet->cluster.shard_count;
    enum sc_status status = SC_OK;
    fleet->backends = sc_calloc(count, sizeof(struct sc_backend *));
    for (size_t i = 0; i < count && status == SC_OK; i++) {
        const struct sc_cluster_shard *shard = &fleet->cluster.shards[i];
        struct sc_backend *backend = NULL;
        status = sc_backend_open(&fleet->shared, shard->id, shard->url, &backend, why);
        if (status == SC_OK) {
            sc_sp_hub_lock(fleet->hub);
            fleet->backends[fleet->backend_count++] = backend;
            sc_sp_hub_unlock(fleet->hub);
        }
    }
    sc_sp_hub_lock(fleet->hub);
    map_slots(fleet);
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
        status = sc_steward_start(hub, fleet->log, on_logged, fleet, &fleet->steward, why);
    }
    if (status == SC_OK) {
        fleet->shared = (struct sc_backend_shared){.hub = hub,
                                                   .cluster = &fleet->cluster,
                                                   .timeout_ms = options->timeout_ms,
                                                   .message_max = options->message_max,
                                                   .config = &fleet->config,
                                                   .on_adopted = on_adopted,
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
    if (fleet->hub != NULL) {
        sc_sp_hub_lock(fleet->hub);
        sc_scanner_stop(fleet);
        memset(fleet->of_slot, 0, sizeof fleet->of_slot);
        while (fleet->backend_count > 0) {
            sc_backend_close(fleet->backends[--fleet->backend_count]);
        }
        sc_sp_hub_unlock(fleet->hub);
    }
    sc_steward_stop(fleet->steward); /* after the backends, which call it */
    sc_turns_free(fleet->turns);
    free(fleet->backends);
    sc_maplog_close(fleet->log);
    sc_cluster_fini(&fleet->cluster);
    fleet->steward = NULL;
    fleet->turns = NULL;
    fleet->backends = NULL;
    fleet->log = NULL;
}

void sc_fleet_flush(struct sc_fleet *fleet)
{
    for (size_t i = 0; i < fleet->backend_count; i++) {
        sc_backend_flush(fleet->backends[i]);
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
    sc_turns_tick(fleet->turns, fleet->backends, fleet->backend_count,
                  fleet->config.values[SC_CONFIG_merges_at_once]);
}

struct sc_backend *sc_fleet_first_down(const struct sc_fleet *fleet)
{
    for (size_t i = 0; i < fleet->backend_count; i++) {
        if (!sc_backend_up(fleet->backends[i])) {
            return fleet->backends[i];
        }
    }
    return NULL;
}

uint64_t sc_fleet_outstanding(const struct sc_fleet *fleet)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < fleet->backend_count; i++) {
        sum += sc_backend_outstanding(fleet->backends[i]);
    }
    return sum;
}
