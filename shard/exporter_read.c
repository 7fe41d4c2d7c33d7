#include "shard/exporter_impl.h"

#include "common/bytes.h"
#include "shard/bitcask_impl.h"
#include "shard/frame.h"
#include "shard/io.h"
#include "shard/walk.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CURSOR_WALK 1u
#define CURSOR_LOG 2u
#define CURSOR_LOG_SIZE 17u
#define LEARN_SLICE 256u

/* ---- What is left of the log ---- */

struct sc_exporter_place sc_exporter_end_of_log(const struct sc_bitcask *store)
{
    const struct sc_segment *active = store->writer.active;
    return active == NULL ? (struct sc_exporter_place){0}
                          : (struct sc_exporter_place){active->number, active->size};
}

/* How far there is anything to read. */
static struct sc_exporter_place end_locked(const struct sc_exporter *exporter)
{
    return exporter->sealed && exporter->store->moving.sealed
               ? exporter->seal_end
               : sc_exporter_end_of_log(exporter->store);
}

/* Bytes from a place to there. */
static uint64_t gap_locked(const struct sc_exporter *exporter, struct sc_exporter_place from)
{
    const struct sc_bitcask *store = exporter->store;
    struct sc_exporter_place end = end_locked(exporter);
    uint64_t gap = 0;
    for (size_t i = 0; i < store->segment_count; i++) {
        const struct sc_segment *segment = store->segments[i];
        if (segment == NULL || segment->retired || segment->number < from.file ||
            segment->number > end.file) {
            continue;
        }
        uint64_t first = segment->number == from.file ? from.offset : SC_SEGMENT_HEADER_SIZE;
        uint64_t last = segment->number == end.file ? end.offset : segment->size;
        gap += last > first ? last - first : 0;
    }
    return gap;
}

/* ---- Cursors ---- */

static void put_walk_cursor(struct sc_buf *cursor, uint64_t hash, struct sc_slice key)
{
    uint8_t bytes[9] = {CURSOR_WALK};
    sc_be64_put(bytes + 1, hash);
    cursor->size = 0;
    sc_buf_append(cursor, bytes, sizeof bytes);
    sc_buf_append_slice(cursor, key);
}

static void put_log_cursor(struct sc_buf *cursor, struct sc_exporter_place place)
{
    uint8_t bytes[CURSOR_LOG_SIZE] = {CURSOR_LOG};
    sc_le64_put(bytes + 1, place.file);
    sc_le64_put(bytes + 9, place.offset);
    cursor->size = 0;
    sc_buf_append(cursor, bytes, sizeof bytes);
}

static bool parse_walk_cursor(struct sc_slice cursor, struct sc_keydir_position *position)
{
    const uint8_t *bytes = cursor.data;
    *position = (struct sc_keydir_position){0};
    if (cursor.size == 0) {
        return true;
    }
    if (cursor.size < 9 || bytes[0] != CURSOR_WALK) {
        return false;
    }
    position->hash = sc_be64_get(bytes + 1);
    position->key = sc_slice(bytes + 9, cursor.size - 9);
    return position->key.size == 0 || sc_slot_hash(position->key) == position->hash;
}

/* ---- The walk through the keydir ---- */

/* A record that is going to be read. */
struct item {
    struct sc_location location;
    int fd;
    uint64_t salt;
    uint64_t number; /* of its file */
    uint64_t hash;
    uint64_t version; /* once it is read; 0: it is not to be given out */
    size_t key; /* where it is in `keys` */
    size_t key_size;
};

struct walking {
    const struct sc_exporter *exporter;
    struct item items[SC_EXPORTER_PAGE_KEYS];
    size_t count;
    struct sc_buf keys;
    uint64_t bytes; /* of the records */
    unsigned visits;
    uint64_t last_hash; /* of the entry before */
    struct sc_buf last_key;
    struct sc_buf *next; /* set when the walk stops before the end */
};

static bool is_behind(struct sc_exporter_place start, uint64_t file, uint64_t offset)
{
    return file > start.file || (file == start.file && offset >= start.offset);
}

