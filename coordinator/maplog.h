/*
 * Map log: the cluster map on disk, in DIR/map.log. The one authority on who owns what.
 *
 * A file header, then entries: the whole map first, then each change (change.h) as it came; the
 * bytes are told in docs/FORMAT.md.
 *
 * Every append is fsynced before it returns: no step that depends on an entry may be taken before.
 * A write that fails, because the disk is full for one, is undone by cutting the file back, so that
 * the entry is certainly not there and the log goes on. When that fails, or an fsync, the outcome
 * is unknown, and the log takes nothing more: the next start finds out.
 *
 * A last entry that is cut off, or damaged with nothing whole behind it, was never confirmed and is
 * cut away on open; damage before a whole entry is refused, since ownership would be guesswork.
 *
 * When the log has grown it is replaced by one entry with the whole map: temporary file, fsync,
 * rename, fsync of the directory. Before the rename the old file counts, after it the new one; both
 * say the same until something is appended, which is not done before the directory is synced.
 *
 * One process per directory: DIR/LOCK is held with flock.
 *
 * Not thread-safe.
 */
#ifndef SC_COORDINATOR_MAPLOG_H
#define SC_COORDINATOR_MAPLOG_H

#include "coordinator/change.h"

struct sc_maplog;

/* Opens the log in `dir`, making both if they are absent, and copies the map into `cluster`; there
 * is none yet when cluster->shard_count is 0. Makes a log of version 0.1 one of this version.
 * SC_BUSY: another coordinator has the directory. SC_IO, SC_CORRUPT: with file and offset. */
enum sc_status sc_maplog_open(const char *dir, struct sc_cluster *cluster, struct sc_maplog **out,
                              char *why);

/* NULL is allowed. */
void sc_maplog_close(struct sc_maplog *log);

/* Begins the log with a map. Durable when it returns SC_OK; errors as sc_maplog_append. */
enum sc_status sc_maplog_put_map(struct sc_maplog *log, const struct sc_cluster *cluster,
                                 char *why);

/* Fills in what follows from the changes before: the move of a BATCH and the epoch of a MOVED, if
 * they are 0, and the parts of a STEERING that are not meant. So several may be under way, each
 * asked for before the one before it is recorded. */
void sc_maplog_number(const struct sc_maplog *log, struct sc_change *change);

/* Appends a change. SC_OK: durable. SC_UNKNOWN: it may be found at the next start or not, and the
 * log takes nothing more. Certainly not there: SC_IO, input or output failed; SC_INTERNAL, it does
 * not fit what the log has. */
enum sc_status sc_maplog_append(struct sc_maplog *log, const struct sc_change *change, char *why);

#endif
