#include "shard/merge_impl.h"

#include "common/failpoint.h"
#include "common/log.h"
#include "shard/hint.h"
#include "shard/quarantine.h"

#include <inttypes.h>
#include <stdlib.h>

#define MOVE_BYTES 44u /* that moving a key counts for, like reading an entry of a hint */

/* ---- Taking effect ---- */

/* Enters the outputs into the store's table, and makes sure that nothing alive was overlooked. */
static enum sc_status enlist_locked(struct sc_merge *merge, char *why)
{
    for (size_t i = 0; i < merge->choice.count; i++) {
        struct sc_segment *input = merge->choice.inputs[i];
        if (input->live_bytes > merge->copied[i]) {
            input->damaged = true;
            return sc_fail(why, SC_CORRUPT,
                           "file %" PRIu64 " in %s has %" PRIu64
                           " bytes in use that were not found in it: it stays and is not merged",
                           input->number, merge->store->files.path,
                           input->live_bytes - merge->copied[i]);
        }
    }
    for (size_t i = 0; i < merge->output_count; i++) {
        struct sc_merge_output *output = &merge->outputs[i];
        output->segment->retired = true; /* no part of the store yet */
        output->enlisted = sc_bitcask_enlist(merge->store, output->segment);
        if (!output->enlisted) {
            return sc_fail(why, SC_IO, "%s has as many data files as a store can have",
                           merge->store->files.path);
        }
    }
    merge->figures.output_bytes = 0;
    return SC_OK;
}

/* Replaces the manifest. */
static enum sc_status swap(struct sc_merge *merge, char *why)
{
    struct sc_manifest_file *outs = sc_calloc(merge->output_count + 1, sizeof *outs);
    uint64_t ins[SC_MERGE_CHOOSE_MAX];
    for (size_t i = 0; i < merge->output_count; i++) {
        const struct sc_segment *segment = merge->outputs[i].segment;
        outs[i] = (struct sc_manifest_file){segment->number, segment->salt, segment->size,
                                            segment->clean};
    }
    for (size_t i = 0; i < merge->choice.count; i++) {
        ins[i] = merge->choice.inputs[i]->number;
    }
    sc_failpoint("merge_before_manifest");
    enum sc_status status = sc_manifest_swap(merge->store->manifest, outs, merge->output_count, ins,
                                             merge->choice.count, why);
    sc_failpoint("merge_after_manifest");
    free(outs);
    if (status == SC_UNKNOWN) {
        sc_log_warn("%s: what was merged stays on disk until the next start", why);
        merge->kept = true;
        return SC_OK;
    }
    return status;
}

/* The files that are going to be replaced get another name, which they keep. */
static enum sc_status keep_inputs(const struct sc_merge *merge, char *why)
{
    const struct sc_files *files = &merge->store->files;
    enum sc_status status = SC_OK;
    for (size_t i = 0; i < merge->choice.count && status == SC_OK; i++) {
        char name[SC_FILES_NAME_SIZE];
        sc_files_data_name(name, merge->choice.inputs[i]->number);
        status = sc_quarantine_link(files, name, why);
        sc_files_hint_name(name, merge->choice.inputs[i]->number);
        status = status == SC_OK ? sc_quarantine_link(files, name, why) : status;
    }
    sc_failpoint("repair_kept");
    return status;
}

enum sc_status sc_merge_commit(struct sc_merge *merge, char *why)
{
    enum sc_status status = sc_merge_output_finish(merge, why);
    if (status != SC_OK) {
        return status;
    }
    if (merge->repair) {
        status = keep_inputs(merge, why);
        if (status != SC_OK) {
            return status;
        }
    }
    sc_failpoint("merge_before_sync");
    if (!merge->host->sync(merge->host->arg)) {
        return sc_fail(why, SC_UNAVAILABLE, "what the merge depends on could not be written");
    }
    struct sc_bitcask *store = merge->store;
    sc_merge_lock(merge);
    status = enlist_locked(merge, why);
    /* The largest versions may be among what is left out: they must not be given out again. */
    sc_horizon_advance(&store->horizon, &store->files, merge->clean / 1000 + 1);
    const struct sc_horizon horizon = store->horizon;
    sc_merge_unlock(merge);
    sc_horizon_sync(&horizon);
    if (status == SC_OK) {
        status = swap(merge, why);
    }
    if (status != SC_OK) {
        return status;
    }
    sc_merge_lock(merge);
    for (size_t i = 0; i < merge->output_count; i++) {
        merge->outputs[i].segment->retired = false;
    }
    for (size_t i = 0; i < merge->choice.count; i++) {
        merge->choice.inputs[i]->retired = true;
        sc_damages_forget_file(&merge->store->damages, merge->choice.inputs[i]->number);
    }
    sc_merge_output_note_lost(merge);
    sc_merge_unlock(merge);
    return SC_OK;
}

