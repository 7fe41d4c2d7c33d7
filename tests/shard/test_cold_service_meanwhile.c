/* While a shard waits for a slow disk, what needs no record that is read goes on, and what happens
 * to the store, the shard or the client does the read no harm. */
#include "common/clock.h"
#include "shard/fetch.h"
#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/shard/cold_service.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

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

static Suite *make_suite(void)
{
    Suite *suite = suite_create("cold service meanwhile");
    TCase *tcase = tcase_create("cold service meanwhile");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_cold_get_holds_up_nobody_else);
    tcase_add_test(tcase, items_of_a_batch_wait_together_but_read_side_by_side);
    tcase_add_test(tcase, more_than_can_wait_at_once_is_read_by_and_by);
    tcase_add_test(tcase, what_was_cleared_meanwhile_is_absent);
    tcase_add_test(tcase, a_merge_beside_a_read_does_it_no_harm);
    tcase_add_test(tcase, what_the_disk_brings_after_the_deadline_is_not_begun);
    tcase_add_test(tcase, a_shard_that_stops_answers_what_waits_first);
    tcase_add_test(tcase, a_client_that_has_gone_harms_nobody);
    tcase_add_test(tcase, a_read_error_is_that_of_its_item_alone);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return sc_check_main(make_suite());
}
