/*
 * Messages: the requests and replies of the wire protocol (docs/PROTOCOL.md), both ends in one
 * place. A request body is a msgpack array [op, argument...], a reply body [status, result...].
 *
 * Parsing is strict: wrong arity or types, unknown operations or options, trailing bytes and
 * nesting beyond the limit are refused with SC_BADREQUEST, sizes beyond the limits with
 * SC_TOOLARGE, and a sentence for the person who sent it. Everything that comes out of a parse is a
 * slice of the message: valid as long as the message is.
 *
 * Operations named x.* are spoken between our own processes only (see the README, Architecture):
 *   x.hello  [] -> [0, {identity}]     who a shard is: its cluster, its id, what it keeps
 *   x.adopt  [cluster, id] -> [0]      an empty shard directory becomes shard `id` of a cluster
 *   x.grant  [cluster, id, term, epoch, ranges] -> [0]   which slots the shard serves from now on:
 *            ranges are [[first, last, shard id, address]...] of the whole map
 *   x.join   [[request...]] -> [0, [reply...]]   a batch of unrelated single-key requests: one that
 *            does not fit into the reply, and all behind it, get [SC_MSG_AGAIN] and were not begun
 *   x.peek   [[request...]] -> [0, [reply...]]   as x.join, but none waits for the disk: those that
 *            would have to, and those behind them on the same key, get [SC_MSG_COLD] and were not
 *            begun; in an x.join they wait
 *   x.merge  [allow] -> [0, wanted, running, urgent]   whether the shard may merge now; what it
 * would like; whether it has more dead data than live x.scan   [cursor, {options}, last slot] -> as
 * scan, but up to and including `last slot`; moved when one of these slots is not served x.by
 * [deadline, request] -> as the request: an envelope around any other request (see sc_msg_put_by)
 *   x.import, x.export and what follows them move slots: common/msg_move.h
 *   x.snapshot, x.backup and what belongs to them: common/msg_copy.h
 */
#ifndef SC_COMMON_MSG_H
#define SC_COMMON_MSG_H

#include "common/buf.h"
#include "common/config.h"
#include "common/limits.h"
#include "common/mp.h"
#include "common/msg_copy.h"
#include "common/msg_move.h"
#include "common/status.h"

/* Status inside an x.join reply only: not executed, send it again. Never leaves our processes. */
#define SC_MSG_AGAIN 100

/* The same in an x.peek reply: not executed, what it needs is not in memory. */
#define SC_MSG_COLD 99

/* Kinds of operations, as bits. */
enum {
    SC_OP_SINGLE = 1, /* concerns one key, which is its first argument; may stand in a batch */
    SC_OP_MULTI = 2, /* a list of single-key operations: mget, mput, mdel, batch, x.join, x.peek */
    SC_OP_WRITE = 4, /* may change data (a batch may, depending on what is in it) */
    SC_OP_INTERNAL = 8, /* x.*: only between our own processes */
};

