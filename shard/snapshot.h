/*
 * Snapshot: what a store held at one moment, to be read page by page while writes go on.
 *
 *   open     with the lock: the moment. It may be told of when `position` is committed
 *   collect  with the lock: which records make up the next page
 *   read     without it, on any thread: one record after the other
 *   close    with the lock
 *
 * A snapshot sees no write that came later, whatever happens to the keys: what they had is
 * remembered (shard/past.h), and no data file is closed that had it (shard/reap.h). Keys that
 * expire meanwhile are left out from then on. The records keep their versions and expiries.
 *
 * A record that cannot be read is told of with its key, and the others go on.
 */
#ifndef SC_SHARD_SNAPSHOT_H
#define SC_SHARD_SNAPSHOT_H

#include "shard/bitcask.h"

struct sc_snapshot;

/* The moment is now. `slots`: a bit for each slot that it is about; NULL: all. memory_max: bytes
 * that it may take for what changes meanwhile; 0: no limit. The store must not be closed before. */
struct sc_snapshot *sc_snapshot_open(struct sc_bitcask *store, const uint8_t *slots,
                                     uint64_t memory_max);
void sc_snapshot_close(struct sc_snapshot *snapshot); /* NULL is allowed */

/* Pages may be collected once this is committed. */
sc_bitcask_position sc_snapshot_position(const struct sc_snapshot *snapshot);

/* How many keys there were, expired but unswept ones included. */
uint64_t sc_snapshot_keys(const struct sc_snapshot *snapshot);

/* Bytes that it takes for what has changed. */
uint64_t sc_snapshot_memory(const struct sc_snapshot *snapshot);

/* ---- Pages ---- */

#define SC_SNAPSHOT_PAGE_KEYS 1000u
#define SC_SNAPSHOT_PAGE_BYTES ((uint64_t)1 << 20) /* of records, or one record with more */

/* A record of a page. The slices are valid until the next is read. */
struct sc_snapshot_record {
    struct sc_slice key;
    enum sc_status
        status; /* SC_CORRUPT, SC_IO: it cannot be read; then there is no more than this: */
    char why[SC_WHY_SIZE];
    struct sc_slice value; /* encoded */
    uint64_t version;
    uint64_t expires_ms; /* 0: never */
};

/* All zero is an empty page. Readable: count, end, now_ms. */
struct sc_snapshot_page {
    const struct sc_bitcask *store; /* of the snapshot that was collected */
    struct sc_snapshot_place *places; /* where the records are, and their keys */
    size_t count;
    struct sc_buf keys;
    struct sc_buf next; /* the cursor of the next page */
    bool end; /* there is none */
    uint64_t now_ms; /* the time by which expired keys were left out */
    struct sc_buf bytes; /* of the record that was read last */
};
void sc_snapshot_page_fini(struct sc_snapshot_page *page);

/* Fills the page with what is behind `cursor`: empty at first, then the `next` of the page before.
 * What was before it is given up. A page may be empty though it is not the last. SC_BADREQUEST: no
 * cursor of ours, or one that was passed. SC_BUSY: so much has changed that the snapshot took more
 * memory than it may: it is of no more use; or it is not committed yet. */
enum sc_status sc_snapshot_collect(struct sc_snapshot *snapshot, struct sc_slice cursor,
                                   struct sc_snapshot_page *page, char *why);

/* Asks the system to bring what is not in memory, of all records, so that reads need not wait for
 * one after the other. */
void sc_snapshot_prefetch(const struct sc_snapshot_page *page);

/* Reads record `index`. The snapshot must not be closed meanwhile. */
void sc_snapshot_read(struct sc_snapshot_page *page, size_t index,
                      struct sc_snapshot_record *record);

/* Notes the damaged records among those that were read. With the lock of the store. */
void sc_snapshot_note_damage(struct sc_bitcask *store, const struct sc_snapshot_page *page);

#endif
