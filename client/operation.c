#include "client/operation.h"

#include "client/value.h"

#include <stdlib.h>

/* Heads, the name of the operation and all options together stay well below this. */
#define OVERHEAD_MAX 128

bool sc_operation_writes(const struct shardcask_op *op)
{
    switch (op->kind) {
    case SHARDCASK_OP_GET:
    case SHARDCASK_OP_EXISTS:
    case SHARDCASK_OP_META:
        return false;
    case SHARDCASK_OP_PUT:
    case SHARDCASK_OP_DEL:
    case SHARDCASK_OP_INCR:
    case SHARDCASK_OP_TOUCH:
        return true;
    }
    return true;
}

/* Which options an operation can have on the wire. */
static enum sc_status check_options(const struct shardcask_op *op, char *why)
{
    const unsigned known = SHARDCASK_IF_VERSION | SHARDCASK_SYNC | SHARDCASK_NO_SYNC;
    unsigned flags = op->options.flags;
    if ((flags & ~known) != 0) {
        return sc_fail(why, SC_BADREQUEST, "unknown option flags 0x%x", flags & ~known);
    }
    if ((flags & SHARDCASK_SYNC) != 0 && (flags & SHARDCASK_NO_SYNC) != 0) {
        return sc_fail(why, SC_BADREQUEST, "SYNC and NO_SYNC exclude each other");
    }
    unsigned allowed = op->kind == SHARDCASK_OP_PUT   ? known
                       : op->kind == SHARDCASK_OP_DEL ? SHARDCASK_IF_VERSION
                                                      : 0u;
    bool ttl_allowed = op->kind == SHARDCASK_OP_PUT || op->kind == SHARDCASK_OP_TOUCH;
    if ((flags & ~allowed) != 0 || (op->options.ttl_ms != 0 && !ttl_allowed)) {
        return sc_fail(why, SC_BADREQUEST, "an option that this operation does not have");
    }
    if (op->options.expires_ms != 0 && (op->kind != SHARDCASK_OP_PUT || op->options.ttl_ms != 0)) {
        return sc_fail(why, SC_BADREQUEST, "expires_ms is for puts without ttl_ms");
    }
    if (op->options.ttl_ms > SC_TTL_MS_MAX) {
        return sc_fail(why, SC_BADREQUEST, "ttl_ms is more than 100 years");
    }
    return SC_OK;
}

enum sc_status sc_operation_check(const struct shardcask_op *op, size_t message_max, char *why)
{
    if (op->kind > SHARDCASK_OP_META) {
        return sc_fail(why, SC_BADREQUEST, "unknown kind of operation %d", (int)op->kind);
    }
    if (op->key == NULL || op->key_size == 0) {
        return sc_fail(why, SC_BADREQUEST, "the key is empty");
    }
    if (op->key_size > SC_KEY_MAX) {
        return sc_fail(why, SC_TOOLARGE, "the key has %zu bytes, the limit is %u", op->key_size,
                       SC_KEY_MAX);
    }
    if (op->kind == SHARDCASK_OP_PUT) {
        /* The size first: reading over a value takes time in its size. */
        if (op->value_size > message_max - SC_KEY_MAX - OVERHEAD_MAX) {
            return sc_fail(why, SC_TOOLARGE,
                           "a value of %zu bytes does not fit into a message of %zu bytes",
                           op->value_size, message_max);
        }
        if (op->value == NULL || !sc_mp_valid(sc_slice(op->value, op->value_size))) {
            return sc_fail(why, SC_BADREQUEST,
                           "the value is not one well-formed msgpack value nested at most %u deep",
                           SC_NESTING_MAX);
        }
    }
    return check_options(op, why);
}

size_t sc_operation_size(const struct shardcask_op *op)
{
    return op->key_size + (op->kind == SHARDCASK_OP_PUT ? op->value_size : 0) + OVERHEAD_MAX;
}

static struct sc_msg_write_options wire_options(const struct shardcask_write *options)
{
    return (struct sc_msg_write_options){
        .has_ttl = options->ttl_ms != 0,
        .ttl_ms = options->ttl_ms,
        .has_expires = options->expires_ms != 0,
        .expires_ms = options->expires_ms,
        .has_if_version = (options->flags & SHARDCASK_IF_VERSION) != 0,
        .if_version = options->if_version,
        .has_sync = (options->flags & (SHARDCASK_SYNC | SHARDCASK_NO_SYNC)) != 0,
        .sync = (options->flags & SHARDCASK_SYNC) != 0,
    };
}

