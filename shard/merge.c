#include "shard/merge.h"

#include "common/failpoint.h"
#include "common/log.h"
#include "shard/bitcask_impl.h"
#include "shard/hint.h"
#include "shard/io.h"
#include "shard/merge_choose.h"
#include "shard/quarantine.h"
#include "shard/walk.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define SLICE_BYTES ((size_t)256 << 10) /* of records gathered before they are judged */
#define FLUSH_BYTES ((size_t)128 << 10) /* short work: others want the processor too */
#define MOVE_BYTES 44u /* that moving a key counts for, like reading an entry of a hint */
#define READ_FAILURES_MAX 3u
#define PRESSED_PERCENT 25u /* of a file, when space is short: copying three bytes gains one */
#define BUFFER_KEEP ((size_t)4 << 20)
#define LOST_MAX 1024u /* values; what is more the next scrub tells of */

/* A record that was read and waits for judgement, or for being moved in the keydir. */
struct item {
    struct sc_record record; /* slices are set when the slice is complete */
    size_t bytes; /* where key and value are in the slice's buffer */
    uint64_t offset; /* of the record in its file */
    uint64_t size;
    uint64_t hash;
    bool needed;
};

struct slice {
    struct item items[SC_MERGE_SLICE];
    size_t count;
    struct sc_buf bytes;
};

/* A new file that is being written. */
struct output {
    struct sc_segment *segment;
    bool enlisted;
};

/* A record in an output that says that its value was lost. */
struct lost_value {
    uint64_t file;
    uint64_t offset, size;
    uint64_t version;
    struct sc_buf key;
};

struct sc_merge {
    struct sc_bitcask *store; /* kept */

    /* guarded by the lock of the store */
    struct sc_merge_options options;
    struct sc_merge_figures figures;
    bool pressed; /* any gain is worth it */
    bool few; /* there was no room for a larger merge */
    bool repair, accept_loss; /* see sc_merge_repair */
    char error[SC_WHY_SIZE];

    /* of the merge that runs; the thread's */
    const struct sc_merge_host *host;
    struct sc_merge_choice choice;
    uint64_t copied[SC_MERGE_CHOOSE_MAX]; /* live bytes copied from each input */
    uint64_t clean; /* the clock when it began: see struct sc_manifest_file */
    uint64_t deletions_dropped;
    struct slice slice;
    struct output *outputs;
    size_t output_count;
    struct sc_buf buffer; /* the end of the last output, not written yet */
    struct sc_manifest_fence *fences; /* of each slot; NULL: there are none */
    bool kept; /* MANIFEST may be the old one after a crash: the inputs must not be removed */
    struct lost_value *lost; /* what the outputs say that was lost, to be noted */
    size_t lost_count;
};

struct sc_merge *sc_merge_alloc(struct sc_bitcask *store)
{
    struct sc_merge *merge = sc_calloc(1, sizeof *merge);
    merge->store = store;
    merge->options =
        (struct sc_merge_options){SC_MERGE_DEAD_PERCENT_DEFAULT, SC_MERGE_DEAD_BYTES_MIN_DEFAULT};
    merge->figures.error = merge->error;
    return merge;
}

void sc_merge_free(struct sc_merge *merge)
{
    if (merge != NULL) {
        assert(merge->output_count == 0);
        sc_buf_fini(&merge->slice.bytes);
        sc_buf_fini(&merge->buffer);
        free(merge->fences);
        free(merge->outputs);
        free(merge);
    }
}

void sc_merge_configure(struct sc_merge *merge, const struct sc_merge_options *options)
{
    merge->options = *options;
    if (merge->options.dead_percent == 0) {
        merge->options.dead_percent = SC_MERGE_DEAD_PERCENT_DEFAULT;
    }
}

void sc_merge_figures(const struct sc_merge *merge, struct sc_merge_figures *figures)
{
    *figures = merge->figures;
}

