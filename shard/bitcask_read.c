#include "shard/bitcask_impl.h"

#include "common/log.h"
#include "shard/io.h"
#include "shard/record.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define READ_WHOLE_MAX ((size_t)32 << 10) /* larger records are read without moving the value */
#define SWEEP_KEYS_MAX 4096u /* at a time; a slot that was begun is finished */
#define LOOKS_SAVED_MAX 20u

uint64_t sc_bitcask_now_ms(struct sc_bitcask *store, uint32_t slot)
{
    return sc_moving_has_sealed(&store->moving, slot) ? store->moving.seal_ms
                                                      : sc_clock_now_ms(&store->clock);
}

void sc_bitcask_find(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                     struct sc_bitcask_found *found)
{
    found->present = false;
    found->expired = false;
    if (!sc_keydir_find(store->keydir, key, hash, &found->entry)) {
        found->position = store->deleted[sc_slot_of_hash(hash)];
        return;
    }
    const struct sc_location at = found->entry.location;
    found->position = sc_writer_position(sc_bitcask_segment(store, at), at.offset, at.size);
    found->expired = found->entry.expires_ms != 0 &&
                     found->entry.expires_ms <= sc_bitcask_now_ms(store, sc_slot_of_hash(hash));
    found->present = !found->expired;
}

/* ---- What goes wrong ---- */

static enum sc_status corrupt(struct sc_bitcask *store, const struct sc_segment *segment,
                              const struct sc_keydir_entry *entry, char *why)
{
    char name[SC_FILES_NAME_SIZE];
    char text[SC_WHY_SIZE];
    const struct sc_location at = entry->location;
    const struct sc_damage damage = {
        .kind = SC_DAMAGE_VALUE,
        .file = segment->number,
        .offset = at.offset,
        .size = at.size,
        .key = entry->key,
        .live = true,
    };
    sc_files_data_name(name, segment->number);
    sc_fail(text, SC_CORRUPT, "the record at offset %" PRIu64 " of %s in %s is damaged", at.offset,
            name, store->files.path);
    if (sc_bitcask_note_damage(store, &damage)) {
        sc_log_error("%s", text);
    }
    return sc_fail(why, SC_CORRUPT, "%s", text);
}

/* The record says that its value was lost. */
static enum sc_status lost(struct sc_bitcask *store, const struct sc_segment *segment,
                           const struct sc_keydir_entry *entry, char *why)
{
    const struct sc_damage damage = {
        .kind = SC_DAMAGE_LOST,
        .file = segment->number,
        .offset = entry->location.offset,
        .size = entry->location.size,
        .key = entry->key,
        .live = true,
    };
    (void)sc_bitcask_note_damage(store, &damage);
    return sc_fail(why, SC_CORRUPT,
                   "the value of this key was lost: damage was found where it stood; write the "
                   "key anew, or delete it");
}

static enum sc_status unreadable(const struct sc_bitcask *store, const struct sc_segment *segment,
                                 char *why)
{
    char name[SC_FILES_NAME_SIZE];
    int error = errno;
    sc_files_data_name(name, segment->number);
    errno = error;
    return sc_files_fail(&store->files, "read", name, why);
}

/* ---- Bytes of files ---- */

/* What a thread that waited for the disk has read. */
static ssize_t take_fetched(const struct sc_fetch_piece *piece, uint8_t *first, size_t first_size,
                            uint8_t *second, size_t second_size)
{
    if (piece->got < 0 || (size_t)piece->got < first_size + second_size) {
        errno = piece->error;
        return piece->got;
    }
    memcpy(first, piece->bytes, first_size);
    if (second_size > 0) {
        memcpy(second, piece->bytes + first_size, second_size);
    }
    return piece->got;
}

/* Reads what is in memory. False: not all of it is, and the fetch wants it now. */
static bool read_now(struct sc_bitcask *store, struct sc_segment *segment, uint64_t offset,
                     uint8_t *first, size_t first_size, uint8_t *second, size_t second_size,
                     ssize_t *got)
{
    size_t size = first_size + second_size;
    const struct sc_fetch_piece *piece = sc_fetch_find(store->fetch, segment, offset, size);
    if (piece != NULL) {
        *got = take_fetched(piece, first, first_size, second, second_size);
        return true;
    }
    *got = sc_io_read2_now(segment->fd, first, first_size, second, second_size, offset);
    if (*got < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        store->cannot_tell = true;
        *got = sc_io_read2(segment->fd, first, first_size, second, second_size, offset);
        return true;
    }
    /* Fewer bytes may also mean that the file ends there: reading it whole tells. */
    if (*got >= 0 ? (size_t)*got < size : errno == EAGAIN) {
        sc_fetch_want(store->fetch, segment, offset, size);
        store->cold_reads++;
        return false;
    }
    return true;
}

