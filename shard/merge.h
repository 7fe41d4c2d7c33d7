/*
 * Merging: reclaims the space of records that nobody needs, beside traffic. Some sealed files, the
 * inputs, are read from beginning to end; what is still needed is written to new files, the
 * outputs; then the outputs take the place of the inputs.
 *
 *   choose -> copy: read, judge, write -> sync outputs, hints, log -> MANIFEST -> move keydir ->
 * unlink
 *             `--------- in slices of SC_MERGE_SLICE records --------'               in slices
 *
 * One durable step, the replacement of MANIFEST, makes it count: whatever happens before it leaves
 * the old files, whatever happens behind it the new ones. Files on the wrong side of it are listed
 * there as discarded, and removed by whoever opens the store next.
 *
 * What is needed:
 * - a put that the keydir points to: it is copied as it is, version and expiry included;
 * - a deletion (tombstone or clear) that may still hide an older record. It hides none in the
 *   inputs, which go away, so only other files matter. One of these does not count when nobody
 *   waits for space in it: a record that is hidden is dead, so a file without dead bytes has none.
 *   Nor does it when all its records are newer than the deletion, or when it is the output of a
 *   merge that began when the deletion was already there: it got live records only. What is left
 *   is a version for each file, and the smallest of them is the bound: older deletions go. A
 *   tombstone whose key is there again goes too, since the newer record hides whatever it hid;
 * - a put that has expired and was swept from the keydir hides older records just like a tombstone.
 *   It becomes one with the same version, so that no clock that is set back can bring it back.
 *
 * A record may only go when what has taken its place is on disk: before MANIFEST is replaced the
 * log is synced up to everything that a judgement was based on.
 *
 * An input with damage is merged only when the damage has been seen to: its bytes are in the
 * quarantine (shard/quarantine.h). Of a record whose value is damaged the outputs say that the
 * value was lost (shard/record.h), with its version and expiry, as long as it is needed: so no
 * older value comes back. What stood in a stretch without records is known by the hint, or not:
 * with a hint that tells of every record in it, deletions are taken from there, and puts as values
 * that were lost; without one the input stays, and so does everything in it.
 *
 * A record that a fence makes dead (shard/fence.h) is never copied: its copy would lie behind the
 * fence. While slots move, or a fence is set, merges are held: what is under way is given up.
 *
 * This relies on versions that grow. Slots that arrive from another shard bring records whose
 * versions are older than this store's clock, but nothing is merged before they are all here, and
 * whatever was here of these slots before lies before their fence: so there is no deletion among
 * them that could hide anything in an output of a merge from before, and its clean version holds.
 *
 * Threads: sc_merge_run is called by one thread at a time, without the lock of the store, which it
 * takes for short slices through its host. All other functions need the lock.
 */
#ifndef SC_SHARD_MERGE_H
#define SC_SHARD_MERGE_H

#include "common/status.h"

#include <stdbool.h>
#include <stdint.h>

struct sc_bitcask;
struct sc_merge;

#define SC_MERGE_SLICE 64u /* records judged or moved while the lock is held */

struct sc_merge_options {
    uint32_t dead_percent; /* a file is merged when so much of it can be reclaimed; 0: 40 */
    uint64_t dead_bytes_min; /* ... and of all such files together at least so much */
};
#define SC_MERGE_DEAD_PERCENT_DEFAULT 40u
#define SC_MERGE_DEAD_BYTES_MIN_DEFAULT (UINT64_C(4) << 20)

/* What a merge needs of its surroundings. */
struct sc_merge_host {
    void (*lock)(void *arg);
    void (*unlock)(void *arg);
    /* Brings everything that was appended before the call to the disk, without the lock. False: it
     * could not, or is to stop. */
    bool (*sync)(void *arg);
    /* So many bytes were read and written: the place to keep to a rate and to pause. Without the
     * lock. False: stop. */
    bool (*proceed)(void *arg, uint64_t bytes);
    void *arg;
};

struct sc_merge *sc_merge_alloc(struct sc_bitcask *store);
void sc_merge_free(struct sc_merge *merge); /* NULL is allowed */

void sc_merge_configure(struct sc_merge *merge, const struct sc_merge_options *options);

/* Whether any gain is worth a merge, since the store takes too much space (shard/pressure.h). */
void sc_merge_press(struct sc_merge *merge, bool pressed);

/* Asks that everything that has dead bytes now be merged, the active file included. */
void sc_merge_ask(struct sc_merge *merge);

/* From now on only files with damage are merged, whatever the gain, and before one is replaced it
 * gets another name in the quarantine, which it keeps. `accept_loss`: also files of which nobody
 * knows what stood in a stretch: what that was is lost then. */
void sc_merge_repair(struct sc_merge *merge, bool accept_loss);

/* Whether sc_merge_run would find something to do. */
bool sc_merge_wanted(const struct sc_merge *merge);

/* Merges once: one set of files. SC_OK; SC_NOTFOUND: there is nothing to merge; SC_CORRUPT: a file
 * is damaged and was left out, go on with the others; SC_IO: nothing has changed, try again later;
 * SC_UNAVAILABLE: it was told to stop, and nothing has changed. */
enum sc_status sc_merge_run(struct sc_merge *merge, const struct sc_merge_host *host, char *why);

struct sc_merge_figures {
    bool running;
    bool asked; /* what was asked for is not done yet */
    uint64_t bytes, bytes_done; /* to read, and read, by the merge that runs */
    uint64_t files; /* that it reads */
    uint64_t output_bytes; /* that it has on disk and the store does not count yet */
    uint64_t merges; /* done since open */
    uint64_t failures;
    uint64_t read_bytes, written_bytes, reclaimed_bytes; /* by all that were done */
    uint64_t deletions_dropped;
    const char *error; /* of the last one that failed; "" when the last one did not */
};
void sc_merge_figures(const struct sc_merge *merge, struct sc_merge_figures *figures);

#endif
