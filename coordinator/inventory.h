/*
 * Inventory: what a backup of the fleet consists of, in the file backup.json of its directory. It
 * is written last: a directory without it is no backup.
 *
 *     {"backup":{"format":1,"shardcask":"0.1.0","cluster":"HEX","epoch":N,"time":"2026-11-25T17:00:00Z",
 *                "time_ms":N,"slots":16384,"map":[[first,last,shard id]...],
 *                "shards":[{"id":N,"url":"...","directory":"shard-N","time_ms":N,"keys":N,"version":N,
 *                           "damaged_records":N,
 *                           "files":[{"name":"...","size":N,"xxh3":"HEX"}...]}...]},
 *      "xxh3":"HEX"}
 *
 * in one line. The last checksum is XXH3_64bits, seed 0, of the text from the second brace to the
 * last but one; those of files likewise of all their bytes. All are 16 hex digits. A record counts
 * only if its slot is in the map at the shard in whose directory it is.
 */
#ifndef SC_COORDINATOR_INVENTORY_H
#define SC_COORDINATOR_INVENTORY_H

#include "common/buf.h"
#include "common/mp.h"
#include "common/status.h"

#include <stdbool.h>

/* How a backup begins. */
struct sc_inventory_start {
    bool made; /* the directory was not there */
    bool resumed; /* an earlier one was begun in it, and did not become complete */
    uint64_t label; /* set before: of a first one. Then: that of the first one */
};

/* Makes the directory if it is not there, which its parent must be; SC_BADREQUEST when it has a
 * backup already. Its file backup.begun says from now on, durably, that one was begun and did not
 * become complete; its label stays the same until one does. */
enum sc_status sc_inventory_prepare(const char *dir, struct sc_inventory_start *start, char *why);

/* Undoes that, as far as nothing is left of a backup. */
void sc_inventory_abandon(const char *dir, const struct sc_inventory_start *start);

/* One shard's part. */
struct sc_inventory_shard {
    uint32_t id;
    struct sc_slice url;
    uint64_t time_ms, keys, version, damaged;
    struct sc_mp files; /* as sc_msg_next_backup_file reads them */
    uint32_t file_count;
};

struct sc_inventory {
    const uint8_t *cluster; /* 16 bytes */
    uint64_t epoch;
    uint64_t time_ms; /* when it was begun */
    struct sc_slice ranges; /* of the map, encoded: [[first, last, shard id]...] */
    const struct sc_inventory_shard *shards;
    size_t shard_count;
};

/* Writes the file, durably and by one rename, then removes backup.begun. SC_IO: there is none. */
enum sc_status sc_inventory_write(const char *dir, const struct sc_inventory *inventory, char *why);

#endif
