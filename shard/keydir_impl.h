/*
 * The inside of a keydir: shared by the files that make up shard/keydir.h, and by nobody else.
 *
 *   keydir.c           finding and setting keys, slots as a whole, walks
 *   keydir_versions.c  slots with versions: while opening, and while they move
 */
#ifndef SC_SHARD_KEYDIR_IMPL_H
#define SC_SHARD_KEYDIR_IMPL_H

#include "shard/blocks.h"
#include "shard/keydir.h"
#include "shard/table.h"

#include <assert.h>

/* What is known of a slot with versions beside its table. */
struct sc_keydir_versions {
    uint64_t cleared; /* versions up to this were cleared */
    uint64_t digest; /* of the puts with a known version; not kept while opening */
    uint32_t tombstones;
    uint32_t swept; /* of these: puts that have expired */
    uint32_t unknown; /* puts whose version is not known; not counted while opening */
};

struct sc_keydir {
    struct sc_table tables[SC_SLOT_COUNT];
    struct sc_blocks blocks;
    struct sc_keydir_versions *versions; /* one for each slot; NULL when none has versions */
    uint32_t versioned; /* slots with versions */
    bool opening;
    uint64_t count; /* keys, tombstones left out */
    struct sc_past *pasts; /* that are open */
};

/* ---- Locations: 13 bits of file, 28 of offset, 23 of size ---- */

#define SC_KEYDIR_OFFSET_BITS 28u
#define SC_KEYDIR_SIZE_BITS 23u

static inline uint64_t sc_keydir_pack(struct sc_location location)
{
    assert(location.file < SC_LOCATION_FILES_MAX);
    assert(location.offset < SC_LOCATION_OFFSET_MAX && location.offset % SC_LOCATION_UNIT == 0);
    assert(location.size < SC_LOCATION_SIZE_MAX && location.size % SC_LOCATION_UNIT == 0);
    return (uint64_t)location.file << (SC_KEYDIR_OFFSET_BITS + SC_KEYDIR_SIZE_BITS) |
           location.offset / SC_LOCATION_UNIT << SC_KEYDIR_SIZE_BITS |
           location.size / SC_LOCATION_UNIT;
}

static inline uint32_t sc_keydir_packed_size(uint64_t packed)
{
    return ((uint32_t)packed & ((1u << SC_KEYDIR_SIZE_BITS) - 1)) * SC_LOCATION_UNIT;
}

static inline struct sc_location sc_keydir_unpack(uint64_t packed)
{
    uint64_t offset = packed >> SC_KEYDIR_SIZE_BITS & ((1u << SC_KEYDIR_OFFSET_BITS) - 1);
    return (struct sc_location){
        .file = (uint32_t)(packed >> (SC_KEYDIR_OFFSET_BITS + SC_KEYDIR_SIZE_BITS)),
        .size = sc_keydir_packed_size(packed),
        .offset = offset * SC_LOCATION_UNIT,
    };
}

static inline struct sc_table_target sc_keydir_target(struct sc_slice key, uint64_t hash)
{
    return (struct sc_table_target){.key = key, .hash = hash};
}

/* A key is going to change: tells those who look back what is at place `at`, if it is `found`. */
void sc_keydir_keep_past(const struct sc_keydir *keydir, const struct sc_table *table,
                         const struct sc_table_target *target, bool found, uint32_t at);

/* Accounting of a slot with versions: an entry has come, or gone. */
void sc_keydir_versions_add(struct sc_keydir *keydir, uint64_t hash,
                            const struct sc_table_value *value);
void sc_keydir_versions_remove(struct sc_keydir *keydir, uint64_t hash,
                               const struct sc_table_value *value);

/* All entries of a slot with versions are gone. */
void sc_keydir_versions_reset(struct sc_keydir *keydir, uint32_t slot);

#endif
