#include "shard/writer.h"

#include "common/clock.h"
#include "common/log.h"
#include "shard/bitcask.h"
#include "shard/io.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BUFFER_KEEP ((size_t)4 << 20) /* memory an emptied buffer keeps */
#define FIRST_POSITION UINT64_C(1)
#define AHEAD_COMMIT_MAX (32u << 10) /* zeros would cost a larger commit more than they save */

void sc_writer_init(struct sc_writer *writer, const struct sc_files *files,
                    struct sc_manifest *manifest)
{
    *writer = (struct sc_writer){
        .files = files,
        .manifest = manifest,
        .start = FIRST_POSITION,
        .appended = FIRST_POSITION,
        .committed = FIRST_POSITION,
    };
}

void sc_writer_fini(struct sc_writer *writer)
{
    assert(!writer->commit.under_way && !writer->help.under_way);
    sc_buf_fini(&writer->buffer);
    sc_buf_fini(&writer->commit.buffer);
    free(writer->pieces.items);
    free(writer->commit.pieces.items);
    free(writer->unsynced.items);
    free(writer->commit.unsynced.items);
    free(writer->full.items);
    sc_durable_close(&writer->durable);
}

/* ---- Pieces ---- */

static struct sc_writer_piece *pieces_add(struct sc_writer_pieces *pieces,
                                          struct sc_segment *segment, uint64_t offset)
{
    if (pieces->count == pieces->capacity) {
        pieces->capacity = pieces->capacity == 0 ? 4 : pieces->capacity * 2;
        pieces->items = sc_realloc(pieces->items, pieces->capacity * sizeof *pieces->items);
    }
    struct sc_writer_piece *piece = &pieces->items[pieces->count++];
    *piece = (struct sc_writer_piece){.segment = segment, .fd = segment->fd, .offset = offset};
    return piece;
}

static struct sc_writer_piece *pieces_last(struct sc_writer_pieces *pieces,
                                           const struct sc_segment *segment)
{
    struct sc_writer_piece *last = pieces->count > 0 ? &pieces->items[pieces->count - 1] : NULL;
    return last != NULL && last->segment == segment ? last : NULL;
}

static void pieces_swap(struct sc_writer_pieces *a, struct sc_writer_pieces *b)
{
    struct sc_writer_pieces t = *a;
    *a = *b;
    *b = t;
}

/* ---- New files ---- */

/* Makes a data file: durable and listed in the manifest. Any thread. */
static enum sc_status make_file(const struct sc_files *files, struct sc_manifest *manifest,
                                const struct sc_segment_owner *owner, struct sc_segment **segment,
                                char *why)
{
    uint64_t salt;
    if (getrandom(&salt, sizeof salt, 0) != (ssize_t)sizeof salt) {
        return sc_fail(why, SC_IO, "cannot get random bytes: %s", strerror(errno));
    }
    struct sc_segment *made = NULL;
    uint64_t number = sc_manifest_next_number(manifest);
    enum sc_status status = sc_segment_create(files, number, salt, owner, &made, why);
    if (status == SC_OK) {
        status = sc_manifest_add_file(manifest, number, salt, why);
    }
    if (status != SC_OK) {
        if (made != NULL && status == SC_IO) {
            char name[SC_FILES_NAME_SIZE];
            sc_files_data_name(name, number);
            (void)sc_io_unlink(files->dir_fd, name); /* else the next opening removes it */
        }
        sc_segment_close(made);
        return SC_IO;
    }
    *segment = made;
    return SC_OK;
}

struct sc_segment_owner sc_writer_owner(struct sc_manifest *manifest)
{
    struct sc_manifest_identity identity;
    sc_manifest_identity(manifest, &identity);
    struct sc_segment_owner owner = {.shard_id = identity.shard_id};
    memcpy(owner.cluster, identity.cluster, sizeof owner.cluster);
    return owner;
}

static enum sc_status make_next(struct sc_writer *writer, char *why)
{
    struct sc_segment_owner owner = sc_writer_owner(writer->manifest);
    struct sc_segment *made = NULL;
    if (!writer->enlist(writer->enlist_arg, NULL)) {
        return sc_fail(why, SC_IO, "%s has as many data files as a store can have",
                       writer->files->path);
    }
    enum sc_status status = make_file(writer->files, writer->manifest, &owner, &made, why);
    if (status != SC_OK) {
        return status;
    }
    bool enlisted = writer->enlist(writer->enlist_arg, made);
    assert(enlisted);
    writer->next = made;
    return SC_OK;
}

