#include "shard/recover.h"

#include "common/log.h"
#include "shard/bitcask_impl.h"
#include "shard/hint.h"
#include "shard/io.h"
#include "shard/offers.h"
#include "shard/walk.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One data file while it is read. */
struct loading {
    struct sc_bitcask *store;
    struct sc_segment *segment;
    char name[SC_FILES_NAME_SIZE];
    uint64_t mark; /* what lies before it was acknowledged */
    uint64_t settled; /* the size that it should have; 0: not known */
    uint64_t hinted; /* the hint tells of everything before it */
    uint64_t torn; /* start of a damaged stretch behind the mark that may be the end; 0: none */
    const struct sc_manifest_fence *fences; /* of each slot; NULL: there are none */
    bool whole; /* its end is intact: it may be appended to */
    bool lossy; /* a stretch was lost: no hint, which would hide it */
    bool cut; /* its end is missing: no new hint, which would tell less than the one there is */
    bool damaged; /* that, or a value */
    struct sc_manifest_void *voids; /* found */
    size_t void_count;
    struct sc_offers *offers; /* of all files */
};

/* ---- Records ---- */

/* A slot may have been moved away, and have come back: what it had then is dead. */
static bool is_fenced(const struct loading *loading, uint64_t hash, uint64_t offset)
{
    return loading->fences != NULL && sc_manifest_is_dead(loading->fences[sc_slot_of_hash(hash)],
                                                          loading->segment->number, offset);
}

static void take_record(struct loading *loading, const struct sc_record *record, uint64_t offset,
                        uint64_t size)
{
    sc_clock_observe(&loading->store->clock, record->version);
    if (record->kind == SC_RECORD_CLEAR) {
        sc_segment_note(loading->segment, true, record->version, size);
        sc_offers_clear(loading->offers, record);
        return;
    }
    uint64_t hash = sc_slot_hash(record->key);
    if (is_fenced(loading, hash, offset)) {
        return; /* nothing can bring it back, nor does it hide anything: dead bytes */
    }
    sc_segment_note(loading->segment, record->kind != SC_RECORD_PUT, record->version, size);
    sc_offers_add(loading->offers, record, hash,
                  (struct sc_location){loading->segment->index, (uint32_t)size, offset});
}

/* ---- Damage ---- */

/* `record`: NULL if it is not known. */
static void note_damage(const struct loading *loading, enum sc_damage_kind kind, uint64_t offset,
                        uint64_t size, const struct sc_record *record)
{
    const struct sc_damage damage = {
        .kind = kind,
        .file = loading->segment->number,
        .offset = offset,
        .size = size,
        .key = record != NULL ? record->key : sc_slice(NULL, 0),
        .version = record != NULL ? record->version : 0,
    };
    (void)sc_bitcask_note_damage(loading->store, &damage);
}

static void tell_damage(struct loading *loading, uint64_t offset, uint64_t size, const char *what)
{
    sc_bitcask_tell(loading->store, SC_EVENT_DAMAGE, loading->name, offset, size,
                    "%s in %s: %" PRIu64 " bytes at offset %" PRIu64 " %s", loading->name,
                    loading->store->files.path, size, offset, what);
}

static void add_void(struct loading *loading, uint64_t offset, uint64_t size)
{
    size_t count = loading->void_count + 1;
    loading->voids = sc_realloc(loading->voids, count * sizeof *loading->voids);
    loading->voids[loading->void_count] =
        (struct sc_manifest_void){loading->segment->number, offset, size};
    loading->void_count = count;
}

/* Something that is not a whole record. */
static void take_damage(struct loading *loading, const struct sc_walk_item *item)
{
    uint64_t end = item->offset + item->size;
    end = end < loading->segment->size ? end : loading->segment->size;
    if (item->offset >= loading->mark) {
        loading->torn = loading->torn == 0 ? item->offset : loading->torn;
        return;
    }
    loading->damaged = true;
    if (item->kind == SC_WALK_BAD_VALUE || item->kind == SC_WALK_CUT) {
        tell_damage(loading, item->offset, end - item->offset,
                    "are a damaged value: its key answers so");
        note_damage(loading, SC_DAMAGE_VALUE, item->offset, item->size, &item->record);
        take_record(loading, &item->record, item->offset, item->size);
    } else {
        uint64_t lost_end = end < loading->mark ? end : loading->mark;
        tell_damage(loading, item->offset, lost_end - item->offset,
                    "are damaged and were skipped: what stood there is lost");
        note_damage(loading, SC_DAMAGE_STRETCH, item->offset, lost_end - item->offset, NULL);
        loading->lossy = true;
        if (end > loading->mark) {
            loading->torn = loading->mark;
        }
    }
    loading->whole = loading->whole && end < loading->segment->size;
}

