/* A batch of one slot on its way from a shard to another, both played by the test, with a client
 * that writes to it all the time: whatever is lost, late or refused, the slot has one owner,
 * nothing that was acknowledged is lost, and every request is answered, once and in order. */
#include "coordinator/mover.h"

#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "coordinator/rebalancer.h"
#include "coordinator/router.h"
#include "tests/caller.h"
#include "tests/check_main.h"
#include "tests/coordinator/fake_ends.h"

#define DEPTH 6 /* puts on their way at a time */

static char dir[64];
static char urls[3][128]; /* of shard 1, shard 2, the router */
static char why[SC_WHY_SIZE];
static struct fake_end ends[2];
static struct sc_fleet fleet;
static struct caller caller;
static struct sc_buf request;

/* What the client has seen. */
static struct {
    struct call calls[DEPTH];
    uint64_t numbers[DEPTH];
    size_t first, count; /* those on their way, a ring */
    uint64_t next; /* number to be put */
    uint64_t acked; /* the last that was acknowledged */
    uint64_t unknown[1000]; /* that may have been carried out, in order */
    size_t unknown_count;
    unsigned refused; /* as unavailable */
} client;

/* ---- The coordinator, as much of it as is needed ---- */

static void on_request(void *arg, const struct sc_sp_origin *origin, struct sc_slice body)
{
    static const struct sc_msg_limits limits = {.value_max = SC_VALUE_MAX_DEFAULT};
    struct sc_msg_request parsed;
    (void)arg;
    ck_assert_int_eq(sc_msg_parse_request(body, &limits, &parsed, why), SC_OK);
    if (parsed.op == SC_OP_REBALANCE) {
        sc_rebalancer_steer(fleet.rebalancer, &parsed, origin);
    } else {
        sc_router_single(&fleet, &parsed, origin);
    }
}

static void on_drained(void *arg)
{
    (void)arg;
    sc_fleet_flush(&fleet);
}

static void on_tick(void *arg)
{
    (void)arg;
    sc_fleet_tick(&fleet);
}

static void on_timer(void *arg)
{
    (void)arg;
    sc_fleet_timer(&fleet);
}

static void break_link(struct fake_end *end)
{
    sc_sp_hub_lock(fleet.hub);
    sc_backend_reset(sc_fleet_backend(&fleet, (uint32_t)end->shard.shard_id), "a test has it so");
    sc_sp_hub_unlock(fleet.hub);
}

/* For loops that wait: who takes a lock again and again keeps it from others. */
static void nap(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    (void)nanosleep(&pause, NULL);
}

/* ---- Setting up ---- */

/* A map log with two shards, and the slot on its way, and what happened then; 0: nothing. */
static void write_map(enum sc_change_kind then, uint8_t id[16])
{
    struct sc_cluster cluster;
    struct sc_maplog *log;
    const char *shard_urls[] = {urls[0], urls[1]};
    struct sc_change batch = {.kind = SC_CHANGE_BATCH, .from = 1, .to = 2};
    ck_assert_int_eq(sc_maplog_open(dir, &cluster, &log, why), SC_OK);
    ck_assert_int_eq(sc_cluster_create(&cluster, shard_urls, 2, why), SC_OK);
    cluster.shards[0].adopted = cluster.shards[1].adopted = true;
    cluster.steering.balancing = true;
    ck_assert_int_eq(sc_maplog_put_map(log, &cluster, why), SC_OK);
    sc_slotset_add(&batch.slots, sc_slot_of_key(sc_slice_str(FAKE_ENDS_KEY)));
    sc_maplog_number(log, &batch);
    ck_assert_int_eq(sc_maplog_append(log, &batch, why), SC_OK);
    ck_assert_uint_eq(batch.move, 1);
    if (then != 0) {
        struct sc_change change = {.kind = then, .move = 1};
        sc_maplog_number(log, &change);
        ck_assert_int_eq(sc_maplog_append(log, &change, why), SC_OK);
    }
    memcpy(id, cluster.id, sizeof cluster.id);
    sc_maplog_close(log);
    sc_cluster_fini(&cluster);
}

