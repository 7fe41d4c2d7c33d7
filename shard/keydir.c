#include "shard/keydir.h"

#include "common/bytes.h"
#include "common/limits.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Layout ---- */

/*
 * A slot is one block of memory: places, then their tags, then the arena.
 *
 * Invariants, asserted by sc_keydir_check:
 * - tags never fall from one place to the next; an empty place has a tag too, any that keeps to
 *   this, so that a search need not know which places are empty;
 * - occupied places with equal tags stand in the order of (hash, key bytes);
 * - arena_used is the sum of the records of all occupied places and arena_dead.
 */
struct slot {
    uint8_t *block;
    uint64_t expires_ms; /* lower bound of all expiries; EXPIRES_NEVER: none has one */
    uint32_t count; /* places that are occupied */
    uint32_t capacity; /* places */
    uint32_t arena_used;
    uint32_t arena_dead; /* of what is used */
    uint32_t arena_size;
};

struct place {
    uint32_t key; /* offset of its record in the arena, or KEY_NONE */
    uint32_t location[2]; /* file << 51 | offset << 23 | size, halved: keeps a place at 12 bytes */
};

/* What is known of a slot only while opening. */
struct opening {
    uint64_t floor; /* of versions: records at or below were cleared */
    uint32_t tombstones;
};

struct sc_keydir {
    struct slot slots[SC_SLOT_COUNT];
    struct opening *opening; /* one for each slot; NULL when opened */
    uint64_t count; /* occupied places, tombstones left out */
    uint64_t memory; /* bytes of all blocks */
};

#define KEY_NONE UINT32_MAX
#define EXPIRES_NEVER UINT64_MAX
#define PLACE_SIZE (sizeof(struct place) + sizeof(uint16_t))

/* A key's record in the arena: head, length (2 bytes, only when it does not fit the head), version
 * (8 bytes, only while opening), expiry (8 bytes, only if there is one), key. */
#define HEAD_EXPIRES 0x80u
#define HEAD_TOMBSTONE 0x40u
#define HEAD_LENGTH 0x3fu
#define HEAD_LENGTH_LONG 0x3fu /* the length follows */

struct record {
    uint8_t *head;
    uint8_t *version; /* NULL: none */
    uint8_t *expires; /* NULL: none */
    struct sc_slice key;
    uint32_t size;
};

static struct place *places_of(const struct slot *slot)
{
    return (struct place *)(void *)slot->block;
}

static uint16_t *tags_of(const struct slot *slot)
{
    return (uint16_t *)(void *)(slot->block + slot->capacity * sizeof(struct place));
}

static uint8_t *arena_of(const struct slot *slot)
{
    return slot->block + slot->capacity * PLACE_SIZE;
}

static size_t block_size(const struct slot *slot)
{
    return slot->capacity * PLACE_SIZE + slot->arena_size;
}

static uint16_t tag_of(uint64_t hash)
{
    return (uint16_t)(hash >> (64 - SC_SLOT_BITS - 16));
}

static uint32_t home_of(uint16_t tag, uint32_t capacity)
{
    return (uint32_t)((uint64_t)tag * capacity >> 16);
}

static uint64_t pack(struct sc_location location)
{
    assert(location.file < SC_LOCATION_FILES_MAX);
    assert(location.offset < SC_LOCATION_OFFSET_MAX && location.offset % SC_LOCATION_UNIT == 0);
    assert(location.size < SC_LOCATION_SIZE_MAX && location.size % SC_LOCATION_UNIT == 0);
    return (uint64_t)location.file << 51 | location.offset / SC_LOCATION_UNIT << 23 |
           location.size / SC_LOCATION_UNIT;
}

static void place_set_location(struct place *place, struct sc_location location)
{
    uint64_t packed = pack(location);
    memcpy(place->location, &packed, sizeof packed);
}

static struct sc_location place_location(const struct place *place)
{
    uint64_t packed;
    memcpy(&packed, place->location, sizeof packed);
    return (struct sc_location){
        .file = (uint32_t)(packed >> 51),
        .size = ((uint32_t)packed & 0x7fffffu) * SC_LOCATION_UNIT,
        .offset = (packed >> 23 & 0xfffffffu) * SC_LOCATION_UNIT,
    };
}

/* ---- Records in the arena ---- */

