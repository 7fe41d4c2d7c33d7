/*
 * Past: what a keydir held at one moment, while it goes on changing.
 *
 * For each slot there is a table of the keys that have changed since that moment: with the value
 * that they had then, or as a tombstone if they were not there. For all others the keydir itself
 * tells. So the memory that a past takes grows with what changes, not with what there is. When a
 * slot is dropped as a whole, its table becomes all that the slot held.
 *
 * Not kept are changes that make no difference to who looks back: a record that was copied
 * elsewhere (its key, value, version and expiry stay), and keys that are removed because they have
 * expired (they would have to be left out anyway).
 *
 * A past that would take more memory than it may is broken: it forgets everything, and says so.
 *
 * Single-threaded, like the keydir that it belongs to.
 */
#ifndef SC_SHARD_PAST_H
#define SC_SHARD_PAST_H

#include "common/slot.h"
#include "shard/table.h"

#include <stdbool.h>
#include <stdint.h>

/* Readable: next, broken, blocks.memory. */
struct sc_past {
    struct sc_past *next; /* the keydir's list */
    uint8_t slots[SC_SLOT_COUNT / 8]; /* which slots it is about */
    uint8_t whole[SC_SLOT_COUNT / 8]; /* whose table is all that they held */
    uint32_t first_slot; /* slots before this one are not looked at any more */
    struct sc_table *changed; /* one for each slot */
    struct sc_blocks blocks;
    uint64_t memory_max;
    bool broken;
};

/* The moment is now. `slots`: a bit for each slot that it is about; NULL: all. memory_max: bytes,
 * beside a fixed 800 KiB; 0: no limit. */
struct sc_past *sc_past_alloc(const uint8_t *slots, uint64_t memory_max);
void sc_past_free(struct sc_past *past); /* NULL is allowed */

static inline bool sc_past_covers(const struct sc_past *past, uint32_t slot)
{
    return (past->slots[slot / 8] >> (slot % 8) & 1) != 0;
}

/* A key of the slot is going to change: `value` is what it has now; NULL: it is not there. */
void sc_past_keep(struct sc_past *past, uint32_t slot, const struct sc_table_target *target,
                  const struct sc_table_value *value);

/* All keys of the slot, whose table this is, are going to be removed. */
void sc_past_keep_slot(struct sc_past *past, uint32_t slot, const struct sc_table *table);

/* Slots before this one will not be looked at any more. */
void sc_past_pass(struct sc_past *past, uint32_t slot);

/* Called for a key as it was then: a tombstone for one that was not there and has come since. False
 * ends the walk. */
typedef bool sc_past_visit(void *arg, struct sc_slice key, uint64_t hash,
                           const struct sc_table_value *value);

/* Visits the keys of the slot, then or since, in the order of (hash, key), from behind `from` on
 * (NULL: from the first one). `table` is what it holds now. False when `visit` ended it. */
bool sc_past_walk(const struct sc_past *past, uint32_t slot, const struct sc_table *table,
                  const struct sc_table_target *from, sc_past_visit *visit, void *arg);

#endif
