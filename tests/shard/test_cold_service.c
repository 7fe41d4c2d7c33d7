/* A shard whose records are not in memory: what needs none of them goes on while the disk is slow,
 * and operations on one key keep their order. */
#include "shard/service.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "shard/fetch.h"
#include "shard/io.h"
#include "shard/task.h"
#include "tests/caller.h"
#include "tests/check_main.h"
#include "tests/random.h"

static char dir[64];
static char url[128];
static char why[SC_WHY_SIZE];
static struct sc_bitcask *store;
static struct sc_service *service;
static struct caller caller;
static struct sc_buf request;
static struct call call;

static const uint8_t cluster[16] = "0123456789abcdef";

#define MESSAGE_MAX (8u << 20)

/* ---- The shard ---- */

static int ask(void)
{
    call_end(&call);
    call_start(&caller, &call, &request);
    return call_wait(&call);
}

static void grant_all(void)
{
    sc_msg_put_op(&request, SC_OP_X_ADOPT, 2);
    sc_mp_put_bin(&request, sc_slice(cluster, sizeof cluster));
    sc_mp_put_uint(&request, 1);
    ck_assert_int_eq(ask(), SC_OK);
    sc_msg_put_op(&request, SC_OP_X_GRANT, 5);
    sc_mp_put_bin(&request, sc_slice(cluster, sizeof cluster));
    sc_mp_put_uint(&request, 1);
    sc_mp_put_uint(&request, 1);
    sc_mp_put_uint(&request, 1);
    sc_mp_put_array(&request, 1);
    sc_mp_put_array(&request, 4);
    sc_mp_put_uint(&request, 0);
    sc_mp_put_uint(&request, SC_SLOT_COUNT - 1);
    sc_mp_put_uint(&request, 1);
    sc_mp_put_cstr(&request, url);
    ck_assert_int_eq(ask(), SC_OK);
}

static void open_service(void)
{
    const char *bound;
    struct sc_bitcask_options options = {.file_size_max = 1u << 20,
                                         .value_max = SC_VALUE_MAX_DEFAULT,
                                         .sync_ms = SC_BITCASK_SYNC_NEVER};
    struct sc_service_options limits = {.message_max = MESSAGE_MAX,
                                        .value_max = SC_VALUE_MAX_DEFAULT,
                                        .sync_ms = SC_BITCASK_SYNC_NEVER};
    char path[128];
    snprintf(path, sizeof path, "%s/store", dir);
    ck_assert_int_eq(sc_bitcask_open(path, &options, NULL, NULL, &store, why), SC_OK);
    ck_assert_int_eq(sc_service_open(store, &limits, &service, why), SC_OK);
    ck_assert_int_eq(sc_service_listen(service, url, &bound, why), SC_OK);
    caller_open(&caller, url);
}

static void close_service(void)
{
    sc_service_close(service);
    service = NULL;
    ck_assert_int_eq(sc_bitcask_close(store), SC_OK);
}

