#include "shard/table.h"

#include "common/bytes.h"
#include "common/limits.h"
#include "common/slot.h"

#include <assert.h>

struct place {
    uint32_t key; /* offset of the key's entry in the arena, in units, or KEY_NONE */
    uint32_t location[2]; /* one number, halved: keeps a place at 12 bytes */
};

#define KEY_NONE UINT32_MAX
#define PLACE_SIZE (sizeof(struct place) + sizeof(uint16_t))

/* Tests lower it to meet larger units without gigabytes of keys. */
#ifndef SC_TABLE_UNITS_MAX
#define SC_TABLE_UNITS_MAX (KEY_NONE - 1)
#endif

#define HEAD_EXPIRES 0x80u
#define HEAD_TOMBSTONE 0x40u
#define HEAD_LENGTH 0x3fu
#define HEAD_LENGTH_LONG 0x3fu /* the length follows */

/* One place in GAPS + 1 stays empty: with fewer a new key moves more of the others. */
#define GAPS 16u

/* A rebuilt table has room for at least one key in SPARE more; a roomy one, when keys come by the
 * million, for one in SPARE_ROOMY. */
#define SPARE 16u
#define SPARE_ROOMY 3u

/* A key's entry in the arena, taken apart. */
struct entry {
    uint8_t *head;
    uint8_t *version; /* NULL: none */
    uint8_t *expires; /* NULL: none */
    struct sc_slice key;
    uint32_t size; /* bytes */
};

static inline struct place *places_of(const struct sc_table *table)
{
    return (struct place *)(void *)table->block;
}

static inline uint16_t *tags_of(const struct sc_table *table)
{
    return (uint16_t *)(void *)(table->block + table->capacity * sizeof(struct place));
}

static inline uint8_t *arena_of(const struct sc_table *table)
{
    return table->block + table->capacity * PLACE_SIZE;
}

static inline uint16_t tag_of(uint64_t hash)
{
    return (uint16_t)(hash >> (64 - SC_SLOT_BITS - 16));
}

static inline uint32_t home_of(uint16_t tag, uint32_t capacity)
{
    return (uint32_t)((uint64_t)tag * capacity >> 16);
}

static size_t block_size(const struct sc_table *table)
{
    return table->capacity * PLACE_SIZE + ((size_t)table->arena_size << table->unit_shift);
}

/* ---- Entries in the arena ---- */

static uint32_t units(const struct sc_table *table, uint32_t bytes)
{
    return (uint32_t)(((uint64_t)bytes + (1u << table->unit_shift) - 1) >> table->unit_shift);
}

static uint32_t entry_size(const struct sc_table *table, size_t key_size, uint64_t expires_ms)
{
    uint32_t head = key_size < HEAD_LENGTH_LONG ? 1 : 3;
    return head + (table->versions ? 8u : 0u) + (expires_ms != 0 ? 8u : 0u) + (uint32_t)key_size;
}

static inline struct entry entry_at(const struct sc_table *table, uint32_t offset)
{
    uint8_t *head = arena_of(table) + ((size_t)offset << table->unit_shift);
    struct entry entry = {.head = head};
    uint8_t *next = head + 1;
    entry.key.size = *head & HEAD_LENGTH;
    if (entry.key.size == HEAD_LENGTH_LONG) {
        entry.key.size = sc_le16_get(next);
        next += 2;
    }
    if (table->versions) {
        entry.version = next;
        next += 8;
    }
    if (*head & HEAD_EXPIRES) {
        entry.expires = next;
        next += 8;
    }
    entry.key.data = next;
    entry.size = (uint32_t)(next - head) + (uint32_t)entry.key.size;
    return entry;
}

static void expires_lower(struct sc_table *table, uint64_t expires_ms)
{
    if (expires_ms != 0 && expires_ms < table->expires_ms) {
        table->expires_ms = expires_ms;
    }
}

/* Appends an entry to the arena, which has room for it, and returns its offset. */
static uint32_t entry_append(struct sc_table *table, struct sc_slice key,
                             const struct sc_table_value *value)
{
    uint32_t offset = table->arena_used;
    uint32_t size = units(table, entry_size(table, key.size, value->expires_ms));
    assert(table->arena_size - offset >= size);
    uint8_t *next = arena_of(table) + ((size_t)offset << table->unit_shift);
    bool is_long = key.size >= HEAD_LENGTH_LONG;
    *next++ = (uint8_t)((value->expires_ms != 0 ? HEAD_EXPIRES : 0) |
                        (value->tombstone ? HEAD_TOMBSTONE : 0) |
                        (is_long ? HEAD_LENGTH_LONG : key.size));
    if (is_long) {
        sc_le16_put(next, (uint16_t)key.size);
        next += 2;
    }
    if (table->versions) {
        sc_le64_put(next, value->version);
        next += 8;
    }
    if (value->expires_ms != 0) {
        sc_le64_put(next, value->expires_ms);
        next += 8;
    }
    memcpy(next, key.data, key.size);
    expires_lower(table, value->expires_ms);
    table->arena_used += size;
    return offset;
}

