/*
 * Upkeep: what a store needs done beside the traffic. On the tick, a few slots at a time, expired
 * keys are swept from the keydir; on a thread of its own, sealed data files get their hint files
 * and are merged, and what was merged away is removed.
 *
 * A merge takes turns: it begins, and goes on, only while it is allowed to, so that the shards of a
 * fleet need not merge all at once. It keeps to a rate of bytes read and written; when more
 * is dead than alive on the disk the rate rises, since merging must keep up with writing. After a
 * failure it is tried again later, after a second at first and then at ever longer intervals.
 *
 * When a store takes nearly as much space as it should at most (shard/pressure.h), its merges do
 * not wait for their turn; when it takes more, they keep to no rate, and commits are held back as
 * long as a merge goes on or is about to (shard/committer.h). A pause, which an operator asks for,
 * goes before all that: then nothing is merged, nobody waits, and space may grow without bound.
 * Likewise while merges are held since slots move, and until one that failed is tried again.
 */
#ifndef SC_SHARD_UPKEEP_H
#define SC_SHARD_UPKEEP_H

#include "common/sp.h"
#include "shard/bitcask.h"
#include "shard/committer.h"
#include "shard/merge.h"

struct sc_upkeep;

#define SC_UPKEEP_RATE_DEFAULT (UINT64_C(32) << 20)

struct sc_upkeep_options {
    struct sc_merge_options merge;
    uint64_t merge_bytes_per_second; /* 0: no limit */
};
#define SC_UPKEEP_OPTIONS_DEFAULT                                                                \
    {                                                                                            \
        {SC_MERGE_DEAD_PERCENT_DEFAULT, SC_MERGE_DEAD_BYTES_MIN_DEFAULT}, SC_UPKEEP_RATE_DEFAULT \
    }

/* Starts the thread. Borrows hub, store and committer until stop. Merges are allowed at first. Lock
 * not held. */
enum sc_status sc_upkeep_start(struct sc_sp_hub *hub, struct sc_bitcask *store,
                               struct sc_committer *committer,
                               const struct sc_upkeep_options *options, struct sc_upkeep **out,
                               char *why);

/* Ends the thread; a merge that is under way is given up. Lock not held. NULL is allowed. */
void sc_upkeep_stop(struct sc_upkeep *upkeep);

/* ---- Lock held from here on ---- */

/* From the hub's tick: sweeps a little, wakes the thread if there is work. */
void sc_upkeep_tick(struct sc_upkeep *upkeep);

/* Takes effect at once, on a merge under way too. */
void sc_upkeep_configure(struct sc_upkeep *upkeep, const struct sc_upkeep_options *options);

/* Gives the merge its turn, or takes it away: one that is under way then pauses. */
void sc_upkeep_merge_allow(struct sc_upkeep *upkeep, bool allowed);

/* Pauses all merging, or lets it go on in its turn. */
void sc_upkeep_merge_pause(struct sc_upkeep *upkeep, bool paused);

/* Asks that everything with dead bytes be merged, the active file included. It waits its turn. */
void sc_upkeep_compact(struct sc_upkeep *upkeep);

enum sc_upkeep_merge_state {
    SC_UPKEEP_IDLE, /* there is nothing to merge */
    SC_UPKEEP_WAITING, /* there is, but it is not its turn, or it failed and is tried later */
    SC_UPKEEP_MERGING,
    SC_UPKEEP_PAUSED, /* a merge is under way, but not allowed to go on */
};

struct sc_upkeep_figures {
    enum sc_upkeep_merge_state state;
    bool urgent; /* more is dead than alive, and it is much */
    uint64_t disk_bytes, disk_bound; /* see struct sc_pressure_figures */
    uint64_t stalled_us; /* that commits were held back in all */
    struct sc_merge_figures merge;
};
void sc_upkeep_figures(const struct sc_upkeep *upkeep, struct sc_upkeep_figures *figures);

#endif
