#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "client/shardcask.h"
#include "tests/check_main.h"
#include "tests/client/fake_server.h"

static struct fake_server fake;
static struct shardcask *db;

static void open_client(const struct shardcask_options *options)
{
    char why[SHARDCASK_WHY_SIZE] = "";
    ck_assert_msg(shardcask_open(fake.url, options, &db, why) == SHARDCASK_OK, "%s", why);
}

static void setup(void)
{
    fake_start(&fake);
    open_client(NULL);
}

static void teardown(void)
{
    shardcask_close(db);
    fake_end(&fake);
}

static void hold(void)
{
    fake_lock(&fake);
    fake.hold = true;
    fake_unlock(&fake);
}

/* With a handle of its own, since a senseless reply costs the connection. */
static void answer_with(const char *bytes, size_t size)
{
    shardcask_close(db);
    open_client(NULL);
    fake_lock(&fake);
    fake.canned = sc_slice(bytes, size);
    fake_unlock(&fake);
}

/* ---- One call on a thread of its own ---- */

struct call {
    pthread_t thread;
    enum shardcask_op_kind kind;
    char key[16];
    int status;
    char why[SHARDCASK_WHY_SIZE];
};

static void *run_call(void *arg)
{
    struct call *call = arg;
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    size_t size = strlen(call->key);
    if (call->kind == SHARDCASK_OP_GET) {
        call->status = shardcask_get(db, call->key, size, &value);
    } else {
        call->status = shardcask_incr(db, call->key, size, 1, NULL);
    }
    (void)snprintf(call->why, sizeof call->why, "%s", shardcask_error());
    shardcask_value_free(&value);
    return NULL;
}

static void begin_call(struct call *call, enum shardcask_op_kind kind, const char *key)
{
    *call = (struct call){.kind = kind, .status = -1};
    (void)snprintf(call->key, sizeof call->key, "%s", key);
    ck_assert_int_eq(pthread_create(&call->thread, NULL, run_call, call), 0);
}

static int end_call(struct call *call)
{
    ck_assert_int_eq(pthread_join(call->thread, NULL), 0);
    return call->status;
}

/* ---- Opening ---- */

START_TEST(a_senseless_address_is_refused_at_once)
{
    static const char *const urls[] = {
        "", "nonsense", "tcp://", "tcp://127.0.0.1", "udp://127.0.0.1:1", "http://x"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct shardcask *handle = (struct shardcask *)&fake;
        char why[SHARDCASK_WHY_SIZE] = "";
        ck_assert_msg(shardcask_open(urls[i], NULL, &handle, why) == SHARDCASK_BADREQUEST, "%s",
                      urls[i]);
        ck_assert_ptr_null(handle);
        ck_assert_str_ne(why, "");
        ck_assert_str_eq(why, shardcask_error());
    }
    struct shardcask_options options = {.message_max = 1000};
    struct shardcask *handle;
    ck_assert_int_eq(shardcask_open(fake.url, &options, &handle, NULL), SHARDCASK_BADREQUEST);
}
END_TEST

START_TEST(nobody_there_is_unavailable_and_says_why)
{
    struct shardcask_options options = {.connect_timeout_ms = 200};
    struct shardcask *handle;
    char why[SHARDCASK_WHY_SIZE] = "";
    ck_assert_int_eq(shardcask_open("ipc:///tmp/sc-nobody-listens-here", &options, &handle, why),
                     SHARDCASK_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(why, "/tmp/sc-nobody-listens-here"));
}
END_TEST

START_TEST(the_address_may_come_from_the_environment)
{
    struct shardcask *handle;
    ck_assert_int_eq(setenv("SHARDCASK_URL", fake.url, 1), 0);
    ck_assert_int_eq(shardcask_open(NULL, NULL, &handle, NULL), SHARDCASK_OK);
    shardcask_close(handle);
    ck_assert_int_eq(unsetenv("SHARDCASK_URL"), 0);
    shardcask_close(NULL);
}
END_TEST

START_TEST(a_server_that_comes_up_late_is_waited_for)
{
    struct call call;
    fake_stop(&fake);
    begin_call(&call, SHARDCASK_OP_GET, "k"); /* waits for the server */
    fake_restart(&fake);
    ck_assert_int_eq(end_call(&call), SHARDCASK_NOTFOUND);
}
END_TEST

/* ---- Joining ---- */

