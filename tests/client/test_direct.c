/*
 * Direct clients: operations go to the shards, slots that move are followed, and what cannot be
 * done directly goes through the coordinator, once.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "common/clock.h"
#include "tests/check_main.h"
#include "tests/client/fake_fleet.h"

static struct fake_fleet fleet;
static struct shardcask *db;
static struct fake_server *const coordinator = &fleet.members[0].server;

/* A key of each shard, and its slot. */
static char keys[1 + FAKE_SHARDS][16];
static uint32_t slots[1 + FAKE_SHARDS];

static struct fake_server *shard(uint32_t number)
{
    return &fleet.members[number].server;
}

static void start(void)
{
    fake_fleet_start(&fleet);
    for (uint32_t i = 1; i <= FAKE_SHARDS; i++) {
        slots[i] = fake_fleet_key(i, 0, keys[i]);
    }
}

static void setup(void)
{
    start();
    db = fake_fleet_open(&fleet, NULL);
}

static void teardown(void)
{
    shardcask_close(db);
    fake_fleet_end(&fleet);
}

/* For what is to run out of time. */
static void reopen(uint32_t timeout_ms)
{
    shardcask_close(db);
    struct shardcask_options options = {.direct = true, .timeout_ms = timeout_ms};
    db = fake_fleet_open(&fleet, &options);
}

static int put(const char *key)
{
    return shardcask_put(db, key, strlen(key), "\x01", 1, NULL, NULL);
}

/* For a put that never succeeds: one that was on its way when its time was over is unknown. */
static int put_in_vain(const char *key)
{
    int status;
    do {
        status = put(key);
    } while (status == SHARDCASK_UNKNOWN);
    return status;
}

static int get(const char *key)
{
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    int status = shardcask_get(db, key, strlen(key), &value);
    shardcask_value_free(&value);
    return status;
}

static int incr(const char *key, int64_t *number)
{
    return shardcask_incr(db, key, strlen(key), 1, number);
}

static size_t operations(uint32_t member)
{
    return fake_fleet_operations(&fleet, member);
}

/* Waits until the next operation on a key goes to a member; `member` 0: the coordinator. */
static void await_way(const char *key, uint32_t member)
{
    for (int i = 0; i < 10000; i++) {
        size_t before = operations(member);
        (void)get(key);
        if (operations(member) > before) {
            return;
        }
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    ck_abort_msg("%s does not go to %u", key, member);
}

/* ---- The way ---- */

START_TEST(operations_go_to_the_shard_that_owns_their_key)
{
    for (uint32_t i = 1; i <= FAKE_SHARDS; i++) {
        int64_t number = 0;
        ck_assert_int_eq(incr(keys[i], &number), SHARDCASK_OK);
        ck_assert_int_eq(get(keys[i]), SHARDCASK_OK);
        ck_assert_int_eq(number, 1);
        ck_assert_uint_eq(operations(i), 2);
    }
    ck_assert_uint_eq(operations(0), 0);
}
END_TEST

START_TEST(an_indirect_handle_asks_the_coordinator_only)
{
    shardcask_close(db);
    struct shardcask_options options = {0};
    db = fake_fleet_open(&fleet, &options);
    ck_assert_int_eq(put(keys[1]), SHARDCASK_OK);
    ck_assert_uint_eq(operations(0), 1);
    ck_assert_uint_eq(fake_fleet_connections(&fleet, 1), 0);
}
END_TEST

START_TEST(what_concerns_the_whole_store_goes_to_the_coordinator)
{
    uint64_t count = 0;
    struct shardcask_scan *scan;
    const void *key;
    size_t size;
    ck_assert_int_eq(put(keys[2]), SHARDCASK_OK);
    size_t before = fake_count(shard(2), &shard(2)->messages);
    ck_assert_int_eq(shardcask_count(db, &count), SHARDCASK_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(shardcask_scan_open(db, NULL, &scan), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_scan_next(scan, &key, &size, NULL, NULL), SHARDCASK_OK);
    shardcask_scan_close(scan);
    ck_assert_int_eq(shardcask_sync(db), SHARDCASK_OK);
    ck_assert_int_eq(shardcask_clear(db, &count), SHARDCASK_OK);
    ck_assert_uint_eq(fake_count(shard(2), &shard(2)->messages), before);
}
END_TEST

START_TEST(shards_are_told_when_an_operation_is_given_up)
{
    uint64_t before = sc_clock_mono_ms();
    ck_assert_int_eq(put(keys[1]), SHARDCASK_OK);
    fake_lock(shard(1));
    uint64_t deadline = shard(1)->deadline_ms;
    fake_unlock(shard(1));
    ck_assert_uint_ge(deadline, before + 15000);
    ck_assert_uint_le(deadline, sc_clock_mono_ms() + 15000 + 1000);
}
END_TEST

/* ---- Batches ---- */

START_TEST(a_batch_is_split_sent_at_once_and_put_together_in_order)
{
    enum { COUNT = 3 * FAKE_SHARDS };
    struct shardcask_op ops[COUNT] = {{0}};
    char names[COUNT][16];
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)fake_fleet_key(1 + i % FAKE_SHARDS, i, names[i]);
        ops[i] = (struct shardcask_op){.kind = SHARDCASK_OP_INCR,
                                       .key = names[i],
                                       .key_size = strlen(names[i]),
                                       .delta = 100 + (int64_t)i};
    }
    ops[4].options.flags = 1U << 20; /* a bad one, which ends here */
    ck_assert_int_eq(shardcask_batch(db, ops, COUNT), SHARDCASK_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(ops[i].status, i == 4 ? SHARDCASK_BADREQUEST : SHARDCASK_OK);
        ck_assert(i == 4 || ops[i].number == 100 + (int64_t)i);
        shardcask_op_clear(&ops[i]);
    }
    for (uint32_t i = 1; i <= FAKE_SHARDS; i++) {
        ck_assert_uint_eq(shard(i)->batches, 1);
        ck_assert_uint_eq(operations(i), i == 2 ? 2 : 3);
    }
    ck_assert_uint_eq(operations(0), 0);
}
END_TEST

