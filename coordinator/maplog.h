/*
 * Map log: the cluster map on disk, in DIR/map.log. The one authority on who owns what.
 *
 *   file:   "SCMAPLOG" | u32 format version 1 | u32 zero | entry...
 *   entry:  u64 checksum | u32 size of the payload | u32 kind | payload
 *   kinds:  1 MAP      the whole map (sc_cluster_encode)
 *           2 TERM     msgpack uint: a coordinator has started
 *           3 ADOPTED  msgpack uint: this shard's directory carries its id now
 *
 * Integers are little-endian; the checksum is XXH3 (64 bits, seed 0) of all that follows it in the
 * entry. The first entry is a MAP.
 *
 * Every append is fsynced before it returns: no step that depends on an entry may be taken before.
 * A last entry that is cut off, or damaged with nothing whole behind it, was never confirmed and is
 * cut away on open; damage before a whole entry is refused, since ownership would be guesswork.
 * When the log has grown it is replaced, on open, by one MAP entry: temporary file, fsync, rename,
 * fsync of the directory.
 *
 * One process per directory: DIR/LOCK is held with flock.
 *
 * Not thread-safe. After a failed append the log takes nothing more.
 */
#ifndef SC_COORDINATOR_MAPLOG_H
#define SC_COORDINATOR_MAPLOG_H

#include "coordinator/cluster.h"

struct sc_maplog;

/* Opens the log in `dir`, making both if they are absent, and reads the map into `cluster`; there
 * is none yet when cluster->shard_count is 0. SC_BUSY: another coordinator has the directory.
 * SC_IO, SC_CORRUPT: with file and offset. */
enum sc_status sc_maplog_open(const char *dir, struct sc_cluster *cluster, struct sc_maplog **out,
                              char *why);

/* NULL is allowed. */
void sc_maplog_close(struct sc_maplog *log);

/* Each is durable when it returns SC_OK. */
enum sc_status sc_maplog_put_map(struct sc_maplog *log, const struct sc_cluster *cluster,
                                 char *why);
enum sc_status sc_maplog_put_term(struct sc_maplog *log, uint64_t term, char *why);
enum sc_status sc_maplog_put_adopted(struct sc_maplog *log, uint32_t shard_id, char *why);

#endif