uint64_t sc_table_location(const struct sc_table *table, uint32_t at)
{
    uint64_t location;
    memcpy(&location, places_of(table)[at].location, sizeof location);
    return location;
}

void sc_table_set_location(struct sc_table *table, uint32_t at, uint64_t location)
{
    memcpy(places_of(table)[at].location, &location, sizeof location);
}

/* All but the location. */
static struct sc_table_value entry_value(const struct entry *entry)
{
    return (struct sc_table_value){
        .expires_ms = entry->expires != NULL ? sc_le64_get(entry->expires) : 0,
        .version = entry->version != NULL ? sc_le64_get(entry->version) : 0,
        .tombstone = *entry->head & HEAD_TOMBSTONE,
    };
}

void sc_table_get(const struct sc_table *table, uint32_t at, struct sc_slice *key,
                  struct sc_table_value *value)
{
    struct entry entry = entry_at(table, places_of(table)[at].key);
    *key = entry.key;
    *value = entry_value(&entry);
    value->location = sc_table_location(table, at);
}

uint32_t sc_table_next(const struct sc_table *table, uint32_t at)
{
    const struct place *places = places_of(table);
    while (at < table->capacity && places[at].key == KEY_NONE) {
        at++;
    }
    return at;
}

/* ---- Search ---- */

