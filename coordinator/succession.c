#include "coordinator/succession.h"

#include "common/clock.h"
#include "common/failpoint.h"

static bool is_granted(const struct sc_succession *succession, uint32_t shard_id)
{
    const struct sc_backend *backend = sc_fleet_backend(succession->fleet, shard_id);
    const struct sc_cluster_batch *batch =
        sc_cluster_batch(&succession->fleet->cluster, succession->move);
    return backend != NULL && batch != NULL && batch->epoch != 0 &&
           sc_backend_epoch(backend) >= batch->epoch;
}

void sc_succession_begin(struct sc_succession *succession, struct sc_fleet *fleet,
                         const struct sc_cluster_batch *batch, uint64_t lease_over_ms)
{
    *succession = (struct sc_succession){.fleet = fleet,
                                         .move = batch->move,
                                         .from = batch->from,
                                         .to = batch->to,
                                         .lease_over_ms = lease_over_ms};
    sc_sp_hub_set_timer(fleet->hub, lease_over_ms + 1);
}

static void fence(struct sc_succession *succession)
{
    bool over = sc_clock_mono_ms() > succession->lease_over_ms;
    if (over || is_granted(succession, succession->from)) {
        sc_failpoint("move_fenced");
        succession->stage = SC_SUCCESSION_ACTIVATE;
        sc_backend_grant(sc_fleet_backend(succession->fleet, succession->to));
    }
}

void sc_succession_advance(struct sc_succession *succession)
{
    if (succession->stage == SC_SUCCESSION_FENCE) {
        fence(succession);
    }
    if (succession->stage == SC_SUCCESSION_ACTIVATE && is_granted(succession, succession->to)) {
        sc_failpoint("move_activated");
        succession->stage = SC_SUCCESSION_DONE;
    }
}

bool sc_succession_may_grant(const struct sc_succession *succession,
                             const struct sc_backend *backend)
{
    return sc_backend_shard_id(backend) != succession->to ||
           succession->stage != SC_SUCCESSION_FENCE;
}
