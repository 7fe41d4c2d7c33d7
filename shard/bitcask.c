#include "shard/bitcask_impl.h"

#include "common/failpoint.h"
#include "common/log.h"
#include "shard/grant.h"
#include "shard/hint.h"
#include "shard/io.h"
#include "shard/recover.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_SIZE_MIN (UINT64_C(4) << 10)

/* ---- Events ---- */

void sc_bitcask_tell(struct sc_bitcask *store, enum sc_bitcask_event_kind kind, const char *file,
                     uint64_t offset, uint64_t size, const char *format, ...)
{
    struct sc_bitcask_event event = {.kind = kind, .offset = offset, .size = size};
    (void)snprintf(event.file, sizeof event.file, "%s", file);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(event.text, sizeof event.text, format, args);
    va_end(args);
    if (store->on_event != NULL) {
        store->on_event(store->event_arg, &event);
    } else {
        sc_log_warn("%s", event.text);
    }
}

/* ---- Damage ---- */

/* Whether a file is part of the store. */
static bool is_listed(const struct sc_bitcask *store, uint64_t number)
{
    for (size_t i = 0; i < store->segment_count; i++) {
        const struct sc_segment *segment = store->segments[i];
        if (segment != NULL && segment->number == number && !segment->retired) {
            return true;
        }
    }
    return false;
}

bool sc_bitcask_note_damage(struct sc_bitcask *store, const struct sc_damage *damage)
{
    return !sc_damage_is_note(damage) && (damage->file == 0 || is_listed(store, damage->file)) &&
           sc_damages_note(&store->damages, damage, sc_clock_wall_us() / 1000);
}

const struct sc_files *sc_bitcask_files(const struct sc_bitcask *store)
{
    return &store->files;
}

const struct sc_damages *sc_bitcask_damages(const struct sc_bitcask *store)
{
    return &store->damages;
}

bool sc_bitcask_is_live(const struct sc_bitcask *store, const struct sc_damage *damage)
{
    struct sc_keydir_entry entry;
    return damage->key.data != NULL &&
           sc_keydir_find(store->keydir, damage->key, sc_slot_hash(damage->key), &entry) &&
           sc_bitcask_segment(store, entry.location)->number == damage->file &&
           entry.location.offset == damage->offset;
}

/* ---- Hints ---- */

/* The hint of a file with less than this in it would save nothing. */
#define HINT_SIZE_MIN (UINT64_C(64) << 10)

bool sc_bitcask_hint_pending(struct sc_bitcask *store, uint64_t *file_number)
{
    /* After a failed sync nothing that looks written may be declared settled. */
    bool failed = store->writer.failed[0] != '\0';
    for (size_t i = 0; i < store->segment_count && !failed; i++) {
        const struct sc_segment *segment = store->segments[i];
        if (segment != NULL && segment->sealed && !segment->merging && !segment->retired &&
            segment->hinted != segment->size && !segment->hint_hopeless &&
            segment->size > SC_SEGMENT_HEADER_SIZE && !store->options.read_only &&
            sc_writer_is_done(&store->writer, segment)) {
            *file_number = segment->number;
            return true;
        }
    }
    return false;
}

enum sc_status sc_bitcask_hint_build(const struct sc_bitcask *store, uint64_t file_number)
{
    char why[SC_WHY_SIZE];
    struct sc_manifest_file file;
    size_t void_count;
    bool listed = sc_manifest_find_file(store->manifest, file_number, &file);
    assert(listed);
    struct sc_manifest_void *voids = sc_manifest_voids(store->manifest, file_number, &void_count);
    enum sc_status status =
        sc_hint_build(&store->files, file_number, file.salt, voids, void_count, why);
    free(voids);
    if (status != SC_OK) {
        sc_log_warn("%s", why);
    }
    return status;
}

