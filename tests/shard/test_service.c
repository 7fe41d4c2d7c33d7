#include "shard/service.h"

#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "shard/record.h"
#include "tests/caller.h"
#include "tests/check_main.h"

static char dir[64];
static char url[128];
static char why[SC_WHY_SIZE];
static struct sc_bitcask *store;
static struct sc_service *service;
static struct caller caller;
static struct sc_buf request;
static struct call call;

static const uint8_t cluster[16] = "0123456789abcdef";

static void open_service(int32_t sync_ms)
{
    const char *bound;
    struct sc_bitcask_options options = {.file_size_max = SC_BITCASK_FILE_SIZE_DEFAULT,
                                         .value_max = SC_VALUE_MAX_DEFAULT,
                                         .sync_ms = sync_ms};
    struct sc_service_options limits = {
        .message_max = 8u << 20, .value_max = SC_VALUE_MAX_DEFAULT, .sync_ms = sync_ms};
    char path[128];
    snprintf(path, sizeof path, "%s/store", dir);
    ck_assert_int_eq(sc_bitcask_open(path, &options, NULL, NULL, &store, why), SC_OK);
    ck_assert_int_eq(sc_service_open(store, &limits, &service, why), SC_OK);
    ck_assert_int_eq(sc_service_listen(service, url, &bound, why), SC_OK);
    caller_open(&caller, url);
}

static void close_service(void)
{
    caller_close(&caller);
    sc_service_close(service);
    ck_assert_int_eq(sc_bitcask_close(store), SC_OK);
}