static bool visit(void *arg, const struct sc_keydir_entry *entry)
{
    struct walking *walking = arg;
    const struct sc_exporter *exporter = walking->exporter;
    const struct sc_segment *segment = sc_bitcask_segment(exporter->store, entry->location);
    bool wanted = !is_behind(exporter->start, segment->number, entry->location.offset);
    if (walking->visits == exporter->page_keys ||
        (wanted && walking->count > 0 &&
         walking->bytes + entry->location.size > SC_EXPORTER_PAGE_BYTES)) {
        bool same = walking->visits > 0 && walking->last_hash == entry->hash;
        put_walk_cursor(walking->next, entry->hash,
                        same ? sc_buf_slice(&walking->last_key) : sc_slice(NULL, 0));
        return false;
    }
    if (wanted) {
        walking->items[walking->count++] = (struct item){
            .location = entry->location,
            .fd = segment->fd,
            .salt = segment->salt,
            .number = segment->number,
            .hash = entry->hash,
            .key = walking->keys.size,
            .key_size = entry->key.size,
        };
        sc_buf_append_slice(&walking->keys, entry->key);
        walking->bytes += entry->location.size;
    }
    walking->visits++;
    walking->last_hash = entry->hash;
    walking->last_key.size = 0;
    sc_buf_append_slice(&walking->last_key, entry->key);
    return true;
}

/* Collects what follows `position`. True: up to the end. */
static bool collect_locked(struct walking *walking, struct sc_keydir_position position)
{
    const struct sc_exporter *exporter = walking->exporter;
    const struct sc_keydir *keydir = exporter->store->keydir;
    uint32_t from = sc_slot_of_hash(position.hash);
    uint32_t first;
    uint32_t last;
    for (; sc_bitcask_run(exporter->slots, from, SC_SLOT_COUNT - 1, &first, &last);
         from = last + 1) {
        if (first > sc_slot_of_hash(position.hash)) {
            position = (struct sc_keydir_position){.hash = (uint64_t)first << (64 - SC_SLOT_BITS)};
        }
        if (!sc_keydir_walk_swept(keydir, &position, last, UINT64_MAX, visit, walking)) {
            return false;
        }
        if (last == SC_SLOT_COUNT - 1) {
            break;
        }
    }
    return true;
}

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a;
    const struct item *y = b;
    if (x->number != y->number) {
        return x->number < y->number ? -1 : 1;
    }
    return x->location.offset < y->location.offset ? -1 : x->location.offset > y->location.offset;
}

static struct sc_slice key_of(const struct walking *walking, const struct item *item)
{
    return sc_slice(walking->keys.data + item->key, item->key_size);
}

/* Asks the system to bring what is not in memory, all at once. */
static void prefetch(const struct walking *walking)
{
    for (size_t i = 0; i < walking->count; i++) {
        const struct item *item = &walking->items[i];
        (void)posix_fadvise(item->fd, (off_t)item->location.offset, item->location.size,
                            POSIX_FADV_WILLNEED);
    }
}

/* Whether the key still is where it was: if it is not, its newest record follows in the log. */
static bool is_current(const struct walking *walking, const struct item *item)
{
    const struct sc_exporter *exporter = walking->exporter;
    struct sc_keydir_entry entry;
    sc_exporter_lock(exporter);
    bool found =
        sc_keydir_find_swept(exporter->store->keydir, key_of(walking, item), item->hash, &entry);
    bool same = found && entry.location.file == item->location.file &&
                entry.location.offset == item->location.offset;
    sc_exporter_unlock(exporter);
    return same;
}

static enum sc_status damaged(const struct sc_exporter *exporter, uint64_t number, uint64_t offset,
                              uint64_t size, const char *what, char *why)
{
    char name[SC_FILES_NAME_SIZE];
    sc_files_data_name(name, number);
    return sc_fail(why, SC_CORRUPT,
                   "%s in %s: %" PRIu64 " bytes at offset %" PRIu64 " are damaged (%s)", name,
                   exporter->store->files.path, size, offset, what);
}

#define KEY_SHOWN 64u

/* "key ...", cut if it is long, with ? for what cannot be printed. */
static void show_key(char to[KEY_SHOWN + sizeof "key "], struct sc_slice key)
{
    const unsigned char *from = key.data;
    size_t size = key.size < KEY_SHOWN ? key.size : KEY_SHOWN;
    memcpy(to, "key ", 4);
    for (size_t i = 0; i < size; i++) {
        to[4 + i] = isprint(from[i]) ? (char)from[i] : '?';
    }
    to[4 + size] = '\0';
}