/* A whole record follows a damaged stretch behind the mark: so that was not the end. */
static void pass_torn(struct loading *loading, uint64_t end)
{
    if (loading->torn != 0) {
        tell_damage(loading, loading->torn, end - loading->torn,
                    "are damaged, the trace of a crash, and were skipped");
        add_void(loading, loading->torn, end - loading->torn);
        loading->torn = 0;
    }
}

/* Cuts the file where it is torn. */
static enum sc_status cut_torn(struct loading *loading, char *why)
{
    struct sc_segment *segment = loading->segment;
    if (!loading->store->options.read_only && sc_io_truncate(segment->fd, loading->torn) != 0) {
        return sc_files_fail(&loading->store->files, "cut", loading->name, why);
    }
    segment->size = loading->torn;
    segment->allocated = loading->torn;
    return SC_OK;
}

/* The end of the file was reached. */
static enum sc_status finish_end(struct loading *loading, uint64_t expected, char *why)
{
    struct sc_segment *segment = loading->segment;
    if (segment->size < expected) {
        tell_damage(loading, segment->size, expected - segment->size,
                    "are missing at the end of the file");
        note_damage(loading, SC_DAMAGE_END, segment->size, expected - segment->size, NULL);
        loading->whole = false;
        loading->cut = true;
        loading->lossy = loading->lossy || loading->hinted < expected;
        loading->damaged = true;
    }
    if (loading->torn == 0) {
        return SC_OK;
    }
    if (sc_writer_is_ahead(segment->fd, loading->torn, segment->size)) {
        return cut_torn(loading, why);
    }
    uint64_t size = segment->size - loading->torn;
    sc_bitcask_tell(loading->store, SC_EVENT_TORN_TAIL, loading->name, loading->torn, size,
                    "%s in %s: the last %" PRIu64 " bytes, from offset %" PRIu64
                    ", are no whole record and were %s",
                    loading->name, loading->store->files.path, size, loading->torn,
                    loading->whole ? "cut off" : "skipped");
    if (!loading->whole) {
        add_void(loading, loading->torn, size);
        return SC_OK;
    }
    return cut_torn(loading, why);
}

/* ---- One file ---- */

static void take_hint_entry(void *arg, const struct sc_hint_entry *entry)
{
    take_record(arg, &entry->record, entry->offset, entry->size);
}

/* Takes what the hint tells; stores where the walk has to begin. */
static enum sc_status load_hint(struct loading *loading, uint64_t *covered, char *why)
{
    struct sc_bitcask *store = loading->store;
    struct sc_segment *segment = loading->segment;
    char what[SC_WHY_SIZE];
    *covered = SC_SEGMENT_HEADER_SIZE;
    /* Of a file that never grows again the hint may tell more than is left of it. */
    uint64_t size = segment->size > loading->settled ? segment->size : loading->settled;
    enum sc_status status = sc_hint_load(&store->files, segment->number, segment->salt, size,
                                         take_hint_entry, loading, covered, what);
    if (status == SC_OK) {
        segment->hinted = *covered;
        loading->hinted = *covered;
        return SC_OK;
    }
    sc_segment_unnote(segment); /* the walk counts again */
    if (status == SC_NOTFOUND) {
        return SC_OK;
    }
    char name[SC_FILES_NAME_SIZE];
    sc_files_hint_name(name, segment->number);
    if (status == SC_IO) {
        return sc_fail(why, SC_IO, "%s in %s: %s", name, store->files.path, what);
    }
    /* It must not look right again when its data file has grown. That of a file which never grows
     * stays until there is a better one: the disk may bring it the next time, and it may be all
     * that knows of records which cannot be read. */
    bool remove = !store->options.read_only && loading->settled == 0;
    if (remove && (sc_io_unlink(store->files.dir_fd, name) != 0 ||
                   sc_files_sync(&store->files, why) != SC_OK)) {
        return sc_files_fail(&store->files, "remove", name, why);
    }
    sc_bitcask_tell(store, SC_EVENT_HINT, name, 0, 0,
                    "%s in %s is not used: %s; its data file is read instead", name,
                    store->files.path, what);
    return SC_OK;
}