static void setup(void)
{
    sc_log_init("test", SC_LOG_ERROR);
    snprintf(dir, sizeof dir, "/tmp/sc-cold-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(url, sizeof url, "ipc://%s/s", dir);
    open_service();
    grant_all();
    sc_io_pretend_cold(1);
}

static void teardown(void)
{
    char command[128];
    (void)sc_io_fault(0, 0, 0, false);
    sc_fetch_hold(false);
    caller_close(&caller);
    if (service != NULL) {
        close_service();
    }
    call_end(&call);
    sc_buf_fini(&request);
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Waits until what was sent before has arrived. */
static void wait_arrived(void)
{
    sc_msg_put_op(&request, SC_OP_PING, 0);
    ck_assert_int_eq(ask(), SC_OK);
}

/* Waits until so many reads are held. */
static void wait_held(unsigned count)
{
    const struct timespec pause = {.tv_nsec = 100000};
    for (int i = 0; i < 300000 && sc_fetch_held() < count; i++) {
        (void)nanosleep(&pause, NULL);
    }
    ck_assert_uint_eq(sc_fetch_held(), count);
}

/* ---- Requests ---- */

static struct sc_slice encoded(const char *text)
{
    static struct sc_buf buf;
    buf.size = 0;
    sc_mp_put_cstr(&buf, text);
    return sc_buf_slice(&buf);
}

static void put_get(const char *key)
{
    sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str(key));
}

static void put_put(const char *key, const char *value)
{
    sc_msg_put_put(&request, sc_slice_str(key), encoded(value), NULL);
}

static void put_incr(const char *key)
{
    sc_msg_put_incr(&request, sc_slice_str(key), 1);
}

static void put_batch(enum sc_op op, uint32_t count)
{
    sc_msg_put_op(&request, op, 1);
    sc_mp_put_array(&request, count);
}

static int ask_put(const char *key, const char *value)
{
    put_put(key, value);
    return ask();
}

static void start(struct call *started)
{
    call_start(&caller, started, &request);
}

/* ---- Replies ---- */

static void expect_str(struct sc_mp *mp, const char *expected)
{
    struct sc_slice text;
    ck_assert(sc_mp_str(mp, &text));
    ck_assert_msg(sc_slice_equal(text, sc_slice_str(expected)), "%.*s, not %s", (int)text.size,
                  (const char *)text.data, expected);
}

/* The value of a get. */
static void expect_value(struct call *ended, const char *expected)
{
    ck_assert_int_eq(call_wait(ended), SC_OK);
    expect_str(&ended->reply.result, expected);
    call_end(ended);
}

/* Takes the next reply of a batch; returns its status and leaves the cursor behind it. */
static int next_item(struct call *ended, struct sc_mp *result)
{
    uint32_t count;
    uint64_t status;
    struct sc_slice raw;
    ck_assert(sc_mp_skip(&ended->reply.result, &raw));
    *result = sc_mp(raw);
    ck_assert(sc_mp_array(result, &count));
    ck_assert(sc_mp_uint(result, &status));
    return (int)status;
}

static void expect_items(struct call *ended, uint32_t expected)
{
    uint32_t count;
    ck_assert_int_eq(call_wait(ended), SC_OK);
    ck_assert(sc_mp_array(&ended->reply.result, &count));
    ck_assert_uint_eq(count, expected);
}

/* Sends what is in `request`, a batch; its replies are to be taken from `call`. */
static void ask_items(uint32_t expected)
{
    call_end(&call);
    start(&call);
    expect_items(&call, expected);
}

static void expect_item_str(struct call *ended, const char *expected)
{
    struct sc_mp result;
    ck_assert_int_eq(next_item(ended, &result), SC_OK);
    expect_str(&result, expected);
}

static void expect_item_int(struct call *ended, int64_t expected)
{
    struct sc_mp result;
    int64_t number;
    ck_assert_int_eq(next_item(ended, &result), SC_OK);
    ck_assert(sc_mp_int(&result, &number));
    ck_assert_int_eq(number, expected);
}

static void expect_item_status(struct call *ended, int expected)
{
    struct sc_mp result;
    ck_assert_int_eq(next_item(ended, &result), expected);
}

/* ---- A slow disk ---- */

START_TEST(a_cold_get_holds_up_nobody_else)
{
    struct call cold;
    ck_assert_int_eq(ask_put("cold", "c"), SC_OK);
    ck_assert_int_eq(ask_put("warm", "w"), SC_OK);
    sc_fetch_hold(true);
    put_get("cold");
    start(&cold);
    wait_held(1);
    sc_io_pretend_cold(0);
    put_get("warm");
    ck_assert_int_eq(ask(), SC_OK);
    expect_str(&call.reply.result, "w");
    ck_assert_int_eq(ask_put("other", "o"), SC_OK);
    put_incr("n");
    ck_assert_int_eq(ask(), SC_OK);
    sc_msg_put_op(&request, SC_OP_COUNT, 0);
    ck_assert_int_eq(ask(), SC_OK);
    put_batch(SC_OP_MGET, 2);
    sc_mp_put_cstr(&request, "warm");
    sc_mp_put_cstr(&request, "other");
    ck_assert_int_eq(ask(), SC_OK);
    ck_assert(!call_ended(&cold));
    sc_fetch_hold(false);
    expect_value(&cold, "c");
}
END_TEST

START_TEST(items_of_a_batch_wait_together_but_read_side_by_side)
{
    enum { COUNT = 12 };
    struct call batch;
    char key[24];
    char value[24];
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        snprintf(value, sizeof value, "value-%d", i);
        ck_assert_int_eq(ask_put(key, value), SC_OK);
    }
    sc_fetch_hold(true);
    put_batch(SC_OP_MGET, COUNT + 1);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key-%d", COUNT - 1 - i);
        sc_mp_put_cstr(&request, key);
    }
    sc_mp_put_cstr(&request, "absent");
    start(&batch);
    wait_held(COUNT);
    sc_fetch_hold(false);
    expect_items(&batch, COUNT + 1);
    for (int i = 0; i < COUNT; i++) {
        snprintf(value, sizeof value, "value-%d", COUNT - 1 - i);
        expect_item_str(&batch, value);
    }
    expect_item_status(&batch, SC_NOTFOUND);
    call_end(&batch);
}
END_TEST

