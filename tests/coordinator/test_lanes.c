/* Requests on their way to shards that the test plays, while slots are held and handed over. */
#include "coordinator/router.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/caller.h"
#include "tests/check_main.h"
#include "tests/coordinator/fake_shard.h"

/* Two keys of different slots, both shard 1's at first. */
#define KEY "k3"
#define OTHER_KEY "k1"

static char dir[64];
static char urls[4][128]; /* of shard 1, shard 2, the router, the router for the last test */
static char why[SC_WHY_SIZE];
static struct fake_shard shards[2];
static struct sc_cluster cluster;
static struct sc_config config;
static struct sc_backend_shared shared;
static struct sc_fleet fleet; /* as much of it as the router needs */
static struct sc_backend *backends[2];
static struct sc_slotset slots; /* of KEY */
static struct caller caller;
static struct sc_buf request;

static void on_adopted(void *arg, struct sc_backend *backend)
{
    (void)arg;
    sc_cluster_shard(&cluster, sc_backend_shard_id(backend))->adopted = true;
    sc_backend_adopted(backend);
}

static bool may_grant(void *arg, const struct sc_backend *backend)
{
    (void)arg;
    (void)backend;
    return true;
}

static void on_change(void *arg, struct sc_backend *backend)
{
    (void)arg;
    (void)backend;
}

static void on_bounce(void *arg, struct sc_backend *from, const struct sc_target *target,
                      struct sc_slice encoded)
{
    (void)arg;
    (void)from;
    struct sc_lanes *lanes = sc_backend_lanes(fleet.of_slot[target->slot]);
    struct sc_buf *out = sc_lanes_submit_begin(lanes, SC_LANE_READS, target);
    if (out != NULL) {
        sc_buf_append_slice(out, encoded);
        sc_lanes_submit_end(lanes, SC_LANE_READS, target);
    }
}

static void on_request(void *arg, const struct sc_sp_origin *origin, struct sc_slice body)
{
    static const struct sc_msg_limits limits = {.value_max = SC_VALUE_MAX_DEFAULT};
    struct sc_msg_request parsed;
    (void)arg;
    ck_assert_int_eq(sc_msg_parse_request(body, &limits, &parsed, why), SC_OK);
    if ((sc_op_kind(parsed.op) & SC_OP_SINGLE) != 0) {
        sc_router_single(&fleet, &parsed, origin);
    } else {
        sc_router_multi(&fleet, &parsed, &limits, origin);
    }
}

static void on_drained(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2; i++) {
        if (backends[i] != NULL) {
            sc_lanes_flush(sc_backend_lanes(backends[i]));
        }
    }
}

static struct sc_lanes *lanes_of(int shard)
{
    return sc_backend_lanes(backends[shard - 1]);
}

/* For loops that wait: who takes a lock again and again keeps it from others. */
static void nap(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    (void)nanosleep(&pause, NULL);
}

static void lock(void)
{
    sc_sp_hub_lock(fleet.hub);
}

static void unlock(void)
{
    sc_sp_hub_unlock(fleet.hub);
}

static bool both_up(void)
{
    lock();
    bool up = sc_backend_up(backends[0]) && sc_backend_up(backends[1]);
    unlock();
    return up;
}

static void open_backends(void)
{
    const char *shard_urls[] = {urls[0], urls[1]};
    ck_assert_int_eq(sc_cluster_create(&cluster, shard_urls, 2, why), SC_OK);
    config = sc_config_defaults();
    shared = (struct sc_backend_shared){.hub = fleet.hub,
                                        .cluster = &cluster,
                                        .timeout_ms = 10000,
                                        .message_max = 4u << 20,
                                        .config = &config,
                                        .on_adopted = on_adopted,
                                        .may_grant = may_grant,
                                        .on_change = on_change,
                                        .on_bounce = on_bounce};
    lock();
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(sc_backend_open(&shared, i + 1, urls[i], &backends[i], why), SC_OK);
    }
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        fleet.of_slot[slot] = backends[0];
    }
    unlock();
    while (!both_up()) {
        nap();
    }
}