static enum sc_status walk_file(struct loading *loading, const struct sc_manifest_void *voids,
                                size_t void_count, uint64_t from, char *why)
{
    struct sc_segment *segment = loading->segment;
    struct sc_walk walk;
    struct sc_walk_item item;
    sc_walk_init(&walk, segment->fd, segment->salt, from, segment->size, voids, void_count);
    while (sc_walk_next(&walk, &item)) {
        if (item.kind == SC_WALK_RECORD) {
            pass_torn(loading, item.offset);
            take_record(loading, &item.record, item.offset, item.size);
        } else {
            take_damage(loading, &item);
        }
    }
    enum sc_status status = walk.status;
    if (status != SC_OK) {
        errno = walk.error;
        sc_files_fail(&loading->store->files, "read", loading->name, why);
    }
    sc_walk_fini(&walk);
    return status;
}

static enum sc_status check_header(struct loading *loading, char *why)
{
    char what[SC_WHY_SIZE];
    bool too_new;
    enum sc_status status = sc_segment_check(loading->segment, &too_new, what);
    if (status == SC_CORRUPT && !too_new) {
        note_damage(loading, SC_DAMAGE_HEAD, 0, SC_SEGMENT_HEADER_SIZE, NULL);
        sc_bitcask_tell(loading->store, SC_EVENT_DAMAGE, loading->name, 0, SC_SEGMENT_HEADER_SIZE,
                        "%s in %s: %s; its records are read all the same", loading->name,
                        loading->store->files.path, what);
        loading->whole = false;
        return SC_OK;
    }
    return status == SC_OK ? SC_OK
                           : sc_fail(why, status, "%s in %s: %s", loading->name,
                                     loading->store->files.path, what);
}

static uint64_t mark_of(const struct sc_manifest_file *file, struct sc_durable_mark mark)
{
    if (file->settled_size > 0) {
        return file->settled_size;
    }
    if (file->number == mark.file) {
        return mark.offset;
    }
    return file->number < mark.file ? UINT64_MAX : 0;
}

static enum sc_status load_file(struct sc_bitcask *store, const struct sc_manifest_file *file,
                                struct sc_durable_mark mark, struct sc_segment *segment,
                                const struct sc_manifest_fence *fences, struct sc_offers *offers,
                                char *why)
{
    struct loading loading = {
        .store = store,
        .segment = segment,
        .offers = offers,
        .mark = mark_of(file, mark),
        .settled = file->settled_size,
        .fences = fences,
        .whole = true,
    };
    sc_files_data_name(loading.name, segment->number);
    /* A deletion from now on is newer than this, whatever the system clock says and even if the
     * records with the newest versions went with a merge. */
    sc_clock_observe(&store->clock, file->clean);
    enum sc_status status = check_header(&loading, why);
    size_t void_count;
    struct sc_manifest_void *voids =
        sc_manifest_voids(store->manifest, segment->number, &void_count);
    uint64_t from = segment->size;
    if (status == SC_OK && (segment->size >= SC_SEGMENT_HEADER_SIZE || file->settled_size > 0)) {
        status = load_hint(&loading, &from, why);
    }
    if (status == SC_OK && from < segment->size) {
        status = walk_file(&loading, voids, void_count, from, why);
    }
    if (status == SC_OK) {
        status = finish_end(&loading, loading.mark == UINT64_MAX ? 0 : loading.mark, why);
    }
    if (status == SC_OK && store->options.read_only) {
        sc_manifest_note_voids(store->manifest, loading.voids, loading.void_count);
    } else if (status == SC_OK) {
        status = sc_manifest_add_voids(store->manifest, loading.voids, loading.void_count, why);
    }
    segment->sealed = file->settled_size > 0 || !loading.whole;
    segment->settled = file->settled_size > 0;
    segment->hint_hopeless = loading.lossy || loading.cut;
    segment->untended = loading.damaged;
    segment->version_min = loading.lossy ? 0 : segment->version_min; /* who knows what was there */
    segment->clean = loading.lossy ? 0 : file->clean;
    free(voids);
    free(loading.voids);
    return status;
}

