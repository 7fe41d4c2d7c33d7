/*
 * Durable mark: how far the newest data file is known to be complete, in the file DURABLE. Two
 * copies, at offsets 0 and SC_DURABLE_SECOND, are written in turns:
 *
 *   offset size
 *        0    8  "SCASKDUR"
 *        8    4  format version, 2
 *       12    4  0
 *       16    8  number of the data file synced last
 *       24    8  its size up to which it, and all files before it, are synced
 *       32    8  number of the data file acknowledged last
 *       40    8  its size up to which writes may have been acknowledged
 *       48   16  boot id of the kernel that ran (zeros: unknown)
 *       64    8  sequence: larger than that of the other copy when this was written
 *       72    8  XXH3_64bits (seed 0) of the 72 bytes before
 *
 * The good copy with the larger sequence counts. In format version 1 there is one copy, the
 * checksum takes the place of the sequence, which is 0, and nothing follows.
 *
 * It is written after each commit, and synced only now and then (when a store is opened or closed
 * or begins a file): a process that is killed leaves the exact mark, power that fails an older one.
 * It may lag, it never leads. With it a reader tells two kinds of damage apart: before the mark
 * something that was acknowledged was lost, which must be reported and never cut off; behind it
 * lies what a crash may leave half written.
 *
 * The acknowledged size counts only on the boot that wrote it: as long as the kernel lives, what
 * was written is in its cache, synced or not. That is as true of bytes that were stored into a
 * shared mapping as of those that a system call wrote, so the mark is stored, which costs a tenth.
 * A process can be killed between two stores, though, which is why there are two copies: one of
 * them is always whole. Where the file cannot be mapped, or a store fails, it is written by system
 * call from then on. It is mapped only once both copies are on disk, so that no store can need
 * space there.
 */
#ifndef SC_SHARD_DURABLE_H
#define SC_SHARD_DURABLE_H

#include "common/status.h"
#include "shard/files.h"

#include <stdbool.h>
#include <stdint.h>

#define SC_DURABLE_SECOND 128u /* where the second copy is */

struct sc_durable_mark {
    uint64_t file;
    uint64_t offset;
};

/* The mark that counts now, {0, 0} when there is none. `damaged`: the file is there but cannot be
 * believed. SC_IO: it could not be read, which is not the same: to go on without a mark might take
 * acknowledged records for the trace of a crash. */
enum sc_status sc_durable_load(const struct sc_files *files, struct sc_durable_mark *mark,
                               bool *damaged, char *why);

struct sc_durable {
    int fd;
    uint8_t boot_id[16];
    uint64_t sequence; /* of the newest copy */
    unsigned newest; /* which one that is: 0 or 1 */
    uint8_t *base; /* the file, mapped; or NULL */
    bool broken; /* is never mapped again */
};

/* Opens the file for writing, creating it. */
enum sc_status sc_durable_open(struct sc_durable *durable, const struct sc_files *files, char *why);
void sc_durable_close(struct sc_durable *durable); /* a zeroed object is fine */

/* Makes the mark written last survive a power failure; any thread. Needed for nothing: it only
 * keeps the mark that is found after one from being very old. */
void sc_durable_sync(const struct sc_durable *durable);

/* Writes a mark. False: it could not be; the old one stays, which is safe. */
bool sc_durable_write(struct sc_durable *durable, struct sc_durable_mark synced,
                      struct sc_durable_mark acknowledged);

#endif
