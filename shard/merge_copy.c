#include "shard/merge_impl.h"

#include "shard/hint.h"
#include "shard/walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_BYTES ((size_t)256 << 10) /* of records gathered before they are judged */
#define READ_FAILURES_MAX 3u

/* ---- Judging ---- */

/* A record of a slot that was given up meanwhile: a copy of it would lie behind the fence. */
static bool is_fenced(const struct sc_merge *merge, const struct sc_segment *segment,
                      const struct sc_merge_item *item)
{
    return merge->fences != NULL && item->record.kind != SC_RECORD_CLEAR &&
           sc_manifest_is_dead(merge->fences[sc_slot_of_hash(item->hash)], segment->number,
                               item->offset);
}

/* A put that the keydir does not point to. If it had an expiry and nothing newer is there, it may
 * have been swept; no clock is asked, since that may have been set back. */
static bool judge_dead(const struct sc_merge *merge, struct sc_merge_item *item, bool present)
{
    struct sc_record *record = &item->record;
    if (present || record->expires_ms == 0 || record->version < merge->choice.bound) {
        return false;
    }
    record->kind = SC_RECORD_TOMBSTONE;
    record->lost = false;
    record->expires_ms = 0;
    record->value = sc_slice(NULL, 0);
    return true;
}

static bool judge_deletion(struct sc_merge *merge, const struct sc_merge_item *item, bool present)
{
    bool needed = !present && item->record.version >= merge->choice.bound;
    merge->deletions_dropped += needed ? 0 : 1;
    return needed;
}

/* Brings what the keydir knows of the slice into the processor's cache: the shorter is the lock
 * held. */
void sc_merge_copy_prefetch(const struct sc_merge *merge)
{
    const struct sc_merge_slice *slice = &merge->slice;
    const struct sc_keydir *keydir = merge->store->keydir;
    for (size_t i = 0; i < slice->count; i++) {
        sc_keydir_prefetch(keydir, slice->items[i].hash);
    }
    for (size_t i = 0; i < slice->count; i++) {
        (void)sc_keydir_prefetch_key(keydir, slice->items[i].hash, NULL);
    }
}

static void judge_locked(struct sc_merge *merge, size_t input)
{
    const struct sc_segment *segment = merge->choice.inputs[input];
    const struct sc_keydir *keydir = merge->store->keydir;
    struct sc_merge_slice *slice = &merge->slice;
    sc_merge_copy_prefetch(merge);
    for (size_t i = 0; i < slice->count; i++) {
        struct sc_merge_item *item = &slice->items[i];
        struct sc_keydir_entry entry;
        bool present = item->record.kind != SC_RECORD_CLEAR &&
                       sc_keydir_find(keydir, item->record.key, item->hash, &entry);
        if (is_fenced(merge, segment, item)) {
            item->needed = false;
        } else if (item->record.kind != SC_RECORD_PUT) {
            item->needed = judge_deletion(merge, item, present);
        } else if (present && entry.location.file == segment->index &&
                   entry.location.offset == item->offset) {
            item->needed = true;
            merge->copied[input] += item->size;
        } else {
            item->needed = judge_dead(merge, item, present);
        }
    }
}

/* Judges the slice and writes what is needed. */
static enum sc_status end_slice(struct sc_merge *merge, size_t input, char *why)
{
    struct sc_merge_slice *slice = &merge->slice;
    enum sc_status status = SC_OK;
    uint64_t bytes = 0;
    for (size_t i = 0; i < slice->count; i++) {
        struct sc_merge_item *item = &slice->items[i];
        item->record.key.data = slice->bytes.data + item->bytes;
        item->record.value.data = slice->bytes.data + item->bytes + item->record.key.size;
        item->hash = sc_slot_hash(item->record.key);
        bytes += item->size;
    }
    sc_merge_lock(merge);
    judge_locked(merge, input);
    merge->figures.bytes_done += bytes;
    merge->figures.output_bytes = sc_merge_output_bytes(merge);
    bool failed = merge->store->writer.failed[0] != '\0';
    sc_merge_unlock(merge);
    if (failed) {
        return sc_fail(why, SC_IO, "the store takes no writes any more");
    }
    for (size_t i = 0; i < slice->count && status == SC_OK; i++) {
        if (slice->items[i].needed) {
            status = sc_merge_output_put(merge, &slice->items[i].record, why);
        }
    }
    slice->count = 0;
    sc_buf_reset(&slice->bytes, SC_MERGE_BUFFER_KEEP);
    return status == SC_OK ? sc_merge_proceed(merge, bytes, why) : status;
}

