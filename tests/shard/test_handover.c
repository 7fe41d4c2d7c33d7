/* Two shards that serve, and slots that are handed over from one to the other, message by message:
 * the test is the coordinator. */
#include "common/clock.h"
#include "common/log.h"
#include "shard/fetch.h"
#include "shard/io.h"
#include "shard/service.h"
#include "tests/caller.h"
#include "tests/check_main.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define KEYS 300
#define MOVE 7
#define FIRST 0u /* the slots that move */
#define LAST 8191u
#define END (SC_SLOT_COUNT - 1)

struct shard {
    char path[128], url[128];
    uint32_t id;
    struct sc_bitcask *store;
    struct sc_service *service;
    struct caller first;
    struct caller *caller; /* that requests go through */
};

static char dir[64];
static char why[SC_WHY_SIZE];
static struct shard shards[2];
static struct sc_buf request;
static struct call call;
static const uint8_t cluster[16] = "0123456789abcdef";

/* ---- The shards ---- */

static void open_shard(struct shard *shard)
{
    const char *bound;
    struct sc_bitcask_options options = {.file_size_max = 1 << 20,
                                         .value_max = SC_VALUE_MAX_DEFAULT,
                                         .sync_ms = SC_BITCASK_SYNC_ALWAYS};
    struct sc_service_options limits = {.message_max = 8u << 20,
                                        .value_max = SC_VALUE_MAX_DEFAULT,
                                        .sync_ms = SC_BITCASK_SYNC_ALWAYS,
                                        .upkeep = SC_UPKEEP_OPTIONS_DEFAULT};
    ck_assert_int_eq(sc_bitcask_open(shard->path, &options, NULL, NULL, &shard->store, why), SC_OK);
    ck_assert_int_eq(sc_service_open(shard->store, &limits, &shard->service, why), SC_OK);
    ck_assert_int_eq(sc_service_listen(shard->service, shard->url, &bound, why), SC_OK);
    caller_open(&shard->first, shard->url);
    shard->caller = &shard->first;
}

static void close_shard(struct shard *shard)
{
    caller_close(&shard->first);
    sc_service_close(shard->service);
    (void)sc_bitcask_close(shard->store);
}

static void restart(struct shard *shard)
{
    close_shard(shard);
    open_shard(shard);
}

/* Sends what is in `request`, waits, returns the status; the reply is in `call`. */
static int ask(struct shard *shard)
{
    call_end(&call);
    call_start(shard->caller, &call, &request);
    return call_wait(&call);
}

static void adopt(struct shard *shard)
{
    sc_msg_put_op(&request, SC_OP_X_ADOPT, 2);
    sc_mp_put_bin(&request, sc_slice(cluster, sizeof cluster));
    sc_mp_put_uint(&request, shard->id);
    ck_assert_int_eq(ask(shard), SC_OK);
}

/* The map: slots from `first` to `last` are shard 2's, the others shard 1's; first > last: none is.
 */
static int grant_map(struct shard *shard, uint64_t term, uint64_t epoch, uint32_t first,
                     uint32_t last)
{
    sc_msg_put_op(&request, SC_OP_X_GRANT, 5);
    sc_mp_put_bin(&request, sc_slice(cluster, sizeof cluster));
    sc_mp_put_uint(&request, shard->id);
    sc_mp_put_uint(&request, term);
    sc_mp_put_uint(&request, epoch);
    const uint32_t parts[3][3] = {{0, first - 1, 1}, {first, last, 2}, {last + 1, END, 1}};
    size_t array = sc_mp_open_array(&request);
    uint32_t count = 0;
    for (int i = 0; i < 3; i++) {
        bool whole = first > last;
        bool there = whole ? i == 0 : (i == 1 || (i == 0 && first > 0) || (i == 2 && last < END));
        if (there) {
            sc_mp_put_array(&request, 4);
            sc_mp_put_uint(&request, whole ? 0 : parts[i][0]);
            sc_mp_put_uint(&request, whole ? END : parts[i][1]);
            sc_mp_put_uint(&request, whole ? 1 : parts[i][2]);
            sc_mp_put_cstr(&request, shards[whole ? 0 : parts[i][2] - 1].url);
            count++;
        }
    }
    sc_mp_close_array(&request, array, count);
    return ask(shard);
}

