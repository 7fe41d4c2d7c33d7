/*
 * Messages about snapshots: the state of the store at one moment, read while writes go on.
 *
 *   with the coordinator
 *   snapshot        []                  -> [0, id, [[shard id, keys]...]]
 *   snapshot.read   [id, shard, cursor] -> as x.page
 *   snapshot.close  [id]                -> [0]
 *
 *   at a shard
 *   x.snapshot  [id, epoch]   -> [0, keys]
 *   x.page      [id, cursor]  -> [0, next cursor or nil, now, [item...]]
 *   x.forget    [id]          -> [0]
 *
 * `id` names a snapshot, the same on all shards, and is never used again. `cursor` is nil at first,
 * then what the last page gave. `now` is the shard's time in milliseconds since 1970. An item is
 * [key, value, version, expiry or nil], or [key, status, why] for a record that cannot be read.
 */
#ifndef SC_COMMON_MSG_COPY_H
#define SC_COMMON_MSG_COPY_H

#include "common/mp.h"
#include "common/status.h"

struct sc_msg_request;

/* The arguments of all these requests. */
struct sc_msg_copy {
    uint64_t id;
    uint64_t shard_id;
    uint64_t epoch;
    struct sc_slice cursor; /* empty: from the start */
};

/* Parses the arguments of one of these operations (snapshot has none). For sc_msg_parse_request. */
enum sc_status sc_msg_parse_copy(struct sc_mp *mp, struct sc_msg_request *request, char *why);

/* ---- Writing requests ---- */

void sc_msg_put_snapshot_read(struct sc_buf *out, uint64_t id, uint64_t shard_id,
                              struct sc_slice cursor);
void sc_msg_put_snapshot_close(struct sc_buf *out, uint64_t id);
void sc_msg_put_x_snapshot(struct sc_buf *out, uint64_t id, uint64_t epoch);
void sc_msg_put_x_page(struct sc_buf *out, uint64_t id, struct sc_slice cursor);
void sc_msg_put_x_forget(struct sc_buf *out, uint64_t id);

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

#endif
