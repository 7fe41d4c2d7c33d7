/*
 * Fleet: the coordinator's picture of its shards: the cluster map, its log, and a backend for each
 * shard. A thread of its own, the steward, does what must be durable, so that no callback waits for
 * the disk.
 */
#ifndef SC_COORDINATOR_FLEET_H
#define SC_COORDINATOR_FLEET_H

#include "common/config.h"
#include "coordinator/backend.h"
#include "coordinator/scanner.h"
#include "coordinator/steward.h"

#include <sys/queue.h>

struct sc_rebalancer;
struct sc_joining;
struct sc_strays;
struct sc_wish;

/* Readable: hub, cluster, message_max, backends, config. Guarded by the hub's lock once open. */
struct sc_fleet {
    struct sc_sp_hub *hub;
    size_t message_max;
    struct sc_cluster cluster;
    struct sc_backend **backends; /* in the order of cluster.shards */
    size_t backend_count;
    struct sc_backend *of_slot[SC_SLOT_COUNT];
    struct sc_config config; /* in force; `given`: what was changed while running */

    /* private */
    struct sc_backend_shared shared;
    struct sc_maplog *log;
    struct sc_steward *steward;
    struct sc_turns *turns;
    struct sc_scanner scanner;
    struct sc_rebalancer *rebalancer;
    struct sc_joining *joining;
    struct sc_strays *strays;
    LIST_HEAD(, sc_wish) wishes;
    uint32_t sweeping; /* requests to all shards under way that must see every slot just once */
    uint32_t copies; /* snapshots and backups that were begun */
    bool closing;
};

struct sc_fleet_options {
    const char *dir;
    const char *const *shard_urls; /* for the first start only */
    size_t shard_count;
    uint32_t timeout_ms;
    size_t message_max;
    uint64_t merges_at_once;
};

/* Opens the map log, makes the cluster at the first start, and begins to connect to the shards.
 * Lock not held. On failure nothing is left behind but the directory. SC_BADREQUEST: the flags are
 * wrong. */
enum sc_status sc_fleet_open(struct sc_fleet *fleet, struct sc_sp_hub *hub,
                             const struct sc_fleet_options *options, char *why);

/* Lock not held. A fleet that is all zero, or closed, is allowed. */
void sc_fleet_close(struct sc_fleet *fleet);

/* Sends what waits in all backends. Lock held. */
void sc_fleet_flush(struct sc_fleet *fleet);

/* From the hub's tick and timer. Lock held. */
void sc_fleet_tick(struct sc_fleet *fleet);
void sc_fleet_timer(struct sc_fleet *fleet);

/* Has a change of the map recorded, behind those that wait. When it is durable the map changes, a
 * backend is opened for a shard that was added or closed for one that was removed, and then `done`
 * (or NULL) is told: a number that was given out to the change is the map's latest. Lock held. */
void sc_fleet_record(struct sc_fleet *fleet, const struct sc_change *change,
                     sc_steward_done_fn *done, void *arg);

/* The backend of a shard; NULL: there is no such shard. Lock held. */
struct sc_backend *sc_fleet_backend(const struct sc_fleet *fleet, uint32_t shard_id);

/* The state of the shard at `index`, as clients are told: "up", "down", "joining" or "leaving". */
const char *sc_fleet_state(const struct sc_fleet *fleet, size_t index);

/* The first backend that owns slots and is not up; NULL when there is none. Lock held. */
struct sc_backend *sc_fleet_first_down(const struct sc_fleet *fleet);

/* The id of a new snapshot or backup, never used again. Lock held. */
uint64_t sc_fleet_copy_id(struct sc_fleet *fleet);

/* Requests that shards have not answered yet. Lock held. */
uint64_t sc_fleet_outstanding(const struct sc_fleet *fleet);

#endif