static void setup_shards(enum sc_change_kind then)
{
    uint8_t id[16];
    const char *shard_urls[] = {urls[0], urls[1]};
    sc_log_init("test", SC_LOG_ERROR);
    snprintf(dir, sizeof dir, "/tmp/sc-mover-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (int i = 0; i < 3; i++) {
        snprintf(urls[i], sizeof urls[i], "ipc://%s/%d", dir, i + 1);
    }
    write_map(then, id);
    fake_ends_open(ends, shard_urls, id);
    ends[0].break_link = ends[1].break_link = break_link;
}

static void start(void)
{
    struct sc_sp_hub_options hub = {.message_max = 4u << 20,
                                    .on_drained = on_drained,
                                    .on_tick = on_tick,
                                    .on_timer = on_timer};
    struct sc_sp_hub *opened;
    struct sc_sp_listener_options options = {.url = urls[2], .on_request = on_request};
    struct sc_sp_listener *listener;
    const struct sc_fleet_options fleet_options = {
        .dir = dir, .timeout_ms = 2000, .message_max = 4u << 20, .merges_at_once = 1};
    ck_assert_int_eq(sc_sp_hub_open(&hub, &opened, why), SC_OK);
    ck_assert_msg(sc_fleet_open(&fleet, opened, &fleet_options, why) == SC_OK, "%s", why);
    ck_assert_int_eq(sc_sp_listen(fleet.hub, &options, &listener, why), SC_OK);
    caller_open(&caller, urls[2]);
    client.next = client.next == 0 ? 1 : client.next;
}

static void setup(void)
{
    setup_shards(0);
}

static void setup_moved(void)
{
    setup_shards(SC_CHANGE_MOVED);
    ends[0].sealed = true;
    ends[0].shard.exporting = 1;
    ends[1].importing = ends[1].ready = true;
    ends[1].shard.importing = 1;
}

/* The batch came to nothing while both shards were away. */
static void setup_ended(void)
{
    setup_shards(SC_CHANGE_ENDED);
    ends[0].shard.exporting = 1;
    ends[1].importing = true;
    ends[1].shard.importing = 1;
}

static void stop(void)
{
    struct sc_sp_hub *hub = fleet.hub;
    caller_close(&caller);
    sc_fleet_close(&fleet);
    sc_sp_hub_close(hub, 0);
    fleet = (struct sc_fleet){0};
}

static void teardown(void)
{
    char command[128];
    stop();
    fake_ends_close(ends);
    sc_buf_fini(&request);
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* ---- The client ---- */

static void put_next(void)
{
    struct sc_buf value = {0};
    size_t at = (client.first + client.count++) % DEPTH;
    sc_mp_put_uint(&value, client.next);
    sc_msg_put_put(&request, sc_slice_str(FAKE_ENDS_KEY), sc_buf_slice(&value), NULL);
    client.numbers[at] = client.next++;
    call_start(&caller, &client.calls[at], &request);
    sc_buf_fini(&value);
}

/* Takes the answer to the oldest put. */
static void take_oldest(void)
{
    struct call *call = &client.calls[client.first];
    uint64_t number = client.numbers[client.first];
    int status = call_wait(call);
    if (status == SC_OK) {
        ck_assert_uint_gt(number, client.acked);
        client.acked = number;
    } else if (status == SC_UNKNOWN) {
        ck_assert_uint_lt(client.unknown_count, sizeof client.unknown / sizeof *client.unknown);
        client.unknown[client.unknown_count++] = number;
    } else {
        ck_assert(status == SC_UNAVAILABLE || (status == SC_BUSY && ends[0].may_refuse));
        client.refused++;
    }
    call_end(call);
    client.first = (client.first + 1) % DEPTH;
    client.count--;
}

static void write_a_little(void)
{
    while (client.count > 0 && call_ended(&client.calls[client.first])) {
        take_oldest();
    }
    if (client.count < DEPTH) {
        put_next();
    }
    fake_ends_poll(ends);
    nap();
}

static bool has_ended(void)
{
    sc_sp_hub_lock(fleet.hub);
    bool ended = fleet.cluster.batch_count == 0;
    sc_sp_hub_unlock(fleet.hub);
    return ended;
}

static void write_until_ended(void)
{
    uint64_t until_ms = sc_clock_mono_ms() + 30000;
    while (!has_ended()) {
        ck_assert_msg(sc_clock_mono_ms() < until_ms, "the batch does not end");
        write_a_little();
    }
}

static void take_all(void)
{
    while (client.count > 0) {
        fake_ends_poll(ends);
        if (call_ended(&client.calls[client.first])) {
            take_oldest();
        } else {
            nap();
        }
    }
}

/* Asks for the key until it is answered. */
static uint64_t read_back(void)
{
    for (int i = 0; i < 20000; i++) {
        struct call call;
        uint64_t value = 0;
        sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str(FAKE_ENDS_KEY));
        call_start(&caller, &call, &request);
        int status = call_wait(&call);
        ck_assert(status == SC_OK || status == SC_UNAVAILABLE);
        if (status == SC_OK) {
            ck_assert(sc_mp_uint(&call.reply.result, &value));
        }
        call_end(&call);
        if (status == SC_OK) {
            return value;
        }
        nap();
    }
    ck_abort_msg("the key stays unavailable");
    return 0;
}

