/*
 * Carrier: what is said to the two shards of a batch, and the records between them: frames from the
 * one that exports to the one that imports, undecoded. The next frame is read while the last one is
 * written.
 *
 * How far the copy has come is the source's business (a cursor, and a mark of the log that it
 * belongs to) and is kept by the target, from where a copy goes on that was interrupted.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_CARRIER_H
#define SC_COORDINATOR_CARRIER_H

#include "coordinator/errand.h"

/* Readable: gap, bytes, bytes_done, read_all. */
struct sc_carrier {
    struct sc_errands *errands; /* constant, like the next three */
    uint64_t move;
    struct sc_msg_range *ranges; /* of the batch */
    size_t range_count;
    uint64_t keys, bytes; /* about what is in its slots */

    uint64_t import_token, export_token;
    struct sc_buf mark; /* of the source */
    struct sc_buf cursor; /* of the next read */
    struct sc_buf written; /* what is before this cursor the target has */
    bool reading, writing;
    bool read_all; /* a read said that nothing is left of what was there when it was sealed */
    bool has_frame; /* one that waits to be written, and the cursor behind it */
    struct sc_buf frame, frame_cursor;
    struct sc_buf sent_cursor; /* behind the frame that is being written */
    uint64_t gap; /* bytes of log left, at the last read; SC_MSG_GAP_UNKNOWN: not all keys read */
    uint64_t least_gap;
    uint32_t reads_since_least;
    uint64_t read_ms; /* not before */
    bool syncing; /* the target was asked to */
    uint64_t sent; /* bytes of frames, ever ... */
    uint64_t sent_at_sync; /* ... when it was asked to sync last ... */
    uint64_t sent_synced; /* ... and so many of them are synced */
    uint64_t bytes_done; /* of all frames that were read, ever */
};

void sc_carrier_init(struct sc_carrier *carrier, struct sc_errands *errands,
                     const struct sc_cluster_batch *batch, uint64_t keys, uint64_t bytes);
void sc_carrier_fini(struct sc_carrier *carrier);

/* ---- Questions, but for those that copy. False: the shard is not up. ---- */

bool sc_carrier_import(struct sc_carrier *carrier, struct sc_backend *target);
bool sc_carrier_export(struct sc_carrier *carrier, struct sc_backend *source);
bool sc_carrier_seal(struct sc_carrier *carrier, struct sc_backend *source, uint64_t until_ms);
bool sc_carrier_finish(struct sc_carrier *carrier, struct sc_backend *target,
                       const struct sc_msg_seal_reply *sealed);
bool sc_carrier_release(struct sc_carrier *carrier, struct sc_backend *source);
bool sc_carrier_drop(struct sc_carrier *carrier, struct sc_backend *target);

/* ---- Copying ---- */

/* The target says from where to go on. */
void sc_carrier_begin(struct sc_carrier *carrier, const struct sc_msg_import_reply *imported);

/* The source is ready. False: its log is not what the cursor belongs to: the copy starts over. */
bool sc_carrier_exported(struct sc_carrier *carrier, const struct sc_msg_export_reply *exported);

/* Forgets what is on its way, and errands with it: it is read again from behind what the target is
 * known to have, after a while. */
void sc_carrier_rewind(struct sc_carrier *carrier, uint64_t delay_ms);

/* Nothing is known any more of how much is left. */
void sc_carrier_forget_gap(struct sc_carrier *carrier);

/* The log that is left is to be looked at afresh: it may get less. */
void sc_carrier_watch_gap(struct sc_carrier *carrier);

/* Whether little of the log is left, or it does not get less. */
bool sc_carrier_is_close(const struct sc_carrier *carrier);

/* The next read is of keys there were when it began, not of what was logged since. */
static inline bool sc_carrier_is_in_bulk(const struct sc_carrier *carrier)
{
    return carrier->gap == SC_MSG_GAP_UNKNOWN;
}

/* Whether the target has been sent little since it last synced what it has. */
bool sc_carrier_is_synced(const struct sc_carrier *carrier);

/* Has it synced: that need not be done while requests wait. */
void sc_carrier_sync(struct sc_carrier *carrier, struct sc_backend *target);
void sc_carrier_take_sync(struct sc_carrier *carrier);

/* The source is sealed: what is there now is read to its end. */
void sc_carrier_begin_rest(struct sc_carrier *carrier);

/* Writes the frame that waits, if it can be. */
void sc_carrier_write(struct sc_carrier *carrier, struct sc_backend *target);

/* Whether the next frame could be read now. */
bool sc_carrier_can_read(const struct sc_carrier *carrier);
void sc_carrier_read(struct sc_carrier *carrier, struct sc_backend *source);

/* True when nothing is being read, is being written or waits to be. */
bool sc_carrier_is_idle(const struct sc_carrier *carrier);

/* The answers. sc_carrier_take_read stores how many bytes the frame has; false: it makes no sense.
 * `rest`: the source is sealed. */
bool sc_carrier_take_read(struct sc_carrier *carrier, struct sc_msg_reply *reply, bool rest,
                          struct sc_sp_hub *hub, uint64_t *bytes);
void sc_carrier_take_write(struct sc_carrier *carrier);

#endif
