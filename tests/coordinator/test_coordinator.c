/* The coordinator between a client and two shards that the test plays. */
#include "coordinator/coordinator.h"

#include <stdio.h>
#include <unistd.h>

#include "common/log.h"
#include "common/slot.h"
#include "tests/caller.h"
#include "tests/check_main.h"
#include "tests/coordinator/fake_shard.h"

static char dir[64];
static char urls[3][128]; /* of shard 1, shard 2, the coordinator */
static char why[SC_WHY_SIZE];
static struct fake_shard shards[2];
static struct sc_coordinator *coordinator;
static struct caller caller;
static struct sc_buf request;
static struct call call;

/* "foo" falls into the upper half of the slots, shard 2; this one into the lower half. */
#define KEY_OF_1 "k3"
#define KEY_OF_2 "foo"

static void open_coordinator(uint32_t timeout_ms)
{
    char map[128];
    const char *bound;
    const char *shard_urls[] = {urls[0], urls[1]};
    snprintf(map, sizeof map, "%s/map", dir);
    struct sc_coordinator_options options = {.dir = map,
                                             .shard_urls = shard_urls,
                                             .shard_count = 2,
                                             .message_max = 4u << 20,
                                             .value_max = SC_VALUE_MAX_DEFAULT,
                                             .timeout_ms = timeout_ms,
                                             .connections_max = 100};
    ck_assert_msg(sc_coordinator_open(&options, &coordinator, why) == SC_OK, "%s", why);
    ck_assert_int_eq(sc_coordinator_listen(coordinator, urls[2], &bound, why), SC_OK);
    caller_open(&caller, urls[2]);
}

static void close_coordinator(void)
{
    caller_close(&caller);
    sc_coordinator_close(coordinator);
}

static void setup(void)
{
    sc_log_init("test", SC_LOG_ERROR);
    snprintf(dir, sizeof dir, "/tmp/sc-coordinator-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (int i = 0; i < 3; i++) {
        snprintf(urls[i], sizeof urls[i], "ipc://%s/%d", dir, i + 1);
    }
    fake_shard_open(&shards[0], urls[0]);
    fake_shard_open(&shards[1], urls[1]);
    open_coordinator(10000);
}

static void teardown(void)
{
    char command[128];
    close_coordinator();
    fake_shard_close(&shards[0]);
    fake_shard_close(&shards[1]);
    call_end(&call);
    sc_buf_fini(&request);
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static int ask(void)
{
    call_end(&call);
    call_start(&caller, &call, &request);
    return call_wait(&call);
}

static int get(const char *key)
{
    sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str(key));
    return ask();
}

static int put(const char *key)
{
    sc_msg_put_put(&request, sc_slice_str(key), sc_slice("\x01", 1), NULL);
    return ask();
}

/* Asks until the answer is no longer "unavailable": the shards are up then. */
static void wait_until_up(void)
{
    for (int i = 0; i < 100000; i++) {
        if (get(KEY_OF_1) == SC_OK && get(KEY_OF_2) == SC_OK) {
            return;
        }
    }
    ck_abort_msg("the shards did not come up");
}

static void wait_until_down(const char *key)
{
    for (int i = 0; i < 100000; i++) {
        if (get(key) == SC_UNAVAILABLE) {
            return;
        }
    }
    ck_abort_msg("the shard did not go down");
}

static void assert_why(const char *part)
{
    char text[SC_WHY_SIZE];
    snprintf(text, sizeof text, "%.*s", (int)call.reply.why.size,
             (const char *)call.reply.why.data);
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" is not in \"%s\"", part, text);
}

START_TEST(fresh_shards_are_adopted_and_granted_their_slots)
{
    wait_until_up();
    for (uint64_t i = 0; i < 2; i++) {
        fake_shard_lock(&shards[i]);
        ck_assert(shards[i].adopted);
        ck_assert_uint_eq(shards[i].shard_id, i + 1);
        ck_assert_uint_eq(shards[i].epoch, 1);
        ck_assert_uint_eq(shards[i].term, 1);
        fake_shard_unlock(&shards[i]);
    }
}
END_TEST

START_TEST(a_later_start_raises_the_term)
{
    wait_until_up();
    close_coordinator();
    open_coordinator(10000);
    wait_until_up();
    fake_shard_lock(&shards[0]);
    ck_assert_uint_eq(shards[0].term, 2);
    fake_shard_unlock(&shards[0]);
}
END_TEST

