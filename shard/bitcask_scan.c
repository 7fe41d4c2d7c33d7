/*
 * A cursor names the place of the next key in the order of (hash, key): 8 bytes, the hash of that
 * key, big-endian; and, when the key before it has the very same hash, that key's bytes behind.
 */
#include "shard/bitcask_impl.h"

#include "common/bytes.h"

#define CURSOR_HASH_SIZE 8u

/* A page being filled. */
struct page {
    struct sc_bitcask *store;
    const struct sc_bitcask_scan *scan;
    sc_bitcask_scan_fn *visit;
    void *arg;
    uint64_t now_ms;
    uint32_t keys; /* given to the caller, readable or not */
    uint64_t visits; /* looked at */
    size_t bytes;
    uint64_t last_hash; /* of the last one looked at */
    struct sc_buf last_key;
    struct sc_buf *next; /* filled when the page is over before the end */
    struct sc_buf value;
    bool fetched; /* values were fetched for it: it gives what it can */
    bool wants; /* values have to be fetched first: it only goes on to find out which */
    enum sc_status status; /* of every value in the page */
    char *why;
};

static uint64_t slot_start(uint32_t slot)
{
    return (uint64_t)slot << (64 - SC_SLOT_BITS);
}

static void put_hash(struct sc_buf *cursor, uint64_t hash)
{
    uint8_t bytes[CURSOR_HASH_SIZE];
    sc_be64_put(bytes, hash);
    sc_buf_append(cursor, bytes, sizeof bytes);
}

void sc_bitcask_cursor_at_slot(uint32_t slot, struct sc_buf *cursor)
{
    cursor->size = 0;
    put_hash(cursor, slot_start(slot));
}

static enum sc_status parse_cursor(struct sc_slice cursor, struct sc_keydir_position *position,
                                   char *why)
{
    *position = (struct sc_keydir_position){0};
    if (cursor.size == 0) {
        return SC_OK;
    }
    if (cursor.size >= CURSOR_HASH_SIZE && cursor.size <= CURSOR_HASH_SIZE + SC_KEY_MAX) {
        const uint8_t *bytes = cursor.data;
        position->hash = sc_be64_get(bytes);
        position->key = sc_slice(bytes + CURSOR_HASH_SIZE, cursor.size - CURSOR_HASH_SIZE);
        if (position->key.size == 0 || sc_slot_hash(position->key) == position->hash) {
            return SC_OK;
        }
    }
    return sc_fail(why, SC_BADREQUEST, "this is not a cursor of a scan");
}

static bool has_prefix(struct sc_slice key, struct sc_slice prefix)
{
    return key.size >= prefix.size &&
           (prefix.size == 0 || memcmp(key.data, prefix.data, prefix.size) == 0);
}

/* Ends the page in front of `entry`. */
static bool stop_before(struct page *page, const struct sc_keydir_entry *entry)
{
    put_hash(page->next, entry->hash);
    if (page->visits > 0 && page->last_hash == entry->hash) {
        sc_buf_append_slice(page->next, sc_buf_slice(&page->last_key));
    }
    return false;
}

static bool is_full(const struct page *page)
{
    /* Whatever the limits, a page gets on by one. */
    return page->visits > 0 &&
           (page->keys >= page->scan->limit || page->bytes > page->scan->bytes_max ||
            page->visits >= page->scan->visits_max);
}

/* Reads the value of an entry that is to go into the page. False: it does not belong there, since
 * either this one or those before it cannot be read. */
static bool read_value(struct page *page, const struct sc_keydir_entry *entry,
                       struct sc_slice *value)
{
    char why[SC_WHY_SIZE];
    page->value.size = 0;
    enum sc_status status = sc_bitcask_read_value(page->store, entry, &page->value, why);
    if (status == SC_BUSY || page->wants) {
        page->wants = page->wants || !page->fetched || page->keys == 0;
        page->bytes += entry->location.size;
        return page->wants;
    }
    if (page->keys > 0 && status != page->status) {
        return false;
    }
    if (status == SC_OK) {
        *value = sc_buf_slice(&page->value);
    } else if (page->keys == 0) {
        memcpy(page->why, why, sizeof why);
    }
    page->status = status;
    return true;
}

static uint64_t now_of(const struct page *page, uint64_t hash)
{
    const struct sc_moving *moving = &page->store->moving;
    return sc_moving_has_sealed(moving, sc_slot_of_hash(hash)) ? moving->seal_ms : page->now_ms;
}

static bool visit_entry(void *arg, const struct sc_keydir_entry *entry)
{
    struct page *page = arg;
    const struct sc_bitcask_scan *scan = page->scan;
    if (is_full(page)) {
        return stop_before(page, entry);
    }
    bool wanted = has_prefix(entry->key, scan->prefix) &&
                  (entry->expires_ms == 0 || entry->expires_ms > now_of(page, entry->hash));
    if (wanted) {
        struct sc_slice value = {NULL, 0};
        if (scan->values && !read_value(page, entry, &value)) {
            return stop_before(page, entry);
        }
        if (!page->wants) {
            page->visit(page->arg, entry->key, value);
        }
        page->keys++;
        page->bytes += entry->key.size + value.size;
    }
    page->visits++;
    page->last_hash = entry->hash;
    page->last_key.size = 0;
    sc_buf_append_slice(&page->last_key, entry->key);
    return true;
}

/* Fills the page from `position` on, run after run of the slots asked for. */
static void fill(struct page *page, struct sc_keydir_position position)
{
    const struct sc_bitcask_scan *scan = page->scan;
    uint32_t from = sc_slot_of_hash(position.hash);
    uint32_t first;
    uint32_t last;
    if (from < scan->first_slot) {
        from = scan->first_slot;
    }
    for (; sc_bitcask_run(scan->owned, from, scan->last_slot, &first, &last); from = last + 1) {
        if (position.hash < slot_start(first)) {
            position = (struct sc_keydir_position){.hash = slot_start(first)};
        }
        if (!sc_keydir_walk(page->store->keydir, &position, last, UINT64_MAX, visit_entry, page)) {
            return;
        }
    }
    page->next->size = 0;
}

enum sc_status sc_bitcask_scan(struct sc_bitcask *store, const struct sc_bitcask_scan *scan,
                               sc_bitcask_scan_fn *visit, void *arg, struct sc_buf *next,
                               sc_bitcask_position *position, char *why)
{
    struct sc_keydir_position start;
    *position = store->writer.appended;
    enum sc_status status = parse_cursor(scan->cursor, &start, why);
    if (status != SC_OK) {
        return status;
    }
    if (scan->last_slot >= SC_SLOT_COUNT) {
        return sc_fail(why, SC_BADREQUEST, "there is no slot %u", (unsigned)scan->last_slot);
    }
    struct page page = {
        .store = store,
        .scan = scan,
        .visit = visit,
        .arg = arg,
        .now_ms = sc_clock_now_ms(&store->clock),
        .next = next,
        .fetched = store->fetch != NULL && store->fetch->count > 0,
        .status = SC_OK,
        .why = why,
    };
    /* The cursor may lie in `next`: it is only written when the walk is over. */
    struct sc_buf cursor = {0};
    page.next = &cursor;
    fill(&page, start);
    if (!page.wants) {
        next->size = 0;
        sc_buf_append_slice(next, sc_buf_slice(&cursor));
    }
    sc_buf_fini(&cursor);
    sc_buf_fini(&page.last_key);
    sc_buf_fini(&page.value);
    return page.wants ? sc_fail(why, SC_BUSY, "values have to be read from the disk first")
                      : page.status;
}
