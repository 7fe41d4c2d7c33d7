#include "shard/keydir.h"

#include "shard/blocks.h"
#include "shard/table.h"

#include <assert.h>
#include <stdlib.h>

/* What is known of a slot only while opening. */
struct opening {
    uint64_t cleared; /* versions up to this were cleared */
    uint32_t tombstones;
};

struct sc_keydir {
    struct sc_table tables[SC_SLOT_COUNT];
    struct sc_blocks blocks;
    struct opening *opening; /* one for each slot; NULL when opened */
    uint64_t count; /* keys, tombstones left out */
    struct sc_past *pasts; /* that are open */
};

/* ---- Locations: 13 bits of file, 28 of offset, 23 of size ---- */

#define OFFSET_BITS 28u
#define SIZE_BITS 23u

static uint64_t pack(struct sc_location location)
{
    assert(location.file < SC_LOCATION_FILES_MAX);
    assert(location.offset < SC_LOCATION_OFFSET_MAX && location.offset % SC_LOCATION_UNIT == 0);
    assert(location.size < SC_LOCATION_SIZE_MAX && location.size % SC_LOCATION_UNIT == 0);
    return (uint64_t)location.file << (OFFSET_BITS + SIZE_BITS) |
           location.offset / SC_LOCATION_UNIT << SIZE_BITS | location.size / SC_LOCATION_UNIT;
}

static struct sc_location unpack(uint64_t packed)
{
    uint64_t offset = packed >> SIZE_BITS & ((1u << OFFSET_BITS) - 1);
    return (struct sc_location){
        .file = (uint32_t)(packed >> (OFFSET_BITS + SIZE_BITS)),
        .size = ((uint32_t)packed & ((1u << SIZE_BITS) - 1)) * SC_LOCATION_UNIT,
        .offset = offset * SC_LOCATION_UNIT,
    };
}

/* ---- The whole ---- */

struct sc_keydir *sc_keydir_alloc(void)
{
    struct sc_keydir *keydir = sc_calloc(1, sizeof *keydir);
    keydir->opening = sc_calloc(SC_SLOT_COUNT, sizeof *keydir->opening);
    sc_blocks_init(&keydir->blocks);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        keydir->tables[slot].expires_ms = SC_TABLE_EXPIRES_NEVER;
        keydir->tables[slot].versions = true;
    }
    return keydir;
}

void sc_keydir_free(struct sc_keydir *keydir)
{
    if (keydir == NULL) {
        return;
    }
    assert(keydir->pasts == NULL);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        sc_table_clear(&keydir->tables[slot], &keydir->blocks);
    }
    sc_blocks_fini(&keydir->blocks);
    free(keydir->opening);
    free(keydir);
}

uint64_t sc_keydir_slot_count(const struct sc_keydir *keydir, uint32_t slot)
{
    uint32_t tombstones = keydir->opening != NULL ? keydir->opening[slot].tombstones : 0;
    return keydir->tables[slot].count - tombstones;
}

uint64_t sc_keydir_count(const struct sc_keydir *keydir)
{
    return keydir->count;
}

uint64_t sc_keydir_memory(const struct sc_keydir *keydir)
{
    uint64_t opening = keydir->opening != NULL ? SC_SLOT_COUNT * sizeof *keydir->opening : 0;
    return sizeof *keydir + opening + keydir->blocks.memory;
}

/* ---- One key ---- */

static struct sc_table_target target_of(struct sc_slice key, uint64_t hash)
{
    return (struct sc_table_target){.key = key, .hash = hash};
}

static struct sc_keydir_entry entry_of(uint64_t hash, struct sc_slice key,
                                       const struct sc_table_value *value)
{
    return (struct sc_keydir_entry){unpack(value->location), value->expires_ms, hash, key};
}

bool sc_keydir_find(const struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                    struct sc_keydir_entry *entry)
{
    const struct sc_table *table = &keydir->tables[sc_slot_of_hash(hash)];
    struct sc_table_target target = target_of(key, hash);
    uint32_t at;
    if (!sc_table_search(table, &target, &at)) {
        return false;
    }
    struct sc_slice stored;
    struct sc_table_value value;
    sc_table_get(table, at, &stored, &value);
    if (value.tombstone) {
        return false;
    }
    *entry = entry_of(hash, stored, &value);
    return true;
}

