#include "shard/importer.h"

#include "common/failpoint.h"
#include "shard/bitcask_impl.h"
#include "shard/frame.h"
#include "shard/offers.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_RECORDS 128u /* taken while the lock is held ... */
#define SLICE_BYTES ((size_t)128 << 10) /* ... or with so many bytes; one at least */
#define DISK_RESERVE (UINT64_C(64) << 20)
#define KEY_MEMORY 64u /* bytes that a key takes in the keydir, about, while it arrives */

struct sc_importer {
    struct sc_bitcask *store; /* kept */
    struct sc_move_host host;
    bool begun;
    uint64_t move;
    uint8_t slots[SC_SLOT_COUNT / 8];
    uint64_t unsaved; /* bytes of records since the last durable cursor */
    uint64_t save_after; /* so many */
    struct sc_buf cursor, mark; /* as they came with what was written last */
};

struct sc_importer *sc_importer_alloc(struct sc_bitcask *store, const struct sc_move_host *host)
{
    struct sc_importer *importer = sc_calloc(1, sizeof *importer);
    importer->store = store;
    importer->host = *host;
    importer->save_after = SC_IMPORTER_SAVE_BYTES;
    return importer;
}

void sc_importer_save_after(struct sc_importer *importer, uint64_t bytes)
{
    importer->save_after = bytes;
}

void sc_importer_free(struct sc_importer *importer)
{
    if (importer != NULL) {
        sc_buf_fini(&importer->cursor);
        sc_buf_fini(&importer->mark);
        free(importer);
    }
}

static void lock(const struct sc_importer *importer)
{
    importer->host.lock(importer->host.arg);
}

static void unlock(const struct sc_importer *importer)
{
    importer->host.unlock(importer->host.arg);
}

bool sc_importer_has(const struct sc_importer *importer, uint64_t move)
{
    uint64_t present;
    bool ready;
    return importer->begun && importer->move == move &&
           sc_manifest_import(importer->store->manifest, &present, &ready, NULL, NULL) &&
           present == move;
}

/* ---- Beginning ---- */

static enum sc_status check_room(const struct sc_importer *importer, uint64_t bytes, uint64_t keys,
                                 char *why)
{
    const struct sc_bitcask *store = importer->store;
    uint64_t disk = bytes + bytes / 5 + DISK_RESERVE;
    uint64_t disk_free = sc_files_free(&store->files);
    if (disk_free < disk) {
        return sc_fail(why, SC_IO,
                       "the disk of %s has %" PRIu64 " MiB free, %" PRIu64 " would be needed",
                       store->files.path, disk_free >> 20, disk >> 20);
    }
    lock(importer);
    uint64_t memory = sc_keydir_memory(store->keydir) + keys * KEY_MEMORY;
    unlock(importer);
    if (store->options.max_memory > 0 && memory > store->options.max_memory) {
        return sc_fail(why, SC_IO,
                       "the index of keys would take %" PRIu64 " MiB of memory, %" PRIu64
                       " are allowed: raise --max-memory",
                       memory >> 20, store->options.max_memory >> 20);
    }
    return SC_OK;
}

/* The slots become importing, and empty. Merges are held. */
static enum sc_status begin_anew(struct sc_importer *importer, uint64_t move, const uint8_t *slots,
                                 char *why)
{
    struct sc_bitcask *store = importer->store;
    struct sc_manifest_fence fence;
    enum sc_status status = sc_fence_find(store, &importer->host, &fence, why);
    if (status != SC_OK) {
        return status;
    }
    sc_failpoint("import_before_manifest");
    status = sc_manifest_import_begin(store->manifest, move, slots, fence, why);
    if (status != SC_OK) {
        return status;
    }
    sc_failpoint("import_begun");
    sc_moving_drop(store, &importer->host, slots);
    lock(importer);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (sc_bitcask_bit(slots, slot)) {
            sc_keydir_versions_begin(store->keydir, slot, true);
        }
    }
    sc_moving_update(store);
    unlock(importer);
    return SC_OK;
}

static enum sc_status begin_first(struct sc_importer *importer, uint64_t move, const uint8_t *slots,
                                  uint64_t bytes, uint64_t keys, char *why)
{
    enum sc_status status = check_room(importer, bytes, keys, why);
    if (status == SC_OK) {
        status = sc_fence_hold(importer->store, &importer->host, why);
    }
    if (status == SC_OK) {
        status = begin_anew(importer, move, slots, why);
        sc_fence_release(importer->store, &importer->host);
    }
    return status;
}

