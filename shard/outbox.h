/*
 * Outbox: replies on their way out. Nothing leaves that a crash could undo: a reply that tells of a
 * write, to whoever made it or to a reader, waits until that write is committed.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_SHARD_OUTBOX_H
#define SC_SHARD_OUTBOX_H

#include "common/sp.h"
#include "shard/bitcask.h"
#include "shard/committer.h"

struct sc_outbox_reply;

struct sc_outbox {
    struct sc_bitcask *store; /* kept */
    struct sc_committer *committer; /* kept; set when there is one */
    struct sc_outbox_reply *waiting; /* oldest first */
    struct sc_outbox_reply **waiting_end;
};

void sc_outbox_init(struct sc_outbox *outbox, struct sc_bitcask *store);

/* Sends a reply, now or when `position` is committed and the committer has done the sync of number
 * `sync` (0: none). What the origin was charged with for the reply already is in `charged`. */
void sc_outbox_send(struct sc_outbox *outbox, const struct sc_sp_origin *origin,
                    struct sc_slice body, size_t charged, sc_bitcask_position position,
                    uint64_t sync);

/* A commit has ended: sends what has become due, and the failure to what never will. */
void sc_outbox_committed(struct sc_outbox *outbox);

static inline bool sc_outbox_is_empty(const struct sc_outbox *outbox)
{
    return outbox->waiting == NULL;
}

#endif