/* Seals the active file and goes on with the next one, for which there must be one. */
static void rotate(struct sc_writer *writer)
{
    struct sc_segment *full = writer->active;
    if (full != NULL) {
        full->sealed = true;
        struct sc_writer_piece *piece = pieces_last(&writer->pieces, full);
        if (piece == NULL) {
            piece = pieces_add(&writer->pieces, full, full->size);
        }
        /* Zeros in front of the mark would be damage: they go with the commit. */
        if (!writer->helped || full->zeroed > full->size) {
            piece->seal_size = full->size;
            piece->cut = full->zeroed > full->size;
        } else if (full->allocated > full->size) {
            (void)pieces_add(&writer->full, full, full->size);
        }
    }
    assert(writer->next != NULL);
    writer->active = writer->next;
    writer->next = NULL;
    writer->active->log_offset = writer->active->size;
    writer->active->log_position = writer->appended;
}

enum sc_status sc_writer_room(struct sc_writer *writer, uint64_t size, bool small, char *why)
{
    if (writer->failed[0] != '\0') {
        return sc_fail(why, SC_IO, "the store takes no writes: %s", writer->failed);
    }
    struct sc_segment *active = writer->active;
    if (active == NULL ||
        (active->size > SC_SEGMENT_HEADER_SIZE && active->size + size > writer->file_size_max)) {
        enum sc_status status = writer->next != NULL ? SC_OK : make_next(writer, why);
        if (status != SC_OK) {
            return status;
        }
        rotate(writer);
        active = writer->active;
    }
    active->full_size = writer->file_size_max;
    if (!sc_segment_allocate(active, size, small)) {
        char name[SC_FILES_NAME_SIZE];
        sc_files_data_name(name, active->number);
        return sc_files_fail(writer->files, "get disk space for", name, why);
    }
    return SC_OK;
}

struct sc_location sc_writer_append(struct sc_writer *writer, const struct sc_record *record,
                                    const bool *sync)
{
    struct sc_segment *active = writer->active;
    uint64_t offset = active->size;
    size_t size = (size_t)sc_record_size(record->key.size, record->value.size);
    sc_record_encode(sc_buf_reserve(&writer->buffer, size), record, active->salt ^ offset);
    writer->buffer.size += size;
    struct sc_writer_piece *piece = pieces_last(&writer->pieces, active);
    if (piece == NULL) {
        piece = pieces_add(&writer->pieces, active, offset);
    }
    piece->size += size;
    active->size += size;
    writer->appended += size;
    sc_segment_note(active, record->kind != SC_RECORD_PUT, record->version, size);
    if (sync != NULL ? *sync : writer->sync_always) {
        writer->demand = writer->appended;
    }
    return (struct sc_location){active->index, (uint32_t)size, offset};
}

const uint8_t *sc_writer_find(const struct sc_writer *writer, uint64_t position, uint64_t size)
{
    uint64_t first = position - size;
    if (position == 0) {
        return NULL;
    }
    if (first >= writer->start) {
        return writer->buffer.data + (first - writer->start);
    }
    const struct sc_bitcask_commit *commit = &writer->commit;
    return commit->under_way && first >= commit->start
               ? commit->buffer.data + (first - commit->start)
               : NULL;
}

/* ---- Sealing on demand, and merged files ---- */

enum sc_status sc_writer_make(const struct sc_files *files, struct sc_manifest *manifest,
                              struct sc_segment **segment, char *why)
{
    struct sc_segment_owner owner = sc_writer_owner(manifest);
    return make_file(files, manifest, &owner, segment, why);
}

bool sc_writer_seal(struct sc_writer *writer, struct sc_segment **spare)
{
    if (writer->next == NULL) {
        if (*spare == NULL || !writer->enlist(writer->enlist_arg, *spare)) {
            return false;
        }
        assert((*spare)->number > writer->active->number);
        writer->next = *spare;
        *spare = NULL;
    }
    rotate(writer);
    return true;
}

bool sc_writer_raise(struct sc_writer *writer, struct sc_segment **spare)
{
    struct sc_segment *empty = writer->next;
    bool younger = (writer->active != NULL && writer->active->number > (*spare)->number) ||
                   (empty != NULL && empty->number > (*spare)->number);
    if (younger || !writer->enlist(writer->enlist_arg, *spare)) {
        return false;
    }
    if (empty != NULL) {
        empty->sealed = true;
        empty->settled = true;
        sc_manifest_settle(writer->manifest, empty->number, empty->size);
    }
    writer->next = *spare;
    *spare = NULL;
    rotate(writer);
    return true;
}

static bool pieces_have(const struct sc_writer_pieces *pieces, const struct sc_segment *segment)
{
    for (size_t i = 0; i < pieces->count; i++) {
        if (pieces->items[i].segment == segment) {
            return true;
        }
    }
    return false;
}

