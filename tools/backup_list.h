/*
 * The list of a backup: what its file backup.json says (the format is in docs/OPERATING.md), and
 * whether the files of the backup are what they should be.
 */
#ifndef SC_TOOLS_BACKUP_LIST_H
#define SC_TOOLS_BACKUP_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/slot.h"
#include "common/status.h"

struct sc_backup_list_file {
    char *name; /* in the shard's directory */
    uint64_t size;
    uint64_t checksum;
};

struct sc_backup_list_shard {
    uint32_t id;
    char *path; /* of its directory */
    uint64_t keys;
    struct sc_backup_list_file *files;
    size_t file_count;
};

/* Readable. */
struct sc_backup_list {
    char *dir;
    char cluster[33]; /* hex */
    uint64_t epoch;
    char time[32]; /* when it was begun */
    struct sc_backup_list_shard *shards;
    size_t shard_count;
    uint64_t bytes; /* of all files */
    uint64_t keys;
    uint32_t owner[SC_SLOT_COUNT]; /* in whose directory the keys of a slot count: a shard's id */
};

/* Reads the list. SC_NOTFOUND: there is no complete backup; SC_CORRUPT: the list is damaged; SC_IO.
 */
enum sc_status sc_backup_list_read(const char *dir, struct sc_backup_list *list, char *why);
void sc_backup_list_fini(struct sc_backup_list *list); /* accepts a zeroed one */

/* What sc_backup_list_verify tells. */
struct sc_backup_list_watcher {
    /* A file is not what it should be: `why` says so. */
    void (*wrong)(void *arg, const char *path, const char *why);
    /* So many bytes were read. False: stop. */
    bool (*passed)(void *arg, uint64_t bytes);
    void *arg;
};

/* Reads every file and compares its size and checksum. SC_OK; SC_CORRUPT: some are wrong, and all
 * were told; SC_UNAVAILABLE: it was to stop. */
enum sc_status sc_backup_list_verify(const struct sc_backup_list *list,
                                     const struct sc_backup_list_watcher *watcher);

#endif
