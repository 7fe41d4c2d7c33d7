#include "coordinator/roster.h"

#include "common/log.h"
#include "coordinator/rebalancer.h"
#include "coordinator/room.h"
#include "coordinator/wish.h"

#include <inttypes.h>
#include <stdlib.h>

static enum sc_status check(const struct sc_fleet *fleet, const struct sc_change *change, char *why)
{
    struct sc_draft *draft = sc_alloc(sizeof *draft);
    enum sc_status status = SC_OK;
    if (!sc_draft_make(draft, &fleet->cluster, change)) {
        status =
            sc_fail(why, SC_BADREQUEST,
                    "shard %" PRIu32 " is the last one that stays: its keys have nowhere to go",
                    change->shard_id);
    } else {
        char lack[SC_WHY_SIZE];
        status = sc_room_check(fleet, draft, lack);
        if (status != SC_OK) {
            sc_why(why, "the others have no room for what shard %" PRIu32 " would give: %.300s",
                   change->shard_id, lack);
        }
        sc_draft_fini(draft);
    }
    free(draft);
    return status;
}

/* What the request asks for; SC_NOTFOUND. */
static enum sc_status read_change(const struct sc_fleet *fleet,
                                  const struct sc_msg_request *request, struct sc_change *change,
                                  char *why)
{
    *change = (struct sc_change){.kind = request->op == SC_OP_SHARD_REMOVE ? SC_CHANGE_SHARD_STATE
                                                                           : SC_CHANGE_SHARD_WEIGHT,
                                 .shard_id = (uint32_t)request->shard_id,
                                 .state = SC_CLUSTER_LEAVING,
                                 .weight = request->weight};
    if (request->shard_id > UINT32_MAX ||
        sc_cluster_shard(&fleet->cluster, change->shard_id) == NULL) {
        return sc_fail(why, SC_NOTFOUND, "there is no shard %" PRIu64, request->shard_id);
    }
    return SC_OK;
}

static void record(struct sc_fleet *fleet, const struct sc_change *change,
                   const struct sc_sp_origin *origin)
{
    /* Also when it is on: that it is to be off may be on its way to the log. */
    const struct sc_change balance = {
        .kind = SC_CHANGE_STEERING, .steering = {.balancing = true}, .parts = SC_CHANGE_BALANCING};
    sc_fleet_record(fleet, &balance, NULL, NULL);
    if (change->kind == SC_CHANGE_SHARD_STATE) {
        sc_log_info("shard %" PRIu32 " is to leave the fleet", change->shard_id);
    } else {
        sc_log_info("shard %" PRIu32 " has weight %" PRIu32, change->shard_id, change->weight);
    }
    sc_wish_record(fleet, change, origin, NULL, NULL);
}

void sc_roster_change(struct sc_fleet *fleet, const struct sc_msg_request *request,
                      const struct sc_sp_origin *origin)
{
    char why[SC_WHY_SIZE] = "";
    struct sc_change change;
    enum sc_status status = read_change(fleet, request, &change, why);
    if (status == SC_OK) {
        status = check(fleet, &change, why);
    }
    if (status != SC_OK) {
        sc_wish_answer(origin, status, why);
    } else if (request->dry_run) {
        sc_rebalancer_preview(fleet->rebalancer, &change, origin);
    } else {
        record(fleet, &change, origin);
    }
}
