#include "shard/moving.h"

#include "shard/bitcask_impl.h"
#include "shard/fence.h"

#include <assert.h>
#include <string.h>

#define SLICE_KEYS \
    4096u /* that slots have which are worked on while the lock is held; one at least */

/* ---- Merges ---- */

void sc_moving_hold(struct sc_bitcask *store)
{
    (void)atomic_fetch_add(&store->moving.held, 1);
}

void sc_moving_release(struct sc_bitcask *store)
{
    unsigned before = atomic_fetch_sub(&store->moving.held, 1);
    assert(before > 0);
    (void)before;
}

static void set_reason(struct sc_bitcask *store, bool *reason, bool holds)
{
    if (holds != *reason) {
        (holds ? sc_moving_hold : sc_moving_release)(store);
        *reason = holds;
    }
}

void sc_moving_update(struct sc_bitcask *store)
{
    uint64_t move;
    bool ready;
    struct sc_moving *moving = &store->moving;
    set_reason(store, &moving->importing,
               sc_manifest_import(store->manifest, &move, &ready, NULL, NULL));
    set_reason(store, &moving->exporting, sc_manifest_export(store->manifest, &move, NULL));
}

/* ---- Seals ---- */

void sc_moving_seal(struct sc_bitcask *store, const uint8_t slots[SC_SLOT_COUNT / 8],
                    uint64_t now_ms)
{
    struct sc_moving *moving = &store->moving;
    assert(!moving->sealed);
    memcpy(moving->seal, slots, sizeof moving->seal);
    moving->seal_ms = now_ms;
    moving->sealed = true;
}

void sc_moving_unseal(struct sc_bitcask *store)
{
    store->moving.sealed = false;
}

/* ---- Slots as a whole ---- */

static void drop_slot(struct sc_bitcask *store, uint32_t slot)
{
    sc_keydir_drop_slot(store->keydir, slot, sc_bitcask_forget, store);
    sc_keydir_versions_end(store->keydir, slot);
}

static void settle_slot(struct sc_bitcask *store, uint32_t slot)
{
    sc_keydir_versions_end(store->keydir, slot);
}

static void in_slices(struct sc_bitcask *store, const struct sc_move_host *host,
                      const uint8_t *slots, void (*work)(struct sc_bitcask *store, uint32_t slot))
{
    uint64_t keys = 0;
    host->lock(host->arg);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (!sc_bitcask_bit(slots, slot)) {
            continue;
        }
        uint64_t count = sc_keydir_slot_count(store->keydir, slot);
        if (keys > 0 && keys + count > SLICE_KEYS) {
            host->unlock(host->arg);
            host->lock(host->arg);
            keys = 0;
        }
        work(store, slot);
        keys += count + 1;
    }
    host->unlock(host->arg);
}

void sc_moving_drop(struct sc_bitcask *store, const struct sc_move_host *host,
                    const uint8_t slots[SC_SLOT_COUNT / 8])
{
    in_slices(store, host, slots, drop_slot);
}

void sc_moving_settle(struct sc_bitcask *store, const struct sc_move_host *host,
                      const uint8_t slots[SC_SLOT_COUNT / 8])
{
    in_slices(store, host, slots, settle_slot);
}
