/*
 * Shardcask client library.
 *
 *     struct shardcask *db;
 *     char why[SHARDCASK_WHY_SIZE];
 *     if (shardcask_open(NULL, NULL, &db, why) != SHARDCASK_OK) {
 *         fprintf(stderr, "%s\n", why);
 *         return 1;
 *     }
 *     struct shardcask_value value = SHARDCASK_VALUE_INIT;
 *     shardcask_put_str(db, "greeting", "hello", NULL, NULL);
 *     shardcask_get(db, "greeting", 8, &value);
 *     shardcask_value_free(&value);
 *     shardcask_close(db);
 *
 * A handle is one connection (or, for a direct client, one to each shard), shared by any number of
 * threads: calls that wait at the same time for the same server travel together as one message.
 * Every function is thread-safe unless it says otherwise. Keys are bytes, 1 to 65,535 of them.
 * Values are msgpack, taken and returned as encoded bytes, with helpers for strings, integers and
 * JSON text.
 *
 * Functions return SHARDCASK_OK (0) or another of enum shardcask_status; shardcask_error() gives
 * the sentence that explains the last error of the calling thread. 1 to 7, 9 and 12 mean certainly
 * not applied; 8 (UNKNOWN), 10, 11 and 13 leave it open. A write is never sent twice by the
 * library. What a function stores, it stores on success only, unless it says otherwise.
 *
 * Time-outs. A call ends after the time-out of its handle at the latest, give or take a tenth of a
 * second: as UNAVAILABLE if it was not sent by then (the connection was down), as UNKNOWN if it was
 * sent and not answered. Reads that were on their way when a connection broke are sent again, until
 * their time-out; writes end as UNKNOWN.
 *
 * Running out of memory ends the process with a message. After fork() the child must not use the
 * parent's handles.
 */
#ifndef SHARDCASK_H
#define SHARDCASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SHARDCASK_API __attribute__((visibility("default")))
#else
#define SHARDCASK_API
#endif

enum shardcask_status {
    SHARDCASK_OK = 0,
    SHARDCASK_NOTFOUND = 1, /* there is no such key */
    SHARDCASK_BADREQUEST = 2, /* an argument makes no sense */
    SHARDCASK_TOOLARGE = 3, /* a key, value or message is over a limit */
    SHARDCASK_MISMATCH = 4, /* the key has another version than if_version */
    SHARDCASK_WRONGTYPE = 5, /* the value is of another type than is needed */
    SHARDCASK_MOVED = 6, /* between servers only: no function here returns it */
    SHARDCASK_UNAVAILABLE = 7, /* the shard, or the server as a whole, cannot be reached */
    SHARDCASK_UNKNOWN = 8, /* sent, but no answer: may or may not have been applied */
    SHARDCASK_BUSY = 9, /* not now, or no room in memory: try again later */
    SHARDCASK_IO = 10, /* the disk of a shard gave an error or is full */
    SHARDCASK_CORRUPT = 11, /* the value is damaged on the disk, until it is written or deleted */
    SHARDCASK_DENIED = 12, /* not allowed here */
    SHARDCASK_INTERNAL = 13, /* a mistake of the store's own */
};

#define SHARDCASK_WHY_SIZE 320 /* bytes of a sentence that tells why, with its NUL */

struct shardcask; /* a handle */

/* All zero means the defaults. */
struct shardcask_options {
    uint32_t connect_timeout_ms; /* shardcask_open waits so long for the server; default 5,000 */
    uint32_t timeout_ms; /* for one call; default 15,000 */
    uint32_t batch_max; /* operations joined into one message at most; default 1,024 */
    uint32_t message_max; /* bytes of a message; default 64 MiB, as the servers' */
    bool direct; /* see below */
};

/* Direct clients. By default everything goes through the coordinator, over one connection. With
 * `direct` the library gets the cluster map from it and sends operations on keys to the shards
 * themselves, over a connection to each: half the way, and no coordinator that all have to share.
 * What concerns the whole store (scan, count, clear, stats ...) still goes through the coordinator,
 * as does what a shard cannot be asked from here: its address leads nowhere, or it refuses. Slots
 * that move are followed. While the coordinator is down, operations on keys go on; what a shard
 * refuses meanwhile, because a slot is being handed over for one, is tried again until the
 * time-out.
 *
 * The same is promised as without it. */

/* The version of the library, for example "0.1.0", and the words for a status. Static strings. */
SHARDCASK_API const char *shardcask_version(void);
SHARDCASK_API const char *shardcask_status_text(int status);

