/*
 * Copier: makes a backup of the store when the coordinator asks for one, on a thread of its own.
 *
 *   x.backup   [id, epoch, dir, link, rate, label]   begins; the backup is the directory shard-ID
 * in `dir` x.progress [id, go on]                    how far it is; false: it is to be given up, or
 * removed again if it is complete
 *
 * One at a time. It is given up when nobody asks for its progress for a while, or another is asked
 * for, which has to be asked for again then: whoever began it is gone. What came of the last one is
 * known until the next is begun.
 *
 * Guarded by the hub's lock, but for start and stop.
 */
#ifndef SC_SHARD_COPIER_H
#define SC_SHARD_COPIER_H

#include "common/msg.h"
#include "common/sp.h"
#include "shard/bitcask.h"

struct sc_copier;

/* Starts the thread. Borrows hub and store until stop. Lock not held. */
enum sc_status sc_copier_start(struct sc_sp_hub *hub, struct sc_bitcask *store,
                               struct sc_copier **out, char *why);

/* Gives up what is under way and ends the thread. Lock not held. NULL is allowed. */
void sc_copier_stop(struct sc_copier *copier);

/* The operations; each appends its reply. `epoch`: of the map that the shard has. */
void sc_copier_begin(struct sc_copier *copier, uint64_t epoch, const struct sc_msg_copy *request,
                     struct sc_buf *reply);
void sc_copier_progress(struct sc_copier *copier, const struct sc_msg_copy *request,
                        struct sc_buf *reply);

/* From the hub's tick. */
void sc_copier_tick(struct sc_copier *copier);

#endif
