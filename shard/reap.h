/*
 * Reaping: the end of data files that a merge has replaced. They are no part of the store any more,
 * but snapshots and backups may still be reading them: as long as a pin is set that was set before
 * a file was doomed, or a fetch reads it, it stays open, in the store's table, and in the
 * directory. Then it is taken out of the table, removed, and closed.
 *
 * The manifest lists it as discarded until it is gone, so that after a crash the next opening
 * removes it.
 *
 * All functions but sc_reap_remove need the lock of the store.
 */
#ifndef SC_SHARD_REAP_H
#define SC_SHARD_REAP_H

#include "shard/segment.h"

struct sc_bitcask;

struct sc_reap_pin {
    struct sc_reap_pin *next; /* the store's list */
    uint64_t era;
};

/* From now on no segment in the store's table is closed or removed, until the pin, which is kept,
 * is released. */
void sc_reap_pin(struct sc_bitcask *store, struct sc_reap_pin *pin);
void sc_reap_unpin(struct sc_bitcask *store, struct sc_reap_pin *pin);

/* The segment has been retired, and neither keydir nor writer will use it again. `keep`: its file
 * must stay, since after a crash the manifest may still list it. */
void sc_reap_doom(struct sc_bitcask *store, struct sc_segment *segment, bool keep);

/* Whether sc_reap_take would take anything. */
bool sc_reap_wanted(const struct sc_bitcask *store);

/* Segments that were taken out of the store's table, to be removed. */
#define SC_REAP_MAX 64u
struct sc_reap_list {
    struct sc_segment *segments[SC_REAP_MAX];
    size_t count;
};

/* Takes doomed segments that nobody needs, as many as the list has room for. */
void sc_reap_take(struct sc_bitcask *store, struct sc_reap_list *list);

/* Removes the files of these segments, hints included, closes them, and empties the list. What
 * cannot be removed is logged, and left to the next opening. Without the lock. */
void sc_reap_remove(const struct sc_bitcask *store, struct sc_reap_list *list);

#endif
