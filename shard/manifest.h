/*
 * Manifest: what a store is, which slots it keeps, and which data files are part of it.
 *
 * The file MANIFEST holds the same copy twice, one behind the other, so that no single damaged
 * place loses it. It is replaced as a whole (temporary file, fsync, rename, fsync of the
 * directory).
 *
 *   offset size   a copy
 *        0    8   "SCASKMAN"
 *        8    4   format version, 2
 *       12    4   size of the body behind this head
 *       16    8   XXH3_64bits of the body, seeded with size + 2^32 x format version
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
 *       64    8     no version up to this is given out
 *       72    8     move by which slots arrive
 *       80    1     0 no slots arrive, 1 they do, 2 all of them is there
 *       81    1     1 slots are being copied to another shard, else 0
 *       82    2     size of the mark of what arrives
 *       84    2     size of the mark of what leaves
 *       86    2     0
 *       88    4     size of the cursor of what arrives
 *       92    4     0
 *       96    8     move by which slots leave
 *      104   32     for each file: number 8, salt 8, settled size 8 (0: not settled),
 *                   clean version 8
 *            24     for each void: file number 8, offset 8, size 8
 *            32     for each range of slots: first 2, last 2, state 1 (0 none, 1 owned,
 *                   2 importing, 3 fenced, 4 leaving), 0 3, epoch 8, fence file number 8, fence
 *                   offset 8
 *             8     for each discarded file: its number
 *                   the mark of what arrives, the mark of what leaves, the cursor of what arrives
 *
 * Format version 1 had the seed without the version, the lists from offset 64, no state leaving and
 * nothing behind the discarded files. It is read, and never written.
 *
 * Files are in the order of their numbers. A file is listed before a record in it may be
 * acknowledged; a data file that is not listed is never read. A settled file is sealed, synced, and
 * of exactly that size. A file that a merge wrote has a clean version: no deletion with a version
 * up to that one hides anything in this file. A discarded file is a data file of ours that is to be
 * removed when it is met: the unfinished output of a merge, or what a merge has replaced. A void is
 * a stretch of a file that was found damaged behind everything acknowledged, the trace of a crash:
 * it is passed over in silence once it is listed here.
 *
 * Slots in no range have state none, epoch 0 and no fence. A fence: every record of the slot at or
 * before it (file number, then offset) is dead; {0, 0}: none. Slots that are owned or leaving are
 * the store's, and may be served when they are granted. Importing ones are arriving from another
 * shard, which owns them until they are granted here. A fenced one was another's at last, and all
 * of its records are dead. At a time slots arrive by one move at most, and leave by one at most.
 *
 * Threads: all functions but create, load and free lock the manifest; any thread may call them.
 */
#ifndef SC_SHARD_MANIFEST_H
#define SC_SHARD_MANIFEST_H

#include "common/buf.h"
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
    SC_MANIFEST_LEAVING, /* owned, and being copied to another shard */
};

/* A place in the log. */
struct sc_manifest_fence {
    uint64_t file; /* 0: there is none */
    uint64_t offset;
};

struct sc_manifest_slot {
    enum sc_manifest_slot_state state;
    uint64_t epoch;
    struct sc_manifest_fence fence;
};

#define SC_MANIFEST_MARK_MAX 64u
#define SC_MANIFEST_CURSOR_MAX (UINT32_C(1) << 17)

/* A new store: writes a manifest that lists nothing. `files` is kept. */
enum sc_status sc_manifest_create(const struct sc_files *files, struct sc_manifest **manifest,
                                  char *why);

/* Reads the manifest. SC_NOTFOUND: there is none; SC_CORRUPT: both copies are damaged, or it is of
 * a newer format. `damaged` tells that one copy was and the other served. */
enum sc_status sc_manifest_load(const struct sc_files *files, struct sc_manifest **manifest,
                                bool *damaged, char *why);

/* The same for repairs: tells too whether it is of a newer format; and from the copy that is
 * written before it. */
enum sc_status sc_manifest_load_told(const struct sc_files *files, struct sc_manifest **manifest,
                                     bool *damaged, bool *newer, char *why);
enum sc_status sc_manifest_load_copy(const struct sc_files *files, struct sc_manifest **manifest,
                                     char *why);

/* NULL is allowed. */
void sc_manifest_free(struct sc_manifest *manifest);

void sc_manifest_identity(struct sc_manifest *manifest, struct sc_manifest_identity *identity);

/* ---- Slots. What changes them is durable before it returns, and has changed nothing when it
 * fails. Sets of slots have a bit for each: bit s%8 of byte s/8. ---- */

/* See sc_bitcask_adopt. */
enum sc_status sc_manifest_adopt(struct sc_manifest *manifest, const uint8_t cluster[16],
                                 uint32_t shard_id, char *why);

/* See sc_bitcask_grant. Slots that are lost get the fence. SC_DENIED: a lower term than was seen
 * before; or a slot that is not the store's, nor has arrived whole. */