static bool commit_has(const struct sc_bitcask_commit *commit, const struct sc_segment *segment)
{
    return commit->under_way &&
           (pieces_have(&commit->pieces, segment) || pieces_have(&commit->unsynced, segment));
}

bool sc_writer_is_done(const struct sc_writer *writer, const struct sc_segment *segment)
{
    return segment->sealed && sc_writer_position(segment, segment->size, 0) <= writer->committed &&
           !pieces_have(&writer->pieces, segment) && !commit_has(&writer->commit, segment);
}

static void pieces_forget(struct sc_writer_pieces *pieces, const struct sc_segment *segment)
{
    size_t kept = 0;
    for (size_t i = 0; i < pieces->count; i++) {
        if (pieces->items[i].segment != segment) {
            pieces->items[kept++] = pieces->items[i];
        }
    }
    pieces->count = kept;
}

bool sc_writer_forget(struct sc_writer *writer, const struct sc_segment *segment)
{
    pieces_forget(&writer->unsynced, segment);
    pieces_forget(&writer->full, segment);
    return !commit_has(&writer->commit, segment);
}

/* ---- Help ---- */

#define RETRY_MS UINT64_C(1000) /* until a file is tried again that could not be made */

/* A directory in which there is a file already can no longer become a cluster's: so the first one
 * is made ahead only when that has happened. */
static bool may_begin(const struct sc_writer *writer)
{
    struct sc_manifest_identity identity;
    sc_manifest_identity(writer->manifest, &identity);
    return identity.adopted;
}

static bool next_due(const struct sc_writer *writer)
{
    return writer->next == NULL &&
           (writer->active == NULL ? may_begin(writer)
                                   : writer->active->size > writer->file_size_max / 2) &&
           writer->enlist(writer->enlist_arg, NULL) &&
           (writer->help_after_ms == 0 || sc_clock_mono_ms() >= writer->help_after_ms);
}

/* A full file of which nothing remains to be written: cutting it earlier would make it longer. */
static struct sc_segment *take_full(struct sc_writer *writer)
{
    for (size_t i = 0; i < writer->full.count; i++) {
        struct sc_segment *segment = writer->full.items[i].segment;
        if (sc_writer_is_done(writer, segment)) {
            pieces_forget(&writer->full, segment);
            return segment;
        }
    }
    return NULL;
}

struct sc_bitcask_help *sc_writer_help_begin(struct sc_writer *writer)
{
    struct sc_bitcask_help *help = &writer->help;
    assert(!help->under_way);
    writer->helped = true;
    if (writer->failed[0] != '\0') {
        return NULL;
    }
    help->make = next_due(writer);
    help->full = take_full(writer);
    if (!help->make && help->full == NULL) {
        return NULL;
    }
    help->files = writer->files;
    help->manifest = writer->manifest;
    help->durable = &writer->durable;
    if (help->make) {
        help->owner = sc_writer_owner(writer->manifest);
    }
    if (help->full != NULL) {
        help->full->readers++; /* keeps its descriptor open */
    }
    help->made = NULL;
    help->under_way = true;
    return help;
}

/* Nothing is lost if it fails. */
static void trim(const struct sc_segment *segment)
{
    (void)sc_io_truncate(segment->fd, segment->size);
}

void sc_writer_help_run(struct sc_bitcask_help *help)
{
    if (help->make) {
        sc_durable_sync(help->durable);
        if (make_file(help->files, help->manifest, &help->owner, &help->made, help->why) != SC_OK) {
            help->made = NULL;
        }
    }
    if (help->full != NULL) {
        trim(help->full); /* its size is that of a sealed file: nobody changes it */
    }
}

/* Takes the file that was made ahead. */
static void take_made(struct sc_writer *writer, struct sc_segment *made)
{
    if (writer->next == NULL && (writer->active == NULL || writer->active->number < made->number) &&
        writer->enlist(writer->enlist_arg, made)) {
        writer->next = made;
        return;
    }
    /* Writes were faster and made one themselves: files must be filled in the order of their
     * numbers, so this one stays empty, until a merge takes it away. */
    made->sealed = true;
    made->settled = true;
    sc_manifest_settle(writer->manifest, made->number, made->size);
    trim(made);
    made->allocated = made->size;
    if (!writer->enlist(writer->enlist_arg, made)) {
        sc_segment_close(made);
    }
}