void sc_merge_press(struct sc_merge *merge, bool pressed)
{
    merge->pressed = pressed;
}

/* What is worth a merge now. */
static struct sc_merge_options options_now(const struct sc_merge *merge)
{
    struct sc_merge_options options = merge->options;
    if (merge->pressed) {
        bool lower = options.dead_percent > PRESSED_PERCENT;
        options.dead_percent = lower ? PRESSED_PERCENT : options.dead_percent;
        options.dead_bytes_min = 1;
    }
    return options;
}

static void lock(const struct sc_merge *merge)
{
    merge->host->lock(merge->host->arg);
}

static void unlock(const struct sc_merge *merge)
{
    merge->host->unlock(merge->host->arg);
}

static enum sc_status proceed(const struct sc_merge *merge, uint64_t bytes, char *why)
{
    return merge->host->proceed(merge->host->arg, bytes) && !sc_bitcask_merges_held(merge->store)
               ? SC_OK
               : sc_fail(why, SC_UNAVAILABLE, "the merge was told to stop");
}

/* ---- What was asked for ---- */

void sc_merge_ask(struct sc_merge *merge)
{
    const struct sc_bitcask *store = merge->store;
    struct sc_segment *active = store->writer.active;
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment != NULL && segment->sealed && !segment->retired) {
            segment->asked = true;
        }
    }
    if (active != NULL && (sc_segment_dead_bytes(active) + active->deletion_bytes > 0 ||
                           active->untended || active->tended)) {
        active->asked = true;
    }
    merge->figures.asked = true;
}

void sc_merge_repair(struct sc_merge *merge, bool accept_loss)
{
    const struct sc_bitcask *store = merge->store;
    merge->repair = true;
    merge->accept_loss = accept_loss;
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment == NULL || segment->retired) {
            continue;
        }
        if (segment->untended && accept_loss) {
            segment->untended = false;
            segment->tended = true;
        }
        segment->asked = segment->tended;
    }
    merge->figures.asked = true;
}

/* Nothing that was asked for can be merged now: then all is done, or has to wait for a commit. */
static void end_asked(struct sc_merge *merge)
{
    const struct sc_bitcask *store = merge->store;
    merge->figures.asked = false;
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment != NULL && segment->asked && !segment->damaged && !segment->untended) {
            bool waits = !sc_writer_is_done(&store->writer, segment);
            segment->asked = waits;
            merge->figures.asked = merge->figures.asked || waits;
        }
    }
}

bool sc_merge_wanted(const struct sc_merge *merge)
{
    struct sc_merge_choice choice;
    const struct sc_merge_options options = options_now(merge);
    return merge->store->writer.failed[0] == '\0' && !merge->store->options.read_only &&
           !sc_bitcask_merges_held(merge->store) &&
           (merge->figures.asked ||
            sc_merge_choose(merge->store, &options, false, merge->few, &choice));
}

/* Seals the active file, so that it can be merged. */
static enum sc_status seal_active(struct sc_merge *merge, char *why)
{
    struct sc_bitcask *store = merge->store;
    struct sc_writer *writer = &store->writer;
    struct sc_segment *spare = NULL;
    lock(merge);
    bool wanted = writer->active != NULL && writer->active->asked && writer->failed[0] == '\0';
    bool make = wanted && writer->next == NULL;
    unlock(merge);
    if (!wanted) {
        return SC_OK;
    }
    enum sc_status status =
        make ? sc_writer_make(&store->files, store->manifest, &spare, why) : SC_OK;
    if (status != SC_OK) {
        return status;
    }
    lock(merge);
    struct sc_segment *active = writer->active;
    /* Writers may have gone on to younger files meanwhile, and a new one may have been asked for:
     * then the next merge seals that. */
    bool ready = writer->next != NULL || (spare != NULL && spare->number > active->number);
    if (active->asked && ready && !sc_writer_seal(writer, &spare)) {
        active->asked = false;
        status =
            sc_fail(why, SC_IO, "%s has as many data files as a store can have", store->files.path);
    }
    unlock(merge);
    if (spare != NULL) {
        /* Another one was quicker; this one stays empty and goes with a later merge. */
        sc_manifest_settle(store->manifest, spare->number, spare->size);
        sc_segment_close(spare);
    }
    if (status != SC_OK) {
        return status;
    }
    return merge->host->sync(merge->host->arg)
               ? SC_OK
               : sc_fail(why, SC_UNAVAILABLE, "what waits could not be written");
}

