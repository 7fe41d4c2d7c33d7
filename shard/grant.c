#include "shard/grant.h"

#include "common/failpoint.h"
#include "shard/bitcask_impl.h"

/* What a grant changes: slots that go, and slots that have arrived. */
struct change {
    uint8_t lost[SC_SLOT_COUNT / 8];
    uint8_t arrived[SC_SLOT_COUNT / 8];
};

static void find_change(struct sc_manifest *manifest, const uint8_t *owned, struct change *change)
{
    uint8_t leaving[SC_SLOT_COUNT / 8];
    sc_manifest_slots(manifest, SC_MANIFEST_OWNED, change->lost);
    sc_manifest_slots(manifest, SC_MANIFEST_LEAVING, leaving);
    sc_manifest_slots(manifest, SC_MANIFEST_IMPORTING, change->arrived);
    for (size_t i = 0; i < SC_SLOT_COUNT / 8; i++) {
        change->lost[i] = (uint8_t)((change->lost[i] | leaving[i]) & ~owned[i]);
        change->arrived[i] = change->arrived[i] & owned[i];
    }
}

static enum sc_status grant(struct sc_bitcask *store, const struct sc_move_host *host,
                            uint64_t term, uint64_t epoch, const uint8_t *owned, bool loses,
                            char *why)
{
    struct sc_manifest_identity before;
    struct sc_manifest_fence fence = {0};
    struct change change;
    enum sc_status status = loses ? sc_fence_find(store, host, &fence, why) : SC_OK;
    if (status != SC_OK) {
        return status;
    }
    sc_manifest_identity(store->manifest, &before);
    find_change(store->manifest, owned, &change);
    sc_failpoint("grant_before_manifest");
    status = sc_manifest_grant(store->manifest, term, epoch, owned, fence, why);
    if (status != SC_OK) {
        return status;
    }
    sc_failpoint("grant_after_manifest");
    sc_moving_drop(store, host, change.lost);
    sc_moving_settle(store, host, change.arrived);
    host->lock(host->arg);
    sc_moving_update(store);
    if (!store->moving.exporting || term > before.term) {
        sc_moving_unseal(store); /* a new coordinator does not know what the old one has sealed */
    }
    host->unlock(host->arg);
    return SC_OK;
}

enum sc_status sc_grant_run(struct sc_bitcask *store, const struct sc_move_host *host,
                            uint64_t term, uint64_t epoch, const uint8_t owned[SC_SLOT_COUNT / 8],
                            char *why)
{
    enum sc_status status = sc_manifest_check_grant(store->manifest, term, owned, why);
    if (status != SC_OK || !sc_manifest_would_lose(store->manifest, owned)) {
        return status == SC_OK ? grant(store, host, term, epoch, owned, false, why) : status;
    }
    status = sc_fence_hold(store, host, why);
    if (status == SC_OK) {
        status = grant(store, host, term, epoch, owned, true, why);
        sc_fence_release(store, host);
    }
    return status;
}