/* Reads the beginning of a record into two places, one after the other. */
static enum sc_status read_bytes(struct sc_bitcask *store, struct sc_segment *segment,
                                 const struct sc_keydir_entry *entry, uint8_t *first,
                                 size_t first_size, uint8_t *second, size_t second_size, char *why)
{
    const uint64_t offset = entry->location.offset;
    ssize_t got;
    if (store->fetch == NULL || store->cannot_tell) {
        got = sc_io_read2(segment->fd, first, first_size, second, second_size, offset);
    } else if (!read_now(store, segment, offset, first, first_size, second, second_size, &got)) {
        return sc_fail(why, SC_BUSY, "the record has to be read from the disk first");
    }
    if (got < 0) {
        return unreadable(store, segment, why);
    }
    return (size_t)got == first_size + second_size ? SC_OK : corrupt(store, segment, entry, why);
}

/* ---- Records ---- */

/* Where a record's bytes are while they are in memory. SC_IO: they never reached the disk. */
static enum sc_status in_memory(const struct sc_bitcask *store, const struct sc_segment *segment,
                                struct sc_location at, const uint8_t **bytes, char *why)
{
    uint64_t position = sc_writer_position(segment, at.offset, at.size);
    if (sc_bitcask_lost(store, position)) {
        return sc_fail(why, SC_IO, "the last write to this key was not stored: %s",
                       store->writer.failed);
    }
    *bytes = sc_writer_find(&store->writer, position, at.size);
    return SC_OK;
}

/* Whether the bytes are header and key of the record that the keydir means. */
static bool is_record(const uint8_t *bytes, const struct sc_segment *segment,
                      const struct sc_keydir_entry *entry, struct sc_record *record)
{
    struct sc_record_extent extent;
    return sc_record_extent(bytes, &extent) && extent.size == entry->location.size &&
           extent.key_size == entry->key.size &&
           sc_record_decode(bytes, &extent, segment->salt ^ entry->location.offset, record) &&
           record->kind == SC_RECORD_PUT && sc_slice_equal(record->key, entry->key);
}

/* ---- From memory, if it is there ---- */

/* How large the file may become: what of it is worth mapping. */
static uint64_t size_max(const struct sc_bitcask *store, const struct sc_segment *segment)
{
    uint64_t max = store->writer.file_size_max;
    return segment->sealed || segment->size > max ? segment->size : max;
}

static void note_read(struct sc_bitcask *store, struct sc_segment *segment, uint64_t offset,
                      size_t size)
{
    sc_warmth_note(&store->warmth, store->segment_count, segment, size_max(store, segment), offset,
                   size);
}

enum sc_status sc_bitcask_read_meta(struct sc_bitcask *store, const struct sc_keydir_entry *entry,
                                    uint64_t *version, uint64_t *value_size, char *why)
{
    const struct sc_location at = entry->location;
    struct sc_segment *segment = sc_bitcask_segment(store, at);
    const uint8_t *bytes = NULL;
    enum sc_status status = in_memory(store, segment, at, &bytes, why);
    if (status != SC_OK) {
        return status;
    }
    struct sc_record record = {.lost = false};
    if (bytes == NULL) {
        size_t size = SC_RECORD_HEADER_SIZE + entry->key.size;
        sc_buf_reset(&store->scratch, READ_WHOLE_MAX);
        uint8_t *to = sc_buf_reserve(&store->scratch, size);
        if (sc_warmth_read(&store->warmth, segment, at.offset, to, size) &&
            is_record(to, segment, entry, &record) && !record.lost) {
            *version = record.version;
            *value_size = record.value.size;
            return SC_OK;
        }
        status = read_bytes(store, segment, entry, to, size, NULL, 0, why);
        if (status != SC_OK) {
            return status;
        }
        note_read(store, segment, at.offset, size);
        bytes = to;
    }
    if (!is_record(bytes, segment, entry, &record)) {
        return corrupt(store, segment, entry, why);
    }
    if (record.lost) {
        return lost(store, segment, entry, why);
    }
    *version = record.version;
    *value_size = record.value.size;
    return SC_OK;
}

/* Whether these bytes are the record that the keydir means, its value at `value`. */
static bool is_whole(const uint8_t *head, const uint8_t *value, const struct sc_segment *segment,
                     const struct sc_keydir_entry *entry, struct sc_record *record)
{
    if (!is_record(head, segment, entry, record)) {
        return false;
    }
    record->value.data = value;
    return sc_record_value_ok(head, record->value);
}

