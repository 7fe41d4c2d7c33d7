/*
 * Horizon: a time that the store's clock had reached, in the file HORIZON: the latest at which a
 * key was found expired and removed from the keydir, or that of the versions of records that are
 * merged away. A store that is opened later takes its clock to have been at least so late: when the
 * system's clock is set back meanwhile, a key that was gone does not come back, and no version is
 * given out twice.
 *
 *   offset size
 *        0    8  "SCASKHOR"
 *        8    8  milliseconds since 1970
 *       16    8  XXH3_64bits (seed 0) of the 16 bytes before
 *
 * It is written with one pwrite and synced by merges only: exact after the death of the process,
 * perhaps older after that of the machine.
 *
 * A zeroed object is valid: nothing is known yet and the file is not open.
 */
#ifndef SC_SHARD_HORIZON_H
#define SC_SHARD_HORIZON_H

#include "shard/files.h"

struct sc_horizon {
    int fd; /* 0: not open */
    uint64_t ms; /* readable; as it was written */
};

/* The time in the file; 0 when there is none, or none that can be believed. */
uint64_t sc_horizon_load(const struct sc_files *files);

/* Writes a later time, creating the file if need be. A failure changes nothing, and is safe as long
 * as no clock is set back. */
void sc_horizon_advance(struct sc_horizon *horizon, const struct sc_files *files, uint64_t ms);

/* Brings what was written to the disk. A copy made with the lock of the store will do without it.
 */
void sc_horizon_sync(const struct sc_horizon *horizon);

void sc_horizon_close(struct sc_horizon *horizon);

#endif
