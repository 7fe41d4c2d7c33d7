#include "shard/keydir.h"

#include "shard/keydir_impl.h"

#include <stdlib.h>

/* ---- The whole ---- */

struct sc_keydir *sc_keydir_alloc(void)
{
    struct sc_keydir *keydir = sc_calloc(1, sizeof *keydir);
    keydir->versions = sc_calloc(SC_SLOT_COUNT, sizeof *keydir->versions);
    keydir->versioned = SC_SLOT_COUNT;
    keydir->opening = true;
    sc_blocks_init(&keydir->blocks);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        keydir->tables[slot].expires_ms = SC_TABLE_EXPIRES_NEVER;
        keydir->tables[slot].versions = true;
        keydir->tables[slot].roomy = true;
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
    free(keydir->versions);
    free(keydir);
}

uint64_t sc_keydir_slot_count(const struct sc_keydir *keydir, uint32_t slot)
{
    const struct sc_table *table = &keydir->tables[slot];
    return table->count - (table->versions ? keydir->versions[slot].tombstones : 0);
}

uint64_t sc_keydir_slot_bytes(const struct sc_keydir *keydir, uint32_t slot)
{
    return keydir->tables[slot].bytes;
}

uint64_t sc_keydir_count(const struct sc_keydir *keydir)
{
    return keydir->count;
}

uint64_t sc_keydir_memory(const struct sc_keydir *keydir)
{
    uint64_t versions = keydir->versions != NULL ? SC_SLOT_COUNT * sizeof *keydir->versions : 0;
    return sizeof *keydir + versions + keydir->blocks.memory;
}

/* ---- One key ---- */

static struct sc_keydir_entry entry_of(uint64_t hash, struct sc_slice key,
                                       const struct sc_table_value *value)
{
    return (struct sc_keydir_entry){sc_keydir_unpack(value->location), value->expires_ms, hash,
                                    key};
}

static bool find(const struct sc_keydir *keydir, struct sc_slice key, uint64_t hash, bool swept,
                 struct sc_keydir_entry *entry)
{
    const struct sc_table *table = &keydir->tables[sc_slot_of_hash(hash)];
    struct sc_table_target target = sc_keydir_target(key, hash);
    uint32_t at;
    if (!sc_table_search(table, &target, &at)) {
        return false;
    }
    struct sc_slice stored;
    struct sc_table_value value;
    sc_table_get(table, at, &stored, &value);
    if (value.tombstone && (!swept || value.expires_ms == 0)) {
        return false;
    }
    *entry = entry_of(hash, stored, &value);
    return true;
}

bool sc_keydir_find(const struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                    struct sc_keydir_entry *entry)
{
    return find(keydir, key, hash, false, entry);
}

bool sc_keydir_find_swept(const struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                          struct sc_keydir_entry *entry)
{
    return find(keydir, key, hash, true, entry);
}

