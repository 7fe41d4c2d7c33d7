#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>

#include "client/shardcask.h"
#include "common/bytes.h"
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

static atomic_uint called;
static atomic_uint with_status[SHARDCASK_INTERNAL + 1];

static void count_call(struct shardcask_op *op)
{
    atomic_fetch_add(&with_status[op->status], 1);
    atomic_fetch_add(&called, 1);
}

static void submit_incr(struct shardcask_op *op, const char *key)
{
    *op = (struct shardcask_op){
        .kind = SHARDCASK_OP_INCR, .key = key, .key_size = strlen(key), .delta = 1};
    ck_assert_int_eq(shardcask_submit(db, op, count_call), SHARDCASK_OK);
}

START_TEST(every_operation_is_called_back_once_with_its_result)
{
    enum { COUNT = 5000 };
    static struct shardcask_op ops[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        submit_incr(&ops[i], "n");
    }
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&called), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(ops[i].status, SHARDCASK_OK);
        ck_assert_int_eq(ops[i].number, (int64_t)i + 1); /* in the order of submission */
    }
    ck_assert_uint_lt(fake_count(&fake, &fake.messages), COUNT);
}
END_TEST

START_TEST(reads_and_writes_keep_their_order)
{
    enum { COUNT = 300 };
    static struct shardcask_op puts[COUNT];
    static struct shardcask_op gets[COUNT];
    static uint8_t values[COUNT][3];
    hold(); /* so that some go out alone and others together */
    for (size_t i = 0; i < COUNT; i++) {
        values[i][0] = 0xcd;
        sc_be16_put(&values[i][1], (uint16_t)(1000 + i));
        puts[i] = (struct shardcask_op){.kind = SHARDCASK_OP_PUT,
                                        .key = "k",
                                        .key_size = 1,
                                        .value = values[i],
                                        .value_size = 3};
        gets[i] = (struct shardcask_op){.kind = SHARDCASK_OP_GET, .key = "k", .key_size = 1};
        ck_assert_int_eq(shardcask_submit(db, &puts[i], count_call), SHARDCASK_OK);
        ck_assert_int_eq(shardcask_submit(db, &gets[i], count_call), SHARDCASK_OK);
        if (i == COUNT / 2) {
            fake_release(&fake);
        }
    }
    shardcask_drain(db);
    for (size_t i = 0; i < COUNT; i++) {
        int64_t number = 0;
        ck_assert_int_eq(shardcask_value_get_int(&gets[i].result, &number), SHARDCASK_OK);
        ck_assert_int_eq(number, (int64_t)(1000 + i));
        shardcask_op_clear(&gets[i]);
    }
}
END_TEST

START_TEST(a_bad_operation_is_refused_and_not_called_back)
{
    struct shardcask_op op = {.kind = SHARDCASK_OP_GET};
    ck_assert_int_eq(shardcask_submit(db, &op, count_call), SHARDCASK_BADREQUEST);
    op = (struct shardcask_op){.kind = (enum shardcask_op_kind)99, .key = "k", .key_size = 1};
    ck_assert_int_eq(shardcask_submit(db, &op, count_call), SHARDCASK_BADREQUEST);
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&called), 0);
    ck_assert_uint_eq(fake_count(&fake, &fake.messages), 0);
}
END_TEST

/* A chain: each callback submits the next operation, until there were enough. */
static void go_on(struct shardcask_op *op)
{
    ck_assert_int_eq(op->status, SHARDCASK_OK);
    if (atomic_fetch_add(&called, 1) + 1 < 1000) {
        ck_assert_int_eq(shardcask_submit(db, op, go_on), SHARDCASK_OK);
    }
}