/* Starts shard 1 again with another identity, and asserts that it is not used. */
static void assert_refused(const char *part)
{
    fake_shard_open(&shards[0], urls[0]);
    for (int i = 0; i < 100000; i++) {
        ck_assert_int_eq(get(KEY_OF_1), SC_UNAVAILABLE);
        char text[SC_WHY_SIZE];
        snprintf(text, sizeof text, "%.*s", (int)call.reply.why.size,
                 (const char *)call.reply.why.data);
        if (strstr(text, part) != NULL) {
            ck_assert_int_eq(get(KEY_OF_2), SC_OK);
            return;
        }
    }
    ck_abort_msg("never told: %s", part);
}

START_TEST(an_emptied_directory_is_not_used)
{
    wait_until_up();
    fake_shard_close(&shards[0]);
    shards[0].adopted = false;
    assert_refused("directory is empty");
}
END_TEST

START_TEST(a_directory_of_another_cluster_is_not_used)
{
    wait_until_up();
    fake_shard_close(&shards[0]);
    shards[0].cluster[0] ^= 1;
    assert_refused("another cluster");
}
END_TEST

START_TEST(a_directory_of_another_shard_is_not_used)
{
    wait_until_up();
    fake_shard_close(&shards[0]);
    shards[0].shard_id = 2;
    assert_refused("that of shard 2");
}
END_TEST

START_TEST(a_refused_shard_is_used_when_its_trouble_is_over)
{
    wait_until_up();
    fake_shard_close(&shards[0]);
    shards[0].shard_id = 2;
    assert_refused("that of shard 2");
    fake_shard_lock(&shards[0]);
    shards[0].shard_id = 1;
    fake_shard_unlock(&shards[0]);
    for (int i = 0; i < 3000000 && get(KEY_OF_1) != SC_OK; i++) {
    }
    ck_assert_int_eq(get(KEY_OF_1), SC_OK);
}
END_TEST

START_TEST(only_the_keys_of_a_dead_shard_are_unavailable)
{
    wait_until_up();
    fake_shard_close(&shards[0]);
    wait_until_down(KEY_OF_1);
    assert_why("shard 1");
    assert_why(urls[0]);
    ck_assert_int_eq(get(KEY_OF_2), SC_OK);
    ck_assert_int_eq(put(KEY_OF_1), SC_UNAVAILABLE);
    sc_msg_put_op(&request, SC_OP_COUNT, 0);
    ck_assert_int_eq(ask(), SC_UNAVAILABLE);
    assert_why("shard 1");
    fake_shard_open(&shards[0], urls[0]);
    wait_until_up();
}
END_TEST

START_TEST(a_multi_key_reply_has_the_status_of_each_key)
{
    uint32_t count;
    wait_until_up();
    fake_shard_close(&shards[0]);
    wait_until_down(KEY_OF_1);
    sc_msg_put_op(&request, SC_OP_MGET, 1);
    sc_mp_put_array(&request, 3);
    sc_mp_put_cstr(&request, KEY_OF_2);
    sc_mp_put_cstr(&request, KEY_OF_1);
    sc_mp_put_cstr(&request, "");
    ck_assert_int_eq(ask(), SC_OK);
    ck_assert(sc_mp_array(&call.reply.result, &count));
    ck_assert_uint_eq(count, 3);
    static const int expected[] = {SC_OK, SC_UNAVAILABLE, SC_BADREQUEST};
    for (int i = 0; i < 3; i++) {
        struct sc_slice raw;
        struct sc_msg_reply item;
        ck_assert(sc_mp_skip(&call.reply.result, &raw));
        ck_assert(sc_msg_parse_reply(raw, &item));
        ck_assert_int_eq(item.status, expected[i]);
    }
}
END_TEST

/* Starts a request that shard 2 keeps unanswered. */
static void start_held(struct call *held)
{
    fake_shard_lock(&shards[1]);
    shards[1].hold = true;
    fake_shard_unlock(&shards[1]);
    call_start(&caller, held, &request);
    for (;;) {
        fake_shard_lock(&shards[1]);
        bool has = shards[1].has_held;
        fake_shard_unlock(&shards[1]);
        if (has) {
            return;
        }
    }
}