static int grant_before(struct shard *shard, uint64_t term)
{
    return grant_map(shard, term, 1, 1, 0);
}

static int grant_after(struct shard *shard, uint64_t term)
{
    return grant_map(shard, term, 2, FIRST, LAST);
}

static void setup(void)
{
    sc_log_init("test", SC_LOG_ERROR);
    snprintf(dir, sizeof dir, "/tmp/sc-handover-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (uint32_t i = 0; i < 2; i++) {
        struct shard *shard = &shards[i];
        shard->id = i + 1;
        snprintf(shard->path, sizeof shard->path, "%s/store-%u", dir, shard->id);
        snprintf(shard->url, sizeof shard->url, "ipc://%s/%u", dir, shard->id);
        open_shard(shard);
        adopt(shard);
        ck_assert_int_eq(grant_before(shard, 1), SC_OK);
    }
}

static void teardown(void)
{
    char command[128];
    (void)sc_io_fault(0, 0, 0, false);
    sc_fetch_hold(false);
    sc_io_pretend_cold(0);
    call_end(&call);
    close_shard(&shards[0]);
    close_shard(&shards[1]);
    sc_buf_fini(&request);
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* ---- Keys ---- */

static struct sc_slice key_of(unsigned i)
{
    static char key[32];
    return sc_slice(key, (size_t)snprintf(key, sizeof key, "key-%u", i));
}

static bool moves(unsigned i)
{
    return sc_slot_of_key(key_of(i)) <= LAST;
}

/* A key that moves, or one that does not. */
static unsigned some_key(bool that_moves)
{
    unsigned i = 0;
    while (moves(i) != that_moves) {
        i++;
    }
    return i;
}

static int put(struct shard *shard, unsigned i, uint64_t value)
{
    struct sc_buf encoded = {0};
    sc_mp_put_uint(&encoded, value);
    sc_msg_put_put(&request, key_of(i), sc_buf_slice(&encoded), NULL);
    sc_buf_fini(&encoded);
    return ask(shard);
}

static int get(struct shard *shard, unsigned i)
{
    sc_msg_put_key_request(&request, SC_OP_GET, key_of(i));
    return ask(shard);
}

static void expect(struct shard *shard, unsigned i, uint64_t value)
{
    uint64_t found;
    ck_assert_int_eq(get(shard, i), SC_OK);
    ck_assert(sc_mp_uint(&call.reply.result, &found));
    ck_assert_uint_eq(found, value);
}

/* All keys in one message, so that they share a commit. */
static void put_all(uint64_t value)
{
    sc_msg_put_op(&request, SC_OP_MPUT, 1);
    sc_mp_put_array(&request, KEYS);
    for (unsigned i = 0; i < KEYS; i++) {
        sc_mp_put_array(&request, 2);
        sc_mp_put_bin(&request, key_of(i));
        sc_mp_put_uint(&request, value + i);
    }
    ck_assert_int_eq(ask(&shards[0]), SC_OK);
}

static uint64_t count(struct shard *shard)
{
    uint64_t keys = 0;
    sc_msg_put_op(&request, SC_OP_COUNT, 0);
    ck_assert_int_eq(ask(shard), SC_OK);
    ck_assert(sc_mp_uint(&call.reply.result, &keys));
    return keys;
}

/* ---- The steps of a move ---- */

static const struct sc_msg_range range = {FIRST, LAST};
static struct sc_msg_import_reply import;
static struct sc_msg_export_reply export;
static struct sc_msg_seal_reply seal;
static uint8_t cursor_bytes[SC_MSG_CURSOR_MAX], mark_bytes[SC_MSG_MARK_MAX];
static struct sc_slice cursor, mark;

static void keep(struct sc_slice *to, uint8_t *bytes, struct sc_slice from)
{
    memcpy(bytes, from.data, from.size);
    *to = sc_slice(bytes, from.size);
}

static int ask_import(uint64_t move)
{
    sc_msg_put_import(&request, move, &range, 1, 1000, KEYS);
    int status = ask(&shards[1]);
    if (status == SC_OK) {
        ck_assert(sc_msg_read_import(&call.reply, &import));
        keep(&cursor, cursor_bytes, import.cursor);
        keep(&mark, mark_bytes, import.mark);
    }
    return status;
}

static int ask_export(uint64_t move, struct sc_slice with)
{
    sc_msg_put_export(&request, move, &range, 1, with);
    int status = ask(&shards[0]);
    if (status == SC_OK) {
        ck_assert(sc_msg_read_export(&call.reply, &export));
        keep(&mark, mark_bytes, export.mark);
    }
    return status;
}

static int ask_seal(uint64_t lease_ms)
{
    sc_msg_put_seal(&request, MOVE, export.token, sc_clock_mono_ms() + lease_ms);
    int status = ask(&shards[0]);
    if (status == SC_OK) {
        ck_assert(sc_msg_read_seal(&call.reply, &seal));
    }
    return status;
}

static void copy(void)
{
    struct sc_msg_read_reply page = {.gap = 1};
    while (page.gap > 0) {
        struct sc_buf frame = {0};
        sc_msg_put_read(&request, MOVE, export.token, cursor);
        ck_assert_int_eq(ask(&shards[0]), SC_OK);
        ck_assert(sc_msg_read_read(&call.reply, &page));
        keep(&cursor, cursor_bytes, page.cursor);
        sc_buf_append_slice(&frame, page.frame);
        sc_msg_put_write(&request, MOVE, import.token, cursor, mark, sc_buf_slice(&frame));
        ck_assert_int_eq(ask(&shards[1]), SC_OK);
        sc_buf_fini(&frame);
    }
}

static int ask_finish(void)
{
    sc_msg_put_finish(&request, MOVE, import.token, seal.count, seal.digest, seal.version);
    return ask(&shards[1]);
}

static int ask_drop(uint64_t move)
{
    sc_msg_put_drop(&request, move);
    return ask(&shards[1]);
}

static int ask_release(uint64_t move)
{
    sc_msg_put_release(&request, move);
    return ask(&shards[0]);
}

static void begin(void)
{
    ck_assert_int_eq(ask_import(MOVE), SC_OK);
    ck_assert_int_eq(ask_export(MOVE, mark), SC_OK);
}

static void seal_and_finish(void)
{
    ck_assert_int_eq(ask_seal(60000), SC_OK);
    copy();
    ck_assert_int_eq(ask_finish(), SC_OK);
}

/* What a shard says of the move: -1 for none. */
static int64_t hello(struct shard *shard, const char *name)
{
    uint32_t pairs;
    int64_t found = -2;
    sc_msg_put_op(&request, SC_OP_X_HELLO, 0);
    ck_assert_int_eq(ask(shard), SC_OK);
    ck_assert(sc_mp_map(&call.reply.result, &pairs));
    for (uint32_t i = 0; i < pairs; i++) {
        struct sc_slice key;
        ck_assert(sc_mp_str(&call.reply.result, &key));
        if (!sc_slice_equal(key, sc_slice_str(name))) {
            ck_assert(sc_mp_skip(&call.reply.result, NULL));
        } else if (sc_mp_peek(&call.reply.result) == SC_MP_NIL) {
            ck_assert(sc_mp_nil(&call.reply.result));
            found = -1;
        } else {
            ck_assert(sc_mp_int(&call.reply.result, &found));
        }
    }
    ck_assert_int_ne(found, -2);
    return found;
}

/* ---- Handing over ---- */

START_TEST(slots_are_handed_over_while_they_are_served)
{
    put_all(1000);
    begin();
    ck_assert_int_eq(hello(&shards[0], "exporting"), MOVE);
    ck_assert_int_eq(hello(&shards[1], "importing"), MOVE);
    copy();
    put_all(2000);
    ck_assert_int_eq(get(&shards[1], some_key(true)), SC_MOVED);
    seal_and_finish();
    ck_assert_int_eq(grant_after(&shards[0], 1), SC_OK);
    ck_assert_int_eq(get(&shards[0], some_key(true)), SC_MOVED);
    ck_assert_int_eq(grant_after(&shards[1], 1), SC_OK);
    uint64_t moved = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        expect(&shards[moves(i)], i, 2000 + i);
        ck_assert_int_eq(get(&shards[!moves(i)], i), SC_MOVED);
        moved += moves(i);
    }
    ck_assert_uint_eq(count(&shards[1]), moved);
    ck_assert_uint_eq(count(&shards[0]), KEYS - moved);
    ck_assert_int_eq(put(&shards[1], some_key(true), 5), SC_OK);
    for (int i = 0; i < 2; i++) {
        restart(&shards[i]);
        ck_assert_int_eq(grant_after(&shards[i], 2), SC_OK);
        ck_assert_int_eq(hello(&shards[i], "exporting"), -1);
        ck_assert_int_eq(hello(&shards[i], "importing"), -1);
    }
    expect(&shards[1], some_key(true), 5);
    expect(&shards[0], some_key(false), 2000 + some_key(false));
}
END_TEST

