#include "coordinator/roster.h"

#include "common/log.h"
#include "coordinator/wish.h"

#include <inttypes.h>

static enum sc_status check_remove(const struct sc_fleet *fleet, uint64_t shard_id, char *why)
{
    const struct sc_cluster *cluster = &fleet->cluster;
    const struct sc_cluster_shard *shard =
        shard_id <= UINT32_MAX ? sc_cluster_shard(cluster, (uint32_t)shard_id) : NULL;
    if (shard == NULL) {
        return sc_fail(why, SC_NOTFOUND, "there is no shard %" PRIu64, shard_id);
    }
    uint64_t disk = 0;
    uint64_t memory = 0;
    bool limited = true;
    size_t others = 0;
    for (size_t i = 0; i < cluster->shard_count; i++) {
        const struct sc_backend *backend = fleet->backends[i];
        if (cluster->shards[i].id == shard->id || cluster->shards[i].state == SC_CLUSTER_LEAVING) {
            continue;
        }
        const struct sc_introduction_hello *hello = sc_backend_hello(backend);
        others++;
        disk += hello->disk_free;
        limited = limited && hello->memory_max > 0;
        memory += hello->memory_max > hello->memory ? hello->memory_max - hello->memory : 0;
    }
    const struct sc_introduction_hello *own = sc_backend_hello(sc_fleet_backend(fleet, shard->id));
    if (others == 0) {
        return sc_fail(why, SC_BADREQUEST, "shard %" PRIu64 " is the last one", shard_id);
    }
    if (disk > 0 && own->bytes + own->bytes / 5 > disk) {
        return sc_fail(why, SC_IO,
                       "the other shards have %" PRIu64 " MiB of disk left, and shard %" PRIu64
                       " has %" PRIu64 " MiB",
                       disk >> 20, shard_id, own->bytes >> 20);
    }
    if (limited && own->memory > memory) {
        return sc_fail(why, SC_BUSY,
                       "the other shards may use %" PRIu64
                       " MiB of memory more (--max-memory), and "
                       "the keys of shard %" PRIu64 " take %" PRIu64 " MiB",
                       memory >> 20, shard_id, own->memory >> 20);
    }
    return SC_OK;
}

void sc_roster_remove(struct sc_fleet *fleet, uint64_t shard_id, const struct sc_sp_origin *origin)
{
    char why[SC_WHY_SIZE] = "";
    enum sc_status status = check_remove(fleet, shard_id, why);
    if (status != SC_OK) {
        sc_wish_answer(origin, status, why);
        return;
    }
    if (!fleet->cluster.steering.balancing) {
        struct sc_change balance = {.kind = SC_CHANGE_STEERING,
                                    .steering = fleet->cluster.steering};
        balance.steering.balancing = true;
        sc_fleet_record(fleet, &balance, NULL, NULL);
    }
    struct sc_change change = {
        .kind = SC_CHANGE_SHARD_STATE, .shard_id = (uint32_t)shard_id, .state = SC_CLUSTER_LEAVING};
    sc_log_info("shard %" PRIu64 " is to leave the fleet", shard_id);
    sc_wish_record(fleet, &change, origin, NULL, NULL);
}
