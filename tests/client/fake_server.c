#include "tests/client/fake_server.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/slot.h"

static const struct sc_msg_limits limits = {SC_VALUE_MAX_DEFAULT};

/* ---- The store ---- */

static struct fake_entry *find(struct fake_server *fake, struct sc_slice key)
{
    for (size_t i = 0; i < fake->entry_count; i++) {
        if (sc_slice_equal(sc_buf_slice(&fake->entries[i].key), key)) {
            return &fake->entries[i];
        }
    }
    return NULL;
}

static struct fake_entry *find_or_add(struct fake_server *fake, struct sc_slice key)
{
    struct fake_entry *entry = find(fake, key);
    if (entry == NULL) {
        fake->entries = sc_realloc(fake->entries, (fake->entry_count + 1) * sizeof *fake->entries);
        entry = &fake->entries[fake->entry_count++];
        *entry = (struct fake_entry){0};
        sc_buf_append_slice(&entry->key, key);
    }
    entry->version = ++fake->version;
    return entry;
}

static void remove_entry(struct fake_server *fake, struct fake_entry *entry)
{
    sc_buf_fini(&entry->key);
    sc_buf_fini(&entry->value);
    *entry = fake->entries[--fake->entry_count];
}

static void do_put(struct fake_server *fake, const struct sc_msg_request *request,
                   struct sc_buf *out)
{
    struct fake_entry *entry = find(fake, request->key);
    if (request->options.has_if_version &&
        request->options.if_version != (entry != NULL ? entry->version : 0)) {
        sc_msg_reply_status(out, SC_MISMATCH, "the version is another");
        return;
    }
    entry = find_or_add(fake, request->key);
    entry->value.size = 0;
    sc_buf_append_slice(&entry->value, request->value);
    entry->ttl_ms = request->options.has_ttl ? request->options.ttl_ms : 0;
    sc_msg_reply_uint(out, entry->version);
}

static void do_incr(struct fake_server *fake, const struct sc_msg_request *request,
                    struct sc_buf *out)
{
    struct fake_entry *entry = find(fake, request->key);
    int64_t number = 0;
    if (entry != NULL) {
        struct sc_mp mp = sc_mp(sc_buf_slice(&entry->value));
        if (!sc_mp_int(&mp, &number)) {
            sc_msg_reply_status(out, SC_WRONGTYPE, "the value is no integer");
            return;
        }
    }
    entry = find_or_add(fake, request->key);
    entry->value.size = 0;
    sc_mp_put_int(&entry->value, number + request->delta);
    sc_msg_reply_int(out, number + request->delta);
}

static void do_meta(const struct fake_entry *entry, struct sc_buf *out)
{
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_map(out, 6);
    sc_mp_put_cstr(out, "version");
    sc_mp_put_uint(out, entry->version);
    sc_mp_put_cstr(out, "size");
    sc_mp_put_uint(out, entry->value.size);
    sc_mp_put_cstr(out, "ttl_ms");
    if (entry->ttl_ms != 0) {
        sc_mp_put_uint(out, entry->ttl_ms);
    } else {
        sc_mp_put_nil(out);
    }
    sc_mp_put_cstr(out, "slot");
    sc_mp_put_uint(out, sc_slot_of_key(sc_buf_slice(&entry->key)));
    sc_mp_put_cstr(out, "shard");
    sc_mp_put_uint(out, 7);
    sc_mp_put_cstr(out, "of a later protocol");
    sc_mp_put_array(out, 0);
}

static void do_present(struct fake_server *fake, const struct sc_msg_request *request,
                       struct fake_entry *entry, struct sc_buf *out)
{
    switch (request->op) {
    case SC_OP_GET:
        sc_msg_reply_raw(out, sc_buf_slice(&entry->value));
        break;
    case SC_OP_META:
        do_meta(entry, out);
        break;
    case SC_OP_TOUCH:
        entry->ttl_ms = request->ttl_nil ? 0 : request->options.ttl_ms;
        entry->version = ++fake->version;
        sc_msg_reply_uint(out, entry->version);
        break;
    default:
        remove_entry(fake, entry);
        sc_msg_reply_bool(out, true);
        break;
    }
}