START_TEST(more_than_can_wait_at_once_is_read_by_and_by)
{
    enum { COUNT = 3 * 4096 };
    struct call batch;
    char key[24];
    put_batch(SC_OP_MPUT, COUNT);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        sc_mp_put_array(&request, 2);
        sc_mp_put_cstr(&request, key);
        sc_mp_put_cstr(&request, key);
    }
    ck_assert_int_eq(ask(), SC_OK);
    put_batch(SC_OP_MGET, COUNT);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        sc_mp_put_cstr(&request, key);
    }
    start(&batch);
    expect_items(&batch, COUNT);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        expect_item_str(&batch, key);
    }
    call_end(&batch);
}
END_TEST

/* ---- Order ---- */

START_TEST(items_on_one_key_take_effect_in_order)
{
    struct call batch;
    ck_assert_int_eq(ask_put("k", "old"), SC_OK);
    sc_fetch_hold(true);
    put_batch(SC_OP_BATCH, 8);
    put_get("k");
    put_put("k", "new");
    put_get("k");
    sc_msg_put_key_request(&request, SC_OP_DEL, sc_slice_str("k"));
    sc_msg_put_key_request(&request, SC_OP_EXISTS, sc_slice_str("k"));
    put_put("other", "o");
    put_incr("k");
    put_get("k");
    start(&batch);
    wait_held(1);
    sc_msg_put_key_request(&request, SC_OP_EXISTS, sc_slice_str("other"));
    ck_assert_int_eq(ask(), SC_OK); /* what is on another key has been done */
    bool exists;
    ck_assert(sc_mp_bool(&call.reply.result, &exists));
    ck_assert(exists);
    sc_fetch_hold(false);
    expect_items(&batch, 8);
    expect_item_str(&batch, "old");
    expect_item_status(&batch, SC_OK);
    expect_item_str(&batch, "new");
    expect_item_status(&batch, SC_OK);
    struct sc_mp result;
    ck_assert_int_eq(next_item(&batch, &result), SC_OK);
    ck_assert(sc_mp_bool(&result, &exists));
    ck_assert(!exists);
    expect_item_status(&batch, SC_OK);
    expect_item_int(&batch, 1);
    expect_item_int(&batch, 1);
    call_end(&batch);
}
END_TEST

START_TEST(messages_on_one_key_keep_their_order)
{
    struct call calls[6];
    ck_assert_int_eq(ask_put("n", "no number"), SC_OK);
    put_put("k", "old");
    ck_assert_int_eq(ask(), SC_OK);
    sc_fetch_hold(true);
    put_get("k");
    start(&calls[0]);
    put_put("k", "new");
    start(&calls[1]);
    put_get("k");
    start(&calls[2]);
    put_incr("n");
    start(&calls[3]);
    put_batch(SC_OP_X_JOIN, 2);
    sc_msg_put_key_request(&request, SC_OP_DEL, sc_slice_str("n"));
    put_incr("n");
    start(&calls[4]);
    put_incr("n");
    start(&calls[5]);
    wait_held(2);
    wait_arrived();
    sc_fetch_hold(false);
    expect_value(&calls[0], "old");
    ck_assert_int_eq(call_wait(&calls[1]), SC_OK);
    expect_value(&calls[2], "new");
    ck_assert_int_eq(call_wait(&calls[3]), SC_WRONGTYPE);
    expect_items(&calls[4], 2);
    expect_item_status(&calls[4], SC_OK);
    expect_item_int(&calls[4], 1);
    int64_t number;
    ck_assert_int_eq(call_wait(&calls[5]), SC_OK);
    ck_assert(sc_mp_int(&calls[5].reply.result, &number));
    ck_assert_int_eq(number, 2);
    for (int i = 1; i < 6; i++) {
        if (i != 2) {
            call_end(&calls[i]);
        }
    }
}
END_TEST