static enum sc_status unreadable(const struct sc_exporter *exporter, uint64_t number, int error,
                                 char *why)
{
    char name[SC_FILES_NAME_SIZE];
    sc_files_data_name(name, number);
    errno = error;
    return sc_files_fail(&exporter->store->files, "read", name, why);
}

/* Whether the bytes are the record that the keydir means. */
static bool check(const struct walking *walking, const struct item *item, const uint8_t *bytes,
                  struct sc_record *record)
{
    struct sc_record_extent extent;
    return sc_record_extent(bytes, &extent) && extent.size == item->location.size &&
           sc_record_decode(bytes, &extent, item->salt ^ item->location.offset, record) &&
           record->kind == SC_RECORD_PUT && sc_slice_equal(record->key, key_of(walking, item)) &&
           sc_record_value_ok(bytes, record->value);
}

/* Reads one record into the frame. */
static enum sc_status read_item(const struct walking *walking, struct item *item,
                                struct sc_buf *bytes, struct sc_buf *frame, char *why)
{
    struct sc_record record;
    size_t size = item->location.size;
    bytes->size = 0;
    ssize_t got = sc_io_read(item->fd, sc_buf_reserve(bytes, size), size, item->location.offset);
    if (got < 0) {
        return unreadable(walking->exporter, item->number, errno, why);
    }
    if ((size_t)got < size || !check(walking, item, bytes->data, &record)) {
        char what[KEY_SHOWN + sizeof "key "];
        show_key(what, key_of(walking, item));
        return is_current(walking, item) ? damaged(walking->exporter, item->number,
                                                   item->location.offset, size, what, why)
                                         : SC_OK;
    }
    sc_frame_put(frame, &record);
    item->version = record.version;
    return SC_OK;
}

/* The keydir is told the versions. */
static void learn(const struct walking *walking)
{
    const struct sc_exporter *exporter = walking->exporter;
    for (size_t i = 0; i < walking->count;) {
        size_t end = i + LEARN_SLICE < walking->count ? i + LEARN_SLICE : walking->count;
        sc_exporter_lock(exporter);
        for (; i < end; i++) {
            const struct item *item = &walking->items[i];
            if (item->version != 0) {
                sc_keydir_learn(exporter->store->keydir, key_of(walking, item), item->hash,
                                item->location, item->version);
            }
        }
        sc_exporter_unlock(exporter);
    }
}

static enum sc_status read_walk(struct sc_exporter *exporter, struct sc_keydir_position position,
                                struct sc_exporter_page *page, char *why)
{
    struct walking *walking = sc_calloc(1, sizeof *walking);
    struct sc_buf bytes = {0};
    enum sc_status status = SC_OK;
    walking->exporter = exporter;
    walking->next = &page->cursor;
    sc_exporter_lock(exporter);
    page->gap = SC_EXPORTER_GAP_UNKNOWN;
    if (collect_locked(walking, position)) {
        put_log_cursor(&page->cursor, exporter->start);
        page->gap = gap_locked(exporter, exporter->start);
    }
    sc_exporter_unlock(exporter);
    qsort(walking->items, walking->count, sizeof *walking->items, compare_items);
    prefetch(walking);
    for (size_t i = 0; i < walking->count && status == SC_OK; i++) {
        status = read_item(walking, &walking->items[i], &bytes, &page->frame, why);
    }
    if (status == SC_OK) {
        learn(walking);
    }
    sc_buf_fini(&bytes);
    sc_buf_fini(&walking->keys);
    sc_buf_fini(&walking->last_key);
    free(walking);
    return status;
}

/* ---- The walk through the log ---- */

/* The oldest file with at least this number; NULL: there is none. */
static const struct sc_segment *find_file_locked(const struct sc_bitcask *store, uint64_t number)
{
    const struct sc_segment *found = NULL;
    for (size_t i = 0; i < store->segment_count; i++) {
        const struct sc_segment *segment = store->segments[i];
        if (segment != NULL && !segment->retired && segment->number >= number &&
            (found == NULL || segment->number < found->number)) {
            found = segment;
        }
    }
    return found;
}

