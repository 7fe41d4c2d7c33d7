/*
 * The inside of a merge: shared by the files that make up shard/merge.h, and by nobody else.
 *
 *   merge.c         what was asked for, beginning, ending
 *   merge_choose.c  which files (shard/merge_choose.h)
 *   merge_copy.c    reads the inputs and judges what is needed, damage that was seen to included
 *   merge_output.c  writes the outputs
 *   merge_commit.c  has them take the place of the inputs: in MANIFEST, then in the keydir
 *
 * All functions belong to the merge's thread and are called without the lock of the store, unless
 * they say otherwise.
 */
#ifndef SC_SHARD_MERGE_IMPL_H
#define SC_SHARD_MERGE_IMPL_H

#include "shard/bitcask_impl.h"
#include "shard/merge.h"
#include "shard/merge_choose.h"
#include "shard/record.h"

#define SC_MERGE_BUFFER_KEEP ((size_t)4 << 20) /* memory an emptied buffer keeps */

/* A record that was read and waits for judgement, or for being moved in the keydir. */
struct sc_merge_item {
    struct sc_record record; /* slices are set when the slice is complete */
    size_t bytes; /* where key and value are in the slice's buffer */
    uint64_t offset; /* of the record in its file */
    uint64_t size;
    uint64_t hash;
    bool needed;
};

struct sc_merge_slice {
    struct sc_merge_item items[SC_MERGE_SLICE];
    size_t count;
    struct sc_buf bytes;
};

/* A new file that is being written. */
struct sc_merge_output {
    struct sc_segment *segment;
    bool enlisted;
};

/* A record in an output that says that its value was lost. */
struct sc_merge_lost {
    uint64_t file;
    uint64_t offset, size;
    uint64_t version;
    struct sc_buf key;
};

struct sc_merge {
    struct sc_bitcask *store; /* kept */

    /* guarded by the lock of the store */
    struct sc_merge_options options;
    struct sc_merge_figures figures;
    bool pressed; /* any gain is worth it */
    bool few; /* there was no room for a larger merge */
    bool repair, accept_loss; /* see sc_merge_repair */
    char error[SC_WHY_SIZE];

    /* of the merge that runs; the thread's */
    const struct sc_merge_host *host;
    struct sc_merge_choice choice;
    uint64_t copied[SC_MERGE_CHOOSE_MAX]; /* live bytes copied from each input */
    uint64_t clean; /* the clock when it began: see struct sc_manifest_file */
    uint64_t deletions_dropped;
    struct sc_merge_slice slice;
    struct sc_merge_output *outputs;
    size_t output_count;
    struct sc_buf buffer; /* the end of the last output, not written yet */
    struct sc_manifest_fence *fences; /* of each slot; NULL: there are none */
    bool kept; /* MANIFEST may be the old one after a crash: the inputs must not be removed */
    struct sc_merge_lost *lost; /* what the outputs say that was lost, to be noted */
    size_t lost_count;
};

/* ---- The host ---- */

static inline void sc_merge_lock(const struct sc_merge *merge)
{
    merge->host->lock(merge->host->arg);
}

static inline void sc_merge_unlock(const struct sc_merge *merge)
{
    merge->host->unlock(merge->host->arg);
}

/* So much was read or written: SC_UNAVAILABLE when the merge is to stop. */
static inline enum sc_status sc_merge_proceed(const struct sc_merge *merge, uint64_t bytes,
                                              char *why)
{
    return merge->host->proceed(merge->host->arg, bytes) && !sc_bitcask_merges_held(merge->store)
               ? SC_OK
               : sc_fail(why, SC_UNAVAILABLE, "the merge was told to stop");
}

/* ---- Copying ---- */

/* Reads an input from its beginning to its end, and copies what is needed. SC_CORRUPT: it must
 * stay; SC_IO, SC_UNAVAILABLE. */
enum sc_status sc_merge_copy(struct sc_merge *merge, size_t input, char *why);

/* Hints to the processor that the slice's keys are going to be looked up. With the lock. */
void sc_merge_copy_prefetch(const struct sc_merge *merge);

/* ---- Outputs ---- */

/* Writes a record to the last output, or to a new one when that is full. */
enum sc_status sc_merge_output_put(struct sc_merge *merge, const struct sc_record *record,
                                   char *why);

/* Brings the last output, if there is one, to the disk, and its hint. */
enum sc_status sc_merge_output_finish(struct sc_merge *merge, char *why);

/* Bytes on disk of all outputs. */
uint64_t sc_merge_output_bytes(const struct sc_merge *merge);

/* The outputs are part of the store now: notes which values they say were lost. With the lock. */
void sc_merge_output_note_lost(struct sc_merge *merge);
void sc_merge_output_forget_lost(struct sc_merge *merge);

/* sc_files_fail for a data file. */
enum sc_status sc_merge_output_fail(const struct sc_merge *merge, const struct sc_segment *segment,
                                    const char *doing, char *why);

/* ---- Taking effect ---- */

/* All inputs are copied: the one durable step. Afterwards the outputs count. */
enum sc_status sc_merge_commit(struct sc_merge *merge, char *why);

/* Then points the keydir at them, in slices. */
void sc_merge_commit_move(struct sc_merge *merge);

#endif
