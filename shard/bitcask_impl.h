/*
 * The inside of a store: shared by the files that make up shard/bitcask.h, and by nobody else.
 *
 *   bitcask.c        open, close, identity, group commit, figures
 *   bitcask_read.c   get, exists, meta, count, sweep, and how a record is read
 *   bitcask_write.c  put, del, touch, incr, clear
 *   bitcask_scan.c   scan and its cursors
 *   recover.c        opening: from the files to the keydir
 *   merge*.c         merging: from many files to few (shard/merge_impl.h)
 *   pressure.c       how much disk space there may be
 *   reap.c           what becomes of those that were merged
 *   moving.c         slots that move from or to another shard
 *   fence.c          places in the log behind which a slot begins anew
 *   grant.c          the slots that the coordinator grants
 */
#ifndef SC_SHARD_BITCASK_IMPL_H
#define SC_SHARD_BITCASK_IMPL_H

#include "common/clock.h"
#include "shard/bitcask.h"
#include "shard/damages.h"
#include "shard/fetch.h"
#include "shard/files.h"
#include "shard/horizon.h"
#include "shard/keydir.h"
#include "shard/manifest.h"
#include "shard/moving.h"
#include "shard/reap.h"
#include "shard/warmth.h"
#include "shard/writer.h"

struct sc_bitcask {
    /* constant after open */
    struct sc_bitcask_options options;
    struct sc_files files;
    struct sc_manifest *manifest; /* has a lock of its own */
    sc_bitcask_event_fn *on_event;
    void *event_arg;

    struct sc_writer writer;
    struct sc_keydir *keydir;
    struct sc_segment **segments; /* by index; NULL where a file was merged away */
    size_t segment_count; /* up to the last one there ever was */
    struct sc_clock clock;
    /* For each slot the position of the newest deletion in it: an answer "absent" depends on it. */
    sc_bitcask_position *deleted;
    struct sc_buf scratch; /* for one record being read */
    struct sc_fetch *fetch; /* lent: what is not in memory goes there; NULL: wait for the disk */
    bool cannot_tell; /* the filesystem cannot read without waiting */
    uint32_t sweep_slot; /* the next to be swept */
    struct sc_horizon horizon;
    struct sc_warmth warmth;
    uint64_t gets_looked; /* gets when its warmth was looked after last */
    uint32_t looks_saved; /* since then */
    struct sc_moving moving;
    struct sc_reap_pin *pins; /* of snapshots and backups (shard/reap.h) */
    uint64_t era; /* counts the pins that there ever were */
    size_t doomed; /* segments */

    uint64_t puts, gets, dels, hits, misses;
    struct sc_damages damages;
    uint64_t expired;
    uint64_t cold_reads;
    uint64_t open_us;
};

/* Tells of something wrong that was survived. */
void sc_bitcask_tell(struct sc_bitcask *store, enum sc_bitcask_event_kind kind, const char *file,
                     uint64_t offset, uint64_t size, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* Notes damage; true: it was not known. Notes are not taken. */
bool sc_bitcask_note_damage(struct sc_bitcask *store, const struct sc_damage *damage);

/* Enters a segment into the table; false when it is full. NULL only asks whether it is. */
bool sc_bitcask_enlist(struct sc_bitcask *store, struct sc_segment *segment);

static inline struct sc_segment *sc_bitcask_segment(const struct sc_bitcask *store,
                                                    struct sc_location location)
{
    return store->segments[location.file];
}

/* How far the file was committed. */
uint64_t sc_bitcask_committed_size(const struct sc_bitcask *store,
                                   const struct sc_segment *segment);

/* ---- Reading ---- */

/* The time by which keys of a slot have expired. */
uint64_t sc_bitcask_now_ms(struct sc_bitcask *store, uint32_t slot);

/* A key as a request finds it. */
struct sc_bitcask_found {
    struct sc_keydir_entry entry; /* if present */
    bool present; /* there is a record and it has not expired */
    bool expired; /* there is one, but it has */
    sc_bitcask_position position; /* what any answer depends on */
};
void sc_bitcask_find(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                     struct sc_bitcask_found *found);

/* Reads the version and the value's size of a present key's record. SC_CORRUPT, SC_IO; SC_BUSY: it
 * is not in memory, see sc_bitcask_lend. */
enum sc_status sc_bitcask_read_meta(struct sc_bitcask *store, const struct sc_keydir_entry *entry,
                                    uint64_t *version, uint64_t *value_size, char *why);

/* Appends the value of a present key's record to `value`. SC_CORRUPT, SC_IO, SC_BUSY (as above):
 * unchanged then. */
enum sc_status sc_bitcask_read_value(struct sc_bitcask *store, const struct sc_keydir_entry *entry,
                                     struct sc_buf *value, char *why);

/* Appends a record that says that the value of a present key was lost, and points the keydir there.
 * SC_BUSY, SC_IO, SC_DENIED. */
enum sc_status sc_bitcask_lose(struct sc_bitcask *store, struct sc_slice key, uint64_t hash,
                               uint64_t expires_ms, char *why);

/* Accounting: the keydir has ceased to point there. `arg` is the store. */
void sc_bitcask_forget(void *arg, struct sc_location location);

/* Removes what has expired from slots first to last. */
uint64_t sc_bitcask_expire(struct sc_bitcask *store, uint32_t first, uint32_t last);

static inline bool sc_bitcask_bit(const uint8_t *owned, uint32_t slot)
{
    return owned == NULL || (owned[slot / 8] >> (slot % 8) & 1) != 0;
}

/* The next run of slots with a bit in `owned`, from slot `from` to `last`; false: none. */
bool sc_bitcask_run(const uint8_t *owned, uint32_t from, uint32_t last, uint32_t *run_first,
                    uint32_t *run_last);

#endif