/* ---- Moving the keydir ---- */

struct moving {
    struct sc_merge *merge;
    struct sc_segment *output;
    bool stopped;
};

/* Whether a location is in one of the inputs. */
static bool is_input(const struct sc_merge *merge, struct sc_location location)
{
    const struct sc_segment *segment = sc_bitcask_segment(merge->store, location);
    return segment->merging && segment->retired;
}

/* The keydir points to an input for a key only if to the very record that was copied: inputs do not
 * grow. */
static void move_locked(struct moving *moving)
{
    struct sc_merge *merge = moving->merge;
    struct sc_bitcask *store = merge->store;
    struct sc_merge_slice *slice = &merge->slice;
    sc_merge_copy_prefetch(merge);
    for (size_t i = 0; i < slice->count; i++) {
        const struct sc_merge_item *item = &slice->items[i];
        struct sc_location to = {moving->output->index, (uint32_t)item->size, item->offset};
        struct sc_keydir_entry entry;
        if (sc_keydir_find(store->keydir, item->record.key, item->hash, &entry) &&
            is_input(merge, entry.location) &&
            sc_keydir_relocate(store->keydir, item->record.key, item->hash, entry.location, to)) {
            sc_bitcask_forget(store, entry.location);
            sc_segment_live(moving->output, to.size);
        }
    }
}

static void move_slice(struct moving *moving)
{
    struct sc_merge *merge = moving->merge;
    struct sc_merge_slice *slice = &merge->slice;
    for (size_t i = 0; i < slice->count; i++) {
        struct sc_merge_item *item = &slice->items[i];
        item->record.key.data = slice->bytes.data + item->bytes;
        item->hash = sc_slot_hash(item->record.key);
    }
    sc_merge_lock(merge);
    move_locked(moving);
    sc_merge_unlock(merge);
    sc_failpoint("merge_moved");
    uint64_t bytes = slice->count * (uint64_t)MOVE_BYTES;
    slice->count = 0;
    slice->bytes.size = 0;
    moving->stopped = !merge->host->proceed(merge->host->arg, bytes);
}

static void move_entry(void *arg, const struct sc_hint_entry *entry)
{
    struct moving *moving = arg;
    struct sc_merge_slice *slice = &moving->merge->slice;
    if (moving->stopped || entry->record.kind != SC_RECORD_PUT) {
        return;
    }
    slice->items[slice->count++] = (struct sc_merge_item){
        .record = entry->record,
        .bytes = slice->bytes.size,
        .offset = entry->offset,
        .size = entry->size,
    };
    sc_buf_append_slice(&slice->bytes, entry->record.key);
    if (slice->count == SC_MERGE_SLICE) {
        move_slice(moving);
    }
}

/* Points the keydir to the outputs. What cannot be moved stays with the inputs, which are there
 * until the store is closed. */
void sc_merge_commit_move(struct sc_merge *merge)
{
    char why[SC_WHY_SIZE];
    struct moving moving = {.merge = merge};
    for (size_t i = 0; i < merge->output_count && !moving.stopped; i++) {
        uint64_t covered;
        moving.output = merge->outputs[i].segment;
        enum sc_status status =
            sc_hint_load(&merge->store->files, moving.output->number, moving.output->salt,
                         moving.output->size, move_entry, &moving, &covered, why);
        if (merge->slice.count > 0) {
            move_slice(&moving);
        }
        if (status != SC_OK) {
            sc_log_error("the hint of file %" PRIu64 " in %s, just written: %s",
                         moving.output->number, merge->store->files.path, why);
        }
    }
}