START_TEST(every_operation_that_needs_the_record_waits_for_it)
{
    struct call calls[5];
    uint64_t version;
    ck_assert_int_eq(ask_put("a", "1"), SC_OK);
    ck_assert_int_eq(ask_put("b", "1"), SC_OK);
    ck_assert_int_eq(ask_put("c", "1"), SC_OK);
    ck_assert(sc_mp_uint(&call.reply.result, &version));
    ck_assert_int_eq(ask_put("d", "1"), SC_OK);
    put_incr("e");
    ck_assert_int_eq(ask(), SC_OK);
    sc_fetch_hold(true);
    const uint64_t ttl_ms = 1000000;
    struct sc_msg_write_options right = {.has_if_version = true, .if_version = version};
    struct sc_msg_write_options wrong = {.has_if_version = true, .if_version = version};
    sc_msg_put_key_request(&request, SC_OP_META, sc_slice_str("a"));
    start(&calls[0]);
    sc_msg_put_touch(&request, sc_slice_str("b"), &ttl_ms);
    start(&calls[1]);
    sc_msg_put_put(&request, sc_slice_str("c"), encoded("2"), &right);
    start(&calls[2]);
    sc_msg_put_del(&request, sc_slice_str("d"), &wrong);
    start(&calls[3]);
    put_incr("e");
    start(&calls[4]);
    wait_held(5);
    sc_fetch_hold(false);
    static const int expected[] = {SC_OK, SC_OK, SC_OK, SC_MISMATCH, SC_OK};
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(call_wait(&calls[i]), expected[i]);
        call_end(&calls[i]);
    }
}
END_TEST

/* ---- What happens meanwhile ---- */

START_TEST(what_was_cleared_meanwhile_is_absent)
{
    struct call cold;
    ck_assert_int_eq(ask_put("k", "1"), SC_OK);
    sc_fetch_hold(true);
    put_get("k");
    start(&cold);
    wait_held(1);
    sc_msg_put_op(&request, SC_OP_CLEAR, 0);
    ck_assert_int_eq(ask(), SC_OK);
    sc_fetch_hold(false);
    ck_assert_int_eq(call_wait(&cold), SC_NOTFOUND);
    call_end(&cold);
}
END_TEST

static uint64_t merges(void)
{
    sc_msg_put_op(&request, SC_OP_STATS, 0);
    ck_assert_int_eq(ask(), SC_OK);
    uint32_t pairs = 0;
    ck_assert(sc_mp_map(&call.reply.result, &pairs));
    for (uint32_t i = 0; i < pairs; i++) {
        struct sc_slice name;
        uint64_t value;
        ck_assert(sc_mp_str(&call.reply.result, &name));
        if (sc_slice_equal(name, sc_slice_str("merges"))) {
            ck_assert(sc_mp_uint(&call.reply.result, &value));
            return value;
        }
        ck_assert(sc_mp_skip(&call.reply.result, NULL));
    }
    ck_abort_msg("no figure of merges");
}

START_TEST(a_merge_beside_a_read_does_it_no_harm)
{
    struct call cold;
    ck_assert_int_eq(ask_put("k", "stays"), SC_OK);
    ck_assert_int_eq(ask_put("x", "old"), SC_OK);
    ck_assert_int_eq(ask_put("x", "new"), SC_OK);
    sc_fetch_hold(true);
    put_get("k");
    start(&cold);
    wait_held(1);
    sc_msg_put_op(&request, SC_OP_COMPACT, 0);
    ck_assert_int_eq(ask(), SC_OK);
    for (int i = 0; i < 1000000 && merges() == 0; i++) {
    }
    ck_assert_uint_eq(merges(), 1);
    sc_fetch_hold(false);
    expect_value(&cold, "stays");
    put_get("k");
    ck_assert_int_eq(ask(), SC_OK);
    expect_str(&call.reply.result, "stays");
}
END_TEST

START_TEST(what_the_disk_brings_after_the_deadline_is_not_begun)
{
    struct call late;
    struct call in_time;
    put_incr("n");
    ck_assert_int_eq(ask(), SC_OK);
    sc_fetch_hold(true);
    uint64_t deadline_ms = sc_clock_mono_ms() + 50;
    sc_msg_put_by(&request, deadline_ms);
    put_batch(SC_OP_X_JOIN, 1);
    put_incr("n");
    start(&late);
    sc_msg_put_by(&request, sc_clock_mono_ms() + 3600000);
    put_get("n");
    start(&in_time);
    wait_held(1);
    while (sc_clock_mono_ms() <= deadline_ms) {
        (void)usleep(1000);
    }
    sc_fetch_hold(false);
    expect_items(&late, 1);
    expect_item_status(&late, SC_UNAVAILABLE);
    int64_t number;
    ck_assert_int_eq(call_wait(&in_time), SC_OK);
    ck_assert(sc_mp_int(&in_time.reply.result, &number));
    ck_assert_int_eq(number, 1);
    call_end(&late);
    call_end(&in_time);
}
END_TEST

static void *release(void *unused)
{
    (void)unused;
    (void)usleep(20000);
    sc_fetch_hold(false);
    return NULL;
}