START_TEST(a_large_batch_keeps_the_order_on_a_key)
{
    enum { COUNT = 5000 };
    static struct shardcask_op ops[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        const char *key = keys[1 + i % FAKE_SHARDS];
        ops[i] = (struct shardcask_op){
            .kind = SHARDCASK_OP_INCR, .key = key, .key_size = strlen(key), .delta = 1};
    }
    ck_assert_int_eq(shardcask_batch(db, ops, COUNT), SHARDCASK_OK);
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(ops[i].number, 1 + (int64_t)(i / FAKE_SHARDS));
    }
}
END_TEST

START_TEST(a_batch_whose_shard_is_gone_has_a_status_for_each_key)
{
    struct shardcask_op ops[FAKE_SHARDS] = {{0}};
    reopen(300);
    fake_stop(shard(2));
    fake_stop(coordinator);
    for (uint32_t i = 0; i < FAKE_SHARDS; i++) {
        ops[i].key = keys[1 + i];
        ops[i].key_size = strlen(keys[1 + i]);
    }
    (void)shardcask_mdel(db, ops, FAKE_SHARDS);
    /* One that was sent into the closing connection is unknown. */
    ck_assert(ops[1].status == SHARDCASK_UNAVAILABLE || ops[1].status == SHARDCASK_UNKNOWN);
    ck_assert_str_ne(ops[1].why, "");
    ck_assert_int_eq(ops[0].status, SHARDCASK_OK);
    ck_assert_int_eq(ops[2].status, SHARDCASK_OK);
    shardcask_op_clear(&ops[1]);
    fake_restart(shard(2));
    fake_restart(coordinator);
}
END_TEST

/* ---- Slots that move ---- */

START_TEST(a_slot_that_has_moved_is_followed)
{
    int64_t number = 0;
    ck_assert_int_eq(incr(keys[1], &number), SHARDCASK_OK);
    fake_fleet_move(&fleet, slots[1], 2, 2);
    ck_assert_int_eq(incr(keys[1], &number), SHARDCASK_OK);
    ck_assert_int_eq(number, 2); /* once */
    await_way(keys[1], 2);
    ck_assert_uint_ge(fake_count(shard(1), &fleet.members[1].moved), 1);
    fake_fleet_move(&fleet, slots[1], 3, 3);
    fake_fleet_move(&fleet, slots[1], 1, 4);
    ck_assert_int_eq(incr(keys[1], &number), SHARDCASK_OK);
    ck_assert_int_eq(number, 3);
    await_way(keys[1], 1);
}
END_TEST

START_TEST(a_slot_is_followed_without_a_coordinator)
{
    int64_t number = 0;
    fake_stop(coordinator);
    fake_fleet_move(&fleet, slots[1], 2, 2);
    ck_assert_int_eq(incr(keys[1], &number), SHARDCASK_OK);
    ck_assert_int_eq(number, 1);
    ck_assert_int_eq(get(keys[1]), SHARDCASK_OK);
    ck_assert_uint_eq(operations(2), 2);
    ck_assert_uint_ge(fake_count(shard(1), &fleet.members[1].moved), 1);
    ck_assert_uint_ge(fake_count(shard(1), &fleet.members[1].maps), 1);
    fake_restart(coordinator);
}
END_TEST