static void setup(void)
{
    struct sc_sp_hub_options hub = {.message_max = 4u << 20, .on_drained = on_drained};
    struct sc_sp_listener_options options = {.url = urls[2], .on_request = on_request};
    struct sc_sp_listener *listener;
    sc_log_init("test", SC_LOG_ERROR);
    snprintf(dir, sizeof dir, "/tmp/sc-lanes-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (int i = 0; i < 4; i++) {
        snprintf(urls[i], sizeof urls[i], "ipc://%s/%d", dir, i + 1);
    }
    fake_shard_open(&shards[0], urls[0]);
    fake_shard_open(&shards[1], urls[1]);
    ck_assert_int_eq(sc_sp_hub_open(&hub, &fleet.hub, why), SC_OK);
    ck_assert_int_eq(sc_sp_listen(fleet.hub, &options, &listener, why), SC_OK);
    fleet.message_max = 4u << 20;
    open_backends();
    sc_slotset_add(&slots, sc_slot_of_key(sc_slice_str(KEY)));
    ck_assert(!sc_slotset_has(&slots, sc_slot_of_key(sc_slice_str(OTHER_KEY))));
    caller_open(&caller, urls[2]);
}

static void teardown(void)
{
    char command[128];
    caller_close(&caller);
    lock();
    for (int i = 0; i < 2; i++) {
        struct sc_backend *backend = backends[i];
        backends[i] = NULL;
        sc_backend_close(backend);
    }
    unlock();
    sc_sp_hub_close(fleet.hub, 0);
    fake_shard_close(&shards[0]);
    fake_shard_close(&shards[1]);
    sc_cluster_fini(&cluster);
    sc_buf_fini(&request);
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static void start_get(struct call *call, const char *key)
{
    sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str(key));
    call_start(&caller, call, &request);
}

static void put_put(struct sc_buf *out, const char *key, uint64_t number)
{
    struct sc_buf value = {0};
    sc_mp_put_uint(&value, number);
    sc_msg_put_put(out, sc_slice_str(key), sc_buf_slice(&value), NULL);
    sc_buf_fini(&value);
}

static void start_put(struct call *call, const char *key, uint64_t number)
{
    put_put(&request, key, number);
    call_start(&caller, call, &request);
}

static void end_ok(struct call *call)
{
    ck_assert_int_eq(call_wait(call), SC_OK);
    call_end(call);
}

/* A round trip: what was started before has been submitted. */
static void do_get(const char *key)
{
    struct call call;
    start_get(&call, key);
    end_ok(&call);
}

static void hold(bool reads)
{
    lock();
    sc_lanes_hold(lanes_of(1), &slots, reads);
    unlock();
}

static void release(int shard)
{
    lock();
    sc_lanes_release(lanes_of(shard));
    unlock();
}

static size_t held(int shard, enum sc_lane lane)
{
    lock();
    size_t count = sc_run_count(&lanes_of(shard)->lanes[lane].held);
    unlock();
    return count;
}

static bool quiet(void)
{
    lock();
    bool is = sc_lanes_quiet(lanes_of(1));
    unlock();
    return is;
}

static uint64_t outstanding(int shard)
{
    lock();
    uint64_t count = lanes_of(shard)->outstanding;
    unlock();
    return count;
}

static void wait_until_kept(const bool *has)
{
    for (bool kept = false; !kept;) {
        fake_shard_lock(&shards[0]);
        kept = *has;
        fake_shard_unlock(&shards[0]);
        nap();
    }
}

