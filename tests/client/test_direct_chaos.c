/*
 * Chaos (chaos.h) on a direct client: shards and the coordinator go away and come back, fall
 * silent, disagree, refuse slots, and slots move all the time, with and without the coordinator.
 */
#include <stdio.h>
#include <time.h>

#include "tests/check_main.h"
#include "tests/client/chaos.h"
#include "tests/client/fake_fleet.h"
#include "tests/random.h"

static struct fake_fleet fleet;
static uint64_t epoch = 1;

static void restart(struct fake_member *member)
{
    fake_stop(&member->server);
    member->server.hold = false;
    member->server.deaf = false;
    member->refusals = 0;
    fake_restart(&member->server);
}

/* Hands a seventh of all slots over, as a coordinator does: the source is told, the coordinator
 * knows, and only then the target is told. */
static void move_some(struct test_random *random)
{
    uint32_t rest = (uint32_t)test_random_below(random, 7);
    uint32_t source = 1 + (uint32_t)test_random_below(random, FAKE_SHARDS);
    uint32_t target = 1 + (uint32_t)test_random_below(random, FAKE_SHARDS);
    struct fake_map next = fleet.members[0].map; /* written by this thread only */
    next.epoch = ++epoch;
    for (uint32_t slot = rest; slot < SC_SLOT_COUNT; slot += 7) {
        next.owner[slot] = next.owner[slot] == source ? (uint8_t)target : next.owner[slot];
    }
    uint32_t order[1 + FAKE_SHARDS] = {source, 0, target, 0};
    size_t count = 3;
    for (uint32_t i = 1; i <= FAKE_SHARDS; i++) {
        if (i != source && i != target) {
            order[count < 1 + FAKE_SHARDS ? count : FAKE_SHARDS] = i;
            count++;
        }
    }
    for (size_t i = 0; i <= FAKE_SHARDS; i++) {
        struct fake_member *member = &fleet.members[order[i]];
        fake_lock(&member->server);
        member->map = next;
        fake_unlock(&member->server);
        if (test_random_below(random, 3) == 0) {
            (void)nanosleep(&(struct timespec){0, (long)test_random_below(random, 3000000)}, NULL);
        }
    }
}

static void refuse_some(struct test_random *random, struct fake_member *member)
{
    fake_lock(&member->server);
    member->refusal = test_random_below(random, 2) == 0 ? SC_BUSY : SC_UNAVAILABLE;
    member->refuses_reads = test_random_below(random, 2) == 0;
    member->refusals = test_random_below(random, 30);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        member->refused[slot] = test_random_below(random, 2) == 0;
    }
    fake_unlock(&member->server);
}

static void disturb(struct test_random *random)
{
    struct fake_member *member = &fleet.members[test_random_below(random, 1 + FAKE_SHARDS)];
    switch (test_random_below(random, 8)) {
    case 0:
        restart(member);
        break;
    case 1:
        fake_lock(&member->server);
        member->server.hold = true;
        fake_unlock(&member->server);
        break;
    case 2:
        fake_lock(&member->server);
        member->server.deaf = !member->server.deaf;
        fake_unlock(&member->server);
        break;
    case 3:
        refuse_some(random, member);
        break;
    case 4:
        fake_release(&member->server);
        break;
    default:
        move_some(random);
        break;
    }
}

START_TEST(nothing_is_lost_doubled_or_left_waiting)
{
    struct test_random random = test_random_start("direct chaos");
    struct shardcask_options options = {.timeout_ms = 150, .batch_max = 16, .direct = true};
    fake_fleet_start(&fleet);
    struct shardcask *db = fake_fleet_open(&fleet, &options);
    chaos_start(db);
    for (int i = 0; i < 150; i++) {
        disturb(&random);
        /* Lets something happen in this state; how much does not matter. */
        (void)nanosleep(&(struct timespec){0, (long)test_random_below(&random, 30) * 1000000},
                        NULL);
    }
    for (size_t i = 0; i <= FAKE_SHARDS; i++) {
        restart(&fleet.members[i]);
    }
    chaos_end();
    size_t moved = 0;
    for (size_t i = 1; i <= FAKE_SHARDS; i++) {
        moved += fake_count(&fleet.members[i].server, &fleet.members[i].moved);
    }
    ck_assert_uint_gt(moved, 0);
    shardcask_close(db);
    fake_fleet_end(&fleet);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("direct chaos");
    TCase *tcase = tcase_create("direct chaos");
    tcase_add_test(tcase, nothing_is_lost_doubled_or_left_waiting);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