START_TEST(a_shard_that_lags_behind_is_left_to_the_coordinator)
{
    int64_t number = 0;
    fake_fleet_tell(&fleet, 1, slots[1], 2, 2);
    fake_fleet_tell(&fleet, 0, slots[1], 2, 2); /* shard 2 has not heard of it */
    for (int64_t i = 1; i <= 3; i++) {
        ck_assert_int_eq(incr(keys[1], &number), SHARDCASK_OK);
        ck_assert_int_eq(number, i);
    }
    ck_assert_uint_eq(fake_count(shard(2), &shard(2)->operations),
                      fake_count(shard(2), &fleet.members[2].moved));
    fake_fleet_tell(&fleet, 2, slots[1], 2, 2);
    await_way(keys[1], 2);
}
END_TEST

START_TEST(a_map_that_is_older_than_ours_is_not_used)
{
    fake_fleet_move(&fleet, slots[1], 2, 5);
    ck_assert_int_eq(get(keys[1]), SHARDCASK_NOTFOUND);
    await_way(keys[1], 2);
    /* Shard 3 says that its own slot is shard 1's, and claims a newer epoch than its map has. */
    fake_lock(shard(3));
    fleet.members[3].map.owner[slots[3]] = 1;
    fleet.members[3].map.epoch = 4;
    fake_unlock(shard(3));
    ck_assert_int_eq(put(keys[3]), SHARDCASK_OK);
    ck_assert_uint_eq(fleet.members[3].moved, 1);
    await_way(keys[1], 2);
}
END_TEST

START_TEST(a_coordinator_that_was_set_back_is_believed)
{
    fake_fleet_move(&fleet, slots[1], 2, 9);
    await_way(keys[1], 2);
    fake_stop(coordinator);
    fake_fleet_move(&fleet, slots[1], 1, 3); /* restored from a copy, say */
    fake_restart(coordinator);
    await_way(keys[1], 1);
}
END_TEST

START_TEST(shards_that_send_each_other_for_it_are_not_asked_for_ever)
{
    reopen(400);
    /* Each says that another one has it, and of an epoch ever newer. */
    fake_fleet_tell(&fleet, 1, slots[1], 2, 10);
    fake_fleet_tell(&fleet, 2, slots[1], 3, 20);
    fake_fleet_tell(&fleet, 3, slots[1], 1, 30);
    ck_assert_int_eq(put(keys[1]), SHARDCASK_OK); /* the coordinator knows */
    fake_stop(coordinator);
    ck_assert_int_eq(put_in_vain(keys[1]), SHARDCASK_UNAVAILABLE);
    ck_assert_str_ne(shardcask_error(), "");
    size_t asked = 0;
    for (uint32_t i = 1; i <= FAKE_SHARDS; i++) {
        asked += operations(i);
    }
    ck_assert_uint_le(asked, 100);
    fake_restart(coordinator);
}
END_TEST

START_TEST(what_is_handed_over_goes_to_the_coordinator)
{
    int64_t number = 0;
    fake_fleet_refuse(&fleet, 1, slots[1], SC_BUSY, false, SIZE_MAX);
    ck_assert_int_eq(incr(keys[1], &number), SHARDCASK_OK);
    ck_assert_int_eq(number, 1);
    ck_assert_int_eq(get(keys[1]), SHARDCASK_OK);
    ck_assert_uint_eq(operations(0), 1);
    fake_fleet_refuse(&fleet, 1, slots[1], SC_UNAVAILABLE, true, SIZE_MAX);
    ck_assert_int_eq(get(keys[1]), SHARDCASK_OK);
    ck_assert_uint_eq(operations(0), 2);
}
END_TEST

START_TEST(the_coordinators_refusal_counts)
{
    fake_fleet_refuse(&fleet, 1, slots[1], SC_BUSY, false, SIZE_MAX);
    fake_lock(coordinator);
    coordinator->status = SC_UNAVAILABLE;
    fake_unlock(coordinator);
    ck_assert_int_eq(put(keys[1]), SHARDCASK_UNAVAILABLE);
    ck_assert_str_eq(shardcask_error(), "told to fail");
    ck_assert_uint_eq(operations(1), 1);
}
END_TEST

START_TEST(what_is_handed_over_is_tried_again_while_there_is_no_coordinator)
{
    int64_t number = 0;
    fake_stop(coordinator);
    fake_fleet_refuse(&fleet, 1, slots[1], SC_BUSY, false, 4);
    ck_assert_int_eq(incr(keys[1], &number), SHARDCASK_OK);
    ck_assert_int_eq(number, 1);
    ck_assert_uint_eq(operations(1), 5);
    fake_fleet_refuse(&fleet, 1, slots[1], SC_UNAVAILABLE, true, 4);
    ck_assert_int_eq(get(keys[1]), SHARDCASK_OK);
    ck_assert_uint_eq(operations(1), 10);
    fake_restart(coordinator);
}
END_TEST

