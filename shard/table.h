/*
 * Table: the keys of one slot and where their records are; the keydir is 16,384 of these.
 *
 * One block of memory (shard/blocks.h) holds three parts:
 *
 *   places   capacity x 12 bytes: offset of the key's entry in the arena, location
 *   tags     capacity x 2 bytes: the 16 hash bits behind the slot's 14
 *   arena    the keys' entries: head, length, version, expiry, key
 *
 * Keys stand in the order of (hash, key bytes), with some empty places between them, so that a new
 * key moves only its neighbours. A place's tag never is less than the one before it, and empty
 * places have tags too: so a search needs the tags only. It begins where the tag would be if all
 * were spread evenly and gallops from there, and reads keys only where the tag is the same.
 *
 * An entry in the arena: 1 byte head (0x80 has an expiry, 0x40 is a tombstone, the rest the key's
 * length, or 63: the length follows in 2 bytes), the version (8 bytes, only in a table with
 * versions), the expiry (8 bytes, if it has one), the key. Entries are appended; those of removed
 * keys are dead until the table is rebuilt. Offsets count units of 1 byte, or of 2, 4, ... when
 * 4 GiB would be too little.
 *
 * Growing, shrinking and compacting are all the same: the table is rebuilt in a new block.
 *
 * Invariants, asserted by sc_table_check:
 * - tags never fall from one place to the next;
 * - keys stand in strictly rising order of (hash, key bytes), each at a place with its own tag;
 * - the sizes of all keys' entries and arena_dead add up to arena_used;
 * - no key expires before expires_ms, tombstones left out.
 *
 * A table must stay where it is in memory: its block knows it. Single-threaded.
 */
#ifndef SC_SHARD_TABLE_H
#define SC_SHARD_TABLE_H

#include "common/buf.h"
#include "shard/blocks.h"

#define SC_TABLE_EXPIRES_NEVER UINT64_MAX

/* Readable. All zero, but for expires_ms, is a valid, empty table. */
struct sc_table {
    uint8_t *block; /* NULL: empty */
    uint64_t expires_ms; /* lower bound of all expiries; SC_TABLE_EXPIRES_NEVER: none has one */
    uint64_t bytes; /* the owner's: kept when the table is rebuilt, 0 when it is cleared */
    uint32_t count; /* keys */
    uint32_t capacity; /* places */
    uint32_t arena_used; /* in units, like the next two */
    uint32_t arena_dead; /* of what is used */
    uint32_t arena_size;
    uint8_t unit_shift; /* a unit is 1 << unit_shift bytes */
    bool versions; /* set for an empty table that is to have versions and tombstones */
    bool roomy; /* set for one in which many keys are going to be put */
};

/* What is searched: a key, or with whole_hash the end of all keys of that hash. */
struct sc_table_target {
    struct sc_slice key;
    uint64_t hash;
    bool whole_hash;
};

/* What a table knows of a key beside the key. */
struct sc_table_value {
    uint64_t location; /* packed, as the caller likes */
    uint64_t expires_ms; /* 0: never */
    uint64_t version; /* in a table with versions */
    bool tombstone;
};

/* True: the key is at place `at`. False: it is not there, and would be behind all keys at places
 * before `at` and before all others. */
bool sc_table_search(const struct sc_table *table, const struct sc_table_target *target,
                     uint32_t *at);

/* Adds a key that is not there; `at` comes from the search for it. Places change. The key must not
 * lie in a table. */
void sc_table_insert(struct sc_table *table, struct sc_blocks *blocks,
                     const struct sc_table_target *target, uint32_t at,
                     const struct sc_table_value *value);

/* Gives the key at place `at` another value. Places change. */
void sc_table_update(struct sc_table *table, struct sc_blocks *blocks,
                     const struct sc_table_target *target, uint32_t at,
                     const struct sc_table_value *value);

/* Empties a place; other places stay as they are. When done, call sc_table_trim. */
void sc_table_remove(struct sc_table *table, uint32_t at);

/* Gives memory back if much is unused. Places change. */
void sc_table_trim(struct sc_table *table, struct sc_blocks *blocks);

/* Removes all keys and frees the memory. */
void sc_table_clear(struct sc_table *table, struct sc_blocks *blocks);

/* Makes `to`, which is empty and may use other blocks, hold the same. */
void sc_table_copy(struct sc_table *to, const struct sc_table *from, struct sc_blocks *blocks);

/* Gives a table versions: 0 for all keys that are there. Places change. */
void sc_table_add_versions(struct sc_table *table, struct sc_blocks *blocks);

/* Forgets versions and tombstones; no longer roomy. Places change. */
void sc_table_drop_versions(struct sc_table *table, struct sc_blocks *blocks);

/* Sets the version of the key at a place, or makes it a tombstone: in a table with versions. */
void sc_table_set_version(struct sc_table *table, uint32_t at, uint64_t version);
void sc_table_set_tombstone(struct sc_table *table, uint32_t at);

/* The first place that is not empty from `at` on; capacity if there is none. */
uint32_t sc_table_next(const struct sc_table *table, uint32_t at);

/* The key and what is known of it at a place that is not empty. `key` is valid until a table using
 * the same blocks changes. */
void sc_table_get(const struct sc_table *table, uint32_t at, struct sc_slice *key,
                  struct sc_table_value *value);

/* The location alone, without touching the arena. */
uint64_t sc_table_location(const struct sc_table *table, uint32_t at);
void sc_table_set_location(struct sc_table *table, uint32_t at, uint64_t location);

/* The order that keys have in a table: less than 0, `a` comes first; 0, they are equal. */
int sc_table_order(struct sc_slice a, uint64_t a_hash, struct sc_slice b, uint64_t b_hash);

/* Two steps to a search that misses no cache: the first asks for the tags and places near where the
 * hash should be, the second, when they have arrived, for the key. It stores the location of what
 * is probably that key, or returns false: probably there is none. */
void sc_table_prefetch(const struct sc_table *table, uint64_t hash);
bool sc_table_prefetch_key(const struct sc_table *table, uint64_t hash, uint64_t *location);

/* Asserts the invariants. */
void sc_table_check(const struct sc_table *table);

#endif
