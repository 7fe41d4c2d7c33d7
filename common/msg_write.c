#include <assert.h>

#include "common/bytes.h"
#include "common/msg.h"

/* ---- The envelope: of one size, so that it can be told without parsing what is in it ---- */

#define BY_HEAD "\x93\xa4x.by\xcf"
#define BY_HEAD_SIZE (sizeof BY_HEAD - 1)
#define BY_SIZE (BY_HEAD_SIZE + 8)

void sc_msg_put_by(struct sc_buf *out, uint64_t deadline_ms)
{
    sc_buf_append(out, BY_HEAD, BY_HEAD_SIZE);
    sc_be64_put(sc_buf_reserve(out, 8), deadline_ms);
    out->size += 8;
}

bool sc_msg_take_by(struct sc_slice *body, uint64_t *deadline_ms)
{
    const uint8_t *bytes = body->data;
    if (body->size < BY_SIZE || memcmp(bytes, BY_HEAD, BY_HEAD_SIZE) != 0) {
        return false;
    }
    *deadline_ms = sc_be64_get(bytes + BY_HEAD_SIZE);
    *body = sc_slice(bytes + BY_SIZE, body->size - BY_SIZE);
    return true;
}

/* ---- Requests ---- */

void sc_msg_put_op(struct sc_buf *out, enum sc_op op, uint32_t arguments)
{
    sc_mp_put_array(out, 1 + arguments);
    sc_mp_put_cstr(out, sc_op_name(op));
}

void sc_msg_put_key_request(struct sc_buf *out, enum sc_op op, struct sc_slice key)
{
    sc_msg_put_op(out, op, 1);
    sc_mp_put_bin(out, key);
}

void sc_msg_put_raw_key_request(struct sc_buf *out, enum sc_op op, struct sc_slice key_raw)
{
    sc_msg_put_op(out, op, 1);
    sc_buf_append_slice(out, key_raw);
}

static uint32_t count_options(const struct sc_msg_write_options *options)
{
    return options == NULL ? 0
                           : (uint32_t)options->has_ttl + options->has_expires +
                                 options->has_if_version + options->has_sync;
}

static void put_options(struct sc_buf *out, const struct sc_msg_write_options *options)
{
    uint32_t count = count_options(options);
    if (count == 0) {
        return;
    }
    sc_mp_put_map(out, count);
    if (options->has_ttl) {
        sc_mp_put_cstr(out, "ttl_ms");
        sc_mp_put_uint(out, options->ttl_ms);
    }
    if (options->has_expires) {
        sc_mp_put_cstr(out, "expires_ms");
        sc_mp_put_uint(out, options->expires_ms);
    }
    if (options->has_if_version) {
        sc_mp_put_cstr(out, "if_version");
        sc_mp_put_uint(out, options->if_version);
    }
    if (options->has_sync) {
        sc_mp_put_cstr(out, "sync");
        sc_mp_put_bool(out, options->sync);
    }
}

void sc_msg_put_put(struct sc_buf *out, struct sc_slice key, struct sc_slice value,
                    const struct sc_msg_write_options *options)
{
    sc_msg_put_op(out, SC_OP_PUT, count_options(options) > 0 ? 3 : 2);
    sc_mp_put_bin(out, key);
    sc_buf_append_slice(out, value);
    put_options(out, options);
}

void sc_msg_put_del(struct sc_buf *out, struct sc_slice key,
                    const struct sc_msg_write_options *options)
{
    assert(options == NULL || (!options->has_ttl && !options->has_expires && !options->has_sync));
    sc_msg_put_op(out, SC_OP_DEL, count_options(options) > 0 ? 2 : 1);
    sc_mp_put_bin(out, key);
    put_options(out, options);
}

void sc_msg_put_touch(struct sc_buf *out, struct sc_slice key, const uint64_t *ttl_ms)
{
    sc_msg_put_op(out, SC_OP_TOUCH, 2);
    sc_mp_put_bin(out, key);
    if (ttl_ms != NULL) {
        sc_mp_put_uint(out, *ttl_ms);
    } else {
        sc_mp_put_nil(out);
    }
}