START_TEST(a_shard_that_stops_answers_what_waits_first)
{
    struct call calls[2];
    pthread_t thread;
    ck_assert_int_eq(ask_put("k", "1"), SC_OK);
    put_incr("n");
    ck_assert_int_eq(ask(), SC_OK);
    sc_fetch_hold(true);
    put_get("k");
    start(&calls[0]);
    put_incr("n");
    start(&calls[1]);
    wait_held(2);
    ck_assert_int_eq(pthread_create(&thread, NULL, release, NULL), 0);
    close_service();
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    expect_value(&calls[0], "1");
    ck_assert_int_eq(call_wait(&calls[1]), SC_OK);
    call_end(&calls[1]);
}
END_TEST

START_TEST(a_client_that_has_gone_harms_nobody)
{
    struct call cold;
    ck_assert_int_eq(ask_put("k", "1"), SC_OK);
    sc_fetch_hold(true);
    put_get("k");
    start(&cold);
    wait_held(1);
    caller_close(&caller);
    ck_assert_int_eq(call_wait(&cold), SC_UNKNOWN);
    call_end(&cold);
    caller_open(&caller, url);
    sc_fetch_hold(false);
    put_get("k");
    ck_assert_int_eq(ask(), SC_OK);
}
END_TEST

/* ---- What goes wrong ---- */

START_TEST(a_read_error_is_that_of_its_item_alone)
{
    struct call batch;
    ck_assert_int_eq(ask_put("k", "1"), SC_OK);
    sc_fetch_hold(true);
    put_batch(SC_OP_BATCH, 2);
    put_get("k");
    put_put("other", "o");
    start(&batch);
    wait_held(1);
    (void)sc_io_fault(SC_IO_READ, 1, EIO, true);
    sc_fetch_hold(false);
    expect_items(&batch, 2);
    expect_item_status(&batch, SC_IO);
    expect_item_status(&batch, SC_OK);
    call_end(&batch);
    (void)sc_io_fault(0, 0, 0, false);
    put_get("k");
    ck_assert_int_eq(ask(), SC_OK);
}
END_TEST

/* ---- Limits of replies ---- */

static char *text_of(size_t size)
{
    char *text = sc_alloc(size + 1);
    memset(text, 'x', size);
    text[size] = '\0';
    return text;
}

START_TEST(a_join_sends_back_what_it_has_no_room_for)
{
    enum { COUNT = 12 };
    char *large = text_of(1 << 20);
    struct call join;
    ck_assert_int_eq(ask_put("large", large), SC_OK);
    put_batch(SC_OP_X_JOIN, COUNT);
    for (int i = 0; i < COUNT; i++) {
        put_get("large");
    }
    start(&join);
    expect_items(&join, COUNT);
    bool sent_back = false;
    unsigned whole = 0;
    for (int i = 0; i < COUNT; i++) {
        struct sc_mp result;
        int status = next_item(&join, &result);
        ck_assert(status == SC_MSG_AGAIN || (status == SC_OK && !sent_back));
        sent_back = sent_back || status == SC_MSG_AGAIN;
        whole += status == SC_OK ? 1 : 0;
    }
    ck_assert(sent_back && whole >= 1);
    call_end(&join);
    free(large);
}
END_TEST

START_TEST(a_batch_keeps_to_the_message_limit)
{
    enum { GETS = 4 };
    char *large = text_of(3 << 20);
    struct call batch;
    ck_assert_int_eq(ask_put("large", large), SC_OK);
    put_batch(SC_OP_BATCH, GETS + 1);
    for (int i = 0; i < GETS; i++) {
        put_get("large");
    }
    put_incr("n");
    start(&batch);
    expect_items(&batch, GETS + 1);
    ck_assert_uint_lt(batch.body.size, MESSAGE_MAX);
    expect_item_status(&batch, SC_OK);
    expect_item_status(&batch, SC_OK);
    expect_item_status(&batch, SC_TOOLARGE);
    expect_item_status(&batch, SC_TOOLARGE);
    expect_item_int(&batch, 1);
    call_end(&batch);
    free(large);
}
END_TEST

static const struct {
    enum sc_op op;
    int status; /* of what has no room */
} kinds[] = {{SC_OP_BATCH, SC_TOOLARGE}, {SC_OP_X_JOIN, SC_BUSY}};