enum sc_status sc_manifest_grant(struct sc_manifest *manifest, uint64_t term, uint64_t epoch,
                                 const uint8_t owned[SC_SLOT_COUNT / 8],
                                 struct sc_manifest_fence fence, char *why);

/* Whether that would be SC_DENIED. */
enum sc_status sc_manifest_check_grant(struct sc_manifest *manifest, uint64_t term,
                                       const uint8_t owned[SC_SLOT_COUNT / 8], char *why);

/* Whether a grant of these would take slots away. */
bool sc_manifest_would_lose(struct sc_manifest *manifest, const uint8_t owned[SC_SLOT_COUNT / 8]);

void sc_manifest_slot(struct sc_manifest *manifest, uint32_t slot, struct sc_manifest_slot *state);

/* The slots that have this state. */
void sc_manifest_slots(struct sc_manifest *manifest, enum sc_manifest_slot_state state,
                       uint8_t slots[SC_SLOT_COUNT / 8]);

/* For each slot the place at or before which its records are dead: its fence, or the end of all
 * files for a slot that is fenced. False: no slot has one, and nothing was stored. */
bool sc_manifest_fences(struct sc_manifest *manifest,
                        struct sc_manifest_fence fences[SC_SLOT_COUNT]);

static inline bool sc_manifest_is_dead(struct sc_manifest_fence fence, uint64_t file,
                                       uint64_t offset)
{
    return fence.file > file || (fence.file == file && fence.offset >= offset);
}

/* The versions that the store gives out are larger than this. */
uint64_t sc_manifest_floor(struct sc_manifest *manifest);

/* ---- Slots that arrive ---- */

/* The move by which slots arrive: false, there is none. `ready`: they are all there. Appends the
 * cursor, and the mark that it belongs to; either may be NULL. */
bool sc_manifest_import(struct sc_manifest *manifest, uint64_t *move, bool *ready,
                        struct sc_buf *cursor, struct sc_buf *mark);

/* Slots begin to arrive: with the fence, so that nothing is alive that was there. If they arrive by
 * this move already, nothing is changed. SC_DENIED: one of them is the store's; others arrive. */
enum sc_status sc_manifest_import_begin(struct sc_manifest *manifest, uint64_t move,
                                        const uint8_t slots[SC_SLOT_COUNT / 8],
                                        struct sc_manifest_fence fence, char *why);

/* All that belongs before the cursor is on disk. The slots are not ready then. */
enum sc_status sc_manifest_import_progress(struct sc_manifest *manifest, struct sc_slice cursor,
                                           struct sc_slice mark, char *why);

/* All of them is on disk, and the cursor is at the end. No version up to `version` will be given
 * out. */
enum sc_status sc_manifest_import_ready(struct sc_manifest *manifest, struct sc_slice cursor,
                                        struct sc_slice mark, uint64_t version, char *why);

/* They do not arrive after all: they are fenced. */
enum sc_status sc_manifest_import_drop(struct sc_manifest *manifest, struct sc_manifest_fence fence,
                                       char *why);

/* ---- Slots that leave ---- */

/* The move by which slots leave: false, there is none. Appends the mark, which may be NULL. */
bool sc_manifest_export(struct sc_manifest *manifest, uint64_t *move, struct sc_buf *mark);

/* These slots, and no others, leave. SC_DENIED: one of them is not the store's. */
enum sc_status sc_manifest_export_begin(struct sc_manifest *manifest, uint64_t move,
                                        const uint8_t slots[SC_SLOT_COUNT / 8],
                                        struct sc_slice mark, char *why);

/* None does. */
enum sc_status sc_manifest_export_end(struct sc_manifest *manifest, char *why);

/* ---- Files ---- */

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

/* Reads the file again and tells how many of its copies, and of those in the copy that
 * is written before it, are damaged. SC_IO. */
enum sc_status sc_manifest_check(const struct sc_manifest *manifest, unsigned *damaged, char *why);

/* Notes that a file is sealed and synced at this size; written with the next change or flush. */
void sc_manifest_settle(struct sc_manifest *manifest, uint64_t number, uint64_t size);

/* Writes it as it is in memory, whatever is in the file. SC_IO. */
enum sc_status sc_manifest_rewrite(struct sc_manifest *manifest, char *why);

/* A copy of all that the manifest says, for another directory, which is kept; it is not written
 * there yet, and will be without a MANIFEST.copy. */
enum sc_status sc_manifest_copy(struct sc_manifest *manifest, const struct sc_files *files,
                                struct sc_manifest **copy, char *why);

/* Writes a copy, but with these files instead, in any order, and nothing discarded. SC_IO. */
enum sc_status sc_manifest_save_files(struct sc_manifest *copy,
                                      const struct sc_manifest_file *files, size_t count,
                                      char *why);

/* Writes what was only noted, if there is anything. */
enum sc_status sc_manifest_flush(struct sc_manifest *manifest, char *why);

#endif