static void setup(void)
{
    sc_log_init("test", SC_LOG_ERROR);
    snprintf(dir, sizeof dir, "/tmp/sc-service-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(url, sizeof url, "ipc://%s/s", dir);
    open_service(SC_BITCASK_SYNC_ALWAYS);
}

static void teardown(void)
{
    char command[128];
    close_service();
    sc_buf_fini(&request);
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Sends what is in `request`, waits, returns the status; the reply is in `call`. */
static int ask(void)
{
    call_end(&call);
    call_start(&caller, &call, &request);
    return call_wait(&call);
}

static void adopt(void)
{
    sc_msg_put_op(&request, SC_OP_X_ADOPT, 2);
    sc_mp_put_bin(&request, sc_slice(cluster, sizeof cluster));
    sc_mp_put_uint(&request, 1);
    ck_assert_int_eq(ask(), SC_OK);
}

/* Grants slots first to last to shard 1; the others are said to be shard 2's. */
static int grant(uint64_t term, uint64_t epoch, uint32_t first, uint32_t last)
{
    sc_msg_put_op(&request, SC_OP_X_GRANT, 5);
    sc_mp_put_bin(&request, sc_slice(cluster, sizeof cluster));
    sc_mp_put_uint(&request, 1);
    sc_mp_put_uint(&request, term);
    sc_mp_put_uint(&request, epoch);
    const uint32_t ranges[][3] = {
        {0, first - 1, 2}, {first, last, 1}, {last + 1, SC_SLOT_COUNT - 1, 2}};
    size_t array = sc_mp_open_array(&request);
    uint32_t count = 0;
    for (int i = 0; i < 3; i++) {
        if ((i == 0 && first == 0) || (i == 2 && last == SC_SLOT_COUNT - 1)) {
            continue;
        }
        sc_mp_put_array(&request, 4);
        sc_mp_put_uint(&request, ranges[i][0]);
        sc_mp_put_uint(&request, ranges[i][1]);
        sc_mp_put_uint(&request, ranges[i][2]);
        sc_mp_put_cstr(&request, ranges[i][2] == 1 ? url : "ipc:///the/other");
        count++;
    }
    sc_mp_close_array(&request, array, count);
    return ask();
}

static void serve_everything(void)
{
    adopt();
    ck_assert_int_eq(grant(1, 1, 0, SC_SLOT_COUNT - 1), SC_OK);
}

static int put(const char *key, const char *value)
{
    struct sc_buf encoded = {0};
    sc_mp_put_cstr(&encoded, value);
    sc_msg_put_put(&request, sc_slice_str(key), sc_buf_slice(&encoded), NULL);
    sc_buf_fini(&encoded);
    return ask();
}

static int get(const char *key)
{
    sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str(key));
    return ask();
}

/* One of the figures that the shard tells of itself. */
static uint64_t figure(const char *wanted)
{
    uint32_t pairs = 0;
    sc_msg_put_op(&request, SC_OP_STATS, 0);
    ck_assert_int_eq(ask(), SC_OK);
    ck_assert(sc_mp_map(&call.reply.result, &pairs));
    for (uint32_t i = 0; i < pairs; i++) {
        struct sc_slice name;
        uint64_t value;
        ck_assert(sc_mp_str(&call.reply.result, &name));
        if (sc_slice_equal(name, sc_slice_str(wanted))) {
            ck_assert(sc_mp_uint(&call.reply.result, &value));
            return value;
        }
        ck_assert(sc_mp_skip(&call.reply.result, NULL));
    }
    ck_abort_msg("no figure %s", wanted);
}

START_TEST(nothing_is_served_before_a_grant)
{
    ck_assert_int_eq(get("a"), SC_UNAVAILABLE);
    ck_assert_int_eq(put("a", "1"), SC_UNAVAILABLE);
    sc_msg_put_op(&request, SC_OP_COUNT, 0);
    ck_assert_int_eq(ask(), SC_UNAVAILABLE);
    adopt();
    ck_assert_int_eq(get("a"), SC_UNAVAILABLE);
    ck_assert_int_eq(grant(1, 1, 0, SC_SLOT_COUNT - 1), SC_OK);
    ck_assert_int_eq(get("a"), SC_NOTFOUND);
}
END_TEST

START_TEST(a_restarted_shard_is_fenced_until_granted_again)
{
    serve_everything();
    ck_assert_int_eq(put("a", "1"), SC_OK);
    close_service();
    open_service(SC_BITCASK_SYNC_ALWAYS);
    ck_assert_int_eq(get("a"), SC_UNAVAILABLE);
    ck_assert_int_eq(grant(2, 1, 0, SC_SLOT_COUNT - 1), SC_OK);
    ck_assert_int_eq(get("a"), SC_OK);
}
END_TEST

START_TEST(a_key_of_another_shard_is_answered_with_its_owner)
{
    uint32_t slot = sc_slot_of_key(sc_slice_str("foo"));
    struct sc_slice owner;
    uint64_t epoch;
    adopt();
    ck_assert_int_eq(grant(1, 7, 0, slot), SC_OK);
    ck_assert_int_eq(get("foo"), SC_NOTFOUND);
    ck_assert_int_eq(grant(1, 8, 0, slot - 1), SC_OK);
    ck_assert_int_eq(get("foo"), SC_MOVED);
    ck_assert(sc_mp_uint(&call.reply.result, &epoch));
    ck_assert(sc_mp_str(&call.reply.result, &owner));
    ck_assert_uint_eq(epoch, 8);
    ck_assert(sc_slice_equal(owner, sc_slice_str("ipc:///the/other")));
    /* It was given away, and what has become of it since is not here. */
    ck_assert_int_eq(grant(1, 9, 0, slot), SC_DENIED);
    ck_assert_int_eq(get("foo"), SC_MOVED);
}
END_TEST

START_TEST(an_older_coordinator_is_refused)
{
    adopt();
    ck_assert_int_eq(grant(5, 3, 0, 200), SC_OK);
    ck_assert_int_eq(grant(4, 9, 0, 100), SC_DENIED);
    ck_assert_int_eq(grant(5, 2, 0, 100), SC_DENIED);
    ck_assert_int_eq(grant(6, 3, 0, 100), SC_OK);
}
END_TEST

START_TEST(an_adopted_directory_cannot_be_adopted_by_another_cluster)
{
    adopt();
    adopt(); /* the same again does no harm */
    sc_msg_put_op(&request, SC_OP_X_ADOPT, 2);
    sc_mp_put_bin(&request, sc_slice("another cluster!", sizeof "another cluster!" - 1));
    sc_mp_put_uint(&request, 1);
    ck_assert_int_eq(ask(), SC_DENIED);
}
END_TEST

START_TEST(an_acknowledged_write_is_committed)
{
    serve_everything();
    ck_assert_int_eq(put("a", "1"), SC_OK);
    ck_assert_uint_ge(figure("syncs"), 1);
}
END_TEST

START_TEST(replies_to_many_writes_in_flight_share_commits)
{
    enum { WRITES = 500 };
    static struct call calls[WRITES];
    serve_everything();
    uint64_t before = figure("syncs");
    for (int i = 0; i < WRITES; i++) {
        char key[16];
        snprintf(key, sizeof key, "key-%d", i);
        sc_msg_put_put(&request, sc_slice_str(key), sc_slice("\x01", sizeof "\x01" - 1), NULL);
        call_start(&caller, &calls[i], &request);
    }
    for (int i = 0; i < WRITES; i++) {
        ck_assert_int_eq(call_wait(&calls[i]), SC_OK);
        call_end(&calls[i]);
    }
    ck_assert_uint_lt(figure("syncs") - before, WRITES / 2);
}
END_TEST

START_TEST(slots_are_told_with_what_is_in_them)
{
    struct sc_msg_slots slots;
    uint32_t count;
    uint32_t next = 100;
    uint64_t keys = 0;
    uint64_t bytes = 0;
    adopt();
    ck_assert_int_eq(grant(1, 1, 100, SC_SLOT_COUNT - 1), SC_OK);
    ck_assert_int_eq(put("a", "value"), SC_OK);
    ck_assert_int_eq(put("foo", "another value"), SC_OK);
    ck_assert_int_eq(put("foo", "and this instead"), SC_OK);
    sc_msg_put_op(&request, SC_OP_X_SLOTS, 0);
    ck_assert_int_eq(ask(), SC_OK);
    ck_assert(sc_msg_read_slots(&call.reply, &count));
    for (uint32_t i = 0; i < count; i++) {
        ck_assert(sc_msg_next_slots(&call.reply, &slots));
        ck_assert_uint_eq(slots.first, next);
        ck_assert(slots.keys == 0 || slots.first == slots.last);
        next = slots.last + 1;
        keys += slots.keys;
        bytes += slots.bytes;
    }
    ck_assert_uint_eq(next, SC_SLOT_COUNT);
    ck_assert_uint_eq(count, 5);
    ck_assert_uint_eq(keys, 2);
    ck_assert_uint_eq(bytes, sc_record_size(1, 6) + sc_record_size(3, 17));
}
END_TEST

START_TEST(sync_waits_for_the_disk_whatever_the_setting)
{
    close_service();
    open_service(SC_BITCASK_SYNC_NEVER);
    serve_everything();
    ck_assert_int_eq(put("a", "1"), SC_OK);
    ck_assert_uint_eq(figure("syncs"), 0);
    sc_msg_put_op(&request, SC_OP_SYNC, 0);
    ck_assert_int_eq(ask(), SC_OK);
    ck_assert_uint_eq(figure("syncs"), 1);
}
END_TEST

START_TEST(a_write_may_ask_for_the_disk_itself)
{
    close_service();
    open_service(SC_BITCASK_SYNC_NEVER);
    serve_everything();
    struct sc_msg_write_options options = {.has_sync = true, .sync = true};
    sc_msg_put_put(&request, sc_slice_str("a"), sc_slice("\x01", sizeof "\x01" - 1), &options);
    ck_assert_int_eq(ask(), SC_OK);
    ck_assert_uint_eq(figure("syncs"), 1);
}
END_TEST

START_TEST(an_interval_syncs_what_was_written)
{
    close_service();
    open_service(10);
    serve_everything();
    ck_assert_int_eq(put("a", "1"), SC_OK);
    uint64_t syncs = 0;
    for (int i = 0; i < 100000 && syncs == 0; i++) {
        syncs = figure("syncs"); /* which passes the time */
    }
    ck_assert_uint_ge(syncs, 1);
}
END_TEST

static int join_gets(uint32_t count, const char *key)
{
    sc_msg_put_op(&request, SC_OP_X_JOIN, 1);
    sc_mp_put_array(&request, count);
    for (uint32_t i = 0; i < count; i++) {
        sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str(key));
    }
    return ask();
}

