#include "shard/exporter.h"

#include "common/bytes.h"
#include "common/failpoint.h"
#include "shard/bitcask_impl.h"
#include "shard/exporter_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define MARK_SIZE 24u
#define SLICE_SLOTS 16u /* that get versions while the lock is held */

struct sc_exporter *sc_exporter_alloc(struct sc_bitcask *store, const struct sc_move_host *host)
{
    struct sc_exporter *exporter = sc_calloc(1, sizeof *exporter);
    exporter->store = store;
    exporter->host = *host;
    exporter->page_keys = SC_EXPORTER_PAGE_KEYS;
    exporter->page_log = SC_EXPORTER_PAGE_LOG;
    return exporter;
}

void sc_exporter_small_pages(struct sc_exporter *exporter, unsigned keys, uint64_t log_bytes)
{
    assert(keys > 0 && keys <= SC_EXPORTER_PAGE_KEYS && log_bytes > 0);
    exporter->page_keys = keys;
    exporter->page_log = log_bytes;
}

void sc_exporter_free(struct sc_exporter *exporter)
{
    if (exporter != NULL) {
        sc_buf_fini(&exporter->mark);
        free(exporter);
    }
}

void sc_exporter_page_fini(struct sc_exporter_page *page)
{
    sc_buf_fini(&page->cursor);
    sc_buf_fini(&page->frame);
}

bool sc_exporter_has(const struct sc_exporter *exporter, uint64_t move)
{
    uint64_t present;
    return exporter->begun && exporter->move == move &&
           sc_manifest_export(exporter->store->manifest, &present, NULL) && present == move;
}

/* ---- Beginning ---- */

/* The slots have versions, and those that left before have none. */
static void set_versions(struct sc_exporter *exporter, const uint8_t *before, const uint8_t *slots)
{
    struct sc_keydir *keydir = exporter->store->keydir;
    for (uint32_t first = 0; first < SC_SLOT_COUNT; first += SLICE_SLOTS) {
        sc_exporter_lock(exporter);
        for (uint32_t slot = first; slot < first + SLICE_SLOTS; slot++) {
            if (sc_bitcask_bit(slots, slot)) {
                sc_keydir_versions_begin(keydir, slot, false);
            } else if (sc_bitcask_bit(before, slot)) {
                sc_keydir_versions_end(keydir, slot);
            }
        }
        sc_exporter_unlock(exporter);
    }
}

static enum sc_status check_slots(const struct sc_exporter *exporter, const uint8_t *slots,
                                  char *why)
{
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (sc_bitcask_bit(slots, slot) && !sc_bitcask_owns(exporter->store, slot)) {
            return sc_fail(why, SC_DENIED, "slot %u is not here", slot);
        }
    }
    return SC_OK;
}

static enum sc_status make_mark(struct sc_exporter *exporter, struct sc_manifest_fence end,
                                char *why)
{
    uint8_t bytes[MARK_SIZE];
    sc_le64_put(bytes, end.file);
    sc_le64_put(bytes + 8, end.file == 0 ? 0 : end.offset + SC_RECORD_UNIT);
    if (getrandom(bytes + 16, 8, 0) != 8) {
        return sc_fail(why, SC_IO, "cannot get random bytes: %s", strerror(errno));
    }
    exporter->mark.size = 0;
    sc_buf_append(&exporter->mark, bytes, sizeof bytes);
    return SC_OK;
}

/* Merges are held. */
static enum sc_status begin_anew(struct sc_exporter *exporter, uint64_t move, const uint8_t *slots,
                                 char *why)
{
    struct sc_bitcask *store = exporter->store;
    struct sc_manifest_fence end;
    uint8_t before[SC_SLOT_COUNT / 8];
    sc_manifest_slots(store->manifest, SC_MANIFEST_LEAVING, before);
    /* First versions, then the mark: whatever is written behind the mark has one. */
    set_versions(exporter, before, slots);
    enum sc_status status = sc_fence_find(store, &exporter->host, &end, why);
    if (status == SC_OK) {
        status = make_mark(exporter, end, why);
    }
    if (status == SC_OK) {
        sc_failpoint("export_before_manifest");
        status = sc_manifest_export_begin(store->manifest, move, slots,
                                          sc_buf_slice(&exporter->mark), why);
    }
    if (status != SC_OK) {
        set_versions(exporter, slots, before);
        return status;
    }
    sc_failpoint("export_begun");
    sc_exporter_lock(exporter);
    sc_moving_update(store);
    sc_exporter_unlock(exporter);
    return SC_OK;
}

/* Whether the slots leave already, and the mark is right. Then it is taken over. */
static bool goes_on(struct sc_exporter *exporter, uint64_t move, const uint8_t *slots,
                    struct sc_slice mark)
{
    struct sc_manifest *manifest = exporter->store->manifest;
    uint8_t leaving[SC_SLOT_COUNT / 8];
    uint64_t present;
    exporter->mark.size = 0;
    sc_manifest_slots(manifest, SC_MANIFEST_LEAVING, leaving);
    return sc_manifest_export(manifest, &present, &exporter->mark) && present == move &&
           mark.size == MARK_SIZE && sc_slice_equal(sc_buf_slice(&exporter->mark), mark) &&
           memcmp(leaving, slots, sizeof leaving) == 0;
}