/* The slots arrive already. Without a durable mark nobody can tell what belongs to the part of them
 * that is here: the source begins with a new one, and what was deleted there until then is not in
 * its log. So nothing of it is kept. What is ready is left alone: it may have been granted. (It has
 * a mark, unless nothing was written to it.) */
static enum sc_status begin_again(struct sc_importer *importer, uint64_t move, const uint8_t *slots,
                                  uint64_t bytes, uint64_t keys, char *why)
{
    struct sc_manifest *manifest = importer->store->manifest;
    const struct sc_manifest_fence none = {0};
    struct sc_buf mark = {0};
    uint64_t present;
    bool ready;
    /* The same move and the same slots, or an error. */
    enum sc_status status = sc_manifest_import_begin(manifest, move, slots, none, why);
    (void)sc_manifest_import(manifest, &present, &ready, NULL, &mark);
    if (status == SC_OK && !ready && mark.size == 0) {
        status = sc_importer_drop(importer, move, why);
        if (status == SC_OK) {
            status = begin_first(importer, move, slots, bytes, keys, why);
        }
    }
    sc_buf_fini(&mark);
    return status;
}

enum sc_status sc_importer_begin(struct sc_importer *importer, uint64_t move,
                                 const uint8_t slots[SC_SLOT_COUNT / 8], uint64_t bytes,
                                 uint64_t keys, struct sc_buf *cursor, struct sc_buf *mark,
                                 char *why)
{
    struct sc_manifest *manifest = importer->store->manifest;
    uint64_t present;
    bool ready;
    bool arrives = sc_manifest_import(manifest, &present, &ready, NULL, NULL);
    enum sc_status status = arrives ? begin_again(importer, move, slots, bytes, keys, why)
                                    : begin_first(importer, move, slots, bytes, keys, why);
    if (status != SC_OK) {
        return status;
    }
    importer->begun = true;
    importer->move = move;
    importer->unsaved = 0;
    memcpy(importer->slots, slots, sizeof importer->slots);
    importer->cursor.size = importer->mark.size = 0;
    (void)sc_manifest_import(manifest, &present, &ready, &importer->cursor, &importer->mark);
    sc_buf_append_slice(cursor, sc_buf_slice(&importer->cursor));
    sc_buf_append_slice(mark, sc_buf_slice(&importer->mark));
    return SC_OK;
}

/* ---- Writing ---- */

/* Whether a record is of the slots that arrive. */
static bool belongs(const struct sc_importer *importer, const struct sc_record *record)
{
    if (record->kind != SC_RECORD_CLEAR) {
        return sc_bitcask_bit(importer->slots, sc_slot_of_key(record->key));
    }
    uint32_t first;
    uint32_t last;
    sc_record_clear_range(record, &first, &last);
    while (first <= last && sc_bitcask_bit(importer->slots, first)) {
        first++;
    }
    return first > last;
}

static enum sc_status check_frame(const struct sc_importer *importer, struct sc_slice frame,
                                  char *why)
{
    struct sc_record record;
    size_t size = frame.size;
    while (sc_frame_next(&frame, &record)) {
        if (!belongs(importer, &record)) {
            return sc_fail(why, SC_CORRUPT, "the frame has a record of a slot that does not move");
        }
    }
    return frame.size == 0 ? SC_OK
                           : sc_fail(why, SC_CORRUPT, "the frame is damaged at its byte %zu",
                                     size - frame.size);
}

static enum sc_status make_room_locked(struct sc_bitcask *store, const struct sc_record *record,
                                       char *why)
{
    uint64_t limit = store->options.max_memory;
    if (limit > 0 && sc_keydir_memory(store->keydir) >= limit) {
        return sc_fail(why, SC_IO,
                       "the index of keys takes %" PRIu64 " MiB of memory, as much as is allowed: "
                       "raise --max-memory",
                       limit >> 20);
    }
    uint64_t size = sc_record_size(record->key.size, record->value.size);
    return sc_writer_room(&store->writer, size, record->kind != SC_RECORD_PUT, why);
}

/* Removed by a clear. */
static void forget(void *arg, struct sc_location location, bool tombstone)
{
    if (!tombstone) {
        sc_bitcask_forget(arg, location);
    }
}

