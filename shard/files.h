/*
 * The directory of a store and the names in it. No other module knows them.
 *
 *   LOCK             empty; flock held by the process that has the store open
 *   MANIFEST         identity, slots and the list of live data files (shard/manifest.h)
 *   MANIFEST.copy    the same, written before it, for when it is lost (shard/repair.h)
 *   DURABLE          how far the newest data file is known to be synced (shard/durable.h)
 *   HORIZON          the latest time at which a key was swept (shard/horizon.h)
 *   SCRUB            when the store was scrubbed (shard/passes.h)
 *   quarantine/      copies of what is damaged (shard/quarantine.h)
 *   NNNNNNNNNN.data  records (shard/segment.h, shard/record.h); ten digits, at least
 *   NNNNNNNNNN.hint  index of one data file (shard/hint.h)
 *   *.tmp            a file being written that gets its name by rename; a leftover is removed
 *   *.orphan         a data file that the manifest does not list, put aside; never read
 *
 * A name counts as a data file only if it is exactly what its number is printed as. The number
 * decides the order, not the text.
 */
#ifndef SC_SHARD_FILES_H
#define SC_SHARD_FILES_H

#include "common/status.h"

#include <stddef.h>
#include <stdint.h>

#define SC_FILES_MANIFEST "MANIFEST"
#define SC_FILES_COPY "MANIFEST.copy"
#define SC_FILES_DURABLE "DURABLE"
#define SC_FILES_HORIZON "HORIZON"
#define SC_FILES_SCRUB "SCRUB"
#define SC_FILES_NAME_SIZE 40 /* room for any name of ours, with an ending */

/* Readable: all. */
struct sc_files {
    char *path; /* the directory, as given */
    int dir_fd;
    int lock_fd;
};

enum sc_files_kind { SC_FILES_OTHER, SC_FILES_DATA, SC_FILES_HINT, SC_FILES_TEMPORARY };

/* Opens the directory, creating it (mode 0700) unless read_only, and locks it. SC_BUSY: another
 * process has it open; SC_IO. A read-only opener shares the lock with its like. Locks of one
 * process on one directory exclude each other too. */
enum sc_status sc_files_open(struct sc_files *files, const char *path, bool read_only, char *why);

/* Unlocks and closes; a zeroed object is fine. */
void sc_files_close(struct sc_files *files);

/* Writes the name of a data or hint file. */
void sc_files_data_name(char name[SC_FILES_NAME_SIZE], uint64_t number);
void sc_files_hint_name(char name[SC_FILES_NAME_SIZE], uint64_t number);

/* The name of the file that becomes `name` when it is complete. */
void sc_files_temporary_name(char temporary[SC_FILES_NAME_SIZE], const char *name);

/* What a name in the directory is; `number` is set for data and hint files. */
enum sc_files_kind sc_files_parse(const char *name, uint64_t *number);

/* Calls `visit` for every name in the directory, dots left out. SC_IO. */
enum sc_status sc_files_list(const struct sc_files *files,
                             void (*visit)(void *arg, const char *name), void *arg, char *why);

/* Makes creations, renames and removals in the directory durable. */
enum sc_status sc_files_sync(const struct sc_files *files, char *why);

/* Replaces the file `name` by these bytes: writes name.tmp, syncs it, renames it and syncs the
 * directory. SC_IO: the old file is still there. SC_UNKNOWN: only the last sync failed, and after a
 * crash either may be there. */
enum sc_status sc_files_replace(const struct sc_files *files, const char *name, const void *data,
                                size_t size, char *why);

/* The same without the sync of the directory: until there is one, a power loss may bring the old
 * file back. SC_IO: the old file is still there. */
enum sc_status sc_files_put(const struct sc_files *files, const char *name, const void *data,
                            size_t size, char *why);

/* Bytes that are free on the disk; 0 also when the system does not tell. */
uint64_t sc_files_free(const struct sc_files *files);

/* sc_fail with SC_IO: "cannot DO NAME in PATH: errno in words". */
enum sc_status sc_files_fail(const struct sc_files *files, const char *doing, const char *name,
                             char *why);

#endif