START_TEST(what_waits_goes_out_as_one_message)
{
    enum { COUNT = 20 };
    struct call first;
    struct call calls[COUNT];
    shardcask_close(db);
    open_client(&(struct shardcask_options){.batch_max = COUNT});
    hold();
    begin_call(&first, SHARDCASK_OP_GET, "first");
    fake_await_held(&fake, 1);
    for (size_t i = 0; i < COUNT; i++) {
        begin_call(&calls[i], SHARDCASK_OP_GET, "k");
    }
    fake_release(&fake);
    ck_assert_int_eq(end_call(&first), SHARDCASK_NOTFOUND);
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(end_call(&calls[i]), SHARDCASK_NOTFOUND);
    }
    ck_assert_uint_eq(fake_count(&fake, &fake.operations), 1 + COUNT);
    ck_assert_uint_le(fake_count(&fake, &fake.items_max), COUNT);
}
END_TEST

START_TEST(reads_do_not_wait_for_a_write_under_way)
{
    struct call write;
    struct call read;
    hold();
    begin_call(&write, SHARDCASK_OP_INCR, "n");
    fake_await_held(&fake, 1);
    begin_call(&read, SHARDCASK_OP_GET, "k");
    fake_await_held(&fake, 2);
    fake_release(&fake);
    ck_assert_int_eq(end_call(&write), SHARDCASK_OK);
    ck_assert_int_eq(end_call(&read), SHARDCASK_NOTFOUND);
}
END_TEST

START_TEST(a_message_without_an_answer_does_not_hold_up_the_others)
{
    struct call stuck;
    struct call second;
    hold();
    begin_call(&stuck, SHARDCASK_OP_INCR, "stuck");
    fake_await_held(&fake, 1);
    begin_call(&second, SHARDCASK_OP_INCR, "second");
    fake_await_held(&fake, 2); /* without this, only after the first one's reply */
    fake_release(&fake);
    ck_assert_int_eq(end_call(&stuck), SHARDCASK_OK);
    ck_assert_int_eq(end_call(&second), SHARDCASK_OK);
}
END_TEST

START_TEST(store_wide_calls_do_not_wait_for_each_other)
{
    struct call read;
    uint64_t count = 0;
    hold();
    begin_call(&read, SHARDCASK_OP_GET, "k");
    fake_await_held(&fake, 1);
    fake_lock(&fake);
    fake.hold = false;
    fake_unlock(&fake);
    ck_assert_int_eq(shardcask_count(db, &count), SHARDCASK_OK);
    fake_release(&fake);
    ck_assert_int_eq(end_call(&read), SHARDCASK_NOTFOUND);
}
END_TEST

/* ---- Time-outs ---- */

static void use_timeout(uint32_t timeout_ms)
{
    shardcask_close(db);
    open_client(&(struct shardcask_options){.timeout_ms = timeout_ms});
}

START_TEST(a_sent_write_that_times_out_is_unknown_and_sent_once)
{
    use_timeout(100);
    fake_lock(&fake);
    fake.deaf = true;
    fake.messages = 0;
    fake_unlock(&fake);
    ck_assert_int_eq(shardcask_put_str(db, "k", "v", NULL, NULL), SHARDCASK_UNKNOWN);
    ck_assert_str_eq(shardcask_error(), "no reply before the time-out");
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    ck_assert_int_eq(shardcask_get(db, "k", 1, &value), SHARDCASK_UNKNOWN);
    ck_assert_int_eq(shardcask_sync(db), SHARDCASK_UNKNOWN);
    ck_assert_uint_eq(fake_count(&fake, &fake.messages), 3);
}
END_TEST

START_TEST(a_late_reply_harms_nobody)
{
    use_timeout(100);
    hold();
    ck_assert_int_eq(shardcask_put_str(db, "k", "v", NULL, NULL), SHARDCASK_UNKNOWN);
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    ck_assert_int_eq(shardcask_get(db, "k", 1, &value), SHARDCASK_UNKNOWN);
    fake_release(&fake);
    ck_assert_int_eq(shardcask_get(db, "k", 1, &value), SHARDCASK_OK);
    ck_assert_mem_eq(value.data, "\xa1v", 2);
    shardcask_value_free(&value);
}
END_TEST

