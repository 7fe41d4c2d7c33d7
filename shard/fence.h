/*
 * Fences: places in the log at or before which all records of some slots are dead, so that a slot
 * can be given up without a tombstone for each key, and nothing comes back when it returns.
 *
 * A fence is a file number and an offset. Whatever is written later must lie behind it, and what
 * lies before it must be on disk: else, after a failure of the power, the log would end before the
 * fence, and new records would come to lie where nothing counts. Merges write files with larger
 * numbers than that of the active one; so when one is listed, the log goes on in a new file first.
 *
 * Merges are held while a fence is set: those that copy records around must have all fences in view
 * that there are.
 */
#ifndef SC_SHARD_FENCE_H
#define SC_SHARD_FENCE_H

#include "shard/manifest.h"

struct sc_bitcask;

/* What the steps of a move need of their surroundings: they are carried out by one thread, which
 * does not hold the lock of the store but for short slices. */
struct sc_move_host {
    void (*lock)(void *arg);
    void (*unlock)(void *arg);
    /* Brings everything that was appended before the call to the disk, without the lock. False: it
     * could not, or is to stop. */
    bool (*sync)(void *arg);
    /* Waits a moment for other threads, without the lock. False: it is to stop. */
    bool (*wait)(void *arg);
    void *arg;
};

/* For who has the store for himself, on one thread. */
struct sc_move_host sc_move_host_alone(struct sc_bitcask *store);

/* Holds merges and waits until none is under way. SC_UNAVAILABLE: it is to stop; merges are not
 * held then. */
enum sc_status sc_fence_hold(struct sc_bitcask *store, const struct sc_move_host *host, char *why);
void sc_fence_release(struct sc_bitcask *store, const struct sc_move_host *host);

/* Finds a place for a fence: the end of the log. Merges are held. {0, 0}: there is nothing that it
 * would have to fence. SC_IO. */
enum sc_status sc_fence_find(struct sc_bitcask *store, const struct sc_move_host *host,
                             struct sc_manifest_fence *fence, char *why);

#endif
