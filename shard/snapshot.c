#include "shard/snapshot.h"

#include "shard/bitcask_impl.h"
#include "shard/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define VISITS_MAX 4096u /* keys looked at for one page */
#define BYTES_KEEP ((size_t)4 << 20)

struct sc_snapshot {
    struct sc_bitcask *store; /* kept */
    struct sc_past *past;
    struct sc_reap_pin pin;
    sc_bitcask_position position;
    uint64_t keys;
};

/* A record of a page: constant while the snapshot is open, so it is read without the lock. */
struct sc_snapshot_place {
    int fd;
    uint64_t file; /* number */
    uint64_t salt;
    struct sc_location location;
    size_t key; /* where in the page's keys it begins */
    size_t key_size;
    bool damaged; /* it was read, and is */
};

static uint64_t count_keys(const struct sc_bitcask *store, const uint8_t *slots)
{
    uint64_t count = 0;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        count += sc_bitcask_bit(slots, slot) ? sc_keydir_slot_count(store->keydir, slot) : 0;
    }
    return count;
}

struct sc_snapshot *sc_snapshot_open(struct sc_bitcask *store, const uint8_t *slots,
                                     uint64_t memory_max)
{
    struct sc_snapshot *snapshot = sc_calloc(1, sizeof *snapshot);
    snapshot->store = store;
    snapshot->past = sc_keydir_past_open(store->keydir, slots, memory_max);
    sc_reap_pin(store, &snapshot->pin);
    snapshot->position = store->writer.appended;
    snapshot->keys = count_keys(store, slots);
    return snapshot;
}

void sc_snapshot_close(struct sc_snapshot *snapshot)
{
    if (snapshot != NULL) {
        sc_keydir_past_close(snapshot->store->keydir, snapshot->past);
        sc_reap_unpin(snapshot->store, &snapshot->pin);
        free(snapshot);
    }
}

sc_bitcask_position sc_snapshot_position(const struct sc_snapshot *snapshot)
{
    return snapshot->position;
}

uint64_t sc_snapshot_keys(const struct sc_snapshot *snapshot)
{
    return snapshot->keys;
}

uint64_t sc_snapshot_memory(const struct sc_snapshot *snapshot)
{
    return snapshot->past->blocks.memory;
}

/* ---- Collecting ---- */

void sc_snapshot_page_fini(struct sc_snapshot_page *page)
{
    free(page->places);
    sc_buf_fini(&page->keys);
    sc_buf_fini(&page->next);
    sc_buf_fini(&page->bytes);
    *page = (struct sc_snapshot_page){0};
}

struct collecting {
    const struct sc_snapshot *snapshot;
    struct sc_snapshot_page *page;
    uint64_t bytes; /* of records */
};

static void add_place(struct collecting *collecting, const struct sc_keydir_entry *entry)
{
    struct sc_snapshot_page *page = collecting->page;
    const struct sc_segment *segment =
        sc_bitcask_segment(collecting->snapshot->store, entry->location);
    page->places[page->count++] = (struct sc_snapshot_place){
        .fd = segment->fd,
        .file = segment->number,
        .salt = segment->salt,
        .location = entry->location,
        .key = page->keys.size,
        .key_size = entry->key.size,
    };
    sc_buf_append_slice(&page->keys, entry->key);
    collecting->bytes += entry->location.size;
}

static bool collect_entry(void *arg, const struct sc_keydir_entry *entry)
{
    struct collecting *collecting = arg;
    struct sc_snapshot_page *page = collecting->page;
    bool there =
        entry->location.size > 0 && (entry->expires_ms == 0 || entry->expires_ms > page->now_ms);
    bool full =
        page->count == SC_SNAPSHOT_PAGE_KEYS ||
        (page->count > 0 && collecting->bytes + entry->location.size > SC_SNAPSHOT_PAGE_BYTES);
    if (there && full) {
        return false;
    }
    if (there) {
        add_place(collecting, entry);
    }
    page->next.size = 0; /* the cursor: the key that was looked at last */
    sc_buf_append_slice(&page->next, entry->key);
    return true;
}