START_TEST(what_is_never_taken_ends_with_the_last_refusal)
{
    reopen(200);
    fake_stop(coordinator);
    fake_fleet_refuse(&fleet, 1, slots[1], SC_BUSY, false, SIZE_MAX);
    ck_assert_int_eq(put_in_vain(keys[1]), SHARDCASK_BUSY);
    ck_assert_str_eq(shardcask_error(), "the slot is being handed over");
    fake_restart(coordinator);
}
END_TEST

START_TEST(other_statuses_are_the_shards_last_word)
{
    static const int statuses[] = {SC_BADREQUEST, SC_TOOLARGE, SC_MISMATCH,
                                   SC_WRONGTYPE,  SC_UNKNOWN,  SC_IO,
                                   SC_CORRUPT,    SC_DENIED,   SC_INTERNAL};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        fake_fleet_refuse(&fleet, 1, slots[1], statuses[i], false, SIZE_MAX);
        ck_assert_int_eq(put(keys[1]), statuses[i]);
        ck_assert_uint_eq(operations(1), i + 1);
    }
    ck_assert_uint_eq(operations(0), 0);
}
END_TEST

START_TEST(a_read_behind_a_refused_write_is_done_again_behind_it)
{
    struct shardcask_op ops[4] = {{0}};
    fake_fleet_refuse(&fleet, 1, slots[1], SC_BUSY, false, SIZE_MAX);
    for (size_t i = 0; i < 4; i++) {
        ops[i] = (struct shardcask_op){.key = keys[1],
                                       .key_size = strlen(keys[1]),
                                       .delta = 5,
                                       .value = "\x07",
                                       .value_size = 1};
    }
    ops[0].kind = SHARDCASK_OP_GET; /* before it: absent */
    ops[1].kind = SHARDCASK_OP_PUT;
    ops[2].kind = SHARDCASK_OP_GET;
    ops[3].kind = SHARDCASK_OP_INCR;
    ck_assert_int_eq(shardcask_batch(db, ops, 4), SHARDCASK_OK);
    ck_assert_int_eq(ops[0].status, SHARDCASK_NOTFOUND);
    ck_assert_int_eq(ops[1].status, SHARDCASK_OK);
    ck_assert_int_eq(ops[2].status, SHARDCASK_OK);
    ck_assert_mem_eq(ops[2].result.data, "\x07", 1);
    ck_assert_int_eq(ops[3].number, 12);
    ck_assert_uint_eq(operations(0), 3);
    for (size_t i = 0; i < 4; i++) {
        shardcask_op_clear(&ops[i]);
    }
}
END_TEST

START_TEST(a_refused_write_is_not_put_behind_a_later_one)
{
    struct shardcask_op ops[2] = {{0}};
    fake_fleet_refuse(&fleet, 1, slots[1], SC_BUSY, false, 1);
    fleet.members[1].refuses_first = true;
    for (size_t i = 0; i < 2; i++) {
        ops[i] = (struct shardcask_op){.key = keys[1],
                                       .key_size = strlen(keys[1]),
                                       .value = i == 0 ? "\x01" : "\x02",
                                       .value_size = 1};
    }
    ck_assert_int_eq(shardcask_mput(db, ops, 2), SHARDCASK_OK);
    ck_assert_int_eq(ops[0].status, SHARDCASK_BUSY);
    ck_assert_int_eq(ops[1].status, SHARDCASK_OK);
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    ck_assert_int_eq(shardcask_get(db, keys[1], strlen(keys[1]), &value), SHARDCASK_OK);
    ck_assert_mem_eq(value.data, "\x02", 1);
    shardcask_value_free(&value);
    shardcask_op_clear(&ops[0]);
}
END_TEST

START_TEST(a_batch_over_slots_that_move_does_everything_once)
{
    enum { COUNT = 600 };
    static struct shardcask_op ops[COUNT];
    static char names[COUNT][16];
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t slot = fake_fleet_key(1 + i % FAKE_SHARDS, i, names[i]);
        if (i % 4 == 0) {
            fake_fleet_move(&fleet, slot, 1 + (i + 1) % FAKE_SHARDS, 2 + i);
        }
        ops[i] = (struct shardcask_op){
            .kind = SHARDCASK_OP_INCR, .key = names[i], .key_size = strlen(names[i]), .delta = 1};
    }
    ck_assert_int_eq(shardcask_batch(db, ops, COUNT), SHARDCASK_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(ops[i].status, SHARDCASK_OK);
        ck_assert_int_eq(ops[i].number, 1);
    }
}
END_TEST

/* ---- Shards that come and go ---- */

START_TEST(a_shard_that_is_down_is_left_to_the_coordinator_until_it_is_back)
{
    fake_stop(shard(1));
    await_way(keys[1], 0);
    ck_assert_int_eq(put(keys[1]), SHARDCASK_OK);
    ck_assert_int_eq(put(keys[2]), SHARDCASK_OK);
    fake_restart(shard(1));
    await_way(keys[1], 1);
    ck_assert_int_eq(get(keys[1]), SHARDCASK_OK);
}
END_TEST

