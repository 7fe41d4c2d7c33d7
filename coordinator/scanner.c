#include "coordinator/scanner.h"

#include "common/bytes.h"
#include "common/clock.h"
#include "coordinator/fleet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE_BYTES (1u << 20) /* a page is full when it has grown to this */
#define STEPS_MAX 64u /* ... or after asking so many times */
#define PAGES_AT_ONCE 16u
#define HAND_OVER_MS 5u /* until a slot that is being handed over is asked for again */
#define HAND_OVER_MAX_MS 10000u /* ... and no longer than this */
#define CURSOR_HASH_SIZE 8u /* a cursor begins with the hash of a key, big-endian */

struct sc_scan {
    struct sc_backend_call call; /* must be first */
    struct sc_scan *next; /* that waits */
    struct sc_fleet *fleet;
    struct sc_sp_origin origin;
    uint64_t snapshot; /* a page of this one, from `shard_id` and behind `cursor`; 0: of a scan */
    uint64_t shard_id;
    struct sc_msg_scan ask; /* of the next step; its slices point into the buffers below */
    struct sc_buf prefix;
    struct sc_buf cursor;
    struct sc_buf items; /* what has been found, encoded one behind the other */
    uint32_t found;
    uint32_t limit; /* of the whole page */
    uint32_t steps;
    uint64_t not_before_ms; /* for slots that are being handed over */
    uint64_t give_up_ms; /* 0: it has not waited for any */
};

static void scan_free(struct sc_scan *scan)
{
    scan->fleet->scanner.running--;
    sc_buf_fini(&scan->prefix);
    sc_buf_fini(&scan->cursor);
    sc_buf_fini(&scan->items);
    free(scan);
}

static void answer_error(struct sc_scan *scan, enum sc_status status, const char *why)
{
    struct sc_buf *out = sc_sp_reply_begin(&scan->origin);
    sc_msg_reply_status(out, status, why);
    sc_sp_reply_end(&scan->origin);
    scan_free(scan);
}

/* Answers with what was found; an empty cursor is the end of the scan. With another status than ok
 * it is the keys whose values cannot be read. */
static void answer_page(struct sc_scan *scan, enum sc_status status, struct sc_slice why)
{
    struct sc_buf *out = sc_sp_reply_begin(&scan->origin);
    sc_msg_reply_page(out, status, why, sc_buf_slice(&scan->cursor));
    sc_mp_put_array(out, scan->found);
    sc_buf_append_slice(out, sc_buf_slice(&scan->items));
    sc_sp_reply_end(&scan->origin);
    scan_free(scan);
}

/* A shard's reply has no page. */
static void answer_refused(struct sc_scan *scan, const struct sc_msg_reply *reply)
{
    char why[SC_WHY_SIZE];
    size_t length = reply->why.size < 255 ? reply->why.size : 255;
    if (reply->status == SC_OK) {
        answer_error(scan, SC_INTERNAL, "a shard sent a reply that makes no sense");
        return;
    }
    sc_why(why, "%.*s", (int)length, length > 0 ? (const char *)reply->why.data : "");
    answer_error(scan, reply->status == SC_MOVED ? SC_UNAVAILABLE : (enum sc_status)reply->status,
                 why);
}

static void cursor_at_slot(struct sc_buf *cursor, uint32_t slot)
{
    cursor->size = 0;
    sc_be64_put(sc_buf_reserve(cursor, CURSOR_HASH_SIZE),
                ((uint64_t)slot << (64 - SC_SLOT_BITS)) - (slot > 0 ? 1 : 0));
    cursor->size = slot > 0 ? CURSOR_HASH_SIZE : 0;
}

/* The slot in which the scan goes on. A cursor stands behind a hash, perhaps the last of its slot.
 */
static uint32_t slot_of_cursor(const struct sc_scan *scan)
{
    if (scan->cursor.size < CURSOR_HASH_SIZE) {
        return 0;
    }
    uint64_t hash = sc_be64_get(scan->cursor.data);
    if (scan->cursor.size == CURSOR_HASH_SIZE && hash < UINT64_MAX) {
        hash++;
    }
    return sc_slot_of_hash(hash);
}

static void next_step(struct sc_scan *scan);

static bool page_full(const struct sc_scan *scan)
{
    return scan->found >= scan->limit || scan->items.size >= PAGE_BYTES || scan->steps >= STEPS_MAX;
}

