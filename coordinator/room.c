#include "coordinator/room.h"

#include <inttypes.h>

#define MIB ((double)(UINT32_C(1) << 20))

/* What a shard is to get. */
struct load {
    double bytes, memory;
};

static struct load load_of(const struct sc_fleet *fleet, const struct sc_draft *draft,
                           uint32_t shard_id)
{
    struct load load = {0, 0};
    for (size_t i = 0; i < draft->pair_count; i++) {
        const struct sc_draft_pair *pair = &draft->pairs[i];
        if (pair->to == shard_id) {
            const struct sc_introduction_hello *from =
                sc_backend_hello(sc_fleet_backend(fleet, pair->from));
            double part =
                (double)pair->slots / sc_cluster_shard(&fleet->cluster, pair->from)->slots;
            load.bytes += part * (double)from->bytes;
            load.memory += part * (double)from->memory;
        }
    }
    return load;
}

static enum sc_status check_shard(const struct sc_introduction_hello *hello, uint32_t id,
                                  struct load load, char *why)
{
    double disk = (double)hello->disk_free;
    double memory =
        hello->memory_max > hello->memory ? (double)(hello->memory_max - hello->memory) : 0;
    /* An import wants a fifth more than what is live: it arrives twice in part. */
    bool told = hello->clock_ms > 0; /* an old shard does not say what it has */
    if (told && 1.2 * load.bytes > disk) {
        return sc_fail(why, SC_IO,
                       "shard %" PRIu32 " would get %.1f MiB and has %.1f MiB of disk left", id,
                       load.bytes / MIB, disk / MIB);
    }
    if (hello->memory_max > 0 && load.memory > memory) {
        return sc_fail(why, SC_BUSY,
                       "shard %" PRIu32 " would get keys that take %.1f MiB of memory, and may use "
                       "%.1f MiB more (--max-memory)",
                       id, load.memory / MIB, memory / MIB);
    }
    return SC_OK;
}

enum sc_status sc_room_check(const struct sc_fleet *fleet, const struct sc_draft *draft, char *why)
{
    enum sc_status status = SC_OK;
    for (size_t i = 0; i < fleet->backend_count && status == SC_OK; i++) {
        uint32_t id = sc_backend_shard_id(fleet->backends[i]);
        struct load load = load_of(fleet, draft, id);
        status = check_shard(sc_backend_hello(fleet->backends[i]), id, load, why);
    }
    return status;
}