static enum sc_status take_clear_locked(struct sc_bitcask *store, const struct sc_record *record,
                                        char *why)
{
    const bool no_sync = false;
    uint32_t first;
    uint32_t last;
    enum sc_status status = make_room_locked(store, record, why);
    if (status == SC_OK) {
        sc_record_clear_range(record, &first, &last);
        (void)sc_writer_append(&store->writer, record, &no_sync);
        sc_clock_observe(&store->clock, record->version);
        sc_keydir_offer_clear(store->keydir, first, last, record->version, forget, store);
    }
    return status;
}

static enum sc_status take_locked(struct sc_importer *importer, const struct sc_record *record,
                                  char *why)
{
    struct sc_bitcask *store = importer->store;
    const bool no_sync = false;
    if (record->kind == SC_RECORD_CLEAR) {
        return take_clear_locked(store, record, why);
    }
    uint64_t hash = sc_slot_hash(record->key);
    if (!sc_keydir_would_take(store->keydir, record->key, hash, record->version)) {
        return SC_OK;
    }
    enum sc_status status = make_room_locked(store, record, why);
    if (status != SC_OK) {
        return status;
    }
    struct sc_location at = sc_writer_append(&store->writer, record, &no_sync);
    sc_clock_observe(&store->clock, record->version);
    sc_offers_take(store, record, hash, at);
    importer->unsaved += at.size;
    return SC_OK;
}

/* Takes records off the frame, as many as fit into one slice. */
static enum sc_status take_slice(struct sc_importer *importer, struct sc_slice *frame, char *why)
{
    struct sc_record record;
    enum sc_status status = SC_OK;
    size_t end = frame->size > SLICE_BYTES ? frame->size - SLICE_BYTES : 0;
    lock(importer);
    for (unsigned i = 0; i < SLICE_RECORDS && status == SC_OK; i++) {
        if ((i > 0 && frame->size <= end) || !sc_frame_next(frame, &record)) {
            break;
        }
        status = take_locked(importer, &record, why);
    }
    unlock(importer);
    return status;
}

static void note(struct sc_importer *importer, struct sc_slice cursor, struct sc_slice mark)
{
    importer->cursor.size = importer->mark.size = 0;
    sc_buf_append_slice(&importer->cursor, cursor);
    sc_buf_append_slice(&importer->mark, mark);
}

/* Everything so far is brought to the disk, and then the cursor. */
static enum sc_status save(struct sc_importer *importer, char *why)
{
    if (!importer->host.sync(importer->host.arg)) {
        return sc_fail(why, SC_IO, "what has arrived could not be written");
    }
    sc_failpoint("import_before_cursor");
    enum sc_status status =
        sc_manifest_import_progress(importer->store->manifest, sc_buf_slice(&importer->cursor),
                                    sc_buf_slice(&importer->mark), why);
    if (status == SC_OK) {
        importer->unsaved = 0;
        sc_failpoint("import_cursor_saved");
    }
    return status;
}

/* What was said to be all is not: durably, before anything is added. */
static enum sc_status make_unready(struct sc_importer *importer, char *why)
{
    struct sc_manifest *manifest = importer->store->manifest;
    struct sc_buf cursor = {0};
    struct sc_buf mark = {0};
    enum sc_status status = SC_OK;
    uint64_t move;
    bool ready;
    if (sc_manifest_import(manifest, &move, &ready, &cursor, &mark) && ready) {
        status =
            sc_manifest_import_progress(manifest, sc_buf_slice(&cursor), sc_buf_slice(&mark), why);
    }
    sc_buf_fini(&cursor);
    sc_buf_fini(&mark);
    return status;
}

/* The last of the disk is left to who writes here, and to the manifest that ends the move. */
static enum sc_status check_disk(const struct sc_importer *importer, char *why)
{
    const struct sc_files *files = &importer->store->files;
    uint64_t disk_free = sc_files_free(files);
    return disk_free >= DISK_RESERVE / 2
               ? SC_OK
               : sc_fail(why, SC_IO, "the disk of %s has only %" PRIu64 " MiB free", files->path,
                         disk_free >> 20);
}

enum sc_status sc_importer_write(struct sc_importer *importer, struct sc_slice cursor,
                                 struct sc_slice mark, struct sc_slice frame, char *why)
{
    assert(importer->begun);
    enum sc_status status = check_frame(importer, frame, why);
    if (status == SC_OK) {
        status = check_disk(importer, why);
    }
    if (status == SC_OK && frame.size > 0) {
        status = make_unready(importer, why);
    }
    while (status == SC_OK && frame.size > 0) {
        status = take_slice(importer, &frame, why);
        sc_failpoint("import_taken");
    }
    if (status != SC_OK) {
        return status;
    }
    note(importer, cursor, mark);
    return importer->unsaved >= importer->save_after ? save(importer, why) : SC_OK;
}

