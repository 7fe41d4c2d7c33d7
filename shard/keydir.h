/*
 * Keydir: where the newest record of every live key is, in memory.
 *
 * One small sorted table for each slot (shard/table.h), so that a slot can be listed, dropped or
 * adopted as a whole, growth never moves more than the entries of one slot, and the order of the
 * entries, which is that of scans, does not depend on the past. A key costs 14 bytes for its
 * location, its place in the slot's arena and 16 bits of its hash, 1 byte of head beside the key in
 * the arena, and the spare room of the table, whose memory has no holes (shard/blocks.h).
 *
 * Versions are not kept: they are in the records. But where records come in any order and the
 * larger version wins, the keydir carries them along, and tombstones as entries of their own: while
 * a store is being opened, and in slots that arrive from another shard. In slots that leave for
 * another one it carries versions too, so that both sides can tell whether they have the same.
 *
 * Single-threaded: its owner serialises all calls.
 */
#ifndef SC_SHARD_KEYDIR_H
#define SC_SHARD_KEYDIR_H

#include "common/buf.h"
#include "common/slot.h"
#include "shard/past.h"

/* Records start at multiples of 8 bytes; sizes are counted in these units too. */
#define SC_LOCATION_UNIT 8u
#define SC_LOCATION_FILES_MAX (1u << 13) /* file indexes */
#define SC_LOCATION_OFFSET_MAX ((UINT64_C(1) << 31)) /* 2 GiB, exclusive */
#define SC_LOCATION_SIZE_MAX ((UINT64_C(1) << 26)) /* 64 MiB, exclusive */

/* Where a record is. `file` is an index into the store's table of live files, not a file number. */
struct sc_location {
    uint32_t file;
    uint32_t size; /* of the whole record, padding included; a multiple of the unit, not 0 */
    uint64_t offset; /* of the record's first byte; a multiple of the unit */
};

struct sc_keydir;

/* What the keydir knows of one key. `key` points into the arena: valid until the next change. */
struct sc_keydir_entry {
    struct sc_location location;
    uint64_t expires_ms; /* 0: never */
    uint64_t hash;
    struct sc_slice key;
};

struct sc_keydir *sc_keydir_alloc(void);
void sc_keydir_free(struct sc_keydir *keydir);

/* Looks up a key (hash: sc_slot_hash of it). False: absent; `entry` is then untouched. Expired
 * entries are found like others: judging the expiry is the caller's business. */
bool sc_keydir_find(const struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                    struct sc_keydir_entry *entry);

/* The same, with keys that were swept from a slot with versions. */
bool sc_keydir_find_swept(const struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                          struct sc_keydir_entry *entry);

/* Sets where a key is, and its version in a slot that has versions. Returns true and stores the
 * former location in `old` (may be NULL) when the key was there before. */
bool sc_keydir_set(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                   struct sc_location location, uint64_t expires_ms, uint64_t version,
                   struct sc_location *old);

/* Moves a key whose record was copied: only if it still is at `from`. Returns whether it was. */
bool sc_keydir_relocate(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                        struct sc_location from, struct sc_location to);

/* Removes a key; true and the former location (may be NULL) if it was there. */
bool sc_keydir_remove(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                      struct sc_location *old);

/* Hints to the processor that this hash is going to be looked up, set or offered. Two steps, so
 * that a batch of operations overlaps all its misses: the first for all hashes of the batch, then
 * the second for all, then the operations. The second stores where the record of the key probably
 * is (`location` may be NULL), or returns false: probably there is none. */
void sc_keydir_prefetch(const struct sc_keydir *keydir, uint64_t hash);
bool sc_keydir_prefetch_key(const struct sc_keydir *keydir, uint64_t hash,
                            struct sc_location *location);

/* ---- Slots with versions: all while a store is opened, then those that move ---- */

/* The outcome of offering a record to the keydir. */
enum sc_keydir_offer { SC_KEYDIR_NEW, SC_KEYDIR_NEWER, SC_KEYDIR_OLDER, SC_KEYDIR_CLEARED };

/* Offers a record: it is taken when it is larger in version than what the keydir has for the key
 * (an equal version: the one that was there stays). `tombstone` marks a deletion. NEWER: the
 * location replaced is in `old`; OLDER: the one that stays. `old_tombstone` says what that is; one
 * that was swept counts as such. CLEARED: the record is not newer than a range deletion of its slot
 * (sc_keydir_offer_clear), and nothing is stored. */
enum sc_keydir_offer sc_keydir_offer(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                                     uint64_t version, bool tombstone, struct sc_location location,
                                     uint64_t expires_ms, struct sc_location *old,
                                     bool *old_tombstone);

/* Whether a record with this version would be taken. */
bool sc_keydir_would_take(const struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                          uint64_t version);

/* Every entry of slots `first` to `last` whose version is at most `version` is removed, tombstones
 * included (a range deletion met in the log); calls `removed` for each (may be NULL). What is
 * offered to these slots later with such a version is CLEARED. */
