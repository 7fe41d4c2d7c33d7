/*
 * Importer: takes the slots of one move from another shard into a store.
 *
 *   begin -> write ... write -> finish -> (a grant makes them the store's own)
 *     |                            |
 *     `------------> drop <--------'
 *
 * What arrives is appended to the log like any write, with the versions and expiries that the
 * records have. Nobody sees it: the slots are importing in the manifest, and not served. The keydir
 * has versions and tombstones for them, so that records may come in any order, twice, or again
 * after a restart.
 *
 * Durable are the beginning, with a fence behind which everything of the slots lies; now and then
 * the cursor, which says where the copy goes on, when everything that belongs before it is synced;
 * that all is there, with the last cursor; and the end. A write is durable with the next cursor.
 * After a restart, begin with the same move goes on from there.
 *
 * One thread calls all of it, without the lock of the store, which it takes for short slices
 * through its host.
 */
#ifndef SC_SHARD_IMPORTER_H
#define SC_SHARD_IMPORTER_H

#include "common/buf.h"
#include "shard/fence.h"

struct sc_importer;

#define SC_IMPORTER_SAVE_BYTES (UINT64_C(64) << 20) /* of records between two durable cursors */

/* Keeps the store; `host` is copied. */
struct sc_importer *sc_importer_alloc(struct sc_bitcask *store, const struct sc_move_host *host);
void sc_importer_free(struct sc_importer *importer); /* NULL is allowed */

/* For tests: a durable cursor after so many bytes. */
void sc_importer_save_after(struct sc_importer *importer, uint64_t bytes);

/* Begins, or goes on if these slots arrive by this move already and there is a durable cursor;
 * stores that and the mark that belongs to it, both empty at the beginning: then nothing has
 * arrived. `bytes` and `keys`: what is going to come, about. SC_DENIED: slots arrive by another
 * move, or one of these is the store's. SC_IO: there is no room for it on the disk or in memory, or
 * the manifest could not be written. SC_UNAVAILABLE: to stop. */
enum sc_status sc_importer_begin(struct sc_importer *importer, uint64_t move,
                                 const uint8_t slots[SC_SLOT_COUNT / 8], uint64_t bytes,
                                 uint64_t keys, struct sc_buf *cursor, struct sc_buf *mark,
                                 char *why);

/* Whether slots arrive by this move, and it was begun since the store was opened. */
bool sc_importer_has(const struct sc_importer *importer, uint64_t move);

/* Takes a frame of records; `cursor`: where to go on behind it. SC_CORRUPT: the frame is damaged,
 * or has records of other slots; nothing of it was taken. SC_IO: disk or memory is full, or the
 * store has failed. */
enum sc_status sc_importer_write(struct sc_importer *importer, struct sc_slice cursor,
                                 struct sc_slice mark, struct sc_slice frame, char *why);

/* All was written: it must be `count` keys with this digest (shard/keydir.h), and no version larger
 * than `version` was ever given out for them. Durable. SC_CORRUPT: it is something else, or damaged
 * meanwhile. */
enum sc_status sc_importer_finish(struct sc_importer *importer, uint64_t count, uint64_t digest,
                                  uint64_t version, char *why);

/* The slots do not arrive after all; nothing of them is left. SC_OK too when they do not arrive by
 * this move. */
enum sc_status sc_importer_drop(struct sc_importer *importer, uint64_t move, char *why);

#endif