START_TEST(a_callback_may_submit_the_next_operation)
{
    struct shardcask_op op = {.kind = SHARDCASK_OP_INCR, .key = "n", .key_size = 1, .delta = 1};
    ck_assert_int_eq(shardcask_submit(db, &op, go_on), SHARDCASK_OK);
    while (atomic_load(&called) < 1000) {
        shardcask_drain(db);
    }
    shardcask_drain(db);
    ck_assert_int_eq(op.number, 1000);
}
END_TEST

/* 20 operations end together; each callback submits the next one. */
enum { TOGETHER = 20 };
static struct shardcask_op together[TOGETHER];

static void go_on_once(struct shardcask_op *op)
{
    if (atomic_fetch_add(&called, 1) < TOGETHER) {
        ck_assert_int_eq(shardcask_submit(db, op, go_on_once), SHARDCASK_OK);
    }
}

static void submit_together(shardcask_done *done)
{
    for (size_t i = 0; i < TOGETHER; i++) {
        together[i] =
            (struct shardcask_op){.kind = SHARDCASK_OP_INCR, .key = "n", .key_size = 1, .delta = 1};
        ck_assert_int_eq(shardcask_submit(db, &together[i], done), SHARDCASK_OK);
    }
}

START_TEST(what_callbacks_submit_together_is_sent_together)
{
    hold();
    submit_together(go_on_once);
    fake_await_held(&fake, 1); /* the first alone, the others wait for it */
    fake_release(&fake);
    while (atomic_load(&called) < 2 * TOGETHER) {
        shardcask_drain(db);
    }
    /* Each round in a message for the first and one for all others, or, when a callback is
     * interrupted for long, in a few. */
    ck_assert_uint_ge(fake_count(&fake, &fake.items_max), TOGETHER - 1);
    ck_assert_uint_lt(fake_count(&fake, &fake.messages), TOGETHER);
}
END_TEST

static sem_t go;

/* Submits an operation and does not return for long, which it should not do. */
static void submit_and_stay(struct shardcask_op *op)
{
    (void)op;
    if (atomic_fetch_add(&called, 1) == 0) {
        ck_assert_int_eq(shardcask_submit(db, &together[1], count_call), SHARDCASK_OK);
        ck_assert_int_eq(sem_wait(&go), 0);
    }
}

START_TEST(what_a_callback_submits_is_sent_although_the_callback_stays)
{
    ck_assert_int_eq(sem_init(&go, 0, 0), 0);
    for (size_t i = 0; i < 2; i++) {
        together[i] =
            (struct shardcask_op){.kind = SHARDCASK_OP_INCR, .key = "n", .key_size = 1, .delta = 1};
    }
    ck_assert_int_eq(shardcask_submit(db, &together[0], submit_and_stay), SHARDCASK_OK);
    fake_await_messages(&fake, 2);
    ck_assert_int_eq(sem_post(&go), 0);
    shardcask_drain(db);
    ck_assert_int_eq(together[1].number, 2);
    ck_assert_int_eq(sem_destroy(&go), 0);
}
END_TEST

/* ---- Batches ---- */

static atomic_uint batches_called;

static void count_batch(struct shardcask_op *ops, size_t count, void *arg)
{
    ck_assert_ptr_eq(arg, &batches_called);
    for (size_t i = 0; i < count; i++) {
        count_call(&ops[i]);
    }
    atomic_fetch_add(&batches_called, 1);
}

static void submit_batch(struct shardcask_op *ops, size_t count)
{
    ck_assert_int_eq(shardcask_submit_batch(db, ops, count, count_batch, &batches_called),
                     SHARDCASK_OK);
}

static void set_incr(struct shardcask_op *op, const char *key)
{
    *op = (struct shardcask_op){
        .kind = SHARDCASK_OP_INCR, .key = key, .key_size = strlen(key), .delta = 1};
}

