#include "tests/coordinator/fake_shard.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static const struct sc_msg_limits limits = {.value_max = SC_VALUE_MAX_DEFAULT};

static void put_hello(const struct fake_shard *shard, struct sc_buf *out)
{
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, 0);
    sc_mp_put_map(out, 5);
    sc_mp_put_cstr(out, "adopted");
    sc_mp_put_bool(out, shard->adopted);
    sc_mp_put_cstr(out, "cluster");
    sc_mp_put_bin(out, sc_slice(shard->cluster, sizeof shard->cluster));
    sc_mp_put_cstr(out, "shard");
    sc_mp_put_uint(out, shard->shard_id);
    sc_mp_put_cstr(out, "new in a later version");
    sc_mp_put_array(out, 0);
    sc_mp_put_cstr(out, "keys");
    sc_mp_put_uint(out, shard->keys);
}

static void put_item_reply(const struct fake_shard *shard, const struct sc_msg_request *item,
                           struct sc_buf *out)
{
    if (shard->moved) {
        sc_msg_reply_moved(out, "not mine", 9, sc_slice_str(""));
    } else if (item->op == SC_OP_GET) {
        sc_mp_put_array(out, 2);
        sc_mp_put_uint(out, 0);
        sc_mp_put_bin(out, item->key);
    } else {
        sc_msg_reply_uint(out, 1);
    }
}

static void put_join(struct fake_shard *shard, struct sc_msg_request *request, struct sc_buf *out)
{
    char why[SC_WHY_SIZE];
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, 0);
    sc_mp_put_array(out, request->item_count);
    for (uint32_t i = 0; i < request->item_count; i++) {
        struct sc_msg_request item;
        if (shard->again_after > 0 && i >= shard->again_after) {
            sc_buf_append(out, "\x91\x64", 2);
            continue;
        }
        ck_assert_int_eq(sc_msg_next_item(request, &limits, &item, why), SC_OK);
        if (request->op == SC_OP_X_PEEK && shard->cold != NULL &&
            sc_slice_equal(item.key, sc_slice_str(shard->cold))) {
            sc_buf_append(out, "\x91\x63", 2);
            continue;
        }
        put_item_reply(shard, &item, out);
        shard->items++;
        shard->waited += request->op == SC_OP_X_JOIN ? 1 : 0;
    }
}

static void put_reply(struct fake_shard *shard, struct sc_msg_request *request, struct sc_buf *out)
{
    switch (request->op) {
    case SC_OP_X_HELLO:
        put_hello(shard, out);
        break;
    case SC_OP_X_ADOPT:
        shard->adopted = true;
        memcpy(shard->cluster, request->cluster.data, sizeof shard->cluster);
        shard->shard_id = request->shard_id;
        sc_msg_reply_status(out, SC_OK, NULL);
        break;
    case SC_OP_X_GRANT:
        shard->grants++;
        shard->term = request->term;
        shard->epoch = request->epoch;
        sc_msg_reply_status(out, SC_OK, NULL);
        break;
    case SC_OP_COUNT:
    case SC_OP_CLEAR:
        sc_msg_reply_uint(out, shard->keys);
        break;
    case SC_OP_STATS:
        sc_mp_put_array(out, 2);
        sc_mp_put_uint(out, 0);
        sc_mp_put_map(out, 2);
        sc_mp_put_cstr(out, "id");
        sc_mp_put_uint(out, shard->shard_id);
        sc_mp_put_cstr(out, "keys");
        sc_mp_put_uint(out, shard->keys);
        break;
    default:
        sc_msg_reply_status(out, SC_OK, NULL);
        break;
    }
}

static void on_request(void *arg, const struct sc_sp_origin *origin, struct sc_slice body)
{
    struct fake_shard *shard = arg;
    struct sc_msg_request request;
    char why[SC_WHY_SIZE];
    ck_assert_int_eq(sc_msg_parse_request(body, &limits, &request, why), SC_OK);
    bool joined = request.op == SC_OP_X_JOIN || request.op == SC_OP_X_PEEK;
    if (joined) {
        bool hold = shard->hold || (shard->hold_join && request.op == SC_OP_X_JOIN);
        shard->joins++;
        if (hold && !shard->has_held) {
            shard->held = *origin;
            shard->has_held = true;
            return;
        }
    }
    struct sc_buf *out = sc_sp_reply_begin(origin);
    if (joined && shard->nonsense) {
        sc_buf_append(out, "\xc1", 1);
    } else if (joined && shard->refuse != 0) {
        sc_msg_reply_status(out, shard->refuse, "refused as a whole");
    } else if (joined) {
        put_join(shard, &request, out);
    } else {
        put_reply(shard, &request, out);
    }
    sc_sp_reply_end(origin);
}

void fake_shard_open(struct fake_shard *shard, const char *url)
{
    char why[SC_WHY_SIZE];
    struct sc_sp_hub_options hub = {.message_max = 80u << 20};
    struct sc_sp_listener_options options = {.url = url, .on_request = on_request, .arg = shard};
    snprintf(shard->url, sizeof shard->url, "%s", url);
    ck_assert_int_eq(sc_sp_hub_open(&hub, &shard->hub, why), SC_OK);
    ck_assert_msg(sc_sp_listen(shard->hub, &options, &shard->listener, why) == SC_OK, "%s", why);
}

void fake_shard_close(struct fake_shard *shard)
{
    if (shard->hub == NULL) {
        return;
    }
    sc_sp_hub_lock(shard->hub);
    if (shard->has_held) {
        sc_sp_drop(&shard->held);
        shard->has_held = false;
    }
    sc_sp_hub_unlock(shard->hub);
    sc_sp_hub_close(shard->hub, 0);
    shard->hub = NULL;
}

void fake_shard_lock(struct fake_shard *shard)
{
    sc_sp_hub_lock(shard->hub);
}

void fake_shard_unlock(struct fake_shard *shard)
{
    sc_sp_hub_unlock(shard->hub);
}