static uint32_t record_size(size_t key_size, bool opening, bool expires)
{
    uint32_t head = key_size < HEAD_LENGTH_LONG ? 1 : 3;
    return head + (opening ? 8u : 0u) + (expires ? 8u : 0u) + (uint32_t)key_size;
}

static struct record record_at(uint8_t *at, bool opening)
{
    struct record record = {.head = at};
    uint8_t *next = at + 1;
    record.key.size = *at & HEAD_LENGTH;
    if (record.key.size == HEAD_LENGTH_LONG) {
        record.key.size = sc_le16_get(next);
        next += 2;
    }
    if (opening) {
        record.version = next;
        next += 8;
    }
    if (*at & HEAD_EXPIRES) {
        record.expires = next;
        next += 8;
    }
    record.key.data = next;
    record.size = (uint32_t)(next - at) + (uint32_t)record.key.size;
    return record;
}

static struct record record_of(const struct slot *slot, const struct place *place, bool opening)
{
    return record_at(arena_of(slot) + place->key, opening);
}

/* Appends a record to the arena, which has room for it. Returns its offset. */
static uint32_t record_append(struct slot *slot, struct sc_slice key, const uint64_t *version,
                              bool tombstone, uint64_t expires_ms)
{
    uint32_t offset = slot->arena_used;
    uint8_t *next = arena_of(slot) + offset;
    bool is_long = key.size >= HEAD_LENGTH_LONG;
    *next++ = (uint8_t)((expires_ms != 0 ? HEAD_EXPIRES : 0) | (tombstone ? HEAD_TOMBSTONE : 0) |
                        (is_long ? HEAD_LENGTH_LONG : key.size));
    if (is_long) {
        sc_le16_put(next, (uint16_t)key.size);
        next += 2;
    }
    if (version != NULL) {
        sc_le64_put(next, *version);
        next += 8;
    }
    if (expires_ms != 0) {
        sc_le64_put(next, expires_ms);
        next += 8;
        if (expires_ms < slot->expires_ms) {
            slot->expires_ms = expires_ms;
        }
    }
    memcpy(next, key.data, key.size);
    slot->arena_used = (uint32_t)(next + key.size - arena_of(slot));
    assert(slot->arena_used <= slot->arena_size);
    return offset;
}

static uint64_t record_expires(const struct record *record)
{
    return record->expires != NULL ? sc_le64_get(record->expires) : 0;
}

/* ---- Search ---- */

/* What is searched: a key, or with whole_hash the end of all keys of that hash. */
struct target {
    struct sc_slice key;
    uint64_t hash;
    bool whole_hash;
};