START_TEST(batches_are_called_back_once_and_keep_their_order_with_all_else)
{
    enum { BATCHES = 50, SIZE = 70 };
    static struct shardcask_op ops[BATCHES][SIZE];
    static struct shardcask_op between[BATCHES];
    for (size_t i = 0; i < BATCHES; i++) {
        for (size_t j = 0; j < SIZE; j++) {
            set_incr(&ops[i][j], "n");
        }
        submit_batch(ops[i], SIZE);
        submit_incr(&between[i], "n");
    }
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&batches_called), BATCHES);
    ck_assert_uint_eq(atomic_load(&with_status[SHARDCASK_OK]), BATCHES * (SIZE + 1));
    for (size_t i = 0; i < BATCHES; i++) {
        for (size_t j = 0; j < SIZE; j++) {
            ck_assert_int_eq(ops[i][j].number, (int64_t)(i * (SIZE + 1) + j) + 1);
        }
        ck_assert_int_eq(between[i].number, (int64_t)(i + 1) * (SIZE + 1));
    }
}
END_TEST

START_TEST(a_batch_larger_than_a_message_keeps_its_order)
{
    enum { SIZE = 5000 };
    static struct shardcask_op ops[SIZE];
    static struct shardcask_op after;
    for (size_t i = 0; i < SIZE; i++) {
        set_incr(&ops[i], "n");
    }
    submit_batch(ops, SIZE);
    submit_incr(&after, "n");
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&batches_called), 1);
    for (size_t i = 0; i < SIZE; i++) {
        ck_assert_int_eq(ops[i].number, (int64_t)i + 1);
    }
    ck_assert_int_eq(after.number, SIZE + 1);
}
END_TEST

START_TEST(bad_operations_of_a_batch_fail_alone)
{
    struct shardcask_op ops[3];
    set_incr(&ops[0], "n");
    ops[1] = (struct shardcask_op){.kind = SHARDCASK_OP_GET}; /* no key */
    set_incr(&ops[2], "n");
    submit_batch(ops, 3);
    shardcask_drain(db);
    ck_assert_int_eq(ops[1].status, SHARDCASK_BADREQUEST);
    ck_assert_int_eq(ops[2].number, 2);
    shardcask_op_clear(&ops[1]);

    submit_batch(&ops[1], 1);
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&batches_called), 2);
    ck_assert_uint_eq(atomic_load(&with_status[SHARDCASK_BADREQUEST]), 2);
    shardcask_op_clear(&ops[1]);
    ck_assert_int_eq(shardcask_submit_batch(db, ops, 0, count_batch, NULL), SHARDCASK_BADREQUEST);
}
END_TEST

START_TEST(closing_ends_batches_and_calls_back)
{
    enum { SIZE = 10 };
    static struct shardcask_op ops[2][SIZE];
    for (size_t i = 0; i < SIZE; i++) {
        set_incr(&ops[0][i], "n");
        set_incr(&ops[1][i], "n");
    }
    hold();
    submit_batch(ops[0], SIZE);
    fake_await_held(&fake, 1);
    submit_batch(ops[1], SIZE);
    shardcask_close(db);
    db = NULL;
    ck_assert_uint_eq(atomic_load(&batches_called), 2);
    ck_assert_uint_eq(atomic_load(&with_status[SHARDCASK_UNKNOWN]), SIZE);
    ck_assert_uint_eq(atomic_load(&with_status[SHARDCASK_UNAVAILABLE]), SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        shardcask_op_clear(&ops[0][i]);
        shardcask_op_clear(&ops[1][i]);
    }
}
END_TEST

static pthread_mutex_t program_lock = PTHREAD_MUTEX_INITIALIZER;

static void take_program_lock(struct shardcask_op *op)
{
    (void)pthread_mutex_lock(&program_lock);
    (void)pthread_mutex_unlock(&program_lock);
    count_call(op);
}