/* A stretch of one file that can be read now. */
struct stretch {
    int fd;
    uint64_t number, salt;
    uint64_t offset, end;
    bool more; /* there is something synced behind it */
};

/* Finds the stretch that begins at a place, or behind it where the next file begins. False: nothing
 * is synced there; `sane` tells whether that can be. */
static bool find_stretch_locked(const struct sc_bitcask *store, struct sc_exporter_place place,
                                struct stretch *stretch, bool *sane)
{
    struct sc_exporter_place synced = {store->writer.synced.file, store->writer.synced.offset};
    *sane = true;
    for (;;) {
        const struct sc_segment *segment = find_file_locked(store, place.file);
        if (segment == NULL || segment->number > synced.file) {
            return false;
        }
        if (segment->number > place.file) {
            place = (struct sc_exporter_place){segment->number, SC_SEGMENT_HEADER_SIZE};
        }
        uint64_t end = segment->number == synced.file ? synced.offset : segment->size;
        if (place.offset > end || place.offset < SC_SEGMENT_HEADER_SIZE ||
            place.offset % SC_RECORD_UNIT != 0) {
            *sane = false;
            return false;
        }
        if (place.offset < end) {
            *stretch = (struct stretch){segment->fd,   segment->number,
                                        segment->salt, place.offset,
                                        end,           segment->number < synced.file};
            return true;
        }
        place = (struct sc_exporter_place){segment->number + 1, SC_SEGMENT_HEADER_SIZE};
    }
}

/* Cuts a clear to the slots that leave: one for each run of them. */
static void put_clear(const struct sc_exporter *exporter, const struct sc_record *record,
                      struct sc_buf *frame)
{
    uint8_t key[SC_RECORD_CLEAR_KEY_SIZE];
    struct sc_record cut = *record;
    uint32_t from;
    uint32_t end;
    uint32_t first;
    uint32_t last;
    sc_record_clear_range(record, &from, &end);
    for (; from <= end && sc_bitcask_run(exporter->slots, from, end, &first, &last);
         from = last + 1) {
        sc_record_clear_key(key, first, last);
        cut.key = sc_slice(key, sizeof key);
        sc_frame_put(frame, &cut);
    }
}

/* Whether the keydir points to this record. */
static bool is_live(const struct sc_exporter *exporter, uint64_t number,
                    const struct sc_walk_item *item)
{
    struct sc_keydir_entry entry;
    uint64_t hash = sc_slot_hash(item->record.key);
    sc_exporter_lock(exporter);
    bool found = sc_keydir_find_swept(exporter->store->keydir, item->record.key, hash, &entry) &&
                 sc_bitcask_segment(exporter->store, entry.location)->number == number &&
                 entry.location.offset == item->offset;
    sc_exporter_unlock(exporter);
    return found;
}

enum outcome { TAKEN, NO_ROOM, DAMAGED };

static enum outcome take(const struct sc_exporter *exporter, uint64_t number,
                         const struct sc_walk_item *item, struct sc_buf *frame)
{
    const struct sc_record *record = &item->record;
    if (item->kind == SC_WALK_DAMAGE) {
        return DAMAGED;
    }
    bool clear = record->kind == SC_RECORD_CLEAR;
    if (!clear && !sc_bitcask_bit(exporter->slots, sc_slot_of_key(record->key))) {
        return TAKEN;
    }
    if (item->kind != SC_WALK_RECORD) {
        /* What has taken the place of a damaged value follows. */
        return is_live(exporter, number, item) ? DAMAGED : TAKEN;
    }
    if (!sc_frame_has_room(frame, item->size)) {
        return NO_ROOM;
    }
    if (clear) {
        put_clear(exporter, record, frame);
    } else {
        sc_frame_put(frame, record);
    }
    return TAKEN;
}

/* Reads a stretch, or as much of it as belongs into the page, and not much more than `most` bytes;
 * moves `place` behind that. */