/* The sentence for the last failed call of this thread; "" if none failed. Valid until the thread's
 * next call into the library. */
SHARDCASK_API const char *shardcask_error(void);

/* Connects. url NULL: the environment's SHARDCASK_URL, or tcp://127.0.0.1:7700. `options` may be
 * NULL. On failure *handle is NULL and `why` (SHARDCASK_WHY_SIZE bytes, may be NULL) tells why:
 * BADREQUEST for a senseless address, UNAVAILABLE when nobody answers there. Later losses of the
 * connection are mended in the background: calls made meanwhile wait for it up to their time-out
 * and then end as UNAVAILABLE. */
SHARDCASK_API int shardcask_open(const char *url, const struct shardcask_options *options,
                                 struct shardcask **handle, char *why);

/* Ends what is outstanding, closes and frees. Operations that were submitted and have not ended end
 * as UNKNOWN (writes that were sent) or UNAVAILABLE, and their callbacks have been called when this
 * returns. No other thread may be inside a call with this handle, and none may begin one, but for
 * callbacks, whose shardcask_submit fails from now on. Not from a callback. NULL is allowed. */
SHARDCASK_API void shardcask_close(struct shardcask *handle);

/* ---- Values ---- */

/* An encoded msgpack value owned by the caller: free it with shardcask_value_free. The library
 * writes to it only on success; what it held before is freed or reused. */
struct shardcask_value {
    void *data;
    size_t size;
    size_t capacity; /* private */
};
#define SHARDCASK_VALUE_INIT \
    {                        \
        NULL, 0, 0           \
    }

/* Frees the bytes and leaves an empty value, which may be used again. */
SHARDCASK_API void shardcask_value_free(struct shardcask_value *value);

/* Encoders replace the content. Strings are UTF-8 text (bytes: anything). JSON text becomes the
 * msgpack of the same meaning; BADREQUEST when it does not parse. */
SHARDCASK_API int shardcask_value_set_str(struct shardcask_value *value, const char *text);
SHARDCASK_API int shardcask_value_set_bytes(struct shardcask_value *value, const void *data,
                                            size_t size);
SHARDCASK_API int shardcask_value_set_int(struct shardcask_value *value, int64_t number);
SHARDCASK_API int shardcask_value_set_json(struct shardcask_value *value, const char *json,
                                           size_t size);

/* Decoders. WRONGTYPE when the value is something else. The bytes of a str or bin stay inside the
 * value; the JSON text is a NUL-terminated string, freed by the caller with shardcask_free. */
SHARDCASK_API int shardcask_value_get_bytes(const struct shardcask_value *value, const void **data,
                                            size_t *size);
SHARDCASK_API int shardcask_value_get_int(const struct shardcask_value *value, int64_t *number);
SHARDCASK_API int shardcask_value_get_json(const struct shardcask_value *value, char **json,
                                           size_t *size);
/* Frees a text that the library has returned. NULL is allowed. */
SHARDCASK_API void shardcask_free(void *memory);

/* ---- One key ---- */

/* What is passed in (keys, values, options) is borrowed for the call. Beside what is said of each
 * function, every one may end as BADREQUEST or TOOLARGE (the arguments), UNAVAILABLE, UNKNOWN (only
 * what writes), BUSY, IO or INTERNAL; those that read a value also as CORRUPT. */

/* Options of writes; all zero (or NULL) means none. */
enum {
    SHARDCASK_IF_VERSION = 1, /* only if the key has version if_version (0: only if absent) */
    SHARDCASK_SYNC = 2, /* wait for the disk, whatever the store's setting */
    SHARDCASK_NO_SYNC = 4, /* do not wait for the disk */
};
struct shardcask_write {
    unsigned flags;
    uint64_t ttl_ms; /* from now; 0: does not expire */
    uint64_t if_version; /* counts with SHARDCASK_IF_VERSION */
    uint64_t expires_ms; /* of a put, in place of ttl_ms: when, in milliseconds since 1970 */
};

/* Writes a value, one encoded msgpack value of `value_size` bytes, and stores the version of the
 * write in *version (may be NULL). An earlier expiry is cleared. MISMATCH: see if_version. With
 * _str and _json the key is a NUL-terminated string, and the value is made as by
 * shardcask_value_set_str and _set_json. */
SHARDCASK_API int shardcask_put(struct shardcask *handle, const void *key, size_t key_size,
                                const void *value, size_t value_size,
                                const struct shardcask_write *options, uint64_t *version);