START_TEST(what_comes_after_its_deadline_is_not_begun)
{
    serve_everything();
    sc_msg_put_by(&request, sc_clock_mono_ms() + 3600000);
    ck_assert_int_eq(put("a", "in time"), SC_OK);
    sc_msg_put_by(&request, sc_clock_mono_ms() - 1);
    ck_assert_int_eq(put("a", "late"), SC_UNAVAILABLE);
    sc_msg_put_by(&request, sc_clock_mono_ms() - 1);
    sc_msg_put_op(&request, SC_OP_CLEAR, 0);
    ck_assert_int_eq(ask(), SC_UNAVAILABLE);
    ck_assert_int_eq(get("a"), SC_OK);
    ck_assert_uint_gt(call.reply.result.end - call.reply.result.at, strlen("in time"));
    sc_msg_put_by(&request, UINT64_MAX);
    ck_assert_int_eq(ask(), SC_BADREQUEST); /* nothing in it */
    sc_msg_put_by(&request, UINT64_MAX);
    sc_msg_put_by(&request, UINT64_MAX);
    sc_msg_put_op(&request, SC_OP_COUNT, 0);
    ck_assert_int_eq(ask(), SC_BADREQUEST); /* only one */
}
END_TEST

START_TEST(a_join_sends_back_what_it_has_no_room_for)
{
    enum { SIZE = 1 << 20, COUNT = 12 };
    char *large = sc_alloc(SIZE + 1);
    memset(large, 'x', SIZE);
    large[SIZE] = '\0';
    serve_everything();
    ck_assert_int_eq(put("large", large), SC_OK);
    ck_assert_int_eq(join_gets(COUNT, "large"), SC_OK);
    uint32_t count;
    uint32_t whole = 0;
    ck_assert(sc_mp_array(&call.reply.result, &count));
    ck_assert_uint_eq(count, COUNT);
    for (uint32_t i = 0; i < count; i++) {
        struct sc_slice raw;
        ck_assert(sc_mp_skip(&call.reply.result, &raw));
        if (raw.size > SIZE) {
            ck_assert_uint_eq(whole, i); /* none behind one that was sent back */
            whole++;
        } else {
            ck_assert(sc_slice_equal(raw, sc_slice("\x91\x64", sizeof "\x91\x64" - 1)));
        }
    }
    ck_assert_uint_ge(whole, 1);
    ck_assert_uint_lt(whole, COUNT);
    free(large);
}
END_TEST

