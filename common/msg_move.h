/*
 * Messages that move slots from one shard to another: what the coordinator, which drives a move,
 * says to the two shards, and their answers.
 *
 *   at the target
 *   x.import  [move, ranges, bytes, keys] -> [0, token, cursor, mark]
 *   x.write   [move, token, cursor, mark, frame] -> [0]
 *   x.finish  [move, token, count, digest, version] -> [0]
 *   x.drop    [move] -> [0]
 *
 *   at the source
 *   x.export  [move, ranges, mark] -> [0, token, mark, keys, bytes]
 *   x.read    [move, token, cursor] -> [0, next cursor, gap, frame]
 *   x.seal    [move, token, until_ms] -> [0, count, digest, version]
 *   x.release [move] -> [0]
 *
 *   at any shard
 *   x.slots   [] -> [0, [[first, last, keys, bytes]...]]
 *
 * `move` names a batch of slots on its way, and is never used again. `ranges` are [[first slot,
 * last slot]...] in ascending order. `token` names what one x.import or x.export has begun: a shard
 * refuses (SC_NOTFOUND) what carries another, so that a message which was delayed, or is meant for
 * a shard that has been restarted since, does nothing. `cursor` and `mark` are the source's, and
 * opaque to all others: how far the copy has come, and which state of the source's log the cursor
 * belongs to. A frame holds records; only shards look into it.
 */
#ifndef SC_COMMON_MSG_MOVE_H
#define SC_COMMON_MSG_MOVE_H

#include "common/limits.h"
#include "common/mp.h"
#include "common/slot.h"
#include "common/status.h"

struct sc_msg_request;
struct sc_msg_reply;

#define SC_MSG_MARK_MAX 64u /* bytes of a mark */
#define SC_MSG_CURSOR_MAX (SC_KEY_MAX + 64u) /* bytes of a cursor */

/* Slots from first to last. */
struct sc_msg_range {
    uint32_t first, last;
};

/* The arguments of all these requests. */
struct sc_msg_move {
    uint64_t move;
    uint64_t token;
    struct sc_mp ranges; /* a cursor at the ranges, which were checked; see sc_msg_next_range */
    uint32_t range_count;
    uint64_t bytes, keys; /* that are going to come, about */
    struct sc_slice cursor; /* empty: from the start */
    struct sc_slice mark; /* empty: begin */
    struct sc_slice frame;
    uint64_t until_ms; /* by the shard's monotonic clock */
    uint64_t count, digest, version;
};

/* Parses the arguments of one of these operations (x.slots has none). For sc_msg_parse_request. */
enum sc_status sc_msg_parse_move(struct sc_mp *mp, struct sc_msg_request *request, char *why);

/* Takes the next range off `move->ranges`; to be called exactly `range_count` times. */
struct sc_msg_range sc_msg_next_range(struct sc_msg_move *move);

/* ---- Writing requests ---- */

void sc_msg_put_import(struct sc_buf *out, uint64_t move, const struct sc_msg_range *ranges,
                       size_t count, uint64_t bytes, uint64_t keys);
void sc_msg_put_export(struct sc_buf *out, uint64_t move, const struct sc_msg_range *ranges,
                       size_t count, struct sc_slice mark);
void sc_msg_put_read(struct sc_buf *out, uint64_t move, uint64_t token, struct sc_slice cursor);
void sc_msg_put_write(struct sc_buf *out, uint64_t move, uint64_t token, struct sc_slice cursor,
                      struct sc_slice mark, struct sc_slice frame);
void sc_msg_put_seal(struct sc_buf *out, uint64_t move, uint64_t token, uint64_t until_ms);
void sc_msg_put_finish(struct sc_buf *out, uint64_t move, uint64_t token, uint64_t count,
                       uint64_t digest, uint64_t version);
void sc_msg_put_drop(struct sc_buf *out, uint64_t move);
void sc_msg_put_release(struct sc_buf *out, uint64_t move);

/* ---- Replies, written and read. A reader takes a reply with status 0, stores slices of it, and
 * returns false if it is not what it should be. ---- */

struct sc_msg_import_reply {
    uint64_t token;
    struct sc_slice cursor, mark; /* from where to go on; both empty: from the start */
};
void sc_msg_reply_import(struct sc_buf *out, const struct sc_msg_import_reply *reply);
bool sc_msg_read_import(struct sc_msg_reply *from, struct sc_msg_import_reply *reply);

struct sc_msg_export_reply {
    uint64_t token;
    struct sc_slice mark;
    uint64_t keys, bytes; /* in the slots; bytes: of their records */
};
void sc_msg_reply_export(struct sc_buf *out, const struct sc_msg_export_reply *reply);
bool sc_msg_read_export(struct sc_msg_reply *from, struct sc_msg_export_reply *reply);

struct sc_msg_read_reply {
    struct sc_slice cursor; /* of what follows the frame */
    uint64_t gap; /* bytes of log that are left; SC_MSG_GAP_UNKNOWN: not all keys were read yet */
    struct sc_slice frame; /* may be empty */
};
#define SC_MSG_GAP_UNKNOWN UINT64_MAX
void sc_msg_reply_read(struct sc_buf *out, const struct sc_msg_read_reply *reply);
bool sc_msg_read_read(struct sc_msg_reply *from, struct sc_msg_read_reply *reply);

struct sc_msg_seal_reply {
    uint64_t count; /* keys in the slots */
    uint64_t digest; /* over (hash of the key, version) of each */
    uint64_t version; /* no record of the slots has a larger one */
};
void sc_msg_reply_seal(struct sc_buf *out, const struct sc_msg_seal_reply *reply);
bool sc_msg_read_seal(struct sc_msg_reply *from, struct sc_msg_seal_reply *reply);

/* What a shard has in a range of slots. */
struct sc_msg_slots {
    uint32_t first, last;
    uint64_t keys, bytes;
};
void sc_msg_put_slots(struct sc_buf *out, const struct sc_msg_slots *slots); /* one element */
/* Takes the array out of the reply: afterwards sc_msg_next_slots reads its elements. */
bool sc_msg_read_slots(struct sc_msg_reply *from, uint32_t *count);
bool sc_msg_next_slots(struct sc_msg_reply *from, struct sc_msg_slots *slots);

#endif