/* ---- All files ---- */

struct listing {
    struct sc_bitcask *store;
    bool any_data;
    struct sc_buf names; /* NUL-terminated, of what is not listed in the manifest */
};

static bool is_listed(struct sc_manifest *manifest, uint64_t number)
{
    size_t count = manifest != NULL ? sc_manifest_files(manifest) : 0;
    for (size_t i = 0; i < count; i++) {
        if (sc_manifest_file(manifest, i).number == number) {
            return true;
        }
    }
    return false;
}

static void see_name(void *arg, const char *name)
{
    struct listing *listing = arg;
    uint64_t number = 0;
    enum sc_files_kind kind = sc_files_parse(name, &number);
    listing->any_data = listing->any_data || kind == SC_FILES_DATA;
    bool ours = kind == SC_FILES_DATA || kind == SC_FILES_HINT;
    if (kind == SC_FILES_TEMPORARY || (ours && !is_listed(listing->store->manifest, number))) {
        sc_buf_append(&listing->names, name, strlen(name) + 1);
    }
}

/* A data file that the manifest does not list: an empty one was being created when the process
 * died; any other is kept, but it is not ours to read. */
static enum sc_status put_aside(struct sc_bitcask *store, const char *name, uint64_t number,
                                char *why)
{
    struct sc_segment *segment;
    enum sc_status status = sc_segment_open(&store->files, number, 0, true, &segment, why);
    if (status != SC_OK) {
        return SC_IO;
    }
    uint64_t size = segment->size;
    sc_segment_close(segment);
    if (size <= SC_SEGMENT_HEADER_SIZE) {
        return sc_io_unlink(store->files.dir_fd, name) == 0
                   ? SC_OK
                   : sc_files_fail(&store->files, "remove", name, why);
    }
    char orphan[SC_FILES_NAME_SIZE + sizeof ".orphan"];
    (void)snprintf(orphan, sizeof orphan, "%s.orphan", name);
    if (sc_io_rename(store->files.dir_fd, name, orphan) != 0) {
        return sc_files_fail(&store->files, "rename", name, why);
    }
    sc_bitcask_tell(store, SC_EVENT_OTHER, name, 0, size,
                    "%s in %s is not part of this store: renamed to %s", name, store->files.path,
                    orphan);
    return SC_OK;
}

static enum sc_status tidy(struct listing *listing, char *why)
{
    struct sc_bitcask *store = listing->store;
    const char *end = (const char *)listing->names.data + listing->names.size;
    for (const char *name = (const char *)listing->names.data; name != end;
         name += strlen(name) + 1) {
        uint64_t number = 0;
        enum sc_status status = SC_OK;
        if (sc_files_parse(name, &number) == SC_FILES_DATA &&
            !sc_manifest_is_discarded(store->manifest, number)) {
            status = put_aside(store, name, number, why);
        } else if (sc_io_unlink(store->files.dir_fd, name) != 0) {
            status = sc_files_fail(&store->files, "remove", name, why);
        }
        if (status != SC_OK) {
            return status;
        }
    }
    /* Removals reach the disk before the next manifest does: they are changes of one directory. */
    sc_manifest_forget_all_discarded(store->manifest);
    return SC_OK;
}

static enum sc_status load_manifest(struct sc_bitcask *store, char *why)
{
    bool damaged = false;
    enum sc_status status = sc_manifest_load(&store->files, &store->manifest, &damaged, why);
    if (damaged && status == SC_OK) {
        sc_bitcask_tell(store, SC_EVENT_OTHER, SC_FILES_MANIFEST, 0, 0,
                        "one of the two copies in %s/" SC_FILES_MANIFEST
                        " is damaged: the other one is used",
                        store->files.path);
    }
    return status;
}

/* Reads the manifest, or makes one in a directory that has neither that nor data, and deals with
 * files that are not in it. */