START_TEST(a_coordinator_that_is_down_does_not_matter)
{
    fake_stop(coordinator);
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert_int_eq(put(keys[1 + i % FAKE_SHARDS]), SHARDCASK_OK);
    }
    fake_restart(coordinator);
    uint64_t count = 0;
    int status;
    do { /* the first may meet the connection that broke */
        status = shardcask_count(db, &count);
    } while (status == SHARDCASK_UNAVAILABLE || status == SHARDCASK_UNKNOWN);
    ck_assert_uint_eq(count, FAKE_SHARDS);
}
END_TEST

START_TEST(calls_wait_for_a_shard_when_nobody_is_there)
{
    int64_t number = 0;
    fake_stop(coordinator);
    fake_stop(shard(1));
    await_way(keys[2], 2);
    pthread_t thread;
    ck_assert_int_eq(
        pthread_create(&thread, NULL, (void *(*)(void *))(void (*)(void))fake_restart, shard(1)),
        0);
    int status;
    do { /* one that was sent into the closing connection is unknown */
        status = incr(keys[1], &number);
    } while (status == SHARDCASK_UNKNOWN);
    ck_assert_int_eq(status, SHARDCASK_OK);
    ck_assert_int_eq(number, 1);
    (void)pthread_join(thread, NULL);
    fake_restart(coordinator);
}
END_TEST

START_TEST(a_write_of_unknown_outcome_is_never_sent_again)
{
    reopen(300);
    fake_lock(shard(1));
    shard(1)->deaf = true;
    fake_unlock(shard(1));
    ck_assert_int_eq(put(keys[1]), SHARDCASK_UNKNOWN);
    ck_assert_uint_eq(operations(0) + operations(1) + operations(2) + operations(3), 0);
}
END_TEST

static void *put_first(void *arg)
{
    *(int *)arg = put(keys[1]);
    return NULL;
}

static void *get_first(void *arg)
{
    *(int *)arg = get(keys[1]);
    return NULL;
}

START_TEST(a_read_that_loses_its_shard_goes_to_the_coordinator_and_a_write_does_not)
{
    pthread_t threads[2];
    int statuses[2] = {-1, -1};
    fake_lock(shard(1));
    shard(1)->hold = true;
    fake_unlock(shard(1));
    ck_assert_int_eq(pthread_create(&threads[0], NULL, put_first, &statuses[0]), 0);
    ck_assert_int_eq(pthread_create(&threads[1], NULL, get_first, &statuses[1]), 0);
    fake_await_held(shard(1), 2);
    fake_stop(shard(1));
    (void)pthread_join(threads[0], NULL);
    (void)pthread_join(threads[1], NULL);
    ck_assert_int_eq(statuses[0], SHARDCASK_UNKNOWN);
    ck_assert_int_eq(statuses[1], SHARDCASK_NOTFOUND);
    ck_assert_uint_eq(operations(0), 1);
    shard(1)->hold = false;
    fake_restart(shard(1));
}
END_TEST

START_TEST(a_shard_that_does_not_answer_any_more_is_left_to_the_coordinator)
{
    reopen(200);
    ck_assert_int_eq(put(keys[1]), SHARDCASK_OK);
    fake_lock(shard(1));
    shard(1)->deaf = true;
    fake_unlock(shard(1));
    ck_assert_int_eq(put(keys[1]), SHARDCASK_UNKNOWN);
    await_way(keys[1], 0);
    fake_lock(shard(1));
    shard(1)->deaf = false;
    fake_unlock(shard(1));
    await_way(keys[1], 1);
}
END_TEST

START_TEST(a_shard_without_slots_is_not_connected_to)
{
    fake_fleet_await_connections(&fleet, 3, 1);
    for (uint32_t i = 0; i <= FAKE_SHARDS; i++) {
        fake_lock(&fleet.members[i].server);
        for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
            fleet.members[i].map.owner[slot] = (uint8_t)(1 + slot % 2);
        }
        fleet.members[i].map.epoch = 2;
        fake_unlock(&fleet.members[i].server);
    }
    ck_assert_int_eq(put(keys[3]), SHARDCASK_OK);
    fake_fleet_await_connections(&fleet, 3, 0);
    fake_fleet_move(&fleet, slots[3], 3, 3);
    ck_assert_int_eq(get(keys[3]), SHARDCASK_OK);
    fake_fleet_await_connections(&fleet, 3, 1);
    await_way(keys[3], 3);
}
END_TEST

START_TEST(a_shard_that_has_moved_to_another_address_is_found)
{
    /* What was shard 3 is shard 2 from now on. */
    fake_stop(shard(2));
    fake_lock(shard(3));
    fleet.members[3].number = 2;
    fleet.members[3].map = fleet.members[2].map;
    fake_unlock(shard(3));
    (void)pthread_mutex_lock(&fleet.store.lock);
    (void)snprintf(fleet.urls[2], sizeof fleet.urls[2], "%s", shard(3)->url);
    (void)pthread_mutex_unlock(&fleet.store.lock);
    await_way(keys[2], 3);
    fake_restart(shard(2));
}
END_TEST

