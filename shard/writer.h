/*
 * Writer: the end of the log. It takes records into a write buffer, brings them to the data files
 * by group commit, and starts a new file when one is full.
 *
 *   append -> [ pending buffer ] --begin--> [ commit's buffer ] --run--> files --end--> committed
 *
 * Positions count the bytes of all records that this process has appended, from 1. The buffers hold
 * the log without a gap: the commit's from its start, the pending one from where that ends, so a
 * record that is not in its file yet is found in memory by its position. Pieces tell which part of
 * a buffer belongs at which place of which file: one piece, unless a new file was begun in between.
 *
 * A commit writes and syncs file after file in the order of the log. It syncs when a write that it
 * carries demands it, or when it was asked to; then everything written before is synced too. So
 * after a commit all that was written meets what was demanded of it, and one position, `committed`,
 * is enough to tell what may be acknowledged.
 *
 * Small commits that sync write zeros ahead of the records now and then. The next ones then
 * overwrite what is on disk already, and their syncs change neither the size of the file nor its
 * extents: for a journaling filesystem that is a much cheaper sync. What is behind the last record
 * counts for nothing, and goes when the file is sealed (before the mark moves on to the next one),
 * closed or recovered.
 *
 * What takes long and need not be done by who writes is left to the help (shard/ahead.h), if there
 * is any: to make the next file when the active one is half full, and to give back the space that
 * was allocated behind a full one. Where the help is late, or there is none, it is done on the way.
 *
 * Single-threaded but for sc_writer_run and sc_writer_help_run, which work on the commit and on the
 * help alone: buffers, descriptors and the manifest, which has a lock of its own.
 */
#ifndef SC_SHARD_WRITER_H
#define SC_SHARD_WRITER_H

#include "shard/durable.h"
#include "shard/keydir.h"
#include "shard/manifest.h"
#include "shard/record.h"
#include "shard/segment.h"

/* A part of a buffer and the place in a file it goes to. */
struct sc_writer_piece {
    struct sc_segment *segment;
    int fd;
    uint64_t offset;
    size_t size;
    uint64_t seal_size; /* give back the space behind this; 0: do not */
    bool cut; /* there are zeros: that must succeed */
    uint64_t zeros_end; /* before the sync, write zeros behind it up to here; 0: no */
};

struct sc_writer_pieces {
    struct sc_writer_piece *items;
    size_t count, capacity;
};

struct sc_bitcask_commit {
    const struct sc_files *files; /* kept */
    struct sc_manifest *manifest; /* kept */
    struct sc_durable *durable; /* kept; that of the writer */
    bool under_way;
    struct sc_buf buffer;
    uint64_t start, end; /* positions */
    struct sc_writer_pieces pieces;
    bool sync;
    struct sc_writer_pieces unsynced; /* written by earlier commits, to be synced with this one */
    struct sc_durable_mark synced, written; /* once this commit has succeeded */

    /* results of run */
    enum sc_status status;
    char why[SC_WHY_SIZE];
    bool mark_failed;
};

/* What the writer needs done, at another time and by another thread than a write would. */
struct sc_bitcask_help {
    const struct sc_files *files; /* kept */
    struct sc_manifest *manifest; /* kept */
    const struct sc_durable *durable; /* kept */
    bool under_way;
    bool make; /* the next file */
    struct sc_segment_owner owner;
    struct sc_segment *full; /* give back the space behind it; NULL: none. It has a reader */

    /* results of run */
    struct sc_segment *made; /* NULL: there is none */
    char why[SC_WHY_SIZE]; /* if so, why */
};

/* Readable: active, next, committed, appended, failed, commits, syncs, bytes_written. */
struct sc_writer {
    const struct sc_files *files; /* kept */
    struct sc_manifest *manifest; /* kept */
    struct sc_durable durable;
    uint64_t file_size_max;
    uint32_t zeros_ahead; /* bytes; 0: none */
    bool sync_always; /* every write demands a sync unless it says otherwise */
    /* Enters a new file into the store's table and gives it its index; false: the table is full.
     * NULL only asks whether it is. */
    bool (*enlist)(void *arg, struct sc_segment *segment);
    void *enlist_arg;