/* ---- Beginning ---- */

/* Chooses the inputs and makes them ours. */
static bool begin_locked(struct sc_merge *merge)
{
    struct sc_bitcask *store = merge->store;
    const struct sc_merge_options options = options_now(merge);
    bool chosen =
        merge->figures.asked && sc_merge_choose(store, &options, true, merge->few, &merge->choice);
    if (!chosen) {
        end_asked(merge);
        chosen =
            !merge->repair && sc_merge_choose(store, &options, false, merge->few, &merge->choice);
    }
    if (!chosen) {
        return false;
    }
    for (size_t i = 0; i < merge->choice.count; i++) {
        merge->choice.inputs[i]->merging = true;
        merge->copied[i] = 0;
    }
    merge->clean = store->clock.last;
    merge->deletions_dropped = 0;
    merge->kept = false;
    merge->slice.count = 0;
    merge->slice.bytes.size = 0;
    merge->figures.running = true;
    merge->figures.bytes = merge->choice.bytes;
    merge->figures.bytes_done = 0;
    merge->figures.files = merge->choice.count;
    return true;
}

static bool begin(struct sc_merge *merge)
{
    lock(merge);
    bool begun = !merge->store->options.read_only && merge->store->writer.failed[0] == '\0' &&
                 begin_locked(merge);
    unlock(merge);
    return begun;
}

/* Which records are dead whatever the keydir says. No fence is set while a merge is under way. */
static void load_fences(struct sc_merge *merge)
{
    struct sc_manifest_fence *fences = sc_calloc(SC_SLOT_COUNT, sizeof *fences);
    free(merge->fences);
    merge->fences = NULL;
    if (sc_manifest_fences(merge->store->manifest, fences)) {
        merge->fences = fences;
    } else {
        free(fences);
    }
}

/* ---- Outputs ---- */

static enum sc_status file_fail(const struct sc_merge *merge, const struct sc_segment *segment,
                                const char *doing, char *why)
{
    char name[SC_FILES_NAME_SIZE];
    int error = errno;
    sc_files_data_name(name, segment->number);
    errno = error;
    return sc_files_fail(&merge->store->files, doing, name, why);
}

static struct sc_segment *last_output(const struct sc_merge *merge)
{
    return merge->output_count > 0 ? merge->outputs[merge->output_count - 1].segment : NULL;
}

static enum sc_status add_output(struct sc_merge *merge, char *why)
{
    struct sc_bitcask *store = merge->store;
    uint64_t salt;
    uint64_t number;
    if (getrandom(&salt, sizeof salt, 0) != (ssize_t)sizeof salt) {
        return sc_fail(why, SC_IO, "cannot get random bytes: %s", strerror(errno));
    }
    sc_failpoint("merge_before_reserve");
    enum sc_status status = sc_manifest_reserve(store->manifest, &number, why);
    if (status != SC_OK) {
        return status;
    }
    sc_failpoint("merge_reserved");
    struct sc_segment_owner owner = sc_writer_owner(store->manifest);
    struct sc_segment *segment;
    status = sc_segment_create(&store->files, number, salt, &owner, &segment, why);
    if (status != SC_OK) {
        return SC_IO;
    }
    sc_failpoint("merge_output_created");
    segment->clean = merge->clean;
    segment->full_size = store->writer.file_size_max;
    merge->outputs = sc_realloc(merge->outputs, (merge->output_count + 1) * sizeof *merge->outputs);
    merge->outputs[merge->output_count++] = (struct output){.segment = segment};
    return SC_OK;
}