START_TEST(a_seal_refuses_writes_and_lends_reads_for_a_while)
{
    unsigned i = some_key(true);
    put_all(1000);
    begin();
    ck_assert_int_eq(ask_seal(60000), SC_BUSY); /* not all versions are known */
    copy();
    ck_assert_int_eq(ask_seal(60000), SC_OK);
    ck_assert_int_eq(put(&shards[0], i, 1), SC_BUSY);
    ck_assert_int_eq(put(&shards[0], some_key(false), 1), SC_OK);
    sc_msg_put_op(&request, SC_OP_CLEAR, 0);
    ck_assert_int_eq(ask(&shards[0]), SC_BUSY);
    expect(&shards[0], i, 1000 + i);
    struct sc_msg_seal_reply before = seal;
    sc_msg_put_seal(&request, MOVE, export.token, 0); /* as if the time had passed */
    ck_assert_int_eq(ask(&shards[0]), SC_OK);
    ck_assert(sc_msg_read_seal(&call.reply, &seal));
    ck_assert(memcmp(&before, &seal, sizeof seal) == 0);
    ck_assert_int_eq(get(&shards[0], i), SC_UNAVAILABLE);
    ck_assert_int_eq(put(&shards[0], i, 1), SC_UNAVAILABLE);
    expect(&shards[0], some_key(false), 1);
    sc_msg_put_op(&request, SC_OP_COUNT, 0);
    ck_assert_int_eq(ask(&shards[0]), SC_UNAVAILABLE);
    ck_assert_int_eq(ask_seal(60000), SC_OK);
    expect(&shards[0], i, 1000 + i);
    /* Begun again, nothing is sealed. */
    ck_assert_int_eq(ask_export(MOVE, mark), SC_OK);
    ck_assert_int_eq(put(&shards[0], i, 1), SC_OK);
    seal_and_finish();
    ck_assert_int_eq(ask_release(MOVE), SC_OK);
    ck_assert_int_eq(put(&shards[0], i, 2), SC_OK);
    ck_assert_int_eq(ask_drop(MOVE), SC_OK);
    ck_assert_int_eq(hello(&shards[1], "importing"), -1);
}
END_TEST

