#include "shard/ops.h"

#include "shard/fetch.h"

/* Everything that the handlers share: one request on its way. */
struct call {
    struct sc_bitcask *store;
    const struct sc_msg_request *request;
    uint64_t hash;
    struct sc_fetch *fetch;
    struct sc_buf *reply;
    sc_bitcask_position position;
    char why[SC_WHY_SIZE];
};

static struct sc_bitcask_write write_options(const struct sc_msg_write_options *options)
{
    return (struct sc_bitcask_write){
        .ttl_ms = options->has_ttl ? &options->ttl_ms : NULL,
        .expires_ms = options->has_expires ? &options->expires_ms : NULL,
        .if_version = options->has_if_version ? &options->if_version : NULL,
        .sync = options->has_sync ? &options->sync : NULL,
    };
}

/* The record has to be fetched first: the answer comes when the operation is tried again. */
static bool wants(const struct call *call)
{
    return call->fetch != NULL && sc_fetch_wants(call->fetch);
}

static void refuse(struct call *call, enum sc_status status)
{
    if (wants(call)) {
        return;
    }
    const char *why = call->why[0] != '\0' ? call->why : sc_status_str(status);
    sc_msg_reply_status(call->reply, status, why);
}

static void get(struct call *call)
{
    size_t start = call->reply->size;
    sc_mp_put_array(call->reply, 2);
    sc_mp_put_uint(call->reply, SC_OK);
    enum sc_status status = sc_bitcask_get(call->store, call->request->key, call->hash, call->reply,
                                           &call->position, call->why);
    if (status != SC_OK) {
        call->reply->size = start;
        refuse(call, status);
    }
}

static void put(struct call *call)
{
    const struct sc_msg_request *request = call->request;
    struct sc_bitcask_write options = write_options(&request->options);
    uint64_t version = 0;
    enum sc_status status = sc_bitcask_put(call->store, request->key, call->hash, request->value,
                                           &options, &version, &call->position, call->why);
    if (status == SC_OK) {
        sc_msg_reply_uint(call->reply, version);
    } else {
        refuse(call, status);
    }
}

static void del(struct call *call)
{
    struct sc_bitcask_write options = write_options(&call->request->options);
    bool existed = false;
    enum sc_status status = sc_bitcask_del(call->store, call->request->key, call->hash, &options,
                                           &existed, &call->position, call->why);
    if (status == SC_OK) {
        sc_msg_reply_bool(call->reply, existed);
    } else {
        refuse(call, status);
    }
}

static void exists(struct call *call)
{
    enum sc_status status =
        sc_bitcask_exists(call->store, call->request->key, call->hash, &call->position);
    sc_msg_reply_bool(call->reply, status == SC_OK);
}

static void meta(struct call *call)
{
    struct sc_bitcask_identity identity;
    struct sc_bitcask_meta meta = {0};
    enum sc_status status = sc_bitcask_meta(call->store, call->request->key, call->hash, &meta,
                                            &call->position, call->why);
    if (status != SC_OK) {
        refuse(call, status);
        return;
    }
    struct sc_buf *reply = call->reply;
    sc_mp_put_array(reply, 2);
    sc_mp_put_uint(reply, SC_OK);
    sc_mp_put_map(reply, 5);
    sc_mp_put_member(reply, "version", meta.version);
    sc_mp_put_member(reply, "size", meta.size);
    sc_mp_put_cstr(reply, "ttl_ms");
    if (meta.has_ttl) {
        sc_mp_put_uint(reply, meta.ttl_ms);
    } else {
        sc_mp_put_nil(reply);
    }
    sc_mp_put_member(reply, "slot", sc_slot_of_hash(call->hash));
    sc_mp_put_cstr(reply, "shard");
    sc_bitcask_identity(call->store, &identity);
    sc_mp_put_uint(reply, identity.shard_id);
}

static void touch(struct call *call)
{
    const struct sc_msg_request *request = call->request;
    const uint64_t *ttl_ms = request->ttl_nil ? NULL : &request->options.ttl_ms;
    uint64_t version = 0;
    enum sc_status status = sc_bitcask_touch(call->store, request->key, call->hash, ttl_ms,
                                             &version, &call->position, call->why);
    if (status == SC_OK) {
        sc_msg_reply_uint(call->reply, version);
    } else {
        refuse(call, status);
    }
}

static void incr(struct call *call)
{
    int64_t result = 0;
    enum sc_status status =
        sc_bitcask_incr(call->store, call->request->key, call->hash, call->request->delta, &result,
                        &call->position, call->why);
    if (status == SC_OK) {
        sc_msg_reply_int(call->reply, result);
    } else {
        refuse(call, status);
    }
}

bool sc_ops_execute(struct sc_bitcask *store, const struct sc_msg_request *request, uint64_t hash,
                    struct sc_fetch *fetch, struct sc_buf *reply, sc_bitcask_position *position)
{
    struct call call;
    call.store = store;
    call.request = request;
    call.hash = hash;
    call.fetch = fetch;
    call.reply = reply;
    call.position = 0;
    call.why[0] = '\0';
    sc_bitcask_lend(store, fetch);
    switch (request->op) {
    case SC_OP_GET:
        get(&call);
        break;
    case SC_OP_PUT:
        put(&call);
        break;
    case SC_OP_DEL:
        del(&call);
        break;
    case SC_OP_EXISTS:
        exists(&call);
        break;
    case SC_OP_META:
        meta(&call);
        break;
    case SC_OP_TOUCH:
        touch(&call);
        break;
    case SC_OP_INCR:
        incr(&call);
        break;
    default:
        sc_msg_reply_status(reply, SC_INTERNAL, "not a single-key operation");
        break;
    }
    sc_bitcask_lend(store, NULL);
    *position = call.position;
    return !wants(&call);
}