START_TEST(a_callback_may_take_a_lock_that_its_program_holds_while_calling)
{
    enum { COUNT = 500 };
    static struct shardcask_op ops[COUNT];
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    for (size_t i = 0; i < COUNT; i++) {
        ops[i] = (struct shardcask_op){.kind = SHARDCASK_OP_EXISTS, .key = "k", .key_size = 1};
        (void)pthread_mutex_lock(&program_lock);
        ck_assert_int_eq(shardcask_submit(db, &ops[i], take_program_lock), SHARDCASK_OK);
        ck_assert_int_eq(shardcask_get(db, "k", 1, &value), SHARDCASK_NOTFOUND);
        (void)pthread_mutex_unlock(&program_lock);
    }
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&called), COUNT);
}
END_TEST

static atomic_bool submitted_all;
static struct shardcask_op many[20000];

static void *submit_many(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        submit_incr(&many[i], "n");
    }
    atomic_store(&submitted_all, true);
    return NULL;
}

START_TEST(submitting_waits_while_too_much_is_outstanding)
{
    pthread_t thread;
    hold();
    ck_assert_int_eq(pthread_create(&thread, NULL, submit_many, NULL), 0);
    fake_await_held(&fake, 1);
    ck_assert(!atomic_load(&submitted_all));
    fake_release(&fake);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&called), sizeof many / sizeof *many);
}
END_TEST

START_TEST(time_outs_are_called_back)
{
    enum { COUNT = 4 };
    struct shardcask_op ops[COUNT];
    shardcask_close(db);
    open_client(&(struct shardcask_options){.timeout_ms = 150, .batch_max = 1});
    fake_lock(&fake);
    fake.deaf = true;
    fake_unlock(&fake);
    for (size_t i = 0; i < COUNT; i++) {
        submit_incr(&ops[i], "n");
    }
    shardcask_drain(db);
    ck_assert_int_eq(ops[0].status, SHARDCASK_UNKNOWN);
    for (size_t i = 1; i < COUNT; i++) {
        ck_assert_int_eq(ops[i].status, SHARDCASK_UNAVAILABLE); /* the order allows one message */
        shardcask_op_clear(&ops[i]);
    }
    shardcask_op_clear(&ops[0]);
    ck_assert_uint_eq(fake_count(&fake, &fake.messages), 1);
}
END_TEST

START_TEST(writes_under_way_when_the_connection_breaks_are_unknown_the_rest_goes_on)
{
    struct shardcask_op ops[3];
    hold();
    submit_incr(&ops[0], "a");
    fake_await_held(&fake, 1);
    submit_incr(&ops[1], "b");
    submit_incr(&ops[2], "c");
    fake_stop(&fake);
    fake.hold = false;
    fake_restart(&fake);
    shardcask_drain(db);
    ck_assert_int_eq(ops[0].status, SHARDCASK_UNKNOWN);
    ck_assert_int_eq(ops[1].status, SHARDCASK_OK);
    ck_assert_int_eq(ops[2].status, SHARDCASK_OK);
    ck_assert_uint_eq(fake_count(&fake, &fake.writes), 2);
    shardcask_op_clear(&ops[0]);
}
END_TEST

START_TEST(closing_ends_what_is_outstanding_and_calls_back)
{
    enum { COUNT = 100 };
    static struct shardcask_op ops[COUNT];
    hold();
    submit_incr(&ops[0], "n");
    fake_await_held(&fake, 1);
    for (size_t i = 1; i < COUNT; i++) {
        submit_incr(&ops[i], "n");
    }
    shardcask_close(db);
    db = NULL;
    ck_assert_uint_eq(atomic_load(&called), COUNT);
    ck_assert_uint_eq(atomic_load(&with_status[SHARDCASK_UNKNOWN]), 1);
    ck_assert_uint_eq(atomic_load(&with_status[SHARDCASK_UNAVAILABLE]), COUNT - 1);
    for (size_t i = 0; i < COUNT; i++) {
        shardcask_op_clear(&ops[i]);
    }
}
END_TEST

static atomic_int refused_with;

