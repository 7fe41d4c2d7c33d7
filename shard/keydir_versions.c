#include "shard/keydir_impl.h"

#include "common/bytes.h"

#include <stdlib.h>
#include <xxhash.h>

/* ---- Accounting ---- */

/* Whether an entry is a put, though it may have expired and have been swept. */
static bool is_put(const struct sc_table_value *value)
{
    return !value->tombstone || value->expires_ms != 0;
}

static uint64_t digest_of(uint64_t hash, uint64_t version)
{
    uint8_t bytes[16];
    sc_le64_put(bytes, hash);
    sc_le64_put(bytes + 8, version);
    return XXH3_64bits(bytes, sizeof bytes);
}

static void count_entry(struct sc_keydir *keydir, uint64_t hash, const struct sc_table_value *value,
                        uint32_t by)
{
    uint32_t slot = sc_slot_of_hash(hash);
    struct sc_keydir_versions *versions = &keydir->versions[slot];
    bool comes = by == 1;
    if (value->tombstone) {
        versions->tombstones += by;
        versions->swept += value->expires_ms != 0 ? by : 0;
    } else {
        uint64_t size = sc_keydir_packed_size(value->location);
        keydir->count += comes ? 1 : UINT64_MAX;
        keydir->tables[slot].bytes += comes ? size : -size;
    }
    if (keydir->opening || !is_put(value)) {
        return;
    }
    if (value->version == 0) {
        versions->unknown += by;
    } else {
        uint64_t digest = digest_of(hash, value->version);
        versions->digest += comes ? digest : -digest;
    }
}

void sc_keydir_versions_add(struct sc_keydir *keydir, uint64_t hash,
                            const struct sc_table_value *value)
{
    count_entry(keydir, hash, value, 1);
}

void sc_keydir_versions_remove(struct sc_keydir *keydir, uint64_t hash,
                               const struct sc_table_value *value)
{
    count_entry(keydir, hash, value, UINT32_MAX);
}

void sc_keydir_versions_reset(struct sc_keydir *keydir, uint32_t slot)
{
    keydir->versions[slot] = (struct sc_keydir_versions){0};
}

/* ---- Slots come to have versions, and have them no more ---- */

static void begin(struct sc_keydir *keydir, uint32_t slot)
{
    if (keydir->versions == NULL) {
        keydir->versions = sc_calloc(SC_SLOT_COUNT, sizeof *keydir->versions);
    }
    keydir->versioned++;
    sc_keydir_versions_reset(keydir, slot);
}

static void end(struct sc_keydir *keydir, uint32_t slot)
{
    sc_table_drop_versions(&keydir->tables[slot], &keydir->blocks);
    sc_keydir_versions_reset(keydir, slot);
    if (--keydir->versioned == 0) {
        free(keydir->versions);
        keydir->versions = NULL;
    }
}

bool sc_keydir_has_versions(const struct sc_keydir *keydir, uint32_t slot)
{
    return keydir->tables[slot].versions;
}

void sc_keydir_versions_begin(struct sc_keydir *keydir, uint32_t slot, bool roomy)
{
    struct sc_table *table = &keydir->tables[slot];
    assert(!keydir->opening && slot < SC_SLOT_COUNT);
    table->roomy = roomy;
    if (!table->versions) {
        begin(keydir, slot);
        sc_table_add_versions(table, &keydir->blocks);
        keydir->versions[slot].unknown = table->count;
    }
}

void sc_keydir_versions_end(struct sc_keydir *keydir, uint32_t slot)
{
    assert(!keydir->opening && slot < SC_SLOT_COUNT);
    if (keydir->tables[slot].versions) {
        end(keydir, slot);
    }
}

void sc_keydir_learn(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                     struct sc_location location, uint64_t version)
{
    struct sc_table *table = &keydir->tables[sc_slot_of_hash(hash)];
    struct sc_table_target target = sc_keydir_target(key, hash);
    struct sc_slice stored;
    struct sc_table_value value;
    uint32_t at;
    if (!table->versions || !sc_table_search(table, &target, &at) ||
        sc_table_location(table, at) != sc_keydir_pack(location)) {
        return;
    }
    sc_table_get(table, at, &stored, &value);
    if (!is_put(&value) || value.version != 0) {
        return;
    }
    sc_keydir_versions_remove(keydir, hash, &value);
    value.version = version;
    sc_table_set_version(table, at, version);
    sc_keydir_versions_add(keydir, hash, &value);
}

struct sc_keydir_sum sc_keydir_slot_sum(const struct sc_keydir *keydir, uint32_t slot)
{
    const struct sc_table *table = &keydir->tables[slot];
    assert(table->versions && !keydir->opening);
    const struct sc_keydir_versions *versions = &keydir->versions[slot];
    return (struct sc_keydir_sum){
        .count = table->count - versions->tombstones + versions->swept,
        .digest = versions->digest,
        .unknown = versions->unknown,
    };
}

/* ---- Records in any order ---- */