/* A record that is moved to its place after it was read as a whole. */
static enum sc_status read_small(struct sc_bitcask *store, struct sc_segment *segment,
                                 const struct sc_keydir_entry *entry, struct sc_buf *value,
                                 char *why)
{
    const struct sc_location at = entry->location;
    uint8_t *to = sc_buf_reserve(value, at.size);
    const uint8_t *inside = to + SC_RECORD_HEADER_SIZE + entry->key.size;
    struct sc_record record = {.lost = false};
    if (!sc_warmth_read(&store->warmth, segment, at.offset, to, at.size) ||
        !is_whole(to, inside, segment, entry, &record)) {
        enum sc_status status = read_bytes(store, segment, entry, to, at.size, NULL, 0, why);
        if (status != SC_OK) {
            return status;
        }
        if (!is_whole(to, inside, segment, entry, &record)) {
            return record.lost ? lost(store, segment, entry, why)
                               : corrupt(store, segment, entry, why);
        }
        note_read(store, segment, at.offset, at.size);
    }
    memmove(to, record.value.data, record.value.size);
    value->size += record.value.size;
    return SC_OK;
}

static enum sc_status read_large(struct sc_bitcask *store, struct sc_segment *segment,
                                 const struct sc_keydir_entry *entry, struct sc_buf *value,
                                 char *why)
{
    const struct sc_location at = entry->location;
    const size_t head_size = SC_RECORD_HEADER_SIZE + entry->key.size;
    sc_buf_reset(&store->scratch, READ_WHOLE_MAX);
    uint8_t *head = sc_buf_reserve(&store->scratch, head_size);
    uint8_t *to = sc_buf_reserve(value, at.size);
    struct sc_record record = {.lost = false};
    enum sc_status status =
        read_bytes(store, segment, entry, head, head_size, to, at.size - head_size, why);
    if (status != SC_OK) {
        return status;
    }
    if (!is_whole(head, to, segment, entry, &record)) {
        return record.lost ? lost(store, segment, entry, why) : corrupt(store, segment, entry, why);
    }
    value->size += record.value.size;
    return SC_OK;
}

enum sc_status sc_bitcask_read_value(struct sc_bitcask *store, const struct sc_keydir_entry *entry,
                                     struct sc_buf *value, char *why)
{
    const struct sc_location at = entry->location;
    struct sc_segment *segment = sc_bitcask_segment(store, at);
    const uint8_t *bytes = NULL;
    enum sc_status status = in_memory(store, segment, at, &bytes, why);
    if (status != SC_OK) {
        return status;
    }
    if (bytes != NULL) {
        struct sc_record record;
        bool whole = is_record(bytes, segment, entry, &record);
        assert(whole);
        if (record.lost) {
            return lost(store, segment, entry, why);
        }
        sc_buf_append_slice(value, record.value);
        return SC_OK;
    }
    if (at.size < SC_RECORD_HEADER_SIZE + entry->key.size) {
        return corrupt(store, segment, entry, why);
    }
    return at.size <= READ_WHOLE_MAX ? read_small(store, segment, entry, value, why)
                                     : read_large(store, segment, entry, value, why);
}

void sc_bitcask_look(struct sc_bitcask *store)
{
    /* What nobody reads need not be looked at so often. */
    if (store->gets == store->gets_looked && ++store->looks_saved < LOOKS_SAVED_MAX) {
        return;
    }
    store->gets_looked = store->gets;
    store->looks_saved = 0;
    sc_warmth_look(&store->warmth, store->segment_count);
}

/* ---- Operations ---- */

void sc_bitcask_prefetch(const struct sc_bitcask *store, const uint64_t *hashes, size_t count,
                         bool values)
{
    for (size_t i = 0; i < count; i++) {
        sc_keydir_prefetch(store->keydir, hashes[i]);
    }
    for (size_t i = 0; i < count; i++) {
        struct sc_location at;
        if (sc_keydir_prefetch_key(store->keydir, hashes[i], &at) && values) {
            sc_mapping_prefetch(&sc_bitcask_segment(store, at)->mapping, at.offset, at.size);
        }
    }
}

void sc_bitcask_lend(struct sc_bitcask *store, struct sc_fetch *fetch)
{
    store->fetch = fetch;
}

