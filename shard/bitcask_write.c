#include "shard/bitcask_impl.h"

#include "common/mp.h"
#include "shard/record.h"

#include <inttypes.h>

/* Refuses what cannot be written at all, before anything is looked up. */
static enum sc_status may_write(const struct sc_bitcask *store, char *why)
{
    if (store->options.read_only) {
        return sc_fail(why, SC_DENIED, "the store is opened for reading only");
    }
    if (store->writer.failed[0] != '\0') {
        return sc_fail(why, SC_IO, "the store takes no writes: %s", store->writer.failed);
    }
    return SC_OK;
}

/* The same for the slot that a key is in. */
static enum sc_status may_write_to(const struct sc_bitcask *store, uint64_t hash, char *why)
{
    if (sc_moving_has_sealed(&store->moving, sc_slot_of_hash(hash))) {
        return sc_fail(why, SC_BUSY, "the key is about to move to another shard: try again");
    }
    return may_write(store, why);
}

/* Whether a condition on the version holds. */
static enum sc_status check_version(struct sc_bitcask *store, const struct sc_bitcask_found *found,
                                    const uint64_t *if_version, char *why)
{
    if (if_version == NULL) {
        return SC_OK;
    }
    if (!found->present) {
        return *if_version == 0 ? SC_OK : sc_fail(why, SC_MISMATCH, "there is no such key");
    }
    uint64_t version;
    uint64_t size;
    enum sc_status status = sc_bitcask_read_meta(store, &found->entry, &version, &size, why);
    if (status != SC_OK) {
        return status;
    }
    return version == *if_version
               ? SC_OK
               : sc_fail(why, SC_MISMATCH, "the key has version %" PRIu64, version);
}

/* Refuses a new key when the keydir has the memory that it may have. */
static enum sc_status check_memory(const struct sc_bitcask *store, struct sc_slice key,
                                   uint64_t hash, char *why)
{
    struct sc_keydir_entry entry;
    uint64_t limit = store->options.max_memory;
    if (limit == 0 || sc_keydir_memory(store->keydir) < limit ||
        sc_keydir_find(store->keydir, key, hash, &entry)) {
        return SC_OK;
    }
    return sc_fail(why, SC_BUSY,
                   "no new keys: the index of keys takes %" PRIu64 " MiB of memory, %" PRIu64
                   " are allowed; delete keys, raise --max-memory or add shards",
                   sc_keydir_memory(store->keydir) >> 20, limit >> 20);
}

/* Writes that are going to be committed together need not all look at the clock. */
static uint64_t next_version(struct sc_bitcask *store)
{
    return sc_writer_has_pending(&store->writer) ? sc_clock_next(&store->clock)
                                                 : sc_clock_tick(&store->clock);
}

/* Appends a put and points the keydir at it. */
static enum sc_status append_put(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                                 struct sc_slice value, uint64_t expires_ms, const bool *sync,
                                 uint64_t *version, sc_bitcask_position *position, char *why)
{
    uint64_t size = sc_record_size(key.size, value.size);
    if (value.size > store->options.value_max || size >= SC_RECORD_SIZE_MAX) {
        return sc_fail(why, SC_TOOLARGE, "the value has %zu bytes, %" PRIu32 " are allowed",
                       value.size, store->options.value_max);
    }
    enum sc_status status = check_memory(store, key, hash, why);
    if (status == SC_OK) {
        status = sc_writer_room(&store->writer, size, false, why);
    }
    if (status != SC_OK) {
        return status;
    }
    struct sc_record record = {
        .version = next_version(store),
        .expires_ms = expires_ms,
        .kind = SC_RECORD_PUT,
        .key = key,
        .value = value,
    };
    struct sc_location at = sc_writer_append(&store->writer, &record, sync);
    struct sc_location old;
    if (sc_keydir_set(store->keydir, key, hash, at, expires_ms, record.version, &old)) {
        sc_bitcask_forget(store, old);
    }
    sc_segment_live(sc_bitcask_segment(store, at), at.size);
    store->puts++;
    *version = record.version;
    *position = store->writer.appended;
    return SC_OK;
}