static enum sc_status read_stretch(const struct sc_exporter *exporter,
                                   const struct stretch *stretch, uint64_t most,
                                   struct sc_exporter_place *place, struct sc_buf *frame, char *why)
{
    struct sc_walk walk;
    struct sc_walk_item item;
    size_t void_count;
    enum outcome outcome = TAKEN;
    bool ended = false;
    struct sc_manifest_void *voids =
        sc_manifest_voids(exporter->store->manifest, stretch->number, &void_count);
    enum sc_status status = SC_OK;
    sc_walk_init(&walk, stretch->fd, stretch->salt, stretch->offset, stretch->end, voids,
                 void_count);
    *place = (struct sc_exporter_place){stretch->number, stretch->offset};
    while (outcome == TAKEN && place->offset - stretch->offset < most) {
        ended = !sc_walk_next(&walk, &item);
        if (ended) {
            break;
        }
        outcome = take(exporter, stretch->number, &item, frame);
        if (outcome == TAKEN) {
            place->offset = item.offset + item.size;
        } else if (outcome == DAMAGED) {
            status = damaged(exporter, stretch->number, item.offset, item.size, "in the log", why);
        }
    }
    if (status == SC_OK && walk.status != SC_OK) {
        status = unreadable(exporter, stretch->number, walk.error, why);
    } else if (ended) {
        place->offset = stretch->end; /* voids at the end included */
    }
    sc_walk_fini(&walk);
    free(voids);
    return status;
}

/* The next stretch, having synced what is behind the end of what is. False: there is nothing. */
static bool next_stretch(struct sc_exporter *exporter, struct sc_exporter_place place,
                         struct stretch *stretch, bool *sane, bool *failed)
{
    const struct sc_bitcask *store = exporter->store;
    *failed = false;
    sc_exporter_lock(exporter);
    bool found = find_stretch_locked(store, place, stretch, sane);
    bool rest = *sane && gap_locked(exporter, place) > 0;
    sc_exporter_unlock(exporter);
    if (found || !rest) {
        return found && rest;
    }
    if (!exporter->host.sync(exporter->host.arg)) {
        *failed = true;
        return false;
    }
    sc_exporter_lock(exporter);
    found = find_stretch_locked(store, place, stretch, sane);
    sc_exporter_unlock(exporter);
    return found;
}

static enum sc_status read_log(struct sc_exporter *exporter, struct sc_exporter_place place,
                               struct sc_exporter_page *page, char *why)
{
    struct stretch stretch;
    uint64_t looked_at = 0;
    bool sane = true;
    bool failed = false;
    enum sc_status status = SC_OK;
    while (status == SC_OK && looked_at < exporter->page_log && page->frame.size < SC_FRAME_SIZE) {
        if (!next_stretch(exporter, place, &stretch, &sane, &failed)) {
            break;
        }
        status = read_stretch(exporter, &stretch, exporter->page_log - looked_at, &place,
                              &page->frame, why);
        looked_at += place.offset - stretch.offset;
        if (place.offset < stretch.end || !stretch.more) {
            break;
        }
    }
    if (status == SC_OK && !sane) {
        return sc_fail(why, SC_MISMATCH, "the cursor is none of this shard's log");
    }
    if (status == SC_OK && failed) {
        return sc_fail(why, SC_IO, "what was written could not be synced");
    }
    put_log_cursor(&page->cursor, place);
    sc_exporter_lock(exporter);
    page->gap = gap_locked(exporter, place);
    sc_exporter_unlock(exporter);
    return status;
}

enum sc_status sc_exporter_read(struct sc_exporter *exporter, struct sc_slice cursor,
                                struct sc_exporter_page *page, char *why)
{
    const uint8_t *bytes = cursor.data;
    struct sc_keydir_position position;
    assert(exporter->begun);
    page->cursor.size = 0;
    page->frame.size = 0;
    if (parse_walk_cursor(cursor, &position)) {
        return read_walk(exporter, position, page, why);
    }
    if (cursor.size != CURSOR_LOG_SIZE || bytes[0] != CURSOR_LOG) {
        return sc_fail(why, SC_MISMATCH, "this is no cursor of a move");
    }
    struct sc_exporter_place place = {sc_le64_get(bytes + 1), sc_le64_get(bytes + 9)};
    if (!is_behind(exporter->start, place.file, place.offset)) {
        return sc_fail(why, SC_MISMATCH, "the cursor is of another move");
    }
    return read_log(exporter, place, page, why);
}