    struct sc_segment *active; /* takes records; NULL: none yet */
    struct sc_segment *next; /* empty, made ahead; or NULL */
    struct sc_buf buffer; /* pending records */
    uint64_t start; /* position of its first byte */
    struct sc_writer_pieces pieces;
    uint64_t appended;
    uint64_t committed;
    uint64_t demand; /* the highest position that demands a sync */
    struct sc_writer_pieces unsynced;
    struct sc_durable_mark synced, written;
    struct sc_bitcask_commit commit;
    struct sc_bitcask_help help;
    bool helped; /* somebody gives help: else commits give back space themselves */
    struct sc_writer_pieces full; /* files with space behind them, for the help */
    uint64_t help_after_ms; /* not before, since it failed; monotonic */
    bool mark_warned, help_warned;
    char failed[SC_WHY_SIZE]; /* "" or why nothing can be written any more */
    uint64_t commits, syncs, bytes_written;
};

/* Starts with no file. The store sets what else it needs: active, next, the marks. */
void sc_writer_init(struct sc_writer *writer, const struct sc_files *files,
                    struct sc_manifest *manifest);
void sc_writer_fini(struct sc_writer *writer);

/* Makes room on disk for `size` bytes of records to be appended one after the other, in a new file
 * if need be. `small`: deletions, which may use the reserve. SC_IO: there is none, or the store has
 * failed; nothing has changed then that matters. */
enum sc_status sc_writer_room(struct sc_writer *writer, uint64_t size, bool small, char *why);

/* Appends a record for which room was made; returns where it is. `sync`: as the caller of the store
 * asked, NULL: as the store is set. */
struct sc_location sc_writer_append(struct sc_writer *writer, const struct sc_record *record,
                                    const bool *sync);

/* Whether records wait for the next commit. */
static inline bool sc_writer_has_pending(const struct sc_writer *writer)
{
    return writer->appended > writer->start;
}

/* The position at which a record of this segment is committed; 0: it was before we opened it. */
static inline uint64_t sc_writer_position(const struct sc_segment *segment, uint64_t offset,
                                          uint64_t size)
{
    return offset < segment->log_offset
               ? 0
               : segment->log_position + (offset - segment->log_offset) + size;
}

/* The bytes of a record that ends at `position` when they are still in memory, else NULL: then they
 * are in the file. Valid until the next append, commit_begin or commit_end. */
const uint8_t *sc_writer_find(const struct sc_writer *writer, uint64_t position, uint64_t size);

/* Who new files belong to. */
struct sc_segment_owner sc_writer_owner(struct sc_manifest *manifest);

/* Makes an empty data file that may become the next one. Any thread. */
enum sc_status sc_writer_make(const struct sc_files *files, struct sc_manifest *manifest,
                              struct sc_segment **segment, char *why);

/* Seals the active file, which there must be, before it is full, and goes on with the next one; if
 * there is none, `*spare`, made since the active one was, becomes it and is set to NULL. False:
 * there is neither, or the store has as many files as it can have. */
bool sc_writer_seal(struct sc_writer *writer, struct sc_segment **spare);

/* Seals the active file, if there is one, and goes on with `*spare`, made just now, which becomes
 * the active one and is set to NULL; a next one that was made before stays empty. False: the store
 * has as many files as it can have, or has come to use younger ones meanwhile. */
bool sc_writer_raise(struct sc_writer *writer, struct sc_segment **spare);

/* Help: begin and end with the owner's lock, run without it on any thread, beside commits. NULL:
 * nothing is needed. Who has begun once goes on asking, now and then. */
struct sc_bitcask_help *sc_writer_help_begin(struct sc_writer *writer);
void sc_writer_help_run(struct sc_bitcask_help *help);
void sc_writer_help_end(struct sc_writer *writer);

/* Gives back all space that is left for the help to give back. */
void sc_writer_trim(struct sc_writer *writer);

/* Whether the segment is sealed and nothing of it remains to be written. */
bool sc_writer_is_done(const struct sc_writer *writer, const struct sc_segment *segment);

/* Never syncs a segment again, which is going to be closed. False: a commit that is under way still
 * uses it; close it later. */
bool sc_writer_forget(struct sc_writer *writer, const struct sc_segment *segment);

/* Whether a file that ends at `to` has nothing from `from` on but zeros that may have been written
 * ahead. Not for a descriptor with O_DIRECT: false then. */
bool sc_writer_is_ahead(int fd, uint64_t from, uint64_t to);

bool sc_writer_wanted(const struct sc_writer *writer);
bool sc_writer_needs_sync(const struct sc_writer *writer);
struct sc_bitcask_commit *sc_writer_begin(struct sc_writer *writer, bool sync);
void sc_writer_run(struct sc_bitcask_commit *commit);
enum sc_status sc_writer_end(struct sc_writer *writer);

#endif