START_TEST(writes_of_held_slots_wait_and_nothing_else)
{
    struct call calls[3];
    hold(false);
    ck_assert(quiet());
    for (uint64_t i = 0; i < 3; i++) {
        start_put(&calls[i], KEY, i + 1);
    }
    do_get(KEY);
    do_get(OTHER_KEY);
    struct call other;
    start_put(&other, OTHER_KEY, 1);
    end_ok(&other);
    ck_assert_uint_eq(held(1, SC_LANE_WRITES), 3);
    ck_assert_uint_eq(outstanding(1), 3);
    for (int i = 0; i < 3; i++) {
        ck_assert(!call_ended(&calls[i]));
    }
    release(1);
    for (int i = 0; i < 3; i++) {
        end_ok(&calls[i]);
    }
    fake_shard_lock(&shards[0]);
    ck_assert(!shards[0].disordered);
    ck_assert_uint_eq(shards[0].last_put, 3);
    fake_shard_unlock(&shards[0]);
    ck_assert_uint_eq(outstanding(1), 0);
}
END_TEST

START_TEST(what_has_not_been_sent_is_held_and_what_has_is_waited_for)
{
    struct call sent[2];
    struct call unsent;
    fake_shard_lock(&shards[0]);
    shards[0].hold = shards[0].hold_second = true;
    fake_shard_unlock(&shards[0]);
    start_put(&sent[0], KEY, 1);
    wait_until_kept(&shards[0].has_held);
    start_put(&sent[1], KEY, 2);
    wait_until_kept(&shards[0].has_second);
    start_put(&unsent, KEY, 3);
    do_get(KEY);
    hold(false);
    ck_assert_uint_eq(held(1, SC_LANE_WRITES), 1);
    ck_assert(!quiet());
    fake_shard_answer_held(&shards[0]);
    end_ok(&sent[0]);
    end_ok(&sent[1]);
    ck_assert(quiet());
    ck_assert(!call_ended(&unsent));
    release(1);
    end_ok(&unsent);
    /* Nothing that is sent after a hold has ended counts for the next one, but what is in flight.
     */
    fake_shard_lock(&shards[0]);
    shards[0].hold = true;
    fake_shard_unlock(&shards[0]);
    start_put(&sent[0], KEY, 4);
    wait_until_kept(&shards[0].has_held);
    hold(false);
    ck_assert(!quiet());
    fake_shard_answer_held(&shards[0]);
    end_ok(&sent[0]);
    ck_assert(quiet());
}
END_TEST

START_TEST(held_requests_go_to_the_shard_that_the_slots_are_handed_to)
{
    struct call before;
    struct call after;
    struct call read;
    hold(false);
    start_put(&before, KEY, 1);
    do_get(OTHER_KEY);
    lock();
    SC_SLOTSET_EACH (slot, &slots) {
        fleet.of_slot[slot] = backends[1];
    }
    sc_lanes_hand_over(lanes_of(1), lanes_of(2));
    unlock();
    ck_assert_uint_eq(outstanding(1), 0);
    ck_assert_uint_eq(outstanding(2), 1);
    start_put(&after, KEY, 2);
    start_get(&read, KEY);
    do_get(OTHER_KEY);
    ck_assert_uint_eq(held(2, SC_LANE_WRITES), 2);
    ck_assert_uint_eq(held(2, SC_LANE_READS), 1);
    ck_assert(!call_ended(&before) && !call_ended(&read));
    release(2);
    end_ok(&before);
    end_ok(&after);
    end_ok(&read);
    fake_shard_lock(&shards[1]);
    ck_assert(!shards[1].disordered);
    ck_assert_uint_eq(shards[1].last_put, 2);
    ck_assert_uint_eq(shards[1].items, 3);
    fake_shard_unlock(&shards[1]);
    fake_shard_lock(&shards[0]);
    ck_assert_uint_eq(shards[0].last_put, 0);
    fake_shard_unlock(&shards[0]);
}
END_TEST

START_TEST(held_requests_are_unavailable_when_the_shard_goes_down)
{
    struct call call;
    hold(false);
    start_put(&call, KEY, 1);
    do_get(OTHER_KEY);
    fake_shard_close(&shards[0]);
    ck_assert_int_eq(call_wait(&call), SC_UNAVAILABLE);
    call_end(&call);
    ck_assert_uint_eq(outstanding(1), 0);
    lock();
    ck_assert(!lanes_of(1)->holding);
    unlock();
}
END_TEST