START_TEST(values_that_have_grown_meanwhile_keep_to_the_message_limit)
{
    enum { GETS = 5 };
    char *large = text_of(2 << 20);
    struct call first;
    struct call batch;
    ck_assert_int_eq(ask_put("k", "small"), SC_OK);
    sc_fetch_hold(true);
    put_get("k");
    start(&first);
    put_batch(kinds[_i].op, 1 + GETS);
    put_put("k", large);
    for (int i = 0; i < GETS; i++) {
        put_get("k");
    }
    start(&batch);
    wait_held(1);
    wait_arrived();
    sc_fetch_hold(false);
    expect_value(&first, "small");
    expect_items(&batch, 1 + GETS);
    ck_assert_uint_lt(batch.body.size, MESSAGE_MAX);
    expect_item_status(&batch, SC_OK);
    for (int i = 0; i < GETS; i++) {
        expect_item_status(&batch, i < 3 ? SC_OK : kinds[_i].status);
    }
    call_end(&batch);
    free(large);
}
END_TEST

START_TEST(when_too_much_waits_the_rest_is_refused_or_sent_back)
{
    enum { CALLERS = 4, EACH = 4, COUNT = SC_TASK_WAITING_MAX };
    static struct caller callers[CALLERS];
    static struct call calls[CALLERS * EACH];
    static_assert(CALLERS * EACH * COUNT == SC_PARKING_MAX, "just as many as can wait");
    ck_assert_int_eq(ask_put("k", "1"), SC_OK);
    ck_assert_int_eq(ask_put("other", "o"), SC_OK);
    sc_fetch_hold(true);
    for (int i = 0; i < CALLERS; i++) {
        caller_open(&callers[i], url);
    }
    for (int i = 0; i < CALLERS * EACH; i++) {
        put_batch(SC_OP_MGET, COUNT);
        for (int j = 0; j < COUNT; j++) {
            sc_mp_put_cstr(&request, "k");
        }
        call_start(&callers[i % CALLERS], &calls[i], &request);
    }
    for (int i = 0; i < CALLERS; i++) {
        sc_msg_put_op(&request, SC_OP_PING, 0);
        call_end(&call);
        call_start(&callers[i], &call, &request);
        ck_assert_int_eq(call_wait(&call), SC_OK);
    }
    put_get("other");
    ck_assert_int_eq(ask(), SC_BUSY);
    put_batch(SC_OP_MGET, 1);
    sc_mp_put_cstr(&request, "other");
    ask_items(1);
    expect_item_status(&call, SC_BUSY);
    put_batch(SC_OP_X_JOIN, 1);
    put_get("other");
    ask_items(1);
    expect_item_status(&call, SC_MSG_AGAIN);
    put_batch(SC_OP_X_PEEK, 3);
    sc_msg_put_key_request(&request, SC_OP_EXISTS, sc_slice_str("other"));
    put_get("other");
    sc_msg_put_key_request(&request, SC_OP_EXISTS, sc_slice_str("other"));
    ask_items(3);
    expect_item_status(&call, SC_OK);
    expect_item_status(&call, SC_MSG_COLD);
    expect_item_status(&call, SC_MSG_COLD); /* though nothing holds its key */
    const struct sc_msg_scan scan = {.limit = 10, .values = true, .last_slot = SC_SLOT_COUNT - 1};
    sc_msg_put_scan(&request, &scan, false);
    ck_assert_int_eq(ask(), SC_BUSY);
    sc_msg_put_key_request(&request, SC_OP_EXISTS, sc_slice_str("other"));
    ck_assert_int_eq(ask(), SC_OK);
    sc_fetch_hold(false);
    for (int i = 0; i < CALLERS * EACH; i++) {
        expect_items(&calls[i], COUNT);
        for (int j = 0; j < COUNT; j++) {
            expect_item_str(&calls[i], "1");
        }
        call_end(&calls[i]);
    }
    put_get("other");
    ck_assert_int_eq(ask(), SC_OK);
    for (int i = 0; i < CALLERS; i++) {
        caller_close(&callers[i]);
    }
}
END_TEST

/* ---- Peeking ---- */

START_TEST(a_peek_sends_back_what_is_cold_and_brings_it_into_memory)
{
    ck_assert_int_eq(ask_put("cold", "c"), SC_OK);
    sc_io_pretend_cold(0);
    ck_assert_int_eq(ask_put("warm", "w"), SC_OK);
    put_get("warm");
    ck_assert_int_eq(ask(), SC_OK);
    sc_io_pretend_cold(1);
    sc_fetch_hold(true);
    put_batch(SC_OP_X_PEEK, 4);
    put_get("cold");
    sc_msg_put_key_request(&request, SC_OP_EXISTS, sc_slice_str("warm"));
    put_get("absent");
    sc_msg_put_key_request(&request, SC_OP_EXISTS, sc_slice_str("cold"));
    ask_items(4);
    expect_item_status(&call, SC_MSG_COLD);
    expect_item_status(&call, SC_OK);
    expect_item_status(&call, SC_NOTFOUND);
    expect_item_status(&call, SC_MSG_COLD); /* behind another on its key */
    wait_held(1); /* being brought in, though nobody waits for it yet */
    struct call join;
    put_batch(SC_OP_X_JOIN, 2);
    put_get("cold");
    put_get("cold");
    start(&join);
    sc_io_pretend_cold(0);
    sc_fetch_hold(false);
    expect_items(&join, 2);
    expect_item_str(&join, "c");
    expect_item_str(&join, "c");
    call_end(&join);
    put_batch(SC_OP_X_PEEK, 1);
    put_get("cold");
    ask_items(1);
    expect_item_str(&call, "c");
}
END_TEST