bool sc_keydir_would_take(const struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                          uint64_t version)
{
    const struct sc_table *table = &keydir->tables[sc_slot_of_hash(hash)];
    struct sc_table_target target = sc_keydir_target(key, hash);
    struct sc_slice stored;
    struct sc_table_value present;
    uint32_t at;
    assert(table->versions);
    if (version <= keydir->versions[sc_slot_of_hash(hash)].cleared) {
        return false;
    }
    if (!sc_table_search(table, &target, &at)) {
        return true;
    }
    sc_table_get(table, at, &stored, &present);
    return version > present.version;
}

enum sc_keydir_offer sc_keydir_offer(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                                     uint64_t version, bool tombstone, struct sc_location location,
                                     uint64_t expires_ms, struct sc_location *old,
                                     bool *old_tombstone)
{
    struct sc_table *table = &keydir->tables[sc_slot_of_hash(hash)];
    struct sc_table_target target = sc_keydir_target(key, hash);
    struct sc_table_value value = {sc_keydir_pack(location), expires_ms, version, tombstone};
    uint32_t at;
    assert(table->versions);
    if (version <= keydir->versions[sc_slot_of_hash(hash)].cleared) {
        return SC_KEYDIR_CLEARED;
    }
    bool found = sc_table_search(table, &target, &at);
    if (keydir->pasts != NULL) {
        sc_keydir_keep_past(keydir, table, &target, found, at);
    }
    if (!found) {
        sc_table_insert(table, &keydir->blocks, &target, at, &value);
        sc_keydir_versions_add(keydir, hash, &value);
        return SC_KEYDIR_NEW;
    }
    struct sc_slice stored;
    struct sc_table_value present;
    sc_table_get(table, at, &stored, &present);
    *old = sc_keydir_unpack(present.location);
    *old_tombstone = present.tombstone;
    if (version <= present.version) {
        return SC_KEYDIR_OLDER;
    }
    sc_keydir_versions_remove(keydir, hash, &present);
    sc_table_update(table, &keydir->blocks, &target, at, &value);
    sc_keydir_versions_add(keydir, hash, &value);
    return SC_KEYDIR_NEWER;
}

static void clear_slot(struct sc_keydir *keydir, uint32_t slot, uint64_t version,
                       void (*removed)(void *arg, struct sc_location location, bool tombstone),
                       void *arg)
{
    struct sc_table *table = &keydir->tables[slot];
    assert(table->versions);
    if (version <= keydir->versions[slot].cleared) {
        return;
    }
    keydir->versions[slot].cleared = version;
    for (struct sc_past *past = keydir->pasts; past != NULL; past = past->next) {
        sc_past_keep_slot(past, slot, table);
    }
    for (uint32_t at = sc_table_next(table, 0); at < table->capacity;
         at = sc_table_next(table, at + 1)) {
        struct sc_slice key;
        struct sc_table_value value;
        sc_table_get(table, at, &key, &value);
        if (value.version > version) {
            continue;
        }
        if (removed != NULL) {
            removed(arg, sc_keydir_unpack(value.location), value.tombstone);
        }
        sc_keydir_versions_remove(keydir, sc_slot_hash(key), &value);
        sc_table_remove(table, at);
    }
    sc_table_trim(table, &keydir->blocks);
}

void sc_keydir_offer_clear(struct sc_keydir *keydir, uint32_t first, uint32_t last,
                           uint64_t version,
                           void (*removed)(void *arg, struct sc_location location, bool tombstone),
                           void *arg)
{
    assert(last < SC_SLOT_COUNT);
    for (uint32_t slot = first; slot <= last; slot++) {
        clear_slot(keydir, slot, version, removed, arg);
    }
}

/* ---- The end of opening ---- */

static bool bit(const uint8_t *slots, uint32_t slot)
{
    return slots != NULL && (slots[slot / 8] >> (slot % 8) & 1) != 0;
}

/* Keeps the versions of a slot; without its deletions unless they are asked for. */
static void keep(struct sc_keydir *keydir, uint32_t slot, bool tombstones)
{
    assert(keydir->versions != NULL);
    struct sc_table *table = &keydir->tables[slot];
    struct sc_keydir_versions *versions = &keydir->versions[slot];
    for (uint32_t at = sc_table_next(table, 0); at < table->capacity;
         at = sc_table_next(table, at + 1)) {
        struct sc_slice key;
        struct sc_table_value value;
        sc_table_get(table, at, &key, &value);
        if (!value.tombstone) {
            versions->unknown += value.version == 0 ? 1 : 0;
            versions->digest +=
                value.version == 0 ? 0 : digest_of(sc_slot_hash(key), value.version);
        } else if (!tombstones) {
            versions->tombstones--;
            sc_table_remove(table, at);
        }
    }
    if (!tombstones) {
        versions->cleared = 0;
    }
    table->roomy = tombstones;
    sc_table_trim(table, &keydir->blocks);
}

void sc_keydir_opened(struct sc_keydir *keydir, const uint8_t *arriving, const uint8_t *leaving)
{
    assert(keydir->opening);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (bit(arriving, slot) || bit(leaving, slot)) {
            keep(keydir, slot, bit(arriving, slot));
        } else {
            end(keydir, slot);
        }
    }
    keydir->opening = false;
}