START_TEST(a_write_in_flight_on_a_lost_connection_is_unknown_and_not_sent_again)
{
    struct call held;
    wait_until_up();
    fake_shard_lock(&shards[1]);
    uint64_t before = shards[1].joins;
    fake_shard_unlock(&shards[1]);
    sc_msg_put_put(&request, sc_slice_str(KEY_OF_2), sc_slice("\x01", 1), NULL);
    start_held(&held);
    fake_shard_close(&shards[1]);
    ck_assert_int_eq(call_wait(&held), SC_UNKNOWN);
    call_end(&held);
    shards[1].hold = false;
    ck_assert_uint_eq(shards[1].joins, before + 1);
    shards[1].joins = 0;
    fake_shard_open(&shards[1], urls[1]);
    fake_shard_lock(&shards[1]);
    fake_shard_unlock(&shards[1]);
    for (int i = 0; i < 100000 && get(KEY_OF_2) != SC_OK; i++) {
    }
    fake_shard_lock(&shards[1]);
    ck_assert_uint_eq(shards[1].joins, 1); /* the get alone */
    fake_shard_unlock(&shards[1]);
}
END_TEST

START_TEST(a_read_in_flight_on_a_lost_connection_is_unavailable)
{
    struct call held;
    wait_until_up();
    sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str(KEY_OF_2));
    start_held(&held);
    fake_shard_close(&shards[1]);
    ck_assert_int_eq(call_wait(&held), SC_UNAVAILABLE);
    call_end(&held);
}
END_TEST

START_TEST(a_shard_that_hangs_runs_into_the_time_out_and_the_others_go_on)
{
    struct call held;
    wait_until_up();
    close_coordinator();
    open_coordinator(200);
    wait_until_up();
    sc_msg_put_put(&request, sc_slice_str(KEY_OF_2), sc_slice("\x01", 1), NULL);
    start_held(&held);
    ck_assert_int_eq(get(KEY_OF_1), SC_OK);
    ck_assert_int_eq(call_wait(&held), SC_UNKNOWN);
    call_end(&held);
}
END_TEST

START_TEST(requests_wait_for_each_other_only_in_messages)
{
    enum { REQUESTS = 300 };
    static struct call calls[REQUESTS];
    struct call held;
    wait_until_up();
    sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str(KEY_OF_2));
    start_held(&held);
    fake_shard_lock(&shards[1]);
    uint64_t before = shards[1].joins;
    fake_shard_unlock(&shards[1]);
    for (int i = 0; i < REQUESTS; i++) {
        sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str(KEY_OF_2));
        call_start(&caller, &calls[i], &request);
    }
    ck_assert_int_eq(put(KEY_OF_2), SC_OK); /* has a lane of its own */
    ck_assert(!call_ended(&calls[0]));
    fake_shard_lock(&shards[1]);
    sc_sp_drop(&shards[1].held);
    shards[1].has_held = false;
    shards[1].hold = false;
    fake_shard_unlock(&shards[1]);
    /* The dropped one ends with its time-out; what gathered behind it goes out together then. */
    fake_shard_close(&shards[1]);
    for (int i = 0; i < REQUESTS; i++) {
        ck_assert_int_eq(call_wait(&calls[i]), SC_UNAVAILABLE);
        call_end(&calls[i]);
    }
    ck_assert_int_eq(call_wait(&held), SC_UNAVAILABLE);
    call_end(&held);
    ck_assert_uint_eq(shards[1].joins, before + 1);
}
END_TEST

START_TEST(what_a_shard_sends_back_is_sent_again_in_order)
{
    enum { KEYS = 100 };
    uint32_t count;
    wait_until_up();
    fake_shard_lock(&shards[1]);
    shards[1].again_after = 7;
    shards[1].items = 0;
    fake_shard_unlock(&shards[1]);
    sc_msg_put_op(&request, SC_OP_MGET, 1);
    sc_mp_put_array(&request, KEYS);
    for (int i = 0; i < KEYS; i++) {
        sc_mp_put_cstr(&request, KEY_OF_2);
    }
    ck_assert_int_eq(ask(), SC_OK);
    ck_assert(sc_mp_array(&call.reply.result, &count));
    ck_assert_uint_eq(count, KEYS);
    for (int i = 0; i < KEYS; i++) {
        struct sc_slice raw;
        struct sc_msg_reply item;
        ck_assert(sc_mp_skip(&call.reply.result, &raw));
        ck_assert(sc_msg_parse_reply(raw, &item));
        ck_assert_int_eq(item.status, SC_OK);
    }
    fake_shard_lock(&shards[1]);
    ck_assert_uint_eq(shards[1].items, KEYS);
    fake_shard_unlock(&shards[1]);
}
END_TEST

