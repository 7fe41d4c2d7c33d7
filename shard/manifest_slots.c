#include "shard/manifest_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- Identity and slots ---- */

void sc_manifest_identity(struct sc_manifest *manifest, struct sc_manifest_identity *identity)
{
    sc_manifest_lock(manifest);
    *identity = manifest->identity;
    sc_manifest_unlock(manifest);
}

static enum sc_status adopt_locked(struct sc_manifest *manifest, const uint8_t cluster[16],
                                   uint32_t shard_id, char *why)
{
    const struct sc_manifest_identity before = manifest->identity;
    if (before.adopted) {
        if (memcmp(before.cluster, cluster, 16) == 0 && before.shard_id == shard_id) {
            return SC_OK;
        }
        return sc_fail(
            why, SC_DENIED, "%s belongs to shard %" PRIu32 "%s: it cannot become shard %" PRIu32,
            manifest->dir->path, before.shard_id,
            memcmp(before.cluster, cluster, 16) == 0 ? "" : " of another cluster", shard_id);
    }
    if (manifest->file_count > 0) {
        return sc_fail(why, SC_DENIED, "%s holds data that belongs to no cluster",
                       manifest->dir->path);
    }
    memcpy(manifest->identity.cluster, cluster, 16);
    manifest->identity.shard_id = shard_id;
    manifest->identity.adopted = true;
    enum sc_status status = sc_manifest_save_locked(manifest, why);
    if (status != SC_OK) {
        manifest->identity = before;
        return SC_IO;
    }
    return SC_OK;
}

enum sc_status sc_manifest_adopt(struct sc_manifest *manifest, const uint8_t cluster[16],
                                 uint32_t shard_id, char *why)
{
    sc_manifest_lock(manifest);
    enum sc_status status = adopt_locked(manifest, cluster, shard_id, why);
    sc_manifest_unlock(manifest);
    return status;
}

/* Sets the states that a grant means; true when that changes anything. */
static bool apply_grant(struct sc_manifest_slot *slots, uint64_t epoch,
                        const uint8_t owned[SC_SLOT_COUNT / 8])
{
    bool changed = false;
    for (uint32_t s = 0; s < SC_SLOT_COUNT; s++) {
        bool owns = (owned[s / 8] >> (s % 8) & 1) != 0;
        bool owned_before = slots[s].state == SC_MANIFEST_OWNED;
        if (owns && !owned_before) {
            slots[s].state = SC_MANIFEST_OWNED;
            slots[s].epoch = epoch;
            changed = true;
        } else if (!owns && owned_before) {
            slots[s].state = SC_MANIFEST_NONE;
            slots[s].epoch = epoch;
            changed = true;
        }
    }
    return changed;
}

static enum sc_status grant_locked(struct sc_manifest *manifest, uint64_t term, uint64_t epoch,
                                   const uint8_t owned[SC_SLOT_COUNT / 8], char *why)
{
    const struct sc_manifest_identity before = manifest->identity;
    if (term < before.term) {
        return sc_fail(why, SC_DENIED,
                       "the coordinator's term %" PRIu64 " is over: %" PRIu64 " has begun", term,
                       before.term);
    }
    size_t size = SC_SLOT_COUNT * sizeof *manifest->slots;
    struct sc_manifest_slot *slots_before = sc_alloc(size);
    memcpy(slots_before, manifest->slots, size);
    bool changed = apply_grant(manifest->slots, epoch, owned);
    manifest->identity.term = term;
    manifest->identity.epoch = epoch;
    enum sc_status status = SC_OK;
    if (changed || term != before.term || epoch != before.epoch) {
        status = sc_manifest_save_locked(manifest, why);
    }
    if (status != SC_OK) {
        manifest->identity = before;
        memcpy(manifest->slots, slots_before, size);
    }
    free(slots_before);
    return status == SC_OK ? SC_OK : SC_IO;
}

enum sc_status sc_manifest_grant(struct sc_manifest *manifest, uint64_t term, uint64_t epoch,
                                 const uint8_t owned[SC_SLOT_COUNT / 8], char *why)
{
    sc_manifest_lock(manifest);
    enum sc_status status = grant_locked(manifest, term, epoch, owned, why);
    sc_manifest_unlock(manifest);
    return status;
}

void sc_manifest_slot(struct sc_manifest *manifest, uint32_t slot, struct sc_manifest_slot *state)
{
    assert(slot < SC_SLOT_COUNT);
    sc_manifest_lock(manifest);
    *state = manifest->slots[slot];
    sc_manifest_unlock(manifest);
}

bool sc_manifest_has_fences(struct sc_manifest *manifest)
{
    bool any = false;
    sc_manifest_lock(manifest);
    for (uint32_t s = 0; s < SC_SLOT_COUNT && !any; s++) {
        any = manifest->slots[s].fence_file != 0;
    }
    sc_manifest_unlock(manifest);
    return any;
}