START_TEST(a_shard_that_says_nothing_is_not_waited_for_at_the_opening)
{
    shardcask_close(db);
    fake_lock(shard(1));
    shard(1)->hold = true;
    fake_unlock(shard(1));
    struct shardcask_options options = {.direct = true, .connect_timeout_ms = 60000};
    db = fake_fleet_open(&fleet, &options);
    ck_assert_int_eq(put(keys[1]), SHARDCASK_OK);
    ck_assert_int_eq(put(keys[2]), SHARDCASK_OK);
    ck_assert_uint_eq(operations(0), 1);
    ck_assert_uint_eq(operations(2), 1);
}
END_TEST

/* ---- Addresses that lead nowhere, or elsewhere ---- */

static void open_with_url(uint32_t number, const char *url)
{
    shardcask_close(db);
    (void)pthread_mutex_lock(&fleet.store.lock);
    (void)snprintf(fleet.urls[number], sizeof fleet.urls[number], "%s", url);
    (void)pthread_mutex_unlock(&fleet.store.lock);
    db = fake_fleet_open(&fleet, NULL);
}

START_TEST(addresses_of_no_use_from_here_fall_back)
{
    static const char *const urls[] = {
        "ipc://relative/path", "nonsense", "", "tcp://host", "ipc:///tmp/sc-nobody-listens-here",
        "tcp://127.0.0.1:1"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        open_with_url(1, urls[i]);
        ck_assert_int_eq(put(keys[1]), SHARDCASK_OK);
        ck_assert_uint_eq(operations(0), i + 1);
        ck_assert_int_eq(put(keys[2]), SHARDCASK_OK);
        ck_assert_uint_eq(operations(2), i + 1);
    }
}
END_TEST

START_TEST(another_shard_at_the_address_is_not_used)
{
    open_with_url(1, shard(2)->url);
    ck_assert_int_eq(put(keys[1]), SHARDCASK_OK);
    ck_assert_uint_eq(operations(0), 1);
    ck_assert_uint_eq(operations(2), 0);
}
END_TEST

START_TEST(a_shard_of_another_cluster_at_the_address_is_not_used)
{
    shardcask_close(db);
    fake_lock(shard(1));
    fleet.members[1].cluster[0] ^= 1;
    fake_unlock(shard(1));
    db = fake_fleet_open(&fleet, NULL);
    ck_assert_int_eq(put(keys[1]), SHARDCASK_OK);
    ck_assert_uint_eq(operations(0), 1);
    ck_assert_uint_eq(operations(1), 0);
}
END_TEST

START_TEST(another_cluster_at_the_coordinators_address_is_followed)
{
    ck_assert_int_eq(put(keys[1]), SHARDCASK_OK);
    fake_stop(coordinator);
    fleet.members[0].cluster[0] ^= 1; /* whose shards are not these */
    fake_restart(coordinator);
    await_way(keys[1], 0);
    size_t before = operations(1);
    ck_assert_int_eq(put(keys[1]), SHARDCASK_OK);
    ck_assert_uint_eq(operations(1), before);
    for (uint32_t i = 1; i <= FAKE_SHARDS; i++) {
        fake_lock(shard(i));
        fleet.members[i].cluster[0] ^= 1;
        fake_unlock(shard(i));
    }
    await_way(keys[1], 1);
}
END_TEST

START_TEST(a_coordinator_without_a_useful_map_does_everything)
{
    static const uint64_t epochs[] = {0, 1};
    for (size_t i = 0; i < 2; i++) {
        shardcask_close(db);
        fake_lock(coordinator);
        fleet.members[0].map.epoch = epochs[i]; /* 0: no ranges */
        coordinator->answers = i == 0 ? coordinator->answers : NULL; /* {"map": 0} */
        fake_unlock(coordinator);
        db = fake_fleet_open(&fleet, NULL);
        ck_assert_int_eq(put(keys[1]), SHARDCASK_OK);
        ck_assert_uint_eq(operations(0), i + 1);
    }
}
END_TEST

/* ---- Asynchronous ---- */

enum { SUBMITTED = 4000 };

static atomic_uint called;
static atomic_uint failed;
static int64_t last_number;

static void count_call(struct shardcask_op *op)
{
    atomic_fetch_add(&called, 1);
    if (op->status != SHARDCASK_OK) {
        atomic_fetch_add(&failed, 1);
    } else if (op->arg != NULL) {
        ck_assert_int_eq(op->number, last_number + 1);
        last_number = op->number;
    }
}