enum sc_status sc_bitcask_lose(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                               uint64_t expires_ms, char *why)
{
    enum sc_status status = may_write_to(store, hash, why);
    if (status == SC_OK) {
        status = sc_writer_room(&store->writer, sc_record_size(key.size, 0), true, why);
    }
    if (status != SC_OK) {
        return status;
    }
    struct sc_record record = {
        .version = sc_clock_tick(&store->clock),
        .expires_ms = expires_ms,
        .kind = SC_RECORD_PUT,
        .key = key,
    };
    sc_record_lose(&record);
    struct sc_location at = sc_writer_append(&store->writer, &record, NULL);
    struct sc_location old;
    if (sc_keydir_set(store->keydir, key, hash, at, expires_ms, record.version, &old)) {
        sc_bitcask_forget(store, old);
    }
    sc_segment_live(sc_bitcask_segment(store, at), at.size);
    const struct sc_damage damage = {
        .kind = SC_DAMAGE_LOST,
        .file = sc_bitcask_segment(store, at)->number,
        .offset = at.offset,
        .size = at.size,
        .key = key,
        .version = record.version,
        .live = true,
    };
    (void)sc_bitcask_note_damage(store, &damage);
    return SC_OK;
}

static uint64_t expiry(struct sc_bitcask *store, const uint64_t *ttl_ms)
{
    return ttl_ms == NULL ? 0 : sc_clock_now_ms(&store->clock) + *ttl_ms;
}

/* The expiry that a put is to have. Most have none, and need not know the time. */
static enum sc_status put_expiry(struct sc_bitcask *store, const struct sc_bitcask_write *options,
                                 uint64_t *expires_ms, char *why)
{
    if (options->expires_ms == NULL && options->ttl_ms == NULL) {
        *expires_ms = 0;
        return SC_OK;
    }
    *expires_ms =
        options->expires_ms != NULL ? *options->expires_ms : expiry(store, options->ttl_ms);
    return *expires_ms <= sc_clock_now_ms(&store->clock) + SC_TTL_MS_MAX
               ? SC_OK
               : sc_fail(why, SC_BADREQUEST, "the expiry is more than 100 years away");
}

enum sc_status sc_bitcask_put(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                              struct sc_slice value, const struct sc_bitcask_write *options,
                              uint64_t *version, sc_bitcask_position *position, char *why)
{
    sc_keydir_prefetch(store->keydir, hash); /* comes while the record is made */
    *position = 0;
    enum sc_status status = may_write_to(store, hash, why);
    if (status != SC_OK) {
        return status;
    }
    if (options->if_version != NULL) {
        struct sc_bitcask_found found;
        sc_bitcask_find(store, key, hash, &found);
        *position = found.position;
        status = check_version(store, &found, options->if_version, why);
        if (status != SC_OK) {
            return status;
        }
    }
    uint64_t expires_ms;
    status = put_expiry(store, options, &expires_ms, why);
    return status == SC_OK ? append_put(store, key, hash, value, expires_ms, options->sync, version,
                                        position, why)
                           : status;
}

enum sc_status sc_bitcask_del(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                              const struct sc_bitcask_write *options, bool *existed,
                              sc_bitcask_position *position, char *why)
{
    *position = 0;
    enum sc_status status = may_write_to(store, hash, why);
    if (status != SC_OK) {
        return status;
    }
    struct sc_bitcask_found found;
    sc_bitcask_find(store, key, hash, &found);
    *position = found.position;
    status = check_version(store, &found, options->if_version, why);
    if (status != SC_OK) {
        return status;
    }
    if (!found.present) {
        *existed = false;
        return SC_OK;
    }
    status = sc_writer_room(&store->writer, sc_record_size(key.size, 0), true, why);
    if (status != SC_OK) {
        return status;
    }
    struct sc_record record = {
        .version = next_version(store),
        .kind = SC_RECORD_TOMBSTONE,
        .key = key,
    };
    (void)sc_writer_append(&store->writer, &record, options->sync);
    sc_bitcask_forget(store, found.entry.location);
    (void)sc_keydir_remove(store->keydir, key, hash, NULL);
    store->deleted[sc_slot_of_hash(hash)] = store->writer.appended;
    store->dels++;
    *existed = true;
    *position = store->writer.appended;
    return SC_OK;
}

enum sc_status sc_bitcask_touch(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                                const uint64_t *ttl_ms, uint64_t *version,
                                sc_bitcask_position *position, char *why)
{
    *position = 0;
    enum sc_status status = may_write_to(store, hash, why);
    if (status != SC_OK) {
        return status;
    }
    struct sc_bitcask_found found;
    sc_bitcask_find(store, key, hash, &found);
    *position = found.position;
    if (!found.present) {
        return sc_fail(why, SC_NOTFOUND, "no such key");
    }
    struct sc_buf value = {0};
    status = sc_bitcask_read_value(store, &found.entry, &value, why);
    if (status == SC_OK) {
        status = append_put(store, key, hash, sc_buf_slice(&value), expiry(store, ttl_ms), NULL,
                            version, position, why);
    }
    sc_buf_fini(&value);
    return status;
}

/* ---- incr ---- */

