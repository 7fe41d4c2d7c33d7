#include "tests/client/fake_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/slot.h"

void fake_store_init(struct fake_store *store)
{
    *store = (struct fake_store){0};
    (void)pthread_mutex_init(&store->lock, NULL);
}

static struct fake_entry *find(struct fake_store *store, struct sc_slice key)
{
    for (size_t i = 0; i < store->entry_count; i++) {
        if (sc_slice_equal(sc_buf_slice(&store->entries[i].key), key)) {
            return &store->entries[i];
        }
    }
    return NULL;
}

static struct fake_entry *find_or_add(struct fake_store *store, struct sc_slice key)
{
    struct fake_entry *entry = find(store, key);
    if (entry == NULL) {
        store->entries =
            sc_realloc(store->entries, (store->entry_count + 1) * sizeof *store->entries);
        entry = &store->entries[store->entry_count++];
        *entry = (struct fake_entry){0};
        sc_buf_append_slice(&entry->key, key);
    }
    entry->version = ++store->version;
    return entry;
}

static void remove_entry(struct fake_store *store, struct fake_entry *entry)
{
    sc_buf_fini(&entry->key);
    sc_buf_fini(&entry->value);
    *entry = store->entries[--store->entry_count];
}

static void do_put(struct fake_store *store, const struct sc_msg_request *request,
                   struct sc_buf *out)
{
    struct fake_entry *entry = find(store, request->key);
    if (request->options.has_if_version &&
        request->options.if_version != (entry != NULL ? entry->version : 0)) {
        sc_msg_reply_status(out, SC_MISMATCH, "the version is another");
        return;
    }
    entry = find_or_add(store, request->key);
    entry->value.size = 0;
    sc_buf_append_slice(&entry->value, request->value);
    entry->ttl_ms = request->options.has_ttl ? request->options.ttl_ms : 0;
    sc_msg_reply_uint(out, entry->version);
}

static void do_incr(struct fake_store *store, const struct sc_msg_request *request,
                    struct sc_buf *out)
{
    struct fake_entry *entry = find(store, request->key);
    int64_t number = 0;
    if (entry != NULL) {
        struct sc_mp mp = sc_mp(sc_buf_slice(&entry->value));
        if (!sc_mp_int(&mp, &number)) {
            sc_msg_reply_status(out, SC_WRONGTYPE, "the value is no integer");
            return;
        }
    }
    entry = find_or_add(store, request->key);
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

static void do_present(struct fake_store *store, const struct sc_msg_request *request,
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
        entry->version = ++store->version;
        sc_msg_reply_uint(out, entry->version);
        break;
    default:
        remove_entry(store, entry);
        sc_msg_reply_bool(out, true);
        break;
    }
}

static void do_single(struct fake_store *store, const struct sc_msg_request *request,
                      struct sc_buf *out)
{
    char line[64];
    int size = snprintf(line, sizeof line, "%s %.*s\n", sc_op_name(request->op),
                        (int)(request->key.size < 32 ? request->key.size : 32),
                        (const char *)request->key.data);
    sc_buf_append(&store->log, line, (size_t)size);
    struct fake_entry *entry = find(store, request->key);
    if (request->op == SC_OP_PUT) {
        do_put(store, request, out);
    } else if (request->op == SC_OP_INCR) {
        do_incr(store, request, out);
    } else if (request->op == SC_OP_EXISTS || (request->op == SC_OP_DEL && entry == NULL)) {
        sc_msg_reply_bool(out, entry != NULL);
    } else if (entry == NULL) {
        sc_msg_reply_status(out, SC_NOTFOUND, "not found");
    } else {
        do_present(store, request, entry, out);
    }
}

void fake_store_single(struct fake_store *store, const struct sc_msg_request *request,
                       struct sc_buf *out)
{
    (void)pthread_mutex_lock(&store->lock);
    do_single(store, request, out);
    (void)pthread_mutex_unlock(&store->lock);
}

/* Pages of `limit` keys in the order of arrival; every other page is empty. The cursor is a number
 * in text: twice the index of the next key, odd for an empty page. */
void fake_store_scan(struct fake_store *store, const struct sc_msg_scan *scan, struct sc_buf *out)
{
    (void)pthread_mutex_lock(&store->lock);
    char cursor[24] = "";
    memcpy(cursor, scan->cursor.data != NULL ? scan->cursor.data : "", scan->cursor.size);
    size_t position = (size_t)atol(cursor);
    size_t first = position / 2;
    size_t last = position % 2 == 1 ? first : first + scan->limit;
    last = last < store->entry_count ? last : store->entry_count;
    sc_mp_put_array(out, 3);
    sc_mp_put_uint(out, SC_OK);
    if (last < store->entry_count) {
        int size = snprintf(cursor, sizeof cursor, "%zu", 2 * last + (position % 2 == 0));
        sc_mp_put_bin(out, sc_slice(cursor, (size_t)size));
    } else {
        sc_mp_put_nil(out);
    }
    size_t array = sc_mp_open_array(out);
    uint32_t count = 0;
    for (size_t i = first; i < last; i++) {
        const struct fake_entry *entry = &store->entries[i];
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
    (void)pthread_mutex_unlock(&store->lock);
}

size_t fake_store_count(struct fake_store *store)
{
    (void)pthread_mutex_lock(&store->lock);
    size_t count = store->entry_count;
    (void)pthread_mutex_unlock(&store->lock);
    return count;
}

size_t fake_store_clear(struct fake_store *store)
{
    (void)pthread_mutex_lock(&store->lock);
    size_t count = store->entry_count;
    while (store->entry_count > 0) {
        remove_entry(store, &store->entries[0]);
    }
    (void)pthread_mutex_unlock(&store->lock);
    return count;
}

void fake_store_fini(struct fake_store *store)
{
    (void)fake_store_clear(store);
    free(store->entries);
    sc_buf_fini(&store->log);
    (void)pthread_mutex_destroy(&store->lock);
}
