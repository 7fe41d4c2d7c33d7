/*
 * The calls that wait: one key, and the store as a whole.
 */
#include "client/error.h"
#include "client/handle.h"
#include "client/json.h"
#include "client/value.h"

/* ---- One key ---- */

static struct shardcask_op single(enum shardcask_op_kind kind, const void *key, size_t key_size,
                                  const struct shardcask_write *options)
{
    struct shardcask_op op = {.kind = kind, .key = key, .key_size = key_size};
    if (options != NULL) {
        op.options = *options;
    }
    return op;
}

int shardcask_put(struct shardcask *handle, const void *key, size_t key_size, const void *value,
                  size_t value_size, const struct shardcask_write *options, uint64_t *version)
{
    struct shardcask_op op = single(SHARDCASK_OP_PUT, key, key_size, options);
    op.value = value;
    op.value_size = value_size;
    int status = sc_handle_run(handle, &op);
    if (status == SC_OK && version != NULL) {
        *version = op.version;
    }
    return status;
}

/* Puts an encoded value and frees it. */
static int put_value(struct shardcask *handle, const char *key, struct shardcask_value *value,
                     const struct shardcask_write *options, uint64_t *version)
{
    int status =
        shardcask_put(handle, key, strlen(key), value->data, value->size, options, version);
    shardcask_value_free(value);
    return status;
}

int shardcask_put_str(struct shardcask *handle, const char *key, const char *text,
                      const struct shardcask_write *options, uint64_t *version)
{
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    int status = shardcask_value_set_str(&value, text);
    return status == SC_OK ? put_value(handle, key, &value, options, version) : status;
}

int shardcask_put_json(struct shardcask *handle, const char *key, const char *json,
                       const struct shardcask_write *options, uint64_t *version)
{
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    int status = shardcask_value_set_json(&value, json, strlen(json));
    return status == SC_OK ? put_value(handle, key, &value, options, version) : status;
}

int shardcask_get(struct shardcask *handle, const void *key, size_t key_size,
                  struct shardcask_value *value)
{
    struct shardcask_op op = single(SHARDCASK_OP_GET, key, key_size, NULL);
    op.result = *value; /* its memory is used again */
    int status = sc_handle_run(handle, &op);
    *value = op.result;
    return status;
}

int shardcask_del(struct shardcask *handle, const void *key, size_t key_size,
                  const struct shardcask_write *options, bool *existed)
{
    struct shardcask_op op = single(SHARDCASK_OP_DEL, key, key_size, options);
    int status = sc_handle_run(handle, &op);
    if (status == SC_OK && existed != NULL) {
        *existed = op.existed;
    }
    return status;
}

int shardcask_exists(struct shardcask *handle, const void *key, size_t key_size, bool *exists)
{
    struct shardcask_op op = single(SHARDCASK_OP_EXISTS, key, key_size, NULL);
    int status = sc_handle_run(handle, &op);
    if (status == SC_OK) {
        *exists = op.existed;
    }
    return status;
}

int shardcask_incr(struct shardcask *handle, const void *key, size_t key_size, int64_t delta,
                   int64_t *result)
{
    struct shardcask_op op = single(SHARDCASK_OP_INCR, key, key_size, NULL);
    op.delta = delta;
    int status = sc_handle_run(handle, &op);
    if (status == SC_OK && result != NULL) {
        *result = op.number;
    }
    return status;
}

int shardcask_touch(struct shardcask *handle, const void *key, size_t key_size,
                    const uint64_t *ttl_ms, uint64_t *version)
{
    struct shardcask_op op = single(SHARDCASK_OP_TOUCH, key, key_size, NULL);
    if (ttl_ms != NULL) {
        if (*ttl_ms == 0) {
            return sc_fail(sc_error_room(), SC_BADREQUEST, "ttl_ms must be at least 1");
        }
        op.options.ttl_ms = *ttl_ms;
    }
    int status = sc_handle_run(handle, &op);
    if (status == SC_OK && version != NULL) {
        *version = op.version;
    }
    return status;
}

int shardcask_meta(struct shardcask *handle, const void *key, size_t key_size,
                   struct shardcask_meta *meta)
{
    struct shardcask_op op = single(SHARDCASK_OP_META, key, key_size, NULL);
    int status = sc_handle_run(handle, &op);
    if (status == SC_OK) {
        *meta = op.meta;
    }
    return status;
}

/* ---- The whole store ---- */

/* Asks [op] and leaves the reply, and a cursor at its results. */
static int ask(struct shardcask *handle, enum sc_op op, bool repeatable,
               struct shardcask_value *reply, struct sc_msg_reply *parsed)
{
    struct sc_buf request = {0};
    sc_msg_put_op(&request, op, 0);
    int status = sc_handle_ask(handle, sc_buf_slice(&request), repeatable, reply, parsed);
    sc_buf_fini(&request);
    return status;
}

static int ask_number(struct shardcask *handle, enum sc_op op, bool repeatable, uint64_t *number)
{
    struct shardcask_value reply = SHARDCASK_VALUE_INIT;
    struct sc_msg_reply parsed;
    uint64_t read = 0;
    int status = ask(handle, op, repeatable, &reply, &parsed);
    if (status == SC_OK && !sc_mp_uint(&parsed.result, &read)) {
        status = sc_handle_senseless();
    }
    if (status == SC_OK && number != NULL) {
        *number = read;
    }
    shardcask_value_free(&reply);
    return status;
}

/* Asks [op] and stores its result number `index`. */
static int ask_value(struct shardcask *handle, enum sc_op op, uint32_t index,
                     struct shardcask_value *value)
{
    struct shardcask_value reply = SHARDCASK_VALUE_INIT;
    struct sc_msg_reply parsed;
    struct sc_slice result = {0};
    int status = ask(handle, op, true, &reply, &parsed);
    if (status == SC_OK) {
        bool read = parsed.results > index;
        for (uint32_t i = 0; i <= index; i++) {
            read = sc_mp_skip(&parsed.result, &result) && read;
        }
        if (read) {
            sc_value_copy(value, result);
        } else {
            status = sc_handle_senseless();
        }
    }
    shardcask_value_free(&reply);
    return status;
}

static int ask_nothing(struct shardcask *handle, enum sc_op op)
{
    struct shardcask_value reply = SHARDCASK_VALUE_INIT;
    struct sc_msg_reply parsed;
    int status = ask(handle, op, true, &reply, &parsed);
    shardcask_value_free(&reply);
    return status;
}

int shardcask_count(struct shardcask *handle, uint64_t *count)
{
    return ask_number(handle, SC_OP_COUNT, true, count);
}

int shardcask_clear(struct shardcask *handle, uint64_t *removed)
{
    return ask_number(handle, SC_OP_CLEAR, false, removed);
}

int shardcask_sync(struct shardcask *handle)
{
    return ask_nothing(handle, SC_OP_SYNC);
}

int shardcask_compact(struct shardcask *handle)
{
    return ask_nothing(handle, SC_OP_COMPACT);
}

int shardcask_stats(struct shardcask *handle, struct shardcask_value *stats)
{
    return ask_value(handle, SC_OP_STATS, 0, stats);
}

int shardcask_map(struct shardcask *handle, struct shardcask_value *map)
{
    return ask_value(handle, SC_OP_MAP, 0, map);
}

int shardcask_ping(struct shardcask *handle, struct shardcask_value *info)
{
    return ask_value(handle, SC_OP_PING, 1, info);
}

int shardcask_call(struct shardcask *handle, const void *request, size_t size,
                   struct shardcask_value *reply)
{
    return sc_handle_call(handle, sc_slice(request, size), false, reply);
}
