#include "tests/client/fake_server.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const struct sc_msg_limits limits = {SC_VALUE_MAX_DEFAULT};

static bool answers_itself(struct fake_server *fake, const struct sc_msg_request *request,
                           struct sc_buf *out)
{
    return fake->answers != NULL && fake->answers(fake, request, out);
}

static void do_single(struct fake_server *fake, const struct sc_msg_request *request,
                      struct sc_buf *out)
{
    fake->operations++;
    fake->writes += (sc_op_kind(request->op) & SC_OP_WRITE) != 0;
    if (!answers_itself(fake, request, out)) {
        fake_store_single(fake->store, request, out);
    }
}

static void do_batch(struct fake_server *fake, struct sc_msg_request *request, struct sc_buf *out)
{
    fake->batches++;
    fake->items_max = request->item_count > fake->items_max ? request->item_count : fake->items_max;
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_array(out, request->item_count);
    size_t start = out->size;
    for (uint32_t i = 0; i < request->item_count; i++) {
        struct sc_msg_request item;
        char why[SC_WHY_SIZE];
        enum sc_status status = sc_msg_next_item(request, &limits, &item, why);
        size_t before = out->size;
        if (status != SC_OK) {
            sc_msg_reply_status(out, (int)status, why);
        } else {
            do_single(fake, &item, out);
        }
        if (fake->reply_room != 0 && out->size - start > fake->reply_room) {
            out->size = before;
            sc_msg_reply_status(out, SC_TOOLARGE, "the reply does not fit");
        }
    }
}

static void do_store(struct fake_server *fake, enum sc_op op, struct sc_buf *out)
{
    size_t count = fake_store_count(fake->store);
    switch (op) {
    case SC_OP_PING:
        sc_mp_put_array(out, 3);
        sc_mp_put_uint(out, SC_OK);
        sc_mp_put_cstr(out, "shardcask");
        sc_mp_put_map(out, 0);
        break;
    case SC_OP_CLEAR:
        sc_msg_reply_uint(out, fake_store_clear(fake->store));
        break;
    case SC_OP_COUNT:
        sc_msg_reply_uint(out, count);
        break;
    case SC_OP_STATS:
    case SC_OP_MAP:
        sc_mp_put_array(out, 2);
        sc_mp_put_uint(out, SC_OK);
        sc_mp_put_map(out, 1);
        sc_mp_put_cstr(out, sc_op_name(op));
        sc_mp_put_uint(out, count);
        break;
    case SC_OP_SYNC:
    case SC_OP_COMPACT:
        sc_msg_reply_status(out, SC_OK, NULL);
        break;
    default:
        sc_msg_reply_status(out, SC_DENIED, "not here");
        break;
    }
}

static void answer(struct fake_server *fake, struct sc_slice body, struct sc_buf *out)
{
    struct sc_msg_request request;
    char why[SC_WHY_SIZE];
    (void)sc_msg_take_by(&body, &fake->deadline_ms);
    enum sc_status status = sc_msg_parse_request(body, &limits, &request, why);
    if (status != SC_OK) {
        sc_msg_reply_status(out, (int)status, why);
    } else if (request.op == SC_OP_BATCH) {
        do_batch(fake, &request, out);
    } else if (request.op == SC_OP_SCAN) {
        fake_store_scan(fake->store, &request.scan, out);
    } else if ((sc_op_kind(request.op) & SC_OP_SINGLE) != 0) {
        do_single(fake, &request, out);
    } else if (!answers_itself(fake, &request, out)) {
        do_store(fake, request.op, out);
    }
}

/* ---- The server ---- */

static void reply(struct fake_server *fake, const struct sc_sp_origin *origin, struct sc_slice body)
{
    struct sc_buf out = {0};
    if (fake->status != 0) {
        sc_msg_reply_status(&out, fake->status, "told to fail");
    } else if (fake->canned.size > 0) {
        sc_buf_append_slice(&out, fake->canned);
    } else {
        answer(fake, body, &out);
    }
    sc_sp_reply(origin, sc_buf_slice(&out));
    sc_buf_fini(&out);
}

