/*
 * Slot set: some of the slots, a bit for each. Plain data.
 */
#ifndef SC_COORDINATOR_SLOTSET_H
#define SC_COORDINATOR_SLOTSET_H

#include "common/msg_move.h"

#define SC_SLOTSET_WORDS (SC_SLOT_COUNT / 64)

struct sc_slotset {
    uint64_t words[SC_SLOTSET_WORDS];
};

static inline bool sc_slotset_has(const struct sc_slotset *set, uint32_t slot)
{
    return (set->words[slot / 64] >> (slot % 64) & 1) != 0;
}

static inline void sc_slotset_add(struct sc_slotset *set, uint32_t slot)
{
    set->words[slot / 64] |= UINT64_C(1) << (slot % 64);
}

uint32_t sc_slotset_count(const struct sc_slotset *set);

/* The first slot of the set that is not below `slot`; SC_SLOT_COUNT if there is none. Inline: a map
 * log may have a million batches to go through. */
static inline uint32_t sc_slotset_next(const struct sc_slotset *set, uint32_t slot)
{
    size_t at = slot / 64;
    uint64_t word = at < SC_SLOTSET_WORDS ? set->words[at] & (UINT64_MAX << (slot % 64)) : 0;
    while (word == 0) {
        if (++at >= SC_SLOTSET_WORDS) {
            return SC_SLOT_COUNT;
        }
        word = set->words[at];
    }
    return (uint32_t)(at * 64) + (uint32_t)__builtin_ctzll(word);
}

#define SC_SLOTSET_EACH(slot, set)                                          \
    for (uint32_t slot = sc_slotset_next((set), 0); (slot) < SC_SLOT_COUNT; \
         (slot) = sc_slotset_next((set), (slot) + 1))

/* The last slot of the unbroken range in the set that `slot`, which is in it, lies in. */
uint32_t sc_slotset_range_end(const struct sc_slotset *set, uint32_t slot);

/* The first range from `slot` on; it begins with SC_SLOT_COUNT if there is none. */
static inline struct sc_msg_range sc_slotset_next_range(const struct sc_slotset *set, uint32_t slot)
{
    struct sc_msg_range range = {sc_slotset_next(set, slot), SC_SLOT_COUNT};
    if (range.first < SC_SLOT_COUNT) {
        range.last = sc_slotset_range_end(set, range.first);
    }
    return range;
}

#define SC_SLOTSET_EACH_RANGE(range, set)                             \
    for (struct sc_msg_range range = sc_slotset_next_range((set), 0); \
         (range).first < SC_SLOT_COUNT; (range) = sc_slotset_next_range((set), (range).last + 1))

/* Appends the set as a msgpack array of [first, last], in ascending order; and back: adds to `set`,
 * false when it is none. */
void sc_slotset_put(const struct sc_slotset *set, struct sc_buf *out);
bool sc_slotset_read(struct sc_slotset *set, struct sc_mp *mp);

#endif