/* Writes what is in the buffer to the last output. */
static enum sc_status flush_output(struct sc_merge *merge, char *why)
{
    struct sc_segment *segment = last_output(merge);
    size_t size = merge->buffer.size;
    if (size == 0) {
        return SC_OK;
    }
    uint64_t offset = segment->size - size;
    if (sc_io_write(segment->fd, merge->buffer.data, size, offset) != 0) {
        return file_fail(merge, segment, "write", why);
    }
    sc_io_flush(segment->fd);
    sc_buf_reset(&merge->buffer, BUFFER_KEEP);
    sc_failpoint("merge_output_written");
    return proceed(merge, size, why);
}

/* Brings the last output to the disk. */
static enum sc_status finish_output(struct sc_merge *merge, char *why)
{
    struct sc_bitcask *store = merge->store;
    struct sc_segment *segment = last_output(merge);
    if (segment == NULL) {
        return SC_OK;
    }
    enum sc_status status = flush_output(merge, why);
    if (status != SC_OK) {
        return status;
    }
    if (sc_io_truncate(segment->fd, segment->size) != 0) {
        return file_fail(merge, segment, "cut", why);
    }
    segment->allocated = segment->size;
    if (sc_io_fdatasync(segment->fd) != 0) {
        return file_fail(merge, segment, "sync", why);
    }
    sc_failpoint("merge_output_synced");
    status = sc_hint_build(&store->files, segment->number, segment->salt, NULL, 0, why);
    sc_failpoint("merge_hint_written");
    segment->sealed = true;
    segment->settled = true;
    segment->hinted = segment->size;
    return status;
}

static void remember_lost(struct sc_merge *merge, const struct sc_record *record, uint64_t size)
{
    const struct sc_segment *segment = last_output(merge);
    if (merge->lost_count == LOST_MAX) {
        return;
    }
    if (merge->lost == NULL) {
        merge->lost = sc_calloc(LOST_MAX, sizeof *merge->lost);
    }
    struct lost_value *lost = &merge->lost[merge->lost_count++];
    *lost = (struct lost_value){segment->number, segment->size, size, record->version, {0}};
    sc_buf_append_slice(&lost->key, record->key);
}

static void forget_lost(struct sc_merge *merge)
{
    for (size_t i = 0; i < merge->lost_count; i++) {
        sc_buf_fini(&merge->lost[i].key);
    }
    free(merge->lost);
    merge->lost = NULL;
    merge->lost_count = 0;
}

/* The outputs are part of the store now: notes what they say. */
static void note_lost_locked(struct sc_merge *merge)
{
    for (size_t i = 0; i < merge->lost_count; i++) {
        const struct lost_value *lost = &merge->lost[i];
        const struct sc_damage damage = {
            .kind = SC_DAMAGE_LOST,
            .file = lost->file,
            .offset = lost->offset,
            .size = lost->size,
            .key = sc_buf_slice(&lost->key),
            .version = lost->version,
            .live = true,
        };
        (void)sc_bitcask_note_damage(merge->store, &damage);
    }
}

static enum sc_status write_record(struct sc_merge *merge, const struct sc_record *record,
                                   char *why)
{
    size_t size = (size_t)sc_record_size(record->key.size, record->value.size);
    struct sc_segment *segment = last_output(merge);
    enum sc_status status = SC_OK;
    if (segment == NULL || segment->size + size > merge->store->writer.file_size_max) {
        status = finish_output(merge, why);
        if (status == SC_OK) {
            status = add_output(merge, why);
        }
        if (status != SC_OK) {
            return status;
        }
        segment = last_output(merge);
    }
    if (!sc_segment_allocate(segment, size, true)) {
        return file_fail(merge, segment, "get disk space for", why);
    }
    if (record->lost) {
        remember_lost(merge, record, size);
    }
    sc_record_encode(sc_buf_reserve(&merge->buffer, size), record, segment->salt ^ segment->size);
    merge->buffer.size += size;
    segment->size += size;
    sc_segment_note(segment, record->kind != SC_RECORD_PUT, record->version, size);
    return merge->buffer.size >= FLUSH_BYTES ? flush_output(merge, why) : SC_OK;
}