START_TEST(a_late_message_does_nothing)
{
    put_all(1000);
    begin();
    copy();
    uint64_t old_export = export.token;
    uint64_t old_import = import.token;
    struct sc_slice old_mark = mark;
    ck_assert_int_eq(ask_import(MOVE), SC_OK);
    ck_assert_int_eq(ask_export(MOVE, old_mark), SC_OK);
    sc_msg_put_seal(&request, MOVE, old_export, UINT64_MAX);
    ck_assert_int_eq(ask(&shards[0]), SC_NOTFOUND);
    ck_assert_int_eq(put(&shards[0], some_key(true), 1), SC_OK);
    sc_msg_put_read(&request, MOVE, old_export, sc_slice(NULL, 0));
    ck_assert_int_eq(ask(&shards[0]), SC_NOTFOUND);
    sc_msg_put_write(&request, MOVE, old_import, cursor, mark, sc_slice(NULL, 0));
    ck_assert_int_eq(ask(&shards[1]), SC_NOTFOUND);
    sc_msg_put_finish(&request, MOVE, old_import, 0, 0, 0);
    ck_assert_int_eq(ask(&shards[1]), SC_NOTFOUND);
    ck_assert_int_eq(ask_drop(MOVE + 1), SC_OK);
    ck_assert_int_eq(ask_release(MOVE + 1), SC_OK);
    ck_assert_int_eq(hello(&shards[1], "importing"), MOVE);
    copy();
    seal_and_finish();
    ck_assert_int_eq(grant_after(&shards[0], 1), SC_OK);
    ck_assert_int_eq(grant_after(&shards[1], 1), SC_OK);
    /* What ends a move says nothing any more when it has happened. */
    ck_assert_int_ne(ask_drop(MOVE), SC_NOTFOUND);
    ck_assert_int_eq(ask_release(MOVE), SC_OK);
    expect(&shards[1], some_key(true), 1);
}
END_TEST