enum sc_status sc_snapshot_collect(struct sc_snapshot *snapshot, struct sc_slice cursor,
                                   struct sc_snapshot_page *page, char *why)
{
    struct sc_bitcask *store = snapshot->store;
    struct sc_past *past = snapshot->past;
    struct sc_keydir_position position = {.key = cursor};
    if (cursor.size > 0) {
        position.hash = sc_slot_hash(cursor);
    }
    if (past->broken) {
        return sc_fail(why, SC_BUSY,
                       "the snapshot was given up: what was changed since takes more than %" PRIu64
                       " MiB of memory; raise snapshot_memory, or try when less is written",
                       past->memory_max >> 20);
    }
    if (cursor.size > SC_KEY_MAX || sc_slot_of_hash(position.hash) < past->first_slot) {
        return sc_fail(why, SC_BADREQUEST, "this is not the cursor of the next page");
    }
    if (snapshot->position > store->writer.committed) {
        return sc_fail(why, SC_BUSY, "the snapshot has not been made yet");
    }
    sc_past_pass(past, sc_slot_of_hash(position.hash));
    if (page->places == NULL) {
        page->places = sc_calloc(SC_SNAPSHOT_PAGE_KEYS, sizeof *page->places);
    }
    page->store = store;
    page->count = 0;
    page->keys.size = 0;
    page->now_ms = sc_clock_now_ms(&store->clock);
    struct collecting collecting = {.snapshot = snapshot, .page = page};
    struct sc_buf from = {0}; /* the cursor may be in the page's `next` */
    sc_buf_append_slice(&from, cursor);
    position.key = sc_buf_slice(&from);
    page->end =
        sc_keydir_walk_past(store->keydir, past, &position, VISITS_MAX, collect_entry, &collecting);
    sc_buf_fini(&from);
    return SC_OK;
}

/* ---- Reading ---- */

void sc_snapshot_prefetch(const struct sc_snapshot_page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        const struct sc_snapshot_place *place = &page->places[i];
        (void)posix_fadvise(place->fd, (off_t)place->location.offset, (off_t)place->location.size,
                            POSIX_FADV_WILLNEED); /* advice */
    }
}

/* Whether the bytes are the record that the place means. */
static bool is_record(const uint8_t *bytes, const struct sc_snapshot_place *place,
                      struct sc_slice key, struct sc_record *record)
{
    struct sc_record_extent extent;
    return sc_record_extent(bytes, &extent) && extent.size == place->location.size &&
           sc_record_decode(bytes, &extent, place->salt ^ place->location.offset, record) &&
           record->kind == SC_RECORD_PUT && sc_slice_equal(record->key, key) &&
           sc_record_value_ok(bytes, record->value);
}

/* Reads the record's bytes and takes them apart. */
static enum sc_status read_record(struct sc_snapshot_page *page,
                                  const struct sc_snapshot_place *place, struct sc_slice key,
                                  struct sc_record *found, char *why)
{
    const struct sc_files *files = &page->store->files;
    char name[SC_FILES_NAME_SIZE];
    size_t size = place->location.size;
    sc_buf_reset(&page->bytes, BYTES_KEEP);
    uint8_t *to = sc_buf_reserve(&page->bytes, size);
    ssize_t got = sc_io_read(place->fd, to, size, place->location.offset);
    int error = errno;
    sc_files_data_name(name, place->file);
    if (got < 0) {
        errno = error;
        return sc_files_fail(files, "read", name, why);
    }
    if ((size_t)got < size || !is_record(to, place, key, found)) {
        return sc_fail(why, SC_CORRUPT, "the record at offset %" PRIu64 " of %s in %s is damaged",
                       place->location.offset, name, files->path);
    }
    return SC_OK;
}

void sc_snapshot_read(struct sc_snapshot_page *page, size_t index,
                      struct sc_snapshot_record *record)
{
    struct sc_snapshot_place *place = &page->places[index];
    struct sc_record found = {0};
    record->key = sc_slice(page->keys.data + place->key, place->key_size);
    record->status = read_record(page, place, record->key, &found, record->why);
    place->damaged = record->status == SC_CORRUPT;
    if (record->status == SC_OK) {
        record->value = found.value;
        record->version = found.version;
        record->expires_ms = found.expires_ms;
    }
}

void sc_snapshot_note_damage(struct sc_bitcask *store, const struct sc_snapshot_page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        const struct sc_snapshot_place *place = &page->places[i];
        const struct sc_damage damage = {
            .kind = SC_DAMAGE_VALUE,
            .file = place->file,
            .offset = place->location.offset,
            .size = place->location.size,
            .key = sc_slice(page->keys.data + place->key, place->key_size),
        };
        if (place->damaged) {
            (void)sc_bitcask_note_damage(store, &damage);
        }
    }
}
