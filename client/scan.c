/*
 * The iterator over all keys: it holds one page, and asks for the next when that is used up.
 */
#include "client/error.h"
#include "client/handle.h"

#include <assert.h>
#include <stdlib.h>

struct shardcask_scan {
    struct shardcask *handle; /* constant */
    bool values; /* constant */
    uint32_t page_max; /* constant: keys in a page */
    struct sc_buf prefix; /* constant */

    struct sc_buf cursor; /* where the next page begins; empty at the start */
    bool last; /* the page at hand is the last one */
    struct shardcask_value page; /* the reply that `items` reads */
    struct sc_mp items;
    uint32_t left; /* items not yet given out */
    int status; /* of the page: not OK when it has keys whose values cannot be read */
    struct sc_slice why; /* then; in the page */
};

int shardcask_scan_open(struct shardcask *handle, const struct shardcask_scan_options *options,
                        struct shardcask_scan **scan)
{
    static const struct shardcask_scan_options defaults;
    const struct shardcask_scan_options *o = options != NULL ? options : &defaults;
    *scan = NULL;
    if (o->page > SC_SCAN_LIMIT_MAX) {
        return sc_fail(sc_error_room(), SC_BADREQUEST, "a page of more than %u keys",
                       SC_SCAN_LIMIT_MAX);
    }
    if (o->prefix_size > SC_KEY_MAX) {
        return sc_fail(sc_error_room(), SC_TOOLARGE, "a prefix of more than %u bytes", SC_KEY_MAX);
    }
    struct shardcask_scan *new = sc_calloc(1, sizeof *new);
    new->handle = handle;
    new->values = o->values;
    new->page_max = o->page != 0 ? o->page : SC_SCAN_LIMIT_DEFAULT;
    sc_buf_append(&new->prefix, o->prefix, o->prefix_size);
    *scan = new;
    return SC_OK;
}

void shardcask_scan_close(struct shardcask_scan *scan)
{
    if (scan == NULL) {
        return;
    }
    shardcask_value_free(&scan->page);
    sc_buf_fini(&scan->cursor);
    sc_buf_fini(&scan->prefix);
    free(scan);
}

static bool read_item(bool pairs, struct sc_mp *items, struct sc_slice *key, struct sc_slice *value)
{
    if (!pairs) {
        return sc_mp_bytes(items, key);
    }
    uint32_t two = 0;
    return sc_mp_array(items, &two) && two == 2 && sc_mp_bytes(items, key) &&
           sc_mp_skip(items, value);
}

/* Looks the whole page over before the scan moves on to it: so a page that makes no sense can be
 * asked for again. */
static bool read_page(struct shardcask_scan *scan, const struct sc_msg_reply *reply)
{
    struct sc_msg_page page;
    if (!sc_msg_parse_page(reply, &page)) {
        return false;
    }
    struct sc_mp items = page.items;
    for (uint32_t i = 0; i < page.count; i++) {
        struct sc_slice key;
        struct sc_slice value;
        if (!read_item(scan->values && reply->status == SC_OK, &items, &key, &value)) {
            return false;
        }
    }
    scan->cursor.size = 0;
    sc_buf_append_slice(&scan->cursor, page.next);
    scan->last = page.next.size == 0;
    scan->items = page.items;
    scan->left = page.count;
    scan->status = reply->status;
    scan->why = reply->why;
    return true;
}

static int next_page(struct shardcask_scan *scan)
{
    struct sc_msg_scan options = {
        .cursor = sc_buf_slice(&scan->cursor),
        .prefix = sc_buf_slice(&scan->prefix),
        .limit = scan->page_max,
        .values = scan->values,
    };
    struct sc_buf request = {0};
    sc_msg_put_scan(&request, &options, false);
    struct sc_msg_reply reply = {.status = SC_OK};
    int status = sc_handle_ask(scan->handle, sc_buf_slice(&request), true, &scan->page, &reply);
    sc_buf_fini(&request);
    if (status == reply.status && read_page(scan, &reply)) {
        return SC_OK; /* what cannot be read is told key by key */
    }
    return status == SC_OK ? sc_handle_senseless() : status;
}

static int tell_unreadable(const struct shardcask_scan *scan)
{
    char why[SC_WHY_SIZE];
    sc_why(why, "%.*s", (int)scan->why.size, (const char *)scan->why.data);
    return sc_error_set(scan->status, why);
}

int shardcask_scan_next(struct shardcask_scan *scan, const void **key, size_t *key_size,
                        const void **value, size_t *value_size)
{
    *key = NULL;
    *key_size = 0;
    while (scan->left == 0) {
        if (scan->last) {
            return sc_fail(sc_error_room(), SC_NOTFOUND, "the scan is at its end");
        }
        int status = next_page(scan);
        if (status != SC_OK) {
            return status;
        }
    }
    struct sc_slice key_read = {0};
    struct sc_slice value_read = {0};
    scan->left--;
    bool read =
        read_item(scan->values && scan->status == SC_OK, &scan->items, &key_read, &value_read);
    assert(read); /* read_page has looked */
    (void)read;
    *key = key_read.data;
    *key_size = key_read.size;
    if (value != NULL) {
        *value = value_read.data;
        *value_size = value_read.size;
    }
    return scan->status == SC_OK ? SC_OK : tell_unreadable(scan);
}