START_TEST(what_is_handed_to_a_shard_that_is_down_is_unavailable)
{
    struct call call;
    hold(false);
    start_put(&call, KEY, 1);
    do_get(OTHER_KEY);
    fake_shard_close(&shards[1]);
    while (both_up()) {
        nap();
    }
    lock();
    sc_lanes_hand_over(lanes_of(1), lanes_of(2));
    unlock();
    ck_assert_int_eq(call_wait(&call), SC_UNAVAILABLE);
    call_end(&call);
    ck_assert_uint_eq(outstanding(2), 0);
}
END_TEST

/* A batch whose first message comes back in part when its slot is held already: what comes back is
 * older than what was held. */
START_TEST(what_comes_back_during_a_hold_is_held_in_front)
{
    enum { PUTS = 6000 }; /* more than a message holds */
    struct call call;
    struct call later;
    fake_shard_lock(&shards[0]);
    shards[0].again_after = 100;
    shards[0].hold = true;
    fake_shard_unlock(&shards[0]);
    sc_msg_put_op(&request, SC_OP_BATCH, 1);
    sc_mp_put_array(&request, 2 * PUTS);
    for (uint64_t i = 1; i <= PUTS; i++) {
        sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str(KEY));
        put_put(&request, KEY, i);
    }
    call_start(&caller, &call, &request);
    wait_until_kept(&shards[0].has_held);
    hold(false);
    ck_assert(!quiet());
    start_put(&later, KEY, PUTS + 1);
    do_get(OTHER_KEY);
    fake_shard_answer_held(&shards[0]);
    while (!quiet()) {
        nap();
    }
    ck_assert_uint_eq(held(1, SC_LANE_WRITES), 2 * PUTS + 1 - 100);
    release(1);
    end_ok(&call);
    end_ok(&later);
    fake_shard_lock(&shards[0]);
    ck_assert(!shards[0].disordered);
    ck_assert_uint_eq(shards[0].last_put, PUTS + 1);
    fake_shard_unlock(&shards[0]);
}
END_TEST

START_TEST(a_read_follows_its_slot_and_a_write_does_not)
{
    struct call read;
    struct call write;
    fake_shard_lock(&shards[0]);
    shards[0].hold = true;
    shards[0].moved = true;
    fake_shard_unlock(&shards[0]);
    start_get(&read, KEY);
    wait_until_kept(&shards[0].has_held);
    start_put(&write, KEY, 1);
    ck_assert_int_eq(call_wait(&write), SC_UNAVAILABLE);
    call_end(&write);
    lock();
    SC_SLOTSET_EACH (slot, &slots) {
        fleet.of_slot[slot] = backends[1];
    }
    unlock();
    fake_shard_answer_held(&shards[0]);
    end_ok(&read);
    fake_shard_lock(&shards[1]);
    ck_assert_uint_eq(shards[1].items, 1);
    fake_shard_unlock(&shards[1]);
    ck_assert_uint_eq(outstanding(1) + outstanding(2), 0);
}
END_TEST

/* ---- A client that does not take its replies ---- */

static int connect_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint8_t greeting[8];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/4", dir);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(write(fd, "\0SP\0\0\x30\0", 8), 8);
    ck_assert_int_eq(recv(fd, greeting, 8, MSG_WAITALL), 8);
    return fd;
}

static void add_frame(struct sc_buf *out, const struct sc_buf *body)
{
    uint8_t head[13] = {1};
    for (int i = 0; i < 8; i++) {
        head[1 + i] = (uint8_t)((uint64_t)(body->size + 4) >> (56 - 8 * i));
    }
    head[9] = 0x80;
    sc_buf_append(out, head, sizeof head);
    sc_buf_append_slice(out, sc_buf_slice(body));
}

