/*
 * Fetch: pieces of data files that an operation needs and that are not in memory, to be read by a
 * thread that may wait for the disk.
 *
 *   operation, lent an empty fetch --needs what is not in memory--> SC_BUSY, the fetch has wants
 *                                                                       |
 *   the same operation, lent the same fetch <-- sc_fetch_read of each --+
 *
 * What was read is offered to the operation when it asks for the very same piece of the very same
 * file. Meanwhile the file is not closed, since the fetch counts as a reader of it (shard/reap.h).
 * Bytes of a record never change, so what was read stays true; whether the record is still the
 * newest of its key is found out by the operation, which looks again.
 *
 * A fetch belongs to the owner of the store (its lock), but while its pieces are being read: then
 * to whoever reads them, a piece at a time.
 */
#ifndef SC_SHARD_FETCH_H
#define SC_SHARD_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sc_segment;

struct sc_fetch_piece {
    struct sc_segment *segment; /* has this piece for a reader */
    int fd;
    uint64_t offset;
    size_t size;
    uint8_t *bytes; /* NULL: not read yet */
    ssize_t
        got; /* how many could be read, fewer only at the end of the file; -1: `error` says why */
    int error;
};

/* All zero is empty. Readable: count, read, bytes. */
struct sc_fetch {
    struct sc_fetch_piece *pieces;
    size_t count;
    size_t read; /* so many, the first ones, have been read; the others are wanted */
    size_t bytes; /* of all pieces */
    size_t capacity;
    size_t at; /* where the next look begins */
};

/* Gives up the files and frees; leaves an empty fetch. */
void sc_fetch_fini(struct sc_fetch *fetch);

static inline bool sc_fetch_wants(const struct sc_fetch *fetch)
{
    return fetch->count > fetch->read;
}

void sc_fetch_want(struct sc_fetch *fetch, struct sc_segment *segment, uint64_t offset,
                   size_t size);

/* The piece, if it has been read; else NULL. Quick when pieces are asked for in the order in which
 * they were wanted. */
const struct sc_fetch_piece *sc_fetch_find(struct sc_fetch *fetch, const struct sc_segment *segment,
                                           uint64_t offset, size_t size);

/* Reads one piece, and waits for the disk. Any thread. */
void sc_fetch_read(struct sc_fetch_piece *piece);

/* All pieces have been read. */
void sc_fetch_done(struct sc_fetch *fetch);

/* For tests: a slow disk. While held, sc_fetch_read waits before it reads. */
void sc_fetch_hold(bool hold);

/* How many are waiting. */
unsigned sc_fetch_held(void);

#endif