void sc_bitcask_hint_built(struct sc_bitcask *store, uint64_t file_number, enum sc_status status)
{
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment == NULL || segment->number != file_number) {
            continue;
        }
        segment->hint_hopeless = status != SC_OK;
        if (status == SC_OK) {
            segment->hinted = segment->size;
            sc_damages_forget_kind(&store->damages, file_number, SC_DAMAGE_HINT);
        }
        if (status == SC_OK && !segment->settled) {
            /* Building has synced it. */
            segment->settled = true;
            sc_manifest_settle(store->manifest, segment->number, segment->size);
        }
    }
}

/* So that the next opening need not read the newest file. */
static void hint_active(const struct sc_bitcask *store)
{
    const struct sc_segment *active = store->writer.active;
    if (active != NULL && !active->hint_hopeless && active->hinted != active->size &&
        active->size >= HINT_SIZE_MIN) {
        (void)sc_bitcask_hint_build(store, active->number); /* a hint is a convenience */
    }
}

/* ---- Open and close ---- */

bool sc_bitcask_enlist(struct sc_bitcask *store, struct sc_segment *segment)
{
    uint32_t index = 0;
    while (index < store->segment_count && store->segments[index] != NULL) {
        index++;
    }
    if (index == SC_LOCATION_FILES_MAX) {
        return false;
    }
    if (segment == NULL) {
        return true;
    }
    segment->index = index;
    store->segments[index] = segment;
    store->segment_count += index == store->segment_count ? 1 : 0;
    return true;
}

static bool enlist_new(void *arg, struct sc_segment *segment)
{
    return sc_bitcask_enlist(arg, segment);
}

static void store_free(struct sc_bitcask *store)
{
    sc_writer_fini(&store->writer);
    for (size_t i = 0; i < store->segment_count; i++) {
        sc_segment_close(store->segments[i]);
    }
    free(store->segments);
    free(store->deleted);
    sc_keydir_free(store->keydir);
    sc_buf_fini(&store->scratch);
    sc_horizon_close(&store->horizon);
    sc_damages_fini(&store->damages);
    sc_manifest_free(store->manifest);
    sc_files_close(&store->files);
    free(store);
}

static uint64_t clamp(uint64_t value, uint64_t min, uint64_t max)
{
    return value < min ? min : value > max ? max : value;
}

enum sc_status sc_bitcask_open(const char *dir, const struct sc_bitcask_options *options,
                               sc_bitcask_event_fn *on_event, void *event_arg,
                               struct sc_bitcask **store, char *why)
{
    uint64_t start_ns = sc_clock_mono_ns();
    struct sc_bitcask *opened = sc_calloc(1, sizeof *opened);
    sc_failpoint_init();
    opened->options = *options;
    opened->on_event = on_event;
    opened->event_arg = event_arg;
    opened->keydir = sc_keydir_alloc();
    opened->segments = sc_calloc(SC_LOCATION_FILES_MAX, sizeof(struct sc_segment *));
    sc_warmth_init(&opened->warmth, opened->segments);
    opened->deleted = sc_calloc(SC_SLOT_COUNT, sizeof *opened->deleted);
    enum sc_status status = sc_files_open(&opened->files, dir, options->read_only, why);
    if (status == SC_OK) {
        status = sc_recover(opened, why);
    }
    if (status != SC_OK) {
        store_free(opened);
        return status;
    }
    struct sc_writer *writer = &opened->writer;
    writer->file_size_max = clamp(options->file_size_max, FILE_SIZE_MIN, SC_SEGMENT_SIZE_MAX);
    writer->sync_always = options->sync_ms == SC_BITCASK_SYNC_ALWAYS;
    writer->zeros_ahead = options->zeros_ahead < SC_BITCASK_ZEROS_AHEAD ? options->zeros_ahead
                                                                        : SC_BITCASK_ZEROS_AHEAD;
    writer->enlist = enlist_new;
    writer->enlist_arg = opened;
    sc_moving_update(opened);
    opened->open_us = (sc_clock_mono_ns() - start_ns) / 1000;
    *store = opened;
    return SC_OK;
}

/* Gives back disk space that was allocated ahead. Nothing is lost if that fails. */
static void trim(const struct sc_segment *segment)
{
    if (segment != NULL && segment->allocated > segment->size) {
        (void)sc_io_truncate(segment->fd, segment->size);
    }
}