/* ---- What must hold in the end ---- */

static void assert_nothing_wrong(void)
{
    fake_ends_lock(ends);
    for (int i = 0; i < 2; i++) {
        ck_assert_msg(ends[i].wrong[0] == '\0', "%s", ends[i].wrong);
        ck_assert_uint_eq(ends[i].late_count, 0);
    }
    fake_ends_unlock(ends);
}

static uint32_t owner(void)
{
    sc_sp_hub_lock(fleet.hub);
    uint32_t id = fleet.cluster.owner[sc_slot_of_key(sc_slice_str(FAKE_ENDS_KEY))];
    sc_sp_hub_unlock(fleet.hub);
    return id;
}

static bool both_up(void)
{
    sc_sp_hub_lock(fleet.hub);
    bool up = sc_fleet_first_down(&fleet) == NULL;
    sc_sp_hub_unlock(fleet.hub);
    return up;
}

/* Nobody takes part in the move any more: at once, or soon after a shard is back. */
static void wait_until_forgotten(void)
{
    for (int i = 0; i < 10000; i++) {
        fake_ends_lock(ends);
        bool forgotten = !ends[0].sealed && ends[0].export_token == 0 && !ends[1].importing;
        fake_ends_unlock(ends);
        if (forgotten && both_up()) {
            return;
        }
        fake_ends_poll(ends);
        nap();
    }
    ck_abort_msg("a shard takes part in a move that has ended");
}

static void assert_ended_at(uint32_t expected)
{
    write_until_ended();
    for (int i = 0; i < 5; i++) {
        write_a_little();
    }
    take_all();
    wait_until_forgotten();
    ck_assert_uint_eq(owner(), expected);
    uint64_t value = read_back();
    bool good = value == client.acked;
    for (size_t i = 0; i < client.unknown_count; i++) {
        good = good || (client.unknown[i] > client.acked && value == client.unknown[i]);
    }
    ck_assert_msg(good, "%d was read, %d acknowledged", (int)value, (int)client.acked);
    fake_ends_lock(ends);
    ck_assert(ends[expected - 1].owns && !ends[2 - expected].owns);
    fake_ends_unlock(ends);
    assert_nothing_wrong();
}

/* ---- Tests ---- */

START_TEST(a_slot_moves_and_no_request_is_refused)
{
    start();
    while (!both_up()) {
        nap();
    }
    assert_ended_at(2);
    ck_assert_uint_eq(client.unknown_count, 0);
    ck_assert_uint_eq(client.refused, 0);
}
END_TEST

/* Every message of a move, and who gets it. */
static const struct {
    int end;
    enum sc_op op;
    bool only_sealed;
    unsigned after;
} messages[] = {
    {1, SC_OP_X_IMPORT, false, 0}, {0, SC_OP_X_EXPORT, false, 0}, {0, SC_OP_X_READ, false, 0},
    {0, SC_OP_X_READ, false, 2},   {0, SC_OP_X_READ, true, 0},    {1, SC_OP_X_WRITE, false, 0},
    {1, SC_OP_X_WRITE, false, 2},  {1, SC_OP_X_WRITE, true, 0},   {0, SC_OP_X_SEAL, false, 0},
    {1, SC_OP_X_FINISH, false, 0}, {0, SC_OP_X_GRANT, false, 1},  {1, SC_OP_X_GRANT, false, 1},
};
#define MESSAGES ((int)(sizeof messages / sizeof *messages))

