/*
 * Chaos (chaos.h) against a server that holds its answers, gives none, and goes away, at random.
 */
#include <stdio.h>
#include <time.h>

#include "tests/check_main.h"
#include "tests/client/chaos.h"
#include "tests/client/fake_server.h"
#include "tests/random.h"

static struct fake_server fake;

static void disturb(struct test_random *random)
{
    switch (test_random_below(random, 4)) {
    case 0:
        fake_stop(&fake);
        fake.hold = false;
        fake.deaf = false;
        fake_restart(&fake);
        break;
    case 1:
        fake_lock(&fake);
        fake.hold = true;
        fake_unlock(&fake);
        break;
    case 2:
        fake_lock(&fake);
        fake.deaf = !fake.deaf;
        fake_unlock(&fake);
        break;
    default:
        fake_release(&fake);
        break;
    }
}

START_TEST(nothing_is_lost_doubled_or_left_waiting)
{
    struct test_random random = test_random_start("chaos");
    struct shardcask *db;
    fake_start(&fake);
    struct shardcask_options options = {.timeout_ms = 120, .batch_max = 16};
    ck_assert_int_eq(shardcask_open(fake.url, &options, &db, NULL), SHARDCASK_OK);
    chaos_start(db);
    for (int i = 0; i < 60; i++) {
        disturb(&random);
        /* Lets something happen in this state; how much does not matter. */
        (void)nanosleep(&(struct timespec){0, (long)test_random_below(&random, 50) * 1000000},
                        NULL);
    }
    fake_stop(&fake);
    fake.hold = false;
    fake.deaf = false;
    fake_restart(&fake);
    chaos_end();
    shardcask_close(db);
    fake_end(&fake);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chaos");
    TCase *tcase = tcase_create("chaos");
    tcase_add_test(tcase, nothing_is_lost_doubled_or_left_waiting);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
