/*
 * Keys that are unkind to a keydir: many in one slot, many with the same 64-bit hash, some that
 * differ only behind the first 30 bits of their hash, long ones and short ones.
 */
#ifndef SC_TESTS_SHARD_KEYDIR_KEYS_H
#define SC_TESTS_SHARD_KEYDIR_KEYS_H

#include "common/bytes.h"
#include "common/limits.h"
#include "common/slot.h"

#include <stdlib.h>

static inline uint64_t test_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = *state;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static inline uint64_t test_below(uint64_t *state, uint64_t bound)
{
    return test_random(state) % bound;
}

#define COLLIDING_SIZE 32u

/* Writes a key of 32 bytes whose hash depends on `suffix` alone: its first 8 bytes are those of
 * XXH3's secret, so that their difference, a factor of the product the next 8 bytes go into, is 0.
 */
static inline struct sc_slice colliding_key(uint8_t room[COLLIDING_SIZE], uint64_t suffix,
                                            uint64_t number)
{
    sc_le64_put(room, UINT64_C(0xbe4ba423396cfeb8));
    sc_be64_put(room + 8, number);
    sc_le64_put(room + 16, suffix);
    sc_le64_put(room + 24, ~suffix);
    return sc_slice(room, COLLIDING_SIZE);
}

static inline uint64_t suffix_hash(uint64_t suffix)
{
    uint8_t room[COLLIDING_SIZE];
    return sc_slot_hash(colliding_key(room, suffix, 0));
}

/* The next suffix from *suffix on whose keys are in the slot. */
static inline uint64_t suffix_in_slot(uint64_t *suffix, uint32_t slot)
{
    while (sc_slot_of_hash(suffix_hash(*suffix)) != slot) {
        ++*suffix;
    }
    return (*suffix)++;
}

/* Two suffixes whose hashes are equal in slot and tag, but not in all; found by trying. */
#define ONE_TAG_SUFFIX_A 197549u
#define ONE_TAG_SUFFIX_B 213876u

#endif