/* None of what a move consists of is heeded where it comes from now. */
static void expect_refused(void)
{
    ck_assert_int_eq(ask_import(MOVE), SC_NOTFOUND);
    sc_msg_put_write(&request, MOVE, import.token, cursor, mark, sc_slice(NULL, 0));
    ck_assert_int_eq(ask(&shards[1]), SC_NOTFOUND);
    ck_assert_int_eq(ask_finish(), SC_NOTFOUND);
    ck_assert_int_eq(ask_drop(MOVE), SC_NOTFOUND);
    ck_assert_int_eq(ask_export(MOVE, mark), SC_NOTFOUND);
    sc_msg_put_read(&request, MOVE, export.token, cursor);
    ck_assert_int_eq(ask(&shards[0]), SC_NOTFOUND);
    ck_assert_int_eq(ask_seal(60000), SC_NOTFOUND);
    ck_assert_int_eq(ask_release(MOVE), SC_NOTFOUND);
}

/* From now on requests go this way: NULL stands for the connections that there were first. */
static void use(struct caller *callers)
{
    for (int i = 0; i < 2; i++) {
        shards[i].caller = callers == NULL ? &shards[i].first : &callers[i];
    }
}

/* The coordinator has lost its connections; what it sent on them is still to be read. */
START_TEST(what_was_delayed_on_a_lost_connection_does_nothing)
{
    struct caller newer[2];
    unsigned i = some_key(true);
    put_all(1000);
    begin();
    caller_open(&newer[0], shards[0].url);
    caller_open(&newer[1], shards[1].url);
    use(newer);
    expect_refused(); /* it has not been introduced here yet */
    ck_assert_int_eq(grant_before(&shards[0], 1), SC_OK);
    ck_assert_int_eq(grant_before(&shards[1], 1), SC_OK);
    begin();
    copy();
    seal_and_finish();
    use(NULL);
    expect_refused();
    /* Nor behind a grant that was delayed, too. */
    ck_assert_int_eq(grant_before(&shards[0], 1), SC_OK);
    ck_assert_int_eq(grant_before(&shards[1], 1), SC_OK);
    expect_refused();
    ck_assert_int_eq(put(&shards[0], i, 1), SC_BUSY); /* sealed */
    expect(&shards[0], i, 1000 + i);
    use(newer);
    ck_assert_int_eq(grant_after(&shards[0], 1), SC_OK);
    use(NULL);
    expect_refused(); /* the target's grant is still to come */
    use(newer);
    ck_assert_int_eq(grant_after(&shards[1], 1), SC_OK);
    expect(&shards[1], i, 1000 + i);
    caller_close(&newer[0]);
    caller_close(&newer[1]);
}
END_TEST

