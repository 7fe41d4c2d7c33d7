/*
 * Messages about copies of the store: snapshots, which hold what there is at one moment to be read
 * while writes go on, and backups, which put that into a directory.
 *
 *   with the coordinator
 *   snapshot        []                  -> [0, id, [[shard id, keys]...]]
 *   snapshot.read   [id, shard, cursor] -> as x.page
 *   snapshot.close  [id]                -> [0]
 *   backup          [{options}?]        -> [0, {state}]
 *
 *   at a shard
 *   x.snapshot  [id, epoch]   -> [0, keys]
 *   x.page      [id, cursor]  -> [0, next cursor or nil, now, [item...]]
 *   x.forget    [id]          -> [0]
 *   x.backup    [id, epoch, dir, copy, rate, label] -> [0]
 *   x.progress  [id, go on]   -> [0, state, cut, bytes, done, status, why, result or nil]
 *
 * `id` names a snapshot, the same on all shards, and is never used again. `cursor` is nil at first,
 * then what the last page gave. `now` is the shard's time in milliseconds since 1970. An item is
 * [key, value, version, expiry or nil], or [key, status, why] for a record that cannot be read.
 *
 * A backup has an id likewise. x.backup begins it in a directory of its own in `dir`, reading
 * `rate` bytes a second (0: no limit); it goes on as long as somebody asks for its progress and
 * wants it to go on. `label` is kept in it: what an earlier one with the same label left in `dir`
 * is replaced, since that did not become complete. The result is [time, keys, version, damaged,
 * linked, [[name, size, checksum, linked]...]].
 */
#ifndef SC_COMMON_MSG_COPY_H
#define SC_COMMON_MSG_COPY_H

#include "common/mp.h"
#include "common/status.h"

#include <stdbool.h>

struct sc_msg_request;

/* The arguments of all these requests. */
struct sc_msg_copy {
    uint64_t id;
    uint64_t shard_id;
    uint64_t epoch;
    struct sc_slice cursor; /* empty: from the start */
    struct sc_slice dir; /* empty: none */
    bool link; /* files may be links: the default */
    bool go_on;
    uint64_t rate;
    uint64_t label; /* of a backup, from 1 */
};

#define SC_MSG_DIR_MAX 1000u /* bytes of the path of a directory */
#define SC_MSG_BACKUP_RATE_DEFAULT (UINT64_C(64) << 20)

/* Parses the arguments of one of these operations (snapshot has none). For sc_msg_parse_request. */
enum sc_status sc_msg_parse_copy(struct sc_mp *mp, struct sc_msg_request *request, char *why);

/* Whether it may be the directory of a backup: an absolute path. */
bool sc_msg_dir_ok(struct sc_slice dir);

/* ---- Writing requests ---- */

void sc_msg_put_snapshot_read(struct sc_buf *out, uint64_t id, uint64_t shard_id,
                              struct sc_slice cursor);
void sc_msg_put_snapshot_close(struct sc_buf *out, uint64_t id);
void sc_msg_put_x_snapshot(struct sc_buf *out, uint64_t id, uint64_t epoch);
void sc_msg_put_x_page(struct sc_buf *out, uint64_t id, struct sc_slice cursor);
void sc_msg_put_x_forget(struct sc_buf *out, uint64_t id);
void sc_msg_put_x_backup(struct sc_buf *out, uint64_t id, uint64_t epoch, struct sc_slice dir,
                         bool link, uint64_t rate, uint64_t label);
void sc_msg_put_x_progress(struct sc_buf *out, uint64_t id, bool go_on);

/* ---- Reading pages ---- */

/* One record of a page; slices of the reply. */
struct sc_msg_copied {
    struct sc_slice key;
    int status; /* SC_OK, or why it cannot be read, in words: `why` */
    struct sc_slice why;
    struct sc_slice value; /* encoded */
    uint64_t version;
    uint64_t expires_ms; /* 0: never */
};

/* Reads the head of a page: the next cursor (empty: this is the last page), the shard's time, and
 * how many items follow. False when it is none. */
bool sc_msg_take_page(struct sc_mp *mp, struct sc_slice *next, uint64_t *now_ms, uint32_t *count);
bool sc_msg_take_copied(struct sc_mp *mp, struct sc_msg_copied *copied);

/* ---- Progress of a backup ---- */

enum sc_msg_backup_state { SC_MSG_BACKUP_RUNNING, SC_MSG_BACKUP_DONE, SC_MSG_BACKUP_FAILED };

/* What a shard tells. Slices of the reply. */
struct sc_msg_progress {
    enum sc_msg_backup_state state;
    bool cut; /* the moment that it holds is over */
    uint64_t bytes, bytes_done; /* to be read, and read */
    int status; /* of one that failed, in words: `why` */
    struct sc_slice why;
    /* when it is done: */
    uint64_t time_ms; /* of the moment */
    uint64_t keys, version,
        damaged; /* keys then, the largest version, records known to be damaged */
    uint64_t linked_bytes;
    uint32_t file_count;
    struct sc_mp files; /* a cursor at the files, which were checked */
};

struct sc_msg_backup_file {
    struct sc_slice name; /* of a file, without any slash */
    uint64_t size;
    uint64_t checksum; /* XXH3_64bits of all of it */
    bool linked;
};

/* Writes the reply, but for the files, file_count of them: each is written behind it. */
void sc_msg_reply_progress(struct sc_buf *out, const struct sc_msg_progress *progress);
void sc_msg_put_backup_file(struct sc_buf *out, const struct sc_msg_backup_file *file);

/* Reads the results of such a reply. False when it makes no sense. */
bool sc_msg_take_progress(struct sc_mp *mp, struct sc_msg_progress *progress);

/* The next file; no more often than file_count times. */
struct sc_msg_backup_file sc_msg_next_backup_file(struct sc_mp *files);

#endif