/* ---- Judging ---- */

/* A record of a slot that was given up meanwhile: a copy of it would lie behind the fence. */
static bool is_fenced(const struct sc_merge *merge, const struct sc_segment *segment,
                      const struct item *item)
{
    return merge->fences != NULL && item->record.kind != SC_RECORD_CLEAR &&
           sc_manifest_is_dead(merge->fences[sc_slot_of_hash(item->hash)], segment->number,
                               item->offset);
}

/* A put that the keydir does not point to. If it had an expiry and nothing newer is there, it may
 * have been swept; no clock is asked, since that may have been set back. */
static bool judge_dead(const struct sc_merge *merge, struct item *item, bool present)
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

static bool judge_deletion(struct sc_merge *merge, const struct item *item, bool present)
{
    bool needed = !present && item->record.version >= merge->choice.bound;
    merge->deletions_dropped += needed ? 0 : 1;
    return needed;
}

/* Brings what the keydir knows of the slice into the processor's cache: the shorter is the lock
 * held. */
static void prefetch_locked(const struct sc_merge *merge)
{
    const struct slice *slice = &merge->slice;
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
    struct slice *slice = &merge->slice;
    prefetch_locked(merge);
    for (size_t i = 0; i < slice->count; i++) {
        struct item *item = &slice->items[i];
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

/* Of outputs that are not in the store's table. */
static uint64_t output_bytes(const struct sc_merge *merge)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < merge->output_count; i++) {
        const struct sc_segment *segment = merge->outputs[i].segment;
        bytes += segment->size > segment->allocated ? segment->size : segment->allocated;
    }
    return bytes;
}

/* Judges the slice and writes what is needed. */
static enum sc_status end_slice(struct sc_merge *merge, size_t input, char *why)
{
    struct slice *slice = &merge->slice;
    enum sc_status status = SC_OK;
    uint64_t bytes = 0;
    for (size_t i = 0; i < slice->count; i++) {
        struct item *item = &slice->items[i];
        item->record.key.data = slice->bytes.data + item->bytes;
        item->record.value.data = slice->bytes.data + item->bytes + item->record.key.size;
        item->hash = sc_slot_hash(item->record.key);
        bytes += item->size;
    }
    lock(merge);
    judge_locked(merge, input);
    merge->figures.bytes_done += bytes;
    merge->figures.output_bytes = output_bytes(merge);
    bool failed = merge->store->writer.failed[0] != '\0';
    unlock(merge);
    if (failed) {
        return sc_fail(why, SC_IO, "the store takes no writes any more");
    }
    for (size_t i = 0; i < slice->count && status == SC_OK; i++) {
        if (slice->items[i].needed) {
            status = write_record(merge, &slice->items[i].record, why);
        }
    }
    slice->count = 0;
    sc_buf_reset(&slice->bytes, BUFFER_KEEP);
    return status == SC_OK ? proceed(merge, bytes, why) : status;
}

