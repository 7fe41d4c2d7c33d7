/*
 * Moving: what a store remembers, in memory, of slots that are on their way to another shard or
 * from one. What is durable of it is in the manifest.
 *
 * As long as slots arrive or leave, merges are held: the log stays as it is, so that a copy can go
 * on where it was, and nothing is judged while it is not all here.
 *
 * All functions need the lock of the store unless they say otherwise.
 */
#ifndef SC_SHARD_MOVING_H
#define SC_SHARD_MOVING_H

#include "common/slot.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct sc_bitcask;
struct sc_move_host;

/* Private, but for its size. All zero: no slot moves. */
struct sc_moving {
    atomic_uint held; /* how many reasons there are to hold merges */
    bool merging; /* a merge is under way */
    bool importing, exporting; /* each is a reason */
    bool sealed;
    uint8_t seal[SC_SLOT_COUNT / 8]; /* slots that take no writes */
    uint64_t seal_ms; /* the time that holds for them */
};

/* Takes over from the manifest whether slots arrive or leave; when a store is opened, and whenever
 * that may have changed. */
void sc_moving_update(struct sc_bitcask *store);

/* Merges are held: none begins, and one that is under way is given up. As often as they are
 * released. */
void sc_moving_hold(struct sc_bitcask *store);
void sc_moving_release(struct sc_bitcask *store);

/* From now on these slots take no writes, and no key in them expires: what there is stays as it is
 * at this time. One set of slots at most is sealed. */
void sc_moving_seal(struct sc_bitcask *store, const uint8_t slots[SC_SLOT_COUNT / 8],
                    uint64_t now_ms);
void sc_moving_unseal(struct sc_bitcask *store);

static inline bool sc_moving_has_sealed(const struct sc_moving *moving, uint32_t slot)
{
    return moving->sealed && (moving->seal[slot / 8] >> (slot % 8) & 1) != 0;
}

/* Removes all that the keydir has of these slots, or only the versions and tombstones. In slices,
 * without the lock. */
void sc_moving_drop(struct sc_bitcask *store, const struct sc_move_host *host,
                    const uint8_t slots[SC_SLOT_COUNT / 8]);
void sc_moving_settle(struct sc_bitcask *store, const struct sc_move_host *host,
                      const uint8_t slots[SC_SLOT_COUNT / 8]);

#endif
