/*
 * Choosing what to merge: see shard/merge.h for what can be reclaimed.
 *
 * A file is a candidate when a share of it can be reclaimed, so a merge of it copies at most the
 * rest: with 40 percent, 1.5 bytes for each byte gained, and 2.5 bytes on disk for each 1.5 live
 * ones before it happens. A file that nothing can be reclaimed of is never one, so nothing is
 * merged for ever.
 *
 * Deletions cannot be reclaimed while a file with few dead bytes blocks them. When deletions pile
 * up, the files that block them are candidates: the more deletions they hold up, the more of such
 * files may be rewritten for it. A file that was rewritten does not block what was there before.
 *
 * The best candidates come first, as many as fill one output.
 *
 * Needs the lock of the store.
 */
#ifndef SC_SHARD_MERGE_CHOOSE_H
#define SC_SHARD_MERGE_CHOOSE_H

#include "shard/merge.h"

#include <stddef.h>

struct sc_segment;

#define SC_MERGE_CHOOSE_MAX 64u

struct sc_merge_choice {
    struct sc_segment *inputs[SC_MERGE_CHOOSE_MAX];
    size_t count;
    uint64_t bytes; /* of all of them */
    uint64_t bound; /* deletions with a version below this hide nothing in other files */
};

/* Chooses. False: there is nothing that is worth it. `asked`: only files that are marked so, for
 * any gain at all. `few`: one file only, for when there is no room for more. */
bool sc_merge_choose(const struct sc_bitcask *store, const struct sc_merge_options *options,
                     bool asked, bool few, struct sc_merge_choice *choice);

#endif