void sc_writer_help_end(struct sc_writer *writer)
{
    struct sc_bitcask_help *help = &writer->help;
    assert(help->under_way);
    help->under_way = false;
    if (help->full != NULL) {
        help->full->readers--;
        help->full->allocated = help->full->size;
    }
    if (help->made != NULL) {
        take_made(writer, help->made);
        writer->help_after_ms = 0;
        writer->help_warned = false;
    } else if (help->make) {
        writer->help_after_ms = sc_clock_mono_ms() + RETRY_MS;
        if (!writer->help_warned) {
            sc_log_warn("the next data file cannot be made ahead: %s", help->why);
            writer->help_warned = true;
        }
    }
}

void sc_writer_trim(struct sc_writer *writer)
{
    struct sc_segment *full;
    while ((full = take_full(writer)) != NULL) {
        trim(full);
    }
}

/* ---- Group commit ---- */

bool sc_writer_wanted(const struct sc_writer *writer)
{
    return writer->failed[0] == '\0' && writer->pieces.count > 0; /* maybe only to seal a file */
}

bool sc_writer_needs_sync(const struct sc_writer *writer)
{
    return sc_writer_wanted(writer) && writer->demand > writer->start;
}

/* Moves what was pending over to the commit. */
static void take_pending(struct sc_writer *writer, struct sc_bitcask_commit *commit)
{
    struct sc_buf emptied = commit->buffer;
    commit->buffer = writer->buffer;
    writer->buffer = emptied;
    sc_buf_reset(&writer->buffer, BUFFER_KEEP);
    pieces_swap(&commit->pieces, &writer->pieces);
    writer->pieces.count = 0;
    commit->start = writer->start;
    commit->end = writer->appended;
    writer->start = writer->appended;
}

/* Decides whether the commit, which has pieces, writes zeros ahead: only where space was allocated.
 */
static void plan_zeros(const struct sc_writer *writer, struct sc_bitcask_commit *commit)
{
    struct sc_writer_piece *last = &commit->pieces.items[commit->pieces.count - 1];
    struct sc_segment *segment = last->segment;
    uint64_t end = last->offset + last->size;
    uint64_t room =
        segment->allocated < writer->file_size_max ? segment->allocated : writer->file_size_max;
    if (segment->sealed || last->size > AHEAD_COMMIT_MAX || end <= segment->zeroed || end >= room) {
        return;
    }
    last->zeros_end = room - end < writer->zeros_ahead ? room : end + writer->zeros_ahead;
    segment->zeroed = last->zeros_end;
}

struct sc_bitcask_commit *sc_writer_begin(struct sc_writer *writer, bool sync)
{
    struct sc_bitcask_commit *commit = &writer->commit;
    assert(!commit->under_way);
    bool something = writer->pieces.count > 0 || (sync && writer->unsynced.count > 0);
    if (writer->failed[0] != '\0' || !something) {
        return NULL;
    }
    commit->files = writer->files;
    commit->manifest = writer->manifest;
    commit->durable = &writer->durable;
    commit->sync = sync || writer->demand > writer->start;
    commit->status = SC_OK;
    commit->mark_failed = false;
    take_pending(writer, commit);
    commit->written = writer->written;
    if (commit->pieces.count > 0) {
        const struct sc_writer_piece *last = &commit->pieces.items[commit->pieces.count - 1];
        commit->written =
            (struct sc_durable_mark){last->segment->number, last->offset + last->size};
    }
    if (commit->sync && commit->pieces.count > 0 && writer->zeros_ahead > 0) {
        plan_zeros(writer, commit);
    }
    commit->synced = commit->sync ? commit->written : writer->synced;
    commit->unsynced.count = 0;
    if (commit->sync) {
        pieces_swap(&commit->unsynced, &writer->unsynced);
    }
    commit->under_way = true;
    return commit;
}

static enum sc_status piece_fail(const struct sc_bitcask_commit *commit,
                                 const struct sc_writer_piece *piece, const char *doing, char *why)
{
    char name[SC_FILES_NAME_SIZE];
    int error = errno;
    /* The number of a segment never changes: it may be read without the owner's lock. */
    sc_files_data_name(name, piece->segment->number);
    errno = error;
    return sc_files_fail(commit->files, doing, name, why);
}

static enum sc_status sync_earlier(struct sc_bitcask_commit *commit)
{
    for (size_t i = 0; i < commit->unsynced.count; i++) {
        const struct sc_writer_piece *piece = &commit->unsynced.items[i];
        if (commit->pieces.count > 0 && commit->pieces.items[0].segment == piece->segment) {
            continue; /* is going to be synced anyway */
        }
        if (sc_io_fdatasync(piece->fd) != 0) {
            return piece_fail(commit, piece, "sync", commit->why);
        }
    }
    return SC_OK;
}