static void submit_incr(struct shardcask_op *op, const char *key, void *arg)
{
    *op = (struct shardcask_op){
        .kind = SHARDCASK_OP_INCR, .key = key, .key_size = strlen(key), .delta = 1, .arg = arg};
    ck_assert_int_eq(shardcask_submit(db, op, count_call), SHARDCASK_OK);
}

START_TEST(submitted_operations_go_to_the_shards)
{
    static struct shardcask_op ops[SUBMITTED];
    for (size_t i = 0; i < SUBMITTED; i++) {
        submit_incr(&ops[i], keys[1 + i % FAKE_SHARDS], NULL);
    }
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&called), SUBMITTED);
    ck_assert_uint_eq(atomic_load(&failed), 0);
    ck_assert_uint_eq(operations(0), 0);
    for (size_t i = 0; i < SUBMITTED; i++) {
        ck_assert_int_eq(ops[i].number, 1 + (int64_t)(i / FAKE_SHARDS));
    }
}
END_TEST

START_TEST(submitted_operations_keep_their_order_while_their_slot_moves)
{
    static struct shardcask_op ops[SUBMITTED];
    for (size_t i = 0; i < SUBMITTED; i++) {
        if (i % 100 == 0) {
            uint32_t owner = (uint32_t)(1 + i / 100 % FAKE_SHARDS);
            fake_fleet_move(&fleet, slots[1], owner, 2 + i);
            fake_fleet_refuse(&fleet, owner, slots[1], i % 200 == 0 ? SC_BUSY : SC_UNAVAILABLE,
                              true, i % 300 == 0 ? 1 : 3);
        }
        submit_incr(&ops[i], keys[1], &last_number); /* checks that numbers come one by one */
    }
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&called), SUBMITTED);
    ck_assert_uint_eq(atomic_load(&failed), 0);
    ck_assert_int_eq(last_number, SUBMITTED);
}
END_TEST

static void count_batch(struct shardcask_op *ops, size_t count, void *arg)
{
    for (size_t i = 0; i < count; i++) {
        count_call(&ops[i]);
    }
    atomic_fetch_add((atomic_uint *)arg, 1);
}

START_TEST(submitted_batches_are_spread_over_the_shards_and_follow_slots)
{
    enum { SIZE = 40 };
    static struct shardcask_op ops[SUBMITTED / SIZE][SIZE];
    atomic_uint batches = 0;
    for (size_t i = 0; i < SUBMITTED / SIZE; i++) {
        uint32_t owner = (uint32_t)(1 + i % FAKE_SHARDS);
        fake_fleet_move(&fleet, slots[1], owner, 2 + i);
        for (size_t j = 0; j < SIZE; j++) {
            const char *key = keys[1 + j % FAKE_SHARDS];
            ops[i][j] = (struct shardcask_op){
                .kind = SHARDCASK_OP_INCR, .key = key, .key_size = strlen(key), .delta = 1};
        }
        ops[i][SIZE - 1].key_size = 0; /* bad: it fails alone */
        ck_assert_int_eq(shardcask_submit_batch(db, ops[i], SIZE, count_batch, &batches),
                         SHARDCASK_OK);
    }
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&batches), SUBMITTED / SIZE);
    ck_assert_uint_eq(atomic_load(&called), SUBMITTED);
    ck_assert_uint_eq(atomic_load(&failed), SUBMITTED / SIZE);
    int64_t last[FAKE_SHARDS] = {0};
    for (size_t i = 0; i < SUBMITTED; i++) {
        struct shardcask_op *op = &ops[i / SIZE][i % SIZE];
        if (op->status == SHARDCASK_OK) {
            ck_assert_int_eq(op->number, ++last[i % SIZE % FAKE_SHARDS]);
        }
        shardcask_op_clear(op);
    }
}
END_TEST

START_TEST(submitted_operations_are_tried_again_while_there_is_no_coordinator)
{
    struct shardcask_op ops[20];
    fake_stop(coordinator);
    fake_fleet_refuse(&fleet, 1, slots[1], SC_BUSY, true, 4);
    for (size_t i = 0; i < 20; i++) {
        submit_incr(&ops[i], keys[1], NULL);
    }
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&failed), 0);
    for (size_t i = 0; i < 20; i++) {
        ck_assert_int_eq(ops[i].number, 1 + (int64_t)i);
    }
    fake_restart(coordinator);
}
END_TEST

START_TEST(submitted_operations_run_out_of_time)
{
    struct shardcask_op ops[20];
    reopen(200);
    fake_stop(coordinator);
    fake_fleet_refuse(&fleet, 1, slots[1], SC_MOVED, true, SIZE_MAX);
    for (size_t i = 0; i < 20; i++) {
        submit_incr(&ops[i], keys[1], NULL);
    }
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&called), 20);
    for (size_t i = 0; i < 20; i++) {
        ck_assert_int_eq(ops[i].status, SHARDCASK_UNAVAILABLE);
        shardcask_op_clear(&ops[i]);
    }
    fake_restart(coordinator);
}
END_TEST