START_TEST(a_batch_keeps_to_the_message_limit_and_its_writes_are_carried_out)
{
    enum { SIZE = 3 << 20, GETS = 4 };
    char *large = sc_alloc(SIZE + 1);
    memset(large, 'x', SIZE);
    large[SIZE] = '\0';
    serve_everything();
    ck_assert_int_eq(put("large", large), SC_OK);
    sc_msg_put_op(&request, SC_OP_BATCH, 1);
    sc_mp_put_array(&request, GETS + 1);
    for (int i = 0; i < GETS; i++) {
        sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str("large"));
    }
    sc_msg_put_incr(&request, sc_slice_str("n"), 1);
    ck_assert_int_eq(ask(), SC_OK);
    ck_assert_uint_lt(call.body.size, 8u << 20);
    ck_assert_int_eq(get("n"), SC_OK);
    free(large);
}
END_TEST

/* More items than are looked at together, in an order in which each shows that the one before it
 * was carried out. */
START_TEST(items_of_a_batch_are_carried_out_in_their_order_and_bad_ones_refused)
{
    enum { ROUNDS = 25, EACH = 4 };
    uint32_t count;
    serve_everything();
    sc_msg_put_op(&request, SC_OP_BATCH, 1);
    sc_mp_put_array(&request, ROUNDS * EACH);
    for (int i = 0; i < ROUNDS; i++) {
        sc_msg_put_incr(&request, sc_slice_str("n"), 1);
        sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str("n"));
        sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str("")); /* no key is empty */
        sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str("absent"));
    }
    ck_assert_int_eq(ask(), SC_OK);
    ck_assert(sc_mp_array(&call.reply.result, &count));
    ck_assert_uint_eq(count, ROUNDS * EACH);
    for (uint32_t i = 0; i < count; i++) {
        static const int statuses[EACH] = {SC_OK, SC_OK, SC_BADREQUEST, SC_NOTFOUND};
        uint64_t status;
        uint64_t value = 0;
        uint32_t parts;
        ck_assert(sc_mp_array(&call.reply.result, &parts));
        ck_assert(sc_mp_uint(&call.reply.result, &status));
        ck_assert_int_eq((int)status, statuses[i % EACH]);
        ck_assert(status == SC_OK ? sc_mp_uint(&call.reply.result, &value)
                                  : sc_mp_skip(&call.reply.result, NULL));
        ck_assert_uint_eq(value, status == SC_OK ? i / EACH + 1 : 0);
    }
}
END_TEST