void sc_msg_put_incr(struct sc_buf *out, struct sc_slice key, int64_t delta)
{
    sc_msg_put_op(out, SC_OP_INCR, 2);
    sc_mp_put_bin(out, key);
    sc_mp_put_int(out, delta);
}

void sc_msg_put_scan(struct sc_buf *out, const struct sc_msg_scan *scan, bool internal)
{
    sc_msg_put_op(out, internal ? SC_OP_X_SCAN : SC_OP_SCAN, internal ? 3 : 2);
    if (scan->cursor.size > 0) {
        sc_mp_put_bin(out, scan->cursor);
    } else {
        sc_mp_put_nil(out);
    }
    sc_mp_put_map(out, 3);
    sc_mp_put_cstr(out, "prefix");
    sc_mp_put_bin(out, scan->prefix);
    sc_mp_put_cstr(out, "limit");
    sc_mp_put_uint(out, scan->limit);
    sc_mp_put_cstr(out, "values");
    sc_mp_put_bool(out, scan->values);
    if (internal) {
        sc_mp_put_uint(out, scan->last_slot);
    }
}

void sc_msg_put_mput_item(struct sc_buf *out, const struct sc_msg_request *item)
{
    struct sc_mp rest = sc_mp(item->raw);
    uint32_t count;
    bool array = sc_mp_array(&rest, &count);
    assert(array); /* the item was parsed */
    (void)array;
    sc_msg_put_op(out, SC_OP_PUT, count);
    sc_buf_append(out, rest.at, (size_t)(rest.end - rest.at));
}

/* ---- Replies ---- */

static void put_ok(struct sc_buf *out, uint32_t results)
{
    sc_mp_put_array(out, 1 + results);
    sc_mp_put_uint(out, SC_OK);
}

void sc_msg_reply_status(struct sc_buf *out, int status, const char *why)
{
    assert(status >= 0);
    sc_mp_put_array(out, why != NULL ? 2 : 1);
    sc_mp_put_uint(out, (uint64_t)status);
    if (why != NULL) {
        sc_mp_put_cstr(out, why);
    }
}

void sc_msg_reply_uint(struct sc_buf *out, uint64_t value)
{
    put_ok(out, 1);
    sc_mp_put_uint(out, value);
}

void sc_msg_reply_int(struct sc_buf *out, int64_t value)
{
    put_ok(out, 1);
    sc_mp_put_int(out, value);
}

void sc_msg_reply_bool(struct sc_buf *out, bool value)
{
    put_ok(out, 1);
    sc_mp_put_bool(out, value);
}

void sc_msg_reply_raw(struct sc_buf *out, struct sc_slice value)
{
    put_ok(out, 1);
    sc_buf_append_slice(out, value);
}

void sc_msg_reply_moved(struct sc_buf *out, const char *why, uint64_t epoch, struct sc_slice url)
{
    sc_mp_put_array(out, 4);
    sc_mp_put_uint(out, SC_MOVED);
    sc_mp_put_cstr(out, why);
    sc_mp_put_uint(out, epoch);
    sc_mp_put_str(out, url);
}

void sc_msg_reply_page(struct sc_buf *out, enum sc_status status, struct sc_slice why,
                       struct sc_slice next)
{
    sc_mp_put_array(out, status == SC_OK ? 3 : 4);
    sc_mp_put_uint(out, status);
    if (status != SC_OK) {
        sc_mp_put_str(out, why);
    }
    if (next.size > 0) {
        sc_mp_put_bin(out, next);
    } else {
        sc_mp_put_nil(out);
    }
}

void sc_msg_put_cluster(struct sc_buf *out, const uint8_t id[SC_MSG_CLUSTER_SIZE / 2])
{
    static const char digits[] = "0123456789abcdef";
    char text[SC_MSG_CLUSTER_SIZE];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = digits[i % 2 == 0 ? id[i / 2] >> 4 : id[i / 2] & 15];
    }
    sc_mp_put_str(out, sc_slice(text, sizeof text));
}