SHARDCASK_API int shardcask_put_str(struct shardcask *handle, const char *key, const char *text,
                                    const struct shardcask_write *options, uint64_t *version);
SHARDCASK_API int shardcask_put_json(struct shardcask *handle, const char *key, const char *json,
                                     const struct shardcask_write *options, uint64_t *version);
/* Stores the value; NOTFOUND when there is none. */
SHARDCASK_API int shardcask_get(struct shardcask *handle, const void *key, size_t key_size,
                                struct shardcask_value *value);
/* Removes the key; OK too when it is absent: *existed (may be NULL) tells. Of the options, the
 * flags and if_version count. */
SHARDCASK_API int shardcask_del(struct shardcask *handle, const void *key, size_t key_size,
                                const struct shardcask_write *options, bool *existed);
/* OK whether it is there or not: *exists tells. */
SHARDCASK_API int shardcask_exists(struct shardcask *handle, const void *key, size_t key_size,
                                   bool *exists);
/* Adds to an integer and stores the sum; an absent key counts as 0, the expiry stays. `result` may
 * be NULL. WRONGTYPE when the value is no integer, or the sum leaves int64. */
SHARDCASK_API int shardcask_incr(struct shardcask *handle, const void *key, size_t key_size,
                                 int64_t delta, int64_t *result);
/* Lets the key expire *ttl_ms from now; ttl_ms NULL: never. NOTFOUND when there is none; `version`
 * may be NULL. */
SHARDCASK_API int shardcask_touch(struct shardcask *handle, const void *key, size_t key_size,
                                  const uint64_t *ttl_ms, uint64_t *version);

struct shardcask_meta {
    uint64_t version;
    uint64_t size; /* bytes of the encoded value */
    bool has_ttl;
    uint64_t ttl_ms; /* left */
    uint32_t slot; /* 0 to 16,383 */
    uint32_t shard; /* the id of its owner */
};
/* Tells of a key without its value; NOTFOUND when there is none. */
SHARDCASK_API int shardcask_meta(struct shardcask *handle, const void *key, size_t key_size,
                                 struct shardcask_meta *meta);

/* ---- Many keys: independent operations in one message, each with its own status ---- */

enum shardcask_op_kind {
    SHARDCASK_OP_GET,
    SHARDCASK_OP_PUT,
    SHARDCASK_OP_DEL,
    SHARDCASK_OP_EXISTS,
    SHARDCASK_OP_INCR,
    SHARDCASK_OP_TOUCH, /* ttl_ms of the options; 0: no longer expires */
    SHARDCASK_OP_META,
};

/* Set it to zero before the first use; it may be used again without. */
struct shardcask_op {
    /* in: */
    enum shardcask_op_kind kind;
    const void *key;
    size_t key_size;
    const void *value; /* put */
    size_t value_size;
    struct shardcask_write options; /* put, del, touch */
    int64_t delta; /* incr */
    void *arg; /* the caller's own */
    /* out: */
    int status;
    char *why; /* the sentence of an error, or NULL; freed by shardcask_op_clear */
    struct shardcask_value result; /* get: the value */
    uint64_t version; /* put, touch */
    bool existed; /* del, exists */
    int64_t number; /* incr */
    struct shardcask_meta meta; /* meta */
};

/* Frees what the library put into an operation. */
SHARDCASK_API void shardcask_op_clear(struct shardcask_op *op);

/* Carries out `count` operations; two on one key take effect in their order. They go out in as few
 * messages as the limits allow, one after the other; those of a direct client to all shards at
 * once. Every operation gets a status in any case. OK: each of its own; otherwise a message as a
 * whole failed, and the operations in it have that status, which is returned. */
SHARDCASK_API int shardcask_batch(struct shardcask *handle, struct shardcask_op *ops, size_t count);

/* The same with the kind of each operation set here. */
SHARDCASK_API int shardcask_mget(struct shardcask *handle, struct shardcask_op *ops, size_t count);
SHARDCASK_API int shardcask_mput(struct shardcask *handle, struct shardcask_op *ops, size_t count);
SHARDCASK_API int shardcask_mdel(struct shardcask *handle, struct shardcask_op *ops, size_t count);

/* ---- Asynchronous ---- */

/* Called once, when the operation has ended, on a thread of the library: it must return soon, may
 * start further operations, and must not wait for any. `op` is the one submitted. */
