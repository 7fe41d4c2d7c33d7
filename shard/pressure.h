/*
 * Pressure: how much disk space a store takes beside what it should, and what may still be written
 * before writers have to wait for merges.
 *
 *   bound = 2 x live + 2 data files          live: what the keydir points to, and deletions
 *   limit = bound - what a merge may still need for its outputs - hints to come - some slack
 *
 * Below the limit writers are free. Merges are urged on (pressed) from half a data file below it:
 * any gain is worth one, and none waits for its turn. Writes beyond the limit have to wait, if
 * there is a merge to wait for, which is the caller's business; what is on disk then grows no more,
 * so that it stays below the bound. When live data is deleted the bound falls at once, and a store
 * is far beyond it through no fault of its writers: then they may write what merges have reclaimed,
 * no more than was on disk at the least since.
 *
 * What merges cannot reclaim does not count: files that are damaged, and files that snapshots or
 * backups still need. Of hints a tenth of the files counts at most: those of very small records are
 * nearly as large as the records. Files smaller than SC_PRESSURE_FILE_MIN count as so large.
 */
#ifndef SC_SHARD_PRESSURE_H
#define SC_SHARD_PRESSURE_H

#include "shard/merge.h"

#define SC_PRESSURE_FILE_MIN (UINT64_C(4) << 20)

struct sc_bitcask;

/* All zero at first. */
struct sc_pressure {
    uint64_t lowest; /* on disk since it was beyond the limit; 0: it is not */
};

struct sc_pressure_figures {
    uint64_t disk; /* bytes that data files and hints take, space allocated ahead included */
    uint64_t bound;
    uint64_t room; /* bytes that may be written before writers have to wait; 0: they have to now */
    bool pressed; /* merges should not hold back */
};

/* Looks. `merge` tells of the merge that runs, if one does. With the store's lock; takes
 * microseconds. */
void sc_pressure_look(struct sc_pressure *pressure, const struct sc_bitcask *store,
                      const struct sc_merge_figures *merge, struct sc_pressure_figures *figures);

#endif
