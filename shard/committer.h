/*
 * Committer: decides when and where group commits of the store run.
 *
 * A commit that is only a write(2) into the page cache runs at once, on the thread that asks:
 * waking another thread would cost more than the write. A commit that must sync runs on the
 * committer's own thread; meanwhile further writes gather in the store and make up the next commit,
 * so that one fdatasync serves all that arrived during the last one. With a sync interval, that
 * thread also syncs whatever was written since the last time.
 *
 * All functions need the hub's lock unless they say otherwise.
 */
#ifndef SC_SHARD_COMMITTER_H
#define SC_SHARD_COMMITTER_H

#include "common/sp.h"
#include "shard/bitcask.h"

struct sc_committer;

/* Starts the thread. on_committed(arg) is called with the lock held after each commit, successful
 * or not. Borrows hub and store until stop. Lock not held. */
enum sc_status sc_committer_start(struct sc_sp_hub *hub, struct sc_bitcask *store, int32_t sync_ms,
                                  void (*on_committed)(void *arg), void *arg,
                                  struct sc_committer **out, char *why);

/* Ends the thread, after the commit that it is at. Lock not held. NULL is allowed. */
void sc_committer_stop(struct sc_committer *committer);

/* Back pressure: what lies behind this position in the log is committed only after a wait, so that
 * who waits for it writes less: until the position is raised, at most SC_COMMITTER_HOLD_MS for each
 * commit. Nobody waits who has asked for a sync, and no read but of what is not committed yet.
 * UINT64_MAX: nothing is held back. */
#define SC_COMMITTER_HOLD_MS 250u
void sc_committer_hold(struct sc_committer *committer, sc_bitcask_position from);

/* How long commits were held back in all. */
uint64_t sc_committer_stalled_us(const struct sc_committer *committer);

/* Commits what waits for acknowledgement, now or on the thread. */
void sc_committer_want(struct sc_committer *committer);

/* From the hub's tick: hands on data files that are made ahead (shard/ahead.h), which commits do
 * too but not when there are none. */
void sc_committer_tick(struct sc_committer *committer);

/* Asks for a sync of everything written so far; returns a number that sc_committer_synced() will
 * have reached when that is done. */
uint64_t sc_committer_want_sync(struct sc_committer *committer);
uint64_t sc_committer_synced(const struct sc_committer *committer);

#endif