START_TEST(a_write_that_was_never_sent_is_unavailable)
{
    use_timeout(150);
    fake_stop(&fake);
    uint64_t count = 0; /* may be sent into the closing connection, and is then sent again */
    ck_assert_int_eq(shardcask_count(db, &count), SHARDCASK_UNAVAILABLE);
    ck_assert_int_eq(shardcask_put_str(db, "k", "v", NULL, NULL), SHARDCASK_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(shardcask_error(), "not sent before the time-out"));
    ck_assert_ptr_nonnull(strstr(shardcask_error(), fake.url));
    fake_restart(&fake);
    ck_assert_uint_eq(fake_count(&fake, &fake.writes), 0);
}
END_TEST

START_TEST(of_a_split_batch_the_part_not_sent_is_unavailable)
{
    shardcask_close(db);
    open_client(&(struct shardcask_options){.timeout_ms = 100, .batch_max = 2});
    fake_lock(&fake);
    fake.deaf = true;
    fake_unlock(&fake);
    struct shardcask_op ops[5];
    for (size_t i = 0; i < 5; i++) {
        ops[i] =
            (struct shardcask_op){.kind = SHARDCASK_OP_INCR, .key = "n", .key_size = 1, .delta = 1};
    }
    ck_assert_int_ne(shardcask_batch(db, ops, 5), SHARDCASK_OK);
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(ops[i].status, i < 2 ? SHARDCASK_UNKNOWN : SHARDCASK_UNAVAILABLE);
        shardcask_op_clear(&ops[i]);
    }
    ck_assert_uint_eq(fake_count(&fake, &fake.messages), 1);
}
END_TEST

/* ---- Broken connections ---- */

START_TEST(a_write_under_way_when_the_connection_breaks_is_unknown_and_sent_once)
{
    struct call write;
    hold();
    begin_call(&write, SHARDCASK_OP_INCR, "n");
    fake_await_held(&fake, 1);
    fake_stop(&fake);
    ck_assert_int_eq(end_call(&write), SHARDCASK_UNKNOWN);
    ck_assert_str_eq(write.why, "the connection broke before the reply came");
    fake.hold = false;
    fake_restart(&fake);
    ck_assert_int_eq(shardcask_sync(db), SHARDCASK_OK);
    ck_assert_uint_eq(fake_count(&fake, &fake.messages), 2);
    ck_assert_uint_eq(fake_count(&fake, &fake.writes), 0);
}
END_TEST

START_TEST(a_read_under_way_when_the_connection_breaks_is_asked_again)
{
    enum { COUNT = 10 };
    struct call calls[COUNT];
    hold();
    for (size_t i = 0; i < COUNT; i++) {
        begin_call(&calls[i], SHARDCASK_OP_GET, "k");
    }
    fake_await_held(&fake, 1);
    fake_stop(&fake);
    fake.hold = false;
    fake_restart(&fake);
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(end_call(&calls[i]), SHARDCASK_NOTFOUND);
    }
}
END_TEST

START_TEST(calls_go_on_after_many_restarts)
{
    for (int i = 0; i < 5; i++) {
        fake_stop(&fake);
        fake_restart(&fake);
        int64_t number = 0;
        int status;
        do { /* one that was sent into the closing connection is unknown */
            status = shardcask_incr(db, "n", 1, 1, &number);
        } while (status == SHARDCASK_UNKNOWN);
        ck_assert_int_eq(status, SHARDCASK_OK);
    }
}
END_TEST

/* ---- Senseless replies ---- */

