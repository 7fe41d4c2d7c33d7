/* Operations on one key keep their order while a shard waits for the disk. */
#include "shard/fetch.h"
#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/random.h"
#include "tests/shard/cold_service.h"

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
    Suite *suite = suite_create("cold service order");
    TCase *tcase = tcase_create("cold service order");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, items_on_one_key_take_effect_in_order);
    tcase_add_test(tcase, messages_on_one_key_keep_their_order);
    tcase_add_test(tcase, every_operation_that_needs_the_record_waits_for_it);
    tcase_add_test(tcase, random_messages_in_flight_agree_with_a_model);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return sc_check_main(make_suite());
}