/* op, name on the wire, fewest and most arguments, kind */
#define SC_OP_LIST(X)                                                     \
    X(PING, "ping", 0, 0, 0)                                              \
    X(GET, "get", 1, 1, SC_OP_SINGLE)                                     \
    X(PUT, "put", 2, 3, SC_OP_SINGLE | SC_OP_WRITE)                       \
    X(DEL, "del", 1, 2, SC_OP_SINGLE | SC_OP_WRITE)                       \
    X(EXISTS, "exists", 1, 1, SC_OP_SINGLE)                               \
    X(META, "meta", 1, 1, SC_OP_SINGLE)                                   \
    X(TOUCH, "touch", 2, 2, SC_OP_SINGLE | SC_OP_WRITE)                   \
    X(INCR, "incr", 1, 2, SC_OP_SINGLE | SC_OP_WRITE)                     \
    X(MGET, "mget", 1, 1, SC_OP_MULTI)                                    \
    X(MPUT, "mput", 1, 1, SC_OP_MULTI | SC_OP_WRITE)                      \
    X(MDEL, "mdel", 1, 1, SC_OP_MULTI | SC_OP_WRITE)                      \
    X(BATCH, "batch", 1, 1, SC_OP_MULTI | SC_OP_WRITE)                    \
    X(SCAN, "scan", 1, 2, 0)                                              \
    X(COUNT, "count", 0, 0, 0)                                            \
    X(CLEAR, "clear", 0, 0, SC_OP_WRITE)                                  \
    X(STATS, "stats", 0, 0, 0)                                            \
    X(MAP, "map", 0, 0, 0)                                                \
    X(SYNC, "sync", 0, 0, 0)                                              \
    X(COMPACT, "compact", 0, 0, 0)                                        \
    X(SCRUB, "scrub", 0, 0, 0)                                            \
    X(DAMAGE, "damage", 0, 0, 0)                                          \
    X(SHARD_ADD, "shard.add", 1, 2, 0)                                    \
    X(SHARD_REMOVE, "shard.remove", 1, 2, 0)                              \
    X(SHARD_WEIGHT, "shard.weight", 2, 3, 0)                              \
    X(CONFIG, "config", 0, 1, 0)                                          \
    X(REBALANCE, "rebalance", 0, 1, 0)                                    \
    X(BACKUP, "backup", 0, 1, 0)                                          \
    X(SNAPSHOT, "snapshot", 0, 0, 0)                                      \
    X(SNAPSHOT_READ, "snapshot.read", 3, 3, 0)                            \
    X(SNAPSHOT_CLOSE, "snapshot.close", 1, 1, 0)                          \
    X(X_HELLO, "x.hello", 0, 0, SC_OP_INTERNAL)                           \
    X(X_ADOPT, "x.adopt", 2, 2, SC_OP_INTERNAL)                           \
    X(X_GRANT, "x.grant", 5, 5, SC_OP_INTERNAL)                           \
    X(X_JOIN, "x.join", 1, 1, SC_OP_MULTI | SC_OP_WRITE | SC_OP_INTERNAL) \
    X(X_PEEK, "x.peek", 1, 1, SC_OP_MULTI | SC_OP_WRITE | SC_OP_INTERNAL) \
    X(X_MERGE, "x.merge", 1, 1, SC_OP_INTERNAL)                           \
    X(X_SCAN, "x.scan", 3, 3, SC_OP_INTERNAL)                             \
    X(X_IMPORT, "x.import", 4, 4, SC_OP_INTERNAL)                         \
    X(X_WRITE, "x.write", 5, 5, SC_OP_INTERNAL)                           \
    X(X_FINISH, "x.finish", 5, 5, SC_OP_INTERNAL)                         \
    X(X_DROP, "x.drop", 1, 1, SC_OP_INTERNAL)                             \
    X(X_EXPORT, "x.export", 3, 3, SC_OP_INTERNAL)                         \
    X(X_READ, "x.read", 3, 3, SC_OP_INTERNAL)                             \
    X(X_SEAL, "x.seal", 3, 3, SC_OP_INTERNAL)                             \
    X(X_RELEASE, "x.release", 1, 1, SC_OP_INTERNAL)                       \
    X(X_SLOTS, "x.slots", 0, 0, SC_OP_INTERNAL)                           \
    X(X_SNAPSHOT, "x.snapshot", 2, 2, SC_OP_INTERNAL)                     \
    X(X_PAGE, "x.page", 2, 2, SC_OP_INTERNAL)                             \
    X(X_FORGET, "x.forget", 1, 1, SC_OP_INTERNAL)                         \
    X(X_BACKUP, "x.backup", 6, 6, SC_OP_INTERNAL)                         \
    X(X_PROGRESS, "x.progress", 2, 2, SC_OP_INTERNAL)

/* SC_OP_NONE, behind the last: no operation of ours, and how many there are. */
enum sc_op {
#define SC_OP_ENUM(name, text, least, most, kind) SC_OP_##name,
    SC_OP_LIST(SC_OP_ENUM)
#undef SC_OP_ENUM
        SC_OP_NONE
};