static void arrange(int message, enum fake_ends_harm harm)
{
    struct fake_end *end = &ends[messages[message].end];
    end->op = messages[message].op;
    end->only_sealed = messages[message].only_sealed;
    end->after = messages[message].after;
    end->harm = harm;
}

static void assert_harmed(void)
{
    fake_ends_lock(ends);
    ck_assert_uint_eq(ends[0].harmed + ends[1].harmed, 1);
    fake_ends_unlock(ends);
}

static const enum fake_ends_harm harms[] = {
    FAKE_ENDS_LOSE_REQUEST,  FAKE_ENDS_LOSE_REPLY, FAKE_ENDS_RESTART_BEFORE,
    FAKE_ENDS_RESTART_AFTER, FAKE_ENDS_LATE,       FAKE_ENDS_LATE_REPLY,
};
#define HARMS ((int)(sizeof harms / sizeof *harms))

START_TEST(what_is_lost_or_late_does_no_harm)
{
    arrange(_i / HARMS, harms[_i % HARMS]);
    start();
    assert_ended_at(2);
    assert_harmed();
}
END_TEST

/* Statuses after which it is tried again, and those that end the batch. A grant is asked for again
 * and again whatever it says. */
static const int passing[] = {SC_NOTFOUND, SC_MISMATCH, SC_UNAVAILABLE, SC_BUSY};
static const int final[] = {SC_BADREQUEST, SC_TOOLARGE, SC_WRONGTYPE, SC_MOVED,   SC_UNKNOWN,
                            SC_IO,         SC_CORRUPT,  SC_DENIED,    SC_INTERNAL};
#define PASSING ((int)(sizeof passing / sizeof *passing))
#define FINAL ((int)(sizeof final / sizeof *final))

START_TEST(what_passes_is_tried_again)
{
    arrange(_i / PASSING, FAKE_ENDS_STATUS);
    ends[messages[_i / PASSING].end].status = passing[_i % PASSING];
    start();
    assert_ended_at(2);
    assert_harmed();
}
END_TEST

START_TEST(what_does_not_pass_leaves_the_slot_where_it_was)
{
    arrange(_i / FINAL, FAKE_ENDS_STATUS);
    ends[messages[_i / FINAL].end].status = final[_i % FINAL];
    start();
    assert_ended_at(1);
    assert_harmed();
}
END_TEST

START_TEST(a_reply_that_makes_no_sense_leaves_the_slot_where_it_was)
{
    arrange(_i, FAKE_ENDS_NONSENSE);
    start();
    assert_ended_at(1);
    assert_harmed();
}
END_TEST

START_TEST(a_source_whose_log_has_changed_is_copied_anew)
{
    arrange(4, FAKE_ENDS_RESTART_AFTER);
    ends[0].new_log = true;
    start();
    assert_ended_at(2);
    assert_harmed();
}
END_TEST

START_TEST(a_move_can_be_called_off_at_any_time)
{
    struct call call;
    arrange(_i, FAKE_ENDS_LATE);
    start();
    for (bool harmed = false; !harmed;) {
        write_a_little();
        fake_ends_lock(ends);
        harmed = ends[0].harmed + ends[1].harmed > 0;
        fake_ends_unlock(ends);
    }
    sc_msg_put_op(&request, SC_OP_REBALANCE, 1);
    sc_mp_put_map(&request, 1);
    sc_mp_put_cstr(&request, "cancel");
    sc_mp_put_bool(&request, true);
    call_start(&caller, &call, &request);
    ck_assert_int_eq(call_wait(&call), SC_OK);
    call_end(&call);
    write_until_ended();
    assert_ended_at(1);
    ck_assert_uint_eq(client.unknown_count, 0);
}
END_TEST

