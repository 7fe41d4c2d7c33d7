#include "shard/past.h"

#include "common/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct sc_past *sc_past_alloc(const uint8_t *slots, uint64_t memory_max)
{
    struct sc_past *past = sc_calloc(1, sizeof *past);
    past->changed = sc_calloc(SC_SLOT_COUNT, sizeof *past->changed);
    past->memory_max = memory_max;
    if (slots != NULL) {
        memcpy(past->slots, slots, sizeof past->slots);
    } else {
        memset(past->slots, 0xff, sizeof past->slots);
    }
    sc_blocks_init(&past->blocks);
    return past;
}

static void forget_slots(struct sc_past *past, uint32_t first, uint32_t end)
{
    for (uint32_t slot = first; slot < end; slot++) {
        if (past->changed[slot].block != NULL) {
            sc_table_clear(&past->changed[slot], &past->blocks);
        }
    }
}

void sc_past_free(struct sc_past *past)
{
    if (past != NULL) {
        forget_slots(past, past->first_slot, SC_SLOT_COUNT);
        sc_blocks_fini(&past->blocks);
        free(past->changed);
        free(past);
    }
}

static bool is_whole(const struct sc_past *past, uint32_t slot)
{
    return (past->whole[slot / 8] >> (slot % 8) & 1) != 0;
}

/* Whether a change in this slot makes any difference. */
static bool is_of_interest(const struct sc_past *past, uint32_t slot)
{
    return !past->broken && slot >= past->first_slot && sc_past_covers(past, slot) &&
           !is_whole(past, slot);
}

static void check_memory(struct sc_past *past)
{
    if (past->memory_max > 0 && past->blocks.memory > past->memory_max) {
        forget_slots(past, past->first_slot, SC_SLOT_COUNT);
        past->broken = true;
    }
}

/* The table of a slot, made ready for use. */
static struct sc_table *changed_in(struct sc_past *past, uint32_t slot)
{
    struct sc_table *table = &past->changed[slot];
    if (table->block == NULL) {
        /* Only a table with versions has tombstones; the versions themselves are of no use. */
        *table = (struct sc_table){.expires_ms = SC_TABLE_EXPIRES_NEVER, .versions = true};
    }
    return table;
}

void sc_past_keep(struct sc_past *past, uint32_t slot, const struct sc_table_target *target,
                  const struct sc_table_value *value)
{
    if (!is_of_interest(past, slot)) {
        return;
    }
    struct sc_table *changed = changed_in(past, slot);
    struct sc_table_value kept = {.tombstone = true};
    uint32_t at;
    if (sc_table_search(changed, target, &at)) {
        return; /* what it had at the moment is known */
    }
    if (value != NULL && !value->tombstone) {
        kept =
            (struct sc_table_value){.location = value->location, .expires_ms = value->expires_ms};
    }
    sc_table_insert(changed, &past->blocks, target, at, &kept);
    check_memory(past);
}

/* Sets back what has changed since the moment. */
static void set_back(struct sc_table *table, const struct sc_table *changed,
                     struct sc_blocks *blocks)
{
    struct sc_buf copy = {0}; /* blocks move, and keys with them */
    for (uint32_t i = sc_table_next(changed, 0); i < changed->capacity;
         i = sc_table_next(changed, i + 1)) {
        struct sc_slice key;
        struct sc_table_value value;
        uint32_t at;
        sc_table_get(changed, i, &key, &value);
        copy.size = 0;
        sc_buf_append_slice(&copy, key);
        struct sc_table_target target = {sc_buf_slice(&copy), sc_slot_hash(key), false};
        bool found = sc_table_search(table, &target, &at);
        if (found && value.tombstone) {
            sc_table_remove(table, at);
        } else if (found) {
            sc_table_update(table, blocks, &target, at, &value);
        } else if (!value.tombstone) {
            sc_table_insert(table, blocks, &target, at, &value);
        }
    }
    sc_buf_fini(&copy);
}

void sc_past_keep_slot(struct sc_past *past, uint32_t slot, const struct sc_table *table)
{
    if (!is_of_interest(past, slot)) {
        return;
    }
    struct sc_table *all = &past->changed[slot];
    struct sc_table changed = {.expires_ms = SC_TABLE_EXPIRES_NEVER};
    sc_table_copy(&changed, all, &past->blocks);
    sc_table_clear(all, &past->blocks);
    sc_table_copy(all, table, &past->blocks);
    set_back(all, &changed, &past->blocks);
    sc_table_clear(&changed, &past->blocks);
    past->whole[slot / 8] |= (uint8_t)(1u << (slot % 8));
    check_memory(past);
}

void sc_past_pass(struct sc_past *past, uint32_t slot)
{
    assert(slot <= SC_SLOT_COUNT);
    if (slot > past->first_slot) {
        forget_slots(past, past->first_slot, slot);
        past->first_slot = slot;
    }
}

/* ---- Walks ---- */

/* A place in a table. */
struct place {
    const struct sc_table *table;
    uint32_t at;
    struct sc_slice key; /* if there is one at `at` */
    uint64_t hash;
    struct sc_table_value value;
};

static void place_load(struct place *place)
{
    place->at = sc_table_next(place->table, place->at);
    if (place->at < place->table->capacity) {
        sc_table_get(place->table, place->at, &place->key, &place->value);
        place->hash = sc_slot_hash(place->key);
    }
}

static void place_init(struct place *place, const struct sc_table *table,
                       const struct sc_table_target *from)
{
    *place = (struct place){.table = table};
    if (from != NULL && sc_table_search(table, from, &place->at)) {
        place->at++;
    }
    place_load(place);
}

static bool place_ended(const struct place *place)
{
    return place->at >= place->table->capacity;
}

static void place_step(struct place *place)
{
    place->at++;
    place_load(place);
}

/* Which comes first: less than 0, `a`; 0, they are at the same key. One has not ended. */
static int place_order(const struct place *a, const struct place *b)
{
    if (place_ended(a) || place_ended(b)) {
        return place_ended(a) ? 1 : -1;
    }
    return sc_table_order(a->key, a->hash, b->key, b->hash);
}

bool sc_past_walk(const struct sc_past *past, uint32_t slot, const struct sc_table *table,
                  const struct sc_table_target *from, sc_past_visit *visit, void *arg)
{
    static const struct sc_table nothing = {.expires_ms = SC_TABLE_EXPIRES_NEVER};
    assert(!past->broken && slot >= past->first_slot);
    struct place changed;
    struct place present;
    place_init(&changed, &past->changed[slot], from);
    place_init(&present, is_whole(past, slot) ? &nothing : table, from);
    while (!place_ended(&changed) || !place_ended(&present)) {
        int order = place_order(&changed, &present);
        const struct place *first = order <= 0 ? &changed : &present;
        if (!visit(arg, first->key, first->hash, &first->value)) {
            return false;
        }
        if (order <= 0) {
            place_step(&changed);
        }
        if (order >= 0) {
            place_step(&present);
        }
    }
    return true;
}