typedef void shardcask_done(struct shardcask_op *op);

/* Starts an operation; `op` and the bytes that it points to are the library's until `done` is
 * called. Returns OK, or why the operation was not taken (BADREQUEST, TOOLARGE, or UNAVAILABLE when
 * the handle is being closed): then `done` is not called. Waits, while too much is outstanding, for
 * some of it to end; inside a callback it never waits.
 *
 * Operations on one key that one thread submits take effect in the order it submitted them in, with
 * one exception: a read to whose reply a joined message had no room is sent once more, behind what
 * was submitted in the meantime. Nothing is promised about the order of operations on different
 * keys, which are joined into messages and spread over the shards, nor of them and the calls that
 * wait. */
SHARDCASK_API int shardcask_submit(struct shardcask *handle, struct shardcask_op *op,
                                   shardcask_done *done);

/* The same for a batch, called once when each of its operations has ended with a status of its own.
 */
typedef void shardcask_batch_done(struct shardcask_op *ops, size_t count, void *arg);

/* Starts `count` operations, as shardcask_batch carries them out: bad ones end with their statuses
 * and the others go on; the order on a key is as described above. `arg` is handed to `done`.
 * Returns OK, or why nothing was taken: BADREQUEST for no operations at all, UNAVAILABLE when the
 * handle is being closed. */
SHARDCASK_API int shardcask_submit_batch(struct shardcask *handle, struct shardcask_op *ops,
                                         size_t count, shardcask_batch_done *done, void *arg);

/* Waits until nothing that was submitted before is outstanding, callbacks included. Not from a
 * callback. */
SHARDCASK_API void shardcask_drain(struct shardcask *handle);

/* ---- The whole store ---- */

struct shardcask_scan; /* an iterator: used by one thread at a time */

struct shardcask_scan_options {
    const void *prefix; /* only keys that begin with these bytes */
    size_t prefix_size;
    uint32_t page; /* keys fetched at a time, at most 10,000; 0: 1,000 */
    bool values;
};

/* Begins a scan; `options` may be NULL, the prefix is copied. Nothing is fetched yet. Close it
 * before the handle. Every key that is present throughout is returned; keys come in no useful
 * order, and one may come twice while slots move. */
SHARDCASK_API int shardcask_scan_open(struct shardcask *handle,
                                      const struct shardcask_scan_options *options,
                                      struct shardcask_scan **scan);
/* OK: the next key, and value if asked for; the bytes are valid until the next call. NOTFOUND: the
 * end. CORRUPT or IO with a key: the value of this key cannot be read (it is NULL); the next call
 * goes on behind it. Another status, or no key (NULL): an error; the call may be repeated. */
SHARDCASK_API int shardcask_scan_next(struct shardcask_scan *scan, const void **key,
                                      size_t *key_size, const void **value, size_t *value_size);
/* Frees the iterator; at any time. NULL is allowed. */
SHARDCASK_API void shardcask_scan_close(struct shardcask_scan *scan);

/* How many keys there are, on all shards: UNAVAILABLE when one of them is down. */
SHARDCASK_API int shardcask_count(struct shardcask *handle, uint64_t *count);
/* Removes every key, shard by shard, and tells how many (`removed` may be NULL). When a shard is
 * down, or fails, it ends with that status, and others may have been cleared. */
SHARDCASK_API int shardcask_clear(struct shardcask *handle, uint64_t *removed);
/* When it returns OK, all that was acknowledged before is on disk, on every shard. */
SHARDCASK_API int shardcask_sync(struct shardcask *handle);
/* Asks every shard to reclaim the space of dead records; does not wait for it. */
SHARDCASK_API int shardcask_compact(struct shardcask *handle);
/* Figures and the cluster map, as msgpack maps (see PROTOCOL.md). */
SHARDCASK_API int shardcask_stats(struct shardcask *handle, struct shardcask_value *stats);
SHARDCASK_API int shardcask_map(struct shardcask *handle, struct shardcask_value *map);
/* What the server says of itself. */
SHARDCASK_API int shardcask_ping(struct shardcask *handle, struct shardcask_value *info);

/* Any request as msgpack, for operations that have no function here: `request` is a whole body, and
 * `reply` gets the whole reply body, status included. Returns OK when there is a reply, whatever
 * its status. */
SHARDCASK_API int shardcask_call(struct shardcask *handle, const void *request, size_t size,
                                 struct shardcask_value *reply);

#ifdef __cplusplus
}
#endif

#endif