START_TEST(requests_on_their_way_that_are_not_answered_in_time_end_the_attempt)
{
    ends[0].shard.hold = ends[0].shard.hold_second = true;
    arrange(0, FAKE_ENDS_LATE); /* by then they are on their way */
    start();
    while (!both_up()) {
        nap();
    }
    for (int i = 0; i < 300; i++) {
        write_a_little();
    }
    ck_assert_uint_eq(owner(), 1);
    fake_shard_answer_held(&ends[0].shard);
    assert_ended_at(2);
    ck_assert_uint_eq(client.unknown_count, 0);
}
END_TEST

static void with_failpoint(const char *failpoint)
{
    setenv("SHARDCASK_FAILPOINT", failpoint, 1);
    sc_failpoint_init();
}

/* The first entry is the term, the second is MOVED, then comes ENDED. */
START_TEST(a_move_that_could_not_be_recorded_is_tried_again)
{
    with_failpoint(_i == 0 ? "maplog_write:2:fail" : "maplog_write:3:fail");
    start();
    assert_ended_at(2);
    ck_assert_uint_eq(client.unknown_count, 0);
}
END_TEST

START_TEST(when_nobody_knows_whether_a_move_is_recorded_nobody_serves_the_slot)
{
    with_failpoint("maplog_sync:2:fail");
    ends[0].may_refuse = true;
    start();
    while (!both_up()) {
        nap(); /* requests are refused until then */
    }
    while (client.refused == 0) {
        write_a_little();
    }
    uint64_t acked = client.acked;
    take_all();
    ck_assert_uint_eq(client.acked, acked);
    fake_ends_lock(ends);
    ck_assert(ends[0].sealed && !ends[1].owns);
    fake_ends_unlock(ends);
    stop();
    start(); /* the entry was written, so it is found */
    assert_ended_at(2);
}
END_TEST

START_TEST(a_move_that_was_recorded_is_finished_by_the_next_coordinator)
{
    start();
    assert_ended_at(2);
}
END_TEST

START_TEST(a_recorded_move_is_finished_whatever_is_lost)
{
    struct fake_end *end = &ends[_i / HARMS];
    end->op = SC_OP_X_GRANT;
    end->harm = harms[_i % HARMS];
    start();
    assert_ended_at(2);
    assert_harmed();
}
END_TEST

/* The seal may have been given just before the coordinator died, by a clock that it knew only
 * about: that the target is granted the slot too early is what the target would tell. */
START_TEST(a_source_that_cannot_be_reached_is_waited_for_until_it_answers_no_reads)
{
    ends[0].away = true;
    ends[0].owns = true;
    ends[0].sealed_until_ms = sc_clock_mono_ms() + 2000 + 4900;
    start();
    write_until_ended();
    take_all();
    ck_assert_uint_eq(owner(), 2);
    ck_assert_uint_eq(client.unknown_count, 0);
    assert_nothing_wrong();
}
END_TEST

START_TEST(a_shard_is_told_to_let_go_of_a_move_until_it_has)
{
    struct fake_end *end = &ends[_i % 2];
    end->op = _i % 2 == 0 ? SC_OP_X_RELEASE : SC_OP_X_DROP;
    end->harm = _i < 2 ? FAKE_ENDS_STATUS : _i < 4 ? FAKE_ENDS_LOSE_REQUEST : FAKE_ENDS_LOSE_REPLY;
    end->status = SC_BUSY;
    start();
    for (bool done = false; !done;) {
        nap();
        fake_ends_lock(ends);
        done = ends[0].shard.exporting == 0 && ends[1].shard.importing == 0;
        fake_ends_unlock(ends);
    }
    assert_harmed();
    assert_nothing_wrong();
}
END_TEST

/* ---- Records that wait for each other ---- */

static unsigned recorded;

static void on_recorded(void *arg, enum sc_status status, const char *reason)
{
    uint64_t *number = arg;
    ck_assert_msg(status == SC_OK, "%s", reason);
    recorded++;
    number[0] = fleet.cluster.next_move - 1;
    number[1] = fleet.cluster.epoch;
}

static void wait_for_records(unsigned count)
{
    for (unsigned seen = 0; seen < count;) {
        nap();
        sc_sp_hub_lock(fleet.hub);
        seen = recorded;
        sc_sp_hub_unlock(fleet.hub);
    }
}