static enum sc_status open_manifest(struct sc_bitcask *store, char *why)
{
    enum sc_status status = load_manifest(store, why);
    if (status != SC_OK && status != SC_NOTFOUND) {
        return status;
    }
    bool is_new = status == SC_NOTFOUND;
    struct listing listing = {.store = store};
    status = sc_files_list(&store->files, see_name, &listing, why);
    if (status == SC_OK && is_new) {
        const char *path = store->files.path;
        if (listing.any_data) {
            status = sc_fail(why, SC_CORRUPT,
                             "%s has data files but no " SC_FILES_MANIFEST
                             ": shardcask-shard --repair may help, or a backup; or move the files "
                             "away to start anew",
                             path);
        } else if (store->options.read_only) {
            status = sc_fail(why, SC_NOTFOUND, "there is no store in %s", path);
        } else {
            status = sc_manifest_create(&store->files, &store->manifest, why);
        }
    } else if (status == SC_OK && !store->options.read_only) {
        status = tidy(&listing, why);
    }
    sc_buf_fini(&listing.names);
    return status;
}

static enum sc_status open_segments(struct sc_bitcask *store, uint64_t *total, char *why)
{
    size_t count = sc_manifest_files(store->manifest);
    *total = 0;
    for (size_t i = 0; i < count; i++) {
        struct sc_manifest_file file = sc_manifest_file(store->manifest, i);
        struct sc_segment *segment;
        enum sc_status status = sc_segment_open(&store->files, file.number, file.salt,
                                                store->options.read_only, &segment, why);
        if (status == SC_NOTFOUND && store->options.salvage &&
            (store->options.read_only || file.settled_size > 0)) {
            status = sc_segment_open_missing(file.number, file.salt, &segment, why);
        }
        if (status == SC_NOTFOUND) {
            char name[SC_FILES_NAME_SIZE];
            sc_files_data_name(name, file.number);
            return sc_fail(
                why, SC_CORRUPT,
                "%s is missing in %s, and with it what it held: restore it from a backup, or see "
                "what shardcask-shard --repair says",
                name, store->files.path);
        }
        if (status != SC_OK) {
            return status;
        }
        if (!sc_bitcask_enlist(store, segment)) {
            sc_segment_close(segment);
            return sc_fail(why, SC_CORRUPT, "%s lists more files than a store can have",
                           SC_FILES_MANIFEST);
        }
        *total += segment->size;
    }
    return SC_OK;
}

static enum sc_status load_each(struct sc_bitcask *store, struct sc_durable_mark mark,
                                const struct sc_manifest_fence *fences, struct sc_offers *offers,
                                uint64_t total, char *why)
{
    uint64_t done = 0;
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        struct sc_manifest_file file = sc_manifest_file(store->manifest, i);
        assert(file.number == segment->number);
        uint64_t size = segment->size;
        enum sc_status status = load_file(store, &file, mark, segment, fences, offers, why);
        if (status != SC_OK) {
            return status;
        }
        done += size;
        if (store->options.on_progress != NULL) {
            store->options.on_progress(store->options.progress_arg, done, total);
        }
    }
    return SC_OK;
}

static enum sc_status load_files(struct sc_bitcask *store, struct sc_durable_mark mark,
                                 uint64_t total, char *why)
{
    struct sc_offers *offers = sc_offers_alloc(store);
    struct sc_manifest_fence *fences = sc_calloc(SC_SLOT_COUNT, sizeof *fences);
    bool fenced = sc_manifest_fences(store->manifest, fences);
    enum sc_status status = load_each(store, mark, fenced ? fences : NULL, offers, total, why);
    if (status == SC_OK) {
        uint8_t arriving[SC_SLOT_COUNT / 8];
        uint8_t leaving[SC_SLOT_COUNT / 8];
        sc_offers_flush(offers);
        sc_manifest_slots(store->manifest, SC_MANIFEST_IMPORTING, arriving);
        sc_manifest_slots(store->manifest, SC_MANIFEST_LEAVING, leaving);
        sc_keydir_opened(store->keydir, arriving, leaving);
    }
    free(fences);
    sc_offers_free(offers);
    return status;
}