static int compare_keys(struct sc_slice a, struct sc_slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* Less than 0: the target stands before the key; 0: it is the key. */
static int compare(const struct target *target, struct sc_slice key)
{
    if (!target->whole_hash && sc_slice_equal(target->key, key)) {
        return 0;
    }
    uint64_t hash = sc_slot_hash(key);
    if (target->hash != hash) {
        return target->hash < hash ? -1 : 1;
    }
    if (target->whole_hash) {
        return 1;
    }
    return target->key.size == 0 ? -1 : compare_keys(target->key, key);
}

/* The first place, beginning at `from`, whose tag is at least `tag`; capacity if there is none.
 * Gallops from where the tag would be if all were spread evenly. */
static uint32_t lower_bound(const struct slot *slot, uint32_t tag, uint32_t guess)
{
    const uint16_t *tags = tags_of(slot);
    uint32_t low = guess;
    uint32_t high = guess;
    uint32_t step = 1;
    if (tags[guess] >= tag) {
        while (high >= step && tags[high - step] >= tag) {
            high -= step;
            step *= 2;
        }
        low = high >= step ? high - step + 1 : 0;
    } else {
        low = guess + 1;
        while (slot->capacity - low >= step && tags[low + step - 1] < tag) {
            low += step;
            step *= 2;
        }
        high = slot->capacity - low >= step ? low + step - 1 : slot->capacity;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (tags[middle] < tag) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Searches the places from `low` to before `high`, whose tags are equal. */
static bool search_group(const struct slot *slot, bool opening, const struct target *target,
                         uint32_t low, uint32_t high, uint32_t *at)
{
    const struct place *places = places_of(slot);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t probe = middle;
        while (probe < high && places[probe].key == KEY_NONE) {
            probe++;
        }
        if (probe == high) {
            high = middle;
            continue;
        }
        int order = compare(target, record_of(slot, &places[probe], opening).key);
        if (order == 0) {
            *at = probe;
            return true;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = probe + 1;
        }
    }
    *at = low;
    return false;
}

#define GROUP_SHORT 8u /* places of one tag that are tried one after the other */

/* True: the target is at place `at`. False: it would be behind all places before `at`, and before
 * all others. */
static bool search(const struct slot *slot, bool opening, const struct target *target, uint32_t *at)
{
    *at = 0;
    if (slot->capacity == 0) {
        return false;
    }
    const struct place *places = places_of(slot);
    const uint16_t *tags = tags_of(slot);
    uint16_t tag = tag_of(target->hash);
    uint32_t place = lower_bound(slot, tag, home_of(tag, slot->capacity));
    for (uint32_t i = 0; i < GROUP_SHORT; i++, place++) {
        if (place == slot->capacity || tags[place] != tag) {
            *at = place;
            return false;
        }
        if (places[place].key == KEY_NONE) {
            continue;
        }
        int order = compare(target, record_of(slot, &places[place], opening).key);
        if (order <= 0) {
            *at = place;
            return order == 0;
        }
    }
    uint32_t end = place == slot->capacity ? place : lower_bound(slot, tag + 1u, place);
    return search_group(slot, opening, target, place, end, at);
}

/* ---- Growing, shrinking, compacting: all is rebuilding the block ---- */

/* How many places may be occupied before the slot is rebuilt. */
static uint32_t capacity_limit(uint32_t capacity)
{
    return capacity - capacity / 16;
}

/* Copies the records of all occupied places to the new arena, in their order; without versions if
 * they are no longer wanted. */
static void copy_arena(struct slot *to, const struct slot *from, bool opening, bool versions)
{
    struct place *places = places_of(to);
    for (uint32_t i = 0; i < to->capacity; i++) {
        if (places[i].key == KEY_NONE) {
            continue;
        }
        struct record record = record_of(from, &places[i], opening);
        uint64_t version = versions ? sc_le64_get(record.version) : 0;
        places[i].key = record_append(to, record.key, versions ? &version : NULL,
                                      *record.head & HEAD_TOMBSTONE, record_expires(&record));
    }
}

/* Spreads the occupied places of `from` over those of `to`, each as near behind its home as can
 * be. */
static void copy_places(struct slot *to, const struct slot *from)
{
    struct place *places = places_of(to);
    uint16_t *tags = tags_of(to);
    uint32_t next = 0; /* the first place not yet written */
    uint32_t left = from->count;
    uint16_t tag = 0;
    for (uint32_t i = 0; i < from->capacity; i++) {
        if (places_of(from)[i].key == KEY_NONE) {
            continue;
        }
        uint32_t last = to->capacity - left--;
        uint32_t home = home_of(tags_of(from)[i], to->capacity);
        uint32_t place = home < next ? next : home;
        place = place > last ? last : place;
        for (; next < place; next++) {
            places[next] = (struct place){.key = KEY_NONE};
            tags[next] = tag;
        }
        tag = tags_of(from)[i];
        places[next] = places_of(from)[i];
        tags[next++] = tag;
    }
    for (; next < to->capacity; next++) {
        places[next] = (struct place){.key = KEY_NONE};
        tags[next] = tag;
    }
}

static void slot_free_block(struct sc_keydir *keydir, struct slot *slot)
{
    keydir->memory -= block_size(slot);
    free(slot->block);
    *slot = (struct slot){.expires_ms = EXPIRES_NEVER};
}

/* Rebuilds the slot with room for `more` further keys that take `bytes` in the arena, and an eighth
 * to spare for each. */
static void rebuild(struct sc_keydir *keydir, struct slot *slot, uint32_t more, uint32_t bytes,
                    bool versions)
{
    bool opening = keydir->opening != NULL;
    uint64_t live = slot->arena_used - slot->arena_dead;
    uint32_t count = slot->count + more;
    if (count == 0) {
        slot_free_block(keydir, slot);
        return;
    }
    struct slot new = {.expires_ms = EXPIRES_NEVER, .count = slot->count};
    new.capacity = count + count / 5 + 2;
    uint64_t spare = (live + bytes) * (capacity_limit(new.capacity) - count) / count;
    uint64_t size = live + bytes + spare;
    assert(size < KEY_NONE);
    new.arena_size = (uint32_t)size;
    new.block = sc_alloc(block_size(&new));
    copy_places(&new, slot);
    copy_arena(&new, slot, opening, versions);
    new.expires_ms = slot->expires_ms;
    keydir->memory += block_size(&new);
    slot_free_block(keydir, slot);
    *slot = new;
}

/* After removals: gives memory back when much of it is unused. */
static void slot_shrink(struct sc_keydir *keydir, struct slot *slot)
{
    bool sparse = slot->count < slot->capacity / 2;
    bool dead = slot->arena_dead > 64 && slot->arena_dead > slot->arena_used / 4;
    if (slot->count == 0 || sparse || dead) {
        rebuild(keydir, slot, 0, 0, keydir->opening != NULL);
    }
}

/* ---- Changing one entry ---- */

/* Makes place `at`, or the one before it, empty by shifting what is between it and the nearest
 * empty place; returns which. There is an empty place. */
static uint32_t open_place(struct slot *slot, uint32_t at)
{
    struct place *places = places_of(slot);
    uint16_t *tags = tags_of(slot);
    uint32_t left = at;
    uint32_t right = at;
    for (;;) {
        if (right < slot->capacity) {
            if (places[right].key == KEY_NONE) {
                memmove(&places[at + 1], &places[at], (right - at) * sizeof *places);
                memmove(&tags[at + 1], &tags[at], (right - at) * sizeof *tags);
                return at;
            }
            right++;
        }
        if (left > 0) {
            left--;
            if (places[left].key == KEY_NONE) {
                uint32_t shifted = at - 1 - left;
                memmove(&places[left], &places[left + 1], shifted * sizeof *places);
                memmove(&tags[left], &tags[left + 1], shifted * sizeof *tags);
                return at - 1;
            }
        }
        assert(left > 0 || right < slot->capacity);
    }
}

/* Adds a key that is not there and would stand at place `at`. */
static void insert(struct sc_keydir *keydir, struct slot *slot, const struct target *target,
                   uint32_t at, const uint64_t *version, bool tombstone, uint64_t expires_ms,
                   struct sc_location location)
{
    assert(target->key.size > 0 && target->key.size <= SC_KEY_MAX);
    uint32_t bytes = record_size(target->key.size, version != NULL, expires_ms != 0);
    if (slot->count >= capacity_limit(slot->capacity) ||
        slot->arena_size - slot->arena_used < bytes) {
        rebuild(keydir, slot, 1, bytes, version != NULL);
        bool found = search(slot, version != NULL, target, &at);
        assert(!found);
    }
    at = open_place(slot, at);
    struct place *place = &places_of(slot)[at];
    tags_of(slot)[at] = tag_of(target->hash);
    place->key = record_append(slot, target->key, version, tombstone, expires_ms);
    place_set_location(place, location);
    slot->count++;
}

/* Empties a place; the caller shrinks the slot when it is done with it. */
static void empty_place(struct slot *slot, uint32_t at, const struct record *record)
{
    places_of(slot)[at].key = KEY_NONE;
    slot->arena_dead += record->size;
    slot->count--;
}

/* Gives the record at a place another expiry (0: none). */
static void set_expires(struct sc_keydir *keydir, struct slot *slot, const struct target *target,
                        uint32_t at, uint64_t expires_ms)
{
    struct place *place = &places_of(slot)[at];
    struct record record = record_of(slot, place, false);
    if (expires_ms == 0 && record.expires == NULL) {
        return;
    }
    if (expires_ms == 0) {
        *record.head &= (uint8_t)~HEAD_EXPIRES;
        memmove(record.expires, record.key.data, record.key.size);
        slot->arena_dead += 8;
        slot_shrink(keydir, slot);
        return;
    }
    if (record.expires != NULL) {
        sc_le64_put(record.expires, expires_ms);
        slot->expires_ms = expires_ms < slot->expires_ms ? expires_ms : slot->expires_ms;
        return;
    }
    struct sc_location location = place_location(place);
    empty_place(slot, at, &record);
    insert(keydir, slot, target, at, NULL, false, expires_ms, location);
}

static struct slot *slot_of(const struct sc_keydir *keydir, uint64_t hash)
{
    return (struct slot *)&keydir->slots[sc_slot_of_hash(hash)];
}

/* ---- The whole ---- */

struct sc_keydir *sc_keydir_alloc(void)
{
    struct sc_keydir *keydir = sc_calloc(1, sizeof *keydir);
    keydir->opening = sc_calloc(SC_SLOT_COUNT, sizeof *keydir->opening);
    for (uint32_t i = 0; i < SC_SLOT_COUNT; i++) {
        keydir->slots[i].expires_ms = EXPIRES_NEVER;
    }
    return keydir;
}

void sc_keydir_free(struct sc_keydir *keydir)
{
    if (keydir == NULL) {
        return;
    }
    for (uint32_t i = 0; i < SC_SLOT_COUNT; i++) {
        free(keydir->slots[i].block);
    }
    free(keydir->opening);
    free(keydir);
}

uint64_t sc_keydir_slot_count(const struct sc_keydir *keydir, uint32_t slot)
{
    uint32_t tombstones = keydir->opening != NULL ? keydir->opening[slot].tombstones : 0;
    return keydir->slots[slot].count - tombstones;
}

uint64_t sc_keydir_count(const struct sc_keydir *keydir)
{
    return keydir->count;
}

uint64_t sc_keydir_memory(const struct sc_keydir *keydir)
{
    uint64_t opening = keydir->opening != NULL ? SC_SLOT_COUNT * sizeof *keydir->opening : 0;
    return sizeof *keydir + opening + keydir->memory;
}

/* ---- One key ---- */

static void entry_fill(struct sc_keydir_entry *entry, const struct slot *slot,
                       const struct place *place, bool opening)
{
    struct record record = record_of(slot, place, opening);
    entry->location = place_location(place);
    entry->expires_ms = record_expires(&record);
    entry->hash = sc_slot_hash(record.key);
    entry->key = record.key;
}

static bool is_tombstone(const struct slot *slot, const struct place *place)
{
    return arena_of(slot)[place->key] & HEAD_TOMBSTONE;
}

bool sc_keydir_find(const struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                    struct sc_keydir_entry *entry)
{
    const struct slot *slot = slot_of(keydir, hash);
    bool opening = keydir->opening != NULL;
    uint32_t at;
    if (!search(slot, opening, &(struct target){key, hash, false}, &at) ||
        is_tombstone(slot, &places_of(slot)[at])) {
        return false;
    }
    entry_fill(entry, slot, &places_of(slot)[at], opening);
    return true;
}

bool sc_keydir_set(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                   struct sc_location location, uint64_t expires_ms, struct sc_location *old)
{
    assert(keydir->opening == NULL);
    struct slot *slot = slot_of(keydir, hash);
    struct target target = {key, hash, false};
    uint32_t at;
    if (!search(slot, false, &target, &at)) {
        insert(keydir, slot, &target, at, NULL, false, expires_ms, location);
        keydir->count++;
        return false;
    }
    struct place *place = &places_of(slot)[at];
    if (old != NULL) {
        *old = place_location(place);
    }
    place_set_location(place, location);
    set_expires(keydir, slot, &target, at, expires_ms);
    return true;
}

bool sc_keydir_relocate(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                        struct sc_location from, struct sc_location to)
{
    assert(keydir->opening == NULL);
    struct slot *slot = slot_of(keydir, hash);
    uint32_t at;
    if (!search(slot, false, &(struct target){key, hash, false}, &at)) {
        return false;
    }
    struct place *place = &places_of(slot)[at];
    if (pack(place_location(place)) != pack(from)) {
        return false;
    }
    place_set_location(place, to);
    return true;
}

bool sc_keydir_remove(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                      struct sc_location *old)
{
    assert(keydir->opening == NULL);
    struct slot *slot = slot_of(keydir, hash);
    uint32_t at;
    if (!search(slot, false, &(struct target){key, hash, false}, &at)) {
        return false;
    }
    const struct place *place = &places_of(slot)[at];
    if (old != NULL) {
        *old = place_location(place);
    }
    struct record record = record_of(slot, place, false);
    empty_place(slot, at, &record);
    keydir->count--;
    slot_shrink(keydir, slot);
    return true;
}

void sc_keydir_prefetch(const struct sc_keydir *keydir, uint64_t hash)
{
    const struct slot *slot = slot_of(keydir, hash);
    uint32_t home = home_of(tag_of(hash), slot->capacity);
    __builtin_prefetch(tags_of(slot) + home);
    __builtin_prefetch(places_of(slot) + home);
}

/* ---- While a store is opened ---- */

/* Takes a newer record for a key that is at place `at`. */
static void replace(struct sc_keydir *keydir, struct slot *slot, const struct target *target,
                    uint32_t at, uint64_t version, bool tombstone, uint64_t expires_ms,
                    struct sc_location location)
{
    struct place *place = &places_of(slot)[at];
    struct record record = record_of(slot, place, true);
    if ((expires_ms != 0) != (record.expires != NULL)) {
        empty_place(slot, at, &record);
        insert(keydir, slot, target, at, &version, tombstone, expires_ms, location);
        return;
    }
    *record.head &= (uint8_t)~HEAD_TOMBSTONE;
    *record.head |= tombstone ? HEAD_TOMBSTONE : 0;
    sc_le64_put(record.version, version);
    if (expires_ms != 0) {
        sc_le64_put(record.expires, expires_ms);
        slot->expires_ms = expires_ms < slot->expires_ms ? expires_ms : slot->expires_ms;
    }
    place_set_location(place, location);
}

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
    struct slot *slot = slot_of(keydir, hash);
    struct target target = {key, hash, false};
    uint32_t at;
    if (version <= opening->floor) {
        return SC_KEYDIR_CLEARED;
    }
    if (!search(slot, true, &target, &at)) {
        insert(keydir, slot, &target, at, &version, tombstone, expires_ms, location);
        count_offered(keydir, opening, tombstone, 1);
        return SC_KEYDIR_NEW;
    }
    const struct place *place = &places_of(slot)[at];
    *old = place_location(place);
    *old_tombstone = is_tombstone(slot, place);
    if (version <= sc_le64_get(record_of(slot, place, true).version)) {
        return SC_KEYDIR_OLDER;
    }
    count_offered(keydir, opening, *old_tombstone, -1);
    count_offered(keydir, opening, tombstone, 1);
    replace(keydir, slot, &target, at, version, tombstone, expires_ms, location);
    return SC_KEYDIR_NEWER;
}

void sc_keydir_offer_clear(struct sc_keydir *keydir, uint32_t first, uint32_t last,
                           uint64_t version,
                           void (*removed)(void *arg, struct sc_location location, bool tombstone),
                           void *arg)
{
    assert(keydir->opening != NULL && last < SC_SLOT_COUNT);
    for (uint32_t index = first; index <= last; index++) {
        struct opening *opening = &keydir->opening[index];
        struct slot *slot = &keydir->slots[index];
        if (version <= opening->floor) {
            continue;
        }
        opening->floor = version;
        for (uint32_t i = 0; i < slot->capacity; i++) {
            const struct place *place = &places_of(slot)[i];
            if (place->key == KEY_NONE) {
                continue;
            }
            struct record record = record_of(slot, place, true);
            if (sc_le64_get(record.version) > version) {
                continue;
            }
            bool tombstone = is_tombstone(slot, place);
            if (removed != NULL) {
                removed(arg, place_location(place), tombstone);
            }
            empty_place(slot, i, &record);
            count_offered(keydir, opening, tombstone, -1);
        }
        slot_shrink(keydir, slot);
    }
}

void sc_keydir_opened(struct sc_keydir *keydir)
{
    assert(keydir->opening != NULL);
    for (uint32_t index = 0; index < SC_SLOT_COUNT; index++) {
        struct slot *slot = &keydir->slots[index];
        for (uint32_t i = 0; i < slot->capacity; i++) {
            const struct place *place = &places_of(slot)[i];
            if (place->key != KEY_NONE && is_tombstone(slot, place)) {
                struct record record = record_of(slot, place, true);
                empty_place(slot, i, &record);
            }
        }
        if (slot->capacity > 0) {
            rebuild(keydir, slot, 0, 0, false);
        }
    }
    free(keydir->opening);
    keydir->opening = NULL;
}

/* ---- A slot as a whole ---- */

void sc_keydir_drop_slot(struct sc_keydir *keydir, uint32_t slot_index,
                         void (*removed)(void *arg, struct sc_location location), void *arg)
{
    assert(keydir->opening == NULL);
    struct slot *slot = &keydir->slots[slot_index];
    for (uint32_t i = 0; i < slot->capacity && removed != NULL; i++) {
        if (places_of(slot)[i].key != KEY_NONE) {
            removed(arg, place_location(&places_of(slot)[i]));
        }
    }
    keydir->count -= slot->count;
    slot_free_block(keydir, slot);
}

uint64_t sc_keydir_sweep_slot(struct sc_keydir *keydir, uint32_t slot_index, uint64_t now_ms,
                              void (*removed)(void *arg, struct sc_location location), void *arg)
{
    assert(keydir->opening == NULL);
    struct slot *slot = &keydir->slots[slot_index];
    uint64_t swept = 0;
    if (now_ms < slot->expires_ms) {
        return 0;
    }
    slot->expires_ms = EXPIRES_NEVER;
    for (uint32_t i = 0; i < slot->capacity; i++) {
        const struct place *place = &places_of(slot)[i];
        if (place->key == KEY_NONE) {
            continue;
        }
        struct record record = record_of(slot, place, false);
        uint64_t expires_ms = record_expires(&record);
        if (expires_ms == 0) {
            continue;
        }
        if (expires_ms > now_ms) {
            slot->expires_ms = expires_ms < slot->expires_ms ? expires_ms : slot->expires_ms;
            continue;
        }
        if (removed != NULL) {
            removed(arg, place_location(place));
        }
        empty_place(slot, i, &record);
        swept++;
    }
    keydir->count -= swept;
    if (swept > 0) {
        slot_shrink(keydir, slot);
    }
    return swept;
}

/* ---- Scans ---- */

bool sc_keydir_walk(const struct sc_keydir *keydir, const struct sc_keydir_position *position,
                    uint32_t last_slot, uint64_t max,
                    bool (*visit)(void *arg, const struct sc_keydir_entry *entry), void *arg)
{
    assert(last_slot < SC_SLOT_COUNT);
    bool opening = keydir->opening != NULL;
    uint32_t first_slot = sc_slot_of_hash(position->hash);
    struct target target = {position->key, position->hash, position->whole_hash};
    for (uint32_t index = first_slot; index <= last_slot; index++) {
        const struct slot *slot = &keydir->slots[index];
        uint32_t at = 0;
        if (index == first_slot && search(slot, opening, &target, &at)) {
            at++;
        }
        for (; at < slot->capacity; at++) {
            const struct place *place = &places_of(slot)[at];
            if (place->key == KEY_NONE || is_tombstone(slot, place)) {
                continue;
            }
            struct sc_keydir_entry entry;
            entry_fill(&entry, slot, place, opening);
            if (max == 0 || !visit(arg, &entry)) {
                return false;
            }
            max--;
        }
    }
    return true;
}

/* ---- Invariants ---- */

static void check_slot(const struct sc_keydir *keydir, uint32_t index)
{
    const struct slot *slot = &keydir->slots[index];
    bool opening = keydir->opening != NULL;
    uint32_t count = 0;
    uint32_t tombstones = 0;
    uint64_t used = slot->arena_dead;
    struct target last = {0};
    for (uint32_t i = 0; i < slot->capacity; i++) {
        const struct place *place = &places_of(slot)[i];
        assert(i == 0 || tags_of(slot)[i] >= tags_of(slot)[i - 1]);
        if (place->key == KEY_NONE) {
            continue;
        }
        struct record record = record_of(slot, place, opening);
        assert(place->key + record.size <= slot->arena_used);
        uint64_t hash = sc_slot_hash(record.key);
        assert(sc_slot_of_hash(hash) == index && tag_of(hash) == tags_of(slot)[i]);
        assert(last.key.size == 0 || compare(&last, record.key) < 0);
        assert(record.expires == NULL || slot->expires_ms <= record_expires(&record));
        last = (struct target){record.key, hash, false};
        used += record.size;
        count++;
        tombstones += is_tombstone(slot, place);
    }
    assert(count == slot->count && used == slot->arena_used);
    assert(tombstones == (opening ? keydir->opening[index].tombstones : 0));
    assert((slot->block == NULL) == (slot->capacity == 0) && slot->arena_used <= slot->arena_size);
}

void sc_keydir_check(const struct sc_keydir *keydir)
{
    uint64_t count = 0;
    uint64_t memory = 0;
    for (uint32_t i = 0; i < SC_SLOT_COUNT; i++) {
        check_slot(keydir, i);
        count += sc_keydir_slot_count(keydir, i);
        memory += block_size(&keydir->slots[i]);
    }
    assert(count == keydir->count && memory == keydir->memory);
}