static size_t writes(bool aside)
{
    lock();
    const struct sc_lanes_lane *lane = &lanes_of(1)->lanes[SC_LANE_WRITES];
    size_t count = sc_run_count(aside ? &lane->aside : &lane->waiting);
    unlock();
    return count;
}

static void wait_for_writes(bool aside, size_t count)
{
    while (writes(aside) != count) {
        nap();
    }
}

static size_t reads_answered_or_aside(void)
{
    fake_shard_lock(&shards[0]);
    size_t answered = shards[0].items;
    fake_shard_unlock(&shards[0]);
    lock();
    size_t aside = sc_run_count(&lanes_of(1)->lanes[SC_LANE_READS].aside);
    unlock();
    return answered + aside;
}

/* The requests of such a client stand in nobody's way, nor in that of a hold. */
START_TEST(requests_that_were_put_aside_are_held_too)
{
    enum { WRITES = 10, READS = 50 };
    struct call calls[2];
    struct sc_buf frames = {0};
    struct sc_buf body = {0};
    struct sc_sp_listener *listener;
    struct sc_sp_listener_options options = {
        .url = urls[3], .on_request = on_request, .output_max = 200000};
    ck_assert_int_eq(sc_sp_listen(fleet.hub, &options, &listener, why), SC_OK);
    fake_shard_lock(&shards[0]);
    shards[0].value_size = 30000;
    shards[0].hold = shards[0].hold_second = true;
    fake_shard_unlock(&shards[0]);
    start_put(&calls[0], OTHER_KEY, 1);
    wait_until_kept(&shards[0].has_held);
    start_put(&calls[1], OTHER_KEY, 1);
    wait_until_kept(&shards[0].has_second);
    int fd = connect_raw();
    put_put(&body, KEY, 1);
    for (int i = 0; i < WRITES; i++) {
        add_frame(&frames, &body);
    }
    ck_assert_int_eq(write(fd, frames.data, frames.size), (ssize_t)frames.size);
    wait_for_writes(false, WRITES);
    body.size = frames.size = 0;
    sc_msg_put_key_request(&body, SC_OP_GET, sc_slice_str(KEY));
    for (int i = 0; i < READS; i++) {
        add_frame(&frames, &body);
    }
    ck_assert_int_eq(write(fd, frames.data, frames.size), (ssize_t)frames.size);
    while (reads_answered_or_aside() != READS) {
        nap();
    }
    fake_shard_answer_held(&shards[0]);
    end_ok(&calls[0]);
    end_ok(&calls[1]);
    wait_for_writes(true, WRITES);
    ck_assert_uint_eq(outstanding(1), 0);
    hold(false);
    ck_assert_uint_eq(writes(true), 0);
    ck_assert_uint_eq(held(1, SC_LANE_WRITES), WRITES);
    ck_assert_uint_eq(outstanding(1), WRITES);
    release(1);
    wait_for_writes(true, WRITES);
    ck_assert_uint_eq(outstanding(1), 0);
    close(fd);
    sc_buf_fini(&frames);
    sc_buf_fini(&body);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lanes");
    TCase *tcase = tcase_create("lanes");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, writes_of_held_slots_wait_and_nothing_else);
    tcase_add_test(tcase, what_has_not_been_sent_is_held_and_what_has_is_waited_for);
    tcase_add_test(tcase, held_requests_go_to_the_shard_that_the_slots_are_handed_to);
    tcase_add_test(tcase, held_requests_are_unavailable_when_the_shard_goes_down);
    tcase_add_test(tcase, what_is_handed_to_a_shard_that_is_down_is_unavailable);
    tcase_add_test(tcase, what_comes_back_during_a_hold_is_held_in_front);
    tcase_add_test(tcase, a_read_follows_its_slot_and_a_write_does_not);
    tcase_add_test(tcase, requests_that_were_put_aside_are_held_too);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