/* A key is going to change: tells those who look back what is at place `at`, if it is `found`. */
static void keep_past(const struct sc_keydir *keydir, const struct sc_table *table,
                      const struct sc_table_target *target, bool found, uint32_t at)
{
    struct sc_table_value value = {0};
    if (found) {
        struct sc_slice key;
        sc_table_get(table, at, &key, &value);
    }
    for (struct sc_past *past = keydir->pasts; past != NULL; past = past->next) {
        sc_past_keep(past, sc_slot_of_hash(target->hash), target, found ? &value : NULL);
    }
}

bool sc_keydir_set(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                   struct sc_location location, uint64_t expires_ms, struct sc_location *old)
{
    assert(keydir->opening == NULL);
    struct sc_table *table = &keydir->tables[sc_slot_of_hash(hash)];
    struct sc_table_target target = target_of(key, hash);
    struct sc_table_value value = {.location = pack(location), .expires_ms = expires_ms};
    uint32_t at;
    bool found = sc_table_search(table, &target, &at);
    if (keydir->pasts != NULL) {
        keep_past(keydir, table, &target, found, at);
    }
    if (!found) {
        sc_table_insert(table, &keydir->blocks, &target, at, &value);
        keydir->count++;
        return false;
    }
    if (old != NULL) {
        *old = unpack(sc_table_location(table, at));
    }
    sc_table_update(table, &keydir->blocks, &target, at, &value);
    return true;
}

bool sc_keydir_relocate(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                        struct sc_location from, struct sc_location to)
{
    assert(keydir->opening == NULL);
    struct sc_table *table = &keydir->tables[sc_slot_of_hash(hash)];
    struct sc_table_target target = target_of(key, hash);
    uint32_t at;
    if (!sc_table_search(table, &target, &at) || sc_table_location(table, at) != pack(from)) {
        return false;
    }
    sc_table_set_location(table, at, pack(to));
    return true;
}

bool sc_keydir_remove(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                      struct sc_location *old)
{
    assert(keydir->opening == NULL);
    struct sc_table *table = &keydir->tables[sc_slot_of_hash(hash)];
    struct sc_table_target target = target_of(key, hash);
    uint32_t at;
    if (!sc_table_search(table, &target, &at)) {
        return false;
    }
    if (keydir->pasts != NULL) {
        keep_past(keydir, table, &target, true, at);
    }
    if (old != NULL) {
        *old = unpack(sc_table_location(table, at));
    }
    sc_table_remove(table, at);
    sc_table_trim(table, &keydir->blocks);
    keydir->count--;
    return true;
}

void sc_keydir_prefetch(const struct sc_keydir *keydir, uint64_t hash)
{
    sc_table_prefetch(&keydir->tables[sc_slot_of_hash(hash)], hash);
}

void sc_keydir_prefetch_key(const struct sc_keydir *keydir, uint64_t hash)
{
    sc_table_prefetch_key(&keydir->tables[sc_slot_of_hash(hash)], hash);
}

/* ---- While a store is opened ---- */

/* Counts an entry that has come (or gone: -1). */
static void count_offered(struct sc_keydir *keydir, struct opening *opening, bool tombstone, int by)
{
    if (tombstone) {
        opening->tombstones += (uint32_t)by;
    } else {
        keydir->count += (uint64_t)by;
    }
}

enum sc_keydir_offer sc_keydir_offer(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                                     uint64_t version, bool tombstone, struct sc_location location,
                                     uint64_t expires_ms, struct sc_location *old,
                                     bool *old_tombstone)
{
    assert(keydir->opening != NULL);
    struct opening *opening = &keydir->opening[sc_slot_of_hash(hash)];
    struct sc_table *table = &keydir->tables[sc_slot_of_hash(hash)];
    struct sc_table_target target = target_of(key, hash);
    struct sc_table_value value = {pack(location), expires_ms, version, tombstone};
    uint32_t at;
    if (version <= opening->cleared) {
        return SC_KEYDIR_CLEARED;
    }
    if (!sc_table_search(table, &target, &at)) {
        sc_table_insert(table, &keydir->blocks, &target, at, &value);
        count_offered(keydir, opening, tombstone, 1);
        return SC_KEYDIR_NEW;
    }
    struct sc_slice stored;
    struct sc_table_value present;
    sc_table_get(table, at, &stored, &present);
    *old = unpack(present.location);
    *old_tombstone = present.tombstone;
    if (version <= present.version) {
        return SC_KEYDIR_OLDER;
    }
    sc_table_update(table, &keydir->blocks, &target, at, &value);
    count_offered(keydir, opening, present.tombstone, -1);
    count_offered(keydir, opening, tombstone, 1);
    return SC_KEYDIR_NEWER;
}

