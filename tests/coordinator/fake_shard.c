#include "tests/coordinator/fake_shard.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"

static const struct sc_msg_limits limits = {.value_max = SC_VALUE_MAX_DEFAULT};

static void put_move(struct sc_buf *out, const char *name, uint64_t move)
{
    sc_mp_put_cstr(out, name);
    if (move == 0) {
        sc_mp_put_nil(out);
    } else {
        sc_mp_put_uint(out, move);
    }
}

static void put_hello(const struct fake_shard *shard, struct sc_buf *out)
{
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, 0);
    sc_mp_put_map(out, shard->tells_clock ? 8 : 5);
    if (shard->tells_clock) {
        sc_mp_put_cstr(out, "clock_ms");
        sc_mp_put_uint(out, sc_clock_mono_ms());
        put_move(out, "importing", shard->importing);
        put_move(out, "exporting", shard->exporting);
    }
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

/* Notes the order of puts whose values are integers. */
static void note_put(struct fake_shard *shard, const struct sc_msg_request *item)
{
    struct sc_mp mp = sc_mp(item->value);
    uint64_t number = 0;
    if (sc_mp_uint(&mp, &number)) {
        shard->disordered |= number < shard->last_put;
        shard->last_put = number;
    }
}

static void put_item_reply(struct fake_shard *shard, const struct sc_msg_request *item,
                           struct sc_buf *out)
{
    int status = shard->judge != NULL ? shard->judge(shard, item) : SC_OK;
    if (item->op == SC_OP_PUT && shard->judge == NULL) {
        note_put(shard, item);
    }
    if (status == SC_MOVED || shard->moved) {
        sc_msg_reply_moved(out, "not mine", 9, sc_slice_str(""));
    } else if (status != SC_OK) {
        sc_msg_reply_status(out, status, "a test has it so");
    } else if (item->op == SC_OP_GET && shard->judge != NULL) {
        sc_msg_reply_uint(out, shard->last_put);
    } else if (item->op == SC_OP_GET && shard->value_size > 0) {
        struct sc_buf value = {0};
        memset(sc_buf_reserve(&value, shard->value_size), 'v', shard->value_size);
        value.size = shard->value_size;
        sc_mp_put_array(out, 2);
        sc_mp_put_uint(out, 0);
        sc_mp_put_bin(out, sc_buf_slice(&value));
        sc_buf_fini(&value);
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
    bool read = false;
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, 0);
    sc_mp_put_array(out, request->item_count);
    for (uint32_t i = 0; i < request->item_count; i++) {
        struct sc_msg_request item;
        if (read && shard->again_after > 0 && i >= shard->again_after) {
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
        shard->waited += request->op == SC_OP_X_JOIN ? 1 : 0;
        read |= item.op == SC_OP_GET;
        shard->items++;
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

static void answer(struct fake_shard *shard, const struct sc_sp_origin *origin,
                   struct sc_slice body)
{
    struct sc_msg_request request;
    char why[SC_WHY_SIZE];
    ck_assert_int_eq(sc_msg_parse_request(body, &limits, &request, why), SC_OK);
    bool joined = request.op == SC_OP_X_JOIN || request.op == SC_OP_X_PEEK;
    if (shard->takes != NULL && shard->takes(shard, &request, origin, body)) {
        return;
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

/* What the message is, if it is a joined one: x.join or x.peek; else SC_OP_NONE. */
static enum sc_op joined_op(struct sc_slice body)
{
    struct sc_msg_request request;
    char why[SC_WHY_SIZE];
    ck_assert_int_eq(sc_msg_parse_request(body, &limits, &request, why), SC_OK);
    return request.op == SC_OP_X_JOIN || request.op == SC_OP_X_PEEK ? request.op : SC_OP_NONE;
}

static void keep(struct sc_sp_origin *kept, struct sc_buf *kept_body, bool *has,
                 const struct sc_sp_origin *origin, struct sc_slice body)
{
    *kept = *origin;
    kept_body->size = 0;
    sc_buf_append_slice(kept_body, body);
    *has = true;
}

static void on_request(void *arg, const struct sc_sp_origin *origin, struct sc_slice body)
{
    struct fake_shard *shard = arg;
    uint64_t deadline_ms;
    (void)sc_msg_take_by(&body, &deadline_ms);
    enum sc_op op = joined_op(body);
    if (op != SC_OP_NONE) {
        bool hold = shard->hold || (shard->hold_join && op == SC_OP_X_JOIN);
        shard->joins++;
        if (hold && !shard->has_held) {
            keep(&shard->held, &shard->held_body, &shard->has_held, origin, body);
            return;
        }
        if (shard->hold_second && !shard->has_second) {
            keep(&shard->second, &shard->second_body, &shard->has_second, origin, body);
            return;
        }
    }
    answer(shard, origin, body);
}

void fake_shard_answer_held(struct fake_shard *shard)
{
    fake_shard_lock(shard);
    ck_assert(shard->has_held);
    answer(shard, &shard->held, sc_buf_slice(&shard->held_body));
    if (shard->has_second) {
        answer(shard, &shard->second, sc_buf_slice(&shard->second_body));
    }
    shard->has_held = shard->has_second = false;
    shard->hold = shard->hold_second = false;
    fake_shard_unlock(shard);
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
    }
    if (shard->has_second) {
        sc_sp_drop(&shard->second);
    }
    shard->has_held = shard->has_second = false;
    sc_sp_hub_unlock(shard->hub);
    sc_sp_hub_close(shard->hub, 0);
    sc_buf_fini(&shard->held_body);
    sc_buf_fini(&shard->second_body);
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