static int compare_keys(struct sc_slice a, struct sc_slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

int sc_table_order(struct sc_slice a, uint64_t a_hash, struct sc_slice b, uint64_t b_hash)
{
    return a_hash != b_hash ? (a_hash < b_hash ? -1 : 1) : compare_keys(a, b);
}

/* Less than 0: the target stands before the key at this place; 0: it is that key. */
static int compare(const struct sc_table *table, const struct sc_table_target *target, uint32_t at)
{
    struct sc_slice key = entry_at(table, places_of(table)[at].key).key;
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

/* The first place whose tag is at least `tag`; capacity if there is none. Gallops from `guess`. */
static uint32_t lower_bound(const struct sc_table *table, uint32_t tag, uint32_t guess)
{
    const uint16_t *tags = tags_of(table);
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
        while (table->capacity - low >= step && tags[low + step - 1] < tag) {
            low += step;
            step *= 2;
        }
        high = table->capacity - low >= step ? low + step - 1 : table->capacity;
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
static bool search_group(const struct sc_table *table, const struct sc_table_target *target,
                         uint32_t low, uint32_t high, uint32_t *at)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t probe = sc_table_next(table, middle);
        if (probe >= high) {
            high = middle;
            continue;
        }
        int order = compare(table, target, probe);
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

bool sc_table_search(const struct sc_table *table, const struct sc_table_target *target,
                     uint32_t *at)
{
    *at = 0;
    if (table->capacity == 0) {
        return false;
    }
    const struct place *places = places_of(table);
    const uint16_t *tags = tags_of(table);
    uint16_t tag = tag_of(target->hash);
    uint32_t place = lower_bound(table, tag, home_of(tag, table->capacity));
    for (uint32_t i = 0; i < GROUP_SHORT; i++, place++) {
        if (place == table->capacity || tags[place] != tag) {
            *at = place;
            return false;
        }
        if (places[place].key == KEY_NONE) {
            continue;
        }
        int order = compare(table, target, place);
        if (order <= 0) {
            *at = place;
            return order == 0;
        }
    }
    uint32_t end = place == table->capacity ? place : lower_bound(table, tag + 1u, place);
    return search_group(table, target, place, end, at);
}

void sc_table_prefetch(const struct sc_table *table, uint64_t hash)
{
    uint32_t home = home_of(tag_of(hash), table->capacity);
    __builtin_prefetch(tags_of(table) + home);
    __builtin_prefetch(places_of(table) + home);
}

bool sc_table_prefetch_key(const struct sc_table *table, uint64_t hash, uint64_t *location)
{
    if (table->capacity == 0) {
        return false;
    }
    uint16_t tag = tag_of(hash);
    uint32_t place = lower_bound(table, tag, home_of(tag, table->capacity));
    uint32_t unit = table->arena_used;
    bool likely = false;
    if (place < table->capacity && tags_of(table)[place] == tag) {
        uint32_t key = places_of(table)[place].key;
        likely = key != KEY_NONE;
        unit = likely ? key : unit;
        *location = sc_table_location(table, place);
    } else {
        const char *line = (const char *)(places_of(table) + place); /* these will be shifted */
        __builtin_prefetch(line, 1);
        __builtin_prefetch(line - 64, 1);
        __builtin_prefetch(line + 64, 1);
    }
    __builtin_prefetch(arena_of(table) + ((size_t)unit << table->unit_shift));
    return likely;
}

/* ---- Rebuilding ---- */

/* Places for so many keys, and keys for so many places: the table is rebuilt when it has more. */
static uint64_t capacity_for(uint64_t count)
{
    return count + count / GAPS + 1;
}

static uint32_t count_for(uint32_t capacity)
{
    return capacity - (capacity + GAPS) / (GAPS + 1);
}

/* How far a key may be from where its hash says, or from the next empty place, before the empty
 * places are spread evenly: between 11 and 23 times the root of the capacity. */
static uint32_t reach(const struct sc_table *table)
{
    return 16u << ((31 - (uint32_t)__builtin_clz(table->capacity)) / 2);
}

/* Spreads the keys of `from` over the places of `to`: each as near behind its home as can be, or,
 * when `evenly`, all with the same distance. False: some are too far from their home. */
static bool copy_places(struct sc_table *to, const struct sc_table *from, bool evenly)
{
    struct place *places = places_of(to);
    uint16_t *tags = tags_of(to);
    const struct place *old_places = places_of(from);
    const uint16_t *old_tags = tags_of(from);
    /* Home is the number of a key, or its tag, times this, in units of 2^-32. */
    uint64_t factor = ((uint64_t)to->capacity << 32) / (evenly ? from->count : 1u << 16);
    uint32_t far = reach(to);
    uint32_t next = 0; /* the first place not yet written */
    uint32_t last = to->capacity - from->count; /* the last place for this key: others follow */
    uint32_t copied = 0;
    uint16_t tag = 0;
    for (uint32_t i = 0; i < from->capacity; i++) {
        if (old_places[i].key == KEY_NONE) {
            continue;
        }
        uint32_t home = (uint32_t)((evenly ? copied : old_tags[i]) * factor >> 32);
        uint32_t place = home < next ? next : home;
        place = place > last ? last : place;
        if (place - home + far > 2 * far && !evenly) {
            return false;
        }
        for (; next < place; next++) {
            places[next].key = KEY_NONE;
            tags[next] = tag;
        }
        tag = old_tags[i];
        places[next] = old_places[i];
        tags[next++] = tag;
        copied++;
        last++;
    }
    for (; next < to->capacity; next++) {
        places[next].key = KEY_NONE;
        tags[next] = tag;
    }
    return true;
}

/* Copies the entries of all keys to the new arena, in the order of the keys. */
static void copy_entries(struct sc_table *to, const struct sc_table *from)
{
    struct place *places = places_of(to);
    for (uint32_t i = sc_table_next(to, 0); i < to->capacity; i = sc_table_next(to, i + 1)) {
        struct entry entry = entry_at(from, places[i].key);
        struct sc_table_value value = entry_value(&entry);
        places[i].key = entry_append(to, entry.key, &value);
    }
}

/* Copies the arena as it is. */
static void copy_arena(struct sc_table *to, const struct sc_table *from)
{
    if (from->arena_used > 0) {
        memcpy(arena_of(to), arena_of(from), (size_t)from->arena_used << from->unit_shift);
    }
    to->arena_used = from->arena_used;
    to->arena_dead = from->arena_dead;
}

/* Divides a new block between places and arena: room for `count` keys that take `need` bytes in the
 * arena, and for some more like them. False: the arena would have too many units. */
static bool divide(struct sc_table *table, const struct sc_blocks *blocks, uint64_t count,
                   uint64_t need, size_t *size)
{
    need += count * ((UINT64_C(1) << table->unit_shift) - 1);
    uint64_t least = PLACE_SIZE * capacity_for(count) + need;
    *size = sc_blocks_fit(blocks, least + least / (table->roomy ? SPARE_ROOMY : SPARE));
    uint64_t capacity = capacity_for(*size * count / least);
    uint64_t most = (*size - need) / PLACE_SIZE;
    capacity = capacity > most ? most : capacity;
    uint64_t arena_size = (*size - PLACE_SIZE * capacity) >> table->unit_shift;
    table->capacity = (uint32_t)capacity;
    table->arena_size = (uint32_t)arena_size;
    return arena_size <= SC_TABLE_UNITS_MAX;
}

/* Moves the table to a new block with room for `more` further keys that take `bytes`. */
static void rebuild(struct sc_table *table, struct sc_blocks *blocks, uint32_t more, uint32_t bytes,
                    bool evenly, bool versions)
{
    uint64_t count = (uint64_t)table->count + more;
    if (count == 0) {
        sc_table_clear(table, blocks);
        return;
    }
    struct sc_table old = *table;
    struct sc_table new = {.expires_ms = old.expires_ms,
                           .count = old.count,
                           .bytes = old.bytes,
                           .unit_shift = old.unit_shift,
                           .versions = versions,
                           .roomy = old.roomy};
    bool compact = old.arena_dead > old.arena_used / 16 || versions != old.versions;
    uint64_t need = (uint64_t)(old.arena_used - (compact ? old.arena_dead : 0)) << old.unit_shift;
    if (versions && !old.versions) {
        need += 8 * (uint64_t)old.count;
    } else if (versions != old.versions && old.unit_shift == 0) {
        need -= 8 * (uint64_t)old.count;
    }
    size_t size;
    while (!divide(&new, blocks, count, need + bytes, &size)) {
        new.unit_shift++;
    }
    new.block = sc_blocks_alloc(blocks, size, &table->block);
    if (!copy_places(&new, &old, evenly)) {
        copy_places(&new, &old, true);
    }
    if (compact || new.unit_shift != old.unit_shift) {
        copy_entries(&new, &old);
    } else {
        copy_arena(&new, &old);
    }
    *table = new;
    if (old.block != NULL) {
        sc_blocks_free(blocks, old.block, sc_blocks_fit(blocks, block_size(&old)));
    }
}

void sc_table_clear(struct sc_table *table, struct sc_blocks *blocks)
{
    struct sc_table old = *table;
    *table = (struct sc_table){
        .expires_ms = SC_TABLE_EXPIRES_NEVER, .versions = old.versions, .roomy = old.roomy};
    if (old.block != NULL) {
        sc_blocks_free(blocks, old.block, sc_blocks_fit(blocks, block_size(&old)));
    }
}

void sc_table_copy(struct sc_table *to, const struct sc_table *from, struct sc_blocks *blocks)
{
    assert(to->block == NULL);
    *to = *from;
    if (from->block != NULL) {
        size_t size = block_size(from);
        to->block = sc_blocks_alloc(blocks, sc_blocks_fit(blocks, size), &to->block);
        memcpy(to->block, from->block, size);
    }
}

void sc_table_trim(struct sc_table *table, struct sc_blocks *blocks)
{
    uint64_t live = (uint64_t)(table->arena_used - table->arena_dead) << table->unit_shift;
    uint64_t used = PLACE_SIZE * capacity_for(table->count) + live;
    bool sparse = table->count == 0 || used < block_size(table) / 2;
    if (sparse || (table->arena_dead > 64 && table->arena_dead > table->arena_used / 4)) {
        rebuild(table, blocks, 0, 0, false, table->versions);
    }
}

void sc_table_add_versions(struct sc_table *table, struct sc_blocks *blocks)
{
    assert(!table->versions);
    rebuild(table, blocks, 0, 0, false, true);
    table->versions = true;
}

void sc_table_drop_versions(struct sc_table *table, struct sc_blocks *blocks)
{
    table->roomy = false;
    for (uint32_t i = sc_table_next(table, 0); i < table->capacity;
         i = sc_table_next(table, i + 1)) {
        if (*entry_at(table, places_of(table)[i].key).head & HEAD_TOMBSTONE) {
            sc_table_remove(table, i);
        }
    }
    rebuild(table, blocks, 0, 0, false, false);
    table->versions = false;
}

/* ---- Changing one key ---- */

/* Makes place `at`, or the one before it, empty, by shifting what is between it and the nearest
 * empty place, and stores which. False: there is none near. */
static bool open_place(struct sc_table *table, uint32_t *at)
{
    struct place *places = places_of(table);
    uint16_t *tags = tags_of(table);
    uint32_t left = *at;
    uint32_t right = *at;
    uint32_t far = *at + reach(table);
    while (right <= far) {
        if (right < table->capacity && places[right].key == KEY_NONE) {
            memmove(&places[*at + 1], &places[*at], (right - *at) * sizeof *places);
            memmove(&tags[*at + 1], &tags[*at], (right - *at) * sizeof *tags);
            return true;
        }
        right++;
        if (left > 0 && places[--left].key == KEY_NONE) {
            uint32_t count = --*at - left;
            memmove(&places[left], &places[left + 1], count * sizeof *places);
            memmove(&tags[left], &tags[left + 1], count * sizeof *tags);
            return true;
        }
    }
    return false;
}

void sc_table_insert(struct sc_table *table, struct sc_blocks *blocks,
                     const struct sc_table_target *target, uint32_t at,
                     const struct sc_table_value *value)
{
    assert(target->key.size > 0 && target->key.size <= SC_KEY_MAX);
    uint32_t size = entry_size(table, target->key.size, value->expires_ms);
    if (table->count >= count_for(table->capacity) ||
        table->arena_size - table->arena_used < units(table, size)) {
        rebuild(table, blocks, 1, size, false, table->versions);
        bool found = sc_table_search(table, target, &at);
        assert(!found);
    }
    if (!open_place(table, &at)) {
        rebuild(table, blocks, 1, size, true, table->versions);
        bool opened = !sc_table_search(table, target, &at) && open_place(table, &at);
        assert(opened);
    }
    tags_of(table)[at] = tag_of(target->hash);
    places_of(table)[at].key = entry_append(table, target->key, value);
    sc_table_set_location(table, at, value->location);
    table->count++;
}

void sc_table_update(struct sc_table *table, struct sc_blocks *blocks,
                     const struct sc_table_target *target, uint32_t at,
                     const struct sc_table_value *value)
{
    struct entry entry = entry_at(table, places_of(table)[at].key);
    if ((value->expires_ms != 0) != (entry.expires != NULL)) {
        sc_table_remove(table, at);
        sc_table_insert(table, blocks, target, at, value);
        return;
    }
    *entry.head =
        (uint8_t)((*entry.head & ~HEAD_TOMBSTONE) | (value->tombstone ? HEAD_TOMBSTONE : 0));
    if (entry.version != NULL) {
        sc_le64_put(entry.version, value->version);
    }
    if (entry.expires != NULL) {
        sc_le64_put(entry.expires, value->expires_ms);
        expires_lower(table, value->expires_ms);
    }
    sc_table_set_location(table, at, value->location);
}

void sc_table_remove(struct sc_table *table, uint32_t at)
{
    struct place *place = &places_of(table)[at];
    table->arena_dead += units(table, entry_at(table, place->key).size);
    place->key = KEY_NONE;
    table->count--;
}

void sc_table_set_version(struct sc_table *table, uint32_t at, uint64_t version)
{
    sc_le64_put(entry_at(table, places_of(table)[at].key).version, version);
}

void sc_table_set_tombstone(struct sc_table *table, uint32_t at)
{
    assert(table->versions);
    *entry_at(table, places_of(table)[at].key).head |= HEAD_TOMBSTONE;
}

/* ---- Invariants ---- */

void sc_table_check(const struct sc_table *table)
{
    struct sc_table_target last = {0};
    uint64_t used = table->arena_dead;
    uint32_t count = 0;
    for (uint32_t i = 0; i < table->capacity; i++) {
        assert(i == 0 || tags_of(table)[i] >= tags_of(table)[i - 1]);
        if (places_of(table)[i].key == KEY_NONE) {
            continue;
        }
        struct entry entry = entry_at(table, places_of(table)[i].key);
        struct sc_table_value value = entry_value(&entry);
        assert(places_of(table)[i].key + units(table, entry.size) <= table->arena_used);
        assert(entry.key.size > 0);
        assert(tags_of(table)[i] == tag_of(sc_slot_hash(entry.key)));
        assert(count == 0 || compare(table, &last, i) < 0);
        assert(value.expires_ms == 0 || value.tombstone || table->expires_ms <= value.expires_ms);
        assert(table->versions || !value.tombstone);
        last = (struct sc_table_target){entry.key, sc_slot_hash(entry.key), false};
        used += units(table, entry.size);
        count++;
    }
    assert(count == table->count && used == table->arena_used);
    assert(table->arena_used <= table->arena_size);
    assert((table->block == NULL) == (table->capacity == 0));
}
