/*
 * Passes: when the scrub went through the store, and how far it is, in the file SCRUB, so that a
 * store which is restarted every day is read to its end too.
 *
 *   offset size
 *        0    8  "SCASKSCR"
 *        8    8  when the pass that is under way, or the last one, began: ms since 1970; 0: never
 *       16    8  when the last pass ended that went through; 0: never
 *       24    8  number of the last data file that was read; 0: no pass is under way
 *       32    8  XXH3_64bits (seed 0) of the 32 bytes before
 *
 * It is overwritten in place and never synced: a convenience.
 */
#ifndef SC_SHARD_PASSES_H
#define SC_SHARD_PASSES_H

#include "shard/files.h"

struct sc_passes {
    uint64_t began_ms;
    uint64_t ended_ms;
    uint64_t after;
};

/* Zeros when there is no such file, or none that can be believed. */
struct sc_passes sc_passes_load(const struct sc_files *files);

/* A failure changes nothing that matters. */
void sc_passes_save(const struct sc_passes *passes, const struct sc_files *files);

#endif
