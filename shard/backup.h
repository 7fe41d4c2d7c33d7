/*
 * Backup: copies a store to another directory while it is being used.
 *
 *   DIR made, labelled -> cut -> each file: linked, or copied up to the cut -> synced
 *                           `-- pin: nothing is removed --'
 *     -> read back: checksums -> MANIFEST
 *
 * The cut is one moment, under the lock: everything that was acknowledged until then is in the
 * backup, nothing that came later. Sealed files are hard links where that is possible, so that a
 * backup takes no space until the store merges them away; of the others, what they had at the cut
 * is copied. The result is the directory of a store, closed: every file is listed as settled, so
 * that it needs no DURABLE.
 *
 * MANIFEST comes last: a directory without it is no store, so one that was interrupted is taken for
 * none.
 *
 * Threads: sc_backup_run is called by one thread at a time, without the lock of the store, which it
 * takes through its host, for well under a millisecond. sc_backup_figures needs the lock.
 */
#ifndef SC_SHARD_BACKUP_H
#define SC_SHARD_BACKUP_H

#include "common/status.h"
#include "shard/files.h"
#include "shard/label.h"

#include <stdbool.h>
#include <stdint.h>

struct sc_bitcask;
struct sc_backup;

/* What a backup needs of its surroundings. */
struct sc_backup_host {
    void (*lock)(void *arg);
    void (*unlock)(void *arg);
    /* So many bytes were read: the place to keep to a rate. Without the lock. False: stop. */
    bool (*proceed)(void *arg, uint64_t bytes);
    void *arg;
};

struct sc_backup_file {
    char name[SC_FILES_NAME_SIZE];
    uint64_t size;
    uint64_t checksum; /* XXH3_64bits of all of it */
    bool linked; /* shares its blocks with the store's file */
};

struct sc_backup *sc_backup_alloc(struct sc_bitcask *store);
void sc_backup_free(struct sc_backup *backup); /* NULL is allowed */

/* Before it is run: what it is labelled with. A directory of its name with the same label is
 * removed first. Without, it has none, and nothing is removed. */
void sc_backup_label(struct sc_backup *backup, uint64_t label);

/* Makes the directory `name` in `parent`, which is made too if its own parent is there, and the
 * backup in it. `copy`: link nothing. SC_OK: it is complete and on the disk. SC_BADREQUEST: there
 * is something with this name; SC_IO; SC_UNAVAILABLE: it was told to stop. On failure what was made
 * is removed. Once only. */
enum sc_status sc_backup_run(struct sc_backup *backup, const struct sc_backup_host *host,
                             const char *parent, const char *name, bool copy, char *why);

/* Removes a complete backup again, as far as it is what was made. Without the lock. */
void sc_backup_discard(struct sc_backup *backup, const char *parent, const char *name);

struct sc_backup_figures {
    bool cut; /* the moment is over */
    uint64_t time_ms; /* of the cut */
    uint64_t keys; /* at the cut, expired but unswept ones included */
    uint64_t version; /* no record has a larger one */
    uint64_t damaged; /* what was known to be damaged then */
    uint64_t bytes, bytes_done; /* to be read, and read */
    uint64_t linked_bytes; /* of files that share their blocks */
};
void sc_backup_figures(const struct sc_backup *backup, struct sc_backup_figures *figures);

/* The files of a complete backup. */
const struct sc_backup_file *sc_backup_files(const struct sc_backup *backup, size_t *count);

#endif