/* The last place at or before which records of some slot are dead. */
static struct sc_manifest_fence last_fence(struct sc_bitcask *store)
{
    struct sc_manifest_fence last = {0};
    for (uint32_t s = 0; s < SC_SLOT_COUNT; s++) {
        struct sc_manifest_slot slot;
        sc_manifest_slot(store->manifest, s, &slot);
        if (sc_manifest_is_dead(slot.fence, last.file, last.offset)) {
            last = slot.fence;
        }
    }
    return last;
}

/* ---- Going on writing ---- */

/* Of the files that are not sealed, the last one with records goes on, the empty one behind it is
 * next, and the others are sealed. What is appended must not come to lie before a fence, even when
 * the end of a file was lost, or all of the last one. */
static void choose_active(struct sc_bitcask *store)
{
    struct sc_writer *writer = &store->writer;
    struct sc_manifest_fence fence = last_fence(store);
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        bool empty = segment->size <= SC_SEGMENT_HEADER_SIZE;
        if (segment->sealed || sc_manifest_is_dead(fence, segment->number, segment->size)) {
            continue;
        }
        if (writer->active == NULL || !empty) {
            writer->active = segment;
            writer->next = NULL;
        } else if (writer->next == NULL) {
            writer->next = segment;
        }
    }
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        segment->sealed = segment != writer->active && segment != writer->next;
    }
    if (writer->active != NULL) {
        writer->active->log_offset = writer->active->size;
        writer->active->log_position = writer->appended;
    }
}

/* Makes durable what was read: an answer must not tell what a failing of the power could undo. */
static enum sc_status sync_files(struct sc_bitcask *store, char *why)
{
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment->settled) {
            continue;
        }
        if (sc_io_fdatasync(segment->fd) != 0) {
            char name[SC_FILES_NAME_SIZE];
            sc_files_data_name(name, segment->number);
            return sc_files_fail(&store->files, "sync", name, why);
        }
        if (segment->sealed) {
            segment->settled = true;
            sc_manifest_settle(store->manifest, segment->number, segment->size);
        }
    }
    return SC_OK;
}

static enum sc_status resume_writing(struct sc_bitcask *store, char *why)
{
    struct sc_writer *writer = &store->writer;
    choose_active(store);
    enum sc_status status = sync_files(store, why);
    if (status == SC_OK) {
        status = sc_durable_open(&writer->durable, &store->files, why);
    }
    if (status != SC_OK || store->segment_count == 0) {
        return status;
    }
    const struct sc_segment *last =
        writer->active != NULL ? writer->active : store->segments[store->segment_count - 1];
    writer->written = (struct sc_durable_mark){last->number, last->size};
    writer->synced = writer->written;
    if (!sc_durable_write(&writer->durable, writer->synced, writer->written)) {
        return sc_files_fail(&store->files, "write", SC_FILES_DURABLE, why);
    }
    sc_durable_sync(&writer->durable);
    char trouble[SC_WHY_SIZE];
    if (sc_manifest_flush(store->manifest, trouble) != SC_OK) {
        /* A full disk must not keep what is on it from being read. */
        sc_log_warn("what was learnt of sealed files is not on disk yet: %s", trouble);
    }
    return SC_OK;
}

enum sc_status sc_recover(struct sc_bitcask *store, char *why)
{
    uint64_t total;
    bool damaged;
    enum sc_status status = open_manifest(store, why);
    if (status != SC_OK) {
        return status;
    }
    sc_writer_init(&store->writer, &store->files, store->manifest);
    status = open_segments(store, &total, why);
    if (status != SC_OK) {
        return status;
    }
    struct sc_durable_mark mark;
    status = sc_durable_load(&store->files, &mark, &damaged, why);
    if (status != SC_OK) {
        return status;
    }
    if (damaged) {
        sc_bitcask_tell(store, SC_EVENT_OTHER, SC_FILES_DURABLE, 0, 0,
                        "%s/" SC_FILES_DURABLE " is damaged: damage at the end of the newest file "
                        "counts as the trace of a crash",
                        store->files.path);
    }
    sc_clock_observe(&store->clock, sc_horizon_load(&store->files) * 1000);
    sc_clock_observe(&store->clock, sc_manifest_floor(store->manifest));
    status = load_files(store, mark, total, why);
    if (status != SC_OK || store->options.read_only) {
        return status;
    }
    return resume_writing(store, why);
}