/* ---- Ending ---- */

static struct sc_keydir_sum sum_locked(const struct sc_importer *importer)
{
    struct sc_keydir_sum sum = {0};
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (sc_bitcask_bit(importer->slots, slot)) {
            struct sc_keydir_sum here = sc_keydir_slot_sum(importer->store->keydir, slot);
            sum.count += here.count;
            sum.digest += here.digest;
        }
    }
    return sum;
}

/* Something that has arrived and is known to be damaged since: with the source's copy of it given
 * up, nobody would have it. */
static enum sc_status check_damages_locked(const struct sc_importer *importer, char *why)
{
    const struct sc_damages *damages = sc_bitcask_damages(importer->store);
    for (size_t i = 0; i < damages->count; i++) {
        const struct sc_damage *damage = &damages->entries[i].damage;
        if (damage->key.data != NULL &&
            sc_bitcask_bit(importer->slots, sc_slot_of_key(damage->key)) &&
            sc_bitcask_is_live(importer->store, damage)) {
            char name[SC_FILES_NAME_SIZE];
            sc_damage_file(damage, name);
            return sc_fail(why, SC_CORRUPT,
                           "%s in %s: a record that has arrived is damaged, %" PRIu64
                           " bytes at offset %" PRIu64,
                           name, importer->store->files.path, damage->size, damage->offset);
        }
    }
    return SC_OK;
}

enum sc_status sc_importer_finish(struct sc_importer *importer, uint64_t count, uint64_t digest,
                                  uint64_t version, char *why)
{
    struct sc_bitcask *store = importer->store;
    assert(importer->begun);
    lock(importer);
    struct sc_keydir_sum sum = sum_locked(importer);
    enum sc_status status = check_damages_locked(importer, why);
    unlock(importer);
    if (status != SC_OK) {
        return status;
    }
    if (sum.count != count || sum.digest != digest) {
        return sc_fail(why, SC_CORRUPT,
                       "what has arrived is not what was sent: %" PRIu64
                       " keys with digest %016" PRIx64 ", not %" PRIu64 " with %016" PRIx64,
                       sum.count, sum.digest, count, digest);
    }
    lock(importer);
    sc_clock_observe(&store->clock, version);
    unlock(importer);
    if (!importer->host.sync(importer->host.arg)) {
        return sc_fail(why, SC_IO, "what has arrived could not be written");
    }
    sc_failpoint("import_before_ready");
    status = sc_manifest_import_ready(store->manifest, sc_buf_slice(&importer->cursor),
                                      sc_buf_slice(&importer->mark), version, why);
    if (status == SC_OK) {
        sc_failpoint("import_ready");
    }
    return status;
}

static enum sc_status drop(struct sc_importer *importer, const uint8_t *slots, char *why)
{
    struct sc_bitcask *store = importer->store;
    struct sc_manifest_fence fence;
    enum sc_status status = sc_fence_find(store, &importer->host, &fence, why);
    if (status != SC_OK) {
        return status;
    }
    sc_failpoint("import_before_drop");
    status = sc_manifest_import_drop(store->manifest, fence, why);
    if (status != SC_OK) {
        return status;
    }
    sc_failpoint("import_dropped");
    importer->begun = false;
    sc_moving_drop(store, &importer->host, slots);
    lock(importer);
    sc_moving_update(store);
    unlock(importer);
    return SC_OK;
}

enum sc_status sc_importer_drop(struct sc_importer *importer, uint64_t move, char *why)
{
    struct sc_manifest *manifest = importer->store->manifest;
    uint8_t slots[SC_SLOT_COUNT / 8];
    uint64_t present;
    bool ready;
    if (!sc_manifest_import(manifest, &present, &ready, NULL, NULL) || present != move) {
        return SC_OK;
    }
    sc_manifest_slots(manifest, SC_MANIFEST_IMPORTING, slots);
    enum sc_status status = sc_fence_hold(importer->store, &importer->host, why);
    if (status == SC_OK) {
        status = drop(importer, slots, why);
        sc_fence_release(importer->store, &importer->host);
    }
    return status;
}