const char *sc_op_name(enum sc_op op);
unsigned sc_op_kind(enum sc_op op);

/* Options of put, del and scan; a flag says whether an option was given. */
struct sc_msg_write_options {
    bool has_ttl;
    bool has_expires;
    bool has_if_version;
    bool has_sync;
    bool sync;
    uint64_t ttl_ms;
    uint64_t expires_ms; /* since 1970; not together with a ttl */
    uint64_t if_version;
};

struct sc_msg_scan {
    struct sc_slice cursor; /* empty at the start of a scan; else what the last page gave */
    struct sc_slice prefix; /* empty: every key */
    uint32_t limit; /* 1 to SC_SCAN_LIMIT_MAX; the default is filled in */
    bool values;
    uint32_t last_slot; /* x.scan; SC_SLOT_COUNT - 1 for scan */
};

/* Limits that a parse enforces. */
struct sc_msg_limits {
    uint32_t value_max; /* bytes of an encoded value; more: SC_TOOLARGE */
};

/* One parsed request. Which members mean something depends on `op`. */
struct sc_msg_request {
    enum sc_op op;
    struct sc_slice raw; /* the whole request as it was sent */

    struct sc_slice key; /* single-key operations: the key's bytes, without msgpack head */
    struct sc_slice key_raw; /* the same with its head */
    struct sc_slice value; /* put: the encoded value */
    struct sc_msg_write_options options; /* put, del */
    bool ttl_nil; /* touch: remove the expiry (else options.ttl_ms) */
    int64_t delta; /* incr; 1 if left out */

    struct sc_mp items; /* multi-key operations: a cursor at the first item ... */
    uint32_t item_count; /* ... and how many there are; sc_msg_next_item reads them */

    struct sc_msg_scan scan; /* scan, x.scan */

    struct sc_slice url; /* shard.add */
    uint32_t weight; /* shard.add, shard.weight; SC_WEIGHT_DEFAULT if left out */
    uint64_t shard_id; /* shard.remove, shard.weight, x.adopt, x.grant */
    bool dry_run; /* shard.*, rebalance: tell the plan only */

    struct sc_config config; /* config: what is to be changed */
    bool allow; /* x.merge */

    bool has_pause, pause, cancel, has_rate; /* rebalance */
    uint64_t bytes_per_second;

    struct sc_slice cluster; /* x.adopt, x.grant: 16 bytes */
    uint64_t term, epoch; /* x.grant */
    struct sc_mp ranges; /* x.grant: a cursor at [[first, last, shard id, address]...] */

    struct sc_msg_move move; /* x.import, x.export and what follows them */
    struct sc_msg_copy copy; /* snapshot.read, backup, x.snapshot and what belongs to them */
};

/* Parses a request body. On failure `request->op` is SC_OP_NONE when not even the operation was
 * recognised, and `why` (SC_WHY_SIZE bytes) says what is wrong. The items of a multi-key operation
 * are only checked to be well-formed msgpack; each is judged by sc_msg_next_item. */
enum sc_status sc_msg_parse_request(struct sc_slice body, const struct sc_msg_limits *limits,
                                    struct sc_msg_request *request, char *why);

/* Reads the next item of a multi-key request as a single-key request: an item of mget becomes a
 * get, of mput a put, of mdel a del, of batch and x.join what it is. Stores into `item`; a bad item
 * gives its status and leaves the cursor at the next one, so a caller goes on. Call it exactly
 * `request->item_count` times. `item->raw` is the item as it was sent. */
enum sc_status sc_msg_next_item(struct sc_msg_request *request, const struct sc_msg_limits *limits,
                                struct sc_msg_request *item, char *why);

/* Whether a multi-key request may write: not a batch of nothing but reads. Before its items are
 * read. */
bool sc_msg_has_write(const struct sc_msg_request *request);

/* An envelope: a message that begins with it must not be acted upon once the receiver's monotonic
 * clock has passed `deadline_ms`. A process that was stopped, or a slow network, else carries out
 * what the sender has given up long ago. What follows is the request itself. */
