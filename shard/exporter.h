/*
 * Exporter: gives the slots of one move to another shard, while the store goes on serving them.
 *
 *   begin -> read ... read -> seal -> read to the end -> (a grant takes the slots away)
 *     ^                        |
 *     '------ unseal ----------'            end: nothing has moved
 *
 * First the keydir's entries of the slots are walked in the order of hash and key, and their
 * records are read; then follows the log, from where it ended at the beginning (the mark), with all
 * records of the slots: puts, tombstones, clears. Records behind the mark are left out of the walk,
 * since the log has them. The larger version wins at the other end; so it does not matter what is
 * sent twice. Only what is synced is given out: else the other shard could have what a failure of
 * the power takes from this one.
 *
 * The beginning is durable: the slots are leaving in the manifest, with the mark. As long as they
 * are, merges are held, also when the store is opened again; so a cursor with this mark stays
 * right, and reading goes on from there after a restart of either side.
 *
 * The keydir gets versions for the slots: the walk learns them from the records it reads, writes
 * add their own. When all are known, sealing costs no walk.
 *
 * A cursor: byte 0 1, a place in the walk: 8 bytes hash, big-endian, and the key before that place
 * if it has this hash; or byte 0 2, a place in the log: 8 bytes file number, 8 bytes offset,
 * little-endian. A mark: file number, offset, and 8 random bytes, so that no two are the same.
 *
 * One thread calls all of it, without the lock of the store, which it takes for short slices
 * through its host.
 */
#ifndef SC_SHARD_EXPORTER_H
#define SC_SHARD_EXPORTER_H

#include "common/buf.h"
#include "shard/fence.h"

struct sc_exporter;

/* Keeps the store; `host` is copied. */
struct sc_exporter *sc_exporter_alloc(struct sc_bitcask *store, const struct sc_move_host *host);
void sc_exporter_free(struct sc_exporter *exporter); /* NULL is allowed */

/* For tests: pages with no more than so many keys, or with so many bytes of log looked at. */
void sc_exporter_small_pages(struct sc_exporter *exporter, unsigned keys, uint64_t log_bytes);

/* Begins, or goes on if these slots leave by this move already and `mark` is its mark; slots that
 * leave by another move leave no more. What was sealed is not any more. Stores the mark: when it is
 * not the one that was given, no cursor from before is right. `keys` and `bytes`: what the slots
 * hold. SC_DENIED: one of the slots is not the store's. SC_IO; SC_UNAVAILABLE: to stop. */
enum sc_status sc_exporter_begin(struct sc_exporter *exporter, uint64_t move,
                                 const uint8_t slots[SC_SLOT_COUNT / 8], struct sc_slice mark,
                                 struct sc_buf *new_mark, uint64_t *keys, uint64_t *bytes,
                                 char *why);

/* Whether slots leave by this move, and it was begun since the store was opened. */
bool sc_exporter_has(const struct sc_exporter *exporter, uint64_t move);

/* What was read. All zero is empty. */
struct sc_exporter_page {
    struct sc_buf cursor; /* of what follows */
    struct sc_buf frame; /* records (shard/frame.h); may be empty */
    uint64_t gap; /* bytes of log that are left to read; UINT64_MAX: the walk is not over */
};
void sc_exporter_page_fini(struct sc_exporter_page *page);

#define SC_EXPORTER_GAP_UNKNOWN UINT64_MAX

/* Reads what follows the cursor (empty: from the start). At the end of what is synced it has the
 * rest synced first. When sealed, nothing counts that was written later: with a gap of 0 everything
 * was read. SC_MISMATCH: the cursor is none of this log. SC_CORRUPT: something is damaged that
 * would have to be given out. SC_IO. */
enum sc_status sc_exporter_read(struct sc_exporter *exporter, struct sc_slice cursor,
                                struct sc_exporter_page *page, char *why);

/* What there is in slots that are sealed. */
struct sc_exporter_seal {
    uint64_t count; /* keys, expired ones included */
    uint64_t digest; /* see struct sc_keydir_sum */
    uint64_t version; /* larger than all that were ever given out for these slots */
};

/* The slots take no writes from now on, and no key in them expires; all that was written is synced.
 * Repeated, it tells the same again. SC_BUSY: the walk is not over. SC_IO: they are not sealed. */
enum sc_status sc_exporter_seal(struct sc_exporter *exporter, struct sc_exporter_seal *seal,
                                char *why);

/* The slots leave no more, if they leave by this move: nothing has happened. */
enum sc_status sc_exporter_end(struct sc_exporter *exporter, uint64_t move, char *why);

#endif
