#include "shard/page.h"

#include "common/bytes.h"
#include "shard/fetch.h"

#define PAGE_BYTES (1u << 20)
#define VISITS_MAX 20000u
#define CURSOR_HASH_SIZE 8u /* a cursor begins with the hash of a key, big-endian */

struct page {
    struct sc_buf items;
    bool values;
    uint32_t keys;
};

static void put_scanned(void *arg, struct sc_slice key, struct sc_slice value)
{
    struct page *page = arg;
    if (page->values && value.data != NULL) {
        sc_mp_put_array(&page->items, 2);
        sc_mp_put_bin(&page->items, key);
        sc_buf_append_slice(&page->items, value);
    } else {
        sc_mp_put_bin(&page->items, key);
    }
    page->keys++;
}

/* The slot in which a scan goes on. A cursor stands behind a hash, perhaps the last of its slot;
 * one with a key stands behind that key. */
static uint32_t next_slot(struct sc_slice cursor)
{
    if (cursor.size < CURSOR_HASH_SIZE) {
        return 0;
    }
    uint64_t hash = sc_be64_get(cursor.data);
    return sc_slot_of_hash(cursor.size == CURSOR_HASH_SIZE && hash < UINT64_MAX ? hash + 1 : hash);
}

/* Whether all that is asked for is here: x.scan names what should be; scan is about what there is.
 */
static bool is_served(const struct sc_membership *membership, const struct sc_msg_request *request,
                      uint32_t *missing)
{
    const struct sc_msg_scan *scan = &request->scan;
    if (request->op != SC_OP_X_SCAN) {
        return sc_membership_serves_all(membership, missing);
    }
    uint32_t slot = next_slot(scan->cursor);
    while (slot <= scan->last_slot && sc_membership_serves(membership, slot)) {
        slot++;
    }
    *missing = slot;
    return slot > scan->last_slot;
}

bool sc_page_execute(struct sc_bitcask *store, const struct sc_membership *membership,
                     const struct sc_msg_request *request, struct sc_fetch *fetch,
                     struct sc_buf *reply, sc_bitcask_position *position)
{
    const struct sc_msg_scan *asked = &request->scan;
    struct sc_bitcask_scan scan = {
        .cursor = asked->cursor,
        .first_slot = 0,
        .last_slot = asked->last_slot,
        .owned = membership->owned,
        .prefix = asked->prefix,
        .limit = asked->limit,
        .values = asked->values,
        .bytes_max = PAGE_BYTES,
        .visits_max = VISITS_MAX,
    };
    struct page page = {.values = scan.values};
    struct sc_buf next = {0};
    char why[SC_WHY_SIZE] = "";
    if (!membership->granted) {
        sc_membership_refuse(membership, 0, reply);
        return true;
    }
    uint32_t missing;
    if (!is_served(membership, request, &missing)) {
        sc_membership_refuse(membership, missing, reply);
        return true;
    }
    size_t count_at = sc_mp_open_array(&page.items);
    sc_bitcask_lend(store, fetch);
    enum sc_status status = sc_bitcask_scan(store, &scan, put_scanned, &page, &next, position, why);
    sc_bitcask_lend(store, NULL);
    bool wants = status == SC_BUSY && fetch != NULL && sc_fetch_wants(fetch);
    if (status == SC_OK || (page.keys > 0 && !wants)) {
        sc_mp_close_array(&page.items, count_at, page.keys);
        sc_msg_reply_page(reply, status, sc_slice_str(why), sc_buf_slice(&next));
        sc_buf_append_slice(reply, sc_buf_slice(&page.items));
    } else if (!wants) {
        sc_msg_reply_status(reply, status, why);
    }
    sc_buf_fini(&page.items);
    sc_buf_fini(&next);
    return !wants;
}