void sc_msg_put_by(struct sc_buf *out, uint64_t deadline_ms);

/* Takes an envelope off the front of `body`; false: there is none. */
bool sc_msg_take_by(struct sc_slice *body, uint64_t *deadline_ms);

/* ---- Writing requests. Keys are written as bin, values are encoded msgpack. ---- */

void sc_msg_put_op(struct sc_buf *out, enum sc_op op, uint32_t arguments); /* head of a request */
void sc_msg_put_key_request(struct sc_buf *out, enum sc_op op, struct sc_slice key); /* [op, key] */
/* [op, key] with the key as it came in another message, head and all. */
void sc_msg_put_raw_key_request(struct sc_buf *out, enum sc_op op, struct sc_slice key_raw);
/* options may be NULL: none. */
void sc_msg_put_put(struct sc_buf *out, struct sc_slice key, struct sc_slice value,
                    const struct sc_msg_write_options *options);
void sc_msg_put_del(struct sc_buf *out, struct sc_slice key,
                    const struct sc_msg_write_options *options);
void sc_msg_put_touch(struct sc_buf *out, struct sc_slice key,
                      const uint64_t *ttl_ms); /* NULL: nil */
void sc_msg_put_incr(struct sc_buf *out, struct sc_slice key, int64_t delta);
/* Writes the scan; internal: as x.scan with its last slot. */
void sc_msg_put_scan(struct sc_buf *out, const struct sc_msg_scan *scan, bool internal);
/* An item of mput as a request of its own: ["put", key, value, options]. `item` is the item's array
 * with its head as sc_msg_next_item gave it in `raw`. */
void sc_msg_put_mput_item(struct sc_buf *out, const struct sc_msg_request *item);

/* ---- Writing replies ---- */

void sc_msg_reply_status(struct sc_buf *out, int status,
                         const char *why); /* [status, why]; [0] when
                                            ok and why is NULL */
void sc_msg_reply_uint(struct sc_buf *out, uint64_t value); /* [0, value] */
void sc_msg_reply_int(struct sc_buf *out, int64_t value); /* [0, value] */
void sc_msg_reply_bool(struct sc_buf *out, bool value); /* [0, value] */
void sc_msg_reply_raw(struct sc_buf *out, struct sc_slice value); /* [0, encoded value] */
void sc_msg_reply_moved(struct sc_buf *out, const char *why, uint64_t epoch, struct sc_slice url);
/* A page of a scan but for the array of its keys, which the caller appends: [0, next cursor], or
 * [status, why, next cursor] when it has the keys whose values cannot be read. An empty cursor
 * becomes nil. */
void sc_msg_reply_page(struct sc_buf *out, enum sc_status status, struct sc_slice why,
                       struct sc_slice next);

/* A cluster's id as the reply to map has it: a str of hexadecimal digits, two for each byte. */
#define SC_MSG_CLUSTER_SIZE 32
void sc_msg_put_cluster(struct sc_buf *out, const uint8_t id[SC_MSG_CLUSTER_SIZE / 2]);

/* ---- Reading replies ---- */

/* A reply taken apart as far as its status. */
struct sc_msg_reply {
    int status;
    struct sc_slice why; /* text of an error; empty when ok or absent */
    struct sc_mp result; /* a cursor at the first result (status 0) or behind the text */
    uint32_t results; /* how many values the cursor holds */
};

/* False when `body` is not a reply at all. */
bool sc_msg_parse_reply(struct sc_slice body, struct sc_msg_reply *reply);

/* The page of a scan in a reply; see sc_msg_reply_page. */
struct sc_msg_page {
    struct sc_slice next; /* empty: it is the last one */
    uint32_t count; /* of the keys, or pairs, ... */
    struct sc_mp items; /* ... at the first of which this is a cursor */
};

/* Takes a page out of a reply; false when there is none in it, as in that of an error which keeps
 * the scan from going on. The items are not looked at. */
bool sc_msg_parse_page(const struct sc_msg_reply *reply, struct sc_msg_page *page);

#endif