/* Asks for the values of many keys, all of shard 2, the first of them cold. */
static void start_mget(struct call *started, uint32_t keys)
{
    sc_msg_put_op(&request, SC_OP_MGET, 1);
    sc_mp_put_array(&request, keys);
    for (uint32_t i = 0; i < keys; i++) {
        sc_mp_put_cstr(&request, i == 0 ? "cold-of-2-0" : KEY_OF_2);
    }
    call_start(&caller, started, &request);
}

/* Shard 2 has not got this key in memory. */
static void make_cold(bool hold)
{
    ck_assert_uint_ge(sc_slot_of_key(sc_slice_str("cold-of-2-0")), SC_SLOT_COUNT / 2);
    fake_shard_lock(&shards[1]);
    shards[1].cold = "cold-of-2-0";
    shards[1].hold_join = hold;
    shards[1].waited = 0;
    fake_shard_unlock(&shards[1]);
}

static uint64_t waited(void)
{
    fake_shard_lock(&shards[1]);
    uint64_t items = shards[1].waited;
    fake_shard_unlock(&shards[1]);
    return items;
}

START_TEST(a_read_that_waits_for_the_disk_holds_up_no_other)
{
    struct call cold;
    wait_until_up();
    make_cold(true);
    sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str("cold-of-2-0"));
    call_start(&caller, &cold, &request);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(get(KEY_OF_2), SC_OK);
    }
    ck_assert_int_eq(put(KEY_OF_2), SC_OK);
    ck_assert(!call_ended(&cold));
    fake_shard_close(&shards[1]);
    ck_assert_int_eq(call_wait(&cold), SC_UNAVAILABLE);
    call_end(&cold);
}
END_TEST

START_TEST(a_read_that_was_sent_back_as_cold_is_waited_for)
{
    struct call cold;
    wait_until_up();
    make_cold(false);
    ck_assert_int_eq(get("cold-of-2-0"), SC_OK);
    ck_assert_uint_eq(waited(), 1);
    start_mget(&cold, 10);
    ck_assert_int_eq(call_wait(&cold), SC_OK);
    ck_assert_uint_eq(waited(), 2); /* the other nine were in memory */
    call_end(&cold);
}
END_TEST

START_TEST(reads_of_one_request_do_not_overtake_a_cold_one)
{
    enum { IN_MESSAGE = 4096, KEYS = 6000 };
    struct call many;
    wait_until_up();
    make_cold(false);
    start_mget(&many, KEYS);
    ck_assert_int_eq(call_wait(&many), SC_OK);
    /* The rest of the first message was answered; what waited behind it went to the same lane. */
    ck_assert_uint_eq(waited(), 1 + KEYS - IN_MESSAGE);
    call_end(&many);
}
END_TEST

/* Reads make it possible that part of a message comes back; what is behind it must wait then. */
START_TEST(items_of_a_batch_keep_their_order_though_a_shard_sends_some_back)
{
    enum { PUTS = 9000 }; /* of several messages */
    uint32_t count;
    wait_until_up();
    fake_shard_lock(&shards[1]);
    shards[1].again_after = 1000;
    fake_shard_unlock(&shards[1]);
    sc_msg_put_op(&request, SC_OP_BATCH, 1);
    sc_mp_put_array(&request, 2 * PUTS);
    for (unsigned i = 1; i <= PUTS; i++) {
        struct sc_buf value = {0};
        sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str(KEY_OF_2));
        sc_mp_put_uint(&value, i);
        sc_msg_put_put(&request, sc_slice_str(KEY_OF_2), sc_buf_slice(&value), NULL);
        sc_buf_fini(&value);
    }
    ck_assert_int_eq(ask(), SC_OK);
    ck_assert(sc_mp_array(&call.reply.result, &count));
    ck_assert_uint_eq(count, 2 * PUTS);
    fake_shard_lock(&shards[1]);
    ck_assert(!shards[1].disordered);
    ck_assert_uint_eq(shards[1].last_put, PUTS);
    fake_shard_unlock(&shards[1]);
}
END_TEST

START_TEST(a_reply_without_sense_costs_the_connection_only)
{
    wait_until_up();
    fake_shard_lock(&shards[1]);
    shards[1].nonsense = true;
    fake_shard_unlock(&shards[1]);
    ck_assert_int_eq(put(KEY_OF_2), SC_UNKNOWN);
    ck_assert_int_eq(get(KEY_OF_1), SC_OK);
    fake_shard_lock(&shards[1]);
    shards[1].nonsense = false;
    fake_shard_unlock(&shards[1]);
    wait_until_up();
}
END_TEST

