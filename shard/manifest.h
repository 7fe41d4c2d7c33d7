/*
 * Manifest: what a store is, which slots it keeps, and which data files are part of it.
 *
 * The file MANIFEST holds the same copy twice, one behind the other, so that no single damaged
 * place loses it. It is replaced as a whole (temporary file, fsync, rename, fsync of the
 * directory).
 *
 *   offset size   a copy
 *        0    8   "SCASKMAN"
 *        8    4   format version, 1
 *       12    4   size of the body behind this head
 *       16    8   XXH3_64bits of the body, seeded with the size
 *       24        body:
 *        0   16     cluster id; zeros before adoption
 *       16    4     shard id; 0 before adoption
 *       20    4     1 when adopted, else 0
 *       24    8     highest term seen
 *       32    8     epoch of the last grant
 *       40    8     number of the next data file
 *       48    4     count of files
 *       52    4     count of voids
 *       56    4     count of slot ranges
 *       60    4     count of discarded files
 *       64   32     for each file: number 8, salt 8, settled size 8 (0: not settled),
 *                   clean version 8
 *            24     for each void: file number 8, offset 8, size 8
 *            32     for each range of slots: first 2, last 2, state 1 (0 none, 1 owned,
 *                   2 importing, 3 fenced), 0 3, epoch 8, fence file number 8, fence offset 8
 *             8     for each discarded file: its number
 *
 * Files are in the order of their numbers. A file is listed before a record in it may be
 * acknowledged; a data file that is not listed is never read. A settled file is sealed, synced, and
 * of exactly that size. A file that a merge wrote has a clean version: no deletion with a version
 * up to that one hides anything in this file. A discarded file is a data file of ours that is to be
 * removed when it is met: the unfinished output of a merge, or what a merge has replaced. A void is
 * a stretch of a file that was found damaged behind everything acknowledged, the trace of a crash:
 * it is passed over in silence once it is listed here. Slots in no range have state none, epoch 0
 * and no fence. A fence: every record of the slot at or before it (file number, then offset) is
 * dead; {0, 0}: none.
 *
 * Threads: all functions but create, load and free lock the manifest; any thread may call them.
 */
#ifndef SC_SHARD_MANIFEST_H
#define SC_SHARD_MANIFEST_H

#include "common/slot.h"
#include "common/status.h"
#include "shard/files.h"

struct sc_manifest;

struct sc_manifest_identity {
    uint8_t cluster[16];
    uint32_t shard_id;
    bool adopted;
    uint64_t term;
    uint64_t epoch;
};

struct sc_manifest_file {
    uint64_t number;
    uint64_t salt;
    uint64_t settled_size; /* 0: not settled */
    uint64_t clean; /* no deletion up to this version hides anything in it; 0: unknown */
};

struct sc_manifest_void {
    uint64_t file;
    uint64_t offset;
    uint64_t size;
};

enum sc_manifest_slot_state {
    SC_MANIFEST_NONE,
    SC_MANIFEST_OWNED,
    SC_MANIFEST_IMPORTING,
    SC_MANIFEST_FENCED,
};

struct sc_manifest_slot {
    enum sc_manifest_slot_state state;
    uint64_t epoch;
    uint64_t fence_file;
    uint64_t fence_offset;
};

/* A new store: writes a manifest that lists nothing. `files` is kept. */
enum sc_status sc_manifest_create(const struct sc_files *files, struct sc_manifest **manifest,
                                  char *why);

/* Reads the manifest. SC_NOTFOUND: there is none; SC_CORRUPT: both copies are damaged, or it is of
 * a newer format. `damaged` tells that one copy was and the other served. */
enum sc_status sc_manifest_load(const struct sc_files *files, struct sc_manifest **manifest,
                                bool *damaged, char *why);

/* NULL is allowed. */
void sc_manifest_free(struct sc_manifest *manifest);

void sc_manifest_identity(struct sc_manifest *manifest, struct sc_manifest_identity *identity);

/* See sc_bitcask_adopt and sc_bitcask_grant: durable before they return, nothing changed on
 * failure. */
enum sc_status sc_manifest_adopt(struct sc_manifest *manifest, const uint8_t cluster[16],
                                 uint32_t shard_id, char *why);
enum sc_status sc_manifest_grant(struct sc_manifest *manifest, uint64_t term, uint64_t epoch,
                                 const uint8_t owned[SC_SLOT_COUNT / 8], char *why);

void sc_manifest_slot(struct sc_manifest *manifest, uint32_t slot, struct sc_manifest_slot *state);

/* Whether any slot has a fence. */
bool sc_manifest_has_fences(struct sc_manifest *manifest);

/* How many files are listed, and the one at an index. */
size_t sc_manifest_files(struct sc_manifest *manifest);
struct sc_manifest_file sc_manifest_file(struct sc_manifest *manifest, size_t index);
/* The file with this number; false when it is not listed. */
bool sc_manifest_find_file(struct sc_manifest *manifest, uint64_t number,
                           struct sc_manifest_file *file);

/* The voids of a file in the order of their offsets, and how many there are. The caller frees the
 * array. */
struct sc_manifest_void *sc_manifest_voids(struct sc_manifest *manifest, uint64_t number,
                                           size_t *count);

/* A number for a new file, never given out before. */
uint64_t sc_manifest_next_number(struct sc_manifest *manifest);

/* Lists a new file, durably; the file itself must be durable already. SC_IO: it is not listed;
 * SC_UNKNOWN: it may be, and must stay. */
enum sc_status sc_manifest_add_file(struct sc_manifest *manifest, uint64_t number, uint64_t salt,
                                    char *why);

/* Gives out a number for a file that a merge is going to write, and lists it as discarded, durably:
 * until the merge is over it is rubbish. SC_IO. */
enum sc_status sc_manifest_reserve(struct sc_manifest *manifest, uint64_t *number, char *why);

/* The one step that a merge takes effect by: `outs`, settled, come to the files and go from the
 * discarded, `ins` the other way round. SC_IO: nothing has changed. SC_UNKNOWN: only the last sync
 * failed: it counts, but after a crash either may be there, so `ins` must not be removed. */
enum sc_status sc_manifest_swap(struct sc_manifest *manifest, const struct sc_manifest_file *outs,
                                size_t out_count, const uint64_t *ins, size_t in_count, char *why);

bool sc_manifest_is_discarded(struct sc_manifest *manifest, uint64_t number);

/* The file is gone, or all of them are: need not be listed any more; written with the next change.
 */
void sc_manifest_forget_discarded(struct sc_manifest *manifest, uint64_t number);
void sc_manifest_forget_all_discarded(struct sc_manifest *manifest);

/* Lists stretches to pass over, durably. */
enum sc_status sc_manifest_add_voids(struct sc_manifest *manifest,
                                     const struct sc_manifest_void *voids, size_t count, char *why);

/* The same in memory only, for who opens the store for reading. */
void sc_manifest_note_voids(struct sc_manifest *manifest, const struct sc_manifest_void *voids,
                            size_t count);

/* Reads the file again and tells which of its copies are damaged: 0, 1 or 2. SC_IO. */
enum sc_status sc_manifest_check(const struct sc_manifest *manifest, unsigned *damaged, char *why);

/* Notes that a file is sealed and synced at this size; written with the next change or flush. */
void sc_manifest_settle(struct sc_manifest *manifest, uint64_t number, uint64_t size);

/* Writes what was only noted, if there is anything. */
enum sc_status sc_manifest_flush(struct sc_manifest *manifest, char *why);

#endif