static enum sc_status take_record(struct sc_merge *merge, size_t input,
                                  const struct sc_walk_item *found, char *why)
{
    struct sc_merge_slice *slice = &merge->slice;
    slice->items[slice->count++] = (struct sc_merge_item){
        .record = found->record,
        .bytes = slice->bytes.size,
        .offset = found->offset,
        .size = found->size,
    };
    sc_buf_append_slice(&slice->bytes, found->record.key);
    sc_buf_append_slice(&slice->bytes, found->record.value);
    return slice->count == SC_MERGE_SLICE || slice->bytes.size >= SLICE_BYTES
               ? end_slice(merge, input, why)
               : SC_OK;
}

/* ---- Reading ---- */

/* The file stays. */
static enum sc_status leave_out(struct sc_merge *merge, struct sc_segment *segment,
                                const struct sc_walk_item *item, char *why)
{
    char name[SC_FILES_NAME_SIZE];
    bool lost = item->kind == SC_WALK_DAMAGE; /* nobody can tell what was there */
    const struct sc_damage damage = {
        .kind = lost ? SC_DAMAGE_STRETCH : SC_DAMAGE_VALUE,
        .file = segment->number,
        .offset = item->offset,
        .size = item->size,
        .key = lost ? sc_slice(NULL, 0) : item->record.key,
        .version = lost ? 0 : item->record.version,
    };
    sc_files_data_name(name, segment->number);
    sc_fail(why, SC_CORRUPT,
            "%s in %s: %" PRIu64 " bytes at offset %" PRIu64
            " are damaged: the file stays and is not merged",
            name, merge->store->files.path, item->size, item->offset);
    sc_merge_lock(merge);
    segment->untended = true;
    if (lost) {
        segment->version_min = 0;
        segment->clean = 0;
    }
    (void)sc_bitcask_note_damage(merge->store, &damage);
    sc_bitcask_tell(merge->store, SC_EVENT_DAMAGE, name, item->offset, item->size, "%s", why);
    sc_merge_unlock(merge);
    return SC_CORRUPT;
}

/* Reading failed: that may pass, but not for ever should other files wait for this one. */
static enum sc_status unreadable(struct sc_merge *merge, struct sc_segment *segment, int error,
                                 char *why)
{
    errno = error;
    sc_merge_output_fail(merge, segment, "read", why);
    sc_merge_lock(merge);
    segment->damaged = ++segment->read_failures == READ_FAILURES_MAX;
    sc_merge_unlock(merge);
    return SC_IO;
}

/* ---- Damage that was seen to ---- */

/* Whether the damaged bytes are in the quarantine. */
static bool is_kept(const struct sc_merge *merge, const struct sc_segment *segment,
                    const struct sc_walk_item *item)
{
    const struct sc_damage damage = {
        .kind = item->kind == SC_WALK_DAMAGE ? SC_DAMAGE_STRETCH : SC_DAMAGE_VALUE,
        .file = segment->number,
        .offset = item->offset,
        .size = item->size,
        .key = item->kind == SC_WALK_DAMAGE ? sc_slice(NULL, 0) : item->record.key,
    };
    sc_merge_lock(merge);
    const struct sc_damages_entry *entry = sc_damages_find(&merge->store->damages, &damage);
    bool kept = entry != NULL && entry->kept && entry->damage.size >= item->size;
    sc_merge_unlock(merge);
    return kept;
}

/* A record whose value is damaged: what is left to say is that the value was lost. */
static enum sc_status take_lost(struct sc_merge *merge, size_t input,
                                const struct sc_walk_item *item, char *why)
{
    struct sc_walk_item lost = *item;
    sc_record_lose(&lost.record);
    return take_record(merge, input, &lost, why);
}

/* Takes what the hint knows of a stretch without records. */
struct taking {
    struct sc_merge *merge;
    size_t input;
    uint64_t from, to;
    enum sc_status status;
    char *why;
};

static void take_hinted(void *arg, const struct sc_hint_entry *entry)
{
    struct taking *taking = arg;
    if (taking->status != SC_OK || entry->offset < taking->from || entry->offset >= taking->to) {
        return;
    }
    struct sc_walk_item item = {SC_WALK_RECORD, entry->offset, entry->size, entry->record};
    if (item.record.kind == SC_RECORD_PUT) {
        sc_record_lose(&item.record);
    }
    taking->status = take_record(taking->merge, taking->input, &item, taking->why);
}