START_TEST(a_coordinator_whose_term_is_over_moves_nothing)
{
    struct caller newer[2];
    put_all(1000);
    begin();
    caller_open(&newer[0], shards[0].url);
    caller_open(&newer[1], shards[1].url);
    for (int i = 0; i < 2; i++) {
        use(newer);
        ck_assert_int_eq(grant_before(&shards[i], 2), SC_OK);
        use(NULL);
        ck_assert_int_eq(grant_before(&shards[i], 1), SC_DENIED);
    }
    expect_refused();
    /* A later term counts, however old the connection. */
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(grant_before(&shards[i], 3), SC_OK);
    }
    begin();
    use(newer);
    expect_refused();
    ck_assert_int_eq(hello(&shards[0], "exporting"), MOVE);
    ck_assert_int_eq(hello(&shards[1], "importing"), MOVE);
    caller_close(&newer[0]);
    caller_close(&newer[1]);
}
END_TEST

START_TEST(a_new_coordinator_ends_what_the_old_one_has_sealed)
{
    put_all(1000);
    begin();
    copy();
    ck_assert_int_eq(ask_seal(60000), SC_OK);
    ck_assert_int_eq(grant_before(&shards[0], 1), SC_OK); /* the same one: nothing changes */
    ck_assert_int_eq(put(&shards[0], some_key(true), 1), SC_BUSY);
    ck_assert_int_eq(grant_before(&shards[0], 2), SC_OK);
    ck_assert_int_eq(put(&shards[0], some_key(true), 1), SC_OK);
    ck_assert_int_eq(ask_seal(60000), SC_NOTFOUND);
    ck_assert_int_eq(grant_before(&shards[1], 2), SC_OK);
    ck_assert_int_eq(ask_finish(), SC_NOTFOUND);
    /* It goes on where the old one was. */
    ck_assert_int_eq(ask_import(MOVE), SC_OK);
    ck_assert_int_eq(ask_export(MOVE, mark), SC_OK);
    copy();
    seal_and_finish();
    ck_assert_int_eq(grant_after(&shards[0], 2), SC_OK);
    ck_assert_int_eq(grant_after(&shards[1], 2), SC_OK);
    expect(&shards[1], some_key(true), 1);
}
END_TEST

START_TEST(slots_that_are_not_there_are_not_served)
{
    put_all(1000);
    ck_assert_int_eq(grant_after(&shards[1], 1), SC_DENIED);
    begin();
    ck_assert_int_eq(grant_after(&shards[1], 1), SC_DENIED);
    copy();
    ck_assert_int_eq(grant_after(&shards[1], 1), SC_DENIED);
    seal_and_finish();
    restart(&shards[1]);
    ck_assert_int_eq(grant_after(&shards[1], 1), SC_OK);
    ck_assert_int_eq(grant_after(&shards[0], 1), SC_OK);
    expect(&shards[1], some_key(true), 1000 + some_key(true));
    /* Given away is given away, on disk or not. */
    ck_assert_int_eq(grant_map(&shards[0], 1, 3, 1, 0), SC_DENIED);
    ck_assert_int_eq(get(&shards[0], some_key(true)), SC_MOVED);
}
END_TEST