void sc_keydir_offer_clear(struct sc_keydir *keydir, uint32_t first, uint32_t last,
                           uint64_t version,
                           void (*removed)(void *arg, struct sc_location location, bool tombstone),
                           void *arg)
{
    assert(keydir->opening != NULL && last < SC_SLOT_COUNT);
    for (uint32_t slot = first; slot <= last; slot++) {
        struct opening *opening = &keydir->opening[slot];
        struct sc_table *table = &keydir->tables[slot];
        if (version <= opening->cleared) {
            continue;
        }
        opening->cleared = version;
        for (uint32_t at = sc_table_next(table, 0); at < table->capacity;
             at = sc_table_next(table, at + 1)) {
            struct sc_slice key;
            struct sc_table_value value;
            sc_table_get(table, at, &key, &value);
            if (value.version > version) {
                continue;
            }
            if (removed != NULL) {
                removed(arg, unpack(value.location), value.tombstone);
            }
            sc_table_remove(table, at);
            count_offered(keydir, opening, value.tombstone, -1);
        }
        sc_table_trim(table, &keydir->blocks);
    }
}

void sc_keydir_opened(struct sc_keydir *keydir)
{
    assert(keydir->opening != NULL);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        sc_table_drop_versions(&keydir->tables[slot], &keydir->blocks);
    }
    free(keydir->opening);
    keydir->opening = NULL;
}

/* ---- A slot as a whole ---- */

void sc_keydir_drop_slot(struct sc_keydir *keydir, uint32_t slot,
                         void (*removed)(void *arg, struct sc_location location), void *arg)
{
    assert(keydir->opening == NULL && slot < SC_SLOT_COUNT);
    struct sc_table *table = &keydir->tables[slot];
    for (struct sc_past *past = keydir->pasts; past != NULL; past = past->next) {
        sc_past_keep_slot(past, slot, table);
    }
    for (uint32_t at = sc_table_next(table, 0); at < table->capacity && removed != NULL;
         at = sc_table_next(table, at + 1)) {
        removed(arg, unpack(sc_table_location(table, at)));
    }
    keydir->count -= table->count;
    sc_table_clear(table, &keydir->blocks);
}

uint64_t sc_keydir_sweep_slot(struct sc_keydir *keydir, uint32_t slot, uint64_t now_ms,
                              void (*removed)(void *arg, struct sc_location location), void *arg)
{
    assert(keydir->opening == NULL && slot < SC_SLOT_COUNT);
    struct sc_table *table = &keydir->tables[slot];
    uint64_t before = table->count;
    uint64_t next_ms = SC_TABLE_EXPIRES_NEVER;
    if (now_ms < table->expires_ms) {
        return 0;
    }
    for (uint32_t at = sc_table_next(table, 0); at < table->capacity;
         at = sc_table_next(table, at + 1)) {
        struct sc_slice key;
        struct sc_table_value value;
        sc_table_get(table, at, &key, &value);
        if (value.expires_ms == 0) {
            continue;
        }
        if (value.expires_ms > now_ms) {
            next_ms = value.expires_ms < next_ms ? value.expires_ms : next_ms;
            continue;
        }
        if (removed != NULL) {
            removed(arg, unpack(value.location));
        }
        sc_table_remove(table, at);
    }
    uint64_t swept = before - table->count;
    table->expires_ms = next_ms;
    keydir->count -= swept;
    if (swept > 0) {
        sc_table_trim(table, &keydir->blocks);
    }
    return swept;
}

/* ---- Scans ---- */