/* Submits for ever: ends when the handle closes. */
static void submit_until_refused(struct shardcask_op *op)
{
    shardcask_op_clear(op);
    int status = shardcask_submit(db, op, submit_until_refused);
    if (status != SHARDCASK_OK) {
        atomic_store(&refused_with, status);
    }
    atomic_fetch_add(&called, 1);
}

START_TEST(a_callback_that_submits_while_the_handle_closes_is_refused)
{
    struct shardcask_op op = {.kind = SHARDCASK_OP_EXISTS, .key = "k", .key_size = 1};
    ck_assert_int_eq(shardcask_submit(db, &op, submit_until_refused), SHARDCASK_OK);
    while (atomic_load(&called) < 50) {
        struct shardcask_value value = SHARDCASK_VALUE_INIT;
        ck_assert_int_eq(shardcask_get(db, "k", 1, &value), SHARDCASK_NOTFOUND);
    }
    shardcask_close(db);
    db = NULL;
    ck_assert_int_eq(atomic_load(&refused_with), SHARDCASK_UNAVAILABLE);
    shardcask_op_clear(&op);
}
END_TEST

static void submit_batch_until_refused(struct shardcask_op *ops, size_t count, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < count; i++) {
        shardcask_op_clear(&ops[i]);
    }
    int status = shardcask_submit_batch(db, ops, count, submit_batch_until_refused, NULL);
    if (status != SHARDCASK_OK) {
        atomic_store(&refused_with, status);
    }
    atomic_fetch_add(&called, 1);
}

START_TEST(a_batch_that_is_submitted_while_the_handle_closes_is_refused)
{
    struct shardcask_op ops[2] = {{.kind = SHARDCASK_OP_EXISTS, .key = "k", .key_size = 1},
                                  {.kind = SHARDCASK_OP_EXISTS, .key = "l", .key_size = 1}};
    ck_assert_int_eq(shardcask_submit_batch(db, ops, 2, submit_batch_until_refused, NULL),
                     SHARDCASK_OK);
    while (atomic_load(&called) < 50) {
        bool exists;
        ck_assert_int_eq(shardcask_exists(db, "k", 1, &exists), SHARDCASK_OK);
    }
    shardcask_close(db);
    db = NULL;
    ck_assert_int_eq(atomic_load(&refused_with), SHARDCASK_UNAVAILABLE);
    shardcask_op_clear(&ops[0]);
    shardcask_op_clear(&ops[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("async");
    TCase *tcase = tcase_create("async");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, every_operation_is_called_back_once_with_its_result);
    tcase_add_test(tcase, reads_and_writes_keep_their_order);
    tcase_add_test(tcase, a_bad_operation_is_refused_and_not_called_back);
    tcase_add_test(tcase, a_callback_may_submit_the_next_operation);
    tcase_add_test(tcase, what_callbacks_submit_together_is_sent_together);
    tcase_add_test(tcase, what_a_callback_submits_is_sent_although_the_callback_stays);
    tcase_add_test(tcase, batches_are_called_back_once_and_keep_their_order_with_all_else);
    tcase_add_test(tcase, a_batch_larger_than_a_message_keeps_its_order);
    tcase_add_test(tcase, bad_operations_of_a_batch_fail_alone);
    tcase_add_test(tcase, closing_ends_batches_and_calls_back);
    tcase_add_test(tcase, a_callback_may_take_a_lock_that_its_program_holds_while_calling);
    tcase_add_test(tcase, submitting_waits_while_too_much_is_outstanding);
    tcase_add_test(tcase, time_outs_are_called_back);
    tcase_add_test(tcase, writes_under_way_when_the_connection_breaks_are_unknown_the_rest_goes_on);
    tcase_add_test(tcase, closing_ends_what_is_outstanding_and_calls_back);
    tcase_add_test(tcase, a_callback_that_submits_while_the_handle_closes_is_refused);
    tcase_add_test(tcase, a_batch_that_is_submitted_while_the_handle_closes_is_refused);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