static void do_single(struct fake_server *fake, const struct sc_msg_request *request,
                      struct sc_buf *out)
{
    fake->operations++;
    fake->writes += (sc_op_kind(request->op) & SC_OP_WRITE) != 0;
    char line[64];
    int size = snprintf(line, sizeof line, "%s %.*s\n", sc_op_name(request->op),
                        (int)(request->key.size < 32 ? request->key.size : 32),
                        (const char *)request->key.data);
    sc_buf_append(&fake->log, line, (size_t)size);
    struct fake_entry *entry = find(fake, request->key);
    if (request->op == SC_OP_PUT) {
        do_put(fake, request, out);
    } else if (request->op == SC_OP_INCR) {
        do_incr(fake, request, out);
    } else if (request->op == SC_OP_EXISTS || (request->op == SC_OP_DEL && entry == NULL)) {
        sc_msg_reply_bool(out, entry != NULL);
    } else if (entry == NULL) {
        sc_msg_reply_status(out, SC_NOTFOUND, "not found");
    } else {
        do_present(fake, request, entry, out);
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

/* Pages of `limit` keys in the order of arrival; every other page is empty. The cursor is a number
 * in text: twice the index of the next key, odd for an empty page. */
static void do_scan(struct fake_server *fake, const struct sc_msg_scan *scan, struct sc_buf *out)
{
    char cursor[24] = "";
    memcpy(cursor, scan->cursor.data != NULL ? scan->cursor.data : "", scan->cursor.size);
    size_t position = (size_t)atol(cursor);
    size_t first = position / 2;
    size_t last = position % 2 == 1 ? first : first + scan->limit;
    last = last < fake->entry_count ? last : fake->entry_count;
    sc_mp_put_array(out, 3);
    sc_mp_put_uint(out, SC_OK);
    if (last < fake->entry_count) {
        int size = snprintf(cursor, sizeof cursor, "%zu", 2 * last + (position % 2 == 0));
        sc_mp_put_bin(out, sc_slice(cursor, (size_t)size));
    } else {
        sc_mp_put_nil(out);
    }
    size_t array = sc_mp_open_array(out);
    uint32_t count = 0;
    for (size_t i = first; i < last; i++) {
        const struct fake_entry *entry = &fake->entries[i];
        if (entry->key.size < scan->prefix.size ||
            memcmp(entry->key.data, scan->prefix.data, scan->prefix.size) != 0) {
            continue;
        }
        count++;
        if (scan->values) {
            sc_mp_put_array(out, 2);
        }
        sc_mp_put_bin(out, sc_buf_slice(&entry->key));
        if (scan->values) {
            sc_buf_append_slice(out, sc_buf_slice(&entry->value));
        }
    }
    sc_mp_close_array(out, array, count);
}

static void do_store(struct fake_server *fake, enum sc_op op, struct sc_buf *out)
{
    size_t count = fake->entry_count;
    switch (op) {
    case SC_OP_PING:
        sc_mp_put_array(out, 3);
        sc_mp_put_uint(out, SC_OK);
        sc_mp_put_cstr(out, "shardcask");
        sc_mp_put_map(out, 0);
        break;
    case SC_OP_CLEAR:
        while (fake->entry_count > 0) {
            remove_entry(fake, &fake->entries[0]);
        }
        sc_msg_reply_uint(out, count);
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
    enum sc_status status = sc_msg_parse_request(body, &limits, &request, why);
    if (status != SC_OK) {
        sc_msg_reply_status(out, (int)status, why);
    } else if (request.op == SC_OP_BATCH) {
        do_batch(fake, &request, out);
    } else if (request.op == SC_OP_SCAN) {
        do_scan(fake, &request.scan, out);
    } else if ((sc_op_kind(request.op) & SC_OP_SINGLE) != 0) {
        do_single(fake, &request, out);
    } else {
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
    *fake = (struct fake_server){.directory = "/tmp/sc-client-XXXXXX"};
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
    while (fake->entry_count > 0) {
        remove_entry(fake, &fake->entries[0]);
    }
    free(fake->entries);
    free(fake->held);
    sc_buf_fini(&fake->log);
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