void sc_keydir_offer_clear(struct sc_keydir *keydir, uint32_t first, uint32_t last,
                           uint64_t version,
                           void (*removed)(void *arg, struct sc_location location, bool tombstone),
                           void *arg);

/* Opening is over. Slots in `arriving` keep their versions and tombstones, those in `leaving` their
 * versions (a bit for each slot; NULL: none); the others have none any more. */
void sc_keydir_opened(struct sc_keydir *keydir, const uint8_t *arriving, const uint8_t *leaving);

/* Gives a slot versions, unknown for the keys that are there; keeps them if it has them. `roomy`:
 * many keys are going to come. */
void sc_keydir_versions_begin(struct sc_keydir *keydir, uint32_t slot, bool roomy);

/* Forgets versions and tombstones of a slot, if it has them. */
void sc_keydir_versions_end(struct sc_keydir *keydir, uint32_t slot);

bool sc_keydir_has_versions(const struct sc_keydir *keydir, uint32_t slot);

/* The version of a key, if it still is at this location. */
void sc_keydir_learn(struct sc_keydir *keydir, struct sc_slice key, uint64_t hash,
                     struct sc_location location, uint64_t version);

/* What a slot with versions holds: keys, expired and swept ones included; the sum, modulo 2^64, of
 * XXH3 of (hash of the key, version), 8 bytes each, little-endian, over all of them whose version
 * is known; and how many are not. */
struct sc_keydir_sum {
    uint64_t count;
    uint64_t digest;
    uint64_t unknown;
};
struct sc_keydir_sum sc_keydir_slot_sum(const struct sc_keydir *keydir, uint32_t slot);

/* ---- A slot as a whole ---- */

/* Keys in a slot and in all, expired but unswept ones included. */
uint64_t sc_keydir_slot_count(const struct sc_keydir *keydir, uint32_t slot);
uint64_t sc_keydir_count(const struct sc_keydir *keydir);

/* Bytes of the records that the keys of a slot are in. */
uint64_t sc_keydir_slot_bytes(const struct sc_keydir *keydir, uint32_t slot);

/* Memory of the keydir in bytes, exactly as asked of the system, spare room included. */
uint64_t sc_keydir_memory(const struct sc_keydir *keydir);

/* Removes all keys of a slot; calls `removed` (may be NULL) with the location of each. */
void sc_keydir_drop_slot(struct sc_keydir *keydir, uint32_t slot,
                         void (*removed)(void *arg, struct sc_location location), void *arg);

/* Removes the keys of a slot that expired at or before now_ms, calling `removed` (may be NULL) for
 * each; returns how many. Cheap when nothing can have expired: each slot keeps a lower bound. In a
 * slot with versions they stay in its sum. */
uint64_t sc_keydir_sweep_slot(struct sc_keydir *keydir, uint32_t slot, uint64_t now_ms,
                              void (*removed)(void *arg, struct sc_location location), void *arg);

/* ---- Scans: all entries in the order of (hash, key bytes) ---- */

/* A place between two entries: behind every entry whose hash is less than `hash`, and, at `hash`
 * itself, behind every key that is not greater than `key` (whole_hash: behind all of that hash).
 * The start is {0}. `key` is the caller's. */
struct sc_keydir_position {
    uint64_t hash;
    bool whole_hash;
    struct sc_slice key;
};

/* Visits entries behind `position`, up to the end of `last_slot`, until `visit` returns false (it
 * has then not taken that entry) or `max` entries were visited. Returns true when the end was
 * reached. `visit` must not change the keydir. */
bool sc_keydir_walk(const struct sc_keydir *keydir, const struct sc_keydir_position *position,
                    uint32_t last_slot, uint64_t max,
                    bool (*visit)(void *arg, const struct sc_keydir_entry *entry), void *arg);

/* The same, with those that were swept from a slot with versions. */
bool sc_keydir_walk_swept(const struct sc_keydir *keydir, const struct sc_keydir_position *position,
                          uint32_t last_slot, uint64_t max,
                          bool (*visit)(void *arg, const struct sc_keydir_entry *entry), void *arg);

/* ---- Looking back ---- */

/* Remembers what the keydir holds now (shard/past.h): until the keydir is freed or the past closed.
 * Whatever changes a table must tell the pasts before. */
struct sc_past *sc_keydir_past_open(struct sc_keydir *keydir, const uint8_t *slots,
                                    uint64_t memory_max);
void sc_keydir_past_close(struct sc_keydir *keydir, struct sc_past *past);

/* As sc_keydir_walk, of what there was, to the end of the last slot. Slots that the past is not
 * about are left out. Keys that were not there and have come since are visited too, so that `max`
 * bounds the time it takes: the location of such a key has size 0. */
bool sc_keydir_walk_past(const struct sc_keydir *keydir, const struct sc_past *past,
                         const struct sc_keydir_position *position, uint64_t max,
                         bool (*visit)(void *arg, const struct sc_keydir_entry *entry), void *arg);

/* Asserts the invariants of the whole structure; for tests. */
void sc_keydir_check(const struct sc_keydir *keydir);

#endif