static enum sc_status take_record(struct sc_merge *merge, size_t input,
                                  const struct sc_walk_item *found, char *why)
{
    struct slice *slice = &merge->slice;
    slice->items[slice->count++] = (struct item){
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
    lock(merge);
    segment->untended = true;
    if (lost) {
        segment->version_min = 0;
        segment->clean = 0;
    }
    (void)sc_bitcask_note_damage(merge->store, &damage);
    sc_bitcask_tell(merge->store, SC_EVENT_DAMAGE, name, item->offset, item->size, "%s", why);
    unlock(merge);
    return SC_CORRUPT;
}

/* Reading failed: that may pass, but not for ever should other files wait for this one. */
static enum sc_status unreadable(struct sc_merge *merge, struct sc_segment *segment, int error,
                                 char *why)
{
    errno = error;
    file_fail(merge, segment, "read", why);
    lock(merge);
    segment->damaged = ++segment->read_failures == READ_FAILURES_MAX;
    unlock(merge);
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
    lock(merge);
    const struct sc_damages_entry *entry = sc_damages_find(&merge->store->damages, &damage);
    bool kept = entry != NULL && entry->kept && entry->damage.size >= item->size;
    unlock(merge);
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
    lock(merge);
    bool known = segment->hinted >= to;
    unlock(merge);
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

static enum sc_status copy_input(struct sc_merge *merge, size_t input, char *why)
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
        struct output *output = &merge->outputs[i];
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

static enum sc_status commit(struct sc_merge *merge, char *why)
{
    enum sc_status status = finish_output(merge, why);
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
    lock(merge);
    status = enlist_locked(merge, why);
    /* The largest versions may be among what is left out: they must not be given out again. */
    sc_horizon_advance(&store->horizon, &store->files, merge->clean / 1000 + 1);
    const struct sc_horizon horizon = store->horizon;
    unlock(merge);
    sc_horizon_sync(&horizon);
    if (status == SC_OK) {
        status = swap(merge, why);
    }
    if (status != SC_OK) {
        return status;
    }
    lock(merge);
    for (size_t i = 0; i < merge->output_count; i++) {
        merge->outputs[i].segment->retired = false;
    }
    for (size_t i = 0; i < merge->choice.count; i++) {
        merge->choice.inputs[i]->retired = true;
        sc_damages_forget_file(&merge->store->damages, merge->choice.inputs[i]->number);
    }
    note_lost_locked(merge);
    unlock(merge);
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
    struct slice *slice = &merge->slice;
    prefetch_locked(merge);
    for (size_t i = 0; i < slice->count; i++) {
        const struct item *item = &slice->items[i];
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
    struct slice *slice = &merge->slice;
    for (size_t i = 0; i < slice->count; i++) {
        struct item *item = &slice->items[i];
        item->record.key.data = slice->bytes.data + item->bytes;
        item->hash = sc_slot_hash(item->record.key);
    }
    lock(merge);
    move_locked(moving);
    unlock(merge);
    sc_failpoint("merge_moved");
    uint64_t bytes = slice->count * (uint64_t)MOVE_BYTES;
    slice->count = 0;
    slice->bytes.size = 0;
    moving->stopped = !merge->host->proceed(merge->host->arg, bytes);
}

static void move_entry(void *arg, const struct sc_hint_entry *entry)
{
    struct moving *moving = arg;
    struct slice *slice = &moving->merge->slice;
    if (moving->stopped || entry->record.kind != SC_RECORD_PUT) {
        return;
    }
    slice->items[slice->count++] = (struct item){
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
static void move(struct sc_merge *merge)
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

/* ---- Ending ---- */

/* Gives an input up. False: something still points to it. */
static bool doom(struct sc_merge *merge, struct sc_segment *segment)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    for (;;) {
        lock(merge);
        bool in_use = segment->live_bytes > 0;
        bool free = sc_writer_forget(&merge->store->writer, segment);
        if (!in_use && free) {
            sc_reap_doom(merge->store, segment, merge->kept);
        }
        unlock(merge);
        if (in_use || free) {
            return !in_use;
        }
        (void)nanosleep(&pause, NULL); /* until the commit that is under way is over */
    }
}

/* The keydir points to a record in an input still, and a copy that it does not point to looks dead:
 * but that copy is the one which counts after the next start, so it must not be merged away. */
static void keep_outputs(const struct sc_merge *merge)
{
    lock(merge);
    for (size_t i = 0; i < merge->output_count; i++) {
        merge->outputs[i].segment->damaged = true;
    }
    unlock(merge);
}

static void drop_inputs(struct sc_merge *merge)
{
    struct sc_reap_list list = {.count = 0};
    sc_failpoint("merge_before_unlink");
    for (size_t i = 0; i < merge->choice.count; i++) {
        if (!doom(merge, merge->choice.inputs[i])) {
            keep_outputs(merge);
        }
    }
    bool more = true;
    while (more) {
        lock(merge);
        sc_reap_take(merge->store, &list);
        unlock(merge);
        more = list.count > 0;
        sc_reap_remove(merge->store, &list);
    }
}

/* Removes the outputs of a merge that did not come to its end. */
static void drop_outputs(struct sc_merge *merge)
{
    lock(merge);
    for (size_t i = 0; i < merge->output_count; i++) {
        if (merge->outputs[i].enlisted) {
            merge->store->segments[merge->outputs[i].segment->index] = NULL;
        }
    }
    for (size_t i = 0; i < merge->choice.count; i++) {
        merge->choice.inputs[i]->merging = false;
    }
    unlock(merge);
    for (size_t i = 0; i < merge->output_count; i++) {
        struct sc_reap_list list = {.segments = {merge->outputs[i].segment}, .count = 1};
        sc_reap_remove(merge->store, &list);
    }
}

static void end_locked(struct sc_merge *merge, enum sc_status status, const char *why)
{
    struct sc_merge_figures *figures = &merge->figures;
    figures->running = false;
    figures->output_bytes = 0;
    if (status == SC_OK) {
        uint64_t written = 0;
        for (size_t i = 0; i < merge->output_count; i++) {
            written += merge->outputs[i].segment->size;
        }
        figures->merges++;
        figures->read_bytes += merge->choice.bytes;
        figures->written_bytes += written;
        figures->reclaimed_bytes +=
            merge->choice.bytes > written ? merge->choice.bytes - written : 0;
        figures->deletions_dropped += merge->deletions_dropped;
        merge->error[0] = '\0';
    } else if (status != SC_UNAVAILABLE) {
        figures->failures++;
        (void)snprintf(merge->error, sizeof merge->error, "%s", why);
    }
    merge->few = status == SC_IO;
}

static enum sc_status run(struct sc_merge *merge, char *why)
{
    enum sc_status status = SC_OK;
    for (size_t i = 0; i < merge->choice.count && status == SC_OK; i++) {
        status = copy_input(merge, i, why);
    }
    return status == SC_OK ? commit(merge, why) : status;
}

/* Merges, unless merges are held. */
static enum sc_status run_once(struct sc_merge *merge, char *why)
{
    enum sc_status status = seal_active(merge, why);
    if (status == SC_OK && !begin(merge)) {
        return SC_NOTFOUND;
    }
    if (status == SC_OK) {
        load_fences(merge);
        status = run(merge, why);
        if (status == SC_OK) {
            move(merge);
        }
        /* What was not written of an output that is given up. */
        sc_buf_reset(&merge->buffer, BUFFER_KEEP);
        sc_buf_reset(&merge->slice.bytes, BUFFER_KEEP);
        merge->slice.count = 0;
        if (status != SC_OK) {
            drop_outputs(merge);
        }
    }
    if (status == SC_OK) {
        drop_inputs(merge);
    }
    forget_lost(merge);
    lock(merge);
    end_locked(merge, status, why);
    unlock(merge);
    merge->output_count = 0;
    return status;
}

enum sc_status sc_merge_run(struct sc_merge *merge, const struct sc_merge_host *host, char *why)
{
    struct sc_bitcask *store = merge->store;
    merge->host = host;
    lock(merge);
    bool held = sc_bitcask_merges_held(store);
    store->moving.merging = !held;
    unlock(merge);
    if (held) {
        return SC_NOTFOUND;
    }
    enum sc_status status = run_once(merge, why);
    lock(merge);
    store->moving.merging = false;
    unlock(merge);
    return status;
}