START_TEST(x_scan_says_moved_where_scan_goes_on)
{
    struct sc_msg_scan scan = {.limit = 10, .last_slot = END};
    put_all(1000);
    begin();
    copy();
    seal_and_finish();
    ck_assert_int_eq(grant_after(&shards[0], 1), SC_OK);
    sc_msg_put_scan(&request, &scan, true);
    ck_assert_int_eq(ask(&shards[0]), SC_MOVED);
    sc_msg_put_scan(&request, &scan, false);
    ck_assert_int_eq(ask(&shards[0]), SC_OK);
    static const uint8_t behind[8] = {0x80};
    scan.cursor = sc_slice(behind, sizeof behind);
    sc_msg_put_scan(&request, &scan, true);
    ck_assert_int_eq(ask(&shards[0]), SC_OK);
    /* A cursor stands behind its hash: the last one of what has moved is no matter. */
    scan.cursor = sc_slice("\x7f\xff\xff\xff\xff\xff\xff\xff", 8);
    sc_msg_put_scan(&request, &scan, true);
    ck_assert_int_eq(ask(&shards[0]), SC_OK);
    scan.cursor = sc_slice("\x7f\xff\xff\xff\xff\xff\xff\xfe", 8);
    sc_msg_put_scan(&request, &scan, true);
    ck_assert_int_eq(ask(&shards[0]), SC_MOVED);
}
END_TEST

START_TEST(each_side_may_be_restarted_between_any_two_steps)
{
    put_all(1000);
    for (int step = 0; step < 4; step++) {
        ck_assert_int_eq(ask_import(MOVE), SC_OK);
        ck_assert_int_eq(ask_export(MOVE, mark), SC_OK);
        if (step > 0) {
            copy();
        }
        if (step > 1) {
            ck_assert_int_eq(ask_seal(60000), SC_OK);
            copy();
        }
        if (step > 2) {
            ck_assert_int_eq(ask_finish(), SC_OK);
        }
        struct shard *shard = &shards[step % 2];
        restart(shard);
        ck_assert_int_eq(get(shard, some_key(true)), SC_UNAVAILABLE);
        ck_assert_int_eq(grant_before(shard, 1), SC_OK);
        sc_msg_put_read(&request, MOVE, export.token, sc_slice(NULL, 0));
        ck_assert_int_eq(ask(&shards[0]), step % 2 == 0 ? SC_NOTFOUND : SC_OK);
    }
    ck_assert_int_eq(ask_import(MOVE), SC_OK);
    ck_assert_int_eq(ask_export(MOVE, mark), SC_OK);
    ck_assert_int_eq(put(&shards[0], some_key(true), 77), SC_OK);
    copy();
    seal_and_finish();
    ck_assert_int_eq(grant_after(&shards[0], 1), SC_OK);
    ck_assert_int_eq(grant_after(&shards[1], 1), SC_OK);
    expect(&shards[1], some_key(true), 77);
}
END_TEST

/* Answered before it is on disk: then nothing may be lost that was written since. */
START_TEST(a_grant_that_cannot_be_saved_is_tried_again)
{
    unsigned i = some_key(true);
    put_all(1000);
    begin();
    copy();
    seal_and_finish();
    (void)sc_io_fault(SC_IO_RENAME, 1, EIO, false);
    ck_assert_int_eq(grant_after(&shards[0], 1), SC_OK);
    ck_assert_int_eq(grant_after(&shards[1], 1), SC_OK);
    ck_assert_int_eq(get(&shards[0], i), SC_MOVED);
    expect(&shards[1], i, 1000 + i);
    ck_assert_int_eq(put(&shards[1], i, 5), SC_OK);
    ck_assert_int_eq(ask_drop(MOVE), SC_BUSY);
    expect(&shards[1], i, 5);
    ck_assert_int_eq(hello(&shards[1], "importing"), MOVE);
    restart(&shards[1]);
    ck_assert_int_eq(grant_after(&shards[1], 1), SC_OK);
    expect(&shards[1], i, 5);
    (void)sc_io_fault(0, 0, 0, false);
    while (hello(&shards[1], "importing") != -1 || hello(&shards[0], "exporting") != -1) {
        usleep(20000);
    }
    restart(&shards[1]);
    ck_assert_int_eq(grant_after(&shards[1], 1), SC_OK);
    expect(&shards[1], i, 5);
}
END_TEST