START_TEST(bad_messages_are_answered_and_harm_nothing)
{
    serve_everything();
    sc_buf_append(&request, "\xc1\xff garbage", 10);
    ck_assert_int_eq(ask(), SC_BADREQUEST);
    ck_assert_uint_gt(call.reply.why.size, 0);
    sc_msg_put_op(&request, SC_OP_SHARD_ADD, 1);
    sc_mp_put_cstr(&request, "ipc:///x");
    ck_assert_int_eq(ask(), SC_DENIED);
    ck_assert_int_eq(put("a", "1"), SC_OK);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("service");
    TCase *tcase = tcase_create("service");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, nothing_is_served_before_a_grant);
    tcase_add_test(tcase, a_restarted_shard_is_fenced_until_granted_again);
    tcase_add_test(tcase, a_key_of_another_shard_is_answered_with_its_owner);
    tcase_add_test(tcase, an_older_coordinator_is_refused);
    tcase_add_test(tcase, an_adopted_directory_cannot_be_adopted_by_another_cluster);
    tcase_add_test(tcase, an_acknowledged_write_is_committed);
    tcase_add_test(tcase, replies_to_many_writes_in_flight_share_commits);
    tcase_add_test(tcase, slots_are_told_with_what_is_in_them);
    tcase_add_test(tcase, sync_waits_for_the_disk_whatever_the_setting);
    tcase_add_test(tcase, a_write_may_ask_for_the_disk_itself);
    tcase_add_test(tcase, an_interval_syncs_what_was_written);
    tcase_add_test(tcase, what_comes_after_its_deadline_is_not_begun);
    tcase_add_test(tcase, a_join_sends_back_what_it_has_no_room_for);
    tcase_add_test(tcase, a_batch_keeps_to_the_message_limit_and_its_writes_are_carried_out);
    tcase_add_test(tcase, items_of_a_batch_are_carried_out_in_their_order_and_bad_ones_refused);
    tcase_add_test(tcase, bad_messages_are_answered_and_harm_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return sc_check_main(make_suite());
}