START_TEST(closing_ends_what_is_waiting)
{
    struct shardcask_op ops[20];
    fake_stop(coordinator);
    fake_fleet_refuse(&fleet, 1, slots[1], SC_BUSY, true, SIZE_MAX);
    fake_lock(shard(2));
    shard(2)->hold = true;
    fake_unlock(shard(2));
    for (size_t i = 0; i < 20; i++) {
        submit_incr(&ops[i], keys[1 + i % 2], NULL);
    }
    fake_await_held(shard(2), 1);
    shardcask_close(db);
    ck_assert_uint_eq(atomic_load(&called), 20);
    for (size_t i = 0; i < 20; i++) {
        ck_assert_int_ne(ops[i].status, SHARDCASK_OK);
        shardcask_op_clear(&ops[i]);
    }
    fake_restart(coordinator);
    db = fake_fleet_open(&fleet, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("direct");
    TCase *tcase = tcase_create("direct");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, operations_go_to_the_shard_that_owns_their_key);
    tcase_add_test(tcase, an_indirect_handle_asks_the_coordinator_only);
    tcase_add_test(tcase, what_concerns_the_whole_store_goes_to_the_coordinator);
    tcase_add_test(tcase, shards_are_told_when_an_operation_is_given_up);
    tcase_add_test(tcase, a_batch_is_split_sent_at_once_and_put_together_in_order);
    tcase_add_test(tcase, a_large_batch_keeps_the_order_on_a_key);
    tcase_add_test(tcase, a_batch_whose_shard_is_gone_has_a_status_for_each_key);
    tcase_add_test(tcase, a_slot_that_has_moved_is_followed);
    tcase_add_test(tcase, a_slot_is_followed_without_a_coordinator);
    tcase_add_test(tcase, a_shard_that_lags_behind_is_left_to_the_coordinator);
    tcase_add_test(tcase, a_map_that_is_older_than_ours_is_not_used);
    tcase_add_test(tcase, a_coordinator_that_was_set_back_is_believed);
    tcase_add_test(tcase, shards_that_send_each_other_for_it_are_not_asked_for_ever);
    tcase_add_test(tcase, what_is_handed_over_goes_to_the_coordinator);
    tcase_add_test(tcase, the_coordinators_refusal_counts);
    tcase_add_test(tcase, what_is_handed_over_is_tried_again_while_there_is_no_coordinator);
    tcase_add_test(tcase, what_is_never_taken_ends_with_the_last_refusal);
    tcase_add_test(tcase, other_statuses_are_the_shards_last_word);
    tcase_add_test(tcase, a_read_behind_a_refused_write_is_done_again_behind_it);
    tcase_add_test(tcase, a_refused_write_is_not_put_behind_a_later_one);
    tcase_add_test(tcase, a_batch_over_slots_that_move_does_everything_once);
    tcase_add_test(tcase, a_shard_that_is_down_is_left_to_the_coordinator_until_it_is_back);
    tcase_add_test(tcase, a_coordinator_that_is_down_does_not_matter);
    tcase_add_test(tcase, calls_wait_for_a_shard_when_nobody_is_there);
    tcase_add_test(tcase, a_write_of_unknown_outcome_is_never_sent_again);
    tcase_add_test(tcase, a_read_that_loses_its_shard_goes_to_the_coordinator_and_a_write_does_not);
    tcase_add_test(tcase, a_shard_that_does_not_answer_any_more_is_left_to_the_coordinator);
    tcase_add_test(tcase, a_shard_without_slots_is_not_connected_to);
    tcase_add_test(tcase, a_shard_that_has_moved_to_another_address_is_found);
    tcase_add_test(tcase, a_shard_that_says_nothing_is_not_waited_for_at_the_opening);
    tcase_add_test(tcase, addresses_of_no_use_from_here_fall_back);
    tcase_add_test(tcase, another_shard_at_the_address_is_not_used);
    tcase_add_test(tcase, a_shard_of_another_cluster_at_the_address_is_not_used);
    tcase_add_test(tcase, another_cluster_at_the_coordinators_address_is_followed);
    tcase_add_test(tcase, a_coordinator_without_a_useful_map_does_everything);
    tcase_add_test(tcase, submitted_operations_go_to_the_shards);
    tcase_add_test(tcase, submitted_operations_keep_their_order_while_their_slot_moves);
    tcase_add_test(tcase, submitted_batches_are_spread_over_the_shards_and_follow_slots);
    tcase_add_test(tcase, submitted_operations_are_tried_again_while_there_is_no_coordinator);
    tcase_add_test(tcase, submitted_operations_run_out_of_time);
    tcase_add_test(tcase, closing_ends_what_is_waiting);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