START_TEST(a_shard_that_refuses_a_message_has_applied_nothing)
{
    wait_until_up();
    fake_shard_lock(&shards[1]);
    shards[1].refuse = SC_UNAVAILABLE;
    fake_shard_unlock(&shards[1]);
    ck_assert_int_eq(put(KEY_OF_2), SC_UNAVAILABLE);
    assert_why("refused as a whole");
}
END_TEST

START_TEST(clients_never_see_moved)
{
    wait_until_up();
    fake_shard_lock(&shards[1]);
    shards[1].moved = true;
    fake_shard_unlock(&shards[1]);
    ck_assert_int_eq(get(KEY_OF_2), SC_UNAVAILABLE);
}
END_TEST

START_TEST(counts_are_added_up)
{
    uint64_t sum;
    wait_until_up();
    for (int i = 0; i < 2; i++) {
        fake_shard_lock(&shards[i]);
        shards[i].keys = i == 0 ? 40 : 2;
        fake_shard_unlock(&shards[i]);
    }
    sc_msg_put_op(&request, SC_OP_COUNT, 0);
    ck_assert_int_eq(ask(), SC_OK);
    ck_assert(sc_mp_uint(&call.reply.result, &sum));
    ck_assert_uint_eq(sum, 42);
}
END_TEST

START_TEST(stats_answer_for_the_shards_that_are_up)
{
    wait_until_up();
    fake_shard_close(&shards[0]);
    wait_until_down(KEY_OF_1);
    sc_msg_put_op(&request, SC_OP_STATS, 0);
    ck_assert_int_eq(ask(), SC_OK);
    ck_assert(sc_mp_skip(&call.reply.result, NULL));
    ck_assert(sc_mp_done(&call.reply.result));
}
END_TEST

START_TEST(internal_operations_are_refused)
{
    sc_msg_put_op(&request, SC_OP_X_HELLO, 0);
    ck_assert_int_eq(ask(), SC_DENIED);
}
END_TEST

START_TEST(too_many_items_are_refused)
{
    sc_msg_put_op(&request, SC_OP_MGET, 1);
    sc_mp_put_array(&request, SC_BATCH_ITEMS_MAX + 1);
    for (uint32_t i = 0; i <= SC_BATCH_ITEMS_MAX; i++) {
        sc_mp_put_cstr(&request, "k");
    }
    ck_assert_int_eq(ask(), SC_TOOLARGE);
    assert_why("send several");
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("coordinator");
    TCase *tcase = tcase_create("coordinator");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, fresh_shards_are_adopted_and_granted_their_slots);
    tcase_add_test(tcase, a_later_start_raises_the_term);
    tcase_add_test(tcase, an_emptied_directory_is_not_used);
    tcase_add_test(tcase, a_directory_of_another_cluster_is_not_used);
    tcase_add_test(tcase, a_directory_of_another_shard_is_not_used);
    tcase_add_test(tcase, a_refused_shard_is_used_when_its_trouble_is_over);
    tcase_add_test(tcase, only_the_keys_of_a_dead_shard_are_unavailable);
    tcase_add_test(tcase, a_multi_key_reply_has_the_status_of_each_key);
    tcase_add_test(tcase, a_write_in_flight_on_a_lost_connection_is_unknown_and_not_sent_again);
    tcase_add_test(tcase, a_read_in_flight_on_a_lost_connection_is_unavailable);
    tcase_add_test(tcase, a_shard_that_hangs_runs_into_the_time_out_and_the_others_go_on);
    tcase_add_test(tcase, requests_wait_for_each_other_only_in_messages);
    tcase_add_test(tcase, what_a_shard_sends_back_is_sent_again_in_order);
    tcase_add_test(tcase, a_read_that_waits_for_the_disk_holds_up_no_other);
    tcase_add_test(tcase, a_read_that_was_sent_back_as_cold_is_waited_for);
    tcase_add_test(tcase, reads_of_one_request_do_not_overtake_a_cold_one);
    tcase_add_test(tcase, items_of_a_batch_keep_their_order_though_a_shard_sends_some_back);
    tcase_add_test(tcase, a_reply_without_sense_costs_the_connection_only);
    tcase_add_test(tcase, a_shard_that_refuses_a_message_has_applied_nothing);
    tcase_add_test(tcase, clients_never_see_moved);
    tcase_add_test(tcase, counts_are_added_up);
    tcase_add_test(tcase, stats_answer_for_the_shards_that_are_up);
    tcase_add_test(tcase, internal_operations_are_refused);
    tcase_add_test(tcase, too_many_items_are_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return sc_check_main(make_suite());
}
