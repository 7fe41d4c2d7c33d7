/*
 * Rescue: keys whose newest record stands where nobody can read it any more, and of which no hint
 * tells. The keydir still knows them; after a restart nobody would, and an older value would be
 * taken for the newest. So the log gets a record for each that says that the value was lost
 * (shard/record.h): the key answers corrupt from then on, until it is written or deleted.
 *
 * What nothing points to, deletions above all, cannot be rescued.
 */
#ifndef SC_SHARD_RESCUE_H
#define SC_SHARD_RESCUE_H

#include "shard/care.h"

struct sc_rescue_range {
    uint64_t from, to;
};

/* Looks through the keydir for records that begin in these ranges of a file, a few thousand at a
 * time, with the lock. Stores how many were rescued. SC_BUSY: a slot is about to move; SC_IO: no
 * room on the disk, or the store takes no writes: some were not, try again later. Any thread,
 * without the lock. */
enum sc_status sc_rescue_run(struct sc_bitcask *store, const struct sc_care_host *host,
                             uint64_t file, const struct sc_rescue_range *ranges, size_t count,
                             uint64_t *rescued, char *why);

#endif
