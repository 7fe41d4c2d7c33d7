/*
 * Snapshots: those that clients have open, each known by an id, and the thread that reads their
 * pages, so that nobody else waits for the disk.
 *
 *   x.snapshot [id, epoch]  -> [0, keys]
 *   x.page     [id, cursor] -> [0, next cursor or nil, now, [[key, value, version, expiry or nil]
 *                                                            or [key, status, why] ...]]
 *   x.forget   [id]         -> [0]
 *
 * A snapshot costs: what changes meanwhile is remembered in memory, and the space of files that are
 * merged away is not given back. So there are only a few at a time, and one that nobody has read
 * from for a while is closed.
 *
 * Guarded by the hub's lock, but for start and stop.
 */
#ifndef SC_SHARD_SNAPSHOTS_H
#define SC_SHARD_SNAPSHOTS_H

#include "common/sp.h"
#include "shard/snapshot.h"

struct sc_snapshots;

#define SC_SNAPSHOTS_MAX 4u /* open at a time */
#define SC_SNAPSHOTS_MEMORY_DEFAULT (UINT64_C(256) << 20)
#define SC_SNAPSHOTS_IDLE_MS_DEFAULT 60000u

/* Starts the thread. Borrows hub and store until stop. Lock not held. */
enum sc_status sc_snapshots_start(struct sc_sp_hub *hub, struct sc_bitcask *store,
                                  struct sc_snapshots **out, char *why);

/* Closes all snapshots and ends the thread. Lock not held. NULL is allowed. */
void sc_snapshots_stop(struct sc_snapshots *snapshots);

/* ---- Lock held from here on ---- */

/* memory_max: bytes that one may take for what changes; 0: no limit. */
void sc_snapshots_configure(struct sc_snapshots *snapshots, uint64_t memory_max, uint64_t idle_ms);

/* Opens one of the slots in `owned`; stores how many keys it has. The reply must wait until
 * `position` is committed. SC_BUSY: too many are open. */
enum sc_status sc_snapshots_open(struct sc_snapshots *snapshots, uint64_t id, const uint8_t *owned,
                                 uint64_t *keys, sc_bitcask_position *position, char *why);

/* Reads a page and answers `origin`, at once when that fails, else from the thread. */
void sc_snapshots_page(struct sc_snapshots *snapshots, uint64_t id, struct sc_slice cursor,
                       const struct sc_sp_origin *origin);

/* Closes one, if it is open. */
void sc_snapshots_forget(struct sc_snapshots *snapshots, uint64_t id);

/* From the hub's tick: closes what nobody reads. */
void sc_snapshots_tick(struct sc_snapshots *snapshots);

struct sc_snapshots_figures {
    uint64_t count; /* open now */
    uint64_t memory; /* bytes they take */
};
struct sc_snapshots_figures sc_snapshots_figures(const struct sc_snapshots *snapshots);

#endif