START_TEST(a_reply_that_makes_no_sense_ends_the_call_and_the_connection)
{
    static const struct {
        const char *bytes;
        size_t size;
    } replies[] = {
        {"\xc1", 1},
        {"\x90", 1},
        {"\x91", 1},
        {"\x91\x00", 2},
        {"\x92\x00", 2},
        {"\x92\x00\xc1", 3},
        {"\x91\xcd\xff\xff", 4},
        {"\x92\x01\x01", 3},
        {"\x93\x00\x01\x02", 4},
        {"\x92\xa1\x01\x01", 4},
        {"\xc0", 1},
        {"\x92\xff\x01", 3},
        {"\xdd\xff\xff\xff\xff\x00", 6},
        {"\x92\x00\xdb\xff\xff\xff\xff", 7},
    };
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        answer_with(replies[i].bytes, replies[i].size);
        ck_assert_msg(shardcask_get(db, "k", 1, &value) == SHARDCASK_INTERNAL, "reply %zu", i);
        ck_assert_ptr_null(value.data);
    }
    answer_with("\x92\x00\xa1x", 4); /* a value, but no version */
    ck_assert_int_eq(shardcask_put_str(db, "k", "v", NULL, NULL), SHARDCASK_INTERNAL);
    ck_assert_int_eq(shardcask_incr(db, "k", 1, 1, NULL), SHARDCASK_INTERNAL);
    uint64_t count = 0;
    struct shardcask_meta meta;
    answer_with("\x92\x00\xa1x", 4);
    ck_assert_int_eq(shardcask_del(db, "k", 1, NULL, NULL), SHARDCASK_INTERNAL);
    ck_assert_int_eq(shardcask_meta(db, "k", 1, &meta), SHARDCASK_INTERNAL);
    answer_with("\x92\x00\xa1x", 4);
    ck_assert_int_eq(shardcask_count(db, &count), SHARDCASK_INTERNAL);
    ck_assert_int_eq(shardcask_ping(db, &value), SHARDCASK_INTERNAL);
    answer_with("\x92\x00\x81\xa7version\x01", 11); /* a part of meta's map */
    ck_assert_int_eq(shardcask_meta(db, "k", 1, &meta), SHARDCASK_INTERNAL);
    answer_with(NULL, 0);
    ck_assert_int_eq(shardcask_get(db, "k", 1, &value), SHARDCASK_NOTFOUND);
}
END_TEST

START_TEST(a_joined_reply_that_makes_no_sense_ends_all_its_calls)
{
    static const struct {
        const char *bytes;
        size_t size;
    } replies[] = {
        {"\x92\x00\x01", 3},
        {"\x92\x00\x90", 3},
        {"\x92\x00\x91\x92\x00\x01", 6},
        {"\x92\x00\x93\x92\x00\x01\x92\x00\x01\x92\x00\x01", 12},
        {"\x92\x00\x92\x92\x00\x01\x92\x00", 8},
        {"\x92\x00\x92\x92\x00\x01\x92\x00\x01\x01", 10},
        {"\x92\x00\x92\x92\x00\x01\x01", 7},
    };
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        answer_with(replies[i].bytes, replies[i].size);
        struct shardcask_op ops[2] = {{.key = "a", .key_size = 1}, {.key = "b", .key_size = 1}};
        (void)shardcask_mget(db, ops, 2);
        ck_assert_msg(i == 5 || ops[1].status == SHARDCASK_INTERNAL, "reply %zu", i);
        shardcask_op_clear(&ops[0]);
        shardcask_op_clear(&ops[1]);
    }
    answer_with(NULL, 0);
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    ck_assert_int_eq(shardcask_get(db, "k", 1, &value), SHARDCASK_NOTFOUND);
}
END_TEST

START_TEST(unknown_and_strange_statuses_pass_through)
{
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    answer_with("\x92\x2a\xa4what", 7);
    ck_assert_int_eq(shardcask_get(db, "k", 1, &value), 42);
    ck_assert_str_eq(shardcask_error(), "what");
    answer_with("\x91\x09", 2);
    ck_assert_int_eq(shardcask_get(db, "k", 1, &value), SHARDCASK_BUSY);
    ck_assert_str_eq(shardcask_error(), "busy");
    answer_with("\x94\x06\xa5moved\x07\xa9tcp://x:1", 18);
    ck_assert_int_eq(shardcask_get(db, "k", 1, &value), SHARDCASK_MOVED);
}
END_TEST

/* ---- Many threads ---- */

enum { THREADS = 50, ROUNDS = 200 };

static atomic_uint failures;

static void *many_calls(void *arg)
{
    size_t number = (size_t)(uintptr_t)arg;
    char key[16];
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    (void)snprintf(key, sizeof key, "t%zu", number);
    for (int64_t i = 1; i <= ROUNDS; i++) {
        int64_t result = 0;
        int64_t got = 0;
        bool good = shardcask_incr(db, key, strlen(key), 1, &result) == SHARDCASK_OK &&
                    result == i && shardcask_incr(db, "shared", 6, 1, NULL) == SHARDCASK_OK &&
                    shardcask_get(db, key, strlen(key), &value) == SHARDCASK_OK &&
                    shardcask_value_get_int(&value, &got) == SHARDCASK_OK && got == i;
        if (!good) {
            atomic_fetch_add(&failures, 1);
        }
    }
    shardcask_value_free(&value);
    return NULL;
}