static void count(struct sc_exporter *exporter, uint64_t *keys, uint64_t *bytes)
{
    *keys = 0;
    *bytes = 0;
    sc_exporter_lock(exporter);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (sc_bitcask_bit(exporter->slots, slot)) {
            *keys += sc_keydir_slot_count(exporter->store->keydir, slot);
            *bytes += sc_keydir_slot_bytes(exporter->store->keydir, slot);
        }
    }
    sc_exporter_unlock(exporter);
}

static void unseal(struct sc_exporter *exporter)
{
    sc_exporter_lock(exporter);
    sc_moving_unseal(exporter->store);
    exporter->sealed = false;
    sc_exporter_unlock(exporter);
}

enum sc_status sc_exporter_begin(struct sc_exporter *exporter, uint64_t move,
                                 const uint8_t slots[SC_SLOT_COUNT / 8], struct sc_slice mark,
                                 struct sc_buf *new_mark, uint64_t *keys, uint64_t *bytes,
                                 char *why)
{
    struct sc_bitcask *store = exporter->store;
    unseal(exporter);
    exporter->begun = false;
    enum sc_status status = check_slots(exporter, slots, why);
    if (status == SC_OK && !goes_on(exporter, move, slots, mark)) {
        status = sc_fence_hold(store, &exporter->host, why);
        if (status == SC_OK) {
            status = begin_anew(exporter, move, slots, why);
            sc_fence_release(store, &exporter->host);
        }
    }
    if (status != SC_OK) {
        return status;
    }
    exporter->begun = true;
    exporter->move = move;
    memcpy(exporter->slots, slots, sizeof exporter->slots);
    exporter->start.file = sc_le64_get(exporter->mark.data);
    exporter->start.offset = sc_le64_get(exporter->mark.data + 8);
    sc_buf_append_slice(new_mark, sc_buf_slice(&exporter->mark));
    count(exporter, keys, bytes);
    return SC_OK;
}

/* ---- Sealing ---- */

static struct sc_keydir_sum sum_locked(const struct sc_exporter *exporter)
{
    struct sc_keydir_sum sum = {0};
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (sc_bitcask_bit(exporter->slots, slot)) {
            struct sc_keydir_sum here = sc_keydir_slot_sum(exporter->store->keydir, slot);
            sum.count += here.count;
            sum.digest += here.digest;
            sum.unknown += here.unknown;
        }
    }
    return sum;
}

static enum sc_status seal_locked(struct sc_exporter *exporter, char *why)
{
    struct sc_bitcask *store = exporter->store;
    struct sc_keydir_sum sum = sum_locked(exporter);
    if (sum.unknown > 0) {
        return sc_fail(why, SC_BUSY, "not all keys have been read yet");
    }
    uint64_t version = sc_clock_tick(&store->clock);
    sc_moving_seal(store, exporter->slots, version / 1000);
    exporter->seal = (struct sc_exporter_seal){sum.count, sum.digest, version};
    exporter->seal_end = sc_exporter_end_of_log(store);
    exporter->sealed = true;
    return SC_OK;
}

enum sc_status sc_exporter_seal(struct sc_exporter *exporter, struct sc_exporter_seal *seal,
                                char *why)
{
    assert(exporter->begun);
    enum sc_status status = SC_OK;
    sc_exporter_lock(exporter);
    if (exporter->sealed && !exporter->store->moving.sealed) {
        exporter->sealed = false; /* a new coordinator has come */
    }
    if (!exporter->sealed) {
        status = seal_locked(exporter, why);
    }
    sc_exporter_unlock(exporter);
    if (status != SC_OK) {
        return status;
    }
    sc_failpoint("export_sealed");
    if (!exporter->host.sync(exporter->host.arg)) {
        unseal(exporter);
        return sc_fail(why, SC_IO, "what was written could not be synced");
    }
    sc_failpoint("export_seal_synced");
    *seal = exporter->seal;
    return SC_OK;
}

/* ---- Ending ---- */

enum sc_status sc_exporter_end(struct sc_exporter *exporter, uint64_t move, char *why)
{
    static const uint8_t none[SC_SLOT_COUNT / 8];
    struct sc_manifest *manifest = exporter->store->manifest;
    uint8_t leaving[SC_SLOT_COUNT / 8];
    uint64_t present;
    if (!sc_manifest_export(manifest, &present, NULL) || present != move) {
        return SC_OK;
    }
    sc_manifest_slots(manifest, SC_MANIFEST_LEAVING, leaving);
    unseal(exporter);
    sc_failpoint("export_before_end");
    enum sc_status status = sc_manifest_export_end(manifest, why);
    if (status != SC_OK) {
        return status;
    }
    sc_failpoint("export_ended");
    exporter->begun = false;
    set_versions(exporter, leaving, none);
    sc_exporter_lock(exporter);
    sc_moving_update(exporter->store);
    sc_exporter_unlock(exporter);
    return SC_OK;
}
