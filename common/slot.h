/*
 * Slots: the 16,384 parts of the key space. A key's slot is the top 14 bits of the XXH3 64-bit hash
 * (seed 0) of its bytes; every slot is owned by exactly one shard. Other clients may compute it.
 */
#ifndef SC_COMMON_SLOT_H
#define SC_COMMON_SLOT_H

#include "common/buf.h"

#define SC_SLOT_BITS 14
#define SC_SLOT_COUNT (1u << SC_SLOT_BITS)

/* The hash that places a key: XXH3_64bits, seed 0. */
uint64_t sc_slot_hash(struct sc_slice key);

static inline uint32_t sc_slot_of_hash(uint64_t hash)
{
    return (uint32_t)(hash >> (64 - SC_SLOT_BITS));
}

static inline uint32_t sc_slot_of_key(struct sc_slice key)
{
    return sc_slot_of_hash(sc_slot_hash(key));
}

#endif