/* Takes the page of one shard. */
static bool take_page(struct sc_scan *scan, const struct sc_msg_page *page)
{
    bool end = page->next.size == 0;
    if (!end && page->next.size < CURSOR_HASH_SIZE) {
        return false;
    }
    sc_buf_append(&scan->items, page->items.at, (size_t)(page->items.end - page->items.at));
    scan->found += page->count;
    if (!end) {
        scan->cursor.size = 0;
        sc_buf_append_slice(&scan->cursor, page->next);
    } else if (scan->ask.last_slot + 1 < SC_SLOT_COUNT) {
        cursor_at_slot(&scan->cursor, scan->ask.last_slot + 1);
    } else {
        scan->cursor.size = 0;
        scan->steps = STEPS_MAX; /* the end of everything */
    }
    return true;
}

static void add_waiting(struct sc_scanner *scanner, struct sc_scan *scan);

/* The shard does not own all of the stretch: it has another map than we had, or have. Waits a
 * little and asks whoever owns it then. False: it has waited long enough. */
static bool wait_for_owner(struct sc_scan *scan)
{
    uint64_t now_ms = sc_clock_mono_ms();
    if (scan->give_up_ms == 0) {
        scan->give_up_ms = now_ms + HAND_OVER_MAX_MS;
    }
    if (now_ms >= scan->give_up_ms) {
        return false;
    }
    scan->not_before_ms = now_ms + HAND_OVER_MS;
    sc_sp_hub_set_timer(scan->fleet->hub, scan->not_before_ms);
    scan->fleet->scanner.running--;
    scan->next = NULL;
    add_waiting(&scan->fleet->scanner, scan);
    return true;
}

static void on_page(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct sc_scan *scan = (struct sc_scan *)call;
    struct sc_msg_reply reply;
    struct sc_msg_page page;
    if (status != SC_OK) {
        answer_error(scan, SC_UNAVAILABLE, "a shard gave no answer to the scan: ask again");
    } else if (!sc_msg_parse_reply(body, &reply)) {
        answer_error(scan, SC_INTERNAL, "a shard sent a reply that makes no sense");
    } else if (reply.status == SC_MOVED && wait_for_owner(scan)) {
        return;
    } else if (reply.status != SC_OK && scan->found > 0) {
        /* The next page will meet the trouble again. */
        answer_page(scan, SC_OK, sc_slice(NULL, 0));
    } else if (!sc_msg_parse_page(&reply, &page)) {
        answer_refused(scan, &reply);
    } else if (!take_page(scan, &page)) {
        answer_error(scan, SC_INTERNAL, "a shard sent a reply that makes no sense");
    } else if (reply.status != SC_OK || page_full(scan)) {
        answer_page(scan, (enum sc_status)reply.status, reply.why);
    } else {
        next_step(scan);
    }
}