START_TEST(a_shard_stops_while_it_brings_in_what_was_peeked_at)
{
    ck_assert_int_eq(ask_put("cold", "c"), SC_OK);
    put_batch(SC_OP_X_PEEK, 1);
    put_get("cold");
    ask_items(1);
    expect_item_status(&call, SC_MSG_COLD);
    close_service();
}
END_TEST

/* ---- Scans ---- */

START_TEST(a_scan_with_values_fetches_them)
{
    enum { COUNT = 100 };
    char key[24];
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        ck_assert_int_eq(ask_put(key, key), SC_OK);
    }
    struct sc_buf cursor = {0};
    struct sc_msg_scan scan = {.limit = 30, .values = true, .last_slot = SC_SLOT_COUNT - 1};
    unsigned found = 0;
    for (bool more = true; more;) {
        struct sc_slice next = {0};
        uint32_t count;
        scan.cursor = sc_buf_slice(&cursor);
        sc_msg_put_scan(&request, &scan, false);
        ck_assert_int_eq(ask(), SC_OK);
        more = sc_mp_peek(&call.reply.result) != SC_MP_NIL;
        ck_assert(more ? sc_mp_bytes(&call.reply.result, &next)
                       : sc_mp_skip(&call.reply.result, NULL));
        ck_assert(sc_mp_array(&call.reply.result, &count));
        for (uint32_t i = 0; i < count; i++) {
            struct sc_slice name;
            struct sc_slice value;
            uint32_t two;
            ck_assert(sc_mp_array(&call.reply.result, &two));
            ck_assert(sc_mp_bytes(&call.reply.result, &name));
            ck_assert(sc_mp_str(&call.reply.result, &value));
            ck_assert(sc_slice_equal(name, value));
        }
        found += count;
        cursor.size = 0;
        sc_buf_append_slice(&cursor, next);
    }
    ck_assert_uint_eq(found, COUNT);
    sc_buf_fini(&cursor);
}
END_TEST

/* ---- At random ---- */

enum { KEYS = 6, IN_FLIGHT = 8, ITEMS_MAX = 12, MESSAGES = 3000 };

/* What a reply must say. */
struct expected {
    int status;
    enum sc_mp_type type; /* SC_MP_NONE: anything */
    int64_t number;
};

struct sent {
    struct call call;
    bool single;
    uint32_t count;
    struct expected items[ITEMS_MAX];
};

static struct test_random random_numbers;
static bool present[KEYS];
static int64_t numbers[KEYS];

static uint32_t any(uint32_t limit)
{
    return (uint32_t)test_random_below(&random_numbers, limit);
}

/* Adds a random operation to the request, carries it out in the model, and tells its reply. */
static struct expected add_operation(void)
{
    static const char *const names[KEYS] = {"a", "b", "c", "d", "e", "f"};
    uint32_t k = any(KEYS);
    struct sc_slice key = sc_slice_str(names[k]);
    bool was = present[k];
    struct sc_msg_write_options if_absent = {.has_if_version = true};
    uint32_t what = any(10);
    if (what < 4) {
        sc_msg_put_key_request(&request, SC_OP_GET, key);
        return (struct expected){was ? SC_OK : SC_NOTFOUND, was ? SC_MP_UINT : SC_MP_NONE,
                                 numbers[k]};
    }
    if (what < 6) {
        present[k] = true;
        numbers[k] = was ? numbers[k] + 1 : 1;
        sc_msg_put_incr(&request, key, 1);
        return (struct expected){SC_OK, SC_MP_UINT, numbers[k]};
    }
    if (what < 7) {
        present[k] = false;
        sc_msg_put_del(&request, key, NULL);
        return (struct expected){SC_OK, SC_MP_BOOL, was};
    }
    if (what < 8) {
        sc_msg_put_key_request(&request, SC_OP_EXISTS, key);
        return (struct expected){SC_OK, SC_MP_BOOL, was};
    }
    bool conditional = what < 9;
    struct sc_buf number = {0};
    int64_t value = any(1000000);
    sc_mp_put_int(&number, value);
    sc_msg_put_put(&request, key, sc_buf_slice(&number), conditional ? &if_absent : NULL);
    sc_buf_fini(&number);
    if (conditional && was) {
        return (struct expected){.status = SC_MISMATCH};
    }
    present[k] = true;
    numbers[k] = value;
    return (struct expected){.status = SC_OK};
}