/* The size that an input should have. */
static uint64_t expected_size(const struct sc_merge *merge, const struct sc_segment *segment)
{
    struct sc_manifest_file file = {0};
    (void)sc_manifest_find_file(merge->store->manifest, segment->number, &file);
    return file.settled_size > segment->size ? file.settled_size : segment->size;
}

/* Whether the hint can stand in for these bytes of an input. It must have been read when the store
 * was opened, or been built since: else the keydir may have older records in place of those that it
 * tells of, and would judge them wrongly. */
static bool is_hinted(const struct sc_merge *merge, const struct sc_segment *segment, uint64_t from,
                      uint64_t to)
{
    sc_merge_lock(merge);
    bool known = segment->hinted >= to;
    sc_merge_unlock(merge);
    return known && sc_hint_tells(&merge->store->files, segment->number, segment->salt,
                                  expected_size(merge, segment), from, to);
}

/* SC_NOTFOUND: there is no hint that can be read. */
static enum sc_status take_stretch(struct sc_merge *merge, size_t input, uint64_t from, uint64_t to,
                                   char *why)
{
    const struct sc_segment *segment = merge->choice.inputs[input];
    char what[SC_WHY_SIZE];
    uint64_t covered;
    struct taking taking = {merge, input, from, to, SC_OK, why};
    enum sc_status status =
        sc_hint_load(&merge->store->files, segment->number, segment->salt,
                     expected_size(merge, segment), take_hinted, &taking, &covered, what);
    if (taking.status != SC_OK) {
        return taking.status;
    }
    return status == SC_OK ? SC_OK
                           : sc_fail(why, SC_NOTFOUND, "the hint of file %" PRIu64 " in %s: %s",
                                     segment->number, merge->store->files.path, what);
}

/* A stretch without records. What the hint knows of it is taken; when that is not all, the rest is
 * lost if that may be. */
static enum sc_status take_stretch_or_leave(struct sc_merge *merge, size_t input,
                                            const struct sc_walk_item *item, char *why)
{
    struct sc_segment *segment = merge->choice.inputs[input];
    uint64_t end = item->offset + item->size;
    bool known = is_hinted(merge, segment, item->offset, end);
    if (!known && !merge->accept_loss) {
        return leave_out(merge, segment, item, why);
    }
    enum sc_status status = take_stretch(merge, input, item->offset, end, why);
    if (status == SC_NOTFOUND) {
        status = known ? SC_IO : SC_OK; /* it could be read a moment ago: try again later */
    }
    return status;
}

static enum sc_status take_item(struct sc_merge *merge, size_t input,
                                const struct sc_walk_item *item, char *why)
{
    struct sc_segment *segment = merge->choice.inputs[input];
    if (item->kind == SC_WALK_RECORD) {
        return take_record(merge, input, item, why);
    }
    if (!merge->repair && !is_kept(merge, segment, item)) {
        return leave_out(merge, segment, item, why);
    }
    if (item->kind != SC_WALK_DAMAGE) {
        return take_lost(merge, input, item, why);
    }
    return take_stretch_or_leave(merge, input, item, why);
}

/* ---- Reading ---- */

enum sc_status sc_merge_copy(struct sc_merge *merge, size_t input, char *why)
{
    struct sc_segment *segment = merge->choice.inputs[input];
    uint64_t expected = expected_size(merge, segment);
    uint64_t end = SC_SEGMENT_HEADER_SIZE;
    struct sc_walk walk;
    struct sc_walk_item item;
    size_t void_count;
    struct sc_manifest_void *voids =
        sc_manifest_voids(merge->store->manifest, segment->number, &void_count);
    enum sc_status status = SC_OK;
    sc_walk_init(&walk, segment->fd, segment->salt, end, segment->size, voids, void_count);
    while (status == SC_OK && sc_walk_next(&walk, &item)) {
        end = item.offset + item.size;
        if (item.kind == SC_WALK_DAMAGE && end == segment->size && end < expected) {
            end = item.offset; /* a record that was cut through: one with what is missing */
        } else {
            status = take_item(merge, input, &item, why);
        }
    }
    if (status == SC_OK && walk.status != SC_OK) {
        status = unreadable(merge, segment, walk.error, why);
    }
    if (status == SC_OK && segment->size < expected && end < expected) {
        const struct sc_walk_item missing = {SC_WALK_DAMAGE, end, expected - end, {0}};
        status = take_stretch_or_leave(merge, input, &missing, why);
    }
    if (status == SC_OK && merge->slice.count > 0) {
        status = end_slice(merge, input, why);
    }
    sc_walk_fini(&walk);
    free(voids);
    return status;
}