bool sc_keydir_walk(const struct sc_keydir *keydir, const struct sc_keydir_position *position,
                    uint32_t last_slot, uint64_t max,
                    bool (*visit)(void *arg, const struct sc_keydir_entry *entry), void *arg)
{
    assert(last_slot < SC_SLOT_COUNT);
    uint32_t first_slot = sc_slot_of_hash(position->hash);
    struct sc_table_target target = {position->key, position->hash, position->whole_hash};
    for (uint32_t slot = first_slot; slot <= last_slot; slot++) {
        const struct sc_table *table = &keydir->tables[slot];
        uint32_t at = 0;
        if (slot == first_slot && sc_table_search(table, &target, &at)) {
            at++;
        }
        for (at = sc_table_next(table, at); at < table->capacity;
             at = sc_table_next(table, at + 1)) {
            struct sc_slice key;
            struct sc_table_value value;
            sc_table_get(table, at, &key, &value);
            if (value.tombstone) {
                continue;
            }
            struct sc_keydir_entry entry = entry_of(sc_slot_hash(key), key, &value);
            if (max == 0 || !visit(arg, &entry)) {
                return false;
            }
            max--;
        }
    }
    return true;
}

/* ---- Looking back ---- */

struct sc_past *sc_keydir_past_open(struct sc_keydir *keydir, const uint8_t *slots,
                                    uint64_t memory_max)
{
    assert(keydir->opening == NULL);
    struct sc_past *past = sc_past_alloc(slots, memory_max);
    past->next = keydir->pasts;
    keydir->pasts = past;
    return past;
}

void sc_keydir_past_close(struct sc_keydir *keydir, struct sc_past *past)
{
    struct sc_past **link = &keydir->pasts;
    while (*link != past) {
        link = &(*link)->next;
    }
    *link = past->next;
    sc_past_free(past);
}

struct walk_past {
    uint64_t left; /* entries that may be visited */
    bool (*visit)(void *arg, const struct sc_keydir_entry *entry);
    void *arg;
};

static bool visit_past(void *arg, struct sc_slice key, uint64_t hash,
                       const struct sc_table_value *value)
{
    struct walk_past *walk = arg;
    struct sc_keydir_entry entry = {.hash = hash, .key = key};
    if (!value->tombstone) {
        entry = entry_of(hash, key, value);
    }
    return walk->left-- > 0 && walk->visit(walk->arg, &entry);
}

bool sc_keydir_walk_past(const struct sc_keydir *keydir, const struct sc_past *past,
                         const struct sc_keydir_position *position, uint64_t max,
                         bool (*visit)(void *arg, const struct sc_keydir_entry *entry), void *arg)
{
    struct walk_past walk = {max, visit, arg};
    struct sc_table_target target = {position->key, position->hash, position->whole_hash};
    const struct sc_table_target *from = &target;
    for (uint32_t slot = sc_slot_of_hash(position->hash); slot < SC_SLOT_COUNT; slot++) {
        if (sc_past_covers(past, slot) &&
            !sc_past_walk(past, slot, &keydir->tables[slot], from, visit_past, &walk)) {
            return false;
        }
        from = NULL;
    }
    return true;
}

/* ---- Invariants ---- */

static void check_slot(const struct sc_keydir *keydir, uint32_t slot)
{
    const struct sc_table *table = &keydir->tables[slot];
    uint32_t tombstones = 0;
    sc_table_check(table);
    assert(table->versions == (keydir->opening != NULL));
    for (uint32_t at = sc_table_next(table, 0); at < table->capacity;
         at = sc_table_next(table, at + 1)) {
        struct sc_slice key;
        struct sc_table_value value;
        sc_table_get(table, at, &key, &value);
        assert(sc_slot_of_key(key) == slot);
        tombstones += value.tombstone;
        if (keydir->opening != NULL) {
            assert(value.version > keydir->opening[slot].cleared);
        }
    }
    assert(keydir->opening == NULL || keydir->opening[slot].tombstones == tombstones);
}

void sc_keydir_check(const struct sc_keydir *keydir)
{
    uint64_t count = 0;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        check_slot(keydir, slot);
        count += sc_keydir_slot_count(keydir, slot);
    }
    assert(count == keydir->count);
}