/* Reads the integer that is stored. */
static enum sc_status read_int(struct sc_bitcask *store, const struct sc_keydir_entry *entry,
                               int64_t *number, char *why)
{
    struct sc_buf value = {0};
    enum sc_status status = sc_bitcask_read_value(store, entry, &value, why);
    if (status == SC_OK) {
        struct sc_mp mp = sc_mp(sc_buf_slice(&value));
        if (!sc_mp_int(&mp, number) || !sc_mp_done(&mp)) {
            status = sc_fail(why, SC_WRONGTYPE, "the value is no integer of 64 bits");
        }
    }
    sc_buf_fini(&value);
    return status;
}

enum sc_status sc_bitcask_incr(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                               int64_t delta, int64_t *result, sc_bitcask_position *position,
                               char *why)
{
    *position = 0;
    enum sc_status status = may_write_to(store, hash, why);
    if (status != SC_OK) {
        return status;
    }
    struct sc_bitcask_found found;
    sc_bitcask_find(store, key, hash, &found);
    *position = found.position;
    int64_t number = 0;
    if (found.present) {
        status = read_int(store, &found.entry, &number, why);
        if (status != SC_OK) {
            return status;
        }
    }
    int64_t sum;
    if (__builtin_add_overflow(number, delta, &sum)) {
        return sc_fail(why, SC_WRONGTYPE, "%" PRId64 " and %" PRId64 " do not add up in 64 bits",
                       number, delta);
    }
    struct sc_buf value = {0};
    uint64_t version;
    sc_mp_put_int(&value, sum);
    status = append_put(store, key, hash, sc_buf_slice(&value),
                        found.present ? found.entry.expires_ms : 0, NULL, &version, position, why);
    sc_buf_fini(&value);
    if (status == SC_OK) {
        *result = sum;
    }
    return status;
}

/* ---- clear ---- */

/* Keys in a run of slots. */
static uint64_t keys_in(const struct sc_bitcask *store, uint32_t first, uint32_t last)
{
    uint64_t count = 0;
    for (uint32_t slot = first; slot <= last; slot++) {
        count += sc_keydir_slot_count(store->keydir, slot);
    }
    return count;
}

static enum sc_status may_clear(const struct sc_bitcask *store, const uint8_t *owned, char *why)
{
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT && store->moving.sealed; slot++) {
        if (sc_bitcask_bit(owned, slot) && sc_moving_has_sealed(&store->moving, slot)) {
            return sc_fail(why, SC_BUSY, "slots are about to move to another shard: try again");
        }
    }
    return may_write(store, why);
}

static void clear_run(struct sc_bitcask *store, uint32_t first, uint32_t last)
{
    uint8_t key[SC_RECORD_CLEAR_KEY_SIZE];
    sc_record_clear_key(key, first, last);
    struct sc_record record = {
        .version = sc_clock_tick(&store->clock),
        .kind = SC_RECORD_CLEAR,
        .key = {key, sizeof key},
    };
    (void)sc_writer_append(&store->writer, &record, NULL);
    for (uint32_t slot = first; slot <= last; slot++) {
        sc_keydir_drop_slot(store->keydir, slot, sc_bitcask_forget, store);
        store->deleted[slot] = store->writer.appended;
    }
}

enum sc_status sc_bitcask_clear(struct sc_bitcask *store, const uint8_t *owned, uint64_t *removed,
                                sc_bitcask_position *position, char *why)
{
    const uint32_t end = SC_SLOT_COUNT - 1;
    uint32_t first;
    uint32_t last;
    uint64_t runs = 0;
    uint64_t keys = 0;
    *position = store->writer.appended;
    enum sc_status status = may_clear(store, owned, why);
    if (status != SC_OK) {
        return status;
    }
    for (uint32_t from = 0; sc_bitcask_run(owned, from, end, &first, &last); from = last + 1) {
        sc_bitcask_expire(store, first, last);
        uint64_t count = keys_in(store, first, last);
        keys += count;
        runs += count > 0 ? 1 : 0;
    }
    /* Room for all of it first, so that it is done as a whole or not at all. */
    uint64_t size = runs * sc_record_size(SC_RECORD_CLEAR_KEY_SIZE, 0);
    status = runs > 0 ? sc_writer_room(&store->writer, size, true, why) : SC_OK;
    if (status != SC_OK) {
        return status;
    }
    for (uint32_t from = 0; sc_bitcask_run(owned, from, end, &first, &last); from = last + 1) {
        if (keys_in(store, first, last) > 0) {
            clear_run(store, first, last);
        }
    }
    *removed = keys;
    *position = store->writer.appended;
    return SC_OK;
}