START_TEST(fifty_threads_share_a_handle)
{
    pthread_t threads[THREADS];
    int64_t total = 0;
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, many_calls, (void *)(uintptr_t)i), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert_uint_eq(atomic_load(&failures), 0);
    ck_assert_int_eq(shardcask_incr(db, "shared", 6, 0, &total), SHARDCASK_OK);
    ck_assert_int_eq(total, THREADS * ROUNDS);
    ck_assert_uint_eq(fake_count(&fake, &fake.operations), 3 * THREADS * ROUNDS + 1);
    ck_assert_uint_lt(fake_count(&fake, &fake.messages), 3 * THREADS * ROUNDS);
}
END_TEST

/* Increments until told to stop, and counts what was applied and what may have been. */
struct counter {
    pthread_t thread;
    atomic_bool *stop;
    uint64_t applied;
    uint64_t unknown;
    uint64_t wrong;
};

static void *count_up(void *arg)
{
    struct counter *counter = arg;
    while (!atomic_load(counter->stop)) {
        int status = shardcask_incr(db, "n", 1, 1, NULL);
        counter->applied += status == SHARDCASK_OK;
        counter->unknown += status == SHARDCASK_UNKNOWN;
        counter->wrong += status != SHARDCASK_OK && status != SHARDCASK_UNKNOWN;
    }
    return NULL;
}

START_TEST(no_write_is_applied_twice_or_lost_while_the_server_restarts)
{
    enum { COUNTERS = 8 };
    struct counter counters[COUNTERS] = {0};
    static atomic_bool stop;
    for (size_t i = 0; i < COUNTERS; i++) {
        counters[i].stop = &stop;
        ck_assert_int_eq(pthread_create(&counters[i].thread, NULL, count_up, &counters[i]), 0);
    }
    for (int i = 0; i < 5; i++) {
        size_t before = fake_count(&fake, &fake.messages);
        fake_await_messages(&fake, before + 20);
        fake_stop(&fake);
        fake_restart(&fake);
    }
    atomic_store(&stop, true);
    uint64_t applied = 0;
    uint64_t unknown = 0;
    for (size_t i = 0; i < COUNTERS; i++) {
        ck_assert_int_eq(pthread_join(counters[i].thread, NULL), 0);
        ck_assert_uint_eq(counters[i].wrong, 0);
        applied += counters[i].applied;
        unknown += counters[i].unknown;
    }
    int64_t total = 0;
    int status;
    do { /* may be sent into the connection that is just closing */
        status = shardcask_incr(db, "n", 1, 0, &total);
    } while (status == SHARDCASK_UNKNOWN);
    ck_assert_int_eq(status, SHARDCASK_OK);
    ck_assert_uint_ge((uint64_t)total, applied);
    ck_assert_uint_le((uint64_t)total, applied + unknown);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("handle");
    TCase *tcase = tcase_create("handle");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_senseless_address_is_refused_at_once);
    tcase_add_test(tcase, nobody_there_is_unavailable_and_says_why);
    tcase_add_test(tcase, the_address_may_come_from_the_environment);
    tcase_add_test(tcase, a_server_that_comes_up_late_is_waited_for);
    tcase_add_test(tcase, what_waits_goes_out_as_one_message);
    tcase_add_test(tcase, reads_do_not_wait_for_a_write_under_way);
    tcase_add_test(tcase, a_message_without_an_answer_does_not_hold_up_the_others);
    tcase_add_test(tcase, store_wide_calls_do_not_wait_for_each_other);
    tcase_add_test(tcase, a_sent_write_that_times_out_is_unknown_and_sent_once);
    tcase_add_test(tcase, a_late_reply_harms_nobody);
    tcase_add_test(tcase, a_write_that_was_never_sent_is_unavailable);
    tcase_add_test(tcase, of_a_split_batch_the_part_not_sent_is_unavailable);
    tcase_add_test(tcase, a_write_under_way_when_the_connection_breaks_is_unknown_and_sent_once);
    tcase_add_test(tcase, a_read_under_way_when_the_connection_breaks_is_asked_again);
    tcase_add_test(tcase, calls_go_on_after_many_restarts);
    tcase_add_test(tcase, a_reply_that_makes_no_sense_ends_the_call_and_the_connection);
    tcase_add_test(tcase, a_joined_reply_that_makes_no_sense_ends_all_its_calls);
    tcase_add_test(tcase, unknown_and_strange_statuses_pass_through);
    tcase_add_test(tcase, fifty_threads_share_a_handle);
    tcase_add_test(tcase, no_write_is_applied_twice_or_lost_while_the_server_restarts);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