START_TEST(a_failed_sync_ends_a_move_not_the_reads)
{
    unsigned i = some_key(true);
    put_all(1000);
    begin();
    copy();
    (void)sc_io_fault(SC_IO_SYNC, 1, EIO, false);
    ck_assert_int_eq(put(&shards[0], i, 1), SC_IO);
    ck_assert_int_eq(ask_seal(60000), SC_IO);
    sc_msg_put_finish(&request, MOVE, import.token, 0, 0, 0);
    ck_assert_int_ne(ask(&shards[1]), SC_OK);
    (void)sc_io_fault(0, 0, 0, false);
    ck_assert_int_eq(get(&shards[0], some_key(false)), SC_OK);
    ck_assert_int_eq(ask_release(MOVE), SC_OK);
}
END_TEST

/* A merge is given up for a move; and none begins while slots are on their way. */
START_TEST(merges_make_way_for_moves)
{
    for (int round = 0; round < 3; round++) {
        put_all(1000 * (uint64_t)round);
    }
    sc_msg_put_op(&request, SC_OP_COMPACT, 0);
    ck_assert_int_eq(ask(&shards[0]), SC_OK);
    begin();
    sc_msg_put_op(&request, SC_OP_COMPACT, 0);
    ck_assert_int_eq(ask(&shards[0]), SC_OK);
    put_all(5000);
    copy();
    ck_assert(sc_bitcask_merges_held(shards[0].store));
    seal_and_finish();
    ck_assert_int_eq(grant_after(&shards[0], 1), SC_OK);
    ck_assert_int_eq(grant_after(&shards[1], 1), SC_OK);
    while (hello(&shards[0], "exporting") != -1 || hello(&shards[1], "importing") != -1) {
        usleep(1000);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        expect(&shards[moves(i)], i, 5000 + i);
    }
}
END_TEST

/* An operation that waits for the disk when its slot is sealed is judged when it is carried out. */
START_TEST(what_is_parked_is_judged_when_it_is_carried_out)
{
    unsigned i = some_key(true);
    struct call parked = {0};
    put_all(1000);
    begin();
    copy();
    sc_io_pretend_cold(1);
    sc_fetch_hold(true);
    sc_msg_put_incr(&request, key_of(i), 1);
    call_start(shards[0].caller, &parked, &request);
    while (sc_fetch_held() == 0) {
        usleep(1000);
    }
    ck_assert_int_eq(ask_seal(60000), SC_OK);
    sc_fetch_hold(false);
    ck_assert_int_eq(call_wait(&parked), SC_BUSY);
    call_end(&parked);
    sc_io_pretend_cold(0);
    expect(&shards[0], i, 1000 + i);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("handover");
    TCase *t = tcase_create("handover");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, slots_are_handed_over_while_they_are_served);
    tcase_add_test(t, a_seal_refuses_writes_and_lends_reads_for_a_while);
    tcase_add_test(t, a_late_message_does_nothing);
    tcase_add_test(t, what_was_delayed_on_a_lost_connection_does_nothing);
    tcase_add_test(t, a_coordinator_whose_term_is_over_moves_nothing);
    tcase_add_test(t, a_new_coordinator_ends_what_the_old_one_has_sealed);
    tcase_add_test(t, slots_that_are_not_there_are_not_served);
    tcase_add_test(t, x_scan_says_moved_where_scan_goes_on);
    tcase_add_test(t, each_side_may_be_restarted_between_any_two_steps);
    tcase_add_test(t, a_grant_that_cannot_be_saved_is_tried_again);
    tcase_add_test(t, a_failed_sync_ends_a_move_not_the_reads);
    tcase_add_test(t, merges_make_way_for_moves);
    tcase_add_test(t, what_is_parked_is_judged_when_it_is_carried_out);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