enum sc_status sc_bitcask_close(struct sc_bitcask *store)
{
    if (store == NULL) {
        return SC_OK;
    }
    enum sc_status status = SC_OK;
    if (!store->options.read_only) {
        status = sc_bitcask_commit(store, true);
        if (status == SC_OK) {
            sc_writer_trim(&store->writer);
            trim(store->writer.active);
            trim(store->writer.next);
            hint_active(store);
            sc_durable_sync(&store->writer.durable);
            (void)sc_manifest_flush(store->manifest, NULL); /* what it notes is a convenience */
        }
    }
    store_free(store);
    return status;
}

/* ---- Identity and slots ---- */

void sc_bitcask_identity(const struct sc_bitcask *store, struct sc_bitcask_identity *identity)
{
    struct sc_manifest_identity own;
    sc_manifest_identity(store->manifest, &own);
    *identity = (struct sc_bitcask_identity){
        .adopted = own.adopted,
        .shard_id = own.shard_id,
        .term = own.term,
        .epoch = own.epoch,
    };
    memcpy(identity->cluster, own.cluster, sizeof identity->cluster);
}

enum sc_status sc_bitcask_adopt(struct sc_bitcask *store, const uint8_t cluster[16],
                                uint32_t shard_id, char *why)
{
    if (store->options.read_only) {
        return sc_fail(why, SC_DENIED, "the store is opened for reading only");
    }
    return sc_manifest_adopt(store->manifest, cluster, shard_id, why);
}

enum sc_status sc_bitcask_grant(struct sc_bitcask *store, uint64_t term, uint64_t epoch,
                                const uint8_t owned[SC_SLOT_COUNT / 8], char *why)
{
    if (store->options.read_only) {
        return sc_fail(why, SC_DENIED, "the store is opened for reading only");
    }
    const struct sc_move_host alone = sc_move_host_alone(store);
    return sc_grant_run(store, &alone, term, epoch, owned, why);
}

bool sc_bitcask_owns(const struct sc_bitcask *store, uint32_t slot)
{
    struct sc_manifest_slot state;
    sc_manifest_slot(store->manifest, slot, &state);
    return state.state == SC_MANIFEST_OWNED || state.state == SC_MANIFEST_LEAVING;
}

enum sc_status sc_bitcask_check_grant(const struct sc_bitcask *store, uint64_t term,
                                      const uint8_t owned[SC_SLOT_COUNT / 8], char *why)
{
    return sc_manifest_check_grant(store->manifest, term, owned, why);
}

void sc_bitcask_arriving(const struct sc_bitcask *store, uint8_t slots[SC_SLOT_COUNT / 8])
{
    sc_manifest_slots(store->manifest, SC_MANIFEST_IMPORTING, slots);
}

void sc_bitcask_leaving(const struct sc_bitcask *store, uint8_t slots[SC_SLOT_COUNT / 8])
{
    sc_manifest_slots(store->manifest, SC_MANIFEST_LEAVING, slots);
}

struct sc_bitcask_moves sc_bitcask_moves(const struct sc_bitcask *store)
{
    struct sc_bitcask_moves moves;
    moves.importing =
        sc_manifest_import(store->manifest, &moves.import_move, &moves.ready, NULL, NULL);
    moves.exporting = sc_manifest_export(store->manifest, &moves.export_move, NULL);
    return moves;
}

bool sc_bitcask_is_sealed(const struct sc_bitcask *store)
{
    return store->moving.sealed;
}

/* ---- Group commit ---- */

sc_bitcask_position sc_bitcask_committed(const struct sc_bitcask *store)
{
    return store->writer.committed;
}

sc_bitcask_position sc_bitcask_appended(const struct sc_bitcask *store)
{
    return store->writer.appended;
}

bool sc_bitcask_commit_wanted(const struct sc_bitcask *store)
{
    return sc_writer_wanted(&store->writer);
}

bool sc_bitcask_commit_needs_sync(const struct sc_bitcask *store)
{
    return sc_writer_needs_sync(&store->writer);
}

