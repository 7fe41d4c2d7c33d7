/* What a shard replies when records are not in memory: how much fits into a reply, what is refused
 * or sent back, and scans, which wait for their values. */
#include "shard/fetch.h"
#include "shard/io.h"
#include "shard/task.h"
#include "tests/check_main.h"
#include "tests/shard/cold_service.h"

#include <assert.h>
#include <stdio.h>

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

static Suite *make_suite(void)
{
    Suite *suite = suite_create("cold service replies");
    TCase *tcase = tcase_create("cold service replies");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_join_sends_back_what_it_has_no_room_for);
    tcase_add_test(tcase, a_batch_keeps_to_the_message_limit);
    tcase_add_loop_test(tcase, values_that_have_grown_meanwhile_keep_to_the_message_limit, 0,
                        (int)(sizeof kinds / sizeof *kinds));
    tcase_add_test(tcase, when_too_much_waits_the_rest_is_refused_or_sent_back);
    tcase_add_test(tcase, a_peek_sends_back_what_is_cold_and_brings_it_into_memory);
    tcase_add_test(tcase, a_shard_stops_while_it_brings_in_what_was_peeked_at);
    tcase_add_test(tcase, a_scan_with_values_fetches_them);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return sc_check_main(make_suite());
}