/* Nothing depends on these zeros: where they cannot be written, syncs are slower. */
static void write_zeros(const struct sc_writer_piece *piece)
{
    static const uint8_t zeros[64u << 10];
    uint64_t at = piece->offset + piece->size;
    while (at < piece->zeros_end) {
        uint64_t left = piece->zeros_end - at;
        size_t size = left < sizeof zeros ? (size_t)left : sizeof zeros;
        if (sc_io_write(piece->fd, zeros, size, at) != 0) {
            return;
        }
        at += size;
    }
}

bool sc_writer_is_ahead(int fd, uint64_t from, uint64_t to)
{
    uint8_t bytes[4096];
    if (to - from > SC_BITCASK_ZEROS_AHEAD) {
        return false;
    }
    while (from < to) {
        size_t size = to - from < sizeof bytes ? (size_t)(to - from) : sizeof bytes;
        ssize_t got = sc_io_read(fd, bytes, size, from);
        if (got <= 0 || bytes[0] != 0 || memcmp(bytes, bytes + 1, (size_t)got - 1) != 0) {
            return false;
        }
        from += (uint64_t)got;
    }
    return true;
}

static enum sc_status write_piece(struct sc_bitcask_commit *commit,
                                  const struct sc_writer_piece *piece, const uint8_t *data)
{
    if (piece->size > 0 && sc_io_write(piece->fd, data, piece->size, piece->offset) != 0) {
        return piece_fail(commit, piece, "write", commit->why);
    }
    /* Where that only gives back space that was allocated ahead, nothing is lost if it fails. */
    if (piece->seal_size > 0 && sc_io_truncate(piece->fd, piece->seal_size) != 0 && piece->cut) {
        return piece_fail(commit, piece, "cut", commit->why);
    }
    write_zeros(piece);
    if (commit->sync && sc_io_fdatasync(piece->fd) != 0) {
        return piece_fail(commit, piece, "sync", commit->why);
    }
    return SC_OK;
}

void sc_writer_run(struct sc_bitcask_commit *commit)
{
    const uint8_t *data = commit->buffer.data;
    commit->status = sync_earlier(commit);
    for (size_t i = 0; i < commit->pieces.count && commit->status == SC_OK; i++) {
        commit->status = write_piece(commit, &commit->pieces.items[i], data);
        data += commit->pieces.items[i].size;
    }
    if (commit->status != SC_OK) {
        return;
    }
    commit->mark_failed = !sc_durable_write(commit->durable, commit->synced, commit->written);
}

/* Keeps one entry for each file that was written but not synced, in the order of the log. */
static void note_unsynced(struct sc_writer *writer, const struct sc_bitcask_commit *commit)
{
    for (size_t i = 0; i < commit->pieces.count; i++) {
        struct sc_segment *segment = commit->pieces.items[i].segment;
        if (pieces_last(&writer->unsynced, segment) == NULL) {
            pieces_add(&writer->unsynced, segment, 0);
        }
    }
}

static void settle(struct sc_writer *writer, const struct sc_writer_pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++) {
        struct sc_segment *segment = pieces->items[i].segment;
        /* Sealed, and no part of it is pending: then this commit has synced the last of it. */
        if (segment->sealed && !segment->settled &&
            sc_writer_position(segment, segment->size, 0) <= writer->committed) {
            segment->settled = true;
            sc_manifest_settle(writer->manifest, segment->number, segment->size);
        }
    }
}

enum sc_status sc_writer_end(struct sc_writer *writer)
{
    struct sc_bitcask_commit *commit = &writer->commit;
    assert(commit->under_way);
    commit->under_way = false;
    if (commit->status != SC_OK) {
        memcpy(writer->failed, commit->why, sizeof writer->failed);
        sc_log_error("%s: the store is read-only from now on; restart it when the disk is well",
                     writer->failed);
        return SC_IO;
    }
    sc_buf_reset(&commit->buffer, BUFFER_KEEP);
    writer->committed = commit->end;
    writer->written = commit->written;
    writer->synced = commit->synced;
    writer->bytes_written += commit->end - commit->start;
    writer->commits++;
    if (commit->sync) {
        writer->syncs++;
        settle(writer, &commit->unsynced);
        settle(writer, &commit->pieces);
    } else {
        note_unsynced(writer, commit);
    }
    if (commit->mark_failed && !writer->mark_warned) {
        sc_log_warn("cannot write " SC_FILES_DURABLE " in %s: damage at the end of the newest file "
                    "may be taken for the trace of a crash",
                    writer->files->path);
        writer->mark_warned = true;
    }
    return SC_OK;
}