struct sc_bitcask_commit *sc_bitcask_commit_begin(struct sc_bitcask *store, bool sync)
{
    return sc_writer_begin(&store->writer, sync);
}

void sc_bitcask_commit_run(struct sc_bitcask_commit *commit)
{
    sc_writer_run(commit);
}

enum sc_status sc_bitcask_commit_end(struct sc_bitcask *store, struct sc_bitcask_commit *commit)
{
    (void)commit; /* the store has one at most */
    return sc_writer_end(&store->writer);
}

enum sc_status sc_bitcask_commit(struct sc_bitcask *store, bool sync)
{
    struct sc_bitcask_commit *commit = sc_writer_begin(&store->writer, sync);
    if (commit == NULL) {
        return store->writer.failed[0] == '\0' ? SC_OK : SC_IO;
    }
    sc_writer_run(commit);
    return sc_writer_end(&store->writer);
}

struct sc_bitcask_help *sc_bitcask_help_begin(struct sc_bitcask *store)
{
    return store->options.read_only ? NULL : sc_writer_help_begin(&store->writer);
}

void sc_bitcask_help_run(struct sc_bitcask_help *help)
{
    sc_writer_help_run(help);
}

void sc_bitcask_help_end(struct sc_bitcask *store, struct sc_bitcask_help *help)
{
    (void)help; /* the store has one at most */
    sc_writer_help_end(&store->writer);
}

const char *sc_bitcask_failed(const struct sc_bitcask *store)
{
    return store->writer.failed[0] == '\0' ? NULL : store->writer.failed;
}

/* ---- Merges ---- */

bool sc_bitcask_merges_held(const struct sc_bitcask *store)
{
    return atomic_load(&store->moving.held) > 0;
}

uint64_t sc_bitcask_committed_size(const struct sc_bitcask *store, const struct sc_segment *segment)
{
    const struct sc_writer *writer = &store->writer;
    if (writer->written.file == segment->number) {
        return writer->written.offset < segment->size ? writer->written.offset : segment->size;
    }
    /* Of older files everything is written; of younger ones nothing but the head. */
    return writer->written.file > segment->number || segment->settled || store->options.read_only
               ? segment->size
               : SC_SEGMENT_HEADER_SIZE;
}

/* ---- Figures ---- */

void sc_bitcask_stats(const struct sc_bitcask *store, struct sc_bitcask_stats *stats)
{
    *stats = (struct sc_bitcask_stats){
        .keys = sc_keydir_count(store->keydir),
        .keydir_bytes = sc_keydir_memory(store->keydir),
        .puts = store->puts,
        .gets = store->gets,
        .dels = store->dels,
        .hits = store->hits,
        .misses = store->misses,
        .commits = store->writer.commits,
        .syncs = store->writer.syncs,
        .bytes_written = store->writer.bytes_written,
        .damaged_records = store->damages.found,
        .damage = store->damages.count + store->damages.overflow,
        .expired = store->expired,
        .cold_reads = store->cold_reads,
        .open_us = store->open_us,
    };
    for (size_t i = 0; i < store->segment_count; i++) {
        const struct sc_segment *segment = store->segments[i];
        if (segment == NULL) {
            continue;
        }
        stats->files++;
        stats->file_bytes += segment->size;
        if (segment->doomed) {
            stats->held_bytes += segment->size;
            continue;
        }
        stats->live_bytes += segment->live_bytes;
        stats->tombstones += segment->tombstones;
        stats->dead_bytes += sc_segment_dead_bytes(segment) + segment->deletion_bytes;
    }
}

struct sc_bitcask_slot sc_bitcask_slot(const struct sc_bitcask *store, uint32_t slot)
{
    return (struct sc_bitcask_slot){sc_keydir_slot_count(store->keydir, slot),
                                    sc_keydir_slot_bytes(store->keydir, slot)};
}

uint64_t sc_bitcask_memory_max(const struct sc_bitcask *store)
{
    return store->options.max_memory;
}

uint64_t sc_bitcask_disk_free(const struct sc_bitcask *store)
{
    return sc_files_free(&store->files);
}