void sc_operation_encode(const struct shardcask_op *op, struct sc_buf *out)
{
    struct sc_slice key = sc_slice(op->key, op->key_size);
    struct sc_msg_write_options options = wire_options(&op->options);
    switch (op->kind) {
    case SHARDCASK_OP_GET:
        sc_msg_put_key_request(out, SC_OP_GET, key);
        break;
    case SHARDCASK_OP_EXISTS:
        sc_msg_put_key_request(out, SC_OP_EXISTS, key);
        break;
    case SHARDCASK_OP_META:
        sc_msg_put_key_request(out, SC_OP_META, key);
        break;
    case SHARDCASK_OP_PUT:
        sc_msg_put_put(out, key, sc_slice(op->value, op->value_size), &options);
        break;
    case SHARDCASK_OP_DEL:
        sc_msg_put_del(out, key, &options);
        break;
    case SHARDCASK_OP_INCR:
        sc_msg_put_incr(out, key, op->delta);
        break;
    case SHARDCASK_OP_TOUCH:
        sc_msg_put_touch(out, key, op->options.ttl_ms != 0 ? &op->options.ttl_ms : NULL);
        break;
    }
}

void sc_operation_begin(struct shardcask_op *op)
{
    free(op->why);
    op->why = NULL;
    op->status = SC_OPERATION_PENDING;
}

void sc_operation_fail(struct shardcask_op *op, int status, struct sc_slice why)
{
    op->status = status;
    if (why.size > 0) {
        op->why = sc_alloc(why.size + 1);
        memcpy(op->why, why.data, why.size);
        op->why[why.size] = '\0';
    }
}

size_t sc_operations_begin(struct shardcask_op *ops, size_t count, size_t message_max, bool *writes)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        char why[SC_WHY_SIZE];
        enum sc_status status = sc_operation_check(&ops[i], message_max, why);
        sc_operation_begin(&ops[i]);
        if (status != SC_OK) {
            sc_operation_fail(&ops[i], (int)status, sc_slice_str(why));
            continue;
        }
        if (writes != NULL && sc_operation_writes(&ops[i])) {
            *writes = true;
        }
        left++;
    }
    return left;
}

/* Reads meta's map; every member must be there, members of a later protocol are passed over. */
static bool read_meta(struct sc_mp *mp, struct shardcask_meta *meta)
{
    static const char *const names[] = {"version", "size", "slot", "shard"};
    uint64_t numbers[4] = {0};
    unsigned seen = 0;
    bool has_ttl = false;
    uint64_t ttl_ms = 0;
    uint32_t pairs = 0;
    if (!sc_mp_map(mp, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct sc_slice name;
        if (!sc_mp_str(mp, &name)) {
            return false;
        }
        size_t member = 0;
        while (member < 4 && !sc_slice_equal(name, sc_slice_str(names[member]))) {
            member++;
        }
        if (member < 4) {
            (void)sc_mp_uint(mp, &numbers[member]);
            seen |= 1u << member;
        } else if (sc_slice_equal(name, sc_slice_str("ttl_ms")) && sc_mp_peek(mp) == SC_MP_UINT) {
            has_ttl = sc_mp_uint(mp, &ttl_ms);
        } else {
            (void)sc_mp_skip(mp, NULL);
        }
    }
    if (sc_mp_failed(mp) || seen != 15 || numbers[2] > UINT32_MAX || numbers[3] > UINT32_MAX) {
        return false;
    }
    *meta = (struct shardcask_meta){numbers[0], numbers[1],           has_ttl,
                                    ttl_ms,     (uint32_t)numbers[2], (uint32_t)numbers[3]};
    return true;
}

bool sc_operation_end(struct shardcask_op *op, const struct sc_msg_reply *reply)
{
    if (reply->status != SC_OK) {
        /* Absence needs no words, and is common enough to save them. */
        struct sc_slice none = {0};
        sc_operation_fail(op, reply->status, reply->status == SC_NOTFOUND ? none : reply->why);
        return true;
    }
    struct sc_mp mp = reply->result;
    struct sc_slice value;
    bool read = false;
    switch (op->kind) {
    case SHARDCASK_OP_GET:
        read = sc_mp_skip(&mp, &value) && sc_mp_done(&mp);
        if (read) {
            sc_value_copy(&op->result, value);
        }
        break;
    case SHARDCASK_OP_PUT:
    case SHARDCASK_OP_TOUCH:
        read = sc_mp_uint(&mp, &op->version);
        break;
    case SHARDCASK_OP_DEL:
    case SHARDCASK_OP_EXISTS:
        read = sc_mp_bool(&mp, &op->existed);
        break;
    case SHARDCASK_OP_INCR:
        read = sc_mp_int(&mp, &op->number);
        break;
    case SHARDCASK_OP_META:
        read = read_meta(&mp, &op->meta);
        break;
    }
    if (read) {
        op->status = SC_OK;
    }
    return read;
}

void shardcask_op_clear(struct shardcask_op *op)
{
    free(op->why);
    op->why = NULL;
    shardcask_value_free(&op->result);
}