uint64_t sc_bitcask_value_bound(struct sc_bitcask *store, struct sc_slice key, uint64_t hash)
{
    struct sc_keydir_entry entry;
    uint64_t head_size = SC_RECORD_HEADER_SIZE + key.size;
    return sc_keydir_find(store->keydir, key, hash, &entry) && entry.location.size > head_size
               ? entry.location.size - head_size
               : 0;
}

enum sc_status sc_bitcask_get(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                              struct sc_buf *value, sc_bitcask_position *position, char *why)
{
    struct sc_bitcask_found found;
    sc_bitcask_find(store, key, hash, &found);
    *position = found.position;
    if (!found.present) {
        store->gets++;
        store->misses++;
        return sc_fail(why, SC_NOTFOUND, "no such key");
    }
    enum sc_status status = sc_bitcask_read_value(store, &found.entry, value, why);
    if (status != SC_BUSY) {
        store->gets++;
        store->hits++;
    }
    return status;
}

enum sc_status sc_bitcask_exists(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                                 sc_bitcask_position *position)
{
    struct sc_bitcask_found found;
    sc_bitcask_find(store, key, hash, &found);
    *position = found.position;
    return found.present ? SC_OK : SC_NOTFOUND;
}

enum sc_status sc_bitcask_meta(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                               struct sc_bitcask_meta *meta, sc_bitcask_position *position,
                               char *why)
{
    struct sc_bitcask_found found;
    sc_bitcask_find(store, key, hash, &found);
    *position = found.position;
    if (!found.present) {
        return sc_fail(why, SC_NOTFOUND, "no such key");
    }
    *meta = (struct sc_bitcask_meta){.has_ttl = found.entry.expires_ms != 0};
    if (meta->has_ttl) {
        uint64_t now_ms = sc_bitcask_now_ms(store, sc_slot_of_hash(hash));
        meta->ttl_ms = found.entry.expires_ms > now_ms ? found.entry.expires_ms - now_ms : 1;
    }
    return sc_bitcask_read_meta(store, &found.entry, &meta->version, &meta->size, why);
}

void sc_bitcask_forget(void *arg, struct sc_location location)
{
    struct sc_bitcask *store = arg;
    sc_segment_dead(sc_bitcask_segment(store, location), location.size);
}

uint64_t sc_bitcask_expire(struct sc_bitcask *store, uint32_t first, uint32_t last)
{
    uint64_t now_ms = sc_clock_now_ms(&store->clock);
    uint64_t swept = 0;
    for (uint32_t slot = first; slot <= last; slot++) {
        uint64_t slot_ms =
            sc_moving_has_sealed(&store->moving, slot) ? store->moving.seal_ms : now_ms;
        uint64_t count =
            sc_keydir_sweep_slot(store->keydir, slot, slot_ms, sc_bitcask_forget, store);
        if (count > 0) {
            /* What was absent as expired is absent for another reason now; an answer still depends
             * on the records that expired. */
            store->deleted[slot] = store->writer.appended;
        }
        swept += count;
    }
    store->expired += swept;
    if (swept > 0 && !store->options.read_only) {
        sc_horizon_advance(&store->horizon, &store->files, now_ms);
    }
    return swept;
}

uint64_t sc_bitcask_sweep(struct sc_bitcask *store, uint32_t slots)
{
    uint64_t swept = 0;
    for (uint32_t i = 0; i < slots && i < SC_SLOT_COUNT && swept < SWEEP_KEYS_MAX; i++) {
        swept += sc_bitcask_expire(store, store->sweep_slot, store->sweep_slot);
        store->sweep_slot = (store->sweep_slot + 1) % SC_SLOT_COUNT;
    }
    return swept;
}

bool sc_bitcask_run(const uint8_t *owned, uint32_t from, uint32_t last, uint32_t *run_first,
                    uint32_t *run_last)
{
    while (from <= last && !sc_bitcask_bit(owned, from)) {
        from++;
    }
    if (from > last) {
        return false;
    }
    *run_first = from;
    while (from < last && sc_bitcask_bit(owned, from + 1)) {
        from++;
    }
    *run_last = from;
    return true;
}

uint64_t sc_bitcask_count(struct sc_bitcask *store, const uint8_t *owned,
                          sc_bitcask_position *position)
{
    const uint32_t end = SC_SLOT_COUNT - 1;
    uint64_t count = 0;
    *position = store->writer.appended;
    uint32_t first;
    uint32_t last;
    for (uint32_t from = 0; sc_bitcask_run(owned, from, end, &first, &last); from = last + 1) {
        sc_bitcask_expire(store, first, last);
        for (uint32_t slot = first; slot <= last; slot++) {
            count += sc_keydir_slot_count(store->keydir, slot);
        }
    }
    return count;
}