static void send_random(struct sent *sent)
{
    sent->single = any(3) == 0;
    sent->count = sent->single ? 1 : 1 + any(ITEMS_MAX);
    if (!sent->single) {
        put_batch(any(2) == 0 ? SC_OP_BATCH : SC_OP_X_JOIN, sent->count);
    }
    for (uint32_t i = 0; i < sent->count; i++) {
        sent->items[i] = add_operation();
    }
    start(&sent->call);
}

static void check_reply(int status, struct sc_mp *result, const struct expected *expected)
{
    int64_t number;
    bool truth;
    must(status == expected->status);
    if (expected->type == SC_MP_UINT) {
        must(sc_mp_int(result, &number) && number == expected->number);
    } else if (expected->type == SC_MP_BOOL) {
        must(sc_mp_bool(result, &truth) && truth == (expected->number != 0));
    }
}

static void check_random(struct sent *sent)
{
    if (sent->single) {
        int status = call_wait(&sent->call);
        check_reply(status, &sent->call.reply.result, &sent->items[0]);
    } else {
        expect_items(&sent->call, sent->count);
        for (uint32_t i = 0; i < sent->count; i++) {
            struct sc_mp result;
            int status = next_item(&sent->call, &result);
            check_reply(status, &result, &sent->items[i]);
        }
    }
    call_end(&sent->call);
}

/* Of one connection: whatever is in flight, operations on one key take effect in order. */
START_TEST(random_messages_in_flight_agree_with_a_model)
{
    static struct sent sent[IN_FLIGHT];
    random_numbers = test_random_start("random_messages_in_flight_agree_with_a_model");
    memset(present, 0, sizeof present);
    for (unsigned i = 0; i < MESSAGES + IN_FLIGHT; i++) {
        if (i >= IN_FLIGHT) {
            check_random(&sent[i % IN_FLIGHT]);
        }
        if (i < MESSAGES) {
            send_random(&sent[i % IN_FLIGHT]);
        }
        if (any(100) == 0) {
            sc_io_pretend_cold(any(4));
        }
        if (any(300) == 0) {
            sc_msg_put_op(&request, SC_OP_COMPACT, 0);
            ck_assert_int_eq(ask(), SC_OK);
        }
    }
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("cold service");
    TCase *tcase = tcase_create("cold service");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_cold_get_holds_up_nobody_else);
    tcase_add_test(tcase, items_of_a_batch_wait_together_but_read_side_by_side);
    tcase_add_test(tcase, more_than_can_wait_at_once_is_read_by_and_by);
    tcase_add_test(tcase, items_on_one_key_take_effect_in_order);
    tcase_add_test(tcase, messages_on_one_key_keep_their_order);
    tcase_add_test(tcase, every_operation_that_needs_the_record_waits_for_it);
    tcase_add_test(tcase, what_was_cleared_meanwhile_is_absent);
    tcase_add_test(tcase, a_merge_beside_a_read_does_it_no_harm);
    tcase_add_test(tcase, what_the_disk_brings_after_the_deadline_is_not_begun);
    tcase_add_test(tcase, a_shard_that_stops_answers_what_waits_first);
    tcase_add_test(tcase, a_client_that_has_gone_harms_nobody);
    tcase_add_test(tcase, a_read_error_is_that_of_its_item_alone);
    tcase_add_test(tcase, a_join_sends_back_what_it_has_no_room_for);
    tcase_add_test(tcase, a_batch_keeps_to_the_message_limit);
    tcase_add_loop_test(tcase, values_that_have_grown_meanwhile_keep_to_the_message_limit, 0,
                        (int)(sizeof kinds / sizeof *kinds));
    tcase_add_test(tcase, when_too_much_waits_the_rest_is_refused_or_sent_back);
    tcase_add_test(tcase, a_peek_sends_back_what_is_cold_and_brings_it_into_memory);
    tcase_add_test(tcase, a_shard_stops_while_it_brings_in_what_was_peeked_at);
    tcase_add_test(tcase, a_scan_with_values_fetches_them);
    tcase_add_test(tcase, random_messages_in_flight_agree_with_a_model);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return sc_check_main(make_suite());
}