void sc_keydir_keep_past(const struct sc_keydir *keydir, const struct sc_table *table,
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

/* A key comes into the table, at a place where it was searched for in vain. */
static void insert(struct sc_keydir *keydir, struct sc_table *table,
                   const struct sc_table_target *target, uint32_t at,
                   const struct sc_table_value *value)
{
    sc_table_insert(table, &keydir->blocks, target, at, value);
    if (table->versions) {
        sc_keydir_versions_add(keydir, target->hash, value);
    } else {
        keydir->count++;
        table->bytes += sc_keydir_packed_size(value->location);
    }
}

/* What is at a place changes in a table with versions. */
static bool replace(struct sc_keydir *keydir, struct sc_table *table,
                    const struct sc_table_target *target, uint32_t at,
                    const struct sc_table_value *value, struct sc_location *old)
{
    struct sc_slice stored;
    struct sc_table_value present;
    sc_table_get(table, at, &stored, &present);
    sc_keydir_versions_remove(keydir, target->hash, &present);
    sc_table_update(table, &keydir->blocks, target, at, value);
    sc_keydir_versions_add(keydir, target->hash, value);
    if (old != NULL && !present.tombstone) {
        *old = sc_keydir_unpack(present.location);
    }
    return !present.tombstone;
}

bool sc_keydir_set(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                   struct sc_location location, uint64_t expires_ms, uint64_t version,
                   struct sc_location *old)
{
    assert(!keydir->opening);
    struct sc_table *table = &keydir->tables[sc_slot_of_hash(hash)];
    struct sc_table_target target = sc_keydir_target(key, hash);
    struct sc_table_value value = {sc_keydir_pack(location), expires_ms, version, false};
    uint32_t at;
    bool found = sc_table_search(table, &target, &at);
    if (keydir->pasts != NULL) {
        sc_keydir_keep_past(keydir, table, &target, found, at);
    }
    if (!found) {
        insert(keydir, table, &target, at, &value);
        return false;
    }
    if (table->versions) {
        return replace(keydir, table, &target, at, &value, old);
    }
    uint64_t before = sc_table_location(table, at);
    if (old != NULL) {
        *old = sc_keydir_unpack(before);
    }
    table->bytes += sc_keydir_packed_size(value.location);
    table->bytes -= sc_keydir_packed_size(before);
    sc_table_update(table, &keydir->blocks, &target, at, &value);
    return true;
}

bool sc_keydir_relocate(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                        struct sc_location from, struct sc_location to)
{
    assert(!keydir->opening);
    struct sc_table *table = &keydir->tables[sc_slot_of_hash(hash)];
    struct sc_table_target target = sc_keydir_target(key, hash);
    struct sc_slice stored;
    struct sc_table_value value;
    uint32_t at;
    if (!sc_table_search(table, &target, &at)) {
        return false;
    }
    sc_table_get(table, at, &stored, &value);
    if (value.tombstone || value.location != sc_keydir_pack(from)) {
        return false;
    }
    sc_table_set_location(table, at, sc_keydir_pack(to));
    table->bytes += to.size;
    table->bytes -= from.size;
    return true;
}

bool sc_keydir_remove(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                      struct sc_location *old)
{
    assert(!keydir->opening);
    struct sc_table *table = &keydir->tables[sc_slot_of_hash(hash)];
    struct sc_table_target target = sc_keydir_target(key, hash);
    struct sc_slice stored;
    struct sc_table_value value;
    uint32_t at;
    if (!sc_table_search(table, &target, &at)) {
        return false;
    }
    if (keydir->pasts != NULL) {
        sc_keydir_keep_past(keydir, table, &target, true, at);
    }
    sc_table_get(table, at, &stored, &value);
    sc_table_remove(table, at);
    if (table->versions) {
        sc_keydir_versions_remove(keydir, hash, &value);
    } else {
        keydir->count--;
        table->bytes -= sc_keydir_packed_size(value.location);
    }
    sc_table_trim(table, &keydir->blocks);
    if (old != NULL && !value.tombstone) {
        *old = sc_keydir_unpack(value.location);
    }
    return !value.tombstone;
}

void sc_keydir_prefetch(const struct sc_keydir *keydir, uint64_t hash)
{
    sc_table_prefetch(&keydir->tables[sc_slot_of_hash(hash)], hash);
}

bool sc_keydir_prefetch_key(const struct sc_keydir *keydir, uint64_t hash,
                            struct sc_location *location)
{
    uint64_t packed;
    if (!sc_table_prefetch_key(&keydir->tables[sc_slot_of_hash(hash)], hash, &packed)) {
        return false;
    }
    if (location != NULL) {
        *location = sc_keydir_unpack(packed);
    }
    return true;
}

/* ---- A slot as a whole ---- */

void sc_keydir_drop_slot(struct sc_keydir *keydir, uint32_t slot,
                         void (*removed)(void *arg, struct sc_location location), void *arg)
{
    assert(!keydir->opening && slot < SC_SLOT_COUNT);
    struct sc_table *table = &keydir->tables[slot];
    for (struct sc_past *past = keydir->pasts; past != NULL; past = past->next) {
        sc_past_keep_slot(past, slot, table);
    }
    for (uint32_t at = sc_table_next(table, 0); at < table->capacity && removed != NULL;
         at = sc_table_next(table, at + 1)) {
        struct sc_slice key;
        struct sc_table_value value;
        if (!table->versions) {
            removed(arg, sc_keydir_unpack(sc_table_location(table, at)));
            continue;
        }
        sc_table_get(table, at, &key, &value);
        if (!value.tombstone) {
            removed(arg, sc_keydir_unpack(value.location));
        }
    }
    keydir->count -= sc_keydir_slot_count(keydir, slot);
    sc_table_clear(table, &keydir->blocks);
    if (table->versions) {
        sc_keydir_versions_reset(keydir, slot);
    }
}

/* Takes an expired key out. In a slot with versions it stays as a tombstone with an expiry, since
 * the copy of the slot has it still. */
static void sweep_key(struct sc_keydir *keydir, struct sc_table *table, uint32_t at,
                      struct sc_slice key, const struct sc_table_value *value)
{
    if (!table->versions) {
        sc_table_remove(table, at);
        table->bytes -= sc_keydir_packed_size(value->location);
        keydir->count--;
        return;
    }
    struct sc_table_value swept = *value;
    uint64_t hash = sc_slot_hash(key);
    swept.tombstone = true;
    sc_keydir_versions_remove(keydir, hash, value);
    sc_table_set_tombstone(table, at);
    sc_keydir_versions_add(keydir, hash, &swept);
}

uint64_t sc_keydir_sweep_slot(struct sc_keydir *keydir, uint32_t slot, uint64_t now_ms,
                              void (*removed)(void *arg, struct sc_location location), void *arg)
{
    assert(!keydir->opening && slot < SC_SLOT_COUNT);
    struct sc_table *table = &keydir->tables[slot];
    uint64_t swept = 0;
    uint64_t next_ms = SC_TABLE_EXPIRES_NEVER;
    if (now_ms < table->expires_ms) {
        return 0;
    }
    for (uint32_t at = sc_table_next(table, 0); at < table->capacity;
         at = sc_table_next(table, at + 1)) {
        struct sc_slice key;
        struct sc_table_value value;
        sc_table_get(table, at, &key, &value);
        if (value.expires_ms == 0 || value.tombstone) {
            continue;
        }
        if (value.expires_ms > now_ms) {
            next_ms = value.expires_ms < next_ms ? value.expires_ms : next_ms;
            continue;
        }
        if (removed != NULL) {
            removed(arg, sc_keydir_unpack(value.location));
        }
        sweep_key(keydir, table, at, key, &value);
        swept++;
    }
    table->expires_ms = next_ms;
    if (swept > 0) {
        sc_table_trim(table, &keydir->blocks);
    }
    return swept;
}

/* ---- Scans ---- */

/* Visits the entries of one slot from place `at` on. */
static bool walk_slot(const struct sc_keydir *keydir, uint32_t slot, uint32_t at, bool swept,
                      uint64_t *max, bool (*visit)(void *arg, const struct sc_keydir_entry *entry),
                      void *arg)
{
    const struct sc_table *table = &keydir->tables[slot];
    for (at = sc_table_next(table, at); at < table->capacity; at = sc_table_next(table, at + 1)) {
        struct sc_slice key;
        struct sc_table_value value;
        sc_table_get(table, at, &key, &value);
        if (value.tombstone && (!swept || value.expires_ms == 0)) {
            continue;
        }
        struct sc_keydir_entry entry = entry_of(sc_slot_hash(key), key, &value);
        if (*max == 0 || !visit(arg, &entry)) {
            return false;
        }
        --*max;
    }
    return true;
}

static bool walk(const struct sc_keydir *keydir, const struct sc_keydir_position *position,
                 uint32_t last_slot, bool swept, uint64_t max,
                 bool (*visit)(void *arg, const struct sc_keydir_entry *entry), void *arg)
{
    assert(last_slot < SC_SLOT_COUNT);
    uint32_t first_slot = sc_slot_of_hash(position->hash);
    struct sc_table_target target = {position->key, position->hash, position->whole_hash};
    for (uint32_t slot = first_slot; slot <= last_slot; slot++) {
        uint32_t at = 0;
        if (slot == first_slot && sc_table_search(&keydir->tables[slot], &target, &at)) {
            at++;
        }
        if (!walk_slot(keydir, slot, at, swept, &max, visit, arg)) {
            return false;
        }
    }
    return true;
}

bool sc_keydir_walk(const struct sc_keydir *keydir, const struct sc_keydir_position *position,
                    uint32_t last_slot, uint64_t max,
                    bool (*visit)(void *arg, const struct sc_keydir_entry *entry), void *arg)
{
    return walk(keydir, position, last_slot, false, max, visit, arg);
}

bool sc_keydir_walk_swept(const struct sc_keydir *keydir, const struct sc_keydir_position *position,
                          uint32_t last_slot, uint64_t max,
                          bool (*visit)(void *arg, const struct sc_keydir_entry *entry), void *arg)
{
    return walk(keydir, position, last_slot, true, max, visit, arg);
}

/* ---- Looking back ---- */

struct sc_past *sc_keydir_past_open(struct sc_keydir *keydir, const uint8_t *slots,
                                    uint64_t memory_max)
{
    assert(!keydir->opening);
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
    struct sc_keydir_versions seen = {0};
    uint64_t bytes = 0;
    sc_table_check(table);
    assert(table->versions || !keydir->opening);
    for (uint32_t at = sc_table_next(table, 0); at < table->capacity;
         at = sc_table_next(table, at + 1)) {
        struct sc_slice key;
        struct sc_table_value value;
        sc_table_get(table, at, &key, &value);
        assert(sc_slot_of_key(key) == slot);
        seen.tombstones += value.tombstone;
        seen.swept += value.tombstone && value.expires_ms != 0;
        seen.unknown += (!value.tombstone || value.expires_ms != 0) && value.version == 0;
        bytes += value.tombstone ? 0 : sc_keydir_packed_size(value.location);
        assert(!keydir->opening || value.version > keydir->versions[slot].cleared);
    }
    assert(table->bytes == bytes);
    if (table->versions) {
        const struct sc_keydir_versions *versions = &keydir->versions[slot];
        assert(versions->tombstones == seen.tombstones && versions->swept == seen.swept);
        assert(keydir->opening || versions->unknown == seen.unknown);
    }
}

void sc_keydir_check(const struct sc_keydir *keydir)
{
    uint64_t count = 0;
    uint32_t versioned = 0;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        check_slot(keydir, slot);
        count += sc_keydir_slot_count(keydir, slot);
        versioned += keydir->tables[slot].versions;
    }
    assert(count == keydir->count && versioned == keydir->versioned);
    assert((keydir->versions != NULL) == (versioned > 0));
}