static void on_request(void *arg, const struct sc_sp_origin *origin, struct sc_slice body)
{
    struct fake_server *fake = arg;
    fake->messages++;
    fake->body_max = body.size > fake->body_max ? body.size : fake->body_max;
    if (fake->deaf) {
        sc_sp_drop(origin);
    } else if (fake->hold) {
        fake->held = sc_realloc(fake->held, (fake->held_count + 1) * sizeof *fake->held);
        struct fake_held *held = &fake->held[fake->held_count++];
        *held = (struct fake_held){.origin = *origin};
        sc_buf_append_slice(&held->body, body);
    } else {
        reply(fake, origin, body);
    }
}

void fake_release(struct fake_server *fake)
{
    fake_lock(fake);
    fake->hold = false;
    for (size_t i = 0; i < fake->held_count; i++) {
        reply(fake, &fake->held[i].origin, sc_buf_slice(&fake->held[i].body));
        sc_buf_fini(&fake->held[i].body);
    }
    fake->held_count = 0;
    fake_unlock(fake);
}

void fake_restart(struct fake_server *fake)
{
    char why[SC_WHY_SIZE] = "";
    struct sc_sp_hub_options hub_options = {.message_max = SC_MESSAGE_MAX_DEFAULT};
    ck_assert_msg(sc_sp_hub_open(&hub_options, &fake->hub, why) == SC_OK, "%s", why);
    struct sc_sp_listener_options options = {
        .url = fake->url, .on_request = on_request, .arg = fake};
    ck_assert_msg(sc_sp_listen(fake->hub, &options, &fake->listener, why) == SC_OK, "%s", why);
}

void fake_start(struct fake_server *fake)
{
    *fake = (struct fake_server){.directory = "/tmp/sc-client-XXXXXX", .store = &fake->own_store};
    fake_store_init(&fake->own_store);
    ck_assert_ptr_nonnull(mkdtemp(fake->directory));
    (void)snprintf(fake->url, sizeof fake->url, "ipc://%s/s", fake->directory);
    fake_restart(fake);
}

void fake_stop(struct fake_server *fake)
{
    fake_lock(fake);
    for (size_t i = 0; i < fake->held_count; i++) {
        sc_sp_drop(&fake->held[i].origin);
        sc_buf_fini(&fake->held[i].body);
    }
    fake->held_count = 0;
    fake_unlock(fake);
    sc_sp_hub_close(fake->hub, 0);
    fake->hub = NULL;
}

void fake_end(struct fake_server *fake)
{
    if (fake->hub != NULL) {
        fake_stop(fake);
    }
    fake_store_fini(&fake->own_store);
    free(fake->held);
    char socket_path[96];
    (void)snprintf(socket_path, sizeof socket_path, "%s/s", fake->directory);
    (void)unlink(socket_path);
    ck_assert_int_eq(rmdir(fake->directory), 0);
}

void fake_lock(struct fake_server *fake)
{
    sc_sp_hub_lock(fake->hub);
}

void fake_unlock(struct fake_server *fake)
{
    sc_sp_hub_unlock(fake->hub);
}

size_t fake_count(struct fake_server *fake, const size_t *count)
{
    fake_lock(fake);
    size_t value = *count;
    fake_unlock(fake);
    return value;
}

static void await(struct fake_server *fake, const size_t *count, size_t wanted)
{
    for (int i = 0; i < 10000 && fake_count(fake, count) < wanted; i++) {
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    ck_assert_uint_ge(fake_count(fake, count), wanted);
}

void fake_await_held(struct fake_server *fake, size_t count)
{
    await(fake, &fake->held_count, count);
}

void fake_await_messages(struct fake_server *fake, size_t count)
{
    await(fake, &fake->messages, count);
}