static void next_step(struct sc_scan *scan)
{
    uint32_t slot = slot_of_cursor(scan);
    struct sc_backend *backend = scan->fleet->of_slot[slot];
    if (!sc_backend_up(backend)) {
        if (scan->found > 0) {
            answer_page(scan, SC_OK, sc_slice(NULL, 0));
        } else {
            answer_error(scan, SC_UNAVAILABLE, sc_backend_why(backend));
        }
        return;
    }
    struct sc_buf request = {0};
    scan->steps++;
    scan->ask.last_slot = sc_cluster_stretch_end(&scan->fleet->cluster, slot);
    scan->ask.limit = scan->limit - scan->found;
    scan->ask.prefix = sc_buf_slice(&scan->prefix);
    if (scan->cursor.size == 0 && slot > 0) {
        cursor_at_slot(&scan->cursor, slot);
    }
    scan->ask.cursor = sc_buf_slice(&scan->cursor);
    sc_msg_put_scan(&request, &scan->ask, true);
    sc_backend_call(backend, &scan->call, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

/* ---- Pages of snapshots ---- */

static void on_snapshot_page(struct sc_backend_call *call, enum sc_status status,
                             struct sc_slice body)
{
    struct sc_scan *scan = (struct sc_scan *)call;
    struct sc_msg_reply reply;
    if (status != SC_OK) {
        answer_error(scan, SC_UNAVAILABLE, "the shard gave no answer: ask again");
    } else if (!sc_msg_parse_reply(body, &reply)) {
        answer_error(scan, SC_INTERNAL, "a shard sent a reply that makes no sense");
    } else {
        sc_sp_reply(&scan->origin, body);
        scan_free(scan);
    }
}

/* Asks the shard that has the snapshot, whichever slots it owns by now. */
static void ask_snapshot(struct sc_scan *scan)
{
    struct sc_fleet *fleet = scan->fleet;
    bool known = scan->shard_id <= UINT32_MAX;
    struct sc_backend *backend = known ? sc_fleet_backend(fleet, (uint32_t)scan->shard_id) : NULL;
    if (backend == NULL) {
        answer_error(scan, SC_NOTFOUND, "there is no such shard");
    } else if (!sc_backend_up(backend)) {
        answer_error(scan, SC_UNAVAILABLE, sc_backend_why(backend));
    } else {
        struct sc_buf request = {0};
        sc_msg_put_x_page(&request, scan->snapshot, sc_buf_slice(&scan->cursor));
        sc_backend_call(backend, &scan->call, sc_buf_slice(&request));
        sc_buf_fini(&request);
    }
}

/* ---- Turns ---- */

static void add_waiting(struct sc_scanner *scanner, struct sc_scan *scan)
{
    if (scanner->first == NULL) {
        scanner->first = scan;
    } else {
        scanner->last->next = scan;
    }
    scanner->last = scan;
}

void sc_scanner_read(struct sc_fleet *fleet, const struct sc_msg_copy *copy,
                     const struct sc_sp_origin *origin)
{
    struct sc_scan *scan = sc_calloc(1, sizeof *scan);
    scan->call.done = on_snapshot_page;
    scan->fleet = fleet;
    scan->origin = *origin;
    scan->snapshot = copy->id;
    scan->shard_id = copy->shard_id;
    sc_buf_append_slice(&scan->cursor, copy->cursor);
    add_waiting(&fleet->scanner, scan);
}

void sc_scanner_start(struct sc_fleet *fleet, const struct sc_msg_request *request,
                      const struct sc_sp_origin *origin)
{
    if (request->scan.cursor.size > 0 && request->scan.cursor.size < CURSOR_HASH_SIZE) {
        struct sc_buf *out = sc_sp_reply_begin(origin);
        sc_msg_reply_status(out, SC_BADREQUEST,
                            "scan: the cursor is none that this store has given");
        sc_sp_reply_end(origin);
        return;
    }
    struct sc_scan *scan = sc_calloc(1, sizeof *scan);
    scan->call.done = on_page;
    scan->fleet = fleet;
    scan->origin = *origin;
    scan->ask = request->scan;
    scan->limit = request->scan.limit;
    sc_buf_append_slice(&scan->prefix, request->scan.prefix);
    sc_buf_append_slice(&scan->cursor, request->scan.cursor);
    add_waiting(&fleet->scanner, scan);
}

/* Takes the oldest page whose client takes its replies out of those that wait; NULL: there is
 * none. */
static struct sc_scan *take_waiting(struct sc_scanner *scanner)
{
    struct sc_scan *before = NULL;
    struct sc_scan *scan = scanner->first;
    uint64_t now_ms = scan != NULL ? sc_clock_mono_ms() : 0;
    while (scan != NULL && (sc_sp_stuffed(&scan->origin) || scan->not_before_ms > now_ms)) {
        before = scan;
        scan = scan->next;
    }
    if (scan == NULL) {
        return NULL;
    }
    if (before == NULL) {
        scanner->first = scan->next;
    } else {
        before->next = scan->next;
    }
    if (scanner->last == scan) {
        scanner->last = before;
    }
    return scan;
}

void sc_scanner_flush(struct sc_fleet *fleet)
{
    struct sc_scanner *scanner = &fleet->scanner;
    while (scanner->running < PAGES_AT_ONCE) {
        struct sc_scan *scan = take_waiting(scanner);
        if (scan == NULL) {
            return;
        }
        scanner->running++;
        if (sc_sp_gone(&scan->origin)) {
            answer_error(scan, SC_UNAVAILABLE, "the client has gone");
        } else if (scan->snapshot != 0) {
            ask_snapshot(scan);
        } else {
            next_step(scan);
        }
    }
}

void sc_scanner_stop(struct sc_fleet *fleet)
{
    struct sc_scanner *scanner = &fleet->scanner;
    while (scanner->first != NULL) {
        struct sc_scan *scan = scanner->first;
        scanner->first = scan->next;
        scanner->running++;
        answer_error(scan, SC_UNAVAILABLE, "the coordinator is shutting down");
    }
    scanner->last = NULL;
}