START_TEST(moves_that_are_recorded_at_the_same_time_do_not_collide)
{
    uint64_t numbers[4][2];
    struct sc_change added = {.kind = SC_CHANGE_SHARD_ADDED, .weight = 100};
    struct sc_change batches[2] = {{.kind = SC_CHANGE_BATCH, .from = 1, .to = 3},
                                   {.kind = SC_CHANGE_BATCH, .from = 2, .to = 4}};
    sc_slotset_add(&batches[0].slots, 1);
    sc_slotset_add(&batches[1].slots, SC_SLOT_COUNT - 1);
    start();
    sc_sp_hub_lock(fleet.hub);
    struct sc_rebalancer *rebalancer = fleet.rebalancer;
    fleet.rebalancer = NULL; /* it would do the same */
    for (int i = 0; i < 2; i++) {
        added.shard_id = (uint32_t)i + 3;
        snprintf(added.url, sizeof added.url, "ipc://%s/nobody%d", dir, i);
        sc_fleet_record(&fleet, &added, on_recorded, numbers[i]);
    }
    for (int i = 0; i < 2; i++) {
        sc_fleet_record(&fleet, &batches[i], on_recorded, numbers[i]);
    }
    sc_sp_hub_unlock(fleet.hub);
    wait_for_records(4);
    ck_assert_uint_eq(numbers[0][0], 2);
    ck_assert_uint_eq(numbers[1][0], 3);
    sc_sp_hub_lock(fleet.hub);
    for (int i = 0; i < 2; i++) {
        struct sc_change moved = {.kind = SC_CHANGE_MOVED, .move = numbers[i][0]};
        sc_fleet_record(&fleet, &moved, on_recorded, numbers[2 + i]);
    }
    sc_sp_hub_unlock(fleet.hub);
    wait_for_records(6);
    ck_assert_uint_eq(numbers[3][1], numbers[2][1] + 1);
    sc_sp_hub_lock(fleet.hub);
    fleet.rebalancer = rebalancer;
    sc_sp_hub_unlock(fleet.hub);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("mover");
    TCase *tcase = tcase_create("mover");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_slot_moves_and_no_request_is_refused);
    tcase_add_loop_test(tcase, what_is_lost_or_late_does_no_harm, 0, MESSAGES * HARMS);
    tcase_add_loop_test(tcase, what_passes_is_tried_again, 0, (MESSAGES - 2) * PASSING);
    tcase_add_loop_test(tcase, what_does_not_pass_leaves_the_slot_where_it_was, 0,
                        (MESSAGES - 2) * FINAL);
    tcase_add_loop_test(tcase, a_reply_that_makes_no_sense_leaves_the_slot_where_it_was, 0,
                        MESSAGES - 2);
    tcase_add_test(tcase, a_source_whose_log_has_changed_is_copied_anew);
    tcase_add_loop_test(tcase, a_move_can_be_called_off_at_any_time, 0, MESSAGES - 2);
    tcase_add_test(tcase, requests_on_their_way_that_are_not_answered_in_time_end_the_attempt);
    tcase_add_loop_test(tcase, a_move_that_could_not_be_recorded_is_tried_again, 0, 2);
    tcase_add_test(tcase, when_nobody_knows_whether_a_move_is_recorded_nobody_serves_the_slot);
    suite_add_tcase(suite, tcase);
    TCase *moved = tcase_create("moved");
    tcase_set_timeout(moved, 120);
    tcase_add_checked_fixture(moved, setup_moved, teardown);
    tcase_add_test(moved, a_move_that_was_recorded_is_finished_by_the_next_coordinator);
    tcase_add_loop_test(moved, a_recorded_move_is_finished_whatever_is_lost, 0, 2 * HARMS);
    tcase_add_test(moved, a_source_that_cannot_be_reached_is_waited_for_until_it_answers_no_reads);
    suite_add_tcase(suite, moved);
    TCase *ended = tcase_create("ended");
    tcase_set_timeout(ended, 120);
    tcase_add_checked_fixture(ended, setup_ended, teardown);
    tcase_add_loop_test(ended, a_shard_is_told_to_let_go_of_a_move_until_it_has, 0, 6);
    tcase_add_test(ended, moves_that_are_recorded_at_the_same_time_do_not_collide);
    suite_add_tcase(suite, ended);
    return suite;
}

int main(void)
{
    return sc_check_main(suite());
}
